"""The format of sorted runs, their index, slices, cells and the choice of merges."""

import random
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from io import BytesIO
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hagoop.cells import Cells, cut_cells
from hagoop.errors import BadMessage
from hagoop.frames import BLOCK_BYTES, END_FRAME, HEADER_BYTES, Frame, pack_frame, read_frames
from hagoop.keys import key_of
from hagoop.merging import merge_groups
from hagoop.ranges import Range
from hagoop.runs import (
    BOUND_BYTES,
    FOOTER_BYTES,
    INDEX_ENTRIES,
    TRAILER_BYTES,
    Entry,
    Part,
    RunIndex,
    RunWriter,
    Span,
    footer_place,
    read_index,
)
from hagoop.slices import SliceDecoder, cut_slice, trim

BLOCK = 16
BOUND = 6
MAGIC = b"HAGOOP2\n"

# Few different bytes, so that prefixes are shared; some sort before TAB.
BYTES = b"\0\x08\tab\xff"
texts = st.lists(st.sampled_from(BYTES), max_size=36).map(bytes)
bounds = st.lists(st.sampled_from(BYTES.replace(b"\t", b"")), max_size=BOUND).map(bytes)
highs = st.none() | bounds


def ordered(found: Iterable[bytes]) -> list[bytes]:
    return sorted((each + b"\n" for each in found), key=key_of)


few = st.lists(texts, min_size=1, max_size=3).flatmap(
    lambda some: st.lists(st.sampled_from(some), max_size=30)
)
sorted_lines = (st.lists(texts, max_size=30) | few).map(ordered)


def write(lines: Iterable[bytes], chunk: int = 0, **options: int) -> bytes:
    """A run of these lines, given to the writer in chunks of one size."""
    data = b"".join(lines)
    writer = RunWriter(**({"block_bytes": BLOCK, "bound_bytes": BOUND} | options))
    step = chunk or len(data) or 1
    made = [writer.write(data[at : at + step]) for at in range(0, len(data), step)]
    return b"".join([*made, writer.finish()])


def index_of(run: bytes) -> RunIndex:
    trailer = run[-TRAILER_BYTES:]
    offset, length = footer_place(trailer)
    return read_index(run[offset : offset + length], trailer)


def frames_of(run: bytes, start: int = 0, end: int | None = None) -> list[Frame]:
    end = index_of(run).data_end if end is None else end
    return list(read_frames(BytesIO(run[start:end]).read, end - start))


def unpacked(encoded: Iterable[bytes]) -> bytes:
    data = b"".join(encoded)
    return b"".join(each.unpack() for each in read_frames(BytesIO(data).read, len(data)))


def wanted(lines: Iterable[bytes], low: bytes, high: bytes | None) -> bytes:
    above = (each for each in lines if low <= key_of(each))
    return b"".join(each for each in above if high is None or key_of(each) < high)


@pytest.mark.parametrize(
    ("line", "key"), [(b"k\tv\tw\n", b"k"), (b"k\n", b"k"), (b"k", b"k"), (b"\tv\n", b""), (b"\n", b"")]
)
def test_key_ends_at_the_first_tab_or_with_the_line(line: bytes, key: bytes) -> None:
    """The newline is no part of the key."""
    assert key_of(line) == key


# Writing and reading whole runs


@given(sorted_lines, st.integers(1, 50))
def test_run_gives_back_its_lines(lines: list[bytes], chunk: int) -> None:
    """However the lines are cut on their way in, the run is the same and holds them all."""
    run = write(lines, chunk)
    assert run == write(lines)
    assert b"".join(each.unpack() for each in frames_of(run)) == b"".join(lines)
    assert index_of(run).raw_bytes == len(b"".join(lines))


@given(sorted_lines)
def test_frames_hold_whole_lines_or_parts_of_one(lines: list[bytes]) -> None:
    """No frame is larger than a block, and a long line shares its frames with no other."""
    within = False
    for frame in frames_of(write(lines)):
        raw = frame.unpack()
        assert 0 < len(raw) <= BLOCK
        assert frame.line_start != within
        assert raw.endswith(b"\n") or b"\n" not in raw
        assert frame.line_start or raw.count(b"\n") <= 1
        within = not raw.endswith(b"\n")
    assert not within


