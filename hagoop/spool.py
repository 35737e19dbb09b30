"""Bytes of requests in a folder; for those in memory see ``memory_spool``.

The folder holds:

    arriving/              files on their way in, or on their way out, and texts of packed inputs
    requests/RID/segment-N what is small, one after the other
    requests/RID/run-N     what is large, a file each
    blobs/SHA256           programs, once however often they are used

Names below it are places: rows of the journal hold them.
"""

import io
import itertools
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from zope.interface import implementer

from hagoop.arriving import (
    MEMORY_BYTES,
    ArrivedBytes,
    ArrivedFile,
    Arriving,
    Quota,
    Room,
    Unwritten,
    as_quota,
    unwritten,
    window,
    write_whole,
)
from hagoop.disk import is_passing, sync_folder, why
from hagoop.errors import Damaged, StateError, TransferFailed
from hagoop.interfaces import Arrived, ISpool, Syncable
from hagoop.jobs import Place, RequestId
from hagoop.memory_spool import MemorySpool
from hagoop.stored import SEGMENT_BYTES, Segment, StoredFile
from hagoop.texts import TextFile

log = Logger()

InThread = Callable[[Callable[[], None]], "Deferred[None]"]

NUMBERED = re.compile(r"(run|segment)-([0-9]+)")


@define
class Shelf:
    """What one request keeps.

    :ivar number: of the next file; a number is never used twice while a row may name it.
    """

    folder: Path
    size: int
    number: int
    segment: Segment | None


