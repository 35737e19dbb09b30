"""What a check says: one plain sentence for each thing that it finds, with what helps."""

import re
from collections.abc import Sequence
from enum import Enum

from attrs import frozen

from hagoop.purity import Cause, Lines, Part, Printed, first_difference

_SHOWN = 60
_LAST_WORDS = 200


@frozen
class Finding:
    """One sentence about a program.

    :param is_note: the answer is right in spite of it, as far as was tried.
    """

    text: str
    is_note: bool = False

    def __str__(self) -> str:
        return f"note: {self.text}" if self.is_note else self.text


@frozen
class Role:
    """Which of a request's programs is meant.

    :param name: what it is called in a sentence.
    :param phase: ``map``, ``combine`` or ``reduce``.
    :param unit: what its input may be cut into: lines, or keys.
    :param whole: what lets it run over its whole input, as the end of a sentence.
    """

    name: str
    phase: str
    unit: str
    whole: str


MAPPER = Role("mapper", "map", "line", "add --map-whole, which runs it once for each file")
COMBINER = Role("combiner", "combine", "line", "leave it out")
REDUCER = Role("reducer", "reduce", "key", "add --reduce-whole")
ORIGINAL_MAP = Role("map", "map", "line", "let it print for each line by itself")
ORIGINAL_REDUCE = Role("reduce", "reduce", "key", "let it print for each key by itself")


class Factor(Enum):
    """What a program's output may depend on besides its input."""

    CHANCE = "chance"
    TIME = "time"
    HASHES = "hashes"
    NUMBERS = "numbers"
    PLACE = "place"
    UNKNOWN = "unknown"


_MEANINGS = {
    Cause.IGNORES: "it prints the same whatever it reads, and so once in each run",
    Cause.SORTS: "it keeps its lines and puts them in an order at its end, as sort does",
    Cause.REPEATS: "it leaves out what it has printed before in the same run, as uniq and sort -u do",
    Cause.FIRST: "it takes only the first of its input, as head does",
    Cause.LAST: "it takes only the last of its input, as tail does",
    Cause.HEADING: "it prints a line of its own at the beginning of each run",
    Cause.ENDING: "it prints a line of its own, such as a total, at the end of each run",
    Cause.LOSES_FIRST: "it leaves out the first {unit} of each run, as if that were a header",
    Cause.LOSES_LAST: "it never prints the last {unit} of a run",
    Cause.LOSES: "it leaves out a {unit} of each run: it takes the first for a header, never prints the "
    "last, or needs neighbours",
    Cause.NEIGHBOURS: "what it prints for a {unit} depends on the {unit}s before it: their number, "
    "a sum so far, the one before",
    Cause.TOTALS: "it keeps totals across {unit}s",
    Cause.OTHER: "what it prints depends on which {unit}s it sees in one run",
}
_UNSTEADY = {
    Factor.CHANCE: "two runs on the same input differ: it uses chance, such as random numbers, process "
    "ids, what happens to be ready first, or what an earlier run has left; seed it from the line or "
    "the key",
    Factor.TIME: "it prints other lines at another time; leave the clock out, or pass one time to all "
    "runs: --env NOW=...",
    Factor.HASHES: "it prints in the order of Python's hashes, which is another in each run; print in "
    "sorted order, or add --env PYTHONHASHSEED=0",
    Factor.NUMBERS: "it prints what names the run, such as HAGOOP_JOB, which is another each time; "
    "leave it out",
    Factor.PLACE: "it prints the path of its run's folder, which is another each time; leave it out",
    Factor.UNKNOWN: "two runs on the same input differ: it uses chance, a clock, or what an earlier run "
    "has left behind",
}
_MADE_UP = "; the reducer makes up for it here"
_UNSORTED = re.compile(r"not (?:in )?sorted|disorder|out of (?:order|sequence)|unsorted", re.IGNORECASE)
_MISSING = (
    re.compile(r"No module named ['\"]?([\w.]+)"),
    re.compile(r"No such file or directory: b?['\"]([^'\"]+)"),
    re.compile(r"[Cc]an(?:not|'t) open (?:file |perl script )?['\"`]?([^'\"`:\s]+)"),
    re.compile(r"([^\s:'\"`]+)['\"]?: (?:No such file or directory|not found)"),
)


def impure(role: Role, printed: Printed, units: int, made_up: bool, sorts: bool) -> Finding:
    """A program prints something else for pieces of its input than for the whole.

    :param units: how many lines, or keys, it was given.
    :param made_up: the answer is the same.
    :param sorts: its output is sorted for a reducer.
    """
    cause = printed.cause
    meaning = _MEANINGS[cause].format(unit=role.unit)
    advice = _MADE_UP if made_up else f"; {_advice(role, cause, sorts)}"
    return Finding(f"{role.name}: {_evidence(role, cause, printed, units)}: {meaning}{advice}", made_up)


