"""Feeding a part of a file to a program, through a pipe as a shell would."""

import errno
import fcntl
import os
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path

from attrs import define, field, frozen
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from hagoop.found import open_regular

BATCH_SECONDS = 0.1
"""How long a program should take for what it is fed at once; up to twice as much is out of reach."""
FIRST_BATCH_BYTES = 4096
MOST_REST_SECONDS = 0.01
"""How long a full pipe is left alone at most: a program may have become faster."""
LEAST_REST_SECONDS = 0.001
_PIECE_BYTES = 1 << 17
_LEAST_SECONDS = 1e-6
_SET_PIPE_SIZE = getattr(fcntl, "F_SETPIPE_SZ", None)


@frozen
class Feed:
    """The bytes ``offset`` to ``end - 1`` of a file; a last line without newline gets one.

    :param pace: bytes a second that the program should take, 0: nobody knows, of a feed that may have to
        end sooner; None: it will not, and takes as much at once as a pipe holds.
    """

    path: Path
    offset: int
    end: int
    pace: float | None = None

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.end - self.offset


@define
class Batches:
    """How much a program is fed at once, so that little is out of reach when the feed must end.

    It follows the program: which line is heavy nobody knows before.

    :ivar size: bytes; the rest of a line comes along.
    """

    size: int
    _fed: int = 0
    _at: float = 0.0
    _count: int = 0

    @classmethod
    def of(cls, pace: float) -> "Batches":
        """For a program of this pace, in bytes a second; 0: not known.

        A faster one is soon known again; one that was taken for fast may have come to heavy lines.
        """
        return cls(_bounded(min(pace * BATCH_SECONDS or FIRST_BATCH_BYTES, FIRST_BATCH_BYTES)))

    def fed(self, size: int, now: float) -> None:
        """So much went into the pipe, which had room since the program took what was fed before."""
        # Before its first byte a program starts up.
        if self._count > 1:
            wanted = self._fed * BATCH_SECONDS / max(now - self._at, _LEAST_SECONDS)
            self.size = _bounded(min(max(wanted, self.size / 2), self.size * 2))
        self._fed, self._at = size, now
        self._count += 1


def _bounded(size: float) -> int:
    return max(1, min(int(size), _PIECE_BYTES))


@frozen
class Pipe:
    """Both ends of a pipe; writing does not block."""

    read_end: int
    write_end: int

    @classmethod
    def new(cls) -> "Pipe":
        """Make one."""
        read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        return cls(read_end, write_end)

    def close(self) -> None:
        """Both ends."""
        os.close(self.read_end)
        os.close(self.write_end)


