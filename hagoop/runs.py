"""The format of a sorted run and its index.

A sorted run holds lines in the order of their keys (``keys.py``).  It is written
once, in one pass, and read in parts::

    frame frame ... frame  footer  trailer

The *footer* is a sparse index: an entry names the place of a frame that begins with a
line, and a *bound* such that every key before the place is at most the bound, and every
key from it on at least the bound.  The *trailer* has a fixed size and says where the
footer is.

Runs come from strangers: whatever does not check raises ``BadMessage``.
"""

import zlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import attrgetter
from struct import Struct

from attrs import define, field, frozen

from hagoop.errors import BadMessage
from hagoop.frames import BLOCK_BYTES, inflate, pack_frame
from hagoop.keys import Order

BOUND_BYTES = 1024
"""The longest bound; keys may be longer."""
INDEX_ENTRIES = 60_000
"""The most entries of an index.  With the longest bounds they fit in ``FOOTER_BYTES``."""
FOOTER_BYTES = 64 * 1024 * 1024
"""The most bytes of a footer, packed and unpacked."""

ENTRY_MEMORY_BYTES = 200
"""What an entry takes in memory, without its bound."""

_ENTRY = Struct("<QQHB")
_TRAILER = Struct("<QII8s")
_MAGIC = b"HAGOOP2\n"
_STRICT = 1
# Deflate cannot do better, so an entry that claims more is a lie.
_MOST_RATIO = 1032
# Farther than any file system reaches, and still a number that seek() takes.
_FARTHEST = 2**62

TRAILER_BYTES = _TRAILER.size


@frozen
class Entry:
    """One entry of a run's index; what it covers goes on to the next entry's offset.

    :param bound: no key before ``offset`` is greater, no key from it on is less.
    :param offset: where its first frame begins in the file.
    :param raw_bytes: the unpacked bytes that it covers.
    :param strict: whether every key before ``offset`` is less than the bound, not equal.
    """

    bound: bytes
    offset: int
    raw_bytes: int
    strict: bool


@frozen
class Span:
    """The bytes ``start`` to ``end - 1`` of a run's file."""

    start: int
    end: int


@frozen
class Part:
    """A span whose lines are wanted: all of them, or after a ``trim``."""

    start: int
    end: int
    trim: bool


@frozen
class RunIndex:
    """Where the keys of a run are.

    :param data_end: where its last frame ends.
    """

    entries: tuple[Entry, ...]
    data_end: int

    @property
    def raw_bytes(self) -> int:
        """The bytes of all its lines."""
        return sum(each.raw_bytes for each in self.entries)

    @property
    def memory_bytes(self) -> int:
        """How much memory it takes, roughly."""
        return sum(ENTRY_MEMORY_BYTES + len(each.bound) for each in self.entries)

    def thinned(self, step: int) -> "RunIndex":
        """The same with so many entries as one: it takes less memory, and what it cuts is coarser."""
        if step == 1 or len(self.entries) < 2:
            return self
        groups = [self.entries[at : at + step] for at in range(0, len(self.entries), step)]
        merged = [
            Entry(first.bound, first.offset, sum(each.raw_bytes for each in group), first.strict)
            for group in groups
            for first in group[:1]
        ]
        return RunIndex(tuple(merged), self.data_end)

    def span(self, low: bytes, high: bytes | None) -> Span:
        """The smallest known part of the file with every key from ``low`` to before ``high``."""
        parts = self.parts(low, high)
        return Span(parts[0].start, parts[-1].end) if parts else Span(0, 0)

    def parts(self, low: bytes, high: bytes | None) -> list[Part]:
        """The same as at most three adjacent parts: only the first and the last may hold
        other keys too.

        :param high: the first key after the range; ``None``: there is no end.
        """
        first, stop = self._first(low), self._find(high)
        if not self.entries or (high is not None and low >= high):
            return []
        # Entries first to inner are cut by low, inner to outer are certainly inside.
        inner = first if self.entries[first].bound >= low else first + 1
        outer = stop if high is None or self._cuts(stop, high) else stop - 1
        if inner > outer:
            inner = outer = stop
        places = [self._offset(each) for each in (first, inner, outer, stop)]
        trims = (True, False, True)
        made = [Part(*ends, trim) for ends, trim in zip(pairwise(places), trims, strict=True)]
        return [each for each in made if each.start < each.end]

    def _first(self, low: bytes) -> int:
        """The first entry that can hold ``low``: a hot key also ends the entry before its bound."""
        found = self._find(low)
        return found if self._cuts(found, low) else max(0, found - 1)

    def _find(self, bound: bytes | None) -> int:
        """The first entry whose bound is at least ``bound``."""
        if bound is None:
            return len(self.entries)
        return bisect_left(self.entries, bound, key=attrgetter("bound"))

    def _cuts(self, number: int, bound: bytes) -> bool:
        """Whether the keys before entry ``number`` are just those less than ``bound``."""
        if number == len(self.entries):
            return False
        return self.entries[number].bound == bound and self.entries[number].strict

    def _offset(self, number: int) -> int:
        return self.entries[number].offset if number < len(self.entries) else self.data_end


