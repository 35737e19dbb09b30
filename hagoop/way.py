"""How long the way between a worker and its server is: a round trip of what is answered at once."""

from attrs import define

MOST_SECONDS = 6.0
"""More is not believed: of one who says so it would be noticed too late that it is silent."""
SHARE = 0.25
"""How much one answer says: a pause of either side is no way."""


def believed(said: float | None) -> float:
    """What a worker says of its way, within bounds; it may be anything."""
    return min(said, MOST_SECONDS) if said is not None and said > 0 else 0.0


@define
class Way:
    """What a worker has measured of its way.

    :ivar seconds: a round trip.
    :ivar is_measured: whether by more than its joining, which may have waited for a server that begins.
    """

    seconds: float = 0.0
    is_measured: bool = False

    def joined(self, seconds: float) -> None:
        """The server took so long to answer the first command over a connection."""
        if not self.is_measured:
            self.seconds = believed(seconds)

    def answered(self, seconds: float) -> None:
        """It took so long for another; the first replaces."""
        share = SHARE if self.is_measured else 1.0
        self.seconds += share * (believed(seconds) - self.seconds)
        self.is_measured = True
