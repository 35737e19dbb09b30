"""The format of a sorted run, its index, and how the key space is cut by the indexes.

A sorted run holds lines in the order of their keys: the bytes before the first TAB, or
the whole line without its newline.  It is written once, in one pass, and read in parts::

    frame frame ... frame  footer  trailer

A *frame* is a header and the bytes of whole lines, compressed when that is shorter.  A
line longer than a block is a sequence of frames of its own, so memory stays bounded
whatever the lines are.  The *footer* is a sparse index: an entry names the place of a
frame that begins with a line, and a *bound* such that every key before the place is at
most the bound, and every key from it on at least the bound.  The *trailer* has a fixed
size and says where the footer is.

A *slice* is the part of a run with the keys of one range.  Slices travel as frames, each
slice ended by ``END_FRAME``.

Runs come from strangers: whatever does not check raises ``BadMessage``.
"""

import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import accumulate, chain, pairwise
from operator import attrgetter
from struct import Struct
from typing import BinaryIO

from attrs import define, field, frozen

from hagoop.errors import BadMessage
from hagoop.ranges import Range

BLOCK_BYTES = 64 * 1024
"""The most bytes that a frame unpacks to."""
BOUND_BYTES = 1024
"""The longest bound; keys may be longer."""
INDEX_ENTRIES = 60_000
"""The most entries of an index.  With the longest bounds they fit in ``FOOTER_BYTES``."""
FOOTER_BYTES = 64 * 1024 * 1024
"""The most bytes of a footer, packed and unpacked."""
CELL_BYTES = BLOCK_BYTES * 3 // 4
"""What a cell of the key space holds at least: one block, which is rarely quite full."""
MERGE_RUNS = 128
"""How many runs one merge or one reduce reads at once."""

_HEADER = Struct("<IIB")
_ENTRY = Struct("<QQHB")
_TRAILER = Struct("<QII8s")
_MAGIC = b"HAGOOP1\n"
_LINE_START = 1
_STORED = 2
_STRICT = 1
# Deflate cannot do better, so an entry that claims more is a lie.
_MOST_RATIO = 1032
# Farther than any file system reaches, and still a number that seek() takes.
_FARTHEST = 2**62

HEADER_BYTES = _HEADER.size
TRAILER_BYTES = _TRAILER.size
END_FRAME = bytes(HEADER_BYTES)
"""Ends one slice in a stream of slices."""


def key_of(line: bytes) -> bytes:
    """What a line is sorted by."""
    return line.split(b"\n", 1)[0].split(b"\t", 1)[0]


# Frames


@frozen
class Frame:
    """A frame as it is stored.

    :param line_start: whether it begins a line; otherwise it continues one.
    :param stored: whether the payload is the bytes themselves, not compressed.
    :param size: the bytes it unpacks to.
    """

    line_start: bool
    stored: bool
    size: int
    payload: bytes

    @property
    def encoded(self) -> bytes:
        """Header and payload."""
        flags = _LINE_START * self.line_start | _STORED * self.stored
        return _HEADER.pack(len(self.payload), self.size, flags) + self.payload

    def unpack(self) -> bytes:
        """The bytes of its lines."""
        raw = self.payload if self.stored else _inflate(self.payload, self.size)
        if len(raw) != self.size:
            raise BadMessage("A frame has another length than its header says.")
        return raw


def pack_frame(raw: bytes, line_start: bool) -> Frame:
    """Make the frame of ``raw``: at least one byte, at most ``BLOCK_BYTES``."""
    packed = zlib.compress(raw, 1)
    stored = len(packed) >= len(raw)
    return Frame(line_start, stored, len(raw), raw if stored else packed)