def footer_place(trailer: bytes) -> tuple[int, int]:
    """Offset and length of the footer, from the last ``TRAILER_BYTES`` of a run."""
    offset, length, _ = _read_trailer(trailer)
    return offset, length


def read_index(footer: bytes, trailer: bytes) -> RunIndex:
    """The index of a run, checked as far as it can be without the frames."""
    data_end, length, checksum = _read_trailer(trailer)
    if len(footer) != length or zlib.crc32(footer) != checksum:
        raise BadMessage("The footer of a run is damaged.")
    entries = tuple(_read_entries(inflate(footer, FOOTER_BYTES)))
    _check_entries(entries, data_end)
    return RunIndex(entries, data_end)


def _read_trailer(trailer: bytes) -> tuple[int, int, int]:
    """Offset, length and checksum of the footer."""
    if len(trailer) != TRAILER_BYTES or not trailer.endswith(_MAGIC):
        raise BadMessage("This is not a sorted run.")
    offset, length, checksum, _ = _TRAILER.unpack(trailer)
    if length > FOOTER_BYTES or offset > _FARTHEST:
        raise BadMessage("The trailer of a run makes no sense.")
    return offset, length, checksum


def _read_entries(raw: bytes) -> Iterator[Entry]:
    at = 0
    while at < len(raw):
        bound_at = at + _ENTRY.size
        if bound_at > len(raw):
            raise BadMessage("The index of a run ends within an entry.")
        offset, raw_bytes, length, flags = _ENTRY.unpack_from(raw, at)
        at = bound_at + length
        if length > BOUND_BYTES or flags > _STRICT or at > len(raw):
            raise BadMessage("An entry in the index of a run makes no sense.")
        yield Entry(raw[bound_at:at], offset, raw_bytes, bool(flags))


def _check_entries(entries: Sequence[Entry], data_end: int) -> None:
    if len(entries) > INDEX_ENTRIES:
        raise BadMessage("The index of a run has too many entries.")
    begin = [(each.bound, each.offset, each.strict) for each in entries[:1]]
    if begin != ([(b"", 0, True)] if data_end else []):
        raise BadMessage("The index of a run does not begin where the run begins.")
    for one, two in pairwise(entries):
        # Equal bounds mean that the key fills all between them, the end of it included.
        if two.bound < one.bound or (two.strict and two.bound == one.bound):
            raise BadMessage("The index of a run is not in order.")
    places = [each.offset for each in entries] + [data_end]
    for entry, (start, end) in zip(entries, pairwise(places), strict=True):
        if not (start < end and 0 < entry.raw_bytes <= _MOST_RATIO * (end - start)):
            raise BadMessage("The index of a run names places that cannot be.")


@frozen
class _Mark:
    """An entry in the making.

    :param raw_place: how many unpacked bytes come before it.
    """

    bound: bytes
    offset: int
    raw_place: int
    strict: bool


