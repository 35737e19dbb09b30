"""Files that are looked at while they are read: nothing is given of what has changed meanwhile."""

import io
import os
import zlib
from typing import TYPE_CHECKING, BinaryIO

from hagoop.arriving import Window
from hagoop.block_index import Sums
from hagoop.source_files import SourceFile, check, damaged, opened, reading

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK_BYTES = 256 << 10
"""Of so many bytes of an input the newlines are counted, and a checksum is kept."""


class _Watched(Window):
    """A part of a user's file: what was read while it was as it was submitted."""

    def __init__(self, source: SourceFile, file: io.FileIO, offset: int, size: int) -> None:
        super().__init__(file, source.base + offset, size)
        self._source, self._descriptor = source, file.fileno()

    def readinto(self, buffer: "WriteableBuffer") -> int:
        with reading(self._source):
            count = super().readinto(buffer)
            check(self._source, os.fstat(self._descriptor))
        return count


class _Summed(io.RawIOBase):
    """A part of a file of the spool: blocks are read whole, and given if they are as when counted."""

    def __init__(self, source: SourceFile, sums: Sums, offset: int, size: int) -> None:
        super().__init__()
        self._source, self._sums, self._file = source, sums, opened(source)
        self._at, self._end = offset, offset + size
        self._start = offset
        self._number, self._block = -1, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: self._start, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        self._at = max(self._start, origin + offset)
        return self.tell()

    def tell(self) -> int:
        return self._at - self._start

    def readinto(self, buffer: "WriteableBuffer") -> int:
        number, skip = divmod(self._at, BLOCK_BYTES)
        with memoryview(buffer).cast("B") as room:
            count = max(0, min(len(room), self._end - self._at, BLOCK_BYTES - skip))
            if not count:
                return 0
            if number != self._number:
                self._block = read_block(self._source, self._file, number, self._sums)
                self._number = number
            room[:count] = self._block[skip : skip + count]
        self._at += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def read_block(
    source: SourceFile, file: io.FileIO, number: int, sums: Sums | None = None
) -> bytes:
    """One block of a file, as it was when it was submitted or counted.

    :param sums: of its blocks, if it is one of the spool.
    :raises NoSuchInput: it has changed since, or cannot be read any more.
    :raises TransferFailed: it cannot be read for a moment.
    """
    start = number * BLOCK_BYTES
    with reading(source):
        data = os.pread(file.fileno(), min(BLOCK_BYTES, source.size - start), source.base + start)
        if sums is None:
            check(source, os.fstat(file.fileno()))
    if sums is not None and zlib.crc32(data) != sums[number]:
        raise damaged(source)
    return data


def open_part(source: SourceFile, sums: Sums | None, offset: int, size: int) -> BinaryIO:
    """A part of a file, which begins at 0.  What is read of it is as it was.

    :param sums: as for ``read_block``.
    :raises NoSuchInput: it has changed; reading raises it too.
    """
    if sums is not None:
        return io.BufferedReader(_Summed(source, sums, offset, size))
    return io.BufferedReader(_Watched(source, opened(source), offset, size))