def read_frames(read: Callable[[int], bytes], size: int) -> Iterator[Frame]:
    """The frames of the next ``size`` bytes that ``read`` gives; headers are checked,
    payloads not yet unpacked.

    :param read: as of a file at the start of a span: the bytes asked for, fewer only at the end.
    """
    left = size
    while left:
        packed, raw, flags = _read_header(_read_exactly(read, HEADER_BYTES))
        if left == size and not flags & _LINE_START:
            raise BadMessage("A part of a run does not begin with a line.")
        left -= HEADER_BYTES + packed
        if left < 0:
            raise BadMessage("A frame goes on past the end of its part of the run.")
        yield Frame(bool(flags & _LINE_START), bool(flags & _STORED), raw, _read_exactly(read, packed))


def _read_exactly(read: Callable[[int], bytes], size: int) -> bytes:
    data = read(size)
    if len(data) != size:
        raise BadMessage("The run ends within a frame.")
    return data


def _read_header(header: bytes) -> tuple[int, int, int]:
    """Packed size, unpacked size and flags."""
    packed, raw, flags = _HEADER.unpack(header)
    fits = packed == raw if flags & _STORED else 0 < packed < raw
    if not (fits and 0 < raw <= BLOCK_BYTES and flags <= _LINE_START | _STORED):
        raise BadMessage("A frame's header makes no sense.")
    return packed, raw, flags


def _inflate(packed: bytes, most: int) -> bytes:
    """Unpack one whole zlib stream of at most ``most`` bytes."""
    stream = zlib.decompressobj()
    try:
        # One byte more, or the stream's own end and checksum would stay unread.
        raw = stream.decompress(packed, most + 1)
    except zlib.error as error:
        raise BadMessage("Compressed bytes of a run are damaged.") from error
    if len(raw) > most or not stream.eof or stream.unused_data:
        raise BadMessage("Compressed bytes of a run unpack to another length than announced.")
    return raw


# The index


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
    entries = tuple(_read_entries(_inflate(footer, FOOTER_BYTES)))
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


