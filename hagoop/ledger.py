"""All facts: workers and what they have earned, requests and how far they are, who holds what.

It changes only by methods that say what happened, with plain values and the time; what follows
is returned as decisions, which the scheduler enacts.  It knows neither files nor sockets.
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial

from attrs import define, evolve, field

from hagoop import blame, notice, policy
from hagoop.errors import BLAMED_KINDS, LedgerError, LinkBroke, WorkerUnfit
from hagoop.fleet import Fleet
from hagoop.jobs import (
    AssignmentId,
    Failure,
    Finished,
    Held,
    Output,
    Phase,
    RequestId,
    Seen,
    SessionId,
    State,
    Submission,
)
from hagoop.leases import Cancel, Decision, Lease, NobodyFit, PhaseEnded, Session, SetAside, TakeBack
from hagoop.leasing import Leasing
from hagoop.progress import MOST_COMBINED_PIECES, MOST_PIECES, Progress, Scale, Stretch
from hagoop.ranges import Range
from hagoop.requests import Request
from hagoop.returning import make_room
from hagoop.shares import Shares
from hagoop.suspicion import Death
from hagoop.tail import Tail


def _claimed(start: int, end: int) -> Range | None:
    """The range that a worker speaks of, unless there is no such thing."""
    return Range(start, end) if 0 <= start < end else None


def _within(lease: Lease, failure: Failure) -> Failure:
    """The failure, its place as far as it lies in what its worker holds."""
    held = lease.stretch.open
    start = min(max(failure.start, held.start), held.end - 1)
    claimed = Range(start, min(max(failure.end, start + 1), held.end))
    place = lease.progress.edges_around(claimed, held)
    return evolve(failure, start=place.start, end=place.end)


@define(eq=False)
class Ledger:
    """The server's memory.  Times are seconds of one monotonic clock."""

    epoch: int = 1
    fleet: Fleet = field(factory=Fleet)
    requests: dict[RequestId, Request] = field(factory=dict)
    leases: dict[AssignmentId, Lease] = field(factory=dict)
    leasing: Leasing = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.leasing = Leasing(self.epoch, self.fleet, self.requests, self.leases)

    # Workers

    def worker_joined(self, session: Session, now: float) -> None:
        """A session begins; its identity must not have another.

        What the machine lacked before may have been installed since.
        """
        self.fleet.joined(session, now)
        for request in self.requests.values():
            request.unfit.pop(session.worker, None)

    def worker_leaves(self, session: SessionId) -> None:
        """It has given notice: nothing new for it."""
        self.fleet.sessions[session].leaving = True

    def worker_rests(self, session: SessionId, now: float) -> None:
        """The same, and while it is not at work it earns nothing."""
        self.worker_leaves(session)
        self.fleet.rested(self.fleet.sessions[session], now)

    def worker_leaves_in(self, session: SessionId, seconds: float, now: float) -> list[Decision]:
        """It has given notice, and works until then: what it cannot do until then is for others."""
        leaver = self.fleet.sessions[session]
        self.fleet.came_back(leaver, now)
        leaver.leaves_at = now + seconds
        leases = [self.leases[each] for each in sorted(leaver.leases)]
        return [made for each in leases for made in notice.cut(each, self._speed_of(each), seconds, now)]

    def worker_is_back(self, session: SessionId, now: float) -> None:
        """It has rested, or stays after all."""
        self.fleet.came_back(self.fleet.sessions[session], now)

    def _speed_of(self, lease: Lease) -> float:
        return self.fleet.speed(lease.session, lease.request, lease.progress.phase)

    def session_ended(self, session: SessionId, now: float, *, failed: bool) -> list[Decision]:
        """A worker is gone; what it held and had not committed is open again.

        No request ends by that: departures never fail one, not even that of the last fit worker.
        """
        gone = self.fleet.sessions[session]
        self.leasing.session_ended(session)
        leases = [self.leases[each] for each in sorted(gone.leases)]
        deaths = self._deaths(gone, leases, now) if failed else []
        for each in leases:
            self._release(each)
        self.fleet.ended(gone, now, failed=failed)
        return [made for each in deaths for made in blame.worker_died(*each)]

    def _deaths(
        self, gone: Session, leases: Sequence[Lease], now: float
    ) -> list[tuple[Lease, int, Death]]:
        record, prior = self.fleet.records[gone.worker], self.fleet.prior
        record.lost += len(leases)
        jobs = blame.jobs_in_hand(leases, gone.slots)
        beside = len(jobs) - 1
        return [
            (each, each.stretch.front, blame.death_of(each, beside, record, prior, now)) for each in jobs
        ]

    # Requests

    def request_submitted(self, request: RequestId, submission: Submission, now: float) -> Request:
        """A request is on disk."""
        made = Request(request, submission, now)
        self.requests[request] = made
        return made

    def step_began(self, request: RequestId, step: int) -> None:
        """The request's next step, from 0; its phases follow."""
        self.requests[request].begin_step(step)
        self.fleet.forget(request)

    def phase_began(
        self, request: RequestId, phase: Phase, round_: int, cumulative: Sequence[int] | None
    ) -> Progress:
        """The request's next phase; with weights all of its positions are known."""
        known = self.requests[request]
        program = known.program
        progress = known.progress = Progress(
            phase,
            round_,
            Scale(cumulative),
            most_pieces=MOST_COMBINED_PIECES if program.combine_files else MOST_PIECES,
            whole_jobs=program.has_whole_jobs(phase),
            fixed_jobs=program.has_fixed_jobs(phase),
        )
        if cumulative is not None:
            progress.grow(len(cumulative) - 1, 0, (), whole=True)
        return progress

    def lines_counted(
        self, request: RequestId, total: int, estimate: int, breaks: Sequence[int], *, whole: bool
    ) -> list[Decision]:
        """The index of the request's inputs has come further."""
        progress = self.requests[request].progress
        if progress is None or progress.phase is not Phase.MAP:
            return []
        progress.grow(total, estimate, breaks, whole=whole)
        return self.phase_checked(request)

    def phase_checked(self, request: RequestId) -> list[Decision]:
        """See whether the running phase has ended."""
        known = self.requests[request]
        decisions = self.map_closed(known) if known.has_enough else []
        progress = known.progress
        if progress is None or not progress.finished:
            return decisions
        # Merges may come before reduce and after it.
        known.outputs.pop(progress.phase, None)
        known.outputs[progress.phase] = progress.in_order()
        known.left_out = tuple(progress.left_out)
        known.progress = None
        return [*decisions, PhaseEnded(request)]

    def map_closed(self, request: Request) -> list[Decision]:
        """Enough of a map phase is committed: what is not is left out, whoever works on it."""
        held = self.leases_of(request)
        for each in held:
            self._forget(each)
        if request.progress is not None:
            request.progress.close()
        return [Cancel(each.session.id, each.id, "enough of it is done") for each in held]

    def phase_given(
        self, request: RequestId, phase: Phase, outputs: Sequence[Output]
    ) -> list[Decision]:
        """What a phase of the request has come to is known already, so that it is not run."""
        self.requests[request].outputs[phase] = list(outputs)
        return [PhaseEnded(request)]

    def request_ended(self, request: RequestId, state: State, message: str) -> list[Decision]:
        """It is done, failed or cancelled; whoever works on it should stop."""
        ended = self.requests[request]
        ended.state, ended.message, ended.progress = state, message, None
        ended.given.clear()
        held = self.leases_of(ended)
        for each in held:
            self._forget(each)
        return [Cancel(each.session.id, each.id, "the request has ended") for each in held]

    def request_set_back(self, request: RequestId) -> list[Decision]:
        """What it had come to is lost in part: an account that knows nothing takes the place of its own.

        Nobody is given work of it before it is restored.
        """
        old = self.requests[request]
        decisions = self.request_ended(request, State.FAILED, "it was set back")
        self.requests[request] = Request(request, old.submission, old.submitted)
        return decisions

    def request_forgotten(self, request: RequestId) -> None:
        """It is gone with its answer."""
        del self.requests[request]
        self.fleet.forget(request)

    # Leases

    def worker_asked(self, session: SessionId, now: float) -> None:
        """A slot of it wants work."""
        self.leasing.worker_asked(session, now)

    def ask_withdrawn(self, session: SessionId) -> None:
        """It does not wait for an answer any more."""
        self.leasing.ask_withdrawn(session)

    @property
    def waiting(self) -> dict[SessionId, int]:
        """How many asks of which sessions are not answered."""
        return self.leasing.waiting

    def serve(self, now: float) -> list[Lease]:
        """Lease work to those that wait."""
        return self.leasing.serve(now)

    def lease_next(self, session: SessionId, now: float) -> Lease | None:
        """What this worker should do next, if there is anything for it."""
        return self.leasing.lease_next(session, now)

    def held_again(self, session: SessionId, held: Held, now: float) -> Lease | None:
        """A worker has come back and still works on this: lease anew what is open of it.

        What it has committed without being told of it lies behind it.  Where another has begun at the
        same line since, both go on, and the first commit wins.
        """
        progress = self._running_phase(held.request, held.phase, held.round)
        claimed = _claimed(held.front, held.end)
        wanted = progress.not_committed(claimed) if progress and claimed else None
        if progress is None or wanted is None or not progress.may_be_job(wanted):
            return None
        taken = progress.begun_at(wanted)
        if taken is None and not progress.is_open(wanted):
            return None
        request, asking = self.requests[held.request], self.fleet.sessions[session]
        if taken is not None and not self._may_join(asking, taken):
            return None
        if taken is None:
            lease = self.leasing.lease(asking, request, progress, partial(progress.lease, wanted), now)
        else:
            self._widen(taken, wanted.end, progress)
            lease = self.leasing.copy(asking, request, progress, taken, now)
            lease.stops = wanted.end if wanted.end < taken.end else None
        lease.job_end = held.job_end
        return lease

    def room_made(self, session: SessionId, held: Held, now: float) -> list[TakeBack]:
        """Before ``held_again``: what others were leased since and have not begun goes back to it.

        Only to a worker that has proven something: whoever it is, it may say what it likes.
        """
        progress = self._running_phase(held.request, held.phase, held.round)
        claimed = _claimed(held.front, held.end)
        wanted = progress.not_committed(claimed) if progress and claimed else None
        worker = self.fleet.sessions[session].worker
        if progress is None or wanted is None or not self.fleet.records[worker].committed:
            return []
        return make_room(progress, self.leases, wanted, now)

    def returns_awaited(self, now: float) -> None:
        """A server begins: who worked for it before comes back, and says what it holds."""
        if any(each.state is State.RUNNING for each in self.requests.values()):
            self.leasing.opens_at = now + policy.RETURN_SECONDS
            self.leasing.counted_by = now + policy.COUNT_SECONDS

    def awaits_count(self, held: Sequence[Held], now: float) -> bool:
        """Whether some of it is not counted yet, soon after a server began; nobody gets it then."""
        if now >= self.leasing.counted_by or not any(self._is_uncounted(each) for each in held):
            return False
        self.leasing.opens_at = max(self.leasing.opens_at, now + policy.RETURN_SECONDS)
        return True

    def _is_uncounted(self, held: Held) -> bool:
        progress = self._running_phase(held.request, held.phase, held.round)
        return progress is not None and not progress.whole and held.end > progress.total

    def _widen(self, stretch: Stretch, end: int, progress: Progress) -> None:
        """Let a stretch go at least so far; who holds it stops where it ended before."""
        if end > stretch.end:
            for each in [self.leases[id_] for id_ in stretch.holders]:
                each.stops = stretch.end if each.stops is None else each.stops
            progress.extend(stretch, end)

    def _may_join(self, session: Session, stretch: Stretch) -> bool:
        """Whether one who comes back may be a further holder of what was leased to another since."""
        holders = [self.leases[each].session.worker for each in stretch.holders]
        return len(holders) < policy.GOING_COPIES and session.worker not in holders

    def line_seen(self, session: SessionId, seen: Seen, now: float) -> None:
        """A Beat: the job in hand, announced, and how far its program has come."""
        lease = self._lease_of(session, seen.id)
        if lease is None:
            return
        lease.beat = now
        lease.announced(seen.job_end, now)
        lease.seen(now, max(0, seen.done))
        if seen.taken > lease.taken:
            lease.taken, lease.moved = seen.taken, now

    def accepts(self, session: SessionId, job: Finished) -> bool:
        """Whether a job would count: all of its range is open, and it begins at the front."""
        return self._phase_for(session, job) is not None

    def _phase_for(self, session: SessionId, job: Finished) -> Progress | None:
        done = _claimed(job.start, job.end)
        progress = self._running_phase(job.request, job.phase, job.round)
        if done is None or progress is None:
            return None
        lease = self._lease_of(session, job.id)
        if lease is None:
            return progress if progress.is_open(done) else None
        fits = done.start == lease.stretch.front and done.end <= lease.stretch.end
        fits = fits and progress.may_be_job(done)
        return progress if fits and lease.progress is progress else None

    def job_committed(
        self, session: SessionId, job: Finished, now: float
    ) -> tuple[Progress | None, list[Decision]]:
        """The phase in which the job counts, if it does; ``output_stored`` must then follow.

        Under an id that is no longer valid it counts only if all of its range is untouched.
        """
        progress = self._phase_for(session, job)
        if progress is None:
            return None, []
        self.requests[job.request].count(job)
        lease = self._lease_of(session, job.id)
        if lease is None:
            progress.commit_untouched(Range(job.start, job.end))
            return progress, []
        self.fleet.learn(lease, progress.scale.weight(job.start, job.end), job, now)
        progress.commit(lease.stretch, Range(job.start, job.end))
        if progress.forecast.is_due(now):
            progress.forecast.committed(now, progress.weight_committed)
        lease.committed = lease.moved = lease.beat = now
        self.fleet.see_ease(lease)
        lease.commit_seconds = self.leasing.commit_seconds(lease, now)
        lease.misses = lease.own_misses = 0
        return progress, self._cancel_losers(lease, now)

    def _cancel_losers(self, winner: Lease, now: float) -> list[Decision]:
        stretch = winner.stretch
        if stretch.front == stretch.end:
            ended = self._close_stretch(stretch)
        else:
            # What the others have in hand begins before the new front, and will never count.
            ended = [self.leases[each] for each in stretch.holders if each != winner.id]
            for each in ended:
                # All before any stop is heeded, which may be one of theirs.
                winner.progress.release(stretch, each.id)
                self._forget(each)
            ended += self._heed_stops(stretch)
        losers = [each for each in ended if each is not winner]
        for each in losers:
            if each.session.stalled:
                self.fleet.worker_hung(each.session, now)
        return [Cancel(each.session.id, each.id, "a copy was faster") for each in losers]

    def _close_stretch(self, stretch: Stretch) -> list[Lease]:
        ended = [self.leases[each] for each in stretch.holders]
        for each in ended:
            self._forget(each)
        return ended

    def output_stored(self, request: RequestId, progress: Progress, output: Output) -> list[Decision]:
        """An accepted commit is on disk."""
        progress.stored(output)
        known = self.requests.get(request)
        return self.phase_checked(request) if known and known.progress is progress else []

    def job_failed(self, session: SessionId, failure: Failure, now: float) -> list[Decision]:
        """A job failed on a worker, which has dropped the assignment."""
        lease = self._lease_of(session, failure.id)
        if lease is None:
            return []
        request, worker = lease.request, lease.session.worker
        failure = _within(lease, failure)
        lease.session.stalled = False
        self._release(lease)
        if failure.kind == WorkerUnfit.code:
            request.unfit[worker] = failure.message
            return self._find_unfit()
        if failure.kind == LinkBroke.code:
            self.fleet.bytes_failed(lease, failure.message, now)
        if failure.kind not in BLAMED_KINDS:
            return []
        request.failed(failure)
        self.fleet.program_failed(lease, now, again=blame.fails_again(lease, failure))
        return self._cleared(blame.program_failed(lease, failure, len(self.fleet.sessions)))

    def _cleared(self, decisions: list[Decision]) -> list[Decision]:
        """Whoever failed on a line that is bad is not to blame."""
        for each in decisions:
            for worker in each.failed_by if isinstance(each, SetAside) else ():
                self.fleet.standing(worker).cleared()
        return decisions

    def assignment_returned(self, session: SessionId, assignment: AssignmentId) -> None:
        """A worker has given an assignment back, or has ended it as it was told."""
        lease = self._lease_of(session, assignment)
        if lease is not None:
            self._release(lease)
        if session in self.fleet.sessions:
            self.fleet.sessions[session].stalled = False

    def end_taken_back(self, assignment: AssignmentId, end: int) -> None:
        """The holder has confirmed that it stops at ``end``; what a copy of it does goes on."""
        lease = self.leases.get(assignment)
        if lease is None:
            return
        lease.answered(end)
        self.leasing.promise(lease)
        if lease in self._heed_stops(lease.stretch):
            lease.session.stalled = False

    def review(self, now: float) -> list[Decision]:
        """What has stalled, and what idle workers should copy or take over."""
        shares = Shares(self.fleet, self.leases, now).review(self.requests.values())
        return [*self._tail(now).deadlines(), *self.help(now), *shares]

    def help(self, now: float) -> list[Decision]:
        """What those who wait for work should copy or take over of others'."""
        return self._tail(now).help(self.requests.values()) if self.waiting else []

    def _tail(self, now: float) -> Tail:
        return Tail(self.fleet, self.leases, now, self.leasing.idle)

    @property
    def troubles(self) -> list[str]:
        """What keeps workers from their work, for people."""
        sessions = self.fleet.sessions.values()
        return [f"{each.name}: {each.trouble}" for each in sessions if each.trouble]

    def leases_of(self, request: Request) -> list[Lease]:
        """All leases of a request."""
        return [each for each in self.leases.values() if each.request is request]

    # Shared

    def _running_phase(self, request: RequestId, phase: Phase, round_: int) -> Progress | None:
        known = self.requests.get(request)
        progress = known.progress if known else None
        if progress is None or (progress.phase, progress.round) != (phase, round_):
            return None
        return progress

    def _lease_of(self, session: SessionId, assignment: AssignmentId) -> Lease | None:
        lease = self.leases.get(assignment)
        return lease if lease is not None and lease.session.id == session else None

    def _find_unfit(self) -> list[Decision]:
        connected = set(self.fleet.connected)
        running = [each for each in self.requests.values() if each.state is State.RUNNING]
        return [NobodyFit(each.id) for each in running if connected and connected <= set(each.unfit)]

    def _release(self, lease: Lease) -> None:
        lease.progress.release(lease.stretch, lease.id)
        self._forget(lease)
        self._heed_stops(lease.stretch)

    def _heed_stops(self, stretch: Stretch) -> list[Lease]:
        """Let go of holders that have come to where they stop, and return them.

        A sole holder that stops early gives the rest back; while a copy runs, the copy does the rest.
        """
        for each in [self.leases[id_] for id_ in stretch.holders]:
            if each.stops is None:
                continue
            if each.is_alone:
                each.progress.shorten(stretch, max(each.stops, stretch.front))
            if min(each.stops, stretch.end) <= stretch.front:
                each.progress.release(stretch, each.id)
                self._forget(each)
                return [each, *self._heed_stops(stretch)]
        return []

    def _forget(self, lease: Lease) -> None:
        del self.leases[lease.id]
        lease.session.leases.discard(lease.id)
        lease.request.leases -= 1

    def check(self) -> None:
        """Raise ``LedgerError`` unless all invariants hold."""
        held = Counter(each.request.id for each in self.leases.values())
        for request in self.requests.values():
            if request.progress is not None:
                request.progress.check()
            if request.leases != held[request.id]:
                raise LedgerError(f"{request.id} counts {request.leases} leases")
        for lease in self.leases.values():
            if lease.id not in lease.stretch.holders or lease.id not in lease.session.leases:
                raise LedgerError(f"{lease.id} is not with its holder")
            if lease.request.progress is not lease.progress:
                raise LedgerError(f"{lease.id} outlives its phase")
