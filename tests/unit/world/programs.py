"""Pure programs, what they print when nothing is cut, and inputs that are hard to cut."""

import zlib
from collections.abc import Callable, Sequence
from itertools import groupby

from attrs import frozen

from hagoop.jobs import Program
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


MAPPERS: dict[str | None, Callable[[bytes], Lines]] = {
    None: cat, "words": words, "thin": thin, "swap": swap, "flat": flat,
}  # fmt: skip


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


def run_mapper(name: str | None, lines: Sequence[bytes]) -> Lines:
    """What a mapper prints for some lines."""
    return [made for line in lines for made in MAPPERS[name](line)]


def sort_key(order: Order) -> Callable[[bytes], tuple[bytes, bytes]]:
    """What lines are compared by, where the sort is stable."""
    return lambda line: (order.key_of(line), line[:-1] if order.by_value else b"")


def run_reducer(name: str, lines: Sequence[bytes], order: Order) -> Lines:
    """What a reducer prints for the lines of some keys."""
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


@frozen
class Step:
    """The programs of one step."""

    mapper: str | None = None
    reducer: str | None = None
    combiner: str | None = None
    order: Order = BY_KEY

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
        )

    def run(self, lines: Lines) -> tuple[Lines, int]:
        """What it prints for all lines, and how many keys there were."""
        printed = run_mapper(self.mapper, lines)
        if self.reducer is None:
            return printed, 0
        printed.sort(key=sort_key(self.order))
        return run_reducer(self.reducer, printed, self.order), count_keys(printed, self.order)


@frozen
class Task:
    """One request: its input and programs.

    :param cancelled: whether its client gives up while it runs.
    """

    files: tuple[tuple[str, bytes], ...]
    steps: tuple[Step, ...] = (Step(),)
    cancelled: bool = False

    @property
    def lines(self) -> Lines:
        """``lines(I)``."""
        return [line for _, data in self.files for line in lines_of(data)]

    @property
    def answer(self) -> bytes:
        """What the promise says."""
        lines = self.lines
        for step in self.steps:
            lines, _ = step.run(lines)
        return b"".join(lines)

    @property
    def counters(self) -> dict[tuple[str, str], int]:
        """What the programs count: lines mapped, keys reduced."""
        lines, mapped, reduced = self.lines, 0, 0
        for step in self.steps:
            mapped += len(lines)
            lines, keys = step.run(lines)
            reduced += keys
        counts = {("world", "lines"): mapped, ("world", "keys"): reduced}
        return {name: amount for name, amount in counts.items() if amount}
