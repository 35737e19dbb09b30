"""What the server's files have in common: a folder held, a folder synced, a disk that is full."""

import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from attrs import define

from hagoop.errors import Damaged, SpoolFull, StateError, TransferFailed

T = TypeVar("T")
PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN)
PATIENT_SECONDS, PAUSE_SECONDS = 10.0, 0.05


@define(eq=False)
class StateLock:
    """A state folder that is ours until ``release``."""

    _descriptor: int

    def release(self) -> None:
        """Let others have it; a second time does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def lock_state(folder: Path) -> StateLock:
    """Make a state folder if need be, and hold it.

    :raises StateError: it is another process's or another user's, or cannot be written.
    """
    try:
        _make_to_last(folder)
        check_owner(folder)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as problem:
        raise StateError(
            f"'{folder}' cannot be written ({why(problem)}); "
            "choose another --state or change its owner and mode"
        ) from problem
    try:
        _take(descriptor, folder)
    except BaseException:
        os.close(descriptor)
        raise
    return StateLock(descriptor)


def _make_to_last(folder: Path) -> None:
    """Make a folder that is there after a power cut too: its name is in the one above."""
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in made or [folder]:
        # Not everybody may read what is above.
        with suppress(PermissionError):
            sync_folder(each.parent)


def refuse_other(folder: Path, mark: str, owner: str) -> None:
    """See that a folder is not another program's.

    :param mark: a file that all of its folders have.
    :raises StateError: it is.
    """
    if (folder / mark).exists():
        raise StateError(f"'{folder}' is {owner}'s state folder; choose another --state")


def check_owner(folder: Path) -> None:
    """See that a folder is this user's.

    :raises StateError: it is another's.
    """
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        raise StateError(
            f"'{folder}' belongs to user {owner}, and this process runs as user {os.geteuid()}; "
            "run it as that user or choose another --state"
        )


def _take(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as problem:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        raise StateError(
            f"'{folder}' is in use by process {holder}; stop that one or choose another --state"
        ) from problem
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)


def sync_folder(folder: Path) -> None:
    """Put a folder's names on disk; one that is gone has none.  Blocks, in the journal's thread."""
    try:
        descriptor = patiently(lambda: os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def patiently(act: Callable[[], T]) -> T:
    """Try again for a while where descriptors are lacking: nothing has failed yet.  Blocks."""
    until = time.monotonic() + PATIENT_SECONDS
    while True:
        try:
            return act()
        except (OSError, TransferFailed) as problem:
            if not is_shortage(problem) or time.monotonic() > until:
                raise
        # Nobody tells when others have closed theirs.
        time.sleep(PAUSE_SECONDS)


def is_passing(problem: BaseException | None) -> bool:
    """Whether the system had something too little for a moment, which says nothing of the file."""
    return isinstance(problem, OSError) and problem.errno in PASSING


def is_shortage(problem: BaseException | None) -> bool:
    """Whether what failed may be tried again: room or descriptors were lacking, nothing is damaged."""
    if isinstance(problem, TransferFailed):
        return not isinstance(problem, Damaged)
    return isinstance(problem, SpoolFull) or is_passing(problem)


def is_full(problem: BaseException) -> bool:
    """Whether a disk had no room, which passes; anything else is damage."""
    if isinstance(problem, OSError):
        return problem.errno in (errno.ENOSPC, errno.EDQUOT)
    # The second is how SQLite says that the shared memory beside its log could not grow.
    full = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
    return isinstance(problem, sqlite3.Error) and getattr(problem, "sqlite_errorcode", 0) in full


def why(problem: Exception) -> str:
    return (getattr(problem, "strerror", None) or str(problem)).lower()