# Writing


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

    :param block_bytes: the most that a frame unpacks to; small runs are cut finer with less.
    :param bound_bytes: the longest bound; less than a block.
    :param index_entries: the most entries; when there are more, every second is dropped.
    """

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
        return key_of(raw[at : at + self.bound_bytes + 1])

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


# Slices


def cut_slice(file: BinaryIO, index: RunIndex, low: bytes, high: bytes | None) -> Iterator[bytes]:
    """The frames of one slice of the run in ``file``, without ``END_FRAME``.  Blocks."""
    for part in index.parts(low, high):
        file.seek(part.start)
        frames = read_frames(file.read, part.end - part.start)
        yield from trim(frames, low, high) if part.trim else (each.encoded for each in frames)


def trim(frames: Iterable[Frame], low: bytes, high: bytes | None) -> Iterator[bytes]:
    """Frames again, with only the lines whose keys are from ``low`` to before ``high``.

    :param frames: in order, beginning with a line; frames that stay whole are not packed anew.
    """
    # Whether the long line at hand is wanted; None: no long line is at hand.
    wanted: bool | None = None
    for frame in frames:
        if frame.line_start:
            lines = frame.unpack()
            kept = _restrict(lines, low, high)
            wanted = None if lines.endswith(b"\n") else bool(kept)
            if kept:
                yield frame.encoded if len(kept) == len(lines) else pack_frame(kept, True).encoded
        elif wanted is None:
            raise BadMessage("A frame continues a line that has ended.")
        elif wanted:
            yield frame.encoded


def _restrict(lines: bytes, low: bytes, high: bytes | None) -> bytes:
    """The lines of one frame with a key in the range; the start of a long line counts as one."""
    if not lines.endswith(b"\n"):
        if b"\n" in lines:
            raise BadMessage("A frame ends within a line.")
        key = key_of(lines)
        return lines if low <= key and (high is None or key < high) else b""
    end = len(lines) if high is None else _find_line(lines, high)
    return lines[_find_line(lines, low) : end]


def _find_line(lines: bytes, bound: bytes) -> int:
    """Where the first line begins whose key is at least ``bound``.

    On lines out of order the result still never decreases as the bound grows, so slices
    of neighbouring ranges neither share a line nor leave one out.
    """
    low, high = 0, len(lines)
    while low < high:
        middle = lines.rfind(b"\n", low, (low + high) // 2) + 1 or low
        end = lines.index(b"\n", middle)
        if key_of(lines[middle:end]) < bound:
            low = end + 1
        else:
            high = middle
    return low


@define
class SliceDecoder:
    """Unpacks a stream of slices as it comes from the network.

    :ivar ended: how many slices have ended.
    """

    ended: int = field(default=0, init=False)
    _pending: bytearray = field(factory=bytearray, init=False)
    _begun: bool = field(default=False, init=False)
    _within: bool = field(default=False, init=False)

    @property
    def clean(self) -> bool:
        """Whether the stream may end here."""
        return not self._pending and not self._begun

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take bytes of the stream; give the lines that they complete, as pairs of the
        slice's number, from 0, and bytes to append to it."""
        self._pending += data
        events: list[tuple[int, bytes]] = []
        done = 0
        while frame := self._next(done):
            done += len(frame)
            if frame == END_FRAME:
                self._end()
            else:
                events.append((self.ended, self._unpack(frame)))
        del self._pending[:done]
        return events

    def _next(self, at: int) -> bytes:
        """The encoded frame at ``at``; empty until all of it has come."""
        header = bytes(self._pending[at : at + HEADER_BYTES])
        if len(header) < HEADER_BYTES:
            return b""
        size = HEADER_BYTES + (_read_header(header)[0] if header != END_FRAME else 0)
        return bytes(self._pending[at : at + size]) if len(self._pending) - at >= size else b""

    def _unpack(self, encoded: bytes) -> bytes:
        _, size, flags = _read_header(encoded[:HEADER_BYTES])
        if bool(flags & _LINE_START) == self._within:
            raise BadMessage("A frame begins a line where none can begin, or continues none.")
        payload = encoded[HEADER_BYTES:]
        raw = Frame(not self._within, bool(flags & _STORED), size, payload).unpack()
        self._begun = True
        self._within = not raw.endswith(b"\n")
        return raw

    def _end(self) -> None:
        if self._within:
            raise BadMessage("A slice ends within a line.")
        self._begun = False
        self.ended += 1


# Cells


@frozen
class Cells:
    """The key space, cut as finely as the indexes of all runs allow.

    Cell i is the keys from ``bounds[i]`` to before ``bounds[i + 1]``; the last has no end.

    :param weights: estimated bytes before each cell, and at last before the end.
    """

    bounds: tuple[bytes, ...]
    weights: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.bounds)

    def keys(self, cells: Range) -> tuple[bytes, bytes | None]:
        """The first key of a range of cells, not empty, and the first key after it."""
        end = self.bounds[cells.end] if cells.end < len(self.bounds) else None
        return self.bounds[cells.start], end


@define
class _Cell:
    bound: bytes
    weight: int
    hot: bool


def cut_cells(indexes: Sequence[RunIndex], cell_bytes: int = CELL_BYTES) -> Cells:
    """Cut the key space into cells of about ``cell_bytes`` or more, by the bounds of all runs.

    A hot key, one that fills much of the runs, gets a cell of its own.  Same runs, same cells.
    """
    hot = _hot_keys(indexes, cell_bytes)
    sampled = {entry.bound for index in indexes for entry in index.entries}
    bounds = sorted(sampled.union(key + b"\0" for key in hot))
    shares = _share_out(indexes, {bound: at for at, bound in enumerate(bounds)}, hot)
    cells = _join_cells(zip(bounds, shares, strict=True), hot, cell_bytes)
    weights = accumulate((max(1, each.weight) for each in cells), initial=0)
    return Cells(tuple(each.bound for each in cells), tuple(weights))


