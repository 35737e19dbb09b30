"""One scheduler put to the test on one fleet, and what came of it."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

from attrs import define, field, frozen

from hagoop.lab.contender import IContender, INetwork
from hagoop.lab.lives import Recording
from hagoop.lab.tally import Tally
from hagoop.lab.world import World

Teller = Callable[..., None]
"""Is told ``(time, what, machine, *more)`` of all that happens."""
GIVEN = ("lease", "copy")


@frozen
class Outcome:
    """What came of a trial.

    :param tail_seconds: from when the last untouched line was given out to the end; None: never.
    """

    recording: Recording
    tally: Tally
    tail_seconds: float | None

    @property
    def efficiency(self) -> float:
        """Beside a scheduler that knows the future and pays nothing; 0 if it did not end."""
        return self.against(self.recording.capacity_seconds)

    def against(self, bound: float) -> float:
        """Beside another makespan."""
        return bound / self.tally.makespan if self.tally.finished and self.tally.makespan else 0.0


@define
class GivenOut:
    """Watches for when all lines have been given to somebody.

    :ivar whole_at: when that was.
    """

    lines: int
    whole_at: float | None = None
    _starts: list[int] = field(factory=list)
    _ends: list[int] = field(factory=list)

    def tell(self, time: float, what: str, machine: int, *more: int) -> None:
        """Something has happened."""
        if what not in GIVEN or self.whole_at is not None:
            return
        self._add(*more)
        if (self._starts[0], self._ends[0]) == (0, self.lines):
            self.whole_at = time

    def _add(self, start: int, end: int) -> None:
        first, last = bisect_left(self._ends, start), bisect_right(self._starts, end)
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]


def try_out(
    recording: Recording,
    make: Callable[[INetwork], IContender],
    *,
    spawns: bool = False,
    tellers: Sequence[Teller] = (),
) -> Outcome:
    """Let a fleet do its work under a scheduler.

    :param spawns: whether programs are started for each job; else once in a session.
    """
    given = GivenOut(recording.work.lines)
    told = [given.tell, *tellers]

    def tell(time: float, what: str, machine: int, *more: int) -> None:
        for each in told:
            each(time, what, machine, *more)

    world = World(recording, make, spawns=spawns, tell=tell)
    world.contender.begin(recording.work.lines)
    tally = world.run()
    tail = None if given.whole_at is None else tally.makespan - given.whole_at
    return Outcome(recording, tally, tail)
