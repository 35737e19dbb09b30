"""How fast programs were before, so that one that comes again is not tried line by line."""

from typing import TypeVar

from attrs import define, field

from hagoop.experience import JobSizer
from hagoop.jobs import Phase, Program

T = TypeVar("T")
MOST_PROGRAMS = 64
"""So many are remembered, those that ran last."""
CAUTION = JobSizer.GROWTH
"""A reducer may be so many times slower than the combiner beside it, before it is tried key by key."""


@define
class Remembered:
    """A worker's speeds.  The same program is one with the same commands, files and options."""

    _speeds: dict[tuple[Program, Phase], float] = field(factory=dict)
    _combiners: dict[Program, float] = field(factory=dict)

    def sizer(self, program: Program, phase: Phase) -> JobSizer:
        """What cuts a program's assignments in a new request."""
        speed = self._speeds.get((program, phase))
        if speed is None and phase is Phase.REDUCE and program in self._combiners:
            speed = self._combiners[program] / CAUTION
        return JobSizer(speed)

    def learn(self, program: Program, phase: Phase, sizer: JobSizer) -> None:
        """Jobs of a program have ended."""
        if sizer.steady is not None:
            _keep(self._speeds, (program, phase), sizer.steady)

    def combined(self, program: Program, speed: float) -> None:
        """A combiner ran, at so many bytes a second: most are the reducer itself.

        It counts as the fastest that it was: what it took for little was its start.
        """
        fastest = max(speed, self._combiners.get(program, 0.0))
        _keep(self._combiners, program, fastest)


def _keep(speeds: dict[T, float], which: T, speed: float) -> None:
    speeds.pop(which, None)
    speeds[which] = speed
    if len(speeds) > MOST_PROGRAMS:
        del speeds[next(iter(speeds))]
