"""An assignment's bytes at the worker: one line of JSON, then a body that is used while it comes."""

import os
from io import BufferedRandom, FileIO
from pathlib import Path

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from hagoop import wire
from hagoop.errors import BadMessage, TransferFailed, WorkerFull
from hagoop.jobs import Piece
from hagoop.slices import SliceDecoder
from hagoop.verdicts import in_units

SCAN_BYTES = 256 << 10
MOST_HEADER = 64 << 20


@frozen
class PieceList:
    """The first line of a map assignment."""

    pieces: tuple[Piece, ...]


@frozen
class SliceList:
    """The first line of a merge or reduce assignment."""

    bounds: tuple[str | None, ...]
    slices: int

    @property
    def keys(self) -> list[bytes | None]:
        """The bounds as bytes; the last may be open."""
        return [None if each is None else each.encode("latin-1") for each in self.bounds]


class NoBody:
    """What follows a first line that is all."""

    def write(self, data: bytes) -> None:
        """There is nothing to take."""
        raise BadMessage("more came than the one line that was asked for")

    def end(self, failure: Failure | None) -> None:
        """As it should."""


@define(eq=False)
class Incoming:
    """Takes what is fetched: the header, and then what ``body`` makes of the rest.

    A failure is kept, for the work may have ended, and then nobody waits for it.
    """

    body: "LineFile | SliceFiles | NoBody"
    _head: bytearray = field(factory=bytearray)
    _header: bytes | None = None
    _failure: Failure | None = None
    _waiting: "Deferred[None]" = field(factory=Deferred)

    def write(self, data: bytes) -> None:
        """A part has come."""
        if self._header is not None:
            self.body.write(data)
            return
        self._head += data
        end = self._head.find(b"\n")
        if end < 0:
            if len(self._head) > MOST_HEADER:
                raise BadMessage("an assignment's first line has no end")
            return
        self._header, rest = bytes(self._head[:end]), bytes(self._head[end + 1 :])
        self._head.clear()
        if rest:
            self.body.write(rest)
        self._waiting.callback(None)

    def end(self, failure: Failure | None = None) -> None:
        """All has come, or no more will."""
        if not self._waiting.called:
            self._failure = failure
            self._waiting.callback(None)
        self.body.end(failure)

    async def header(self, cls: type[wire.T]) -> wire.T:
        """The first line, once it is there.

        :raises TransferFailed: it will not come.
        """
        await self._waiting
        if self._failure is not None:
            self._failure.raiseException()
        if self._header is None:
            raise TransferFailed("an assignment came without its first line")
        return wire.decode(cls, self._header)


@define(eq=False)
class LineFile:
    """Lines as they come, in a file; one may wait for them.

    :ivar limit: how many bytes may come, 0: any number; what does not fit is not taken.
    """

    path: Path
    limit: int = 0
    size: int = 0
    _ended: bool = False
    _failure: Failure | None = None
    _wanted: int = 0
    _waiting: "Deferred[None] | None" = None
    _file: FileIO = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._file = FileIO(self.path, "w+")

    def write(self, data: bytes) -> None:
        """More lines.

        :raises WorkerFull: there is no more room for them.
        """
        left = memoryview(data)[: self.limit - self.size if self.limit else None]
        taken = len(left)
        while left:
            # A disk that fills up takes a part of it before it refuses.
            left = left[self._file.write(left) :]
        self.size += taken
        if self._waiting is not None and self.size >= self._wanted:
            self._wake()
        if taken < len(data):
            raise _full(self.limit)

    def end(self, failure: Failure | None) -> None:
        """No more will come."""
        self._ended, self._failure = True, failure
        self._wake()

    def close(self) -> None:
        """The file is not needed any more."""
        self._file.close()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def reaches(self, size: int) -> "Deferred[None]":
        """Fires when ``size`` bytes have come, or no more will."""
        if self.size >= size or self._ended:
            return succeed(None)
        self._wanted, self._waiting = size, Deferred()
        return self._waiting

    async def await_bytes(self, size: int) -> None:
        """Wait for ``size`` bytes.

        :raises TransferFailed: they will not come.
        """
        while self.size < size:
            await self.reaches(size)
            if self.size < size and self._ended:
                if self._failure is not None and self._failure.check(WorkerFull):
                    self._failure.raiseException()
                raise TransferFailed("the lines of an assignment did not come whole")

    async def find_line(self, start: int, limit: int, lines: int) -> int:
        """Where ``lines`` lines from ``start`` on have ended, at most ``limit``, waiting for them."""
        at = start
        while lines and at < limit:
            await self.await_bytes(min(limit, at + SCAN_BYTES if lines > 1 else at + 1))
            chunk = os.pread(self._file.fileno(), min(SCAN_BYTES, min(limit, self.size) - at), at)
            size, lines = skip_lines(chunk, lines)
            at += size
        return at


def _full(limit: int) -> WorkerFull:
    given = in_units(limit)
    return WorkerFull(f"its lines need more than the {given} of disk that this worker gives")


def skip_lines(chunk: bytes, lines: int) -> tuple[int, int]:
    """How many bytes of a chunk so many lines take, and how many of them do not end in it."""
    found = chunk.count(b"\n")
    if found < lines:
        return len(chunk), lines - found
    return nth_newline(chunk, lines) + 1, 0


def nth_newline(chunk: bytes, number: int) -> int:
    """The index of the ``number``-th newline, from 1; there must be so many."""
    low, high = 0, len(chunk)
    # Counting is many times faster than finding one after the other.
    while number > 16 and high - low > 64:
        middle = (low + high) // 2
        before = chunk.count(b"\n", low, middle)
        if before >= number:
            high = middle
        else:
            low, number = middle, number - before
    at = low - 1
    for _ in range(number):
        at = chunk.index(b"\n", at + 1)
    return at


@define(eq=False)
class SliceFiles:
    """Slices as they come, each unpacked into a file of its own."""

    folder: Path
    limit: int = 0
    paths: list[Path] = field(factory=list)
    size: int = 0
    _decoder: SliceDecoder = field(factory=SliceDecoder)
    _file: BufferedRandom | None = None
    _failure: Failure | None = None
    _done: "Deferred[None]" = field(factory=Deferred)

    def write(self, data: bytes) -> None:
        """More frames."""
        for number, lines in self._decoder.feed(data):
            while len(self.paths) <= number:
                self._open_next()
            if self.limit and self.size + len(lines) > self.limit:
                raise _full(self.limit)
            if self._file is not None:
                self._file.write(lines)
            self.size += len(lines)

    def _open_next(self) -> None:
        self.close()
        self.paths.append(self.folder / f"slice-{len(self.paths)}")
        self._file = open(self.paths[-1], "w+b")

    def close(self) -> None:
        """No file stays open."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def end(self, failure: Failure | None) -> None:
        """No more will come."""
        self.close()
        # Kept, not sent on: perhaps nobody waits any more.
        self._failure = failure
        self._done.callback(None)

    async def all(self, slices: int) -> list[Path]:
        """The files of all slices that hold lines, in order, once all have come.

        :raises TransferFailed: they have not come whole.
        """
        await self._done
        if self._failure is not None:
            self._failure.raiseException()
        if not self._decoder.clean or self._decoder.ended != slices:
            raise TransferFailed("the slices of an assignment did not come whole")
        return [each for each in self.paths if _has_lines(each)]


def _has_lines(path: Path) -> bool:
    return path.stat().st_size > 0

