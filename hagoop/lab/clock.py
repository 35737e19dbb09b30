"""Virtual time: a heap of what is still to happen."""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from attrs import define, field

Event = tuple[float, int, Callable[..., object], tuple[object, ...]]


@define(eq=False)
class HeapClock:
    """Events in the order of their times; those of one time in the order of their making.

    Twisted's own ``task.Clock`` sorts all of its calls at each new one.
    """

    now: float = 0.0
    _events: list[Event] = field(factory=list)
    _count: Callable[[], int] = field(factory=lambda: count().__next__)

    def at(self, when: float, call: Callable[..., object], *args: object) -> None:
        """Call it then, or now if that is past."""
        heappush(self._events, (max(when, self.now), self._count(), call, args))

    def run(self, until: float, ended: Callable[[], bool]) -> None:
        """Let time pass until an end has come, or there is nothing more to happen."""
        while self._events and self._events[0][0] <= until and not ended():
            self.now, _, call, args = heappop(self._events)
            call(*args)
