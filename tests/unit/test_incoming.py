"""An assignment's bytes as they come, cut anywhere."""

import gc
import resource
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from hagoop import incoming, wire
from hagoop.errors import BadMessage, TransferFailed, WorkerFull
from hagoop.frames import END_FRAME
from hagoop.incoming import Incoming, LineFile, PieceList, SliceFiles, SliceList, nth_newline
from hagoop.jobs import Piece
from hagoop.keys import key_of
from hagoop.runs import TRAILER_BYTES, RunWriter, footer_place, read_index
from hagoop.slices import cut_slice

PIECES = PieceList((Piece("a", 0, 2, 0, 0, 8),))
BROKEN = Failure(TransferFailed("the connection broke"))
lines_of_any_kind = st.lists(
    st.binary(max_size=6).map(lambda line: line.replace(b"\n", b"")), max_size=30
)


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[LineFile]:
    """A file for lines."""
    made = LineFile(tmp_path / "lines")
    yield made
    made.close()


def start(coroutine: Coroutine[Any, Any, Any]) -> "tuple[Deferred[Any], list[Any]]":
    """A coroutine under way, and where its result will be."""
    results: list[Any] = []
    started = Deferred.fromCoroutine(coroutine)
    started.addBoth(results.append)
    return started, results


def error_of(results: list[Any]) -> str:
    """The sentence of what came to nothing."""
    (failure,) = results
    return f"{failure.type.__name__}: {failure.value}"


def parts(data: bytes, cuts: list[int]) -> list[bytes]:
    """Bytes, cut at some places."""
    places = sorted({min(each, len(data)) for each in cuts} | {0, len(data)})
    return [data[low:high] for low, high in pairwise(places)]


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file can become larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def scanning(size: int) -> Iterator[None]:
    """Lines are looked for in chunks of this size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incoming, "SCAN_BYTES", size)
        yield


# Newlines


@given(lines_of_any_kind, st.data())
def test_nth_newline_is_the_one_that_a_simple_search_finds(texts, data):
    """Whichever is asked for, in chunks small and large."""
    chunk = b"\n".join([*texts, *texts, *texts]) + b"\n"
    places = [at for at, byte in enumerate(chunk) if byte == ord("\n")]
    number = data.draw(st.integers(1, len(places)))
    assert nth_newline(chunk, number) == places[number - 1]


def test_nth_newline_is_found_among_very_many():
    """Where halving pays."""
    chunk = b"ab\n" * 10_000
    for number in (1, 16, 17, 5000, 9999, 10_000):
        assert nth_newline(chunk, number) == 3 * number - 1


# Lines


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines_of_any_kind, st.booleans(), st.lists(st.integers(0, 200), max_size=8), st.data())
def test_line_is_found_however_its_bytes_come(tmp_path, texts, closed, cuts, data):
    """Cut anywhere, from any line on; the last may lack its newline."""
    content = b"".join(each + b"\n" for each in texts)
    content = content if closed else content[:-1]
    starts = [0, *(at + 1 for at, byte in enumerate(content) if byte == ord("\n"))]
    first = data.draw(st.integers(0, len(starts) - 1))
    count = data.draw(st.integers(1, len(texts) + 2))
    wanted = starts[first + count] if first + count < len(starts) else len(content)
    scanned = data.draw(st.sampled_from([1, 2, 7, 1000]))
    file = LineFile(tmp_path / "lines")
    with scanning(scanned):
        _, found = start(file.find_line(starts[first], len(content), count))
        for part in parts(content, cuts):
            file.write(part)
        file.end(None)
    file.close()
    assert found == [wanted]


def test_lines_that_do_not_fit_are_refused_and_those_that_do_are_there(tmp_path):
    """A worker with little disk does what it can."""
    lines = LineFile(tmp_path / "lines", limit=5)
    lines.write(b"on")
    with pytest.raises(WorkerFull, match=r"^its lines need more than the 5 bytes of disk that this"):
        lines.write(b"e\ntwo\n")
    lines.end(Failure(WorkerFull("no room")))
    _, found = start(lines.find_line(0, 8, 1))
    assert found == [4]
    assert error_of(start(lines.find_line(4, 8, 1))[1]) == "WorkerFull: no room"
    lines.close()


def test_slices_that_do_not_fit_are_refused(tmp_path):
    """Before their bytes are written."""
    slices = SliceFiles(tmp_path, limit=5)
    slices.write(packed(b"a\nb\n"))
    with pytest.raises(WorkerFull):
        slices.write(packed(b"c\nd\n"))
    slices.end(None)


def test_line_is_found_as_soon_as_it_is_there(lines):
    """A job may begin while the rest is still to come."""
    _, found = start(lines.find_line(0, 100, 1))
    lines.write(b"on")
    assert found == []
    lines.write(b"e\ntw")
    assert found == [4]


def test_nothing_beyond_the_limit_is_waited_for(lines):
    """There is the next piece."""
    lines.write(b"one\ntw")
    _, found = start(lines.find_line(0, 6, 5))
    assert found == [6]
    _, found = start(lines.find_line(6, 6, 1))
    assert found == [6]


def test_lines_that_do_not_come_whole_are_told(lines):
    """Whoever waits for them, then or later."""
    _, found = start(lines.find_line(0, 10, 3))
    lines.write(b"one\n")
    lines.end(BROKEN)
    told = "TransferFailed: the lines of an assignment did not come whole"
    assert error_of(found) == told
    assert error_of(start(lines.await_bytes(5))[1]) == told
    assert start(lines.await_bytes(4))[1] == [None]


def test_lines_may_end_while_nobody_waits(lines):
    """What has come is there."""
    lines.write(b"one\n")
    lines.end(None)
    assert start(lines.find_line(0, 4, 1))[1] == [4]


def test_lines_that_a_full_disk_takes_in_part_are_not_taken(lines):
    """They would count as whole, and be none."""
    with disk_of(10):
        lines.write(b"12345678")
        with pytest.raises(OSError, match="File too large"):
            lines.write(b"12345678")
    assert lines.size == 8


# The first line


@given(st.lists(st.integers(0, 200), max_size=8))
def test_header_and_body_are_told_apart_wherever_they_are_cut(cuts):
    """The first line is the header; newlines after it are the body's."""
    taken = Taken()
    made = Incoming(taken)
    _, found = start(made.header(PieceList))
    for part in parts(wire.encode(PIECES) + b"\none\ntwo\n", cuts):
        made.write(part)
    made.end()
    assert found == [PIECES]
    assert (taken.data, taken.ended) == (b"one\ntwo\n", [None])


