"""Pure programs, what they print when nothing is cut, and inputs that are hard to cut."""

import zlib
from collections.abc import Callable, Collection, Container, Sequence
from itertools import count, groupby

from attrs import frozen

from hagoop.enough import ALL
from hagoop.jobs import MOST_BAD_LINES, Program
from hagoop.keys import Order

Lines = list[bytes]
BY_KEY = Order.BY_KEY


def key(line: bytes) -> bytes:
    """What ``sort -t TAB -k1,1`` compares."""
    return line.removesuffix(b"\n").partition(b"\t")[0]


def value(line: bytes) -> bytes:
    """What comes after the key."""
    return line.removesuffix(b"\n").partition(b"\t")[2]


# Mappers: one line each.


def cat(line: bytes) -> Lines:
    """The line."""
    return [line]


def words(line: bytes) -> Lines:
    """Every word as a key."""
    return [word + b"\t1\n" for word in line[:-1].split(b" ")]


def thin(line: bytes) -> Lines:
    """No line, one or two."""
    return [line] * (zlib.crc32(line) % 3)


def swap(line: bytes) -> Lines:
    """The value as key."""
    return [value(line) + b"\t" + key(line) + b"\n"]


def flat(line: bytes) -> Lines:
    """No TAB: the whole line is the key."""
    return [line.replace(b"\t", b" ")]


PICKY = "picky"
"""A mapper that fails on some lines, which are passed over."""


def picky(line: bytes) -> Lines:
    """The line, but the program fails on some."""
    return [line]


MAPPERS: dict[str | None, Callable[[bytes], Lines]] = {
    None: cat, "words": words, "thin": thin, "swap": swap, "flat": flat, PICKY: picky,
}  # fmt: skip


def fails_on(mapper: str | None, line: bytes) -> bool:
    """Whether a mapper fails on a line."""
    return mapper == PICKY and zlib.crc32(line) % 5 == 0


# Reducers: all lines of one key.


def echo(lines: Lines) -> Lines:
    """All lines, so that any change of their order shows."""
    return lines


def twice(lines: Lines) -> Lines:
    """More lines than there were."""
    return lines + lines[:3]


def few(lines: Lines) -> Lines:
    """Nothing for some keys, two lines for others."""
    return [lines[0], lines[-1]] if len(key(lines[0])) % 2 else []


def join(lines: Lines) -> Lines:
    """All values in order; as a combiner it changes nothing."""
    return [key(lines[0]) + b"\t" + b"|".join(map(value, lines)) + b"\n"]


REDUCERS: dict[str, Callable[[Lines], Lines]] = {
    "echo": echo, "twice": twice, "few": few, "join": join,
}  # fmt: skip


# Impure ones, for whole runs.


def total(lines: Lines) -> Lines:
    """All lines, and at the end how many there were: right only for a whole run."""
    return [*lines, b"total\t%d\n" % len(lines)]


TOTAL = "total"
"""As a reducer it must see all keys at once, as a mapper a whole file."""


def run_mapper(name: str | None, lines: Sequence[bytes]) -> Lines:
    """What a mapper prints for some lines; nothing is run on nothing."""
    if name == TOTAL:
        return total(list(lines)) if lines else []
    return [made for line in lines for made in MAPPERS[name](line)]


def sort_key(order: Order) -> Callable[[bytes], tuple[bytes, bytes]]:
    """What lines are compared by, where the sort is stable."""
    return lambda line: (order.key_of(line), line[:-1] if order.by_value else b"")


def run_reducer(name: str, lines: Sequence[bytes], order: Order) -> Lines:
    """What a reducer prints for the lines of some keys; nothing is run on nothing."""
    if name == TOTAL:
        return total(list(lines)) if lines else []
    groups = [list(group) for _, group in groupby(lines, order.key_of)]
    return [made for group in groups for made in REDUCERS[name](group)]


def run_combiner(name: str, lines: Sequence[bytes]) -> Lines:
    """The same as a reducer, but its keys come in another order."""
    groups = [list(group) for _, group in groupby(lines, key)]
    return [made for group in reversed(groups) for made in REDUCERS[name](group)]


def count_keys(lines: Sequence[bytes], order: Order) -> int:
    """How many keys there are."""
    return sum(1 for _ in groupby(lines, order.key_of))


def lines_of(data: bytes) -> Lines:
    """Lines with their newlines; the last gets one."""
    pieces = data.split(b"\n")
    if not pieces[-1]:
        pieces.pop()
    return [each + b"\n" for each in pieces]


def without(files: Sequence[Lines], bad: Container[int]) -> list[Lines]:
    """The same files without some lines, by their numbers in all."""
    numbers = count()
    return [[line for line in lines if next(numbers) not in bad] for lines in files]


@frozen
class Step:
    """The programs of one step.

    :param combine: whether one run may see lines of several files.
    """

    mapper: str | None = None
    reducer: str | None = None
    combiner: str | None = None
    order: Order = BY_KEY
    combine: bool = False

    @property
    def program(self) -> Program:
        """As it is submitted."""
        return Program(
            self.mapper,
            self.reducer,
            self.combiner,
            key_fields=self.order.fields,
            separator=self.order.separator.decode("ascii"),
            secondary_sort=self.order.by_value,
            map_whole=self.mapper == TOTAL,
            combine_files=self.combine and self.mapper != TOTAL,
            reduce_whole=self.reducer == TOTAL,
            skip_bad_lines=MOST_BAD_LINES if self.mapper == PICKY else 0,
        )

    def bad(self, files: Sequence[Lines]) -> set[int]:
        """The lines on which its mapper fails."""
        lines = [line for lines in files for line in lines]
        return {at for at, line in enumerate(lines) if fails_on(self.mapper, line)}

    def run(self, files: Sequence[Lines]) -> tuple[Lines, int]:
        """What it prints for all lines, and how many keys there were."""
        parts = files if self.mapper == TOTAL else [[line for lines in files for line in lines]]
        printed = [line for lines in parts for line in run_mapper(self.mapper, lines)]
        if self.reducer is None:
            return printed, 0
        printed.sort(key=sort_key(self.order))
        return run_reducer(self.reducer, printed, self.order), count_keys(printed, self.order)


@frozen
class Task:
    """One request: its input and programs.

    :param cancelled: whether its client gives up while it runs.
    :param good_enough: the share of the lines that suffices, in parts of a million.
    """

    files: tuple[tuple[str, bytes], ...]
    steps: tuple[Step, ...] = (Step(),)
    cancelled: bool = False
    good_enough: int = ALL

    @property
    def lines(self) -> list[Lines]:
        """The lines of each file."""
        return [lines_of(data) for _, data in self.files]

    def play(self, bad: Collection[tuple[int, int]]) -> "Outcome":
        """What all steps come to when they pass over lines, by step, from 1, and number, from 0."""
        files, mapped, reduced = self.lines, 0, 0
        planted: set[tuple[int, int]] = set()
        for number, step in enumerate(self.steps, 1):
            planted |= {(number, at) for at in step.bad(files)}
            files = without(files, {at for of, at in bad if of == number})
            mapped += sum(map(len, files))
            lines, keys = step.run(files)
            files, reduced = [lines], reduced + keys
        counts = {("world", "lines"): mapped, ("world", "keys"): reduced}
        counted = {name: amount for name, amount in counts.items() if amount}
        return Outcome(b"".join(line for lines in files for line in lines), counted, planted)


@frozen
class Outcome:
    """What a task comes to.

    :param bad: the lines on which its mappers fail.
    """

    answer: bytes
    counters: dict[tuple[str, str], int]
    bad: set[tuple[int, int]]
