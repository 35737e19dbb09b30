"""Files that a worker on the same file system has left in its drop folder."""

import errno
import hashlib
import io
import os
import stat
from pathlib import Path

from hagoop.arriving import write_whole
from hagoop.disk import why
from hagoop.errors import TransferFailed

COPY_BYTES = 1 << 18
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_to_adopt(path: Path, size: int, digest: str) -> io.FileIO:
    """Open a file that is what its worker says and cannot be anything else.  Blocks.

    :raises TransferFailed: it is not.
    """
    try:
        file = io.FileIO(os.open(path, FLAGS), "rb")
    except OSError as problem:
        raise _refusal(path, why(problem)) from problem
    try:
        _check(file, path, size, digest)
    except BaseException:
        file.close()
        raise
    return file


def take_over(file: io.FileIO, path: Path, mine: Path) -> io.FileIO:
    """Move an open file, by copying where it lies on another file system; closes it on failure.

    :raises TransferFailed: it cannot be moved, or its path now names something else.
    """
    try:
        try:
            os.rename(path, mine)
        except OSError as problem:
            if problem.errno != errno.EXDEV:
                raise
            return _copied(file, path, mine)
        # Between opening and moving, the path may have been given to another file.
        if not os.path.samestat(os.lstat(mine), os.fstat(file.fileno())):
            raise _refusal(path, "it was replaced meanwhile")
        return file
    except BaseException as problem:
        file.close()
        mine.unlink(missing_ok=True)
        if isinstance(problem, OSError):
            raise _refusal(path, why(problem)) from problem
        raise


def _check(file: io.FileIO, path: Path, size: int, digest: str) -> None:
    facts = os.fstat(file.fileno())
    if not stat.S_ISREG(facts.st_mode):
        raise _refusal(path, "it is no regular file")
    if facts.st_uid != os.geteuid():
        raise _refusal(path, f"it belongs to user {facts.st_uid}")
    if facts.st_nlink != 1:
        raise _refusal(path, f"it has {facts.st_nlink} names")
    if facts.st_size != size:
        raise _refusal(path, f"it has {facts.st_size} bytes instead of {size}")
    if hashlib.file_digest(file, "sha256").hexdigest() != digest:
        raise _refusal(path, "it has another digest than announced")


def _copied(file: io.FileIO, path: Path, mine: Path) -> io.FileIO:
    file.seek(0)
    made = io.FileIO(mine, "xb+")
    try:
        while data := file.read(COPY_BYTES):
            write_whole(made, data)
        path.unlink()
    except BaseException:
        made.close()
        raise
    file.close()
    return made


def _refusal(path: Path, reason: str) -> TransferFailed:
    return TransferFailed(f"'{path}' cannot be taken over: {reason}")
