"""What the demonstration is told: who is in it, and how much there is to do."""

from collections.abc import Mapping

from attrs import frozen

from hagoop.demo.kinds import Kind


@frozen
class Cast:
    """Who is in it.

    :ivar counts: how many of each kind.
    :ivar chance: of a flaky or dying worker's death, every tenth of a second.
    """

    counts: Mapping[Kind, int]
    chance: float
    seed: str

    @property
    def names(self) -> dict[str, Kind]:
        """Each worker's name and kind."""
        numbered = [(kind, n) for kind in Kind for n in range(1, self.counts.get(kind, 0) + 1)]
        return {f"{kind}-{number}": kind for kind, number in numbered}

    @property
    def can_end(self) -> bool:
        """Whether anybody is there who finishes anything and stays, or comes back."""
        return any(self.counts.get(each) for each in (Kind.GOOD, Kind.FLAKY, Kind.LATE))


@frozen
class Plan:
    """All that the demonstration is told.

    :ivar pace: lines a second that a worker is held to; 0: none.
    :ivar tampers: whether the answer is spoilt before it is compared.
    """

    cast: Cast
    lines: int
    pace: int
    quiet: bool
    plain: bool
    tampers: bool