def _pairs(indexes: Iterable[RunIndex]) -> Iterator[tuple[Entry, Entry | None]]:
    """Every entry with the one after it."""
    for index in indexes:
        yield from zip(index.entries, chain(index.entries[1:], [None]), strict=False)


def _claims(entry: Entry, after: Entry | None) -> Sequence[tuple[bytes, int, int]]:
    """Keys that are known to touch an entry's edges, how many halves of it they get, and
    the bytes of these.

    The edges sample the run's bytes evenly, so a key with n edges inside has about n
    entries' worth of bytes: half an entry on either side of each edge.
    """
    ends_hot = after is not None and not after.strict
    if entry.strict and not ends_hot:
        return ()
    if after and after.bound == entry.bound:
        return ((entry.bound, 2, entry.raw_bytes),)
    touching = (entry if not entry.strict else None, after if ends_hot else None)
    return [(each.bound, 1, entry.raw_bytes // 2) for each in touching if each]


def _hot_keys(indexes: Sequence[RunIndex], cell_bytes: int) -> set[bytes]:
    """The keys worth a cell of their own.

    One edge is two halves, and chance: where keys have a few lines each, most edges fall
    between equal keys.  More than that is a key that is everywhere, or fills an entry.
    """
    halves: dict[bytes, int] = {}
    sizes: dict[bytes, int] = {}
    for entry, after in _pairs(indexes):
        for key, count, size in _claims(entry, after):
            halves[key] = halves.get(key, 0) + count
            sizes[key] = sizes.get(key, 0) + size
    heavy = {key for key, size in sizes.items() if size >= cell_bytes and halves[key] > 2}
    # The cell ends at the key and a NUL, which must be a bound too.
    return {key for key in heavy if len(key) < BOUND_BYTES}


def _share_out(
    indexes: Sequence[RunIndex], places: Mapping[bytes, int], hot: set[bytes]
) -> Iterable[int]:
    """Bytes between each bound and the next: hot keys get what they claim, the rest of an
    entry is spread evenly over the bounds that other runs have inside it."""
    shares = [0] * len(places)
    steps = [0] * (len(places) + 1)
    for entry, after in _pairs(indexes):
        left = entry.raw_bytes
        for key, _, size in _claims(entry, after):
            if key in hot:
                shares[places[key]] += size
                left -= size
        start = places[entry.bound]
        end = max(start + 1, places[after.bound] if after else len(places))
        if not entry.strict and entry.bound in hot:
            start = min(start + 1, end - 1)
        each, odd = divmod(left, end - start)
        shares[start] += odd
        steps[start] += each
        steps[end] -= each
    return map(sum, zip(shares, accumulate(steps), strict=False))


def _join_cells(shares: Iterable[tuple[bytes, int]], hot: set[bytes], cell_bytes: int) -> list[_Cell]:
    """Join neighbours until each has ``cell_bytes``, except hot keys and what is between two."""
    cells: list[_Cell] = []
    for bound, share in shares:
        if bound in hot:
            _settle(cells, cell_bytes)
        if not cells or cells[-1].hot or bound in hot or cells[-1].weight >= cell_bytes:
            cells.append(_Cell(bound, share, bound in hot))
        else:
            cells[-1].weight += share
    _settle(cells, cell_bytes)
    return cells


def _settle(cells: list[_Cell], cell_bytes: int) -> None:
    """The last cell will not grow: if it is too small, join it with the one before."""
    if len(cells) < 2 or cells[-1].hot or cells[-2].hot or cells[-1].weight >= cell_bytes:
        return
    cells[-2].weight += cells.pop().weight


# Merging


def merge_groups(sizes: Sequence[int], most: int = MERGE_RUNS) -> list[Range]:
    """Which adjacent runs to merge, so that at most ``most`` are left after this round, or as
    few as one round can reach.

    To rewrite few bytes, stretches are chosen by the lowest price per run saved at which
    enough are saved; then what is saved beyond need is given back from the ends of
    stretches, largest run first.  One stretch of the needed length is taken where it is
    cheaper.

    :param sizes: bytes of each run, in input order.
    :param most: how many one merge reads at once; at least 2.
    """
    whole = Range(0, len(sizes))
    need = min(len(sizes) - most, _saved(whole, most))
    if need <= 0:
        return []
    if len(sizes) > most * most:
        plans = [[whole]]
    else:
        plans = [[_best_window(sizes, need, most)], _worthwhile(sizes, _price(sizes, need, most))]
    peeled = [_peel(each, sizes, most, need) for each in plans]
    best = min(peeled, key=lambda plan: sum(sum(sizes[each.start : each.end]) for each in plan))
    return [group for stretch in best for group in _divide(stretch, most)]


def _saved(stretch: Range, most: int) -> int:
    """How many runs fewer there are when a stretch is merged, at most ``most`` at once."""
    return len(stretch) + -len(stretch) // most


def _price(sizes: Sequence[int], need: int, most: int) -> int:
    """The lowest price per run saved at which enough are saved."""
    low, high = 0, sum(sizes) + 1
    while low < high:
        middle = (low + high) // 2
        if sum(_saved(each, most) for each in _worthwhile(sizes, middle)) >= need:
            high = middle
        else:
            low = middle + 1
    return low


def _worthwhile(sizes: Sequence[int], price: int) -> list[Range]:
    """The stretches that earn most, when a run saved earns ``price`` and a byte costs one.

    A stretch saves one run less than it has: as with trades that each cost a fee, it begins
    at a low of the running sum, ends at a high, and is worth it when they differ by more
    than the fee.
    """
    found: list[Range] = []
    level = low = high = start = end = 0
    for at, size in enumerate(sizes, 1):
        level += price - size
        if level >= high:
            high, end = level, at
        risen = high - low > price
        if risen and high - level >= price:
            found.append(Range(start, end))
        if level < low or (risen and high - level >= price):
            low, high, start, end = level, level, at, at
    return [*found, Range(start, end)] if high - low > price else found


def _peel(stretches: Sequence[Range], sizes: Sequence[int], most: int, need: int) -> list[Range]:
    """Take runs off the ends of stretches, the largest first, as long as enough are saved."""
    excess = sum(_saved(each, most) for each in stretches) - need
    queue = [_largest_end(each, sizes) for each in stretches]
    heapify(queue)
    kept: list[Range] = []
    while queue:
        _, stretch, shorter = heappop(queue)
        lost = _saved(stretch, most) - _saved(shorter, most)
        if lost > excess:
            kept.append(stretch)
            continue
        excess -= lost
        if len(shorter) > 1:
            heappush(queue, _largest_end(shorter, sizes))
    return sorted(kept)


def _largest_end(stretch: Range, sizes: Sequence[int]) -> tuple[int, Range, Range]:
    """The larger run at an end of a stretch, negated; the stretch; the stretch without it."""
    first, last = sizes[stretch.start], sizes[stretch.end - 1]
    if first >= last:
        return -first, stretch, Range(stretch.start + 1, stretch.end)
    return -last, stretch, Range(stretch.start, stretch.end - 1)


def _best_window(sizes: Sequence[int], need: int, most: int) -> Range:
    """The single stretch with the fewest bytes that saves enough."""
    lengths = range(need + 1, len(sizes) + 1)
    length = next(each for each in lengths if _saved(Range(0, each), most) == need)
    before = list(accumulate(sizes, initial=0))
    start = min(range(len(sizes) - length + 1), key=lambda at: before[at + length] - before[at])
    return Range(start, start + length)


def _divide(stretch: Range, most: int) -> Iterator[Range]:
    """Equal groups of at most ``most``: they are merged at the same time, elsewhere."""
    count = -(-len(stretch) // most)
    edges = [stretch.start + len(stretch) * each // count for each in range(count + 1)]
    return (Range(*ends) for ends in pairwise(edges))
