"""Whether a program is pure: how its input is cut into pieces, and what a difference tells of it."""

from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum, auto
from itertools import chain, pairwise

from attrs import evolve, frozen

from hagoop.jobs import Program
from hagoop.keys import Order, original_key

Below = Callable[[int], int]
"""Chance: a number from 0 on, below the one given."""
Lines = Sequence[bytes]
_LEASES = 3


@frozen
class Part:
    """Lines that one run may see together, each with its newline.

    :param name: the file that they are of; empty behind the sort.
    :param start: number of the first of them in that file, from 0.
    :param lease_start: number of the first line of what was leased together with them.
    :param lease_lines: how many were.
    :param cuts: how many lines may go before a cut.
    :param before: what lies in a file before them, and ``behind`` them, where it holds more.
    """

    name: str
    lines: Lines
    start: int = 0
    lease_start: int = 0
    lease_lines: int = 0
    cuts: Sequence[int] = ()
    before: bytes = b""
    behind: bytes = b""

    @classmethod
    def of_file(cls, name: str, lines: Lines) -> "Part":
        """The first lines of a file, which may be cut before each line."""
        return cls(name, lines, 0, 0, len(lines), range(1, len(lines)))

    @classmethod
    def of_keys(cls, lines: Lines, group: Callable[[bytes], bytes]) -> "Part":
        """Sorted lines, which may be cut where one key, told by ``group``, ends and another begins."""
        keys = list(map(group, lines))
        cuts = [at for at in range(1, len(lines)) if keys[at] != keys[at - 1]]
        return cls("", lines, 0, 0, len(lines), cuts)

    @property
    def data(self) -> bytes:
        """The lines as one run reads them."""
        return b"".join(self.lines)

    def within(self, whole: "Part") -> "Part":
        """These lines in a file that holds the whole."""
        start, end = self.start - whole.start, self.start - whole.start + len(self.lines)
        before, behind = b"".join(whole.lines[:start]), b"".join(whole.lines[end:])
        return evolve(self, before=before, behind=behind)

    def first(self, count: int) -> "Part":
        """Its first lines."""
        return Part.of_file(self.name, self.lines[:count])

    def _between(self, start: int, end: int, lease: tuple[int, int]) -> "Part":
        first, last = lease
        return Part(self.name, self.lines[start:end], self.start + start, first, last - first)


def group_of(program: Program) -> Callable[[bytes], bytes]:
    """What tells of a sorted line to which key it belongs: the lines of one key are never parted."""
    return program.order.key_of if program.binary is None else original_key


def sort_lines(lines: Lines, order: Order) -> list[bytes]:
    """What the sort between map and reduce makes of lines."""
    whole = order.by_value or not order.fields
    given = sorted(lines, key=lambda each: each.removesuffix(b"\n")) if whole else lines
    return sorted(given, key=order.key_of)


def split_lines(data: bytes) -> list[bytes]:
    """What a program printed as lines with their newlines."""
    return data.splitlines(keepends=True) if b"\r" not in data else _split_at_newlines(data)


def _split_at_newlines(data: bytes) -> list[bytes]:
    # splitlines() takes CR for the end of a line too.
    lines = [each + b"\n" for each in data.split(b"\n")]
    return lines[:-1]


def cut(parts: Sequence[Part], pieces: int, below: Below) -> list[list[Part]]:
    """The pieces of each part, where ``pieces - 1`` cuts are made by chance, if there are so many.

    The first line, or key, is always alone, for a worker's first job is so small; and so is another,
    for what depends on its neighbours shows there.
    """
    places = [(number, at) for number, part in enumerate(parts) for at in part.cuts]
    chosen = set(places[:1])
    if len(places) > 2:
        alone = below(len(places) - 1)
        chosen.update(places[alone : alone + 2])
    left = [each for each in places if each not in chosen]
    while left and len(chosen) < pieces - 1:
        chosen.add(left.pop(below(len(left))))
    return [
        _pieces(part, sorted(at for each, at in chosen if each == number))
        for number, part in enumerate(parts)
    ]