@given(sorted_lines, st.integers(2, 20))
def test_every_bound_parts_the_keys(lines: list[bytes], most: int) -> None:
    """Keys before an entry are at most its bound, keys from it on at least; thinning keeps that."""
    run = write(lines, index_entries=most)
    index = index_of(run)
    assert len(index.entries) <= most
    for entry in index.entries:
        before = unpacked([run[: entry.offset]]).splitlines(keepends=True) if entry.offset else []
        number = b"".join(before).count(b"\n")
        keys = [key_of(each) for each in lines]
        lower, upper = keys[:number], keys[number:]
        assert len(entry.bound) <= BOUND
        assert all(key <= entry.bound for key in lower)
        assert all(key >= entry.bound for key in upper)
        assert entry.strict == (entry.bound not in lower)
        assert not lower or entry.strict == (lower[-1] < upper[0])


@given(sorted_lines)
def test_every_bound_is_as_short_as_can_be(lines: list[bytes]) -> None:
    """One byte less would not part the lines; where a bound fits, there is an entry."""
    run = write(lines)
    index = index_of(run)
    made = {entry.offset: entry for entry in index.entries}
    at = number = 0
    for frame in frames_of(run):
        if frame.line_start and at:
            last, first = key_of(lines[number - 1]), key_of(lines[number])
            shorter = [first[:size] for size in range(BOUND + 1) if last < first[:size]]
            best = first if last == first else next(iter(shorter), None)
            fits = best is not None and len(best) <= BOUND
            assert (made[at].bound if at in made else None) == (best if fits else None)
        at += len(frame.encoded)
        number += frame.unpack().count(b"\n")


def test_entries_are_dropped_evenly_when_there_are_too_many() -> None:
    """A long run keeps its index short, and its entries at about equal distances."""
    lines = [b"%05d\n" % each for each in range(4000)]
    index = index_of(write(lines, index_entries=20))
    sizes = [entry.raw_bytes for entry in index.entries[:-1]]
    assert 8 <= len(index.entries) <= 20
    assert max(sizes) <= 2 * min(sizes)


def test_empty_run_has_no_entries() -> None:
    """A job that printed nothing still makes a run that can be read."""
    run = write([])
    assert index_of(run) == RunIndex((), 0)
    assert frames_of(run) == []
    assert index_of(run).parts(b"", None) == []
    assert index_of(run).span(b"", None) == Span(0, 0)


def test_last_line_without_newline_is_refused() -> None:
    """The caller promised whole lines."""
    for text in (b"a\nb", b"b" * 40):
        writer = RunWriter(block_bytes=BLOCK, bound_bytes=BOUND)
        writer.write(text)
        with pytest.raises(ValueError, match="the last line does not end in a newline"):
            writer.finish()


def test_lines_out_of_order_are_refused() -> None:
    """A bound between them would be a lie."""
    with pytest.raises(ValueError, match="the lines are not sorted by key"):
        write([b"b" * 12 + b"\n", b"a" * 12 + b"\n"])


@pytest.mark.parametrize("size", [BOUND, BLOCK_BYTES + 1])
def test_block_must_hold_a_bound_and_fit_a_frame(size: int) -> None:
    """Otherwise the start of a long line would not hold enough of its key."""
    with pytest.raises(ValueError, match=f"not a size for blocks: {size}"):
        RunWriter(block_bytes=size, bound_bytes=BOUND)


def test_writer_keeps_no_more_than_a_block_of_the_longest_line() -> None:
    """What went in comes out again, whatever the lines are."""
    noise = random.Random(1)
    writer = RunWriter()
    given_bytes = taken = 0
    for _ in range(40):
        given_bytes += 100_000
        taken += len(writer.write(noise.randbytes(100_000).replace(b"\n", b" ")))
        assert given_bytes - taken < BLOCK_BYTES
    writer.write(b"\n")
    assert len(writer.finish()) < BLOCK_BYTES + 1000


def write_real(lines: Iterable[bytes]) -> bytes:
    return write(lines, block_bytes=BLOCK_BYTES, bound_bytes=BOUND_BYTES)


@pytest.mark.parametrize(
    ("stem", "made"), [(BOUND_BYTES - 1, True), (BOUND_BYTES, False), (3 * BLOCK_BYTES, False)]
)
def test_bound_that_would_be_too_long_is_not_made(stem: int, made: bool) -> None:
    """At the real sizes: a separator of 1,024 bytes is made, one of 1,025 is not."""
    lines = [b"k" * stem + tail + b"\t" + b"x" * 60_000 + b"\n" for tail in (b"a", b"b")]
    run = write_real(lines)
    assert [entry.bound for entry in index_of(run).entries[1:]] == [b"k" * stem + b"b"] * made
    assert b"".join(each.unpack() for each in frames_of(run)) == b"".join(lines)


