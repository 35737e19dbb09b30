"""What inputs promise: lines in order, cut anywhere, for files, bundles and memory alike."""

import errno
import io
import os
import stat
from itertools import pairwise

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface.verify import verifyObject

from hagoop import counting
from hagoop.counting import (
    BATCH_BYTES,
    BATCH_SECONDS,
    BLOCK_BYTES,
    Block,
    batched,
    count_blocks,
)
from hagoop.errors import BadMessage, NoSuchInput
from hagoop.found import walk
from hagoop.inputs import FileInputs, MemoryInputs, find_newline
from hagoop.interfaces import IInputs
from hagoop.source_files import files_in_place, files_of_bundle


def here(work):
    """In place of a thread: do it now."""
    try:
        return succeed(work())
    except NoSuchInput:
        return fail()


def counted(files):
    """Inputs with all their lines."""
    inputs = FileInputs(files)
    failures = []
    inputs.build(None, lambda: None, here).addErrback(failures.append)
    if failures:
        failures[0].raiseException()
    return inputs


def write(folder, texts):
    """Files with these contents, as (name, bytes)."""
    folder.mkdir(exist_ok=True)
    for name, data in texts:
        (folder / name).write_bytes(data)
    found = list(walk([folder / name for name, _ in texts]))
    return [evolve(each, name=name) for each, (name, _) in zip(found, texts, strict=True)]


def in_place(folder, texts):
    """Inputs read where they are."""
    return counted(list(files_in_place(write(folder, texts))))


def in_bundle(folder, texts):
    """Inputs that were uploaded, somewhere within a file of the spool."""
    found = write(folder, texts)
    data = b"".join(data for _, data in texts)
    bundle = folder / ".bundle"
    bundle.write_bytes(b"of\nothers" + data + b"more\nof others\n")
    return counted(list(files_of_bundle(found, str(bundle), 9, len(data))))


def in_memory(folder, texts):
    """Inputs in memory."""
    return MemoryInputs(texts)


@pytest.fixture(params=[in_place, in_bundle, in_memory])
def make(request, tmp_path):
    """Makes inputs of each kind in turn."""
    return lambda texts: request.param(tmp_path / "inputs", texts)


def read(inputs, pieces):
    """The bytes of pieces."""
    parts = []
    for each in pieces:
        with inputs.open(each) as file:
            parts.append(file.read())
        assert len(parts[-1]) == each.length
    return b"".join(parts)


def test_provides_the_interface(make):
    """All have what IInputs names."""
    assert verifyObject(IInputs, make([("a", b"x\n")]))


def test_lines_of_several_files(make):
    """Empty files have no lines and no break; a last line needs no newline."""
    inputs = make([("a", b"1\n2\n"), ("empty", b""), ("b", b"3"), ("c", b"\n\n")])
    assert (inputs.whole, inputs.lines, inputs.estimate) == (True, 5, 5)
    assert list(inputs.breaks) == [0, 2, 3]


def test_no_lines_at_all(make):
    """Nothing is a number of lines too."""
    for texts in ([], [("empty", b"")]):
        inputs = make(texts)
        assert (inputs.whole, inputs.lines, list(inputs.breaks)) == (True, 0, [])
        assert list(inputs.pieces(0, 0)) == []


def test_pieces_name_file_lines_and_bytes(make):
    """A range over three files is three pieces, each counted from its file's beginning."""
    inputs = make([("a", b"one\ntwo\n"), ("b", b"three\n"), ("c", b"four\nfive")])
    found = [
        (each.name, each.start, each.end, each.file_line, each.offset, each.length)
        for each in inputs.pieces(1, 5)
    ]
    assert found == [("a", 1, 2, 1, 4, 4), ("b", 2, 3, 0, 0, 6), ("c", 3, 5, 0, 0, 9)]
    assert read(inputs, inputs.pieces(1, 5)) == b"two\nthree\nfour\nfive"


def test_lines_that_are_not_known_are_refused(make):
    """Asking for more than there is a bug of the caller."""
    with pytest.raises(ValueError, match="lines 0 to 3 are not among the 2 that are known"):
        make([("a", b"1\n2\n")]).pieces(0, 3)


