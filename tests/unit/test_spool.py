"""What the spool promises, for the folder and for memory alike."""

import errno
import hashlib
import io
import os
from pathlib import Path

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from hagoop.arriving import SMALL_BYTES, Room, as_quota, write_whole
from hagoop.errors import LimitExceeded, SpoolFull, StateError, TransferFailed
from hagoop.interfaces import ISpool
from hagoop.jobs import Place
from hagoop.spool import SEGMENT_BYTES, FolderSpool, MemorySpool

LARGE = bytes(range(256)) * (SMALL_BYTES // 256) + b"end"


@define
class Later:
    """Does blocking work on the clock's next turn, in place of a thread."""

    clock: Clock = field(factory=Clock)

    def __call__(self, work):
        done = Deferred()
        self.clock.callLater(0, lambda: done.callback(work()))
        return done


@pytest.fixture
def thread():
    """In place of a thread."""
    return Later()


@pytest.fixture(params=["memory", "folder"])
def spool(request, tmp_path, thread):
    """A memory and a folder spool in turn."""
    if request.param == "memory":
        return MemorySpool(thread.clock)
    return FolderSpool(tmp_path / "spool", None, in_thread=thread)


@pytest.fixture
def folder(tmp_path, thread):
    """A folder spool."""
    return FolderSpool(tmp_path / "spool", None, in_thread=thread)


def again(folder, thread):
    """The same folder after a restart."""
    return FolderSpool(folder.folder, None, in_thread=thread)


def arrive(spool, data, step=100_000):
    """Bytes that came in several parts."""
    arriving = spool.receive(len(data))
    for start in range(0, len(data), step):
        arriving.write(data[start : start + step])
    return arriving.finish()


def keep(spool, request, data):
    """Bytes kept and synced."""
    place, syncable = spool.keep(request, arrive(spool, data))
    syncable.sync()
    return place


def read(spool, place):
    """All bytes at a place."""
    with spool.open(place) as file:
        return file.read()


def files(spool):
    """All files of a folder spool, relative."""
    found = [each for each in spool.folder.rglob("*") if each.is_file()]
    return sorted(each.relative_to(spool.folder).as_posix() for each in found)


def test_provides_the_interface(spool):
    """Both have what ISpool names."""
    assert verifyObject(ISpool, spool)


@pytest.mark.parametrize("data", [b"", b"small", LARGE], ids=["empty", "small", "large"])
def test_kept_bytes_are_read_at_once_and_after_the_sync(spool, data):
    """A place can be read before the journal has synced it."""
    arrived = arrive(spool, data)
    assert (arrived.size, arrived.digest) == (len(data), hashlib.sha256(data).hexdigest())
    with arrived.open() as file:
        assert file.read() == data
    place, syncable = spool.keep("r1", arrived)
    assert read(spool, place) == data
    syncable.sync()
    syncable.sync()
    assert read(spool, place) == data


def test_memory_of_all_that_has_arrived_is_bounded(folder, monkeypatch):
    """Small things go to files too while many wait; what is kept or dropped makes room."""
    monkeypatch.setattr(folder, "_memory", Room(as_quota(1000)))
    first, second = arrive(folder, b"a" * 600), arrive(folder, b"b" * 600, step=300)
    assert files(folder) == ["arriving/0"]
    place, syncable = folder.keep("r1", second)
    syncable.sync()
    assert read(folder, place) == b"b" * 600
    third = arrive(folder, b"c" * 400)
    fourth = folder.receive(600)
    fourth.write(b"d" * 500)
    for each in (first, third):
        each.discard()
    fourth.abandon()
    assert folder._memory.used == 0
    assert folder.used_bytes == 600


def test_places_do_not_read_into_each_other(spool):
    """Each place is a window of its own, whatever lies beside it."""
    texts = [b"first", b"", b"second" * 1000, b"third"]
    places = [keep(spool, "r1", each) for each in texts]
    assert [read(spool, each) for each in places] == texts


def test_window_seeks_and_ends(spool):
    """A window counts from its own beginning and never passes its end."""
    keep(spool, "r1", b"before")
    place = keep(spool, "r1", b"0123456789")
    keep(spool, "r1", b"after")
    with spool.open(place) as file:
        assert file.seek(4) == 4
        assert file.read(3) == b"456"
        assert file.tell() == 7
        assert file.read(100) == b"789"
        assert file.read(1) == b""
        assert file.seek(-2, os.SEEK_END) == 8
        assert file.seek(-1, os.SEEK_CUR) == 7
        assert file.read() == b"789"
        assert file.seek(50) == 50
        assert file.read() == b""


def test_window_has_nothing_before_its_beginning(folder):
    """Seeking below 0 is refused."""
    with folder.open(keep(folder, "r1", b"0123")) as file, pytest.raises(ValueError, match="no byte -1"):
        file.seek(-1)


@given(
    st.binary(max_size=300),
    st.integers(0, 300),
    st.integers(0, 300),
    st.lists(st.tuples(st.integers(0, 320), st.integers(-1, 320))),
)
def test_window_is_like_a_file_of_its_own(tmp_path_factory, data, offset, size, reads):
    """Any seeks and reads give what they give on a copy of the part."""
    spool = FolderSpool(tmp_path_factory.mktemp("spool"), None, in_thread=Later())
    start = keep(spool, "r1", data).offset
    offset = min(offset, len(data))
    size = min(size, len(data) - offset)
    copy = io.BytesIO(data[offset : offset + size])
    with spool.open(Place("requests/r1/segment-0", start + offset, size)) as file:
        for at, count in reads:
            assert (file.seek(at), file.read(count)) == (copy.seek(at), copy.read(count))


def test_more_than_allowed_is_refused(spool):
    """The bound on one transfer holds to the byte."""
    arriving = spool.receive(10)
    arriving.write(b"0123456789")
    with pytest.raises(LimitExceeded) as caught:
        arriving.write(b"x")
    assert str(caught.value) == "At least 11 bytes came where 10 may"
    arriving.abandon()
    assert spool.used_bytes == 0


def test_full_spool_is_refused_and_opens_again(tmp_path, thread):
    """The quota counts what is kept and what arrives, and nothing that was given up."""
    for spool in (MemorySpool(thread.clock, 10), FolderSpool(tmp_path, None, lambda: 10, thread)):
        keep(spool, "r1", b"123456")
        arriving = spool.receive(100)
        arriving.write(b"1234")
        with pytest.raises(SpoolFull) as caught:
            arriving.write(b"5")
        assert str(caught.value) == (
            "The server's spool cannot take 1 bytes: 10 of 10 are taken; "
            "wait until requests have ended, forget some or give it more (--spool)"
        )
        arriving.abandon()
        spool.forget("r1")
        thread.clock.advance(0)
        assert spool.used_bytes == 0
        keep(spool, "r1", b"1234567890")


def test_quota_is_by_default_half_of_what_is_free(folder):
    """What is used already counts as free, so that the bound does not shrink."""
    disk = os.statvfs(folder.folder)
    half = disk.f_bavail * disk.f_frsize // 2
    assert folder._half_of_free(0) == pytest.approx(half, rel=0.1)


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
def test_what_is_given_up_leaves_nothing(spool, thread, data):
    """Neither half-arrived nor discarded bytes stay."""
    arriving = spool.receive(len(data))
    arriving.write(data)
    arriving.abandon()
    arriving.abandon()
    with pytest.raises(TransferFailed, match="send them anew"):
        arriving.write(b"more")
    with pytest.raises(TransferFailed, match="send them anew"):
        arriving.finish()
    arrived = arrive(spool, data)
    arrived.discard()
    arrived.discard()
    thread.clock.advance(0)
    assert spool.used_bytes == 0
    if isinstance(spool, FolderSpool):
        assert files(spool) == []


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
def test_what_is_kept_cannot_be_discarded_or_kept_again(spool, data):
    """Bytes have one owner."""
    arrived = arrive(spool, data)
    place, syncable = spool.keep("r1", arrived)
    syncable.sync()
    arrived.discard()
    assert read(spool, place) == data
    with pytest.raises(ValueError, match="kept already"):
        spool.keep("r2", arrived)


def test_dropped_large_runs_go_and_small_ones_do_not_hurt(folder, thread):
    """A run of its own is unlinked; a segment keeps the bytes of others."""
    small, other, large = (keep(folder, "r1", each) for each in (b"small", b"other", LARGE))
    folder.drop("r1", [small, large])
    thread.clock.advance(0)
    assert files(folder) == ["requests/r1/segment-0"]
    assert read(folder, other) == b"other"
    assert folder.used_bytes == len(b"smallother")
    with pytest.raises(TransferFailed, match="'requests/r1/run-1' of the spool cannot be read"):
        folder.open(large)


def test_forgotten_request_leaves_the_others(spool, thread):
    """Forgetting takes all of one request, later, and its name is free again."""
    gone, large = keep(spool, "r1", b"gone"), keep(spool, "r1", LARGE)
    stays = keep(spool, "r2", b"stays")
    fired = []
    spool.forget("r1").addCallback(fired.append)
    assert fired == []
    thread.clock.advance(0)
    assert fired == [None]
    for place in (gone, large):
        with pytest.raises(TransferFailed):
            spool.open(place)
    assert read(spool, stays) == b"stays"
    assert spool.used_bytes == len(b"stays")
    assert read(spool, keep(spool, "r1", b"anew")) == b"anew"


def test_request_that_keeps_nothing_can_be_forgotten(spool, thread):
    """Forgetting is always possible."""
    fired = []
    spool.forget("never").addCallback(fired.append)
    thread.clock.advance(0)
    assert fired == [None]


def test_forgetting_before_the_sync_does_not_fail_the_sync(folder, thread):
    """A request that ends while its facts wait for the journal breaks nothing."""
    syncables = [folder.keep("r1", arrive(folder, each))[1] for each in (b"small", LARGE)]
    folder.forget("r1")
    thread.clock.advance(0)
    for each in syncables:
        each.sync()


def test_sweep_removes_what_nothing_names(folder, thread):
    """After a crash only what the journal names is left."""
    segment, named, unnamed = (keep(folder, "live", each) for each in (b"small", LARGE, LARGE + b"2"))
    keep(folder, "dead", b"small")
    arrive(folder, LARGE).file.close()
    restarted = again(folder, thread)
    restarted.sweep(["live"], [segment, named])
    assert files(restarted) == ["requests/live/run-1", "requests/live/segment-0"]
    assert restarted.used_bytes == len(b"small") + len(LARGE)
    assert read(restarted, named) == LARGE
    with pytest.raises(TransferFailed):
        restarted.open(unnamed)


def test_sweep_of_memory_is_the_same(thread):
    """The simulator restarts too."""
    spool = MemorySpool(thread.clock)
    named, unnamed = keep(spool, "live", b"a"), keep(spool, "live", b"bb")
    dead = keep(spool, "dead", b"ccc")
    spool.sweep(["live"], [named])
    assert read(spool, named) == b"a"
    assert spool.used_bytes == 1
    for place in (unnamed, dead):
        with pytest.raises(TransferFailed):
            spool.open(place)


def test_restart_goes_on_at_the_end_of_the_segment(folder, thread):
    """Bytes of an earlier life are never overwritten, and no number is used twice."""
    first, large = keep(folder, "r1", b"first"), keep(folder, "r1", LARGE)
    restarted = again(folder, thread)
    second = keep(restarted, "r1", b"second")
    third = keep(restarted, "r1", LARGE + b"3")
    assert (second.path, second.offset) == (first.path, 5)
    assert third.path not in (large.path, first.path)
    assert [read(restarted, each) for each in (first, second)] == [b"first", b"second"]


def test_facts_of_one_segment_share_its_sync(folder):
    """So the journal syncs a segment once for a whole group."""
    syncables = {id(folder.keep("r1", arrive(folder, b"x"))[1]) for _ in range(5)}
    assert len(syncables) == 1


def test_large_segment_is_followed_by_a_new_one(folder):
    """A segment that has grown past its bound takes no more."""
    before = keep(folder, "r1", b"before")
    folder._shelves["r1"].segment.end = SEGMENT_BYTES
    after = keep(folder, "r1", b"after")
    assert before.path != after.path
    assert read(folder, after) == b"after"


def test_segment_that_could_not_be_synced_is_given_up(folder, monkeypatch):
    """After a failed sync all of the segment's facts fail, and new bytes go elsewhere."""
    place, syncable = folder.keep("r1", arrive(folder, b"lost"))

    def fail(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(OSError, match="Input/output error"):
            syncable.sync()
    with pytest.raises(OSError, match="Input/output error"):
        syncable.sync()
    assert keep(folder, "r1", b"found").path != place.path


def test_file_that_could_not_be_synced_stays_failed(folder, monkeypatch):
    """A second sync does not call lost bytes safe."""
    _, syncable = folder.keep("r1", arrive(folder, LARGE))

    def fail(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="Input/output error"):
            syncable.sync()
    with pytest.raises(OSError, match="Input/output error"):
        syncable.sync()


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x", "requests/../../x", "", "a\0b", "requests/none/run-0"]
)
def test_place_outside_the_spool_is_refused(spool, path):
    """A path from anywhere else opens nothing."""
    with pytest.raises(TransferFailed):
        spool.open(Place(path, 0, 0))


def test_link_in_the_spool_is_not_followed(folder):
    """A link that somebody laid there opens nothing."""
    place = keep(folder, "r1", LARGE)
    path = folder.locate(place)
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(TransferFailed, match="cannot be read"):
        folder.open(place)


def test_file_that_ends_too_early_is_refused(folder):
    """A truncated file is told, not read short."""
    place = keep(folder, "r1", b"0123456789")
    os.truncate(folder.locate(place), 4)
    with pytest.raises(TransferFailed, match="'requests/r1/segment-0' of the spool ends at 4"):
        folder.open(place)


def test_request_that_cannot_name_a_folder_is_refused(folder):
    """An id with a slash or dots makes no path."""
    for request in ("../up", "a/b", "", ".", ".."):
        with pytest.raises(ValueError, match="cannot name a folder"):
            folder.keep(request, arrive(folder, b"x"))


class FullDisk(io.FileIO):
    """A file on a disk that has no room."""

    def __init__(self):
        super().__init__("/dev/full", "wb")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_told_while_writing(folder, monkeypatch):
    """ENOSPC ends one transfer with a sentence and gives its room back."""
    monkeypatch.setattr(folder, "_new_file", FullDisk)
    monkeypatch.setattr(folder, "_unlink", lambda path: None)
    arriving = folder.receive(len(LARGE))
    with pytest.raises(SpoolFull, match="The server's disk is full; free some space there"):
        arriving.write(LARGE)
    assert folder.used_bytes == 0


def test_broken_disk_is_told_while_keeping(folder, monkeypatch):
    """Any other error of a write means that the disk cannot be trusted."""

    def fail(descriptor, data, offset):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pwrite", fail)
    with pytest.raises(StateError, match=r"could not be written \(input/output error\)"):
        folder.keep("r1", arrive(folder, b"x"))


@pytest.mark.parametrize(
    ("number", "error", "told"), [(errno.EIO, StateError, 1), (errno.ENOSPC, SpoolFull, 0)]
)
def test_broken_disk_is_told_while_a_text_is_written(tmp_path, monkeypatch, number, error, told):
    """In the thread in which the server stops; a full disk is no broken one."""

    class Reactor:
        calls = ()

        def callFromThread(self, call):
            self.calls += (call,)

    def fail(file, data):
        raise OSError(number, "it cannot be written")

    monkeypatch.setattr("hagoop.texts.write_whole", fail)
    reactor, broken = Reactor(), []
    spool = FolderSpool(tmp_path, reactor, 1 << 20, Later(), lambda: broken.append(1))
    texts = spool.new_texts()
    with pytest.raises(error):
        texts.append("packed.gz", b"text")
    texts.close()
    assert (len(reactor.calls), broken) == (told, [])
    for each in reactor.calls:
        each()
    assert len(broken) == told


def test_segment_survives_a_write_that_found_no_room(folder, monkeypatch):
    """What a failed write has left is written over."""
    first = keep(folder, "r1", b"first")
    real = os.pwrite

    def half(descriptor, data, offset):
        if offset > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data[:2], offset)

    arrived = arrive(folder, b"second")
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", half)
        with pytest.raises(SpoolFull):
            folder.keep("r1", arrived)
    place, syncable = folder.keep("r1", arrived)
    syncable.sync()
    assert (read(folder, first), read(folder, place)) == (b"first", b"second")


