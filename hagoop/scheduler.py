"""Enacts what the ledger decides: leases, cancels, commits, takings back, with Deferreds."""

from collections.abc import Callable, Sequence

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure as TwistedFailure

from hagoop import policy
from hagoop.advancing import advance
from hagoop.comparing import EMPTY, Comparing
from hagoop.disk import is_shortage
from hagoop.docket import Docket
from hagoop.errors import (
    BadMessage,
    Damaged,
    HaGoopError,
    LimitExceeded,
    StateError,
    WorkerLost,
)
from hagoop.interfaces import Arrived, IWorker, Syncable
from hagoop.jobs import (
    Assignment,
    AssignmentId,
    Failure,
    Finished,
    Held,
    Phase,
    Place,
    RequestId,
    Seen,
    SessionId,
    State,
    Stop,
    WorkerId,
    WorkerStatus,
)
from hagoop.leases import (
    Cancel,
    Close,
    Decision,
    Lease,
    NobodyFit,
    PhaseEnded,
    ProgramBroken,
    Session,
    SetAside,
    TakeBack,
)
from hagoop.leasing import ServingBroke
from hagoop.ledger import Ledger
from hagoop.phases import RequestData
from hagoop.recorder import RETRY_SECONDS
from hagoop.requests import Given
from hagoop.runs import RunIndex
from hagoop.sentences import bad_line, nobody_fit, program_broken
from hagoop.statuses import status_of_worker
from hagoop.survived import Survived

log = Logger()
OUTPUT_BYTES = 4 << 30
"""The most that one job may print."""
ASKS_PER_SLOT = 2


@frozen
class Leased:
    """An assignment and its outcome.

    :param ended: fires with ``None`` when the lease ends by commits or is given back, fails with
        ``WorkerLost``; cancelling it sends ``Cancel``.
    """

    assignment: Assignment
    ended: "Deferred[None]"


