"""The answer of one request: parts in order, readable as far as they are on disk without a gap."""

import hashlib
from collections.abc import Callable, Iterable
from typing import BinaryIO

from attrs import define, field
from twisted.internet.defer import Deferred

from hagoop.interfaces import ISpool
from hagoop.jobs import Output, Place
from hagoop.ranges import Range
from hagoop.sound import check_sound

PARTS_AT_ONCE, BYTES_AT_ONCE = 500, 1 << 24
"""What a thread reads before others have their turn."""
CHUNK_BYTES = 1 << 20
InThread = Callable[..., "Deferred[None]"]
"""Calls a function with its arguments in a thread."""


@define(eq=False)
class Answer:
    """Grows by parts that arrive in any order; ``closed`` when no more will come.

    :ivar parts: the places of all parts from the first position on, without a gap.
    :ivar digests: of each of them.
    :ivar size: their bytes.
    """

    spool: ISpool
    in_thread: InThread
    parts: list[Place] = field(factory=list)
    digests: list[str] = field(factory=list)
    size: int = 0
    closed: bool = False
    failed: bool = False
    _front: int = 0
    _waiting: dict[int, Output] = field(factory=dict)
    _readers: list["Deferred[None]"] = field(factory=list)
    _digest: "hashlib._Hash" = field(factory=hashlib.sha256)
    _digested: int = 0

    def add(self, output: Output) -> None:
        """A part is on disk."""
        self._waiting[output.start] = output
        while self._front in self._waiting:
            part = self._waiting.pop(self._front)
            self._front = part.end
            if part.place is not None:
                self.parts.append(part.place)
                self.digests.append(part.digest)
                self.size += part.place.size
        self._wake()

    def leave_out(self, ranges: Iterable[Range]) -> None:
        """Of these positions there will be no parts."""
        for each in ranges:
            self.add(Output(each.start, each.end, "", None))

    def close(self, *, failed: bool) -> None:
        """The request has ended: readers come to the end, or are cut off."""
        self.closed, self.failed = True, failed
        self._wake()

    def changed(self) -> "Deferred[None]":
        """Fires when there is more, or no more to come."""
        waiting: Deferred[None] = Deferred(self._forget_reader)
        self._readers.append(waiting)
        return waiting

    def find(self, offset: int) -> tuple[int, int]:
        """The part that holds byte ``offset`` of the answer, and the byte within it."""
        for number, part in enumerate(self.parts):
            if offset < part.size:
                return number, offset
            offset -= part.size
        return len(self.parts), offset

    async def digest(self) -> str:
        """SHA-256 of all parts known now, in hex; each byte is read once, however often one asks.

        :raises Damaged: a part is not what a worker has sent any more.
        """
        while self._digested < len(self.parts):
            await self.in_thread(self._digest_some)
        return self._digest.hexdigest()

    def _digest_some(self) -> None:
        """Many small parts, or a large one."""
        taken = 0
        for number in range(self._digested, min(len(self.parts), self._digested + PARTS_AT_ONCE)):
            # What fails for a moment is read again from its beginning.
            digest = self._digest.copy()
            with self.spool.open(self.parts[number]) as file:
                check_sound(file, self.parts[number], self.digests[number], digest.update)
            self._digest, self._digested = digest, number + 1
            taken += self.parts[number].size
            if taken >= BYTES_AT_ONCE:
                return

    def check_part(self, number: int, file: BinaryIO) -> None:
        """Read a part through, and see that it is as it was.  Blocks.

        :raises Damaged: it is not.
        """
        check_sound(file, self.parts[number], self.digests[number])

    def _forget_reader(self, reader: "Deferred[None]") -> None:
        self._readers.remove(reader)

    def _wake(self) -> None:
        readers, self._readers = self._readers, []
        for each in readers:
            each.callback(None)


def copy_chunks(file: BinaryIO, write: Callable[[bytes], object]) -> None:
    """Write all of a file, piece by piece."""
    while chunk := file.read(CHUNK_BYTES):
        write(chunk)