@implementer(ISpool)
class FolderSpool:
    """A spool in a folder, which is this process's alone.

    :param quota_bytes: the most it may hold; by default half of what the disk has free for it.
    :param in_thread: does blocking work; by default in the reactor's thread pool.
    :param on_broken: told when the disk fails otherwise than by being full.
    """

    def __init__(
        self,
        folder: Path,
        reactor: IReactorThreads,
        quota_bytes: Quota | None = None,
        in_thread: InThread | None = None,
        on_broken: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder = folder
        self._reactor = reactor
        self._on_broken = on_broken
        self._in_thread = in_thread or _in_pool_of(reactor)
        for each in ("arriving", "requests", "blobs"):
            (folder / each).mkdir(parents=True, exist_ok=True)
        self._room = Room(as_quota(quota_bytes) if quota_bytes is not None else self._half_of_free)
        self._room.used = _bytes_below(folder)
        self._memory = Room(as_quota(MEMORY_BYTES))
        for named in (folder, folder.parent):
            sync_folder(named)
        self._numbers = itertools.count()
        self._shelves: dict[RequestId, Shelf] = {}
        self._given: dict[str, int] = {}

    @property
    def used_bytes(self) -> int:
        """How much is kept or arriving, roughly."""
        return self._room.used

    @property
    def most_bytes(self) -> int:
        """How much may be kept."""
        return self._room.quota(self._room.used)

    def _half_of_free(self, used: int) -> int:
        disk = os.statvfs(self.folder)
        return (disk.f_bavail * disk.f_frsize + used) // 2

    # Arriving

    def receive(self, limit: int) -> Arriving:
        return Arriving(
            limit, self._room, self._unlink, self._new_file, self._memory, self._unwritten
        )

    def _unwritten(self, problem: OSError) -> Unwritten:
        told = unwritten(problem)
        if isinstance(told, StateError):
            self._on_broken()
        return told

    def unsynced(self, problem: OSError) -> StateError:
        """What it means that a sync has failed: also for want of room its bytes are lost."""
        self._on_broken()
        return StateError(
            f"The spool could not be synced ({why(problem)}); see to the disk, then restart"
        )

    def new_texts(self) -> TextFile:
        """Room for the text of packed inputs; the next start removes what is left of it."""

        def failed(problem: OSError) -> Unwritten:
            told = unwritten(problem)
            if isinstance(told, StateError):
                # It is written in a thread.
                self._reactor.callFromThread(self._on_broken)
            return told

        return TextFile(self._new_path(), self._room, self._unlink, failed)

    def _new_path(self) -> Path:
        return self.folder / "arriving" / str(next(self._numbers))

    def _new_file(self) -> io.FileIO:
        return io.FileIO(self._new_path(), "xb+")

    # Kept

    def keep(self, request: RequestId, arrived: Arrived) -> tuple[Place, Syncable]:
        shelf = self._shelf(request)
        try:
            place, syncable = self._put(shelf, request, arrived)
        except OSError as problem:
            raise self._unwritten(problem) from problem
        shelf.size += arrived.size
        return place, syncable

    def _put(self, shelf: Shelf, request: RequestId, arrived: Arrived) -> tuple[Place, Syncable]:
        _check_unkept(arrived)
        if isinstance(arrived, ArrivedBytes):
            segment = self._segment(shelf, request)
            place = Place(segment.path, segment.append(arrived.data), arrived.size)
            arrived.keep()
            return place, segment
        path = shelf.folder / f"run-{shelf.number}"
        shelf.number += 1
        return Place(f"requests/{request}/{path.name}", 0, arrived.size), self._settle(arrived, path)

    def _settle(self, arrived: Arrived, path: Path) -> StoredFile:
        """Give a file its name, and what has no file one."""
        if isinstance(arrived, ArrivedBytes):
            with open(self._new_path(), "xb", buffering=0) as made:
                write_whole(made, arrived.data)
            os.rename(made.name, path)
            arrived.keep()
            return StoredFile(io.FileIO(path, "rb"), _folders(path))
        if not isinstance(arrived, ArrivedFile):
            raise TypeError(f"{arrived!r} is another spool's")
        os.rename(arrived.path, path)
        arrived.kept, arrived.path = True, path
        return StoredFile(arrived.file, _folders(path))

    def _segment(self, shelf: Shelf, request: RequestId) -> Segment:
        now = shelf.segment
        if now is not None and now.problem is None and now.end < SEGMENT_BYTES:
            return now
        path = shelf.folder / f"segment-{shelf.number}"
        shelf.number += 1
        shelf.segment = Segment(f"requests/{request}/{path.name}", path, _folders(path))
        return shelf.segment

    def _shelf(self, request: RequestId) -> Shelf:
        if request not in self._shelves:
            folder = self._request_folder(request)
            folder.mkdir(exist_ok=True)
            self._shelves[request] = _found_shelf(folder, request, self._given.get(request, -1))
        return self._shelves[request]

    def _request_folder(self, request: str) -> Path:
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", request):
            raise ValueError(f"{request!r} cannot name a folder")
        return self.folder / "requests" / request

    def locate(self, place: Place) -> Path:
        path = PurePosixPath(place.path)
        if path.is_absolute() or ".." in path.parts or "\0" in place.path or not path.parts:
            raise TransferFailed(f"{place.path!r} is no place in the spool")
        return self.folder / path

    def open(self, place: Place) -> BinaryIO:
        return _open_window(self.locate(place), place)

    # Gone

    def size_of(self, request: RequestId) -> int:
        if not self._request_folder(request).exists():
            return 0
        return self._shelf(request).size

    def drop(self, request: RequestId, places: Sequence[Place]) -> None:
        folder = self._request_folder(request)
        for each in places:
            path = self.locate(each)
            if path.parent == folder and path.name.startswith("run-"):
                self._room.give(each.size)
                self._shelf(request).size -= each.size
                self._unlink(path)

    def forget(self, request: RequestId) -> "Deferred[None]":
        if not self._request_folder(request).exists():
            return self._in_thread(lambda: None)
        shelf = self._shelf(request)
        del self._shelves[request]
        if shelf.segment is not None:
            shelf.segment.close()
        self._room.give(shelf.size)
        gone = self._new_path()
        # At once, so that the request's name is free; what is in arriving/ is swept at the next start.
        os.rename(shelf.folder, gone)
        return self._in_thread(lambda: shutil.rmtree(gone))

    def _unlink(self, path: Path) -> None:
        done = self._in_thread(lambda: path.unlink(missing_ok=True))
        done.addErrback(lambda failure: log.failure("{path} stays behind", failure, path=str(path)))

    def sweep(
        self,
        requests: Iterable[RequestId],
        places: Iterable[Place],
        *,
        blobs: Iterable[str] = (),
        names: Iterable[str] = (),
    ) -> None:
        self._given = _last_numbers(names)
        kept, named, wanted = set(requests), {each.path for each in places}, set(blobs)
        for path in (self.folder / "arriving").iterdir():
            _remove(path)
        for path in (self.folder / "blobs").iterdir():
            if path.name not in wanted:
                _remove(path)
        for folder in (self.folder / "requests").iterdir():
            if folder.name not in kept:
                _remove(folder)
        for path in (self.folder / "requests").glob("*/run-*"):
            if path.relative_to(self.folder).as_posix() not in named:
                _remove(path)
        self._room.used = _bytes_below(self.folder)

    # Programs

    def keep_blob(self, arrived: Arrived) -> Syncable:
        path = self._blob(arrived.digest)
        _check_unkept(arrived)
        if path.exists():
            arrived.discard()
            return self.hold_blob(arrived.digest)
        try:
            return self._settle(arrived, path)
        except OSError as problem:
            raise self._unwritten(problem) from problem

    def hold_blob(self, digest: str) -> Syncable:
        return StoredFile(self._open_blob(digest), _folders(self._blob(digest)))

    def lose_blob(self, digest: str) -> None:
        self._lose(self._blob(digest))

    def _lose(self, path: Path) -> None:
        """Any thread may have been faster."""
        with suppress(FileNotFoundError):
            size = path.stat().st_size
            path.unlink()
            self._room.give(size)

    def drop_blobs(self, wanted: Iterable[str]) -> None:
        kept = set(wanted)
        for path in (self.folder / "blobs").iterdir():
            if path.name not in kept:
                self._lose(path)

    def has_blob(self, digest: str) -> bool:
        return _is_digest(digest) and self._blob(digest).exists()

    def blob_size(self, digest: str) -> int:
        with self.open_blob(digest) as file:
            return file.seek(0, os.SEEK_END)

    def open_blob(self, digest: str) -> BinaryIO:
        return io.BufferedReader(self._open_blob(digest))

    def _open_blob(self, digest: str) -> io.FileIO:
        try:
            return io.FileIO(self._blob(digest), "rb")
        except OSError as problem:
            kind = TransferFailed if is_passing(problem) else Damaged
            raise kind(f"No program with digest {digest} is here ({why(problem)})") from problem

    def _blob(self, digest: str) -> Path:
        if not _is_digest(digest):
            raise TransferFailed(f"{digest!r} is no SHA-256 in hex")
        return self.folder / "blobs" / digest


def _in_pool_of(reactor: IReactorThreads) -> InThread:
    return lambda work: deferToThreadPool(reactor, reactor.getThreadPool(), work)


def _last_numbers(names: Iterable[str]) -> dict[str, int]:
    """The last number of each shelf that paths name."""
    last: dict[str, int] = {}
    for _, shelf, name in (each.split("/") for each in names):
        found = NUMBERED.fullmatch(name)
        if found is not None:
            last[shelf] = max(last.get(shelf, -1), int(found[2]))
    return last


def _found_shelf(folder: Path, request: RequestId, given: int) -> Shelf:
    """What an earlier life has left; its newest segment goes on.

    :param given: the last number that is known to have been given, though it may be gone.
    """
    found = {int(each[2]): each[0] for each in map(NUMBERED.fullmatch, os.listdir(folder)) if each}
    shelf = Shelf(folder, _bytes_below(folder), 1 + max([given, *found]), None)
    segments = [number for number, name in found.items() if name.startswith("segment-")]
    if segments:
        path = folder / found[max(segments)]
        end = path.stat().st_size
        shelf.segment = Segment(f"requests/{request}/{path.name}", path, _folders(path), end)
    return shelf


def _folders(path: Path) -> tuple[Path, Path]:
    """The folders that must be synced for a new file's name to stay."""
    return path.parent, path.parent.parent


def _open_window(path: Path, place: Place) -> BinaryIO:
    try:
        file = io.FileIO(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
    except OSError as problem:
        kind = TransferFailed if is_passing(problem) else Damaged
        raise kind(f"{place.path!r} of the spool cannot be read ({why(problem)})") from problem
    size = os.fstat(file.fileno()).st_size
    if size < place.offset + place.size:
        file.close()
        raise Damaged(f"{place.path!r} of the spool ends at {size}, before {place}")
    return window(file, place.offset, place.size)


def _check_unkept(arrived: Arrived) -> None:
    if not isinstance(arrived, ArrivedBytes | ArrivedFile) or arrived.kept:
        raise ValueError(f"{arrived!r} is kept already, given up or another spool's")


def _bytes_below(folder: Path) -> int:
    return sum(each.lstat().st_size for each in folder.rglob("*") if each.is_file())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _is_digest(text: str) -> bool:
    return re.fullmatch("[0-9a-f]{64}", text) is not None


__all__ = ["FolderSpool", "MemorySpool"]
