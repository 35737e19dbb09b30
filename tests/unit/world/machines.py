"""Simulated workers: honest about what they computed, and otherwise as bad as workers get."""

import hashlib
from random import Random
from typing import Any

from attrs import define, evolve, field, frozen
from twisted.internet.defer import CancelledError, Deferred

from hagoop.errors import BadMessage, HaGoopError, LimitExceeded, WorkerLost
from hagoop.jobs import (
    Assignment,
    AssignmentId,
    Failure,
    Finished,
    Held,
    Seen,
    Stop,
)
from hagoop.keys import Order
from hagoop.policy import IDLE_BEAT_SECONDS
from hagoop.runs import RunWriter
from world.assignments import Failed, KeyWork, LineWork, MergeWork, Result, read_work
from world.peers import Peer
from world.server import Life

COMMITS_IN_FLIGHT = 4
TRIES = 5
BLOCKS = ((9, 4, 60_000), (40, 16, 4), (3000, 1024, 60_000), (65536, 1024, 60_000))
"""Sizes of blocks, bounds and indexes that runs are written with."""


class Dropped(Exception):
    """An assignment is not ours any more."""


@define(eq=False)
class Work:
    """An assignment under work, as a worker keeps it."""

    assignment: Assignment
    id: AssignmentId
    front: int
    end: int
    job_start: int
    job_end: int
    begun: bool = False
    in_hand: bool = False
    ends: tuple[int, ...] = ()
    error: Exception | None = None
    waiting: "Deferred[None] | None" = None
    commits: list["Deferred[None]"] = field(factory=list)

    @classmethod
    def of(cls, assignment: Assignment) -> "Work":
        """All of it is still to do."""
        start = assignment.start
        return cls(assignment, assignment.id, start, assignment.end, start, start)

    @property
    def held(self) -> Held:
        """What is said of it at ``Join``."""
        it = self.assignment
        return Held(self.id, it.request, it.phase, it.round, self.front, self.end, self.job_end)

    @property
    def may_be_cut(self) -> bool:
        """Whether a program is at work that may be fed less."""
        return not self.assignment.program.has_whole_jobs(self.assignment.phase)

    def cut(self, end: int, fed: int) -> None:
        """End the job in hand at a position, or behind what its program was fed."""
        if self.error is None and self.in_hand and self.may_be_cut:
            self.job_end = min(self.job_end, max(end, fed, self.job_start + 1))

    def take_back(self, end: int) -> int:
        """Stop there, or as soon after as the job in hand allows."""
        if self.error is None:
            wanted = max(end, self.job_end, self.front + 1)
            self.end = min(self.end, next((each for each in self.ends if each >= wanted), wanted))
        return self.end

    def fail(self, error: Exception) -> None:
        """Stop at once."""
        if self.error is None:
            self.error = error
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.errback(self.error)

    def check(self) -> None:
        """Raise what has stopped it."""
        if self.error is not None:
            raise self.error


@frozen
class Late:
    """A job that may be committed once more, whoever holds its lines then."""

    job: Finished
    data: bytes


@define(eq=False)
class Temper:
    """How a machine behaves.

    :ivar trouble: how often, at each step, something goes wrong.
    :ivar kinds: what may go wrong.
    """

    seconds: float
    slots: int
    delay: float
    trouble: float
    kinds: tuple[str, ...]


