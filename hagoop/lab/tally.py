"""What is counted of a run."""

from attrs import define, field


@define
class Tally:
    """Counts of one run; work is in reference seconds.

    :ivar finished: whether the request ended before the horizon.
    :ivar useful: work whose commit counted; ``wasted``: work that was lost, late or cancelled.
    :ivar guesses: when the time left was guessed, as P50 and P90.
    :ivar messages: what machines said besides Beats.
    """

    makespan: float = 0.0
    finished: bool = False
    commits: int = 0
    late: int = 0
    leases: int = 0
    copies: int = 0
    taken_back: int = 0
    messages: int = 0
    beats: int = 0
    useful: float = 0.0
    wasted: float = 0.0
    losses: int = 0
    guesses: list[tuple[float, float, float]] = field(factory=list)

    def committed(self, accepted: bool, work: float) -> None:
        """A commit has arrived."""
        self.commits += accepted
        self.late += not accepted
        if accepted:
            self.useful += work
        else:
            self.wasted += work

    def lost(self, work: float) -> None:
        """What a machine had in hand is gone."""
        if work > 0:
            self.losses += 1
            self.wasted += work

    @property
    def held(self) -> tuple[float, float] | None:
        """How often the truth lay below P50, and below P90; None without guesses, or without an end."""
        if not self.guesses or not self.finished:
            return None
        left = [(self.makespan - now, middle, most) for now, middle, most in self.guesses]
        below = sum(truth <= middle for truth, middle, _ in left)
        return below / len(left), sum(truth <= most for truth, _, most in left) / len(left)

    def ended(self, now: float, *, finished: bool) -> None:
        """The run is over."""
        self.makespan, self.finished = now, finished
