"""How fast programs were in earlier requests, so that one that comes again is not tried line by line."""

from attrs import define, field

from hagoop.experience import JobSizer
from hagoop.jobs import Phase, Program

MOST_PROGRAMS = 64
"""So many are remembered, those that ran last."""


@define
class Remembered:
    """A worker's speeds.  The same program is one with the same commands, files and options."""

    _speeds: dict[tuple[Program, Phase], float] = field(factory=dict)

    def sizer(self, program: Program, phase: Phase) -> JobSizer:
        """What cuts a program's assignments in a new request."""
        return JobSizer(self._speeds.get((program, phase)))

    def learn(self, program: Program, phase: Phase, sizer: JobSizer) -> None:
        """Jobs of a program have ended."""
        if sizer.steady is None:
            return
        self._speeds.pop((program, phase), None)
        self._speeds[program, phase] = sizer.steady
        if len(self._speeds) > MOST_PROGRAMS:
            del self._speeds[next(iter(self._speeds))]