def test_short_writes_lose_nothing():
    """A system that takes two bytes at a time gets all of them."""

    class Short(io.BytesIO):
        def write(self, data):
            return super().write(bytes(data[:2]))

    file = Short()
    write_whole(file, b"0123456")
    assert file.getvalue() == b"0123456"


# Programs


@pytest.mark.parametrize("data", [b"#!/bin/sh\n", LARGE], ids=["small", "large"])
def test_program_is_kept_once(spool, data):
    """The same program twice takes the room of one."""
    digest = hashlib.sha256(data).hexdigest()
    assert not spool.has_blob(digest)
    for _ in range(2):
        spool.keep_blob(arrive(spool, data)).sync()
    assert spool.has_blob(digest)
    assert spool.blob_size(digest) == len(data)
    assert spool.used_bytes == len(data)
    with spool.open_blob(digest) as file:
        assert file.read() == data


@pytest.mark.parametrize("digest", ["0" * 64, "../arriving/0", "", "A" * 64])
def test_program_that_is_not_there(spool, digest):
    """Asking for one is harmless, opening it is told; a path is no digest."""
    assert not spool.has_blob(digest)
    with pytest.raises(TransferFailed):
        spool.open_blob(digest)


@pytest.mark.parametrize("how", ["sweep", "drop"])
def test_programs_of_live_requests_stay(spool, how):
    """A program that no request needs is removed, at start and when one is forgotten."""
    for data in (b"live", b"dead"):
        spool.keep_blob(arrive(spool, data)).sync()
    live, dead = (hashlib.sha256(each).hexdigest() for each in (b"live", b"dead"))
    if how == "sweep":
        spool.sweep([], [], blobs=[live])
    else:
        spool.drop_blobs([live])
    assert spool.has_blob(live)
    assert not spool.has_blob(dead)
    assert spool.used_bytes == 4