@define(kw_only=True)
class RunWriter:
    """Turns sorted lines, in chunks of any size, into the bytes of a run.

    Only keys next to the edge of a block are looked at; of these only so much is kept as a
    bound can be long.

    :param order: how the lines are sorted.
    :param block_bytes: the most that a frame unpacks to; small runs are cut finer with less.
    :param bound_bytes: the longest bound; less than a block.
    :param index_entries: the most entries; when there are more, every second is dropped.
    """

    order: Order = field(default=Order.BY_KEY)
    block_bytes: int = field(default=BLOCK_BYTES)
    bound_bytes: int = field(default=BOUND_BYTES)
    index_entries: int = field(default=INDEX_ENTRIES)
    _pending: bytearray = field(factory=bytearray, init=False)
    _within: bool = field(default=False, init=False)
    _last: bytes = field(default=b"", init=False)
    _place: int = field(default=0, init=False)
    _raw_place: int = field(default=0, init=False)
    _marks: list[_Mark] = field(factory=list, init=False)
    _least: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        # Otherwise the first frame of a long line would not hold enough of its key.
        if not self.bound_bytes < self.block_bytes <= BLOCK_BYTES:
            raise ValueError(f"not a size for blocks: {self.block_bytes}")

    def write(self, data: bytes) -> bytes:
        """Take the next lines, or parts of lines; give the bytes of the run that are ready."""
        self._pending += data
        return self._drain(self.block_bytes)

    def finish(self) -> bytes:
        """Give the last bytes of the run.

        :raises ValueError: the last line does not end in a newline.
        """
        rest = self._drain(1)
        if self._within:
            raise ValueError("the last line does not end in a newline")
        footer = zlib.compress(b"".join(self._entries()), 1)
        trailer = _TRAILER.pack(self._place, len(footer), zlib.crc32(footer), _MAGIC)
        return rest + footer + trailer

    def _drain(self, least: int) -> bytes:
        """Make frames as long as ``least`` bytes are pending."""
        made = []
        done = 0
        while len(self._pending) - done >= least:
            end = self._block_end(done)
            made.append(self._make_frame(bytes(self._pending[done:end])))
            done = end
        del self._pending[:done]
        return b"".join(made)

    def _block_end(self, start: int) -> int:
        """Where the frame ends that begins at ``start``: after the last line that fits, or
        after the line that it continues, or within a line that is longer."""
        end = min(start + self.block_bytes, len(self._pending))
        find = self._pending.find if self._within else self._pending.rfind
        return find(b"\n", start, end) + 1 or end

    def _make_frame(self, raw: bytes) -> bytes:
        begins = not self._within
        if begins:
            self._mark(self._key_head(raw, 0))
            self._last = self._key_head(raw, raw.rfind(b"\n", 0, -1) + 1)
        self._within = not raw.endswith(b"\n")
        encoded = pack_frame(raw, begins).encoded
        self._place += len(encoded)
        self._raw_place += len(raw)
        return encoded

    def _key_head(self, raw: bytes, at: int) -> bytes:
        """The key of the line at ``at``; of a key longer than a bound, one byte more than a
        bound, which is what comparing it with its neighbour takes."""
        return self.order.key_of(raw[at : at + self.bound_bytes + 1])

    def _mark(self, first: bytes) -> None:
        """Note the place between the last line and one with the key ``first``, if it has a bound."""
        if not self._marks:
            self._marks.append(_Mark(b"", 0, 0, strict=True))
            return
        bound = _separate(self._last, first)
        if len(bound) > self.bound_bytes or self._raw_place - self._marks[-1].raw_place < self._least:
            return
        self._marks.append(_Mark(bound, self._place, self._raw_place, strict=self._last < first))
        if len(self._marks) > self.index_entries:
            del self._marks[1::2]
            # Blocks are rarely quite full: three quarters let every second one through.
            self._least = 2 * (self._least or self.block_bytes * 3 // 4)

    def _entries(self) -> Iterator[bytes]:
        """The footer's entries.  Each follows from its mark and the next one's place, so
        dropping a mark leaves the others true."""
        ends = [each.raw_place for each in self._marks[1:]] + [self._raw_place]
        for mark, end in zip(self._marks, ends, strict=False):
            size = end - mark.raw_place
            yield _ENTRY.pack(mark.offset, size, len(mark.bound), _STRICT * mark.strict) + mark.bound


def _separate(last: bytes, first: bytes) -> bytes:
    """The shortest bound above ``last`` and not above ``first``; ``first`` if they are equal."""
    if last > first:
        raise ValueError("the lines are not sorted by key")
    pairs = enumerate(zip(last, first, strict=False))
    same = next((at for at, (one, two) in pairs if one != two), len(last))
    return first[: same + 1]
