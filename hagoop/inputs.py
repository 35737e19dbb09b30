"""The ordered lines of a request's inputs: counted in a thread, cut where somebody asks.

An index keeps, per block of a file, how many newlines there are up to its end: 32 bytes per MiB.
A line is found by bisecting that and one block.
"""

import io
import os
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from attrs import astuple, define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from hagoop.arriving import window
from hagoop.disk import why
from hagoop.errors import BadMessage, NoSuchInput
from hagoop.found import look
from hagoop.interfaces import IInputs
from hagoop.jobs import Found, Piece

BLOCK_BYTES = 256 << 10
FIRST_BATCH_BYTES = 1 << 20
"""Told at once, so that work can begin; each batch after it may be twice as large."""
BATCH_BYTES = 64 << 20
BATCH_SECONDS = 0.05
GUESSED_LINE_BYTES = 64
"""Until a line has been seen."""
FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


Batch = list["Block"] | None
InThread = Callable[[Callable[[], Batch]], "Deferred[Batch]"]


@frozen
class SourceFile:
    """A file of the inputs: whole, or a part of a bundle.

    :param name: what the user calls it.
    :param base: byte of ``path`` at which it begins.
    :param mtime_ns: as it was submitted; None in a bundle, which is the spool's own. Likewise ``inode``.
    """

    name: str
    path: str
    base: int
    size: int
    mtime_ns: int | None = None
    inode: int | None = None


def files_in_place(found: Sequence[Found]) -> list[SourceFile]:
    """Files that the server reads where they are: seen ones, and those below an input root."""
    return [SourceFile(each.name, each.path, 0, each.size, each.mtime_ns, each.inode) for each in found]


def files_of_bundle(found: Sequence[Found], path: str, base: int, size: int) -> list[SourceFile]:
    """Files that were uploaded one after the other.

    :param path: the spool's file that holds them from byte ``base`` on.
    :raises BadMessage: their sizes do not add up to ``size``.
    """
    total = sum(each.size for each in found)
    if total != size:
        raise BadMessage(f"A manifest names {total} bytes, and {size} were uploaded")
    made = []
    for each in found:
        made.append(SourceFile(each.name, path, base, each.size))
        base += each.size
    return made


@frozen
class Block:
    """News of one block of a file.

    :param file: the file's index.
    :param newlines: all newlines of the file up to the block's end.
    :param lines: all lines of the file, if this is its last block.
    """

    file: int
    size: int
    newlines: int
    lines: int | None


def count_blocks(files: Sequence[SourceFile]) -> Iterator[Block]:
    """All blocks of all files in order.  Blocks.

    :raises NoSuchInput: a file is not what was submitted.
    """
    for number, file in enumerate(files):
        yield from _count_file(number, file)


def _count_file(number: int, file: SourceFile) -> Iterator[Block]:
    with _opened(file) as opened:
        if not file.size:
            yield Block(number, 0, 0, 0)
        buffer = bytearray(min(BLOCK_BYTES, file.size))
        newlines = 0
        for start in range(0, file.size, BLOCK_BYTES):
            view = memoryview(buffer)[: file.size - start]
            _fill(opened, view, file)
            newlines += buffer.count(b"\n", 0, len(view))
            last = start + len(view) == file.size
            lines = newlines + (view[-1] != ord("\n")) if last else None
            yield Block(number, len(view), newlines, lines)


def _fill(opened: io.FileIO, view: memoryview, file: SourceFile) -> None:
    at = 0
    while at < len(view):
        count = opened.readinto(view[at:])
        if not count:
            raise _changed(file)
        at += count


def batched(blocks: Iterator[Block]) -> Iterator[list[Block]]:
    """Blocks in batches that grow, none much longer in the making than it should."""
    batch: list[Block] = []
    held, most, until = 0, FIRST_BATCH_BYTES, time.monotonic() + BATCH_SECONDS
    for each in blocks:
        batch.append(each)
        held += each.size
        if held >= most or time.monotonic() >= until:
            yield batch
            batch = []
            held, most, until = 0, min(most * 2, BATCH_BYTES), time.monotonic() + BATCH_SECONDS
    yield batch


