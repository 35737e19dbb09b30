"""The indexes of a request's runs, as far as there is memory for them.

The index of a run of 1 GB has 16,000 entries, and a worker that means harm may send 60,000 long ones.
"""

from collections.abc import Callable

from attrs import define, field

from hagoop.jobs import Place
from hagoop.runs import RunIndex

MOST_BYTES = 64 << 20
"""What a request may keep of them; what is cut from them takes as much again."""


@define(eq=False)
class RunIndexes:
    """Those of runs that have come, until they are cut; the others are read again."""

    most_bytes: int = field(factory=lambda: MOST_BYTES)
    _known: dict[Place, RunIndex] = field(factory=dict, init=False)
    _bytes: int = field(default=0, init=False)

    def keep(self, place: Place, index: RunIndex) -> None:
        """Remember it, if there is room."""
        if place not in self._known and self._bytes + index.memory_bytes <= self.most_bytes:
            self._known[place] = index
            self._bytes += index.memory_bytes

    def get(self, place: Place, read: Callable[[], RunIndex]) -> RunIndex:
        """That of a run, remembered or read."""
        found = self._known.get(place)
        if found is None:
            found = read()
            self.keep(place, found)
        return found

    def step_for(self, memory_bytes: int) -> int:
        """How many entries must become one, so that indexes that take so much may all be kept."""
        return max(1, -(-memory_bytes // self.most_bytes))

    def clear(self) -> None:
        """What was cut is not needed here any more."""
        self._known.clear()
        self._bytes = 0
