"""One run of a world: requests, machines that come and go, a server that crashes; then the reckoning."""

import hashlib
from collections import Counter
from random import Random
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure as TwistedFailure

from hagoop.blame import FEW_LINES
from hagoop.enough import ALL
from hagoop.errors import SpoolFull, UnknownRequest, WorkerUnfit
from hagoop.jobs import Failure, Finished, Phase, RequestId, Source, State, Submission
from hagoop.ledger import BLAMED_KINDS
from hagoop.missing import ranges_of
from hagoop.requests import Request
from world.machines import Machine, Temper
from world.programs import PICKY, Task, lines_of
from world.server import Disk, ForgetfulSpool, Server

WATCH_SECONDS = 0.5
PATIENCE_SECONDS = 1500.0
"""How long one good worker may take once all trouble is over."""
DRAIN_SECONDS = 20.0
STEADY = Temper(seconds=0.2, slots=1, delay=0.01, trouble=0.0, kinds=())


@frozen
class Scenario:
    """What happens in a world, apart from chance.

    :ivar crashes: how often the server restarts.
    :ivar trouble_seconds: until when things go wrong.
    :ivar fullness: how often the disk is full.
    :ivar steady: whether the good worker is there from the start, or comes when all trouble is over.
    :ivar good: what the good worker is like: it may be slow, and far away.
    :ivar leavers: how many of the others go when all trouble is over; those who hang may stay.
    :ivar partials: how often one asks for what is there of an answer by now.
    :ivar in_turn: whether each request is submitted when the one before is forgotten.
    """

    tasks: tuple[Task, ...]
    tempers: tuple[Temper, ...]
    seed: int
    most_runs: int = 3
    crashes: int = 0
    trouble_seconds: float = 20.0
    fullness: float = 0.0
    steady: bool = False
    in_turn: bool = False
    good: Temper = STEADY
    leavers: float = 0.5
    partials: float = 0.0


