"""Files of inputs as they were submitted, and whether they are still the same."""

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from attrs import evolve, frozen

from hagoop.disk import is_passing, why
from hagoop.errors import BadMessage, HaGoopError, NoSuchInput, TransferFailed
from hagoop.found import look
from hagoop.jobs import Found

FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
PLACE_PARTS = 3
"""A bundle is at ``requests/RID/NAME`` of the spool."""


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


def files_in_place(found: Iterable[Found]) -> Iterator[SourceFile]:
    """Files that the server reads where they are: seen ones, and those below an input root."""
    for each in found:
        yield SourceFile(each.name, each.path, 0, each.size, each.mtime_ns, each.inode)


def files_of_bundle(found: Iterable[Found], path: str, base: int, size: int) -> Iterator[SourceFile]:
    """Files that were uploaded one after the other.

    :param path: the spool's file that holds them from byte ``base`` on.
    :raises BadMessage: at the end: their sizes do not add up to ``size``.
    """
    at = base
    for each in found:
        yield SourceFile(each.name, path, at, each.size)
        at += each.size
    if at - base != size:
        raise BadMessage(f"A manifest names {at - base} bytes, and {size} were uploaded")


def in_spool(file: SourceFile, spool: Path) -> SourceFile:
    """The same where the spool is now: a copy may be elsewhere, users' own files stay where they are.

    :param spool: its folder.
    """
    if file.mtime_ns is not None:
        return file
    return evolve(file, path=_path_in(spool, file.path))


# A bundle holds very many files, and is one.
@lru_cache(64)
def _path_in(spool: Path, path: str) -> str:
    return str(spool.joinpath(*Path(path).parts[-PLACE_PARTS:]))


def opened(file: SourceFile) -> io.FileIO:
    """The file, at its base.

    :raises NoSuchInput: it is not the one that was submitted any more.
    """
    with reading(file):
        made = io.FileIO(os.open(file.path, FLAGS), "rb")
    try:
        with reading(file):
            check(file, os.fstat(made.fileno()))
            made.seek(file.base)
    except BaseException:
        made.close()
        raise
    return made


def found_again(file: SourceFile) -> Found | None:
    """The user's file as it is now; None: it is in a bundle, or its text is unpacked elsewhere.  Blocks.

    :raises NoSuchInput: it is not the one that was submitted any more.
    """
    if file.mtime_ns is None:
        return None
    try:
        found = look(file.name, file.path)
    except OSError as problem:
        raise unreadable(file, problem) from problem
    if (found.size, found.mtime_ns, found.inode) != (file.size, file.mtime_ns, file.inode):
        raise changed(file)
    return found


def stat_of(file: SourceFile) -> os.stat_result:
    """What the system says of it.

    :raises NoSuchInput: nothing.
    """
    try:
        return os.stat(file.path)
    except OSError as problem:
        raise unreadable(file, problem) from problem


def check(file: SourceFile, facts: os.stat_result) -> None:
    """See that it is the file that was submitted.

    :raises NoSuchInput: it has changed.
    """
    if file.mtime_ns is None:
        same = facts.st_size >= file.base + file.size
    else:
        now = (facts.st_size, facts.st_mtime_ns, facts.st_ino)
        same = now == (file.size, file.mtime_ns, file.inode)
    if not same:
        raise changed(file)


def changed(file: SourceFile) -> NoSuchInput:
    """What to say of a file that is another now."""
    if file.mtime_ns is None:
        return damaged(file)
    return NoSuchInput(f"'{file.name}' changed while the request ran; submit the request again")


def damaged(file: SourceFile) -> NoSuchInput:
    """What to say of bytes that were uploaded, or unpacked, and are others now."""
    return NoSuchInput(f"'{file.name}' was damaged on the server's disk; submit the request again")


@contextmanager
def reading(file: SourceFile) -> Iterator[None]:
    """What the system says while a file is read, in our words.

    :raises NoSuchInput: it cannot be read any more.
    :raises TransferFailed: it cannot be read for a moment.
    """
    try:
        yield
    except OSError as problem:
        raise unreadable(file, problem) from problem


def unreadable(file: SourceFile, problem: OSError) -> HaGoopError:
    """What to say of a file that was there when it was submitted."""
    if is_passing(problem):
        return TransferFailed(f"'{file.name}' cannot be read now: {why(problem)}")
    if file.mtime_ns is None:
        return damaged(file)
    return NoSuchInput(f"'{file.name}' could be read at first and cannot be now: {why(problem)}")
