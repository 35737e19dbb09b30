"""Bytes on their way into the spool, and windows on bytes that are there."""

import hashlib
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from attrs import define, field

from hagoop.disk import is_full, is_passing, why
from hagoop.errors import LimitExceeded, SpoolFull, StateError, TransferFailed

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

SMALL_BYTES = 1 << 20
"""Fewer than these stay in memory while they arrive."""
MEMORY_BYTES = 64 << 20
"""What may be in memory of all that has arrived and is neither kept nor dropped; more goes to files."""
Quota = int | Callable[[], int]
Unwritten = SpoolFull | StateError | TransferFailed
FULL = "The server's disk is full; free some space there, then try again"


class Window(io.RawIOBase):
    """A part of an open file that reads as a file of its own, and owns it."""

    def __init__(self, file: io.FileIO, offset: int, size: int) -> None:
        self._file = file
        self._offset = offset
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        with memoryview(buffer).cast("B") as room:
            count = max(0, min(len(room), self._size - self._at))
            self._file.seek(self._offset + self._at)
            count = self._file.readinto(room[:count]) or 0
        self._at += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"a window has no byte {start + offset}")
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        self._file.close()
        super().close()


def window(file: io.FileIO, offset: int, size: int) -> BinaryIO:
    """The bytes ``offset`` to ``offset + size`` of a file, buffered; closing it closes the file."""
    return io.BufferedReader(Window(file, offset, size))


@define(eq=False)
class Room:
    """How much the spool holds and may hold; any thread may ask.

    :ivar quota: the most bytes, from how many there are.
    """

    quota: Callable[[int], int]
    used: int = 0
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def take(self, size: int) -> None:
        """Count bytes in, or raise ``SpoolFull`` and count nothing."""
        if not self.takes(size):
            quota = self.quota(self.used)
            raise SpoolFull(
                f"The server's spool cannot take {size} bytes: {self.used} of {quota} are taken; "
                "wait until requests have ended, forget some or give it more (--spool)"
            )

    def takes(self, size: int) -> bool:
        """Count bytes in if there is room for them; whether there was."""
        with self._lock:
            fits = self.used + size <= self.quota(self.used)
            self.used += size if fits else 0
        return fits

    def give(self, size: int) -> None:
        """Count bytes out."""
        with self._lock:
            self.used = max(0, self.used - size)


@define(eq=False)
class ArrivedBytes:
    """Bytes that arrived and are in memory."""

    data: bytes
    size: int
    digest: str
    _room: Room
    _memory: Room
    kept: bool = False

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data)

    def keep(self) -> None:
        """They are elsewhere now."""
        self.kept = True
        self._memory.give(self.size)

    def discard(self) -> None:
        if not self.kept:
            self.keep()
            self._room.give(self.size)


@define(eq=False)
class ArrivedFile:
    """Bytes that arrived and are in a file that nobody names.

    The descriptor stays open until the file is synced: the system tells a write-back that failed to
    those who held the file open by then.

    :ivar unlink: removes a file without blocking.
    """

    size: int
    digest: str
    path: Path
    file: io.FileIO
    _room: Room
    _unlink: Callable[[Path], object]
    kept: bool = False

    def open(self) -> BinaryIO:
        return open(self.path, "rb")

    def discard(self) -> None:
        if not self.kept:
            self.kept = True
            self.file.close()
            self._room.give(self.size)
            self._unlink(self.path)


@define(eq=False)
class Arriving:
    """Hashes and counts bytes as they come; a lot of them go to a file.

    :ivar spill: opens that file; without it all stay in memory.
    :ivar memory: how much all of them together hold there.
    :ivar unwritten: what it means that it could not be written.
    """

    _limit: int
    _room: Room
    _unlink: Callable[[Path], object]
    _spill: Callable[[], io.FileIO] | None
    _memory: Room
    _unwritten: "Callable[[OSError], Unwritten]" = lambda problem: unwritten(problem)
    _size: int = 0
    _ended: bool = False
    _parts: list[bytes] = field(factory=list)
    _file: io.FileIO | None = None
    _digest: "hashlib._Hash" = field(factory=hashlib.sha256)

    def write(self, data: bytes) -> None:
        self._check_open()
        if self._size + len(data) > self._limit:
            raise LimitExceeded(f"At least {self._size + len(data)} bytes came where {self._limit} may")
        self._room.take(len(data))
        self._size += len(data)
        self._digest.update(data)
        try:
            self._store(bytes(data))
        except OSError as problem:
            self.abandon()
            raise self._unwritten(problem) from problem

    def finish(self) -> ArrivedBytes | ArrivedFile:
        self._check_open()
        self._ended = True
        digest = self._digest.hexdigest()
        if self._file is None:
            return ArrivedBytes(b"".join(self._parts), self._size, digest, self._room, self._memory)
        path = Path(os.fsdecode(self._file.name))
        return ArrivedFile(self._size, digest, path, self._file, self._room, self._unlink)

    def abandon(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._let_go()
        self._room.give(self._size)
        if self._file is not None:
            self._file.close()
            self._unlink(Path(os.fsdecode(self._file.name)))

    def _check_open(self) -> None:
        if self._ended:
            raise TransferFailed("These bytes have been given up or are complete; send them anew")

    def _store(self, data: bytes) -> None:
        if self._file is None and self._stays(data):
            return
        file = self._file or self._open()
        write_whole(file, data)

    def _stays(self, data: bytes) -> bool:
        """Keep it in memory, if it may stay there with what came before."""
        is_small = self._spill is None or self._size < SMALL_BYTES
        if not is_small or not self._memory.takes(len(data)):
            return False
        self._parts.append(data)
        return True

    def _open(self) -> io.FileIO:
        assert self._spill is not None
        file = self._file = self._spill()
        for each in self._parts:
            write_whole(file, each)
        self._let_go()
        return file

    def _let_go(self) -> None:
        self._memory.give(sum(map(len, self._parts)))
        self._parts.clear()


def write_whole(file: io.FileIO, data: bytes) -> None:
    """Write all of it, however often the system takes only a part."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def unwritten(problem: OSError) -> Unwritten:
    """What a failed write means: no room, which passes, or a disk that cannot be trusted."""
    if is_full(problem):
        return SpoolFull(FULL)
    if is_passing(problem):
        return TransferFailed(f"The spool cannot be written now ({why(problem)}); try again")
    return StateError(f"The spool could not be written ({why(problem)}); see to the disk, then restart")


def as_quota(quota: Quota) -> Callable[[int], int]:
    """A bound in the form that a room asks for."""
    return (lambda used: quota()) if callable(quota) else (lambda used: quota)