@define(eq=False)
class World:
    """All of it, until every request has ended.

    :ivar calm: nothing goes wrong any more.
    """

    scenario: Scenario
    clock: Clock = field(factory=Clock)
    machines: list[Machine] = field(factory=list)
    calm: bool = False
    lates: int = 0
    requests: dict[int, RequestId] = field(factory=dict)
    settled: set[int] = field(factory=set)
    counts: Counter = field(factory=Counter)
    random: Random = field(init=False)
    disk: Disk = field(init=False)
    server: Server = field(init=False)
    _submitting: set[int] = field(factory=set)
    _partials: set[int] = field(factory=set)
    _problems: list[TwistedFailure] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.random = Random(self.scenario.seed)
        self.disk = Disk(ForgetfulSpool(self.clock), self.random, self.scenario.fullness)
        self._boot()
        for number, temper in enumerate(self.scenario.tempers):
            late = self.random.random() * self.scenario.trouble_seconds / 4
            self.clock.callLater(late, self._bear, f"machine-{number}", temper)
        if self.scenario.steady:
            self._bear("steady", self.scenario.good)
        for _ in range(self.scenario.crashes):
            self.clock.callLater(self.random.random() * self.scenario.trouble_seconds, self.crash)
        self.clock.callLater(self.scenario.trouble_seconds, self._calm_down)
        self._watch()

    # What happens

    def _boot(self) -> None:
        scenario = self.scenario
        self.server = Server(self.clock, self.disk, self.random, scenario.tasks, scenario.most_runs)

    def _bear(self, name: str, temper: Temper, drawer: Any = (), identity: str = "") -> None:
        machine = Machine(self, name, temper, self.random, list(drawer), identity)
        self.machines.append(machine)
        machine.connect()

    def new_process(self) -> str:
        """What a machine says at Join of which of its lives this is."""
        self.counts["machines"] += 1
        return str(self.counts["machines"])

    def died(self, machine: Machine) -> None:
        """Another may take its place, and its identity, and what it had in the drawer."""
        self.machines.remove(machine)
        self.counts["deaths"] += 1
        if not self.calm:
            again = machine.name, machine.temper, machine.drawer, machine.identity
            self.clock.callLater(5 * self.random.random(), self._bear, *again)

    def crash(self) -> None:
        """The server ends without a word and starts again; the steady worker is back first."""
        if self.calm:
            return
        self.counts["crashes"] += 1
        self._restart()
        self._submitting.clear()
        self._partials.clear()
        self.machines.sort(key=lambda each: each.name != "steady")
        for each in list(self.machines):
            each.disconnect()
        for each in self.machines:
            if each.name == "steady":
                each.connect()

    def _restart(self) -> None:
        self.server.crash()
        self._boot()

    def _calm_down(self) -> None:
        self.calm = True
        self.disk.fullness = 0.0
        for each in list(self.machines):
            if self.random.random() < self.scenario.leavers and each.name != "steady":
                each.die()
        if not self.scenario.steady:
            self._bear("steady", self.scenario.good)

    # What machines need to know

    def may_fail(self, server: Server, failure: Failure) -> bool:
        """Whether a request survives this failure for certain."""
        lease = server.ledger.leases.get(failure.id)
        if lease is None:
            return True
        if failure.kind == WorkerUnfit.code:
            return self.scenario.steady
        if failure.kind in BLAMED_KINDS:
            known = lease.progress.histories.concerning(max(failure.start, lease.stretch.front))
            failed = len(known.history.failed_by) if known else 0
            return failed + 1 < lease.request.program_attempts
        return True

    def has_ended(self, request: RequestId) -> bool:
        """Whether it has ever ended."""
        return request in self.disk.ends

    def prints_runs(self, job: Finished) -> bool:
        """Whether what a job printed is a sorted run."""
        data = self.server.docket.data.get(job.request)
        if data is None or job.phase is Phase.MERGE:
            return data is not None
        return data.submission.step(job.round).last_phase is not job.phase

    def broken(self, reason: TwistedFailure) -> None:
        """Something that must not happen."""
        self._problems.append(reason)

    # The client

    def _watch(self) -> None:
        for number in range(len(self.scenario.tasks)):
            if number not in self.settled:
                self._follow(number)
                if self.scenario.in_turn:
                    break
        self.clock.callLater(WATCH_SECONDS, self._watch)

    def _follow(self, number: int) -> None:
        """Submit again until it is acknowledged; when it has ended, compare."""
        request = self.requests.get(number)
        if request is None or self.random.random() < 0.02:
            self._submit(number)
        elif request in self.server.docket.ended_facts:
            self._settle(number, request)
        elif number not in self._partials and self.random.random() < self.scenario.partials:
            self._ask_partial(number, request)
        elif self.scenario.tasks[number].cancelled and self.random.random() < 0.1:
            cancelled = Deferred.fromCoroutine(self.server.docket.cancel(request))
            cancelled.addErrback(self.broken)
            if self.random.random() < 0.5:
                self._forget(request)
                self.settled.add(number)

    def _forget(self, request: RequestId) -> None:
        forgotten = Deferred.fromCoroutine(self.server.docket.forget(request))
        forgotten.addErrback(self.broken)

    def _submit(self, number: int) -> None:
        if number in self._submitting:
            return
        self._submitting.add(number)
        task = self.scenario.tasks[number]
        first, *then = [each.program for each in task.steps]
        source = Source("seen", str(number))
        enough = task.good_enough
        submission = Submission(first, (source,), then=tuple(then), good_enough=enough)
        server = self.server
        submitted = Deferred.fromCoroutine(server.docket.submit(f"key-{number}", submission))
        submitted.addCallback(self._submitted, number)
        submitted.addErrback(lambda reason: reason.trap(SpoolFull))
        submitted.addErrback(self.broken)
        submitted.addBoth(lambda _: self._submitting.discard(number))

    def _ask_partial(self, number: int, request: RequestId) -> None:
        """What is there of an answer by now?  Not asked again before that is known, or lost."""
        self._partials.add(number)
        asked = Deferred.fromCoroutine(self._partial(self.server, number, request))
        asked.addErrback(lambda reason: reason.trap(UnknownRequest))
        asked.addErrback(self.broken)
        asked.addBoth(lambda _: self._partials.discard(number))

    async def _partial(self, server: Server, number: int, request: RequestId) -> None:
        taken = await server.desk.partials.of(str(self.random.random()), request)
        if taken == request:
            return
        await server.docket.ended(taken)
        if taken not in server.docket.data:
            return
        if server.ledger.requests[taken].state is State.DONE:
            self._compare_partial(self.scenario.tasks[number], taken)
        await server.docket.forget(taken)

    def _compare_partial(self, task: Task, request: RequestId) -> None:
        account = self.server.ledger.requests[request]
        answer = self.server.read_answer(request)
        lacks = {each.piece.name for each in account.missing if each.piece is not None}
        if any(each.startswith("answer of step") for each in lacks):
            self.counts["partial, later lines"] += 1
            return
        lines = _missing(account, task, least=0)
        expected = task.play({*account.bad_lines, *lines}).answer
        if not account.cover.later:
            self.counts["partial, lines"] += 1
            assert answer == expected
        elif task.steps[-1].reducer == "echo":
            self.counts["partial, keys"] += 1
            there = [each for each in lines_of(expected) if not _lacks(account, each)]
            assert answer == b"".join(there)

    def _submitted(self, request: RequestId, number: int) -> None:
        known = self.requests.setdefault(number, request)
        assert known == request, f"{number} is {known} and {request}"

    def _settle(self, number: int, request: RequestId) -> None:
        self._compare(number, request)
        self.settled.add(number)
        if self.scenario.in_turn:
            self._forget(request)
            if not self.calm and self.scenario.crashes:
                self.clock.callLater(self.random.random(), self.crash)

    def _compare(self, number: int, request: RequestId) -> None:
        task, server = self.scenario.tasks[number], self.server
        status = server.docket.status(server.docket.account(request, None))
        self.counts[status.state] += 1
        assert self.disk.ends[request] == 1
        if task.cancelled and status.state is State.CANCELLED:
            return
        if status.state is State.FAILED and any(each.mapper == PICKY for each in task.steps):
            assert f" fails on each of the first {FEW_LINES + 1} lines tried, " in status.message
            return
        assert (status.state, status.message, status.warnings) == (State.DONE, "", ())
        account = server.ledger.requests[request]
        bad, missing = account.bad_lines, _missing(account, task, task.good_enough)
        self.counts["left out"] += bool(missing)
        assert not missing & set(bad)
        expected = task.play({*bad, *missing})
        # What machines did not survive may be bad too.
        assert expected.bad <= set(bad) | missing
        assert all("were lost" in each.how for at, each in bad.items() if at not in expected.bad)
        answer = server.read_answer(request)
        assert answer == expected.answer
        assert server.docket.ended_facts[request] == _told(answer)
        counters = {(each.group, each.name): each.amount for each in status.counters}
        assert counters == expected.counters

    # Time

    def run(self) -> None:
        """Until all requests have ended; then see that nothing is left."""
        events: list[Any] = []

        def observe(event: Any) -> None:
            if event["log_level"] is LogLevel.critical:
                events.append(event)

        globalLogPublisher.addObserver(observe)
        try:
            self._run()
            self._reckon()
        finally:
            globalLogPublisher.removeObserver(observe)
        assert not events, events

    def _run(self) -> None:
        limit = self.scenario.trouble_seconds + PATIENCE_SECONDS
        while len(self.settled) < len(self.scenario.tasks):
            assert self.clock.seconds() < limit, f"stuck: {self._describe()}"
            self.step()

    def step(self) -> None:
        """Whatever happens next."""
        self.clock.advance(max(0.0, self.clock.calls[0].getTime() - self.clock.seconds()))
        self.server.ledger.check()
        for each in self._problems:
            each.raiseException()

    def _describe(self) -> str:
        ledger = self.server.ledger
        phases = [each.progress for each in ledger.requests.values()]
        return f"{phases} {list(ledger.leases.values())} {ledger.fleet.sessions}"

    def drain(self) -> None:
        """Let come in what is on its way."""
        until = self.clock.seconds() + DRAIN_SECONDS
        while self.clock.seconds() < until:
            self.step()

    def _reckon(self) -> None:
        """Nothing is left but answers; a restart keeps these; then they are forgotten too."""
        self.calm = True
        for request in set(self.server.docket.data) - set(self.server.docket.ended_facts):
            self._forget(request)
        self.drain()
        assert not self.server.ledger.leases
        for each in list(self.machines):
            each.die()
        self.drain()
        self._check_shelves()
        self._restart()
        self._check_shelves()
        for number, request in self.requests.items():
            if request in self.server.docket.data:
                self._compare(number, request)
                self._forget(request)
        self.drain()
        assert {kind for _, kind, _ in self.disk.memory.facts} == {"forgotten"}
        # Who forgets the newest again keeps its number again, in the same place.
        assert len({stream for stream, _, _ in self.disk.memory.facts}) <= 2
        assert not self.disk.spool.shelves
        assert not self.disk.spool.used_bytes

    def _check_shelves(self) -> None:
        docket = self.server.docket
        assert set(self.disk.spool.shelves) <= set(docket.data)
        facts = {stream for stream, kind, _ in self.disk.memory.facts if kind != "forgotten"}
        assert facts == set(docket.data)
        places = [place for each in docket.data.values() for place in each.answer.parts]
        cancelled = any(each.cancelled for each in self.scenario.tasks)
        assert cancelled or self.disk.spool.used_bytes == sum(each.size for each in places)


def _missing(account: Request, task: Task, least: int) -> set[tuple[int, int]]:
    """The lines that it has left out, by step and number: as many as it says, and may."""
    found = [at for each in ranges_of(account.missing) for at in range(each.start, each.end)]
    lines = sum(map(len, task.lines))
    assert len(set(found)) == len(found)
    assert (lines - len(found)) * ALL >= least * lines
    covered = account.cover.lines if account.cover and account.cover.all_lines else lines
    assert covered == lines - len(found)
    return {(1, at) for at in found}


def _lacks(account: Request, line: bytes) -> bool:
    """Whether a line's key is among those that are missing."""
    key = account.program.order.key_of(line).decode("latin-1")
    known = [each.keys for each in account.missing if each.keys is not None]
    return any(each.low <= key and (each.high is None or key < each.high) for each in known)


def _told(answer: bytes) -> tuple[str, int]:
    return hashlib.sha256(answer).hexdigest(), len(answer)


__all__ = ["Scenario", "World"]