def test_same_file_twice(make):
    """An INPUT given twice is read twice."""
    inputs = make([("a", b"1\n2\n"), ("a", b"1\n2\n")])
    assert inputs.lines == 4
    assert read(inputs, inputs.pieces(1, 3)) == b"2\n1\n"


def test_any_bytes_pass(make):
    """NUL, CR, invalid UTF-8 and empty lines are bytes."""
    data = b"\0\r\n\xff\xfe\n\n\r\x0b\x0c\x1c\xe2\x80\xa8\n\x85last"
    inputs = make([("a", data)])
    assert inputs.lines == 5
    assert read(inputs, inputs.pieces(0, 5)) == data
    assert read(inputs, inputs.pieces(1, 4)) == data[3:-5]


def test_lines_longer_than_blocks(make):
    """A line that fills many blocks is found as any other."""
    long = b"x" * (3 * BLOCK_BYTES + 7) + b"\n"
    inputs = make([("a", b"short\n" + long + b"\n" + long + b"end")])
    assert inputs.lines == 5
    assert [each.length for line in range(5) for each in inputs.pieces(line, line + 1)] == [
        6, len(long), 1, len(long), 3,
    ]  # fmt: skip


def test_newlines_at_the_edges_of_blocks(make):
    """Lines that end just before, at and after a block's end are cut right."""
    lengths = [BLOCK_BYTES - 1, 0, BLOCK_BYTES - 2, BLOCK_BYTES]
    lines = [b"x" * length + b"\n" for length in lengths]
    inputs = make([("a", b"".join(lines))])
    assert [read(inputs, inputs.pieces(line, line + 1)) for line in range(4)] == lines


LINES = st.lists(st.sampled_from([b"\n", b"a", b"\r"])).map(b"".join)


@given(
    st.lists(st.binary(max_size=40) | LINES, max_size=6),
    st.lists(st.integers(0, 100), max_size=6),
)
def test_any_cut_gives_the_lines_once_and_in_order(tmp_path_factory, texts, cuts):
    """However lines are cut, all kinds of inputs give the same pieces, and the pieces all bytes."""
    named = [(f"f{number}", data) for number, data in enumerate(texts)]
    folder = tmp_path_factory.mktemp("inputs")
    kinds = [make(folder / make.__name__, named) for make in (in_memory, in_place, in_bundle)]
    lines = sum(len(io.BytesIO(data).readlines()) for data in texts)
    assert {each.lines for each in kinds} == {lines}
    assert kinds[0].breaks == list(kinds[1].breaks) == list(kinds[2].breaks)
    bounds = sorted({0, lines, *(cut for cut in cuts if cut < lines)})
    parts = list(pairwise(bounds))
    for start, end in parts:
        assert kinds[0].pieces(start, end) == kinds[1].pieces(start, end) == kinds[2].pieces(start, end)
    for inputs in kinds:
        whole = b"".join(read(inputs, inputs.pieces(start, end)) for start, end in parts)
        assert whole == b"".join(texts)


@given(st.binary(max_size=300) | st.lists(st.sampled_from([b"\n", b"a"]), max_size=300).map(b"".join))
def test_newlines_are_found_by_number(data):
    """Halving finds each newline, and none that is not there."""
    ends = [at + 1 for at, byte in enumerate(data) if byte == 10]
    assert [find_newline(data, number) for number in range(1, len(ends) + 1)] == ends
    assert find_newline(data, len(ends) + 1) is None


# Counting


def test_counting_publishes_whole_lines_as_it_goes(tmp_path):
    """While a file is counted, only lines that have ended are known; then the last one too."""
    half = b"y" * (BLOCK_BYTES - 10)
    texts = [("a", b"1\n2\n"), ("b", half + b"\n" + half + b"\n" + half)]
    inputs = FileInputs(list(files_in_place(write(tmp_path, texts))))
    story = []
    for block in count_blocks(inputs.files):
        inputs._take(block)
        story.append((inputs.lines, list(inputs.breaks), inputs.whole))
    assert story == [(2, [0], False), (3, [0, 2], False), (4, [0, 2], False), (5, [0, 2], True)]


