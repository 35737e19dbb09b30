"""The lines of files, counted block by block."""

import io
import os
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

from hagoop.bundles import Bundle, BundleCheck
from hagoop.checked import BLOCK_BYTES
from hagoop.disk import patiently
from hagoop.source_files import SourceFile, changed, check, opened
from hagoop.texts import TextFile
from hagoop.unpacking import packing_of, unpacked

BATCH_BYTES = 64 << 20
BATCH_SECONDS = 0.05
"""Work begins with what was counted by then: the less that is, the more often a program is started."""


@frozen
class Unpacked:
    """What a block of a packed file was made of.

    :param taken: how many more bytes of the file were read for it.
    :param base: byte of the texts at which the file's begins; ``size``: how much of it is there.
    """

    taken: int
    base: int
    size: int


@frozen
class Block:
    """News of one block of a file.

    :param file: the file's index.
    :param newlines: all newlines of the file up to the block's end.
    :param lines: all lines of the file, if this is its last block.
    :param unpacked: of a packed file.
    :param checksum: of the block, if it is one of the spool's.
    """

    file: int
    size: int
    newlines: int
    lines: int | None
    unpacked: Unpacked | None = None
    checksum: int | None = None

    @property
    def taken(self) -> int:
        """How many bytes of the file it was made of."""
        return self.size if self.unpacked is None else self.unpacked.taken


def count_blocks(
    files: Iterable[SourceFile], texts: TextFile | None = None, bundles: Sequence[Bundle] = ()
) -> Iterator[Block]:
    """All blocks of all files in order; packed files are unpacked on the way.  Blocks.

    :param texts: takes what is unpacked; without it packed files are read as they are.
    :raises NoSuchInput: a file is not what was submitted, or is damaged.
    :raises SpoolFull: there is no room for a text.
    :raises StateError: a text could not be written.
    """
    bundle = BundleCheck(bundles)
    for number, file in enumerate(files):
        bundle.begin(file)
        if texts is not None and packing_of(file.name):
            bundle.take_whole(file)
            bundle.end(file)
            yield from _count_packed(number, file, texts)
        else:
            yield from _count_file(number, file, bundle)


def _count_packed(number: int, file: SourceFile, texts: TextFile) -> Iterator[Block]:
    base, size, newlines, taken, last = texts.size, 0, 0, 0, b"\n"
    for data, read in unpacked(file, BLOCK_BYTES):
        texts.append(file.name, data)
        size += len(data)
        newlines += data.count(b"\n")
        made_of = Unpacked(read - taken, base, size)
        yield Block(number, len(data), newlines, None, made_of, zlib.crc32(data))
        taken, last = read, data[-1:]
    rest = Unpacked(file.size - taken, base, size)
    yield Block(number, 0, newlines, newlines + (last != b"\n"), rest)


def _count_file(number: int, file: SourceFile, bundle: BundleCheck) -> Iterator[Block]:
    kept = file.mtime_ns is None
    with patiently(lambda: opened(file)) as source:
        if not file.size:
            bundle.end(file)
            yield Block(number, 0, 0, 0)
        buffer = bytearray(min(BLOCK_BYTES, file.size))
        newlines = 0
        for start in range(0, file.size, BLOCK_BYTES):
            view = memoryview(buffer)[: file.size - start]
            _fill(source, view, file)
            check(file, os.fstat(source.fileno()))
            bundle.take(view)
            newlines += buffer.count(b"\n", 0, len(view))
            last = start + len(view) == file.size
            if last:
                bundle.end(file)
            lines = newlines + (view[-1] != ord("\n")) if last else None
            yield Block(number, len(view), newlines, lines, checksum=zlib.crc32(view) if kept else None)


def _fill(source: io.FileIO, view: memoryview, file: SourceFile) -> None:
    at = 0
    while at < len(view):
        count = source.readinto(view[at:])
        if not count:
            raise changed(file)
        at += count


def batched(blocks: Iterator[Block]) -> Iterator[list[Block]]:
    """Blocks in batches, none much longer in the making than it should."""
    batch: list[Block] = []
    held, until = 0, time.monotonic() + BATCH_SECONDS
    for each in blocks:
        batch.append(each)
        held += each.size
        if held >= BATCH_BYTES or time.monotonic() >= until:
            yield batch
            batch = []
            held, until = 0, time.monotonic() + BATCH_SECONDS
    yield batch