@pytest.mark.parametrize(("size", "made"), [(BOUND_BYTES, True), (BOUND_BYTES + 1, False)])
def test_hot_key_is_its_own_bound_if_short_enough(size: int, made: bool) -> None:
    """Of a longer key only the start is known, so it is no bound."""
    line = b"k" * size + b"\t" + b"x" * 60_000 + b"\n"
    entries = index_of(write_real([line, line])).entries
    assert [(each.bound, each.strict) for each in entries[1:]] == [(b"k" * size, False)] * made


def test_line_of_many_blocks_is_found_by_its_key() -> None:
    """A long line comes whole or not at all."""
    lines = [b"a\t1\n", b"b\t" + b"x" * 3 * BLOCK_BYTES + b"\n", b"b\t2\n", b"c\t3\n"]
    run = write_real(lines)
    for low, high in [(b"", b"b"), (b"b", b"b\0"), (b"b\0", None), (b"a", b"c")]:
        found = unpacked(cut_slice(BytesIO(run), index_of(run), low, high))
        assert found == wanted(lines, low, high)


# Slices


@given(sorted_lines, bounds, highs, st.integers(2, 20))
def test_slice_holds_just_the_keys_asked_for(
    lines: list[bytes], low: bytes, high: bytes | None, most: int
) -> None:
    """Equal to filtering the lines one by one."""
    run = write(lines, index_entries=most)
    assert unpacked(cut_slice(BytesIO(run), index_of(run), low, high)) == wanted(lines, low, high)


