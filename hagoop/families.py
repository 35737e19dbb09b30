"""A process and all below it, where the system tells: on Linux."""

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from attrs import frozen

_READ_BYTES = 1 << 12
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@frozen
class Usage:
    """What a family uses.

    :param memory_bytes: resident, what is shared with others not counted.
    """

    processes: int
    memory_bytes: int


def family(pid: int, most: int) -> list[int]:
    """A process and those below it, each after its parent; about ``most`` of them."""
    found = [pid]
    for each in found:
        found += _children(each)
        if len(found) >= most:
            break
    return found


def usage(pid: int, most: int) -> Usage:
    """What a process and those below it use; about ``most`` of them are looked at."""
    found = family(pid, most)
    return Usage(len(found), sum(_private_bytes(each) for each in found))


@cache
def others_of_user() -> int:
    """How many processes and threads this process's user had when this was first asked.  Blocks."""
    return sum(_own_tasks(each) for each in Path("/proc").glob("[0-9]*/task"))


def _own_tasks(folder: Path) -> int:
    with suppress(OSError):
        return len(os.listdir(folder)) if folder.stat().st_uid == os.geteuid() else 0
    return 0


def _children(pid: int) -> Iterator[int]:
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            # A thread may end before it is looked at.
            with suppress(OSError):
                yield from map(int, _read(f"/proc/{pid}/task/{thread}/children").split())


def _private_bytes(pid: int) -> int:
    with suppress(OSError, ValueError):
        _, resident, shared, *_ = _read(f"/proc/{pid}/statm").split()
        return (int(resident) - int(shared)) * _PAGE_BYTES
    return 0


def _read(path: str) -> bytes:
    """A file of the system's, at once: programs are looked at several times a second."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(iter(lambda: os.read(descriptor, _READ_BYTES), b""))
    finally:
        os.close(descriptor)


def size_below(folder: Path) -> int:
    """Bytes of all files below a folder.  Blocks."""
    total = 0
    with suppress(OSError), os.scandir(folder) as found:
        for each in found:
            with suppress(OSError):
                if each.is_dir(follow_symlinks=False):
                    total += size_below(Path(each.path))
                else:
                    total += each.stat(follow_symlinks=False).st_size
    return total