@implementer(IInputs)
@define(eq=False)
class FileInputs:
    """Inputs that are files; none of their lines is known before ``build``.

    :ivar lines: known so far.
    :ivar breaks: the first line of each file that has one.
    """

    files: Sequence[SourceFile]
    lines: int = field(default=0, init=False)
    breaks: list[int] = field(factory=list, init=False)
    _order: list[int] = field(factory=list, init=False)
    """Which file each of ``breaks`` belongs to."""
    _newlines: "dict[int, array[int]]" = field(factory=dict, init=False)
    """Per file the newlines up to each block's end."""
    _first: int = field(default=0, init=False)
    """Number of the first line of the file being counted."""
    _finished: int = field(default=0, init=False)
    _bytes: int = field(default=0, init=False)
    _total: int = field(init=False)
    _edge: tuple[int, int, int] = field(default=(-1, -1, -1), init=False)
    """File, line and byte of the last cut, where the next one mostly begins."""

    def __attrs_post_init__(self) -> None:
        self._total = sum(each.size for each in self.files)

    @classmethod
    def from_fact(cls, fact: dict[str, object]) -> "FileInputs":
        """What ``to_fact`` has made."""
        rows = fact["files"]
        if not isinstance(rows, list):
            raise TypeError(f"not a list of files: {rows!r}")
        return cls([SourceFile(*each) for each in rows])

    def to_fact(self) -> dict[str, object]:
        """All that must be stored, as plain JSON: the index is built anew."""
        return {"files": [list(astuple(each)) for each in self.files]}

    @property
    def whole(self) -> bool:
        return self._finished == len(self.files)

    @property
    def estimate(self) -> int:
        if self.whole:
            return self.lines
        left = self._total - self._bytes
        if not self.lines:
            return left // GUESSED_LINE_BYTES + 1
        return self.lines + left * self.lines // self._bytes

    def build(
        self, reactor: IReactorThreads, grown: Callable[[], None], in_thread: InThread | None = None
    ) -> "Deferred[None]":
        """Count all lines in a thread, a batch at a time so that other work gets its turn.

        Cancelling stops it after the batch in hand.

        :param grown: called in the reactor's thread after each batch.
        :returns: fails with ``NoSuchInput`` when a file has changed.
        """
        done: Deferred[None] = Deferred()
        counting = self._build(in_thread or _in_pool_of(reactor), grown, lambda: bool(done.called))
        Deferred.fromCoroutine(counting).chainDeferred(done)
        return done

    async def _build(
        self, in_thread: InThread, grown: Callable[[], None], stopped: Callable[[], bool]
    ) -> None:
        batches = batched(count_blocks(self.files))
        # A cancel may come out of ``grown`` itself, where a coroutine would not notice it.
        while not stopped():
            batch = await in_thread(lambda: next(batches, None))
            if batch is None or stopped():
                return
            for each in batch:
                self._take(each)
            grown()

    def _take(self, block: Block) -> None:
        lines = block.newlines if block.lines is None else block.lines
        if lines and (not self._order or self._order[-1] != block.file):
            self.breaks.append(self._first)
            self._order.append(block.file)
        if block.size:
            self._newlines.setdefault(block.file, array("Q")).append(block.newlines)
        self.lines = self._first + lines
        self._bytes += block.size
        if block.lines is not None:
            self._finished += 1
            self._first = self.lines

    def pieces(self, start: int, end: int) -> list[Piece]:
        if not 0 <= start <= end <= self.lines:
            raise ValueError(f"lines {start} to {end} are not among the {self.lines} that are known")
        found = []
        checked: set[tuple[str, int | None]] = set()
        at = bisect_right(self.breaks, start) - 1
        while start < end:
            file = self.files[self._order[at]]
            if (file.path, file.inode) not in checked:
                _check(file, _stat(file))
                checked.add((file.path, file.inode))
            stop = min(end, self._end(at))
            found.append(self._piece(at, start, stop))
            start, at = stop, at + 1
        return found

    def _end(self, at: int) -> int:
        """Number after the last known line of a file."""
        return self.breaks[at + 1] if at + 1 < len(self.breaks) else self.lines

    def _piece(self, at: int, start: int, stop: int) -> Piece:
        first = self.breaks[at]
        offset = self._offset(at, start - first)
        length = self._offset(at, stop - first) - offset
        return Piece(self.files[self._order[at]].name, start, stop, start - first, offset, length)

    def _offset(self, at: int, line: int) -> int:
        """Byte at which a line of a file begins; for the line after its last, the file's end."""
        number = self._order[at]
        if line == 0:
            return 0
        if number < self._finished and line == self._end(at) - self.breaks[at]:
            return self.files[number].size
        if self._edge[:2] != (number, line):
            newlines = self._newlines[number]
            block = bisect_left(newlines, line)
            before = newlines[block - 1] if block else 0
            self._edge = (number, line, _after_newline(self.files[number], block, line - before))
        return self._edge[2]

    def open(self, piece: Piece) -> BinaryIO:
        file = self._file(piece)
        return window(_opened(file), file.base + piece.offset, piece.length)

    def found(self, piece: Piece) -> Found | None:
        file = self._file(piece)
        if file.mtime_ns is None:
            return None
        try:
            found = look(file.name, file.path)
        except OSError as problem:
            raise _unreadable(file, problem) from problem
        if (found.size, found.mtime_ns, found.inode) != (file.size, file.mtime_ns, file.inode):
            raise _changed(file)
        return found

    def _file(self, piece: Piece) -> SourceFile:
        return self.files[self._order[bisect_right(self.breaks, piece.start) - 1]]