@define(eq=False)
class Machine:
    """A worker's machine with its identity; it dies for good, another may take its place.

    :ivar deaf: it answers nobody any more, and works on nothing.
    """

    world: Any  # The world has machines; an import would go round.
    name: str
    temper: Temper
    random: Random
    drawer: list[Late] = field(factory=list)
    identity: str = ""
    process: str = ""
    peer: Peer | None = None
    deaf: bool = False
    leaving: bool = False
    works: dict[AssignmentId, Work] = field(factory=dict)
    back: list["Deferred[None]"] = field(factory=list)
    life: Life = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.life = Life(self.world.clock)
        self.process = self.world.new_process()
        self.life.callLater(self.random.expovariate(0.5), self.be_late)

    def delay(self) -> float:
        """How long the next message takes."""
        return self.random.random() * self.temper.delay

    def trouble(self, kind: str = "") -> bool:
        """Whether something goes wrong now."""
        wanted = not kind or kind in self.temper.kinds
        return wanted and not self.world.calm and self.random.random() < self.temper.trouble

    # The connection

    def connect(self) -> None:
        """Join with what is in hand."""
        server = self.world.server
        if self.peer is not None or self.leaving or self.deaf:
            return
        identity = server.desk.identify(self.identity, self.process)
        peer = self.peer = Peer(self, server, self.name)
        peer.session = server.scheduler.join(peer, identity, self.process, self.temper.slots)
        self.identity = identity
        held = [each.held for each in self.works.values()]
        self._go_on(server.scheduler.keep_held(peer.session, held))
        for each in self.back:
            each.callback(None)
        self.back.clear()
        self.ask()
        self._beat_idle(peer)

    def _beat_idle(self, peer: Peer) -> None:
        """Say from time to time that it is there, as workers do: who is silent gets no work."""
        if self.peer is peer and not self.deaf:
            peer.send(peer.server.scheduler.beat, peer.session, [])
            self.life.callLater(IDLE_BEAT_SECONDS, self._beat_idle, peer)

    def _go_on(self, kept: list[Assignment | None]) -> None:
        pairs = list(zip(self.works.values(), kept, strict=True))
        for work, again in pairs:
            if again is None:
                self.life.callLater(0, work.fail, Dropped())
            else:
                work.id = again.id
        self.works = {work.id: work for work, again in pairs if again is not None}

    def disconnect(self) -> None:
        """The link breaks; programs run on."""
        peer, self.peer = self.peer, None
        if peer is None:
            return
        peer.broken()
        peer.server.life.callLater(3 * self.random.random(), peer.end, True)
        self.life.callLater(5 * self.random.random(), self.connect)

    def die(self) -> None:
        """All in hand is lost; the server learns of it later, and another takes the place."""
        self.life.dead = True
        if self.peer is not None:
            self.peer.cut = True
            self.peer.server.life.callLater(3 * self.random.random(), self.peer.end, True)
        self.world.died(self)

    def leave(self) -> None:
        """Say so, give back what has not begun, finish what is in hand if there is time, go."""
        self.leaving = True
        if self.peer is None:
            return
        unbegun = self._drop_unbegun()
        server, peer = self.peer.server, self.peer
        for each in self.works.values():
            self.cut(each, 0)
        stops = [Stop(each.id, each.take_back(0)) for each in self.works.values()]
        peer.send(server.scheduler.give_notice, peer.session, unbegun, stops)
        self.life.callLater(2 * self.random.random(), self._go, peer)

    def _drop_unbegun(self) -> list[AssignmentId]:
        unbegun = [each.id for each in self.works.values() if not each.begun]
        for each in unbegun:
            self.works.pop(each).fail(Dropped())
        return unbegun

    def rest(self) -> None:
        """Give notice, or rest at once, and come again after a while."""
        peer = self.peer
        if peer is None or self.leaving:
            return
        seconds = self.random.choice([0.0, 0.1, 5.0])
        works = [] if seconds else self.works.values()
        unbegun = self._drop_unbegun()
        stops = [Stop(each.id, each.take_back(0)) for each in works]
        peer.send(peer.server.scheduler.give_notice, peer.session, unbegun, stops, seconds)
        self.life.callLater(5 * self.random.random(), self._come_again, peer)

    def _come_again(self, peer: Peer) -> None:
        if not self.leaving:
            peer.send(peer.server.scheduler.welcome_back, peer.session)

    def _go(self, peer: Peer) -> None:
        peer.send(peer.end, False)
        self.life.callLater(1, self.die)

    # Slots

    def ask(self) -> None:
        """Ask for work for every free slot, and at times ahead of need."""
        peer, ahead = self.peer, self.trouble()
        while (
            peer is not None
            and not (self.leaving or self.deaf)
            and len(self.works) + peer.asks < self.temper.slots + ahead
        ):
            peer.asks += 1
            peer.send(self._ask, peer)

    def _ask(self, peer: Peer) -> None:
        asked = peer.server.scheduler.ask(peer.session)
        asked.addCallback(lambda leased: peer.deliver(self._leased, peer, leased.assignment))
        asked.addErrback(lambda reason: reason.trap(CancelledError, LimitExceeded))

    def _leased(self, peer: Peer, assignment: Assignment) -> None:
        peer.asks -= 1
        self.works[assignment.id] = Work.of(assignment)
        self.begin()

    def begin(self) -> None:
        """Begin what waits, as far as slots are free."""
        begun = sum(each.begun for each in self.works.values())
        for work in list(self.works.values()):
            if not work.begun and begun < self.temper.slots:
                begun += 1
                work.begun = True
                running = Deferred.fromCoroutine(self._work(work))
                running.addErrback(self.world.broken)

    async def _work(self, work: Work) -> None:
        try:
            await self._run(work)
            for each in work.commits:
                await each
            work.check()
        except Dropped:
            pass
        except Failed as failed:
            for each in work.commits:
                await each
            if not isinstance(work.error, Dropped):
                self._fail(work, failed)
        if self.works.get(work.id) is work:
            del self.works[work.id]
        self.begin()
        self.ask()

    def _fail(self, work: Work, failed: Failed) -> None:
        if self.peer is not None:
            told = Failure(work.id, work.job_start, work.job_end, failed.kind, "it failed", 1.5)
            self.peer.send(self._failed, self.peer, told, failed.always)

    def _failed(self, peer: Peer, failure: Failure, always: bool) -> None:
        if not (always or self.world.may_fail(peer.server, failure)):
            failure = evolve(failure, kind="TRANSFER_FAILED")
        peer.server.scheduler.fail_job(peer.session, failure)

    async def _pause(self, work: Work, seconds: float) -> None:
        """Wait, unless the work is stopped meanwhile."""
        work.check()
        waiting = work.waiting = Deferred()
        self.life.callLater(seconds, self._wake, work, waiting)
        await waiting

    def _wake(self, work: Work, waiting: "Deferred[None]") -> None:
        if work.waiting is waiting:
            work.waiting = None
            waiting.callback(None)

    async def _run(self, work: Work) -> None:
        task = await self._fetch(work)
        if work.assignment.program.map_whole and isinstance(task, LineWork):
            work.ends = tuple(piece.end for piece, _ in task.pieces)
        at, skipped = work.front, False
        while at < work.end:
            work.check()
            if self.trouble("skip"):
                # What follows cannot count as long as the lease is ours, and may when it is gone.
                at, skipped = at + 1, True
                continue
            wanted = self.random.choice([1, 1, 2, 5, 1000])
            stop = task.limit(at, min(work.end, at + wanted))
            work.job_start, work.job_end = at, stop
            at = await self._run_job(work, task)
        if skipped:
            raise Failed("JOB")

    async def _fetch(self, work: Work) -> LineWork | MergeWork | KeyWork:
        """Read its bytes as the web endpoint sends them, a little at a time."""
        peer, chunks = self.peer, []
        if peer is None:
            raise Failed("TRANSFER_FAILED")
        data = peer.server.docket.data.get(work.assignment.request)
        try:
            for chunk in data.stream(work.assignment) if data is not None else ():
                chunks.append(chunk)
                if self.random.random() < 0.1:
                    await self._pause(work, self.random.random() * self.temper.delay)
                if peer.server.life.dead:
                    raise Failed("TRANSFER_FAILED")
            return read_work(work.assignment, b"".join(chunks))
        except (HaGoopError, LookupError, ValueError) as error:
            # Only what was leased and is no more may be unreadable.
            if peer.server.scheduler.front(work.id) >= 0 and not peer.server.life.dead:
                raise AssertionError(f"{work.assignment} cannot be read") from error
            raise Failed("TRANSFER_FAILED") from error

    async def _run_job(self, work: Work, task: Any) -> int:
        """One job, which may be cut as long as its program runs; where it has ended."""
        work.in_hand = True
        self._beat(work)
        await self._pause(work, self.temper.seconds * self.random.random())
        if self.random.random() < 0.2:
            self.cut(work, 0)
            self._beat(work)
            await self._pause(work, self.temper.seconds * self.random.random())
        await self._misbehave(work)
        work.in_hand = False
        start, stop = work.job_start, work.job_end
        result = task.run(start, stop)
        job, data = self._pack(work, start, stop, result)
        if self.random.random() < 0.3 or "late" in self.temper.kinds:
            self.drawer.append(Late(job, data))
        while len(work.commits) >= COMMITS_IN_FLIGHT:
            await work.commits.pop(0)
        sending = Deferred.fromCoroutine(self._commit(work, job, data))
        sending.addErrback(lambda reason: self._uncommitted(work, reason.value))
        work.commits.append(sending)
        if self.trouble("die"):
            self.die()
            await Deferred()
        return stop

    def cut(self, work: Work, end: int) -> None:
        """Feed its program no more than it must have been fed by now, whatever that is."""
        work.cut(end, self.random.randint(work.job_start, max(work.job_start, work.job_end)))

    def _uncommitted(self, work: Work, error: Exception) -> None:
        if work.error is None:
            work.error = error
        # Not at once: the work may wait for this very commit.
        self.life.callLater(0, work.fail, error)

    def _beat(self, work: Work) -> None:
        if self.peer is not None and self.random.random() < 0.8:
            seen = Seen(work.id, work.job_end, work.job_end, 0)
            self.peer.send(self.peer.server.scheduler.beat, self.peer.session, [seen])

    async def _misbehave(self, work: Work) -> None:
        if self.trouble("die"):
            self.die()
            await Deferred()
        if self.trouble("hang"):
            self.deaf = True
            await Deferred()
        if self.trouble("stall"):
            await self._pause(work, 60 * self.random.random())
        if self.trouble("link"):
            self.disconnect()
        if self.trouble("leave"):
            self.leave()
        if self.trouble("rest"):
            self.rest()
        if self.trouble("fail"):
            raise Failed(self.random.choice(["TRANSFER_FAILED", "PROGRAM_FAILED", "WORKER_UNFIT"]))

    # Committing

    def _pack(self, work: Work, start: int, stop: int, result: Result) -> tuple[Finished, bytes]:
        it, lines = work.assignment, result.lines
        data = b"".join(lines)
        if data and it.phase is not it.program.last_phase:
            data = self._write_run(lines, it.program.order)
        job = Finished(
            id=work.id,
            request=it.request,
            phase=it.phase,
            round=it.round,
            start=start,
            end=stop,
            upload="1" if data else "",
            digest=hashlib.sha256(data).hexdigest(),
            size=len(data),
            seconds=self.temper.seconds / 2,
            overhead_seconds=0.01,
            counters=result.counters,
        )
        return job, data

    def _write_run(self, lines: list[bytes], order: Order) -> bytes:
        # Of other keys the least blocks would not hold enough to be compared with all bounds.
        block, bound, entries = self.random.choice(BLOCKS if order == Order.BY_KEY else BLOCKS[1:2])
        writer = RunWriter(
            order=order, block_bytes=block, bound_bytes=bound, index_entries=entries
        )
        return writer.write(b"".join(lines)) + writer.finish()

    async def _commit(self, work: Work, job: Finished, data: bytes) -> None:
        for _ in range(TRIES):
            work.check()
            if self.peer is None:
                await self._wait_for_link()
                continue
            try:
                accepted, front = await self.say_commit(self.peer, evolve(job, id=work.id), data)
            except WorkerLost:
                continue
            if not accepted:
                raise Dropped() if front < 0 else Failed("JOB")
            work.front = max(work.front, job.end)
            return
        raise Failed("TRANSFER_FAILED")

    async def _wait_for_link(self) -> None:
        waiting: Deferred[None] = Deferred()
        self.back.append(waiting)
        await waiting

    def say_commit(self, peer: Peer, job: Finished, data: bytes) -> "Deferred[tuple[bool, int]]":
        """Send the bytes and ``Commit``; at times twice, at times damaged first."""
        if self.trouble("damage"):
            peer.send(self._arrived, peer, job, data[:-1] + b"?", None)
        result = peer.call()
        peer.send(self._arrived, peer, job, data, result)
        if self.trouble("again"):
            again = peer.call()
            again.addErrback(lambda reason: reason.trap(WorkerLost))
            peer.send(self._arrived, peer, job, data, again)
        return result

    def _arrived(
        self, peer: Peer, job: Finished, data: bytes, result: "Deferred[tuple[bool, int]] | None"
    ) -> None:
        arrived = None
        if data:
            arriving = peer.server.disk.spool.receive(len(data))
            arriving.write(data)
            arrived = arriving.finish()
        if result is None:
            job = self._lie(job, arrived)
        committed = Deferred.fromCoroutine(peer.server.scheduler.commit(peer.session, job, arrived))
        committed.addCallback(self._answer_commit, peer, job, result)
        if result is None:
            committed.addErrback(lambda reason: reason.trap(BadMessage))
        committed.addErrback(self.world.broken)

    def _lie(self, job: Finished, arrived: Any) -> Finished:
        """Announce damaged bytes as what was promised, or, if the format tells, as they are."""
        run = self.world.prints_runs(job)
        if arrived is None or not run or self.random.random() < 0.5:
            return evolve(job, size=job.size + 1)
        return evolve(job, size=arrived.size, digest=arrived.digest)

    def _answer_commit(
        self, accepted: bool, peer: Peer, job: Finished, result: "Deferred[tuple[bool, int]] | None"
    ) -> None:
        if accepted:
            assert result is not None, f"damaged bytes were accepted: {job}"
            done = job.request, job.phase, job.round, job.start, job.end
            assert done in peer.server.disk.safe or self.world.has_ended(job.request)
        if result is not None:
            peer.deliver(peer.answer, result, (accepted, peer.server.scheduler.front(job.id)))

    def be_late(self) -> None:
        """Commit something old, under its old id."""
        if self.drawer and self.peer is not None and not self.world.calm:
            late = self.random.choice(self.drawer[-self.random.choice([4, 1000]) :])
            self.world.lates += 1
            said = self.say_commit(self.peer, late.job, late.data)
            said.addErrback(lambda reason: reason.trap(WorkerLost))
        often = 4.0 if "late" in self.temper.kinds else 0.5
        self.life.callLater(self.random.expovariate(often), self.be_late)

    # What the server says

    def cancel(self, assignment: AssignmentId) -> None:
        """End the program, drop the assignment."""
        work = self.works.pop(assignment, None)
        if work is not None and not self.deaf:
            work.fail(Dropped())
            if not work.begun:
                self.begin()
                self.ask()

    def take_back(self, assignment: AssignmentId, end: int) -> int:
        """Stop there; from what is not held everything is free."""
        work = self.works.get(assignment)
        if work is None:
            return end
        self.cut(work, end)
        return work.take_back(end)