def test_known_lines_can_be_cut_before_the_rest_is_counted(tmp_path):
    """Work starts on what is known, and what is known does not change."""
    data = b"".join(b"line %d\n" % number for number in range(100_000))
    inputs = FileInputs(list(files_in_place(write(tmp_path, [("a", data)]))))
    blocks = count_blocks(inputs.files)
    inputs._take(next(blocks))
    known = inputs.lines
    early = inputs.pieces(0, known)
    assert read(inputs, early) == b"".join(data.splitlines(keepends=True)[:known])
    for block in blocks:
        inputs._take(block)
    assert inputs.pieces(0, known) == early


def test_estimate_comes_from_bytes_and_ends_exact(tmp_path):
    """What is not counted yet is taken to be like what is."""
    data = b"123456789\n" * 200_000
    inputs = FileInputs(list(files_in_place(write(tmp_path, [("a", data)]))))
    assert inputs.estimate > 0
    blocks = count_blocks(inputs.files)
    inputs._take(next(blocks))
    assert inputs.estimate == pytest.approx(200_000, rel=0.01)
    for block in blocks:
        inputs._take(block)
    assert inputs.estimate == inputs.lines == 200_000


def test_batches_are_told_in_bulk():
    """None is larger than it should be, and nothing is lost."""
    blocks = [Block(0, BLOCK_BYTES, 1, None)] * 2000
    batches = list(batched(iter(blocks)))
    assert sum(map(len, batches)) == 2000
    assert max(map(len, batches)) <= BATCH_BYTES // BLOCK_BYTES


def test_batches_are_told_in_time(monkeypatch):
    """Where reading takes long, work begins with what there is."""
    times = (each * BATCH_SECONDS / 2 for each in range(1000))
    monkeypatch.setattr(counting.time, "monotonic", lambda: next(times))
    batches = list(batched(iter([Block(0, BLOCK_BYTES, 1, None)] * 100)))
    assert sum(map(len, batches)) == 100
    assert max(map(len, batches)) <= 3


def test_every_batch_is_told(tmp_path, monkeypatch):
    """The scheduler hears that there is more, the last time when all is known."""
    monkeypatch.setattr(counting, "BATCH_BYTES", 1 << 20)
    inputs = FileInputs(list(files_in_place(write(tmp_path, [("a", b"x\n" * (2 << 20))]))))
    told = []
    inputs.build(None, lambda: told.append((inputs.lines, inputs.whole)), here)
    assert len(told) > 1
    assert told[-1] == (2 << 20, True)


def test_counting_of_nothing_ends():
    """No file at all is whole from the beginning."""
    inputs = FileInputs([])
    assert inputs.whole
    inputs.build(None, lambda: None, here)
    assert inputs.lines == 0


def test_cancelled_counting_stops(tmp_path):
    """Nothing is told after a request was cancelled."""
    inputs = FileInputs(list(files_in_place(write(tmp_path, [("a", b"x\n")]))))
    told, failures, threads = [], [], []

    def later(work):
        threads.append(Deferred())
        return threads[-1]

    building = inputs.build(None, lambda: told.append(1), later)
    building.addErrback(failures.append)
    building.cancel()
    assert len(failures) == 1
    threads[0].callback([Block(0, 2, 1, 1)])
    assert len(threads) == 1
    assert (told, inputs.lines) == ([], 0)


def test_counting_cancelled_from_its_own_news_stops(tmp_path):
    """A request that fails when it hears of lines hears of no more."""
    inputs = FileInputs(list(files_in_place(write(tmp_path, [("a", b"x\n" * (2 << 20))]))))
    threads = []

    def later(work):
        threads.append((Deferred(), work))
        return threads[-1][0]

    building = inputs.build(None, lambda: building.cancel(), later)
    failures = []
    building.addErrback(failures.append)
    for done, work in threads:
        done.callback(work())
    assert len(threads) == len(failures) == 1


def test_file_that_changed_before_it_was_counted_fails_the_count(tmp_path):
    """Lines of another file than the submitted one are never given out."""
    found = write(tmp_path, [("a", b"1\n2\n")])
    (tmp_path / "a").write_bytes(b"1\n2\n3\n")
    with pytest.raises(NoSuchInput) as caught:
        counted(list(files_in_place(found)))
    assert str(caught.value) == "'a' changed while the request ran; submit the request again"


# Changes


def _touch(path):
    facts = path.stat()
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))


def _replace(path):
    facts = path.stat()
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    other.rename(path)


