"""Ranges of positions, and sets of them.

A position is a line's number in the ordered inputs (map), a group of runs (merge)
or a cell of the key space (reduce).  Ranges are half open.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from operator import attrgetter

from attrs import define, field, frozen


@frozen(order=True)
class Range:
    """The positions ``start`` to ``end - 1``; empty when both are equal."""

    start: int
    end: int

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"not a range: {self.start} to {self.end}")

    def __len__(self) -> int:
        return self.end - self.start

    def __contains__(self, other: "Range") -> bool:
        return self.start <= other.start and other.end <= self.end

    def meets(self, other: "Range") -> bool:
        """Whether the two share a position."""
        return max(self.start, other.start) < min(self.end, other.end)


@define
class RangeSet:
    """A set of positions, kept as sorted ranges that neither overlap nor touch.

    Adding what is there, or taking what is not, is an error of the caller and raises
    ``ValueError``: a position has exactly one owner.

    :ivar size: how many positions it holds.
    """

    _ranges: list[Range] = field(factory=list)
    size: int = field(default=0, init=False)

    @classmethod
    def of(cls, ranges: Iterable[Range]) -> "RangeSet":
        made = cls()
        for each in ranges:
            made.add(each)
        return made

    def __iter__(self) -> Iterator[Range]:
        return iter(self._ranges)

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __contains__(self, wanted: Range) -> bool:
        found = self._find(wanted.start)
        return not len(wanted) or (found < len(self._ranges) and wanted in self._ranges[found])

    @property
    def first(self) -> Range:
        """The lowest range; ``IndexError`` when the set is empty."""
        return self._ranges[0]

    def meets(self, other: Range) -> bool:
        """Whether any position of ``other`` is in the set."""
        found = self._find(other.start)
        return found < len(self._ranges) and self._ranges[found].meets(other)

    def past(self, position: int) -> int:
        """The first position from this one on that is not in the set."""
        found = self._find(position)
        inside = found < len(self._ranges) and self._ranges[found].start <= position
        return self._ranges[found].end if inside else position

    def add(self, new: Range) -> None:
        """Put ``new`` in, joined with the neighbours that it touches."""
        if not len(new):
            return
        if self.meets(new):
            raise ValueError(f"{new} is in the set already")
        self.size += len(new)
        at = self._find(new.start)
        if at < len(self._ranges) and self._ranges[at].start == new.end:
            new = Range(new.start, self._ranges.pop(at).end)
        if at and self._ranges[at - 1].end == new.start:
            new = Range(self._ranges.pop(at - 1).start, new.end)
            at -= 1
        self._ranges.insert(at, new)

    def take(self, gone: Range) -> None:
        """Take ``gone`` out; all of it must be in one range of the set."""
        if not len(gone):
            return
        if gone not in self:
            raise ValueError(f"{gone} is not in the set")
        self.size -= len(gone)
        at = self._find(gone.start)
        held = self._ranges.pop(at)
        rest = [Range(held.start, gone.start), Range(gone.end, held.end)]
        self._ranges[at:at] = [each for each in rest if len(each)]

    def _find(self, position: int) -> int:
        """The index of the first range that ends after ``position``."""
        return bisect_right(self._ranges, position, key=attrgetter("end"))
