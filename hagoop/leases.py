"""Who holds what: sessions, leases, and the decisions that follow from what happens to them."""

from collections import deque
from collections.abc import Sequence
from math import inf

from attrs import define, field, frozen

from hagoop import policy
from hagoop.jobs import AssignmentId, Failure, Phase, RequestId, SessionId, WorkerId
from hagoop.progress import Progress, Stretch
from hagoop.ranges import Range
from hagoop.requests import Request

MARKS = 5
RATE_SECONDS = 1.0
"""The speed at which a lease goes on is that of its last four Beats, or of fewer if they are rare."""


@frozen
class Cancel:
    """End this assignment's program; its holder stays."""

    session: SessionId
    assignment: AssignmentId
    reason: str


@frozen
class TakeBack:
    """Ask the holder to stop at ``end``."""

    session: SessionId
    assignment: AssignmentId
    end: int


@frozen
class Close:
    """End the session."""

    session: SessionId
    reason: str


@frozen
class PhaseEnded:
    """All of the request's running phase is committed and on disk."""

    request: RequestId


@frozen
class ProgramBroken:
    """The request's program failed for the last time, on the lines of ``failure``.

    :param set_aside: how many bad lines had been set aside by then.
    """

    request: RequestId
    phase: Phase
    failure: Failure
    attempts: int
    set_aside: int = 0


@frozen
class SetAside:
    """One line of the input, that of ``failure``, is to be passed over; it counts as committed.

    :param failed_by: on whom the program failed there, for no fault of theirs.
    """

    request: RequestId
    progress: Progress
    failure: Failure
    failed_by: tuple[WorkerId, ...]


@frozen
class NobodyFit:
    """Every connected worker lacks the program."""

    request: RequestId


Decision = Cancel | TakeBack | Close | PhaseEnded | ProgramBroken | SetAside | NobodyFit


@define(eq=False)
class Session:
    """A connected worker.

    :ivar heard: when its last Beat or Ask came; it says one every few seconds even when it is idle.
    :ivar way: seconds of a round trip to it: what it was given it has, and says so, that much later.
    :ivar trouble: why it gets no bytes, for people.
    :ivar leaves_at: until when it works on, as it gave notice; ``why`` it leaves or rests, for people.
    """

    id: SessionId
    worker: WorkerId
    process: str
    name: str
    slots: int
    since: float
    leases: set[AssignmentId] = field(factory=set)
    heard: float = field(init=False)
    way: float = 0.0
    stalled: bool = False
    leaving: bool = False
    leaves_at: float = inf
    why: str = ""
    trouble: str = ""

    def __attrs_post_init__(self) -> None:
        self.heard = self.since

    @property
    def is_free(self) -> bool:
        """Whether it may be given more work."""
        return len(self.leases) < self.slots and not self.stalled and not self.leaving