@given(st.lists(sorted_lines, min_size=1, max_size=3), st.integers(1, 20))
def test_thinned_indexes_cut_all_lines(runs: list[list[bytes]], step: int) -> None:
    """However coarse, each line is in the one cell to which its key belongs."""
    made = [write(lines) for lines in runs]
    indexes = [index_of(each).thinned(step) for each in made]
    assert [each.raw_bytes for each in indexes] == [len(b"".join(lines)) for lines in runs]
    counts = [-(-len(index_of(each).entries) // step) for each in made]
    assert [len(each.entries) for each in indexes] == counts
    edges = [*cut_cells(indexes, 1).bounds, None]
    for lines, run, index in zip(runs, made, indexes, strict=True):
        for low, high in pairwise(edges):
            assert low is not None
            assert unpacked(cut_slice(BytesIO(run), index, low, high)) == wanted(lines, low, high)


@given(sorted_lines, bounds, highs)
def test_parts_that_need_no_trim_hold_only_keys_asked_for(
    lines: list[bytes], low: bytes, high: bytes | None
) -> None:
    """Parts are adjacent, cover the span, and only the first and the last are trimmed."""
    run = write(lines)
    index = index_of(run)
    parts = index.parts(low, high)
    assert all(one.end == two.start for one, two in pairwise(parts))
    assert not any(each.trim for each in parts[1:-1])
    assert len(parts) <= 3
    assert index.span(low, high) == (Span(parts[0].start, parts[-1].end) if parts else Span(0, 0))
    for part in parts:
        if not part.trim:
            whole = unpacked([run[part.start : part.end]]).splitlines(keepends=True)
            assert wanted(whole, low, high) == b"".join(whole)


@given(sorted_lines, bounds, highs)
def test_trimming_all_frames_gives_the_same_as_trimming_parts(
    lines: list[bytes], low: bytes, high: bytes | None
) -> None:
    """The index only saves work."""
    assert unpacked(trim(frames_of(write(lines)), low, high)) == wanted(lines, low, high)


def test_whole_run_is_copied_without_unpacking() -> None:
    """The open range is one part, and no frame is packed anew."""
    run = write([b"%03d\n" % each for each in range(100)])
    index = index_of(run)
    assert index.parts(b"", None) == [Part(0, index.data_end, trim=False)]
    assert b"".join(cut_slice(BytesIO(run), index, b"", None)) == run[: index.data_end]


def test_hot_key_is_copied_from_the_inside() -> None:
    """Between two bounds that are the key itself there is nothing to trim."""
    run = write([b"a\n"] + [b"k\tv\n"] * 20 + [b"z\n"])
    parts = index_of(run).parts(b"k", b"k\0")
    assert [each.trim for each in parts] == [True, False, True]


def test_slice_at_strict_bounds_is_not_trimmed() -> None:
    """Where a bound lies between two keys, the cut needs no look at lines."""
    run = write([b"%03d\n" % each for each in range(100)])
    entries = index_of(run).entries
    assert index_of(run).parts(entries[3].bound, entries[5].bound) == [
        Part(entries[3].offset, entries[5].offset, trim=False)
    ]


def test_range_that_ends_before_it_begins_is_empty() -> None:
    """No part of the file has to be read."""
    index = index_of(write([b"a\n", b"b\n"]))
    assert index.parts(b"b", b"b") == []
    assert index.span(b"b", b"a") == Span(0, 0)


@given(st.lists(texts, min_size=1, max_size=20), bounds, bounds)
def test_frame_out_of_order_is_still_parted_without_loss(
    found: list[bytes], one: bytes, two: bytes
) -> None:
    """A stranger's unsorted lines are neither doubled nor dropped between neighbouring slices."""
    lines = b"".join(each + b"\n" for each in found)
    low, high = sorted([one, two])
    cuts = [(b"", low), (low, high), (high, None)]
    frame = pack_frame(lines, line_start=True)
    assert b"".join(unpacked(trim([frame], *cut)) for cut in cuts) == lines


# The stream of slices


@given(st.lists(sorted_lines, max_size=4), st.integers(1, 60))
def test_slices_arrive_whole_in_chunks_of_any_size(slices: list[list[bytes]], chunk: int) -> None:
    """The decoder tells the slices apart, the empty ones too."""
    runs = [write(lines) for lines in slices]
    stream = b"".join(run[: index_of(run).data_end] + END_FRAME for run in runs)
    decoder = SliceDecoder()
    found = [b""] * len(slices)
    for at in range(0, len(stream), chunk):
        for number, data in decoder.feed(stream[at : at + chunk]):
            assert number <= decoder.ended
            found[number] += data
    assert found == [b"".join(lines) for lines in slices]
    assert decoder.ended == len(slices)
    assert decoder.clean


def test_stream_is_clean_only_between_slices() -> None:
    """A connection that ends elsewhere has lost something."""
    stream = pack_frame(b"a\n", True).encoded + END_FRAME
    for size in range(len(stream) + 1):
        decoder = SliceDecoder()
        decoder.feed(stream[:size])
        assert decoder.clean == (size in (0, len(stream)))
        assert decoder.ended == (size == len(stream))


def header(packed: int, raw: int, flags: int) -> bytes:
    return struct.pack("<IIIB", packed, raw, 0, flags)


WHOLE = pack_frame(b"a\n", True).encoded
OPEN = pack_frame(b"a", True).encoded
MORE = pack_frame(b"b\n", False).encoded


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (MORE, "A frame begins a line where none can begin, or continues none"),
        (WHOLE + MORE, "A frame begins a line where none can begin, or continues none"),
        (OPEN + WHOLE, "A frame begins a line where none can begin, or continues none"),
        (OPEN + END_FRAME, "A slice ends within a line"),
        (header(0, 0, 1), "header makes no sense"),
        (header(0, 5, 1), "header makes no sense"),
        (header(5, 5, 1), "header makes no sense"),
        (header(4, 5, 3), "header makes no sense"),
        (header(4, 5, 4), "header makes no sense"),
        (header(4, BLOCK_BYTES + 1, 1), "header makes no sense"),
        (header(BLOCK_BYTES + 1, BLOCK_BYTES + 1, 3), "header makes no sense"),
        (Frame(True, False, 9, b"junk").encoded, "are damaged"),
        (header(4, 9, 1) + b"junk", "does not match its checksum"),
    ],
)
def test_nonsense_in_a_stream_is_refused(stream: bytes, message: str) -> None:
    """As soon as it can be seen."""
    with pytest.raises(BadMessage, match=message):
        SliceDecoder().feed(stream)


@pytest.mark.parametrize("size", [99, 101])
def test_frame_of_another_length_than_it_says_is_refused(size: int) -> None:
    """Neither a byte more is unpacked nor one less accepted."""
    packed = zlib.compress(bytes(100), 1)
    with pytest.raises(BadMessage, match="length"):
        Frame(line_start=True, stored=False, size=size, payload=packed).unpack()


@pytest.mark.parametrize("change", [lambda packed: packed + b"x", lambda packed: packed[:-1]])
def test_frame_with_bytes_too_many_or_too_few_is_refused(change: Callable[[bytes], bytes]) -> None:
    """The compressed bytes are one whole stream."""
    payload = change(zlib.compress(bytes(100), 1))
    with pytest.raises(BadMessage, match="unpack to another length than announced"):
        Frame(line_start=True, stored=False, size=100, payload=payload).unpack()