@implementer(IInputs)
class MemoryInputs:
    """Inputs in memory, all counted: name and bytes of each."""

    whole = True

    def __init__(self, files: Sequence[tuple[str, bytes]]) -> None:
        self._files: list[tuple[str, list[bytes]]] = []
        self.breaks: list[int] = []
        self.lines = 0
        for name, data in files:
            if data:
                self._files.append((name, io.BytesIO(data).readlines()))
                self.breaks.append(self.lines)
                self.lines += len(self._files[-1][1])
        self.estimate = self.lines

    def pieces(self, start: int, end: int) -> list[Piece]:
        if not 0 <= start <= end <= self.lines:
            raise ValueError(f"lines {start} to {end} are not among the {self.lines} that are known")
        found = []
        for first, (name, lines) in zip(self.breaks, self._files, strict=True):
            low, high = max(start - first, 0), min(end - first, len(lines))
            if low < high:
                offset, length = sum(map(len, lines[:low])), sum(map(len, lines[low:high]))
                found.append(Piece(name, first + low, first + high, low, offset, length))
        return found

    def open(self, piece: Piece) -> BinaryIO:
        lines = self._files[bisect_right(self.breaks, piece.start) - 1][1]
        return io.BytesIO(b"".join(lines[piece.file_line : piece.file_line + piece.end - piece.start]))

    def found(self, piece: Piece) -> None:
        """It is in no file."""


def _in_pool_of(reactor: IReactorThreads) -> InThread:
    return lambda work: deferToThreadPool(reactor, reactor.getThreadPool(), work)


def _opened(file: SourceFile) -> io.FileIO:
    """The file, at its base, if it is still the one that was submitted."""
    try:
        opened = io.FileIO(os.open(file.path, FLAGS), "rb")
    except OSError as problem:
        raise _unreadable(file, problem) from problem
    try:
        _check(file, os.fstat(opened.fileno()))
        opened.seek(file.base)
    except BaseException:
        opened.close()
        raise
    return opened


def _stat(file: SourceFile) -> os.stat_result:
    try:
        return os.stat(file.path)
    except OSError as problem:
        raise _unreadable(file, problem) from problem


def _check(file: SourceFile, facts: os.stat_result) -> None:
    if file.mtime_ns is None:
        same = facts.st_size >= file.base + file.size
    else:
        now = (facts.st_size, facts.st_mtime_ns, facts.st_ino)
        same = now == (file.size, file.mtime_ns, file.inode)
    if not same:
        raise _changed(file)


def _changed(file: SourceFile) -> NoSuchInput:
    return NoSuchInput(f"'{file.name}' changed while the request ran; submit the request again")


def _unreadable(file: SourceFile, problem: OSError) -> NoSuchInput:
    return NoSuchInput(f"'{file.name}' could be read at first and cannot be now: {why(problem)}")


def _after_newline(file: SourceFile, block: int, count: int) -> int:
    """Byte of the file after the block's newline of this number, from 1."""
    start = block * BLOCK_BYTES
    with _opened(file) as opened:
        data = os.pread(opened.fileno(), min(BLOCK_BYTES, file.size - start), file.base + start)
    found = find_newline(data, count)
    if found is None:
        raise _changed(file)
    return start + found


def find_newline(data: bytes, count: int) -> int | None:
    """The byte after the newline of this number, from 1, found by halving; None if there is none."""
    low, high = 0, len(data)
    while high - low > 1:
        middle = (low + high) // 2
        before = data.count(b"\n", low, middle)
        if count <= before:
            high = middle
        else:
            count -= before
            low = middle
    return high if count == 1 and data[low:high] == b"\n" else None