@define(eq=False)
class Lease:
    """The right of one session to one stretch.

    :ivar moved: when a line or a commit of it was last seen, or bytes that it needs to begin.
    :ivar turn: since when it is its holder's turn to do it, but for time without any sign of it.
    :ivar misses: deadlines missed by this range, whoever held it; ``own_misses``: by this lease.
    :ivar begin: where it began; ``job_begin``: where the job in hand did, as far as its Beats tell;
        ``job_since``: when.
    :ivar marks: at its last Beats, what weight from there its programs had taken.
    :ivar due: when its deadline is next looked at.
    :ivar heirs: who is to have what of the end that it was asked to give back.
    :ivar firm: before this it cannot stop, as it has said.
    :ivar asked_back: whether a ``TakeBack`` is on its way.
    :ivar stops: where its holder will stop, as it said when asked; None: at the stretch's end.
    """

    id: AssignmentId
    session: Session
    request: Request
    progress: Progress
    stretch: Stretch
    leased: float
    committed: float
    moved: float
    commit_seconds: float
    taken: int = -1
    begin: int = field(init=False)
    job_begin: int = field(init=False)
    job_since: float = field(init=False)
    turn: float = field(init=False)
    marks: deque[tuple[float, int]] = field(init=False)
    job_end: int = 0
    beat: float = 0.0
    misses: int = 0
    own_misses: int = 0
    due: float = 0.0
    asked_back: bool = False
    asked_at: float = 0.0
    asked_end: int = 0
    firm: int = 0
    heirs: tuple[tuple[SessionId, Range], ...] = ()
    stops: int | None = None

    def __attrs_post_init__(self) -> None:
        self.begin = self.job_begin = self.stretch.front
        self.job_since = self.turn = self.leased
        self.marks = deque([(self.leased, 0)], MARKS)

    def announced(self, job_end: int, now: float) -> None:
        """A Beat has said where the job in hand ends: sooner than it was to if it was cut."""
        if job_end > self.job_end > self.begin:
            self.job_begin, self.job_since = self.job_end, now
        self.job_end = max(0, min(job_end, self.stretch.end))

    def seen(self, now: float, done: int) -> None:
        """A Beat has said how much of it was taken."""
        self.marks.append((now, min(done, self.progress.scale.weight(self.begin, self.stretch.end))))

    def rate(self, usual: float, start_seconds: float, now: float, workers: int) -> float:
        """Weight a second that it does now: as its last Beats tell, or less the longer it stands."""
        seen = self.seen_rate
        if seen is not None:
            return seen
        still = now - self.moved - 2 * start_seconds - policy.late_seconds(self.session.way)
        return policy.slowed(usual, still, workers)

    @property
    def seen_rate(self) -> float | None:
        """Weight a second that its last Beats tell; None while it stands, for all they tell."""
        last, done = self.marks[-1]
        since, before = self.marks[0]
        for moment, mark in self.marks:
            if moment > last - RATE_SECONDS:
                break
            since, before = moment, mark
        return (done - before) / (last - since) if done > before and last > since else None

    @property
    def is_under_way(self) -> bool:
        """Whether its Beats tell of more than its first second."""
        return self.marks[-1][0] - self.leased >= RATE_SECONDS

    @property
    def has_begun(self) -> bool:
        """Whether a job of it is in hand; else it waits at its holder, whether heard of or not."""
        return self.job_end > self.begin

    @property
    def fetching_seconds(self) -> float:
        """For how long what it needs to begin has been coming; 0 once a job of it is in hand."""
        return 0.0 if self.has_begun else self.moved - self.turn

    @property
    def untaken(self) -> int:
        """Weight that its programs have not taken yet."""
        whole = self.progress.scale.weight(self.begin, self.stretch.end)
        return max(0, whole - self.marks[-1][1])

    @property
    def is_in_last_job(self) -> bool:
        """Whether no other job of it follows the one in hand."""
        return self.has_begun and self.job_end >= self.stretch.end

    @property
    def is_printed(self) -> bool:
        """Whether its programs have ended, as far as is heard: it is being sorted and sent."""
        return self.is_in_last_job and not self.untaken

    def silent_seconds(self, now: float) -> float:
        """How long nothing has been heard of its holder, though its way is not so long."""
        return max(0.0, now - max(self.leased, self.beat, self.session.heard) - self.session.way)

    @property
    def is_alone(self) -> bool:
        """Whether no copy of it runs."""
        return len(self.stretch.holders) == 1

    def missed(self, now: float, *, travels: bool) -> None:
        """A deadline has passed; whether the count travels with the range."""
        self.misses += travels
        self.own_misses += 1
        self.turn += now - self.moved
        self.moved = now
        self.session.stalled = True
        self.progress.history(self.stretch.front).misses = self.misses

    def ask_back(self, end: int, now: float) -> list[TakeBack]:
        """Whether its holder will stop at ``end``; not asked twice, nor while a copy runs."""
        end = self._edge_from(max(end, self.fed))
        if end >= self.stretch.end or self.asked_back or not self.is_alone:
            return []
        return [self.give_way(end, now)]

    def give_way(self, end: int, now: float) -> TakeBack:
        """It has no more than to ``end``, and its holder should know."""
        self.asked_back, self.asked_at, self.asked_end, self.heirs = True, now, end, ()
        return TakeBack(self.session.id, self.id, end)

    def divide(self, shares: Sequence[tuple[SessionId, float]], now: float) -> list[TakeBack]:
        """Ask its end back for some others.

        :param shares: what weight each is to have, in the order of the range.
        """
        scale, left = self.progress.scale, self.open_weight - sum(weight for _, weight in shares)
        end = scale.advance(self.stretch.front, round(left))
        asked = self.ask_back(end, now)
        if not asked:
            return []
        self.heirs = ()
        start, begun = asked[0].end, left
        for session, weight in shares:
            begun += weight
            stop = scale.advance(self.stretch.front, round(begun))
            stop = self._edge_from(min(stop, self.stretch.end))
            if stop > start:
                self.heirs += ((session, Range(start, stop)),)
                start = stop
        return asked

    @property
    def fed(self) -> int:
        """Where it could end at the earliest, as far as is known: behind what its program was given."""
        if self.progress.fixed_jobs:
            return max(self.job_end, self.firm)
        given = self.progress.scale.advance(self.begin, self.marks[-1][1])
        return max(min(self.job_end, given), self.firm)

    def answered(self, end: int) -> None:
        """Its holder stops at ``end``; if that is later than it was asked to, no earlier is possible."""
        self.asked_back = False
        self.stops = self.progress.edge_to(end)
        if end > self.asked_end:
            self.firm = end

    @property
    def movable_weight(self) -> int:
        """Weight that its holder could give back."""
        return self.progress.scale.weight(self._edge_from(self.fed), self.stretch.end)

    @property
    def open_weight(self) -> int:
        """Weight not committed yet."""
        return self.progress.scale.weight(self.stretch.front, self.stretch.end)

    @property
    def job_weight(self) -> int:
        """Weight of the job in hand, or of a first small one."""
        return self.progress.scale.weight(self.stretch.front, self.job_stop)

    @property
    def printed_weight(self) -> int:
        """Weight of the jobs before the one in hand that are not committed."""
        return self.progress.scale.weight(self.stretch.front, max(self.job_begin, self.stretch.front))

    @property
    def job_stop(self) -> int:
        """Where the job in hand ends, or a first small one."""
        return self._edge_from(self.job_end)

    def _edge_from(self, position: int) -> int:
        """Where a job may end at or behind a position: behind the front, within the stretch."""
        found = self.progress.edge_from(max(position, self.stretch.front + 1))
        return self.stretch.end if found is None else min(found, self.stretch.end)
