"""Who gets what next: asks that wait, and how they are answered.

What was taken back for somebody is his; then what nobody has, lowest first; then copies.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from heapq import heapify, heappop
from itertools import count
from math import inf

from attrs import define, field, frozen

from hagoop import policy
from hagoop.errors import LedgerError
from hagoop.fleet import Fleet
from hagoop.jobs import AssignmentId, RequestId, SessionId, State
from hagoop.leases import Lease, Session
from hagoop.progress import Progress, Stretch
from hagoop.ranges import Range
from hagoop.requests import Request
from hagoop.suspicion import MOST_DANGER, History, Suspicion


@frozen
class Promise:
    """What was taken back for somebody, and how easy its lines are, as far as is known."""

    progress: Progress
    wanted: Range
    ease: float | None

    @property
    def holds(self) -> bool:
        """Whether it is still free."""
        return self.wanted in self.progress.untouched


class ServingBroke(LedgerError):
    """A bug of ours came out while one who waits was served.

    :ivar session: who it was.
    :ivar served: what others, and it, were leased before.
    """

    def __init__(self, session: SessionId, served: Sequence[Lease]) -> None:
        super().__init__(f"serving session {session} broke")
        self.session = session
        self.served = served


@define(eq=False)
class Leasing:
    """The part of the ledger that leases; requests and leases are the ledger's own.

    :ivar waiting: how many asks of which sessions are not answered.
    :ivar opens_at: before this none is; ``counted_by``: nor, until then, while lines of some who have
        come back are not counted.
    """

    epoch: int
    fleet: Fleet
    requests: Mapping[RequestId, Request]
    leases: dict[AssignmentId, Lease]
    waiting: dict[SessionId, int] = field(factory=dict)
    opens_at: float = -inf
    counted_by: float = -inf
    _promised: dict[SessionId, Promise] = field(factory=dict)
    _numbers: Callable[[], int] = field(factory=lambda: count(1).__next__)

    # Who waits

    def session_ended(self, session: SessionId) -> None:
        """It waits for nothing any more."""
        self.waiting.pop(session, None)
        self._promised.pop(session, None)

    @property
    def idle(self) -> list[Session]:
        """Those that wait, run nothing in a slot, and were promised nothing that is still free."""
        waiting = (self.fleet.sessions[each] for each in self.waiting)
        return [each for each in waiting if self._has_a_slot(each) and not self._has_promise(each.id)]

    def _has_a_slot(self, session: Session) -> bool:
        running = sum(not self.leases[each].is_printed for each in session.leases)
        return running < session.slots and not session.stalled and not session.leaving

    def _has_promise(self, session: SessionId) -> bool:
        promise = self._promised.get(session)
        return promise is not None and promise.holds

    def worker_asked(self, session: SessionId, now: float) -> None:
        """A slot of it wants work."""
        self.waiting[session] = self.waiting.get(session, 0) + 1
        self.fleet.sessions[session].heard = now

    def ask_withdrawn(self, session: SessionId) -> None:
        """It does not wait for an answer any more."""
        left = self.waiting.pop(session, 0) - 1
        if left > 0:
            self.waiting[session] = left

    def serve(self, now: float) -> list[Lease]:
        """Lease work to those that wait, whoever spoke last first: it is the surest to be there.

        Only as long as there is work: at the end hundreds wait.

        :raises ServingBroke: at one of them; those after it are not served yet.
        """
        served: list[Lease] = []
        if self.waiting and now >= self.opens_at and self._has_something():
            turns = self._turns()
            while turns and self._has_something():
                session = heappop(turns)[-1]
                try:
                    self._serve_one(self.fleet.sessions[session], now, served)
                except Exception as error:
                    raise ServingBroke(session, served) from error
        return served

    def _turns(self) -> list[tuple[bool, float, int, SessionId]]:
        """A heap of who waits; those to whom something is promised come first: others would take it."""
        promised, sessions = self._promised, self.fleet.sessions
        turns = [
            (each not in promised, -sessions[each].heard, number, each)
            for number, each in enumerate(self.waiting)
        ]
        heapify(turns)
        return turns

    def _has_something(self) -> bool:
        running = (each.progress for each in self.requests.values())
        return any(each and (each.untouched or each.wanted) for each in running)

    def _serve_one(self, session: Session, now: float, served: list[Lease]) -> None:
        while session.id in self.waiting and not self.fleet.is_quiet(session, now):
            lease = self.lease_next(session.id, now)
            if lease is None:
                break
            self.ask_withdrawn(session.id)
            served.append(lease)

    def lease_next(self, session: SessionId, now: float) -> Lease | None:
        """What this worker should do next, if there is anything for it."""
        asking = self.fleet.sessions[session]
        if not self.fleet.is_ready(asking, now):
            return None
        self.fleet.refit(now)
        promised = self._lease_promised(asking, now)
        if promised is not None:
            return promised
        for request in self._by_share():
            progress = request.progress
            if progress is None or asking.worker in request.unfit:
                continue
            lease = self._lease_untouched(asking, request, progress, now)
            # One that asks ahead of its need gets no copy: it could not begin at once.
            if lease is None and self._may_copy(asking, request):
                lease = self._lease_copy(asking, request, progress, now)
            if lease:
                return lease
        return None

    def _by_share(self) -> list[Request]:
        running = [each for each in self.requests.values() if each.state is State.RUNNING]
        return sorted(running, key=lambda each: (each.leases, each.submitted))

    def _lease_promised(self, session: Session, now: float) -> Lease | None:
        """What was taken back for this worker, if it is still free."""
        it = self._promised.pop(session.id, None)
        if it is None or not it.holds:
            return None
        progress = it.progress
        request = next((each for each in self.requests.values() if each.progress is progress), None)
        if request is None or session.worker in request.unfit:
            return None

        def take(id_: AssignmentId) -> Stretch:
            return progress.lease(it.wanted, id_, it.ease)

        return self.lease(session, request, progress, take, now)

    def _lease_untouched(
        self, session: Session, request: Request, progress: Progress, now: float
    ) -> Lease | None:
        if not progress.untouched:
            return None
        held = self._held(session, progress)
        _, weight = self.fleet.next_lease(session, request, progress, now, held)
        if not weight:
            return None
        if self.fleet.standing(session.worker).is_on_trial:
            weight = 1

        wanted = self._cut(session, request, progress, weight, now)
        if wanted is None:
            return None
        return self.lease(session, request, progress, lambda id_: progress.lease(wanted, id_), now)

    def _held(self, session: Session, progress: Progress) -> int:
        """Weight of a phase that a session holds."""
        leases = (self.leases[each] for each in session.leases)
        return sum(each.open_weight for each in leases if each.progress is progress)

    def _cut(
        self, session: Session, request: Request, progress: Progress, weight: int, now: float
    ) -> Range | None:
        def may_have(known: Suspicion, danger: int) -> bool:
            tried = request.refuses(session.worker, self.fleet.at_hand(now), known.history)
            return not tried and known.danger <= danger

        for danger in range(MOST_DANGER + 1):
            if wanted := progress.cut(weight, partial(may_have, danger=danger)):
                return wanted
        return None

    def _may_copy(self, session: Session, request: Request) -> bool:
        """Copies are for those who are trusted to be faster, as long as there is one who is free."""
        if not session.is_free or self.fleet.standing(session.worker).is_on_trial:
            return False
        # All others are looked at for a doubtful one only: hundreds may wait, and each is asked for.
        if not self.fleet.is_doubtful(session):
            return True
        free = [each for each in self.fleet.idle if each.worker not in request.unfit]
        return all(self.fleet.is_doubtful(each) for each in free)

    def _lease_copy(
        self, session: Session, request: Request, progress: Progress, now: float
    ) -> Lease | None:
        for stretch, chosen in progress.wanted.items():
            if chosen not in (None, session.id) and chosen in self.waiting:
                continue
            holders = [self.leases[each].session.worker for each in stretch.holders]
            history = progress.histories.get(stretch.front) or History()
            # Who has it, and hangs, need not fail as well before those who failed may try again.
            others = (each for each in self.fleet.at_hand(now) if each not in holders)
            refused = session.worker in holders or request.refuses(session.worker, others, history)
            if not refused:
                return self.copy(session, request, progress, stretch, now)
        return None

    def copy(
        self, session: Session, request: Request, progress: Progress, stretch: Stretch, now: float
    ) -> Lease:
        """Lease to one more what another holds."""

        def take(id_: AssignmentId) -> Stretch:
            progress.copy(stretch, id_)
            return stretch

        return self.lease(session, request, progress, take, now)

    def lease(
        self,
        session: Session,
        request: Request,
        progress: Progress,
        take: Callable[[AssignmentId], Stretch],
        now: float,
    ) -> Lease:
        id_ = AssignmentId(f"{self.epoch}-{self._numbers()}")
        stretch = take(id_)
        misses = progress.misses(stretch.front)
        lease = Lease(id_, session, request, progress, stretch, now, now, now, 0.0, misses=misses)
        self.leases[id_] = lease
        session.leases.add(id_)
        request.leases += 1
        lease.commit_seconds = self.commit_seconds(lease, now)
        return lease

    def commit_seconds(self, lease: Lease, now: float) -> float:
        """How long its next job should take, at the speed of its worker's last ones."""
        self.fleet.refit(now)
        asking = self.fleet.asking(lease.session, lease.request, lease.progress.phase, now)
        supply = self.fleet.supply(lease.request, lease.progress, now)
        seconds = policy.commit_seconds(asking, supply, self.fleet.prior, now)
        return max(seconds * self._share_of_usual(lease), policy.least_commit_seconds(asking, supply))

    def _share_of_usual(self, lease: Lease) -> float:
        """What part of that is enough where its lines are known to be hard.

        Its worker cuts jobs by the speed of its last ones, and what a program was fed is out of reach.
        """
        ease, worker = lease.stretch.ease, (lease.session, lease.request, lease.progress.phase)
        if ease is None:
            return 1.0
        return min(1.0, ease * self.fleet.usual_speed(*worker) / self.fleet.speed(*worker))

    def promise(self, lease: Lease) -> None:
        """Keep what it gives back for those for whom it was asked."""
        for session, wanted in lease.heirs:
            kept = Range(min(max(wanted.start, lease.stops or 0), wanted.end), wanted.end)
            if len(kept):
                self._promised[session] = Promise(lease.progress, kept, lease.stretch.ease)
        lease.heirs = ()
