"""The ordered lines of a request's inputs: counted in a thread, cut where somebody asks.

An index keeps, per block of a file, how many newlines there are up to its end: 48 bytes per MiB, and 32
per file.  A line is found by bisecting that and one block.
"""

import io
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import BinaryIO

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from hagoop.block_index import BlockIndex, Sums, TextIndex
from hagoop.bundles import Bundle
from hagoop.checked import BLOCK_BYTES, open_part, read_block
from hagoop.counting import Block, batched, count_blocks
from hagoop.file_tables import Files, FileTable
from hagoop.interfaces import IInputs
from hagoop.jobs import Found, Piece
from hagoop.source_files import SourceFile, changed, check, found_again, opened, stat_of
from hagoop.texts import TextFile

GUESSED_LINE_BYTES = 64
"""Until a line has been seen."""

Batch = list[Block] | None
InThread = Callable[[Callable[[], Batch]], "Deferred[Batch]"]


@implementer(IInputs)
@define(eq=False)
class FileInputs:
    """Inputs that are files; none of their lines is known before ``build``.

    :ivar bundles: those of the uploads among them.
    :ivar texts: takes the text of packed files; without it they are read as they are.
    :ivar lines: known so far.
    :ivar breaks: the first line of each file that has one.
    """

    files: Files
    texts: TextFile | None = None
    bundles: Sequence[Bundle] = ()
    lines: int = field(default=0, init=False)
    size: int = field(default=0, init=False)
    breaks: "array[int]" = field(factory=lambda: array("Q"), init=False)
    _order: "array[int]" = field(factory=lambda: array("I"), init=False)
    """Which file each of ``breaks`` belongs to."""
    _blocks: BlockIndex = field(factory=BlockIndex, init=False)
    _unpacked: TextIndex = field(factory=TextIndex, init=False)
    """Where the texts of packed files are."""
    _first: int = field(default=0, init=False)
    """Number of the first line of the file being counted."""
    _finished: int = field(default=0, init=False)
    _bytes: int = field(default=0, init=False)
    _total: int = field(init=False)
    _edge: tuple[int, int, int] = field(default=(-1, -1, -1), init=False)
    """File, line and byte of the last cut, where the next one mostly begins."""

    def __attrs_post_init__(self) -> None:
        if isinstance(self.files, FileTable):
            self._total = self.files.listed.size
        else:
            self._total = sum(each.size for each in self.files)

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
        batches = batched(count_blocks(self.files, self.texts, self.bundles))
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
        self._blocks.begin(block.file)
        if block.size:
            self._blocks.add(block.newlines, block.checksum)
        if block.unpacked is not None:
            self._unpacked.put(block.file, block.unpacked.base, block.unpacked.size)
        self.lines = self._first + lines
        self._bytes += block.taken
        self.size += block.size
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
                check(file, stat_of(file))
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
            return self._text(number).size
        # Several threads may be here at once.
        edge = self._edge
        if edge[:2] != (number, line):
            block, before = self._blocks.find(number, line)
            edge = (number, line, self._after_newline(number, block, line - before))
            self._edge = edge
        return edge[2]

    def _after_newline(self, number: int, block: int, count: int) -> int:
        """Byte of a file after the block's newline of this number, from 1."""
        file = self._text(number)
        with opened(file) as source:
            data = read_block(file, source, block, self._sums(number, file))
        found = find_newline(data, count)
        if found is None:
            raise changed(file)
        return block * BLOCK_BYTES + found

    def open(self, piece: Piece) -> BinaryIO:
        number = self._number(piece)
        file = self._text(number)
        return open_part(file, self._sums(number, file), piece.offset, piece.length)

    def found(self, piece: Piece) -> Found | None:
        return found_again(self._text(self._number(piece)))

    def _number(self, piece: Piece) -> int:
        """Of the file that holds a piece."""
        return self._order[bisect_right(self.breaks, piece.start) - 1]

    def _text(self, number: int) -> SourceFile:
        """Where the text of a file is."""
        file, place = self.files[number], self._unpacked.find(number)
        if place is None or self.texts is None:
            return file
        return SourceFile(file.name, str(self.texts.path), *place)

    def _sums(self, number: int, text: SourceFile) -> Sums | None:
        """The checksums of the blocks of what is the spool's own."""
        return self._blocks.sums(number) if text.mtime_ns is None else None

    def close(self) -> None:
        if self.texts is not None:
            self.texts.close()


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
        self.size = sum(len(data) for _, data in files)

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

    def close(self) -> None:
        """Nothing was made."""

    def open(self, piece: Piece) -> BinaryIO:
        lines = self._files[bisect_right(self.breaks, piece.start) - 1][1]
        return io.BytesIO(b"".join(lines[piece.file_line : piece.file_line + piece.end - piece.start]))

    def found(self, piece: Piece) -> None:
        """It is in no file."""


def _in_pool_of(reactor: IReactorThreads) -> InThread:
    return lambda work: deferToThreadPool(reactor, reactor.getThreadPool(), work)


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