@pytest.mark.parametrize(
    ("data", "size", "message"),
    [
        (MORE, len(MORE), "does not begin with a line"),
        (WHOLE, len(WHOLE) - 1, "goes on past the end of its part"),
        (WHOLE, len(WHOLE) + 1, "ends within a frame"),
        (WHOLE[:-1], len(WHOLE), "ends within a frame"),
        (WHOLE[: HEADER_BYTES - 1], len(WHOLE), "ends within a frame"),
        (END_FRAME, HEADER_BYTES, "header makes no sense"),
    ],
)
def test_part_that_is_not_whole_frames_is_refused(data: bytes, size: int, message: str) -> None:
    """An index of a stranger may name any place."""
    with pytest.raises(BadMessage, match=message):
        list(read_frames(BytesIO(data).read, size))


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([pack_frame(b"a\nb", True)], "A frame ends within a line"),
        ([pack_frame(b"a\n", True), pack_frame(b"b\n", False)], "continues a line that has ended"),
    ],
)
def test_lines_that_cannot_be_trimmed_are_refused(frames: list[Frame], message: str) -> None:
    """Frames hold whole lines or parts of one."""
    with pytest.raises(BadMessage, match=message):
        list(trim(frames, b"", None))


@given(st.binary(min_size=1, max_size=200), st.data())
def test_no_frame_is_read_as_another(lines: bytes, data: st.DataObject) -> None:
    """Whatever byte of one changes, on a disk or on the way: it is refused."""
    frame = bytearray(pack_frame(lines, True).encoded)
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadMessage):
        list(read_frames(BytesIO(bytes(frame)).read, len(frame)))


# The index of strangers


def entry(bound: bytes, offset: int, raw: int = 10, flags: int = 1) -> bytes:
    return struct.pack("<QQHB", offset, raw, len(bound), flags) + bound


def seal(entries: bytes, data_end: int) -> tuple[bytes, bytes]:
    """Footer and trailer of an index, with all sums right."""
    footer = zlib.compress(entries)
    return footer, struct.pack("<QII8s", data_end, len(footer), zlib.crc32(footer), MAGIC)


def test_index_made_by_hand_is_read() -> None:
    """The ground on which the next test stands."""
    entries = entry(b"", 0) + entry(b"k", 20) + entry(b"k", 40, flags=0)
    assert read_index(*seal(entries, 60)) == RunIndex(
        (Entry(b"", 0, 10, True), Entry(b"k", 20, 10, True), Entry(b"k", 40, 10, False)), 60
    )


@pytest.mark.parametrize(
    ("entries", "data_end", "message"),
    [
        (b"", 10, "does not begin where the run begins"),
        (entry(b"", 0), 0, "does not begin where the run begins"),
        (entry(b"a", 0), 10, "does not begin where the run begins"),
        (entry(b"", 1), 10, "does not begin where the run begins"),
        (entry(b"", 0, flags=0), 10, "does not begin where the run begins"),
        (entry(b"", 0) + entry(b"b", 10) + entry(b"a", 20), 30, "is not in order"),
        (entry(b"", 0) + entry(b"b", 10) + entry(b"b", 20), 30, "is not in order"),
        (entry(b"", 0) + entry(b"b", 0), 30, "names places that cannot be"),
        (entry(b"", 0) + entry(b"b", 30), 30, "names places that cannot be"),
        (entry(b"", 0, raw=0), 10, "names places that cannot be"),
        (entry(b"", 0, raw=20_000), 10, "names places that cannot be"),
        (entry(b"", 0, flags=2), 10, "An entry in the index of a run makes no sense"),
        (entry(b"", 0) + entry(b"b" * (BOUND_BYTES + 1), 10), 20, "An entry in the index of"),
        (entry(b"", 0) + entry(b"bb", 10)[:-1], 20, "An entry in the index of a run makes no sense"),
        (entry(b"", 0)[:-1], 10, "ends within an entry"),
    ],
)
def test_index_that_makes_no_sense_is_refused(entries: bytes, data_end: int, message: str) -> None:
    """Every rule of the format is checked before anything relies on it."""
    with pytest.raises(BadMessage, match=message):
        read_index(*seal(entries, data_end))


