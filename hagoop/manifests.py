"""The files of an INPUT as a client sends them: a list of them, then their bytes."""

import os
import stat
from collections.abc import Iterable, Iterator
from io import BytesIO
from tempfile import SpooledTemporaryFile, gettempdir
from typing import BinaryIO, cast

from attrs import define, field

from hagoop.disk import why
from hagoop.errors import NoSuchInput, TransferFailed
from hagoop.found import encode_line, read_manifest
from hagoop.jobs import Found

MEMORY_BYTES = 4 << 20
"""A longer list of files, or stdin, is not kept in memory."""
COPY_BYTES = 256 << 20
"""What is kept of a stdin that cannot be read again."""


@define
class Manifest:
    """The files of an INPUT, written down: there may be more of them than fit into memory.

    :ivar size: the bytes of all of them.
    """

    file: BinaryIO = field(factory=lambda: cast(BinaryIO, SpooledTemporaryFile(MEMORY_BYTES)))
    size: int = 0

    def write(self, found: Iterable[Found]) -> None:
        """Add files.  Blocks.

        :raises NoSuchInput: as for ``walk``; or there is no room for the list.
        """
        for each in found:
            try:
                self.file.write(encode_line(each))
            except OSError as problem:
                raise NoSuchInput(
                    f"the list of files cannot be written to {gettempdir()}: {why(problem)}; "
                    "free some space there, or set TMPDIR"
                ) from problem
            self.size += each.size

    def read(self) -> Iterator[Found]:
        """All of them again.  Blocks."""
        self.file.seek(0)
        return read_manifest(self.file)


class Lent(BytesIO):
    """A file as a body, whose end does not close it."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._lent = file

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes."""
        return self._lent.read(-1 if size is None else size)


class Stdin(BytesIO):
    """What comes by stdin, as a body that can be sent again.

    A file is read again from where it was.  Of a pipe a copy is kept, as long as it is not too large.

    :ivar is_kept: whether all that was read is still there.
    :ivar descriptor: where there may be nothing to read for long; None: there always is.
    """

    def __init__(self, file: BinaryIO, most_bytes: int = COPY_BYTES) -> None:
        super().__init__()
        self._stdin, self._most = file, most_bytes
        self._copy = cast(BinaryIO, SpooledTemporaryFile(MEMORY_BYTES))
        self._copied = 0
        self.descriptor = _descriptor_to_watch(file)
        self._start: int | None = None
        self._began = self._ended = False
        self.is_kept = True

    def again(self) -> "Lent | Stdin":
        """All of it, from its beginning."""
        if not self._began and self._stdin.seekable():
            self._start = self._stdin.tell()
        self._began = True
        if self._start is not None:
            self._stdin.seek(self._start)
        self._copy.seek(0)
        return Lent(self) if self.descriptor is None else self

    @property
    def waits(self) -> bool:
        """Whether what is read next must still come to the descriptor."""
        at_hand = self.is_kept and self._copy.tell() < self._copied
        return not self._ended and not at_hand

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes.  Blocks until there are some.

        :raises BlockingIOError: there are none, for others have the descriptor too.
        """
        count = -1 if size is None else size
        if self._start is not None:
            return self._stdin.read(count)
        data = self._copy.read(count)
        if not data and not self._ended:
            data = self._read_new(count)
            # Who has typed an end of file will not type another.
            self._ended = not data
            self._keep(data)
        return data

    def _read_new(self, count: int) -> bytes:
        """Of a pipe only what is there: its file would wait for all of it."""
        return self._stdin.read(count) if self.descriptor is None else os.read(self.descriptor, count)

    def _keep(self, data: bytes) -> None:
        if self.is_kept and self._copy.tell() + len(data) <= self._most:
            try:
                self._copied += self._copy.write(data)
            except OSError:
                # Without a copy there is no second time, and that is all.
                self.is_kept = False
            return
        self.is_kept = False
        self._copy.seek(0)
        self._copy.truncate()

    def close(self) -> None:
        """It will not be sent again."""
        self._copy.close()
        super().close()


def _descriptor_to_watch(file: BinaryIO) -> int | None:
    try:
        fd = file.fileno()
    except OSError:
        return None
    mode = os.fstat(fd).st_mode
    return fd if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd) else None


class FilesInARow(BytesIO):
    """Files one after the other, as one body."""

    def __init__(self, found: Iterator[Found]) -> None:
        super().__init__()
        self._found = found
        self._file: BinaryIO | None = None
        self._left = 0

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes, from one file at a time; empty at the end of the last.

        :raises TransferFailed: a file has become shorter since it was looked at.
        """
        while not self._left:
            self._close_file()
            found = next(self._found, None)
            if found is None:
                return b""
            self._open(found)
        assert self._file is not None
        data = self._file.read(min(self._left, size if size and size > 0 else 1 << 16))
        if not data:
            raise TransferFailed("an input became shorter while it was uploaded; submit it again")
        self._left -= len(data)
        return data

    def _open(self, found: Found) -> None:
        self._file, self._left = open(found.path, "rb"), found.size

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def close(self) -> None:
        """Close what is open."""
        self._close_file()
        super().close()

