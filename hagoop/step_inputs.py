"""What one step has printed, as the input of the next: one file, made of parts in the spool."""

import hashlib
import io
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, BinaryIO

from attrs import define, field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from hagoop.answers import InThread
from hagoop.counting import Block, batched
from hagoop.errors import Damaged, NoSuchInput
from hagoop.inputs import GUESSED_LINE_BYTES, find_newline
from hagoop.interfaces import IInputs, ISpool
from hagoop.jobs import Piece, Place

BLOCK_BYTES = 1 << 20
"""What is read to find a line; the index keeps two numbers for each, and for each part."""


@implementer(IInputs)
@define(eq=False)
class StepInputs:
    """Parts in order, read as one file: a line may begin in one part and end in the next.

    :ivar name: what users and programs are told.
    :ivar digests: of the parts, if they are known.
    :ivar lines: known so far; none before ``count``.
    """

    name: str
    parts: Sequence[Place]
    spool: ISpool
    digests: Sequence[str] = ()
    lines: int = field(default=0, init=False)
    _blocks: list[Place] = field(init=False)
    """The parts, cut so that no block is large."""
    _ends: "array[int]" = field(init=False)
    """The byte of the whole after each block."""
    _newlines: "array[int]" = field(factory=lambda: array("Q"), init=False)
    """All newlines up to each block's end, as far as they are counted."""
    _sums: "array[int]" = field(factory=lambda: array("L"), init=False)
    """A checksum of each block: what is read later must be what was counted."""

    def __attrs_post_init__(self) -> None:
        self._blocks = [block for part in self.parts for block in _cut(part)]
        self._ends = array("Q", accumulate(each.size for each in self._blocks))

    @property
    def size(self) -> int:
        return self._ends[-1] if self._ends else 0

    @property
    def whole(self) -> bool:
        return len(self._newlines) == len(self._blocks)

    @property
    def estimate(self) -> int:
        if self.whole:
            return self.lines
        counted = self._ends[len(self._newlines) - 1] if self._newlines else 0
        if not self.lines:
            return (self.size - counted) // GUESSED_LINE_BYTES + 1
        return self.lines + (self.size - counted) * self.lines // counted

    @property
    def breaks(self) -> Sequence[int]:
        return [0] if self.lines else []

    def count(self, in_thread: InThread, grown: Callable[[], None]) -> "Deferred[None]":
        """Count all lines in a thread, a batch at a time; cancelling stops it after the batch in hand.

        :param grown: called in the reactor's thread after each batch.
        """
        done: Deferred[None] = Deferred()
        counting = self._count(in_thread, grown, lambda: bool(done.called))
        Deferred.fromCoroutine(counting).chainDeferred(done)
        return done

    async def _count(
        self, in_thread: InThread, grown: Callable[[], None], stopped: Callable[[], bool]
    ) -> None:
        batches = batched(self._count_blocks())
        found: list[list[Block] | None] = []
        while not stopped():
            await in_thread(lambda: found.append(next(batches, None)))
            batch = found.pop()
            if batch is None or stopped():
                return
            for each in batch:
                self._newlines.append(each.newlines)
                self.lines = each.newlines if each.lines is None else each.lines
            grown()

    def _count_blocks(self) -> Iterator[Block]:
        newlines = 0
        for number, (place, data) in enumerate(self._sound_blocks(), 1):
            newlines += data.count(b"\n")
            lines = newlines + (data[-1:] != b"\n") if number == len(self._blocks) else None
            yield Block(0, place.size, newlines, lines)

    def _sound_blocks(self) -> Iterator[tuple[Place, bytes]]:
        """All blocks; the last one of a part only if the part is what a worker has sent."""
        digests = dict(zip(self.parts, self.digests, strict=False))
        parts = (each for each in self.parts if each.size)
        part, found = next(parts, None), hashlib.sha256()
        for place in self._blocks:
            with self.spool.open(place) as file:
                data = file.read()
            found.update(data)
            self._sums.append(zlib.crc32(data))
            if part is not None and place.offset + place.size == part.offset + part.size:
                self._check(part, digests.get(part) in (None, found.hexdigest()))
                part, found = next(parts, None), hashlib.sha256()
            yield place, data

    def _read(self, number: int) -> bytes:
        """A block that was counted."""
        place = self._blocks[number]
        with self.spool.open(place) as file:
            data = file.read()
        self._check(place, zlib.crc32(data) == self._sums[number])
        return data

    def _check(self, place: Place, is_sound: bool) -> None:
        if not is_sound:
            raise Damaged(f"{place.path!r} of the spool, the {self.name}, is damaged")

    def pieces(self, start: int, end: int) -> list[Piece]:
        if not 0 <= start <= end <= self.lines:
            raise ValueError(f"lines {start} to {end} are not among the {self.lines} that are known")
        if start == end:
            return []
        offset = self._offset(start)
        return [Piece(self.name, start, end, start, offset, self._offset(end) - offset)]

    def _offset(self, line: int) -> int:
        """Byte at which a line begins; for the line after the last, the end."""
        if line == 0:
            return 0
        if self.whole and line == self.lines:
            return self.size
        number = bisect_left(self._newlines, line)
        block = self._blocks[number]
        before = self._newlines[number - 1] if number else 0
        found = find_newline(self._read(number), line - before)
        if found is None:
            raise NoSuchInput(f"the {self.name} is not as it was counted: see to the server's disk")
        return self._ends[number] - block.size + found

    def open(self, piece: Piece) -> BinaryIO:
        return io.BufferedReader(_Row(self._between(piece.offset, piece.offset + piece.length)))

    def found(self, piece: Piece) -> None:
        """It is in no file of the user's."""

    def close(self) -> None:
        """Nothing was made."""

    def _between(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes from ``start`` to before ``end``, in parts that are not empty."""
        number = bisect_right(self._ends, start)
        while start < end:
            block, stop = self._blocks[number], min(end, self._ends[number])
            first = self._ends[number] - block.size
            yield self._read(number)[start - first : stop - first]
            start, number = stop, number + 1


def _cut(part: Place) -> Iterator[Place]:
    for at in range(0, part.size, BLOCK_BYTES):
        yield Place(part.path, part.offset + at, min(BLOCK_BYTES, part.size - at))


class _Row(io.RawIOBase):
    """Bytes in parts, each made when it is its turn."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        super().__init__()
        self._parts = parts
        self._left = b""

    def readable(self) -> bool:
        return True

    # ``Any`` is a buffer, which has no name in Python 3.11.
    def readinto(self, buffer: Any) -> int:
        self._left = self._left or next(self._parts, b"")
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count