def _evidence(role: Role, cause: Cause, printed: Printed, units: int) -> str:
    whole, joined = printed.whole, printed.joined
    if len(whole) != len(joined) and cause is not Cause.SORTS:
        many, few = counted(len(joined), "line"), counted(len(whole), "line")
        return f"{many} for {counted(units, role.unit)} in pieces, {few} whole"
    number, cut, uncut = first_difference(joined, whole)
    return f"its line {number} is {shown(cut)} in pieces, {shown(uncut)} whole"


def _advice(role: Role, cause: Cause, sorts: bool) -> str:
    if role is MAPPER and sorts:
        if cause is Cause.SORTS:
            return "what a reducer reads is sorted by key anyway; leave the sorting out"
        if cause in (Cause.TOTALS, Cause.ENDING, Cause.REPEATS):
            return f"let the reducer do that, or {role.whole}"
    if cause is Cause.LOSES_LAST:
        return "print it when the input ends, too"
    return role.whole


def unsteady(role: Role, factor: Factor, made_up: bool) -> Finding:
    """A program prints something else in other surroundings.

    :param made_up: the answer is the same.
    """
    return Finding(f"{role.name}: {_UNSTEADY[factor]}{_MADE_UP if made_up else ''}", made_up)


def place(role: Role, part: Part) -> str:
    """The lines that a run was given, in words."""
    count = len(part.lines)
    if role.phase != "map":
        return f"{counted(count, 'line')} of its sorted input"
    if count == 1:
        return f"line {part.start + 1} of {part.name}"
    return f"lines {part.start + 1}-{part.start + count} of {part.name}"


def failed(role: Role, what: str, message: str, log: str, advice: str = "") -> Finding:
    """A program fails.

    :param what: on which lines.
    """
    lines = [each.strip() for each in log.splitlines() if each.strip()]
    said = f"; it said: {lines[-1][-_LAST_WORDS:]}" if lines else ""
    helps = f"; {advice}" if advice else ""
    return Finding(f"{role.name} failed on {what}: {message}{said}{helps}")


def too_slow(role: Role, what: str, seconds: float) -> Finding:
    """A program does not end."""
    return Finding(
        f"{role.name}: it had not ended on {what} after {seconds:g} s and was stopped: it hangs, waits "
        "for something, or is too slow to be checked"
    )


def needs_numeric_order(keys: Lines, log: str) -> str:
    """Advice for a reducer that is wrong with keys that are numbers, or says they are not sorted."""
    wants = _UNSORTED.search(log) is not None
    if _are_numbers(keys) and sorted(keys, key=float) != list(keys):
        _, first, second = first_difference(sorted(keys, key=float), keys)
        return (
            f"keys are sorted as bytes, not as numbers, {shown(second)} before {shown(first)}: "
            "pad them with zeros if it needs another order"
        )
    told = "keys are sorted as bytes, as LC_ALL=C sort does: it must not need another order"
    return told if wants else ""


def _are_numbers(keys: Lines) -> bool:
    return bool(keys) and all(re.fullmatch(rb"[+-]?\d+(\.\d+)?", each) for each in keys)


def missing_names(log: str) -> list[str]:
    """Files that a program says it did not find, and Python's modules as files."""
    found: list[str] = []
    for line in log.splitlines():
        for number, each in enumerate(_MISSING):
            names = each.findall(line)
            found += [f"{name.replace('.', '/')}.py" for name in names] if number == 0 else names
    return list(dict.fromkeys(found))


def ship(name: str) -> str:
    """Advice for a program that did not find a file which is on this machine."""
    base = name.rpartition("/")[2]
    if name.startswith(("/", "../")):
        return f"{name} is on this machine only: ship it with --file {name}, and call it {base}"
    return f"{name} is here, but not where programs run: ship it with --file {name}"


def combines_wrongly(
    printed: Lines, strange: bytes, answers: tuple[Lines, Lines], failed: str
) -> Finding:
    """A combiner changes the answer.

    :param strange: a line that it printed for a key that it was not given, if there is one.
    :param answers: of the reducer, without the combiner and with it.
    :param failed: how the reducer failed on what it printed.
    """
    number, without, with_it = first_difference(*answers)
    changed = f"with it line {number} of the answer is {shown(with_it)}, without it {shown(without)}"
    if failed:
        changed = f"the reducer fails on what it prints: {failed}"
    if not printed:
        why = "it prints nothing"
    elif strange:
        why = f"it must print the key that it read, a TAB and a value, and it printed {shown(strange)}"
    else:
        why = (
            "what it prints must do for the reducer as its input does, any number of times over: sums "
            "of sums do, averages of averages do not"
        )
    return Finding(f"combiner: {changed}: {why}; leave it out, or mend it")


