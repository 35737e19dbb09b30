"""Which workers are put aside because programs fail on them that others run well.

A failure counts against the program and its lines (``requests.py``).  But a machine on which everything
fails, and fast, would get more and more of them: it must wait, longer each time, and is let back with
one small piece.  One success restores it.
"""

from math import inf

from attrs import define

FEW = 3
"""How many failures in a row say nothing of a worker yet."""
ASIDE_SECONDS = 30.0
"""The first wait of a worker on which fails what others do."""
DOUBT_SECONDS = 0.25
"""The first wait while no other has shown that it can be done: it may well be the program."""
MOST_DOUBLINGS = 6


@define
class Standing:
    """One worker's failures.

    :ivar row: how many since its last commit.
    """

    row: int = 0
    until: float = -inf

    def failed(self, now: float, *, others_succeed: bool) -> None:
        """A program failed on it."""
        self.row += 1
        over = self.row - FEW
        if over >= 0:
            first = ASIDE_SECONDS if others_succeed else DOUBT_SECONDS
            self.until = now + first * 2.0 ** min(over, MOST_DOUBLINGS)

    def delivered(self) -> None:
        """A commit of it counted."""
        self.cleared()

    def cleared(self) -> None:
        """What it failed was not its fault."""
        self.row, self.until = 0, -inf

    @property
    def is_on_trial(self) -> bool:
        """Whether it gets one small piece at a time, once it gets any."""
        return self.row >= FEW

    def seconds_aside(self, now: float) -> float:
        """How long it still has to wait."""
        return max(0.0, self.until - now)
