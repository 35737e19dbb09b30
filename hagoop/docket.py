"""All requests and their data: submitted, moved from phase to phase, ended, forgotten."""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Protocol

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure as TwistedFailure

from hagoop import wire
from hagoop.ages import Ages
from hagoop.answers import Answer, InThread
from hagoop.errors import (
    RequestError,
    StateError,
    TransferFailed,
    UnknownRequest,
)
from hagoop.interfaces import IInputs, IJournal, ISpool, Syncable
from hagoop.jobs import (
    LEAP,
    BadLine,
    Finished,
    Output,
    Phase,
    Place,
    RequestId,
    RequestStatus,
    State,
    Submission,
)
from hagoop.leases import Decision, SetAside
from hagoop.ledger import Ledger
from hagoop.line_counts import LineCounts
from hagoop.merging import MERGE_RUNS
from hagoop.phases import RequestData
from hagoop.progress import Progress
from hagoop.recorder import Fact, Recorder
from hagoop.requests import Request
from hagoop.statuses import counters_of, status_of
from hagoop.submit_keys import Named, SubmitKeys
from hagoop.taken import Taken

log = Logger()
CUTS = 1000
"""After a start from a backup things are cut under numbers that are higher by so many."""


class InputsFactory(Protocol):
    """Opens inputs: for a new request from its sources, after a restart from its fact."""

    async def survey(
        self, request: RequestId, submission: Submission
    ) -> tuple[Fact, Sequence[Syncable]]:
        """Check sources and programs now, keep what was uploaded under the request, name the files.

        :raises RequestError: something is missing, unreadable or not allowed.
        """

    def open(
        self, fact: Fact, grown: Callable[[], None]
    ) -> "tuple[IInputs, Callable[[], Deferred[None]]]":
        """The inputs that were surveyed, and what begins to count their lines."""


