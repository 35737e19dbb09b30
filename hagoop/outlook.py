"""What a worker may count on: how long it will still be there, and what ends that."""

from collections.abc import Iterable
from math import inf

from attrs import frozen


@frozen
class Outlook:
    """How things stand for a worker.

    :param seconds: how long it may still work; 0: not now, ``inf``: no end is in sight.
    :param why: what ends it, or has ended it, for people; empty where no end is in sight.
    :param ends: whether its process ends then, instead of coming again.
    """

    seconds: float
    why: str
    ends: bool = False

    @property
    def rests(self) -> bool:
        """Whether it may not work now."""
        return self.seconds <= 0


HERE = Outlook(inf, "")
"""A worker of which nothing is known but that it is there."""


def nearest(outlooks: Iterable[Outlook]) -> Outlook:
    """The one that ends first; of two that have ended, the one for good."""
    return min(outlooks, key=lambda each: (max(0.0, each.seconds), not each.ends), default=HERE)