def by_locale(role: Role, one: Lines, other: Lines) -> Finding:
    """A program depends on the locale."""
    number, text, plain = first_difference(one, other)
    return Finding(
        f"{role.name}: its line {number} is {shown(text)} under LC_ALL=C.UTF-8, as HaGoop runs it, and "
        f"{shown(plain)} under LC_ALL=C: it depends on the locale, and a pipe in yours may print "
        "something else; --env LC_ALL=C makes it treat bytes",
        is_note=True,
    )


def by_name(role: Role, combines: bool) -> Finding:
    """A mapper depends on the name of the file.

    :param combines: whether a run may see lines of several files.
    """
    other = f"{role.name}: it prints something else for a file of another name"
    if combines:
        return Finding(f"{other}, and a run may see lines of several: leave out --combine-files")
    return Finding(
        f"{other}: that is right as long as "
        "one run sees lines of one file only, and so without --combine-files",
        is_note=True,
    )


def ignores_offset(role: Role) -> Finding:
    """A program of the original interface reads another part of the file than it is told."""
    return Finding(
        f"{role.name}: for lines within a larger file it prints something else than for a copy of just "
        "these: it must go to byte OFFSET and take END - START lines from there, wherever START is"
    )


def writes_outside(by: str, path: str) -> Finding:
    """A program has written to a place that all runs share.

    :param by: the program, or the file that names it.
    """
    return Finding(
        f"{by}: it writes to {path}, outside of its own folder, and so on every worker, from "
        "several runs at once; print what is wanted, and write to $TMPDIR what is not"
    )


def reads_outside(by: str, path: str) -> Finding:
    """A program names a file that may be on this machine only."""
    base = path.rpartition("/")[2]
    return Finding(
        f"{by}: it names {path}, which must then be on every worker; or ship it with "
        f"--file {path}, and call it {base}",
        is_note=True,
    )


def has_no_filename(role: Role) -> Finding:
    """A program in awk asks for the name of a file, and reads none."""
    return Finding(
        f"{role.name}: awk's FILENAME names no file, as lines come by stdin; the name is in "
        'ENVIRON["HAGOOP_INPUT_FILE"]',
        is_note=True,
    )


def remarks(role: Role, given: Lines, printed: Lines, keyed: bool) -> list[Finding]:
    """What strikes the eye in what a program printed, although it may be meant.

    :param keyed: its lines should be KEY, TAB, VALUE.
    """
    found = [f"it printed nothing for {counted(len(given), 'line')}"] if not printed else []
    bare = [each for each in printed if b"\t" not in each and re.search(rb"\S[ ,;:=]+\S", each)]
    if keyed and bare:
        all_of = "none" if len(bare) == len(printed) else "not all"
        found.append(
            f"{all_of} of its lines have a TAB, such as {shown(bare[0])}, so all of such a line is its "
            "key: print KEY, TAB, VALUE if that is not meant"
        )
    notes = [Finding(f"{role.name}: {each}", is_note=True) for each in found]
    ends = [each for each in printed if each.endswith(b"\r\n")]
    return notes + ([_ends_in_cr(role, given)] if ends else [])


def _ends_in_cr(role: Role, given: Lines) -> Finding:
    if any(each.endswith(b"\r\n") for each in given):
        return Finding(
            f"{role.name}: the input's lines end in CR LF, and what it prints does too: CR is a byte of "
            "the line like any other; remove it if that is not meant",
            is_note=True,
        )
    return Finding(
        f"{role.name}: it ends its lines in CR LF: CR becomes a part of the key or the value; print LF "
        "alone"
    )


def nothing_found(programs: Sequence[str], lines: int, files: int, tried: Sequence[str]) -> str:
    """That nothing was found, and by what."""
    one = len(programs) == 1
    names = " and ".join([", ".join(programs[:-1])] * (not one) + [programs[-1]])
    of = f" of {counted(files, 'file')}" if files > 1 else ""
    ways = ", ".join(["whole", *tried])
    return f"Nothing found: {names} gave the same for {counted(lines, 'line')}{of} {ways}"


def counted(number: int, what: str) -> str:
    """``1 line``, ``1,000 lines``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def shown(line: bytes) -> str:
    """A line, or the beginning of one, in quotes."""
    text = line.removesuffix(b"\n")
    cut = text[:_SHOWN].decode("utf-8", "backslashreplace") + ("..." if len(text) > _SHOWN else "")
    return repr(cut).replace("\\\\x", "\\x") if line else "missing"
