"""Lists of input files: a long one lies packed in the spool, and is unpacked a block at a time.

A short one is a part of its request's fact.  A long one is blocks of so many files each, the last one of
fewer: length and checksum, then JSON, compressed.
"""

import json
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from struct import Struct
from struct import error as StructError
from typing import BinaryIO, Protocol, TypeVar

from attrs import astuple, define, field, frozen

from hagoop import wire
from hagoop.answers import InThread
from hagoop.errors import Damaged, NoSuchInput
from hagoop.interfaces import ISpool, Syncable
from hagoop.jobs import Place, RequestId
from hagoop.source_files import SourceFile, in_spool

FEW = 1000
"""So many files are listed in the fact itself."""
BLOCK_FILES = 256
KEPT_BLOCKS = 16
"""Workers are at several places of a list at once."""
MOST_BYTES = 1 << 60
"""It is bounded by the spool."""

_HEAD = Struct("<II")
T = TypeVar("T")


class Files(Protocol):
    """The files of a request, by their numbers."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, number: int, /) -> SourceFile:
        """One of them."""

    def __iter__(self) -> Iterator[SourceFile]:
        """All, in order."""


@frozen
class Listed:
    """A long list, as its request's fact has it.

    :param files: how many there are; ``size``: the bytes of all of them.
    """

    place: Place
    files: int
    size: int


@define(eq=False)
class FileTable:
    """A long list.  Threads may read it; whoever does blocks shortly.

    :ivar open: opens the list.
    :ivar spool: where the folder of the spool is now.
    """

    listed: Listed
    open: Callable[[], BinaryIO]
    spool: Path
    _starts: "array[int]" = field(factory=lambda: array("Q"), init=False)
    """Where each block begins, once it was looked for."""
    _block: Callable[[int], list[SourceFile]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._block = lru_cache(KEPT_BLOCKS)(self._read)

    def __len__(self) -> int:
        return self.listed.files

    def __getitem__(self, number: int, /) -> SourceFile:
        block, at = divmod(number, BLOCK_FILES)
        return self._block(block)[at]

    def __iter__(self) -> Iterator[SourceFile]:
        for block in range(-(-len(self) // BLOCK_FILES)):
            yield from self._block(block)

    def _read(self, block: int) -> list[SourceFile]:
        try:
            with self.open() as file:
                self._starts = self._starts or find_blocks(file)
                file.seek(self._starts[block])
                rows = unpack_files(file)
        except (Damaged, ValueError, LookupError, StructError, zlib.error) as problem:
            raise NoSuchInput(
                "the list of input files was damaged on the server's disk; submit the request again"
            ) from problem
        return [in_spool(each, self.spool) for each in rows]


def pack_files(files: Iterable[SourceFile]) -> bytes:
    """A block of these."""
    rows = [astuple(each, recurse=False) for each in files]
    data = zlib.compress(json.dumps(rows, separators=(",", ":")).encode("ascii"), 1)
    return _HEAD.pack(len(data), zlib.crc32(data)) + data


def unpack_files(file: BinaryIO) -> list[SourceFile]:
    """The block at which a file stands.

    :raises ValueError: it is not as it was packed.
    """
    length, checksum = _HEAD.unpack(file.read(_HEAD.size))
    data = file.read(length)
    if zlib.crc32(data) != checksum:
        raise ValueError("a block does not match its checksum")
    return [SourceFile(*each) for each in json.loads(zlib.decompress(data))]


def find_blocks(file: BinaryIO) -> "array[int]":
    """Where the blocks of a list begin."""
    starts, at = array("Q"), 0
    while head := file.read(_HEAD.size):
        starts.append(at)
        at += _HEAD.size + _HEAD.unpack(head)[0]
        file.seek(at)
    return starts


@define(eq=False)
class Lister:
    """Writes down the files of a request while they are found: never more than a few are in memory."""

    spool: ISpool
    in_thread: InThread

    async def list_files(
        self, request: RequestId, files: Iterator[SourceFile]
    ) -> tuple[dict[str, object], Sequence[Syncable]]:
        """What their request's fact says of them, and what must be synced for it.

        :param files: found in a thread.
        """
        few = await self._get(lambda: list(islice(files, FEW + 1)))
        if len(few) <= FEW:
            return {"files": [list(astuple(each, recurse=False)) for each in few]}, ()
        arriving = self.spool.receive(MOST_BYTES)
        try:
            counted = await self._pack(chain(few, files), arriving.write)
        except BaseException:
            arriving.abandon()
            raise
        arrived = arriving.finish()
        try:
            place, sync = self.spool.keep(request, arrived)
        except BaseException:
            arrived.discard()
            raise
        return {"table": wire.to_plain(Listed(place, *counted))}, (sync,)

    async def _pack(
        self, files: Iterator[SourceFile], write: Callable[[bytes], object]
    ) -> tuple[int, int]:
        """How many there were, and their bytes."""
        count = size = 0
        while block := await self._get(lambda: _next_block(files)):
            data, added, more = block
            write(data)
            count, size = count + added, size + more
        return count, size

    async def _get(self, work: Callable[[], T]) -> T:
        got: list[T] = []
        await self.in_thread(lambda: got.append(work()))
        return got[0]


def _next_block(files: Iterator[SourceFile]) -> tuple[bytes, int, int] | None:
    """The next files, packed; how many they are, and their bytes."""
    found = list(islice(files, BLOCK_FILES))
    return (pack_files(found), len(found), sum(each.size for each in found)) if found else None