@pytest.mark.parametrize(
    "change",
    [_touch, _replace, lambda path: os.truncate(path, 3)],
    ids=["touched", "replaced", "truncated"],
)
def test_changed_file_is_refused(tmp_path, change):
    """Neither pieces nor bytes of a file that is not the submitted one."""
    inputs = in_place(tmp_path, [("a", b"1\n2\n"), ("b", b"3\n4\n")])
    piece = inputs.pieces(2, 3)[0]
    change(tmp_path / "b")
    assert len(inputs.pieces(0, 2)) == 1
    for ask in (lambda: inputs.pieces(1, 3), lambda: inputs.open(piece), lambda: inputs.found(piece)):
        with pytest.raises(NoSuchInput, match="'b' changed while the request ran"):
            ask()


def test_removed_file_is_refused(tmp_path):
    """A file that has gone is told by its name."""
    inputs = in_place(tmp_path, [("a", b"1\n2\n")])
    piece = inputs.pieces(0, 1)[0]
    (tmp_path / "a").unlink()
    for ask in (lambda: inputs.pieces(0, 1), lambda: inputs.found(piece)):
        with pytest.raises(NoSuchInput) as caught:
            ask()
        said = "'a' could be read at first and cannot be now: no such file or directory"
        assert str(caught.value) == said


def test_bundle_that_was_cut_is_refused(tmp_path):
    """The spool's own file is checked by its size."""
    inputs = in_bundle(tmp_path, [("a", b"1\n2\n")])
    os.truncate(tmp_path / ".bundle", 5)
    with pytest.raises(NoSuchInput, match="'a' was damaged on the server's disk"):
        inputs.pieces(0, 1)


def test_file_that_became_a_pipe_does_not_block(tmp_path):
    """Opening never waits for a writer."""
    inputs = in_place(tmp_path, [("a", b"1\n2\n")])
    piece = inputs.pieces(0, 1)[0]
    (tmp_path / "a").unlink()
    os.mkfifo(tmp_path / "a")
    assert stat.S_ISFIFO((tmp_path / "a").stat().st_mode)
    with pytest.raises(NoSuchInput, match="changed while"):
        inputs.open(piece)


def test_file_in_place_is_shown_as_it_is(tmp_path):
    """A worker that finds the same sees the very file; of what was uploaded there is no file to see."""
    texts = [("a", b""), ("b", b"1\n2\n"), ("c", b"3")]
    inputs = in_place(tmp_path, texts)
    seen = [inputs.found(each) for each in inputs.pieces(0, 3)]
    assert seen == [evolve(next(walk([tmp_path / name])), name=name) for name in "bc"]
    for make in (in_bundle, in_memory):
        inputs = make(tmp_path / "other", texts)
        assert [inputs.found(each) for each in inputs.pieces(0, 3)] == [None, None]


# Sources


def test_manifest_and_bundle_must_agree(tmp_path):
    """A manifest that names other sizes than were uploaded is refused."""
    found = write(tmp_path, [("a", b"1\n2\n")])
    with pytest.raises(BadMessage, match="A manifest names 4 bytes, and 5 were uploaded"):
        list(files_of_bundle(found, "bundle", 0, 5))


def test_many_small_files(tmp_path):
    """Two thousand files are counted and cut as one."""
    inputs = in_place(tmp_path, [(f"{number:04}", b"line %d\n" % number) for number in range(2000)])
    assert inputs.lines == 2000
    assert len(inputs.pieces(0, 2000)) == 2000
    assert read(inputs, inputs.pieces(1234, 1236)) == b"line 1234\nline 1235\n"


def test_lines_are_counted_once_there_are_descriptors_again(tmp_path, monkeypatch):
    """For want of them nothing is wrong with the files."""
    inputs = FileInputs(list(files_in_place(write(tmp_path, [("a", b"1\n2\n3\n")]))))
    lacking, system_open = [OSError(errno.EMFILE, "too many open files")] * 2, os.open

    def open_at_last(*arguments):
        if lacking:
            raise lacking.pop()
        return system_open(*arguments)

    monkeypatch.setattr(os, "open", open_at_last)
    assert sum(each.lines or 0 for each in count_blocks(inputs.files)) == 3
    assert lacking == []
