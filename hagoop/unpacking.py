"""Packed inputs: ``.gz``, ``.bz2`` and ``.zst`` files are read as the text within."""

import bz2
import gzip
import importlib
import zlib
from collections.abc import Callable, Generator, Iterator
from io import BufferedIOBase
from types import ModuleType
from typing import IO, BinaryIO, cast

from hagoop.arriving import window
from hagoop.disk import patiently
from hagoop.errors import NoSuchInput
from hagoop.source_files import SourceFile, check, opened, stat_of, unreadable
from hagoop.verdicts import in_units

SUFFIXES = (".gz", ".bz2", ".zst")
ZSTD_MODULES = ("compression.zstd", "backports.zstd")
"""Part of Python from 3.14 on, and the same module for those before it."""
FREE_BYTES = 256 << 20
MOST_RATIO = 250
"""A text may be larger than ``FREE_BYTES`` only up to so many times its packed size: honest texts are
far below it, and what is above was made to fill a disk."""


def packing_of(name: str) -> str | None:
    """How a file of this name is packed: its suffix; None: it is not."""
    return next((each for each in SUFFIXES if name.endswith(each)), None)


def check_packing(name: str) -> None:
    """See that a file of this name can be unpacked here.

    :raises NoSuchInput: it cannot.
    """
    if packing_of(name) == ".zst" and find_zstd() is None:
        raise NoSuchInput(
            f"'{name}' cannot be unpacked: the server's Python has no zstd; install it there "
            "(pip install 'hagoop[zstd]'), or pack the file with gzip"
        )


def find_zstd() -> ModuleType | None:
    """The module for zstd, if there is one."""
    for name in ZSTD_MODULES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


def unpacked(file: SourceFile, block_bytes: int) -> Generator[tuple[bytes, int]]:
    """The text of a packed file in blocks, each with how many packed bytes were read by then.  Blocks.

    :param block_bytes: size of each block but the last.
    :raises NoSuchInput: the file is damaged, has changed, or holds more than an honest one would.
    """
    with window(patiently(lambda: opened(file)), file.base, file.size) as packed:
        yield from _blocks(file, packed, block_bytes)
    check(file, stat_of(file))


def _blocks(file: SourceFile, packed: BinaryIO, block_bytes: int) -> Iterator[tuple[bytes, int]]:
    most, size = max(FREE_BYTES, MOST_RATIO * file.size), 0
    # An empty file is no text; what unpacks it would call it cut off.
    with _reader(file.name, packed) as reader:
        while data := _read(file, reader, block_bytes) if file.size else b"":
            size += len(data)
            if size > most:
                raise _too_large(file, most)
            yield data, packed.tell()


def _reader(name: str, packed: BinaryIO) -> BufferedIOBase:
    kinds: dict[str | None, Callable[[IO[bytes]], BufferedIOBase]] = {
        ".gz": lambda source: cast(BufferedIOBase, gzip.GzipFile(fileobj=source)),
        ".bz2": lambda source: bz2.BZ2File(source),
        ".zst": _zstd_reader,
    }
    return kinds[packing_of(name)](packed)


def _zstd_reader(source: IO[bytes]) -> BufferedIOBase:
    zstd = find_zstd()
    if zstd is None:
        raise NoSuchInput("there is no zstd on the server any more; install it (hagoop[zstd])")
    return cast(BufferedIOBase, zstd.ZstdFile(source))


def _read(file: SourceFile, reader: BufferedIOBase, size: int) -> bytes:
    try:
        return reader.read(size)
    except EOFError as problem:
        raise _damaged(file, "it ends before its text does") from problem
    except OSError as problem:
        if problem.errno is not None:
            raise unreadable(file, problem) from problem
        raise _damaged(file, str(problem)) from problem
    except _errors() as problem:
        raise _damaged(file, str(problem)) from problem


def _errors() -> tuple[type[Exception], ...]:
    """What else is raised where packed bytes make no sense."""
    zstd = find_zstd()
    return (zlib.error,) if zstd is None else (zlib.error, zstd.ZstdError)


def _damaged(file: SourceFile, how: str) -> NoSuchInput:
    return NoSuchInput(f"'{file.name}' is damaged: {how}; submit a sound copy, or leave it out")


def _too_large(file: SourceFile, most: int) -> NoSuchInput:
    return NoSuchInput(
        f"'{file.name}' holds more than {in_units(most)} of text in {in_units(file.size)},"
        " as only files do that are made to fill disks; if it is right, unpack it and submit the text"
    )
