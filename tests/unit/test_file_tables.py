"""Very many input files: what is listed comes back, and costs little memory."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from twisted.internet.defer import Deferred, succeed

from hagoop import wire
from hagoop.block_index import BlockIndex, TextIndex
from hagoop.errors import NoSuchInput, SpoolFull, TransferFailed
from hagoop.file_tables import BLOCK_FILES, FEW, FileTable, Listed, Lister
from hagoop.inputs import FileInputs
from hagoop.jobs import RequestId
from hagoop.source_files import SourceFile
from hagoop.spool import FolderSpool

R1 = RequestId("r1")
LINE = b"a record of its own\n"
FILE_BYTES = 96
"""What a file of a request may cost a server while it runs, and while it is submitted."""


def here(work):
    """In place of a thread."""
    work()
    return succeed(None)


def result(coroutine):
    """What it gives, at once."""
    found = []
    Deferred.fromCoroutine(coroutine).addBoth(found.append)
    if hasattr(found[0], "raiseException"):
        found[0].raiseException()
    return found[0]


def spool_in(folder, quota=1 << 30):
    return FolderSpool(folder / "spool", None, quota, here)


def sources(path: Path, count: int) -> Iterator[SourceFile]:
    """Files of one upload, a line each."""
    for number in range(count):
        yield SourceFile(f"records/{number:08}.txt", str(path), number * len(LINE), len(LINE))


def listed(spool, files):
    """The table that is made of these."""
    fact, syncs = result(Lister(spool, here).list_files(R1, files))
    for each in syncs:
        each.sync()
    told = wire.from_plain(Listed, fact["table"])
    return FileTable(told, lambda: spool.open(told.place), spool.folder)


def test_few_files_are_a_part_of_the_fact(tmp_path):
    """Nothing is stored beside it."""
    files = [evolve(each, mtime_ns=1, inode=2) for each in sources(tmp_path, FEW)]
    fact, syncs = result(Lister(spool_in(tmp_path), here).list_files(R1, iter(files)))
    assert [SourceFile(*each) for each in fact["files"]] == files
    assert (list(fact), syncs) == (["files"], ())


@pytest.mark.parametrize("count", [FEW + 1, 4 * BLOCK_FILES, 20 * BLOCK_FILES + 1])
def test_many_files_come_back_equal(tmp_path, count):
    """In order and by number, whatever bytes are in their names."""
    files = [
        SourceFile(f"a\udcff\n{number}", f"/b/{number}", 0, number, number << 30, number)
        for number in range(count)
    ]
    table = listed(spool_in(tmp_path), iter(files))
    assert list(table) == files
    assert [table[number] for number in (count - 1, 0, BLOCK_FILES)] == [
        files[number] for number in (count - 1, 0, BLOCK_FILES)
    ]
    assert (len(table), table.listed.size) == (count, sum(range(count)))


def test_files_of_an_upload_are_where_the_spool_is(tmp_path):
    """A copy of it may be elsewhere."""
    table = listed(spool_in(tmp_path), sources(Path("/old/spool/requests/r1/run-0"), FEW + 1))
    assert table[FEW].path == str(tmp_path / "spool/requests/r1/run-0")


def test_list_that_was_damaged_is_refused(tmp_path):
    """One flipped bit, wherever it is, or a part that lacks: never another file."""
    spool = spool_in(tmp_path)
    table = listed(spool, sources(tmp_path, FEW + 1))
    path = spool.locate(table.listed.place)
    sound = path.read_bytes()
    for at in (0, 3, 5, 9, len(sound) // 2, len(sound) - 1):
        path.write_bytes(sound[:at] + bytes([sound[at] ^ 64]) + sound[at + 1 :])
        with pytest.raises(NoSuchInput, match=r"^the list of input files was damaged on the server"):
            list(evolve(table))
    path.write_bytes(sound[:-9])
    with pytest.raises(NoSuchInput, match="submit the request again"):
        list(evolve(table))


def test_file_that_is_refused_leaves_nothing(tmp_path):
    """However many were listed before it."""
    spool = spool_in(tmp_path)

    def spoilt():
        yield from sources(tmp_path, 5 * BLOCK_FILES)
        raise TransferFailed("there is no more")

    with pytest.raises(TransferFailed, match="there is no more"):
        result(Lister(spool, here).list_files(R1, spoilt()))
    assert spool.used_bytes == 0


def test_list_for_which_there_is_no_room_is_refused(tmp_path):
    """It counts like all else in the spool."""
    spool = spool_in(tmp_path, 1000)
    with pytest.raises(SpoolFull, match="cannot take"):
        result(Lister(spool, here).list_files(R1, sources(tmp_path, 5 * BLOCK_FILES)))
    assert spool.used_bytes == 0


# Memory


def test_file_costs_a_server_little_memory(tmp_path):
    """A million of them cost less than a hundred million bytes."""
    held, peaks = [], []
    for count in (4200, 8400):
        (folder := tmp_path / str(count) / "requests" / "r1").mkdir(parents=True)
        path = folder / "run-0"
        path.write_bytes(LINE * count)
        spool = FolderSpool(tmp_path / str(count), None, 1 << 30, here)
        tracemalloc.start()
        inputs = FileInputs(listed(spool, sources(path, count)))
        inputs.build(None, lambda: None, lambda work: succeed(work()))
        assert inputs.lines == count
        held.append(tracemalloc.get_traced_memory()[0])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        (piece,) = inputs.pieces(count - 1, count)
        with inputs.open(piece) as file:
            assert file.read() == LINE
    assert held[1] - held[0] < 4200 * FILE_BYTES
    assert peaks[1] - peaks[0] < 4200 * FILE_BYTES


# The indexes


def test_newlines_are_found_in_the_blocks_of_their_file():
    """Also when files without lines lie between."""
    index = BlockIndex()
    for file, blocks in enumerate([[2, 5], [], [1], [0, 0, 3]]):
        index.begin(file)
        for number, newlines in enumerate(blocks):
            index.begin(file)
            index.add(newlines, 10 * file + number)
    assert [index.find(0, line) for line in (1, 2, 3, 5)] == [(0, 0), (0, 0), (1, 2), (1, 2)]
    assert index.find(2, 1) == (0, 0)
    assert [index.find(3, line) for line in (1, 3)] == [(2, 0), (2, 0)]
    assert [index.sums(3)[number] for number in range(3)] == [30, 31, 32]


def test_texts_are_found_by_the_numbers_of_their_files():
    """The newest grows."""
    index = TextIndex()
    for file, base, size in [(1, 0, 5), (1, 0, 7), (4, 7, 0)]:
        index.put(file, base, size)
    assert [index.find(file) for file in range(6)] == [None, (0, 7), None, None, (7, 0), None]
