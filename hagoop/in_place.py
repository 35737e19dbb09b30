"""Input files that a worker sees itself: programs read them where they are, and nothing is fetched."""

import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from hagoop.errors import BadMessage, TransferFailed
from hagoop.feeding import Feed
from hagoop.found import open_regular, sees
from hagoop.incoming import SCAN_BYTES, Incoming, skip_lines
from hagoop.jobs import FileList, Found, Piece

InThread = Callable[..., Awaitable[Any]]  # What comes of a call is what the function called returns.


@frozen
class SharedFile:
    """A file that server and worker both see.

    :param unended: its last line has no newline.
    :param changed_ns: its ctime: a file that was away, or whose mtime was put back, has another.
    """

    found: Found
    unended: bool
    changed_ns: int
    in_thread: InThread

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self.found.path)

    def serves(self, feed: Feed) -> bool:
        """Whether these lines stand there as a program may expect them, each with its newline."""
        return not (self.unended and feed.end == self.found.size)

    async def await_bytes(self, size: int) -> None:
        """All of them are there."""

    async def find_line(self, start: int, limit: int, lines: int) -> int:
        """Where ``lines`` lines from ``start`` on have ended, at most ``limit``.

        :raises TransferFailed: the file has changed.
        """
        end: int = await self.in_thread(self._find_line, start, limit, lines)
        return end

    def _find_line(self, start: int, limit: int, lines: int) -> int:
        at = start
        try:
            with open_regular(self.path) as file:
                while lines and at < limit:
                    chunk = os.pread(file.fileno(), min(SCAN_BYTES, limit - at), at)
                    if not chunk:
                        raise self._changed()
                    size, lines = skip_lines(chunk, lines)
                    at += size
        except OSError as error:
            raise self._changed() from error
        return at

    async def check(self) -> None:
        """Whoever has read it, has read what it was submitted as.

        :raises TransferFailed: it has changed since; the server will find that too.
        """
        if not await self.in_thread(self._is_as_it_was):
            raise self._changed()

    def _is_as_it_was(self) -> bool:
        try:
            return sees([self.found]) and os.stat(self.path).st_ctime_ns == self.changed_ns
        except OSError:
            return False

    def _changed(self) -> TransferFailed:
        return TransferFailed(f"'{self.found.name}' changed while it was read")


async def find_shared(incoming: Incoming, in_thread: InThread) -> list[tuple[Piece, SharedFile]]:
    """The pieces of an assignment and their files, if this machine sees the very same files.

    Nothing, whatever the reason: the lines are to be fetched.

    :param incoming: what the server says of the files.
    """
    try:
        told = await incoming.header(FileList)
    except (TransferFailed, BadMessage):
        return []
    files: list[SharedFile] = await in_thread(_share, told.files, in_thread)
    return list(zip(told.pieces, files, strict=True)) if files else []


def _share(files: Sequence[Found], in_thread: InThread) -> list[SharedFile]:
    """All of them, or none.  Blocks."""
    try:
        return [_open_shared(each, in_thread) for each in files] if sees(files) else []
    except OSError:
        return []


def _open_shared(found: Found, in_thread: InThread) -> SharedFile:
    with open_regular(found.path) as file:
        unended = found.size > 0 and os.pread(file.fileno(), 1, found.size - 1) != b"\n"
        return SharedFile(found, unended, os.fstat(file.fileno()).st_ctime_ns, in_thread)