class Taken:
    """Takes a body."""

    def __init__(self) -> None:
        self.data = b""
        self.ended: list[Failure | None] = []

    def write(self, data: bytes) -> None:
        self.data += data

    def end(self, failure: Failure | None) -> None:
        self.ended.append(failure)


def test_header_that_does_not_come_is_told():
    """The transfer's own error, or that it ended without."""
    for failure, told in [
        (BROKEN, "TransferFailed: the connection broke"),
        (None, "TransferFailed: an assignment came without its first line"),
    ]:
        taken = Taken()
        made = Incoming(taken)
        _, found = start(made.header(PieceList))
        made.write(b"{")
        made.end(failure)
        assert error_of(found) == told
        assert taken.ended == [failure]


def test_transfer_that_breaks_after_the_header_is_the_bodys_affair():
    """The header is there."""
    taken = Taken()
    made = Incoming(taken)
    made.write(wire.encode(PIECES) + b"\none")
    made.end(BROKEN)
    assert start(made.header(PieceList))[1] == [PIECES]
    assert taken.ended == [BROKEN]


def test_header_of_another_form_is_refused():
    """Like everything from outside."""
    made = Incoming(Taken())
    made.write(b'{"pieces": 1}\n')
    assert error_of(start(made.header(PieceList))[1]).startswith("BadMessage: ")


def test_header_without_an_end_is_refused(monkeypatch):
    """It is kept in memory."""
    monkeypatch.setattr(incoming, "MOST_HEADER", 100)
    made = Incoming(Taken())
    made.write(b"x" * 100)
    with pytest.raises(BadMessage, match="first line has no end"):
        made.write(b"x")


def test_keys_of_slices_are_bytes():
    """Any bytes; the last bound may be open."""
    assert SliceList(("", "caf\xe9\xff", None), 3).keys == [b"", b"caf\xe9\xff", None]


# Slices


def packed(content: bytes) -> bytes:
    """Lines as the frames of a slice, ended."""
    if not content:
        return END_FRAME
    writer = RunWriter(block_bytes=9, bound_bytes=4)
    run = writer.write(content) + writer.finish()
    offset, length = footer_place(run[-TRAILER_BYTES:])
    index = read_index(run[offset : offset + length], run[-TRAILER_BYTES:])
    return b"".join(cut_slice(BytesIO(run), index, b"", None)) + END_FRAME


def unpack(folder: Path, chunks: list[bytes], slices: int) -> list[Any]:
    """What comes of waiting for all slices."""
    files = SliceFiles(folder)
    _, found = start(files.all(slices))
    for each in chunks:
        files.write(each)
    assert found == []
    files.end(None)
    return found


sorted_lines = lines_of_any_kind.map(
    lambda texts: b"".join(sorted((each + b"\n" for each in texts), key=key_of))
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(sorted_lines, max_size=5), st.lists(st.integers(0, 500), max_size=8))
def test_slices_are_unpacked_however_they_are_cut(tmp_path, contents, cuts):
    """Each into its own file, in order; empty ones are left out."""
    data = b"".join(map(packed, contents))
    (paths,) = unpack(tmp_path, parts(data, cuts), len(contents))
    assert [each.read_bytes() for each in paths] == [each for each in contents if each]


def test_slices_that_do_not_come_whole_are_told(tmp_path):
    """Too few, cut within a frame, or not ended."""
    whole = packed(b"a\nb\n")
    told = "TransferFailed: the slices of an assignment did not come whole"
    for data, slices in [(whole, 2), (whole[:-1], 1), (whole[: -len(END_FRAME)], 1), (b"", 1)]:
        assert error_of(unpack(tmp_path, [data], slices)) == told


def test_slices_that_break_off_fail_with_the_cause(tmp_path):
    """Also for who asks afterwards; and nobody need ask."""
    files = SliceFiles(tmp_path)
    _, found = start(files.all(1))
    files.write(packed(b"a\n"))
    files.end(BROKEN)
    assert error_of(found) == "TransferFailed: the connection broke"
    assert error_of(start(files.all(1))[1]) == "TransferFailed: the connection broke"


def test_slices_that_are_no_frames_are_refused(tmp_path):
    """At once: what comes after cannot be read."""
    with pytest.raises(BadMessage):
        SliceFiles(tmp_path).write(b"\xff" * 100)


@pytest.mark.parametrize("kind", ["lines", "slices"])
def test_broken_transfer_for_which_nobody_waits_is_no_error_of_ours(tmp_path, kind):
    """The work may have ended before: nothing is logged as unhandled."""
    heard: list[Any] = []
    globalLogPublisher.addObserver(heard.append)
    body = LineFile(tmp_path / "lines") if kind == "lines" else SliceFiles(tmp_path)
    made = Incoming(body)
    made.end(BROKEN)
    body.close()
    del made, body
    gc.collect()
    globalLogPublisher.removeObserver(heard.append)
    assert [each for each in heard if "log_failure" in each] == []
