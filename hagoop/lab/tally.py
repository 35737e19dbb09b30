"""What is counted of a run."""

from attrs import define


@define
class Tally:
    """Counts of one run; work is in reference seconds.

    :ivar finished: whether the request ended before the horizon.
    :ivar useful: work whose commit counted; ``wasted``: work that was lost, late or cancelled.
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

    def ended(self, now: float, *, finished: bool) -> None:
        """The run is over."""
        self.makespan, self.finished = now, finished
