"""How far a program has read a file that it opened itself, where the system tells: on Linux."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hagoop.families import family

MOST_PROCESSES = 64
"""How many processes of one program are looked at."""


def place_in(file: Path, pid: int) -> int:
    """The farthest byte of ``file`` that a process or one below it has come to; 0 if none is seen.

    A file that is mapped into memory, or is closed again, is not seen.
    """
    with suppress(OSError):
        wanted = file.stat()
        processes = family(pid, MOST_PROCESSES)
        return max((place for each in processes for place in _places(each, wanted)), default=0)
    return 0


def _places(pid: int, wanted: os.stat_result) -> Iterator[int]:
    """Where a process stands in a file, for each time that it has it open."""
    with suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                if os.path.samestat(os.stat(f"/proc/{pid}/fd/{number}"), wanted):
                    first = Path(f"/proc/{pid}/fdinfo/{number}").read_text().split("\n", 1)[0]
                    yield int(first.removeprefix("pos:"))