@define(eq=False)
class Docket:
    """The requests that a server knows.

    :ivar enact: carries out what the ledger decides.
    :ivar wall: seconds since 1970, for ages that outlive this process.
    :ivar owners: whose each request is: the id of a client's secret, empty where none was asked for.
    :ivar damaged: what to say of answers that are not what they were.
    :ivar unreadable: told what a request needs and the spool has lost; by default the request fails.
    :ivar stopped: the same where nobody tries again: the request stands still until it is restored.
    """

    ledger: Ledger
    journal: IJournal
    spool: ISpool
    inputs: InputsFactory
    clock: IReactorTime
    in_thread: InThread
    wall: Callable[[], float]
    enact: Callable[[Sequence[Decision]], None]
    forgotten_by_workers: Callable[[RequestId], None]
    most_runs: int = MERGE_RUNS
    data: dict[RequestId, RequestData] = field(factory=dict)
    ended_facts: dict[RequestId, tuple[str, int]] = field(factory=dict)
    owners: dict[RequestId, str] = field(factory=dict)
    keys: SubmitKeys = field(factory=SubmitKeys)
    damaged: dict[RequestId, str] = field(factory=dict)
    unreadable: Callable[[RequestId, Exception], None] = field(init=False)
    stopped: Callable[[RequestId, BaseException], None] = field(init=False)
    counts: LineCounts = field(init=False)
    recorder: Recorder = field(init=False)
    ages: Ages = field(init=False)
    _walls: dict[RequestId, float] = field(factory=dict)
    _waiting: dict[RequestId, list["Deferred[None]"]] = field(factory=dict)
    _number: int = 0
    _gone: list[RequestId] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.unreadable = self.stopped = lambda request, problem: self.fail(request, str(problem))
        self.counts = LineCounts(self.grown, self._miscounted)
        self.recorder = Recorder(self.journal, self.clock)
        self.ages = Ages(self.clock, self.wall)

    # Submitting

    async def submit(self, key: str, submission: Submission, owner: str = "") -> RequestId:
        """Write a request down and begin it; the same key again is the same request.

        :raises RequestError: its inputs or programs cannot be used.
        """
        named = owner, key
        return await self.keys.once(named, lambda: self._submit(named, submission))

    async def _submit(self, key: Named, submission: Submission) -> RequestId:
        self._number += 1
        request = RequestId(f"r{self._number}")
        try:
            fact = await self._write_down(request, key, submission)
        except StateError:
            # The disk failed: it may have been written down all the same.
            raise
        except Exception:
            # What was uploaded for it is nobody's now.
            await self.spool.forget(request)
            raise
        self.admit(request, fact)
        log.info("request {request} submitted: {label}", request=request, label=submission.label)
        self.begin(request)
        return request

    async def _write_down(self, request: RequestId, key: Named, submission: Submission) -> Fact:
        files, syncs = await self.inputs.survey(request, submission)
        fact: Fact = {
            "owner": key[0],
            "key": key[1],
            "submission": wire.to_plain(submission),
            "inputs": files,
            "wall": self.wall(),
        }
        await self.journal.append(request, "submitted", fact, syncs)
        return fact

    def admit(self, request: RequestId, fact: Fact) -> None:
        """A request is on disk: give it its account and its data."""
        submission = wire.from_plain(Submission, fact["submission"])
        wall = wire.from_plain(float, fact["wall"])
        self._number = max(self._number, int(request[1:]))
        # Those of the first version had no owners.
        owner = self.owners[request] = wire.from_plain(str, fact.get("owner", ""))
        self.keys.keep((owner, wire.from_plain(str, fact["key"])), request)
        self._walls[request] = wall
        now = self.clock.seconds()
        self.ledger.request_submitted(request, submission, now - max(0.0, self.wall() - wall))
        files = wire.from_plain(dict, fact["inputs"])
        inputs, count = self.inputs.open(files, lambda: self.grown(request))
        self.counts.know(request, count)
        answer = Answer(self.spool, self.in_thread)
        data = RequestData(request, submission, inputs, self.spool, answer, self.most_runs)
        data.least_cut = self.ledger.epoch // LEAP * CUTS
        self.data[request] = data

    async def take_up(self, key: Named, taken: Taken) -> RequestId:
        """Begin a request that goes on from what another has committed, until the server ends.

        :raises UnknownRequest: the other was forgotten meanwhile.
        """
        self._number += 1
        request, lender = RequestId(f"r{self._number}"), taken.lender
        # Only its number must be known after a restart.
        await self.recorder.record(request, "submitted", {"partial_of": lender.id})
        if self.data.get(lender.id) is not lender:
            await self._drop(request)
            raise UnknownRequest(f"the request {lender.id} was forgotten")
        self.owners[request], self._walls[request] = key[0], self.wall()
        self.keys.keep(key, request)
        self.ledger.request_submitted(request, taken.submission, self.clock.seconds())
        answer = Answer(self.spool, self.in_thread)
        data = taken.begin(request, answer, self.most_runs)
        self.data[request] = data
        taken.copy_to(self.ledger.requests[request])
        self.enact(self.ledger.phase_given(request, taken.phase, taken.outputs))
        return request

    def found_forgotten(self, request: RequestId, *, is_partial: bool = False) -> None:
        """At recovery: there was such a request; its number is not given again."""
        self._number = max(self._number, int(request[1:]))
        if not is_partial:
            self._gone.append(request)
            return
        self._once_running("dropping", request, lambda: self._drop(request))

    async def _drop(self, request: RequestId) -> None:
        """Nothing of a request is needed any more; its number is not given again."""
        if int(request[1:]) == self._number:
            await self._keep_number(request)
        # First: once the request is gone, nobody would know whose they are.
        await self.recorder.forget(f"{request}.runs")
        await self.recorder.forget(request)

    def begin(self, request: RequestId) -> None:
        """Start, or start again, a step's map phase: its lines are counted while it runs."""
        account = self.ledger.requests[request]
        if account.progress is None:
            self.ledger.phase_began(request, Phase.MAP, account.step, None)
        self.counts.begin(request)

    def grown(self, request: RequestId) -> None:
        """More lines of a request are known."""
        account = self.ledger.requests.get(request)
        if account is None or account.state is not State.RUNNING:
            return
        inputs = self.data[request].inputs
        self.enact(
            self.ledger.lines_counted(
                request, inputs.lines, inputs.estimate, inputs.breaks, whole=inputs.whole
            )
        )

    def _miscounted(self, request: RequestId, error: BaseException) -> None:
        # After a state's error the server stops, and its next life counts anew.
        if isinstance(error, StateError):
            return
        if isinstance(error, RequestError):
            self.fail(request, str(error))
        elif isinstance(error, TransferFailed):
            self.stopped(request, error)
        else:
            log.error("counting lines of {request}: {error!r}", request=request, error=error)
            self.fail(request, f"the input cannot be read: {error}")

    # Outputs

    async def store(
        self, request: RequestId, progress: Progress, job: Finished, kept: tuple[Place, Syncable] | None
    ) -> None:
        """Put an accepted commit on disk, then let it count; it waits while the disk is full."""
        place = kept[0] if kept else None
        output = Output(job.start, job.end, job.digest, place)
        # Nobody reads by which lease it came but those who check a journal.
        told: Fact = {"counters": wire.to_plain(job.counters), "lease": job.id}
        stream = self.data[request].shelf(progress.phase)
        syncs = [kept[1]] if kept else []
        if await self._store(request, progress, output, (stream, "committed", told, syncs)):
            self.enact(self.ledger.output_stored(request, progress, output))

    async def set_aside(self, decision: SetAside, line: BadLine) -> None:
        """Put on disk that a line is passed over, then let it count as one that printed nothing."""
        request, progress = decision.request, decision.progress
        output = Output(line.position, line.position + 1, "", None)
        # Not where what the end clears is recorded.
        stream, told = self.data[request].answer_shelf, {"line": wire.to_plain(line)}
        if await self._store(request, progress, output, (stream, "bad", told, ())):
            self.ledger.requests[request].found_bad(line)
            self.enact(self.ledger.output_stored(request, progress, output))

    async def warn(self, request: RequestId, told: str) -> None:
        """Put on disk what whoever reads the answer should know, then show it."""
        account = self.ledger.requests[request]

        def is_open() -> bool:
            return request in self.data and request not in self.ended_facts

        await self.recorder.record(request, "warned", {"told": told}, (), is_open)
        account.warnings.append(told)

    async def _store(
        self,
        request: RequestId,
        progress: Progress,
        output: Output,
        row: tuple[RequestId, str, Fact, Sequence[Syncable]],
    ) -> bool:
        """Put an output on disk; whether the request still waited for it then."""
        data, (stream, kind, told, syncs) = self.data[request], row
        where: Fact = {"phase": progress.phase, "round": progress.round, "step": data.step}

        def is_open() -> bool:
            return self.data.get(request) is data and request not in self.ended_facts

        fact = {**where, "output": wire.to_plain(output), **told}
        await self.recorder.record(stream, kind, fact, syncs, is_open)
        if is_open() and data.is_answer(progress.phase):
            data.answer.add(output)
        return is_open()

    # What is lost

    def answer_damaged(self, request: RequestId, problem: str) -> None:
        """The answer of a request that has ended is not what it was."""
        log.error("the answer of {request}: {problem}", request=request, problem=problem)
        self.damaged[request] = (
            f"the answer of {request} was damaged on the server's disk; submit the request again"
        )

    async def end_partials(self, request: RequestId, message: str) -> None:
        """End those that read what is on a request's shelves."""
        for each in list(self.ledger.requests.values()):
            if each.partial_of == request:
                await self.end(each.id, State.FAILED, message)

    def set_back(self, request: RequestId) -> Request:
        """Let go of all that a request has come to, until it is restored; its new account."""
        data = self.data[request]
        self.enact(self.ledger.request_set_back(request))
        self.counts.stop(request)
        # What is still on its way into the old one is not written down any more.
        self.data[request] = evolve(data, answer=Answer(self.spool, self.in_thread))
        # Clients come back, and find the new one.
        data.answer.close(failed=True)
        data.close_inputs()
        self.forgotten_by_workers(request)
        return self.ledger.requests[request]

    async def record_lost(self, request: RequestId, places: Sequence[Place | None]) -> None:
        """Put on disk what was lost of a request that is set back, or that nothing was."""
        kind, fact = "lost" if places else "sound", {"places": wire.to_plain(places)}
        await self.recorder.record(request, kind, fact, (), lambda: request in self.data)

    def fail(self, request: RequestId, message: str) -> None:
        """End a request without an answer."""
        ending = Deferred.fromCoroutine(self.end(request, State.FAILED, message))
        ending.addErrback(_broken, "ending", request)

    async def end(
        self, request: RequestId, state: State, message: str, digest: str = "", size: int = 0
    ) -> None:
        """The one end of a request: on disk first, then everybody learns of it."""
        account = self.ledger.requests[request]
        if account.state is not State.RUNNING:
            return
        data = self.data[request]
        decisions = self.ledger.request_ended(request, state, message)
        self.enact(decisions)
        fact: Fact = {
            "state": state,
            "message": message,
            "digest": digest,
            "size": size,
            "counters": wire.to_plain(counters_of(account)),
            "wall": self.wall(),
        }
        await self.recorder.record(request, "ended", fact)
        self.ended_facts[request] = digest, size
        self.ages.ended(request)
        log.info("request {request} {state} {message}", request=request, state=state, message=message)
        self.forgotten_by_workers(request)
        # Whoever waits for the end may forget the request at once.
        self._close(request, failed=state is not State.DONE)
        lender, data.lender = data.lender, None
        try:
            await self._clear_runs(data)
        finally:
            if lender is not None:
                await self.give_back(lender)

    def _close(self, request: RequestId, *, failed: bool) -> None:
        self.data[request].answer.close(failed=failed)
        self.counts.stop(request)
        self.counts.forget(request)
        for each in self._waiting.pop(request, []):
            each.callback(None)

    def found_ended(self, request: RequestId, fact: Fact) -> None:
        """At recovery: this request had ended."""
        digest, size = wire.from_plain(str, fact["digest"]), wire.from_plain(int, fact["size"])
        self.ended_facts[request] = digest, size
        self.ages.had_ended(request, wire.from_plain(float, fact["wall"]))
        self._close(request, failed=fact["state"] != State.DONE)
        # The server may have stopped before it was done with this.
        data = self.data[request]
        self._once_running("clearing", request, lambda: self._clear_runs(data))

    def _once_running(
        self, what: str, request: RequestId, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """At recovery: write when the server runs, for a start that fails would wait for who writes."""

        def begin() -> None:
            Deferred.fromCoroutine(work()).addErrback(_broken, what, request)

        self.clock.callLater(0, begin)

    async def give_back(self, lender: RequestData) -> None:
        """One fewer reads what is on a request's shelves."""
        lender.borrowers -= 1
        if lender.id in self.ended_facts or self.data.get(lender.id) is not lender:
            await self._clear_runs(lender)

    async def _clear_runs(self, data: RequestData) -> None:
        if data.borrowers:
            return
        data.runs.clear()
        data.close_inputs()
        # First: nothing needs them, whatever rows still name, and on a disk that is full they make room.
        await self.spool.forget(data.runs_shelf)
        clearing = Deferred.fromCoroutine(self.recorder.forget(data.runs_shelf))
        clearing.addErrback(_broken, "clearing", data.id)

    async def cancel(self, request: RequestId) -> None:
        """Stop a request; one that has ended stays as it is."""
        self.account(request, None)
        await self.end(request, State.CANCELLED, "it was cancelled")

    async def forget(self, request: RequestId) -> None:
        """Drop a request, cancelled if it runs, with its answer."""
        for each in [each.id for each in self.ledger.requests.values() if each.partial_of == request]:
            await self.forget(each)
        await self.cancel(request)
        # It may be on its way to another end.
        await self.ended(request)
        if int(request[1:]) == self._number:
            await self._keep_number(request)
        if request in self.data:
            # First: once the request is gone, nobody would know whose they are.
            await self.recorder.forget(self.data[request].runs_shelf)
        await self.recorder.forget(request, lambda: request in self.data)
        data = self.data.pop(request, None)
        if data is None:
            # Another has waited for the same.
            return
        self.ledger.request_forgotten(request)
        self.keys.forget(request)
        self._walls.pop(request)
        self.owners.pop(request)
        self.counts.forget(request)
        self.ended_facts.pop(request, None)
        self.damaged.pop(request, None)
        self.ages.forget(request)
        await self.spool.forget(data.answer_shelf)
        self._drop_programs()

    def _drop_programs(self) -> None:
        """Programs stay as long as a request names them, so that the same one travels once."""
        if self.keys.under_way(None):
            # It may be about to name one that nobody else does.
            return
        known = [each.submission.program.files for each in self.data.values()]
        self.spool.drop_blobs(file.digest for files in known for file in files)

    async def _keep_number(self, request: RequestId) -> None:
        """The newest number must not come again after a restart: late commits may name it."""
        if request in self._gone:
            return
        await self.recorder.record(gone_stream(request), "forgotten", {})
        older, self._gone = self._gone, [request]
        for each in [each for each in older if each != request]:
            await self.recorder.forget(gone_stream(each))

    # Asking

    def account(self, request: str, owner: str | None) -> Request:
        """A request's account; an empty id means the newest.

        :param owner: others' requests are as if they were not there; None: all are meant.
        :raises UnknownRequest: there is none.
        """
        if request:
            found = self.ledger.requests.get(RequestId(request))
        else:
            found = next(iter(self.owned(owner)), None)
        if found is None or not self.is_of(found.id, owner):
            if not request:
                raise UnknownRequest("no request has been submitted")
            raise UnknownRequest(f"there is no request '{request}'; hagoop-request list shows all")
        return found

    def is_of(self, request: RequestId, owner: str | None) -> bool:
        """Whether a request is an owner's; None owns all."""
        return owner is None or self.owners.get(request) == owner

    def owned(self, owner: str | None) -> Iterator[Request]:
        """An owner's requests, newest first."""
        newest_first = reversed(self.ledger.requests.values())
        return (each for each in newest_first if self.is_of(each.id, owner))

    def names_program(self, owner: str, digest: str) -> bool:
        """Whether a request of an owner ships a file of this digest."""
        files = (self.data[each.id].submission.program.files for each in self.owned(owner))
        return any(file.digest == digest for shipped in files for file in shipped)

    def ended(self, request: RequestId) -> "Deferred[None]":
        """Fires when a request has ended."""
        waiting: Deferred[None] = Deferred(lambda gone: self._waiting[request].remove(gone))
        if request in self.ended_facts:
            waiting.callback(None)
        else:
            self._waiting.setdefault(request, []).append(waiting)
        return waiting

    def age(self, request: RequestId) -> float:
        """Seconds since it was submitted, restarts included."""
        return max(0.0, self.wall() - self._walls[request])

    def status(self, account: Request) -> RequestStatus:
        """A request as clients see it."""
        ended = self.ended_facts.get(account.id)
        return status_of(self.ledger, account, ended, self.age(account.id), self.clock.seconds())

    def stop(self) -> None:
        """Stop counting lines."""
        self.counts.stop_all()
        for data in self.data.values():
            data.close_inputs()


def _broken(reason: TwistedFailure, what: str, request: RequestId) -> None:
    """Say so, unless the server ends: its next start goes on from here."""
    if not reason.check(StateError):
        log.failure("{what} {request}", reason, what=what, request=request)


def gone_stream(request: RequestId) -> str:
    """Where a forgotten request's number is kept."""
    return f"{request}.gone"