def test_index_with_too_many_entries_is_refused() -> None:
    """A stranger does not choose how much memory the server spends."""
    entries = b"".join(entry(b"", each, 1, flags=not each) for each in range(INDEX_ENTRIES + 1))
    with pytest.raises(BadMessage, match="has too many entries"):
        read_index(*seal(entries, INDEX_ENTRIES + 1))


def test_footer_that_unpacks_without_end_is_refused() -> None:
    """A few bytes must not become gigabytes."""
    with pytest.raises(BadMessage, match="unpack to another length"):
        read_index(*seal(bytes(FOOTER_BYTES + 1), 10))


@pytest.mark.parametrize(
    ("trailer", "message"),
    [
        (b"", "This is not a sorted run"),
        (bytes(TRAILER_BYTES), "This is not a sorted run"),
        (struct.pack("<QII8s", 2**63, 1, 1, MAGIC), "trailer of a run makes no sense"),
        (struct.pack("<QII8s", 1, FOOTER_BYTES + 1, 1, MAGIC), "trailer of a run makes no sense"),
    ],
)
def test_trailer_that_makes_no_sense_is_refused(trailer: bytes, message: str) -> None:
    """Before a byte of the footer is read."""
    with pytest.raises(BadMessage, match=message):
        footer_place(trailer)


@pytest.mark.parametrize("change", [lambda footer: footer[:-1], lambda footer: footer[:-1] + b"!"])
def test_damaged_footer_is_refused(change: Callable[[bytes], bytes]) -> None:
    """Its length and checksum are in the trailer."""
    footer, trailer = seal(entry(b"", 0), 10)
    with pytest.raises(BadMessage, match="The footer of a run is damaged"):
        read_index(change(footer), trailer)


@given(sorted_lines, st.data())
def test_damaged_run_is_refused_or_read_and_nothing_else(
    lines: list[bytes], data: st.DataObject
) -> None:
    """Whatever byte changes, no other error comes out."""
    run = bytearray(write(lines))
    run[data.draw(st.integers(0, len(run) - 1))] ^= data.draw(st.integers(1, 255))
    damaged = bytes(run[: data.draw(st.integers(0, len(run)) | st.just(len(run)))])
    with suppress(BadMessage):
        index = index_of(damaged)
        stream = b"".join(cut_slice(BytesIO(damaged), index, b"a", b"b"))
        SliceDecoder().feed(stream + END_FRAME)


@given(sorted_lines, st.binary(max_size=60), st.data())
def test_damaged_frames_are_refused_or_read_and_nothing_else(
    lines: list[bytes], junk: bytes, data: st.DataObject
) -> None:
    """The same for frames alone, with junk put anywhere."""
    run = write(lines)
    stream = run[: index_of(run).data_end] + END_FRAME
    at = data.draw(st.integers(0, len(stream)))
    damaged = stream[:at] + junk + stream[data.draw(st.integers(at, len(stream))) :]
    with suppress(BadMessage):
        SliceDecoder().feed(damaged)
    with suppress(BadMessage):
        list(trim(read_frames(BytesIO(damaged).read, len(damaged)), b"a", b"b"))


entries_of_strangers = st.lists(
    st.tuples(bounds, st.integers(0, 99), st.integers(0, 2000), st.integers(0, 1)), max_size=4
)


@given(sorted_lines, entries_of_strangers, st.booleans(), bounds, highs)
def test_lying_index_is_refused_or_harmless(
    lines: list[bytes],
    lies: list[tuple[bytes, int, int, int]],
    ordered: bool,
    low: bytes,
    high: bytes | None,
) -> None:
    """Whatever an index with right sums claims, no other error comes out."""
    data = b"".join(pack_frame(each[:BLOCK], True).encoded for each in lines)
    if ordered and lies:
        columns = [sorted(column) for column in zip(*lies, strict=True)]
        lies = [(b"", 0, 1, 1), *zip(*columns, strict=True)]
    with suppress(BadMessage):
        index = read_index(*seal(b"".join(entry(*each) for each in lies), len(data)))
        cells = cut_cells([index], 1)
        assert cells.weights[-1] >= index.raw_bytes
        list(cut_slice(BytesIO(data), index, low, high))


# Cells


def weights_of(cells: Cells) -> list[int]:
    return [two - one for one, two in pairwise(cells.weights)]