@implementer(IWriteDescriptor)
@define(eq=False)
class Feeder:
    """Writes a feed into a pipe whenever there is room.

    It writes by itself and not through the process transport, because only the writer knows
    how much the pipe took.  The read end stays open here: so what the program has not read
    can be counted, and a program that closes its input early is no event.

    A pipe of one page has room again only when all of it was read.  So small batches follow one
    another as the program takes them, and larger ones make the pipe larger.

    :ivar read_end: the descriptor that becomes the program's stdin.
    """

    _reactor: IReactorFDSet
    _clock: IReactorTime
    _feed: Feed
    _failed: Callable[[OSError], None]
    _file: FileIO
    read_end: int
    _write_end: int
    _end: int = field(init=False)
    _piece: memoryview = field(init=False, factory=lambda: memoryview(b""))
    _last_byte: int = field(init=False, default=ord("\n"))
    _accepted: int = field(init=False)
    _closed_at: int | None = field(init=False, default=None)
    _batches: Batches | None = field(init=False, default=None)
    _pipe_bytes: int = field(init=False, default=0)
    _full: tuple[float, int] | None = field(init=False, default=None)
    _resting: IDelayedCall | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._accepted, self._end = self._feed.offset, self._feed.end
        if self._feed.pace is not None:
            self._batches = Batches.of(self._feed.pace)
        self._fit_pipe(self._batches.size if self._batches else _PIECE_BYTES)

    @classmethod
    def of(
        cls,
        reactor: IReactorFDSet,
        clock: IReactorTime,
        feed: Feed,
        failed: Callable[[OSError], None],
        pipe: Pipe | None = None,
    ) -> "Feeder":
        """Open the file, and make the pipe if there is none.

        :param failed: called when the file cannot be read to the end of the feed.
        :param pipe: is the feeder's from now on, unless the file cannot be opened.
        """
        # A user's own file may have become a pipe, which would not open.
        file = open_regular(feed.path)
        file.seek(feed.offset)
        pipe = pipe or Pipe.new()
        return cls(reactor, clock, feed, failed, file, pipe.read_end, pipe.write_end)

    @property
    def taken(self) -> int:
        """The byte of the file up to which the program has read.

        Less than where the feed begins while not even what was in the pipe before has been read.
        """
        if self._closed_at is not None:
            return self._closed_at
        # The newline that was added is no byte of the file.
        return min(self._accepted - self._unread(), self._end)

    @property
    def end(self) -> int:
        """The byte of the file at which the feed ends."""
        return self._end

    @property
    def accepted(self) -> int:
        """The byte of the file before which the feed cannot end; ``end`` when it is over."""
        return self._end if self._write_end < 0 else min(self._accepted, self._end)

    def start(self) -> None:
        """Feed from now on."""
        self._reactor.addWriter(self)

    def hold(self) -> None:
        """Feed no more for a while."""
        if self._write_end >= 0:
            self._stop_writing()

    def resume(self) -> None:
        """Go on after ``hold``."""
        if self._write_end >= 0:
            self._reactor.addWriter(self)

    def shorten(self, end: int) -> None:
        """End the feed at a byte of the file, not before what is ``accepted``, nor behind its end."""
        if not self.accepted <= end <= self._end:
            raise ValueError(f"a feed at {self.accepted} of {self._end} cannot end at {end}")
        self._end = end
        self._piece = self._piece[: max(0, end - self._accepted)]
        self._end_if_all_is_fed()

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
        if self._piece:
            self._write()
        self._end_if_all_is_fed()

    def _write(self) -> None:
        batch = self._next_batch()
        try:
            written = os.write(self._write_end, batch)
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._end_input()
            return
        self._last_byte = batch[written - 1]
        self._piece = self._piece[written:]
        self._accepted += written
        if self._batches is not None:
            self._batches.fed(written, self._clock.seconds())
        if written < len(batch):
            self._rest()

    def _rest(self) -> None:
        """The pipe is full: go on when the program should have taken half of what a large one holds.

        Else the system would wake us for each page of it that is free, a thousand times a second.
        """
        now, before = self._clock.seconds(), self._full
        self._full = now, self._accepted
        if before is None or self._pipe_bytes < _PIECE_BYTES:
            return
        each = (now - before[0]) / max(1, self._accepted - before[1])
        seconds = min(each * self._pipe_bytes / 2, MOST_REST_SECONDS)
        if seconds >= LEAST_REST_SECONDS:
            self._stop_writing()
            self._resting = self._clock.callLater(seconds, self._go_on)

    def _go_on(self) -> None:
        self._resting = None
        self._reactor.addWriter(self)

    def _stop_writing(self) -> None:
        if self._resting is None:
            self._reactor.removeWriter(self)
        else:
            self._resting.cancel()
            self._resting = None

    def _next_batch(self) -> memoryview:
        """What goes into the pipe at once: whole lines, if the piece has their end."""
        if self._batches is None:
            return self._piece
        size = self._batches.size
        if size > self._pipe_bytes:
            self._fit_pipe(size)
        if size >= len(self._piece):
            return self._piece
        rest = bytes(self._piece[size - 1 :]).find(b"\n")
        return self._piece[: size + rest] if rest >= 0 else self._piece

    def _fit_pipe(self, size: int) -> None:
        """Give the pipe room for so much and little more; where it cannot be, it stays as it is."""
        if _SET_PIPE_SIZE is not None:
            with suppress(OSError):
                self._pipe_bytes = fcntl.fcntl(self._write_end, _SET_PIPE_SIZE, size)

    def _read(self) -> memoryview:
        """The next piece; nothing after the last."""
        wanted = min(_PIECE_BYTES, self._end - self._accepted)
        if wanted <= 0:
            return memoryview(b"" if self._last_byte == ord("\n") else b"\n")
        data = self._file.read(wanted)
        if not data:
            raise OSError(errno.ENODATA, "the file has become shorter")
        return memoryview(data)

    def _end_if_all_is_fed(self) -> None:
        if self._accepted >= self._end and self._last_byte == ord("\n"):
            self._end_input()

    def _end_input(self) -> None:
        """The program reads the end of its input after what is in the pipe."""
        if self._write_end < 0:
            return
        self._stop_writing()
        os.close(self._write_end)
        self._write_end = -1
        self._file.close()

    def _unread(self) -> int:
        answer = fcntl.ioctl(self.read_end, termios.FIONREAD, b"\0\0\0\0")
        return int.from_bytes(answer, sys.byteorder)
