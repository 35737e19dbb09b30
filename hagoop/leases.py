"""Who holds what: sessions, leases, and the decisions that follow from what happens to them."""

from math import inf

from attrs import define, field, frozen

from hagoop.jobs import AssignmentId, Failure, Phase, RequestId, SessionId, WorkerId
from hagoop.progress import Progress, Stretch
from hagoop.requests import Request


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
    stalled: bool = False
    leaving: bool = False
    leaves_at: float = inf
    why: str = ""

    def __attrs_post_init__(self) -> None:
        self.heard = self.since

    @property
    def is_free(self) -> bool:
        """Whether it may be given more work."""
        return len(self.leases) < self.slots and not self.stalled and not self.leaving


@define(eq=False)
class Lease:
    """The right of one session to one stretch.

    :ivar moved: when a line or a commit of it was last seen.
    :ivar misses: deadlines missed by this range, whoever held it; ``own_misses``: by this lease.
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
    job_end: int = 0
    beat: float = 0.0
    misses: int = 0
    own_misses: int = 0
    asked_back: bool = False
    stops: int | None = None

    def silent_seconds(self, now: float) -> float:
        """How long nothing has been heard of its holder."""
        return now - max(self.leased, self.beat, self.session.heard)

    @property
    def is_alone(self) -> bool:
        """Whether no copy of it runs."""
        return len(self.stretch.holders) == 1

    def missed(self, now: float, *, travels: bool) -> None:
        """A deadline has passed; whether the count travels with the range."""
        self.misses += travels
        self.own_misses += 1
        self.moved = now
        self.session.stalled = True
        self.progress.history(self.stretch.front).misses = self.misses

    def ask_back(self, end: int) -> list[TakeBack]:
        """Whether its holder will stop at ``end``; not asked twice, nor while a copy runs."""
        end = self._edge_from(max(end, self.job_end))
        if end >= self.stretch.end or self.asked_back or not self.is_alone:
            return []
        self.asked_back = True
        return [TakeBack(self.session.id, self.id, end)]

    @property
    def open_weight(self) -> int:
        """Weight not committed yet."""
        return self.progress.scale.weight(self.stretch.front, self.stretch.end)

    @property
    def job_weight(self) -> int:
        """Weight of the job in hand, or of a first small one."""
        return self.progress.scale.weight(self.stretch.front, self.job_stop)

    @property
    def job_stop(self) -> int:
        """Where the job in hand ends, or a first small one."""
        return self._edge_from(self.job_end)

    def _edge_from(self, position: int) -> int:
        """Where a job may end at or behind a position: behind the front, within the stretch."""
        found = self.progress.edge_from(max(position, self.stretch.front + 1))
        return self.stretch.end if found is None else min(found, self.stretch.end)