@define(eq=False)
class Scheduler:
    """One server's scheduler; all times are those of ``clock``."""

    ledger: Ledger
    clock: IReactorTime
    docket: Docket = field(init=False)
    workers: dict[SessionId, IWorker] = field(factory=dict)
    records_changed: Callable[[WorkerId], None] = field(default=lambda _: None)
    session_began: Callable[[Session], None] = field(default=lambda _: None)
    session_over: Callable[[Session, bool], None] = field(default=lambda *_: None)
    survived: Survived = field(factory=Survived)
    _asks: dict[SessionId, list["Deferred[Leased]"]] = field(factory=dict)
    _leased: dict[AssignmentId, Leased] = field(factory=dict)
    _sessions: int = 0
    _serving: bool = False
    _reviews: LoopingCall | None = None
    _helping: IDelayedCall | None = None

    def start(self) -> None:
        """Review deadlines and the tail from now on."""
        self.ledger.returns_awaited(self.clock.seconds())
        self._reviews = LoopingCall(self.review)
        self._reviews.clock = self.clock
        self._reviews.start(policy.BEAT_SECONDS, now=False)

    def stop(self) -> None:
        """Answer no more asks."""
        if self._reviews is not None and self._reviews.running:
            self._reviews.stop()
        if self._helping is not None and self._helping.active():
            self._helping.cancel()
        for session in list(self._asks):
            self._end_asks(session)

    # Sessions

    def join(self, worker: IWorker, identity: WorkerId, process: str, slots: int) -> Session:
        """A worker's session begins; the identity must be free."""
        self._sessions += 1
        now = self.clock.seconds()
        session = Session(SessionId(self._sessions), identity, process, str(worker.name), slots, now)
        self.ledger.worker_joined(session, now)
        self.workers[session.id] = worker
        self.records_changed(identity)
        self.session_began(session)
        log.info("worker {name} joined as {identity}", name=worker.name, identity=identity)
        return session

    def awaits_count(self, held: Sequence[Held]) -> bool:
        """Whether what a worker holds cannot be judged yet, for its lines are being counted again."""
        return self.ledger.awaits_count(held, self.clock.seconds())

    def keep_held(self, session: Session, held: Sequence[Held]) -> list[Assignment | None]:
        """A worker came back with work in hand: lease anew what is open."""
        now = self.clock.seconds()
        for each in held:
            self.enact(self.ledger.room_made(session.id, each, now))
        kept = [self.ledger.held_again(session.id, each, now) for each in held]
        started = [None if lease is None else self._try_to_start(lease) for lease in kept]
        return [None if leased is None else leased.assignment for leased in started]

    def leave(self, session: Session, *, failed: bool) -> None:
        """A session is over."""
        if self.workers.pop(session.id, None) is None:
            return
        gone = sorted(session.leases)
        if failed:
            self.survived.worker_died(sum(_lines_in_hand(self.ledger.leases[each]) for each in gone))
        self.session_over(session, failed)
        decisions = self.ledger.session_ended(session.id, self.clock.seconds(), failed=failed)
        for each in gone:
            self._settle(each, WorkerLost(f"{session.name} has left"))
        self._end_asks(session.id)
        self.records_changed(session.worker)
        log.info("worker {name} left, failed: {failed}", name=session.name, failed=failed)
        self.enact(decisions)

    def give_notice(
        self,
        session: Session,
        unbegun: Sequence[AssignmentId],
        stops: Sequence[Stop],
        seconds: float = 0.0,
    ) -> None:
        """A worker leaves or rests in so long, and hands back what it has not begun."""
        for each in unbegun:
            self.give_back(session, each)
        for stop in stops:
            if stop.id in session.leases:
                self._taken_back(stop.end, stop.id)
        now = self.clock.seconds()
        if seconds > 0:
            self.enact(self.ledger.worker_leaves_in(session.id, seconds, now))
        else:
            self.ledger.worker_rests(session.id, now)

    def welcome_back(self, session: Session) -> None:
        """A worker has rested, or stays after all."""
        self.ledger.worker_is_back(session.id, self.clock.seconds())
        self._hear(session)
        self._serve_soon()

    def give_back(self, session: Session, assignment: AssignmentId) -> None:
        """A worker has dropped an assignment."""
        self.ledger.assignment_returned(session.id, assignment)
        self._settle(assignment)
        self._serve_soon()

    # Leases

    def ask(self, session: Session) -> "Deferred[Leased]":
        """A slot wants work; fires when there is some, is cancelled when the session ends."""
        waiting: Deferred[Leased] = Deferred(lambda gone: self._withdraw(session.id, gone))
        asked = self._asks.setdefault(session.id, [])
        if len(asked) >= ASKS_PER_SLOT * session.slots:
            waiting.errback(LimitExceeded(f"more than {ASKS_PER_SLOT} asks for each slot"))
            return waiting
        asked.append(waiting)
        self.ledger.worker_asked(session.id, self.clock.seconds())
        self._serve_soon()
        return waiting

    def _withdraw(self, session: SessionId, ask: "Deferred[Leased]") -> None:
        """An ask was cancelled."""
        self._asks[session].remove(ask)
        self.ledger.ask_withdrawn(session)

    def _end_asks(self, session: SessionId) -> None:
        for each in list(self._asks.get(session, ())):
            each.cancel()
        self._asks.pop(session, None)

    def _serve_soon(self) -> None:
        if not self._serving:
            self._serving = True
            self.clock.callLater(0, self._serve)

    def _serve(self) -> None:
        self._serving = False
        for lease in self._lease():
            self._answer(lease)
        if self._helping is None and self.ledger.waiting:
            seconds = policy.review_seconds(len(self.workers))
            self._helping = self.clock.callLater(seconds, self._help)

    def _lease(self) -> Sequence[Lease]:
        """Work for those who wait; who cannot be served must not keep the others waiting."""
        try:
            return self.ledger.serve(self.clock.seconds())
        except ServingBroke as broke:
            log.failure("serving session {session} broke", session=broke.session)
            self.workers[broke.session].close("serving it broke")
            return broke.served

    def _answer(self, lease: Lease) -> None:
        """Give a worker what it was leased; else it waits on."""
        session = lease.session
        if session.id not in self.workers:
            return
        leased = self._try_to_start(lease)
        if leased is None:
            self.ledger.worker_asked(session.id, session.heard)
        else:
            self._asks[session.id].pop(0).callback(leased)

    def _try_to_start(self, lease: Lease) -> Leased | None:
        if lease.id not in self.ledger.leases:
            return None  # Its request failed since.
        try:
            return self._start_lease(lease)
        except Exception as error:
            self._not_started(lease, error)
            return None

    def _not_started(self, lease: Lease, error: Exception) -> None:
        """A lease is nobody's again; whatever was wrong, those that were made with it must begin."""
        self.ledger.assignment_returned(lease.session.id, lease.id)
        if isinstance(error, HaGoopError | OSError):
            self.docket.unreadable(lease.request.id, error)
        else:
            self._stuck(TwistedFailure(error), lease.request.id)

    def _help(self) -> None:
        """Those who wait may take over or copy what others hold."""
        self._helping = None
        decisions = self.ledger.help(self.clock.seconds())
        if decisions:
            self.enact(decisions)

    def _start_lease(self, lease: Lease) -> Leased:
        stretch, progress = lease.stretch, lease.progress
        # Found out now: an input that has changed.
        self.docket.data[lease.request.id].pieces(progress.phase, stretch.front, stretch.end)
        history = progress.histories.get(stretch.front)
        assignment = Assignment(
            id=lease.id,
            request=lease.request.id,
            phase=progress.phase,
            round=progress.round,
            start=stretch.front,
            end=stretch.end,
            weight=lease.open_weight,
            commit_seconds=lease.commit_seconds,
            attempt=len(history.failed_by) if history else 0,
            program=lease.request.program,
            grant="",
            output_bytes=OUTPUT_BYTES,
        )
        self.survived.copies += not lease.is_alone
        worker = self.workers[lease.session.id]
        ended: Deferred[None] = Deferred(lambda _: worker.cancel(lease.id, "it is not needed any more"))
        ended.addErrback(self._lost, lease.id)
        self._leased[lease.id] = leased = Leased(assignment, ended)
        return leased

    def _lost(self, reason: TwistedFailure, assignment: AssignmentId) -> None:
        reason.trap(WorkerLost, CancelledError)
        log.debug("lease {assignment}: {reason}", assignment=assignment, reason=reason.value)

    def _settle(self, assignment: AssignmentId, error: Exception | None = None) -> None:
        """If the ledger has forgotten a lease, let its Deferred fire."""
        if assignment in self.ledger.leases or assignment not in self._leased:
            return
        ended = self._leased.pop(assignment).ended
        if error is None:
            ended.callback(None)
        else:
            ended.errback(error)

    def beat(self, session: Session, seen: Sequence[Seen]) -> None:
        """How far a worker's jobs are."""
        now = self.clock.seconds()
        self._hear(session)
        for each in seen:
            self.ledger.line_seen(session.id, each, now)

    def _hear(self, session: Session) -> None:
        """It lives; if that was in doubt, it may have work now."""
        now = self.clock.seconds()
        if self.ledger.fleet.is_quiet(session, now):
            self._serve_soon()
        session.heard = now

    # What jobs come to

    async def commit(self, session: Session, job: Finished, arrived: Arrived | None) -> bool:
        """Whether a job counts; it is on disk then.  ``arrived``: its bytes, None if it printed nothing.

        :raises BadMessage: the bytes are not what the job says.
        """
        data = self.docket.data.get(job.request)
        if data is None or not self.ledger.accepts(session.id, job):
            Comparing(self.docket).came_late(session.name, job, arrived)
            self.survived.job_came_late(job.end - job.start if job.phase is Phase.MAP else 0)
            return False
        kept = self._keep(data, job, arrived)
        progress, decisions = self.ledger.job_committed(session.id, job, self.clock.seconds())
        if progress is None:
            return False
        place = kept[0] if kept else None
        given = Given(job.end, job.digest if arrived else EMPTY, place, session.name)
        self.ledger.requests[job.request].given[job.phase, job.round, job.start] = given
        self.enact(decisions)
        self._settle(job.id)
        self.records_changed(session.worker)
        await self.docket.store(job.request, progress, job, kept)
        self._serve_soon()
        return True

    def _keep(
        self, data: RequestData, job: Finished, arrived: Arrived | None
    ) -> tuple[Place, Syncable] | None:
        """Check a job's bytes and give them a place; those that get none are nobody's any more."""
        if arrived is None:
            if job.size:
                raise BadMessage("a job's bytes have not arrived")
            return None
        try:
            index = self._check(data, job, arrived)
            kept = self.docket.spool.keep(data.shelf(job.phase), arrived)
        except BaseException:
            arrived.discard()
            raise
        if index is not None:
            data.know(kept[0], index)
        return kept

    def _check(self, data: RequestData, job: Finished, arrived: Arrived) -> RunIndex | None:
        if (arrived.size, arrived.digest) != (job.size, job.digest):
            raise BadMessage("a job's bytes are not those that it announced")
        return data.check_run(arrived) if data.prints_runs(job.phase) else None

    def front(self, assignment: AssignmentId) -> int:
        """Where an assignment's front is, -1 when it is gone."""
        lease = self.ledger.leases.get(assignment)
        return lease.stretch.front if lease else -1

    def commit_seconds(self, assignment: AssignmentId) -> float:
        """How long a lease's next jobs should take, 0 when it is gone."""
        lease = self.ledger.leases.get(assignment)
        return lease.commit_seconds if lease else 0.0

    def fail_job(self, session: Session, failure: Failure) -> None:
        """A job failed on a worker."""
        log.info(
            "{worker}: {assignment} failed at {start}-{end}: {message}",
            worker=session.name,
            assignment=failure.id,
            start=failure.start,
            end=failure.end,
            message=failure.message,
        )
        decisions = self.ledger.job_failed(session.id, failure, self.clock.seconds())
        self._settle(failure.id)
        self.enact(decisions)

    # Decisions

    def review(self) -> None:
        """Look for what has stalled and for what idle workers could take over."""
        sessions = self.ledger.fleet.sessions.values()
        hung = sum(each.stalled for each in sessions)
        decisions = self.ledger.review(self.clock.seconds())
        # A review lets nobody go on: what changes is who has stalled.
        self.survived.hangs += sum(each.stalled for each in sessions) - hung
        self.enact(decisions)

    def enact(self, decisions: Sequence[Decision]) -> None:
        """Carry out what the ledger decided."""
        for each in decisions:
            self._enact(each)
        self._serve_soon()

    def _enact(self, decision: Decision) -> None:
        match decision:
            case Cancel(assignment=assignment):
                self._cancel(assignment)
            case TakeBack():
                self._take_back(decision)
            case Close(session=session, reason=reason):
                log.info("closing session {session}: {reason}", session=session, reason=reason)
                self.workers[session].close(reason)
            case PhaseEnded(request=request):
                self._advance(request)
            case ProgramBroken(request=request):
                data = self.docket.data[request]
                self.docket.fail(request, program_broken(data, decision))
            case SetAside(request=request):
                self._set_aside(decision)
            case NobodyFit(request=request):
                self.docket.fail(request, nobody_fit(self.ledger, request))

    def _cancel(self, assignment: AssignmentId) -> None:
        leased = self._leased.pop(assignment, None)
        if leased is not None:
            leased.ended.cancel()

    def _take_back(self, decision: TakeBack) -> None:
        asked = self.workers[decision.session].take_back(decision.assignment, decision.end)
        asked.addCallback(self._taken_back, decision.assignment)
        asked.addErrback(self._lost, decision.assignment)

    def _taken_back(self, end: int, assignment: AssignmentId) -> None:
        self.ledger.end_taken_back(assignment, end)
        self._settle(assignment)
        self._serve_soon()

    def _set_aside(self, decision: SetAside) -> None:
        request = decision.request
        try:
            line = bad_line(self.docket.data[request], decision.failure)
        except HaGoopError as error:
            if is_shortage(error):
                self._try_again(request, error, lambda: self._set_aside(decision))
            else:
                self.docket.stopped(request, error)
            return
        except Exception:
            self._stuck(TwistedFailure(), request)
            return
        log.info("{request}: {line} is passed over", request=request, line=line)
        setting = Deferred.fromCoroutine(self.docket.set_aside(decision, line))
        setting.addErrback(self._stuck, request)

    def _advance(self, request: RequestId) -> None:
        advanced = Deferred.fromCoroutine(advance(self.docket, request))
        advanced.addErrback(self._not_advanced, request)

    def _not_advanced(self, reason: TwistedFailure, request: RequestId) -> None:
        if request in self.docket.data and is_shortage(reason.value):
            self._try_again(request, reason.value, lambda: self._advance(request))
        else:
            self._stuck(reason, request)

    def _try_again(
        self, request: RequestId, problem: BaseException | None, act: Callable[[], None]
    ) -> None:
        """Soon, if the request is still where it is now."""
        log.warn("{request} waits: {problem}", request=request, problem=problem)
        account, data = self.ledger.requests[request], self.docket.data[request]

        def again() -> None:
            if self.docket.data.get(request) is data and account.state is State.RUNNING:
                act()

        self.clock.callLater(RETRY_SECONDS, again)

    def _stuck(self, reason: TwistedFailure, request: RequestId) -> None:
        account = self.ledger.requests.get(request)
        if account is None or account.state in (State.CANCELLED, State.FAILED):
            # Its data went away while they were read.
            return
        if isinstance(reason.value, StateError):
            # The server ends, and says why if there is a reason: its next start goes on from here.
            return
        if isinstance(reason.value, Damaged):
            self.docket.stopped(request, reason.value)
            return
        log.failure("request {request} cannot go on", reason, request=request)
        self.docket.fail(request, f"the server could not go on: {reason.getErrorMessage()}")

    def forget(self, request: RequestId) -> None:
        """Tell all workers that a request has ended."""
        for each in self.workers.values():
            each.forget(request)

    # Showing

    def statuses(self) -> list[WorkerStatus]:
        """All workers as clients see them."""
        now = self.clock.seconds()
        return [status_of_worker(self.ledger, each, now) for each in self.ledger.fleet.sessions.values()]


def _lines_in_hand(lease: Lease) -> int:
    """What its holder has begun and not committed, in map."""
    begun = min(lease.job_end, lease.stretch.end) if lease.progress.phase is Phase.MAP else 0
    return max(0, begun - lease.stretch.front)