@given(st.lists(sorted_lines, max_size=5), st.sampled_from([1, BLOCK, 5 * BLOCK]))
def test_slices_of_all_cells_together_are_the_run(slices: list[list[bytes]], cell_bytes: int) -> None:
    """Cells part the key space: no key is left out, none is in two."""
    runs = [write(lines) for lines in slices]
    cells = cut_cells([index_of(run) for run in runs], cell_bytes)
    for lines, run in zip(slices, runs, strict=True):
        cuts = [cells.keys(Range(each, each + 1)) for each in range(len(cells))]
        found = [unpacked(cut_slice(BytesIO(run), index_of(run), *cut)) for cut in cuts]
        assert b"".join(found) == b"".join(lines)


@given(st.lists(sorted_lines, max_size=5), st.sampled_from([1, BLOCK, 5 * BLOCK]))
def test_cells_are_in_order_and_weigh_something(slices: list[list[bytes]], cell_bytes: int) -> None:
    """Bounds increase from the empty one; weights together are the bytes of all runs."""
    indexes = [index_of(write(lines)) for lines in slices]
    cells = cut_cells(indexes, cell_bytes)
    total = sum(index.raw_bytes for index in indexes)
    assert bool(cells.bounds) == bool(total)
    assert cells.bounds[:1] in ((), (b"",))
    assert all(one < two for one, two in pairwise(cells.bounds))
    assert len(cells.weights) == len(cells) + 1
    assert all(each >= 1 for each in weights_of(cells))
    assert total <= cells.weights[-1] <= total + len(cells)
    assert cells == cut_cells(indexes, cell_bytes)


def test_empty_runs_make_no_cells() -> None:
    """There is nothing to reduce."""
    assert cut_cells([]) == cut_cells([RunIndex((), 0)]) == Cells((), (0,))


def test_cells_are_joined_until_they_are_large_enough() -> None:
    """Many bounds of many runs do not make absurdly small cells."""
    runs = [write([b"%04d\n" % each for each in range(start, 1000, 7)]) for start in range(7)]
    sizes = weights_of(cut_cells([index_of(run) for run in runs], cell_bytes=300))
    assert sum(sizes) == 5000
    assert min(sizes) >= 300
    assert max(sizes) < 700


def test_entry_is_spread_over_the_bounds_that_others_have_in_it() -> None:
    """A run with one entry tells nothing of where its keys are; the others do."""
    one = RunIndex((Entry(b"", 0, 1001, True),), 100)
    two = RunIndex(tuple(Entry(b"abc"[:each][-1:], each * 10, 10, True) for each in range(4)), 40)
    assert cut_cells([one, two], 100) == Cells((b"", b"a", b"b", b"c"), (0, 261, 521, 781, 1041))


def test_hot_key_gets_a_cell_of_its_own() -> None:
    """Keys beside it are not held up by it."""
    lines = [b"%02d\n" % each for each in range(50)]
    run = write([*lines, *([b"hot\t1\n"] * 100), *(b"z" + each for each in lines)])
    cells = cut_cells([index_of(run)], cell_bytes=BLOCK)
    at = cells.bounds.index(b"hot")
    assert cells.bounds[at + 1] == b"hot\0"
    assert 550 <= weights_of(cells)[at] <= 600


def test_key_hot_in_many_runs_gets_a_cell_of_its_own() -> None:
    """It need not fill an entry in any of them."""
    runs = [write([b"a\n", b"k\t%d\n" % each, b"k\t3333333333\n", b"z\n"]) for each in range(4)]
    assert [entry.bound for entry in index_of(runs[0]).entries] == [b"", b"k"]
    assert {b"k", b"k\0"} <= set(cut_cells([index_of(run) for run in runs], BLOCK).bounds)
    assert b"k\0" not in cut_cells([index_of(runs[0])], 1).bounds


def test_empty_key_can_be_hot() -> None:
    """Its cell is the first one."""
    run = write([b"\tv\n"] * 30 + [b"a\n"])
    assert cut_cells([index_of(run)], BLOCK).bounds == (b"", b"\0")


def test_key_as_long_as_a_bound_cannot_be_cut_off() -> None:
    """The bound after it would be too long."""
    key = b"k" * BOUND_BYTES
    entries = (Entry(b"", 0, 10, True), *(Entry(key, each * 10, 10, False) for each in range(1, 5)))
    assert cut_cells([RunIndex(entries, 50)], 5).bounds == (b"", key)


