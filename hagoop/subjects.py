"""A program under check: run on its whole input, in any surroundings, and compared with itself."""

from collections.abc import Sequence
from enum import Enum

from attrs import define, evolve, field, frozen

from hagoop import findings
from hagoop.findings import Role
from hagoop.jobs import Program
from hagoop.purity import Lines, Part, sort_lines
from hagoop.trying import PLAIN, Around, Outcome, Trier


@frozen
class Effort:
    """How much is tried.

    :param lines: how many of the input, in at most so many ``bytes`` and ``files``.
    :param pieces: into how many the input of a program is cut.
    :param run_seconds: after which a run is stopped; ``total_seconds``: the check.
    :param later_seconds: after which the programs are run again, for those that print the time.
    :param is_thorough: whether failures, and what is right in spite of it, are looked for too.
    """

    lines: int = 1000
    bytes: int = 1 << 20
    files: int = 3
    pieces: int = 12
    run_seconds: float = 5.0
    total_seconds: float = 60.0
    later_seconds: float = 1.1
    is_thorough: bool = True


class Effect(Enum):
    """What becomes of a difference in what a program prints."""

    NONE = "none"
    """The sort takes it away."""
    MADE_UP = "made up"
    """The reducer takes it away, as far as was tried."""
    SEEN = "seen"
    """It is in the answer."""


@define(eq=False)
class Subject:
    """A program, its whole input, and what it printed for that.

    :ivar began: when it was run first.
    :ivar reader: the reducer, where it reads what this program printed.
    """

    trier: Trier
    role: Role
    parts: Sequence[Part]
    output: list[bytes] = field(factory=list)
    began: float = 0.0
    reader: "Subject | None" = None

    @property
    def program(self) -> Program:
        """All programs of the request."""
        return self.trier.program

    @property
    def given(self) -> list[bytes]:
        """All lines of its input."""
        return [line for each in self.parts for line in each.lines]

    @property
    def is_sorted(self) -> bool:
        """Whether its output is sorted for a reducer."""
        return self.program.sorts and self.role.phase == "map"

    def settled(self, output: Lines) -> list[bytes]:
        """What must be the same: all of the output, or what a sort makes of it."""
        if self.is_sorted or self.program.binary is not None:
            return sort_lines(output, self.program.order)
        return list(output)

    def is_same(self, output: Lines) -> bool:
        """Whether an output is as good as that for the whole."""
        return self.settled(output) == self.settled(self.output)

    async def run(self) -> list[Outcome]:
        """Run it for the first time."""
        self.began = self.trier.bench.reactor.seconds()
        outcomes = await self.trier.all(self.role, self.parts)
        self.output = lines_of(outcomes)
        return outcomes

    async def again(self, around: Around = PLAIN) -> list[bytes] | None:
        """What it prints in other surroundings; None: it fails in them."""
        outcomes = await self.trier.all(self.role, self.parts, around)
        return None if any(each.error for each in outcomes) else lines_of(outcomes)

    async def on(self, lines: Lines) -> Outcome:
        """Run it on other lines; on none at all nothing is run."""
        if not lines:
            return Outcome()
        return (await self.trier.all(self.role, [evolve(self.parts[0], lines=lines)]))[0]

    async def effect(self, output: Lines) -> Effect:
        """What becomes of it that it printed something else."""
        if self.is_same(output):
            return Effect.NONE
        if self.reader is None:
            return Effect.SEEN
        answer = await self.reader.on(self.settled(output))
        is_made_up = not answer.error and self.reader.is_same(answer.lines)
        return Effect.MADE_UP if is_made_up else Effect.SEEN


def lines_of(outcomes: Sequence[Outcome]) -> list[bytes]:
    """What several runs printed, one after the other."""
    return [line for each in outcomes for line in each.lines]


def roles_of(program: Program) -> list[Role]:
    """The programs of a request, in the order in which they are run."""
    if program.binary is not None:
        return [findings.ORIGINAL_MAP, findings.ORIGINAL_REDUCE]
    known = (findings.MAPPER, findings.COMBINER, findings.REDUCER)
    return [role for role in known if getattr(program, role.name) is not None]