def _pieces(part: Part, cuts: Sequence[int]) -> list[Part]:
    bounds = [0, *cuts, len(part.lines)]
    # What tells a program where its input begins is of the lease, which holds several jobs.
    leases = [*bounds[:-1:_LEASES], len(part.lines)]
    made = []
    for start, end in pairwise(bounds):
        index = sum(each <= start for each in leases) - 1
        made.append(part._between(start, end, (leases[index], leases[index + 1])))
    return made


class Cause(Enum):
    """Why a program prints something else for pieces than for the whole."""

    IGNORES = auto()
    SORTS = auto()
    REPEATS = auto()
    FIRST = auto()
    LAST = auto()
    HEADING = auto()
    ENDING = auto()
    LOSES_FIRST = auto()
    LOSES_LAST = auto()
    LOSES = auto()
    NEIGHBOURS = auto()
    TOTALS = auto()
    OTHER = auto()


@frozen
class Printed:
    """What was printed for the whole and for each piece of it, as lines.

    :param firsts: the key of each piece's first line, or the line itself; ``lasts``: of its last.
    """

    whole: Lines
    pieces: Sequence[Lines]
    firsts: frozenset[bytes] = frozenset()
    lasts: frozenset[bytes] = frozenset()

    @property
    def joined(self) -> list[bytes]:
        """What the pieces gave together."""
        return list(chain.from_iterable(self.pieces))

    @property
    def cause(self) -> Cause:
        """Why the two differ, as far as one can see."""
        return next(cause for cause, is_it in _SIGNS if is_it(self))


def first_difference(one: Lines, other: Lines) -> tuple[int, bytes, bytes]:
    """Number, from 1, and the two lines in which they differ first; empty where there is none."""
    at = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    if at is None:
        at = min(len(one), len(other))
    return at + 1, b"".join(one[at : at + 1]), b"".join(other[at : at + 1])


def _ignores(it: Printed) -> bool:
    return bool(it.whole) and all(list(each) == list(it.whole) for each in it.pieces)


def _sorts(it: Printed) -> bool:
    return sorted(it.joined) == sorted(it.whole)


def _repeats(it: Printed) -> bool:
    return len(it.joined) > len(it.whole) and set(it.joined) == set(it.whole)


def _takes_first(it: Printed) -> bool:
    size = len(it.whole)
    return 0 < size < len(it.joined) and it.joined[:size] == list(it.whole)


def _takes_last(it: Printed) -> bool:
    size = len(it.whole)
    return 0 < size < len(it.joined) and it.joined[-size:] == list(it.whole)


def _has_heading(it: Printed) -> bool:
    rest = [line for each in it.pieces for line in each[1:]]
    return bool(rest) and rest == list(it.whole[1:])


def _has_ending(it: Printed) -> bool:
    rest = [line for each in it.pieces for line in each[:-1]]
    return bool(rest) and rest == list(it.whole[:-1])


def _loses(it: Printed) -> bool:
    return len(it.joined) < len(it.whole) and not Counter(it.joined) - Counter(it.whole)


def _lost(it: Printed, edges: frozenset[bytes]) -> bool:
    missing = Counter(it.whole) - Counter(it.joined)
    keys = {Order.BY_KEY.key_of(each) for each in missing}
    # Where every piece is a single key, nobody can tell its first from its last.
    return _loses(it) and keys <= edges and not keys <= it.firsts & it.lasts


_SIGNS: tuple[tuple[Cause, Callable[[Printed], bool]], ...] = (
    (Cause.IGNORES, _ignores),
    (Cause.SORTS, _sorts),
    (Cause.HEADING, _has_heading),
    (Cause.ENDING, _has_ending),
    (Cause.REPEATS, _repeats),
    (Cause.FIRST, _takes_first),
    (Cause.LAST, _takes_last),
    (Cause.LOSES_FIRST, lambda it: _lost(it, it.firsts)),
    (Cause.LOSES_LAST, lambda it: _lost(it, it.lasts)),
    (Cause.LOSES, _loses),
    (Cause.NEIGHBOURS, lambda it: len(it.joined) == len(it.whole)),
    (Cause.TOTALS, lambda it: len(it.joined) >= len(it.whole)),
    (Cause.OTHER, lambda it: True),
)
"""What each cause is known by, the surest first."""
