"""Feeding a part of a file to a program, through a pipe as a shell would."""

import errno
import fcntl
import os
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorFDSet, IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

_PIECE_BYTES = 65536


@frozen
class Feed:
    """The bytes ``offset`` to ``end - 1`` of a file; a last line without newline gets one."""

    path: Path
    offset: int
    end: int


@implementer(IWriteDescriptor)
@define(eq=False)
class Feeder:
    """Writes a feed into a pipe whenever there is room.

    It writes by itself and not through the process transport, because only the writer knows
    how much the pipe took.  The read end stays open here: so what the program has not read
    can be counted, and a program that closes its input early is no event.

    :ivar read_end: the descriptor that becomes the program's stdin.
    """

    _reactor: IReactorFDSet
    _feed: Feed
    _failed: Callable[[OSError], None]
    _file: BinaryIO
    read_end: int
    _write_end: int
    _next: int = field(init=False)
    _piece: memoryview = field(init=False, factory=lambda: memoryview(b""))
    _last_byte: bytes = field(init=False, default=b"\n")
    _accepted: int = field(init=False)
    _closed_at: int | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._next = self._accepted = self._feed.offset

    @classmethod
    def of(cls, reactor: IReactorFDSet, feed: Feed, failed: Callable[[OSError], None]) -> "Feeder":
        """Open the file and make the pipe.

        :param failed: called when the file cannot be read to the end of the feed.
        """
        file = feed.path.open("rb", buffering=0)
        file.seek(feed.offset)
        read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        return cls(reactor, feed, failed, file, read_end, write_end)

    @property
    def taken(self) -> int:
        """The byte of the file up to which the program has read."""
        if self._closed_at is not None:
            return self._closed_at
        # The newline that was added is no byte of the file.
        return min(self._accepted - self._unread(), self._feed.end)

    def start(self) -> None:
        """Feed from now on."""
        self._reactor.addWriter(self)

    def close(self) -> None:
        """Feed no more; safe to call again."""
        if self._closed_at is not None:
            return
        self._closed_at = self.taken
        self._end_input()
        os.close(self.read_end)

    def fileno(self) -> int:
        return self._write_end

    def logPrefix(self) -> str:
        return "feed"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor found the pipe broken, or ends."""
        self._end_input()

    def doWrite(self) -> None:
        """The pipe has room."""
        try:
            self._piece = self._piece or self._read()
        except OSError as error:
            self._failed(error)
            return
        if not self._piece:
            self._end_input()
            return
        self._write()

    def _write(self) -> None:
        try:
            written = os.write(self._write_end, self._piece)
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._end_input()
            return
        self._piece = self._piece[written:]
        self._accepted += written

    def _read(self) -> memoryview:
        """The next piece; nothing after the last."""
        wanted = min(_PIECE_BYTES, self._feed.end - self._next)
        data = self._file.read(wanted) if wanted else b""
        if wanted and not data:
            raise OSError(errno.ENODATA, "the file has become shorter")
        if not data and self._last_byte != b"\n":
            data = b"\n"
        self._next += len(data) if wanted else 0
        self._last_byte = data[-1:] or b"\n"
        return memoryview(data)

    def _end_input(self) -> None:
        """The program reads the end of its input after what is in the pipe."""
        if self._write_end < 0:
            return
        self._reactor.removeWriter(self)
        os.close(self._write_end)
        self._write_end = -1
        self._file.close()

    def _unread(self) -> int:
        answer = fcntl.ioctl(self.read_end, termios.FIONREAD, b"\0\0\0\0")
        return int.from_bytes(answer, sys.byteorder)
