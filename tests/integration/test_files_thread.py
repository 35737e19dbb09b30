"""Spool and inputs with the reactor's thread pool."""

import os

import pytest
from twisted.internet.defer import CancelledError

from hagoop import counting
from hagoop.arriving import SMALL_BYTES
from hagoop.errors import NoSuchInput
from hagoop.found import walk
from hagoop.inputs import FileInputs
from hagoop.journal import SqliteJournal
from hagoop.source_files import files_in_place
from hagoop.spool import FolderSpool


async def test_lines_are_counted_in_threads(tmp_path, monkeypatch):
    """Several batches arrive in order, told in between."""
    from twisted.internet import reactor

    monkeypatch.setattr(counting, "BATCH_BYTES", 1 << 20)
    for number in range(3):
        (tmp_path / f"{number}").write_bytes(b"0123456\n" * 500_000)
    inputs = FileInputs(list(files_in_place(walk([tmp_path]))))
    told = []
    await inputs.build(reactor, lambda: told.append(inputs.lines))
    assert inputs.lines == 1_500_000
    assert told == sorted(told)
    assert len(told) > 2


async def test_counting_tells_of_a_changed_file(tmp_path):
    """A file that is another by now fails the count."""
    from twisted.internet import reactor

    (tmp_path / "a").write_bytes(b"1\n")
    inputs = FileInputs(list(files_in_place(walk([tmp_path]))))
    os.truncate(tmp_path / "a", 0)
    with pytest.raises(NoSuchInput):
        await inputs.build(reactor, lambda: None)


async def test_counting_can_be_cancelled(tmp_path, monkeypatch):
    """A request that ends early does not wait for its index."""
    from twisted.internet import reactor

    monkeypatch.setattr(counting, "BATCH_BYTES", 1 << 20)
    (tmp_path / "a").write_bytes(b"0123456\n" * 2_000_000)
    inputs = FileInputs(list(files_in_place(walk([tmp_path]))))
    building = inputs.build(reactor, lambda: building.cancel())
    with pytest.raises(CancelledError):
        await building
    assert not inputs.whole


async def test_runs_are_kept_synced_and_forgotten(tmp_path):
    """Spool and journal together: kept, on disk, named, gone."""
    from twisted.internet import reactor

    spool = FolderSpool(tmp_path / "spool", reactor)
    journal = SqliteJournal(tmp_path / "journal", reactor)
    for data in (b"small", b"x" * (SMALL_BYTES + 1)):
        arriving = spool.receive(len(data))
        arriving.write(data)
        place, syncable = spool.keep("r1", arriving.finish())
        await journal.append("r1", "committed", {"path": place.path}, [syncable])
        with spool.open(place) as file:
            assert file.read() == data
    paths = [body["path"] for _, _, body in journal.replay()]
    assert all((tmp_path / "spool" / each).exists() for each in paths)
    await journal.forget("r1")
    await spool.forget("r1")
    await journal.close()
    assert [each for each in (tmp_path / "spool").rglob("*") if each.is_file()] == []
    assert spool.used_bytes == 0
