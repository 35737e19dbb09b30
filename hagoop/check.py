"""The check of a request's programs: run on the first lines in many ways that must not matter."""

import re
from collections.abc import Sequence
from pathlib import Path

from attrs import define, evolve, field

from hagoop import findings
from hagoop.combining import Combining
from hagoop.findings import Factor, Finding, Role
from hagoop.jobs import Phase, Program
from hagoop.purity import Below, Part, Printed, cut, group_of, sort_lines
from hagoop.subjects import Effect, Effort, Subject, lines_of, roles_of
from hagoop.surroundings import changes_later, depends_on_name, other_locale, vary
from hagoop.trying import Outcome, Trier

_AWK, _FILENAME = re.compile(r"\b[gmn]?awk\b"), re.compile(r"\bFILENAME\b")
_FEWER = 10
_LEAST = 10


@define(eq=False)
class Check:
    """Checks one request's programs.

    :param below: chance, by which input is cut.
    :param folder: the client's own, where files may lie that are not shipped.
    :ivar found: what it has found so far.
    :ivar tried: what it has tried, as parts of a sentence.
    :ivar answer: what is printed in the end for all that is tried; nothing while that is not known.
    """

    trier: Trier
    effort: Effort
    below: Below
    folder: Path
    found: list[Finding] = field(factory=list)
    tried: list[str] = field(factory=list)
    answer: list[bytes] = field(factory=list)

    @property
    def program(self) -> Program:
        """All programs of the request."""
        return self.trier.program

    def _role(self, phase: str) -> Role | None:
        return next((each for each in roles_of(self.program) if each.phase == phase), None)

    async def run(self, sample: Sequence[Part]) -> None:
        """Try everything on the first lines of the input."""
        self._read_commands()
        mapper = await self._map(sample)
        if mapper is None:
            return
        reducer = mapper.reader = await self._reduce(mapper)
        last = reducer if self.program.sorts else mapper
        self.answer = last.settled(last.output) if last else []
        if self._role("map"):
            await self._try(mapper)
        if reducer and self._role("combine"):
            await self._combine(reducer, mapper)
        if reducer:
            await self._try(reducer)

    # Whole

    async def _map(self, sample: Sequence[Part]) -> Subject | None:
        """The mapper on as many lines as it can do in time; None if it fails."""
        role = self._role("map")
        if role is None:
            given = [line for each in sample for line in each.lines]
            return Subject(self.trier, findings.MAPPER, sample, given)
        while (count := _count(sample)) > _LEAST:
            subject = Subject(self.trier, role, sample)
            outcomes = await subject.run()
            if not any(each.is_slow for each in outcomes):
                return self._looked_at(subject, outcomes)
            sample = _first(sample, max(_LEAST, count // _FEWER))
        subject = Subject(self.trier, role, sample)
        return self._looked_at(subject, await subject.run())

    async def _reduce(self, mapper: Subject) -> Subject | None:
        role = self._role("reduce")
        lines = sort_lines(mapper.output, self.program.order)
        if role is None or not lines:
            return None
        subject = Subject(self.trier, role, [Part.of_keys(lines, group_of(self.program))])
        return self._looked_at(subject, await subject.run())

    def _looked_at(self, subject: Subject, outcomes: Sequence[Outcome]) -> Subject | None:
        for part, outcome in zip(subject.parts, outcomes, strict=True):
            if outcome.error:
                self._fails(subject.role, part, outcome)
                return None
        tabs = self.program.binary is None and self.program.separator == "\t"
        keyed = subject.is_sorted and tabs
        for each in findings.remarks(subject.role, subject.given, subject.output, keyed):
            self._add(each)
        return subject

    # What is said

    def _add(self, finding: Finding) -> None:
        if self.effort.is_thorough or not finding.is_note:
            self.found.append(finding)

    def _read_commands(self) -> None:
        for role in roles_of(self.program):
            command = getattr(self.program, role.name, None) or ""
            if _AWK.search(command) and _FILENAME.search(command):
                self._add(findings.has_no_filename(role))

    def _fails(self, role: Role, part: Part, outcome: Outcome) -> None:
        # A request tells of failures itself.
        if not self.effort.is_thorough:
            return
        what = findings.place(role, part)
        if outcome.is_slow:
            self._add(findings.too_slow(role, what, self.trier.run_seconds))
        else:
            advice = self._advice(role, part, outcome.log)
            self._add(findings.failed(role, what, outcome.error, outcome.log, advice))

    def _advice(self, role: Role, part: Part, log: str) -> str:
        folders = {"", *(each.path.rpartition("/")[0] for each in self.program.files)}
        named = [Path(each, name) for name in findings.missing_names(log) for each in folders]
        there = next((each for each in named if (self.folder / each).is_file()), None)
        if there is not None:
            return findings.ship(str(there))
        return findings.needs_numeric_order(self._keys(part), log) if role.phase == "reduce" else ""

    def _keys(self, part: Part) -> list[bytes]:
        return list(dict.fromkeys(map(group_of(self.program), part.lines)))

    # In other surroundings, and in pieces

    async def _try(self, subject: Subject) -> None:
        is_steady = await self._vary(subject) and await self._wait(subject)
        if is_steady and await self._cut(subject) and self.effort.is_thorough:
            await self._look_closer(subject)

    async def _vary(self, subject: Subject) -> bool:
        varied = await vary(subject)
        self._did("again", *["in another year"] * varied.had_clock)
        for each in varied.factors:
            made_up = varied.effect is Effect.MADE_UP
            self._add(findings.unsteady(subject.role, each, made_up))
        return varied.is_steady

    async def _wait(self, subject: Subject) -> bool:
        """Whether it prints the same when the clock shows another second."""
        if not self.effort.is_thorough:
            return True
        changes = await changes_later(subject, self.effort.later_seconds)
        self._did("a second later")
        if changes:
            self._add(findings.unsteady(subject.role, Factor.TIME, False))
        return not changes

    async def _look_closer(self, subject: Subject) -> None:
        other = await other_locale(subject)
        if other is not None:
            self._add(findings.by_locale(subject.role, subject.output, other))
        if subject.role is findings.MAPPER and await depends_on_name(subject):
            self._add(findings.by_name(subject.role, self.program.combine_files))
        if subject.role is findings.ORIGINAL_MAP and await self._ignores_offset(subject):
            self._add(findings.ignores_offset(subject.role))
        self._did("in the C locale", "under another file name")

    def _did(self, *what: str) -> None:
        self.tried += [each for each in what if each not in self.tried]

    async def _cut(self, subject: Subject) -> bool:
        """Whether it prints for pieces what it prints for the whole."""
        if self._is_whole(subject.role):
            return True
        cuts = cut(subject.parts, self.effort.pieces, self.below)
        pieces = [piece for each in cuts for piece in each]
        if len(pieces) == len(subject.parts):
            return True
        outcomes = await self.trier.all(subject.role, pieces)
        self._did("in pieces")
        for piece, outcome in zip(pieces, outcomes, strict=True):
            if outcome.error:
                self._fails(subject.role, piece, outcome)
                return False
        effect = await subject.effect(lines_of(outcomes))
        if effect is not Effect.NONE and not subject.is_same(await subject.again() or []):
            # A second may have ended since: that is no matter of pieces.
            self._add(findings.unsteady(subject.role, Factor.UNKNOWN, effect is Effect.MADE_UP))
        elif effect is not Effect.NONE:
            self._add(self._impure(subject, pieces, outcomes, effect is Effect.MADE_UP))
        return effect is Effect.NONE

    def _impure(
        self, subject: Subject, pieces: Sequence[Part], outcomes: Sequence[Outcome], made_up: bool
    ) -> Finding:
        key = self.program.order.key_of
        firsts = frozenset(key(each.lines[0]) for each in pieces)
        lasts = frozenset(key(each.lines[-1]) for each in pieces)
        printed = Printed(subject.output, [each.lines for each in outcomes], firsts, lasts)
        if subject.role.phase != "reduce":
            units = len(subject.given)
            return findings.impure(subject.role, printed, units, made_up, subject.is_sorted)
        keys = self._keys(subject.parts[0])
        finding = findings.impure(subject.role, printed, len(keys), made_up, sorts=False)
        # What prints as many lines for any keys does not look at their order.
        counts = {len(each) for each in printed.pieces} - {len(printed.whole)}
        more = findings.needs_numeric_order(keys, "") if counts else ""
        return evolve(finding, text=f"{finding.text}; {more}") if more else finding

    def _is_whole(self, role: Role) -> bool:
        """Whether runs of it are never cut."""
        return self.program.has_whole_jobs(Phase(role.phase)) if role.phase in set(Phase) else False

    async def _ignores_offset(self, subject: Subject) -> bool:
        """Whether the original's map prints something else where its lines lie in a larger file."""
        part = subject.parts[0]
        [pieces] = cut([part], 4, self.below)
        inner = pieces[len(pieces) // 2]
        alone, within = await self.trier.all(subject.role, [inner, inner.within(part)])
        return bool(within.error) or subject.settled(alone.lines) != subject.settled(within.lines)

    async def _combine(self, reducer: Subject, mapper: Subject) -> None:
        def failed(part: Part, outcome: Outcome) -> None:
            self._fails(findings.COMBINER, part, outcome)

        pieces = max(3, self.effort.pieces // 2)
        wrong = await Combining(reducer, pieces, self.below, failed).run(mapper.output)
        self._did("with and without the combiner")
        if wrong:
            self._add(wrong)


def _count(parts: Sequence[Part]) -> int:
    return sum(len(each.lines) for each in parts)


def _first(parts: Sequence[Part], count: int) -> list[Part]:
    """The first lines of all."""
    made: list[Part] = []
    for each in parts:
        left = count - _count(made)
        if left > 0:
            made.append(each.first(left))
    return made
