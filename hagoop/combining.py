"""The check of a combiner: with it and without it, however applied, the answer must be the same."""

from collections.abc import Callable, Sequence

from attrs import define, evolve

from hagoop import findings
from hagoop.findings import Finding
from hagoop.purity import Below, Lines, Part, cut, sort_lines
from hagoop.subjects import Subject, lines_of
from hagoop.trying import Outcome


@define(eq=False)
class Combining:
    """Combines parts of what a mapper printed, and parts of that, and has the rest reduced.

    :ivar failed: told of lines on which the combiner fails.
    """

    reducer: Subject
    pieces: int
    below: Below
    failed: Callable[[Part, Outcome], None]

    async def run(self, mapped: Lines) -> Finding | None:
        """What is wrong with the combiner, but for its failures."""
        [pieces] = cut([Part.of_file("", mapped)], self.pieces, self.below)
        once = await self._combine([each.lines for each in pieces])
        wrong = await self._judge(once)
        if wrong or len(once) < 2:
            return wrong
        groups = [lines_of(once[at : at + 2]) for at in range(0, len(once), 2)]
        return await self._judge(await self._combine(groups))

    def _sort(self, lines: Lines) -> list[bytes]:
        return sort_lines(lines, self.reducer.program.order)

    async def _combine(self, groups: Sequence[Lines]) -> list[Outcome]:
        """What the combiner makes of groups of lines; nothing at all if it fails on one."""
        parts = [evolve(self.reducer.parts[0], lines=self._sort(each)) for each in groups if each]
        outcomes = await self.reducer.trier.all(findings.COMBINER, parts)
        for part, outcome in zip(parts, outcomes, strict=True):
            if outcome.error:
                self.failed(part, outcome)
                return []
        return outcomes

    async def _judge(self, combined: Sequence[Outcome]) -> Finding | None:
        if not combined:
            return None
        lines = self._sort(lines_of(combined))
        answer = await self.reducer.on(lines)
        if not answer.error and self.reducer.is_same(answer.lines):
            return None
        key_of = self.reducer.program.order.key_of
        keys = set(map(key_of, self.reducer.given))
        strange = next((each for each in lines if key_of(each) not in keys), b"")
        answers = (self.reducer.output, answer.lines)
        return findings.combines_wrongly(lines, strange, answers, answer.error)