def test_small_cell_before_a_hot_key_joins_the_one_before() -> None:
    """Except when that is hot too."""
    hot = [Entry(b"h", 20, 100, True), Entry(b"h", 30, 100, False), Entry(b"i", 40, 5, True)]
    more = [Entry(b"m", 50, 100, True), Entry(b"m", 60, 100, False)]
    start = [Entry(b"", 0, 100, True), Entry(b"b", 10, 5, True)]
    cells = cut_cells([RunIndex((*start, *hot, *more), 70)], 100)
    assert cells.bounds == (b"", b"h", b"h\0", b"m", b"m\0")


def test_keys_of_cells_go_from_bound_to_bound() -> None:
    """The last cell is open."""
    cells = Cells((b"", b"b", b"c"), (0, 1, 2, 3))
    assert cells.keys(Range(0, 2)) == (b"", b"c")
    assert cells.keys(Range(1, 3)) == (b"b", None)


# Merges

size_lists = st.lists(st.integers(0, 20) | st.integers(0, 10**9), max_size=60)


def rewritten(sizes: Sequence[int], groups: Iterable[Range]) -> int:
    return sum(sum(sizes[each.start : each.end]) for each in groups)


@given(size_lists, st.integers(2, 9))
def test_merging_leaves_as_many_runs_as_a_reduce_can_read(sizes: list[int], most: int) -> None:
    """Groups are in order, apart, of 2 to ``most`` runs, and no more is merged than needed."""
    groups = merge_groups(sizes, most)
    assert all(one.end <= two.start for one, two in pairwise(groups))
    assert all(2 <= len(each) <= most for each in groups)
    assert all(each in Range(0, len(sizes)) for each in groups)
    left = len(sizes) - sum(len(each) - 1 for each in groups)
    assert left == (max(most, -(-len(sizes) // most)) if len(sizes) > most else len(sizes))


def test_few_runs_are_not_merged() -> None:
    """A reduce reads them as they are."""
    assert merge_groups([1] * 128) == []
    assert merge_groups([]) == []


def test_runs_of_one_size_are_merged_in_one_stretch() -> None:
    """Fewer groups rewrite fewer bytes; the stretch is divided evenly."""
    groups = merge_groups([7] * 10, most=5)
    assert [len(each) for each in groups] == [3, 4]
    assert groups[0].end == groups[1].start


def test_large_run_is_left_alone() -> None:
    """Two merges of small runs rewrite less than one across a large run."""
    assert merge_groups([1, 1, 100, 1, 1], most=3) == [Range(0, 2), Range(3, 5)]


def test_no_more_is_merged_than_is_needed() -> None:
    """Of three equal chances two are enough."""
    groups = merge_groups([1, 1, 100, 1, 1, 100, 1, 1], most=6)
    assert [len(each) for each in groups] == [2, 2]


def test_as_many_runs_as_one_round_cannot_merge_are_all_merged() -> None:
    """The next round does the rest."""
    groups = merge_groups([1] * 40_000)
    assert len(groups) == 313
    assert (groups[0].start, groups[-1].end) == (0, 40_000)


def fewest(sizes: Sequence[int], most: int) -> int:
    """The fewest bytes that can be rewritten to get to ``most`` runs, by trying all groups."""
    need = len(sizes) - most
    rows = [{0: 0}]
    before = list(accumulate(sizes, initial=0))
    for end in range(1, len(sizes) + 1):
        row = dict(rows[-1])
        for length in range(2, min(most, end) + 1):
            for saved, cost in rows[end - length].items():
                total = min(need, saved + length - 1)
                price = cost + before[end] - before[end - length]
                row[total] = min(row.get(total, price), price)
        rows.append(row)
    return rows[-1][need]


@given(st.lists(st.integers(1, 100), min_size=6, max_size=20))
def test_merging_rewrites_no_more_than_one_stretch_would(sizes: list[int]) -> None:
    """And never less than the best choice of groups."""
    most = 5
    needed = len(sizes) - most
    length = next(each for each in range(len(sizes) + 1) if each - -(-each // most) == needed)
    stretches = [Range(each, each + length) for each in range(len(sizes) - length + 1)]
    cheapest = min(rewritten(sizes, [each]) for each in stretches)
    assert fewest(sizes, most) <= rewritten(sizes, merge_groups(sizes, most)) <= cheapest


def test_merging_rewrites_little_more_than_the_best_choice() -> None:
    """A tenth at most on average, however unequal the runs are."""
    chance = random.Random(1)
    lists = [[int(10 * chance.paretovariate(1)) for _ in range(20)] for _ in range(100)]
    shares = [rewritten(each, merge_groups(each, 8)) / fewest(each, 8) for each in lists]
    assert sum(shares) / len(shares) < 1.1
