"""Small journals to be damaged, and what a start makes of them, in this process."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import field, frozen
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher

from hagoop.errors import StateError
from hagoop.journal import Later, SqliteJournal

NAME = "journal.sqlite"
LOG, TOLD = f"{NAME}-wal", f"{NAME}-told"
Files = dict[str, bytes]
State = tuple[list[tuple[str, str, dict[str, object]]], dict[str, dict[str, object]]]


@frozen
class Found:
    """What a start has made of some files: a state, or a sentence; and what it logged."""

    state: State | None
    refused: str = ""
    said: tuple[str, ...] = field(default=(), converter=tuple)


@contextmanager
def opened(path: Path) -> Iterator[tuple[SqliteJournal, Clock]]:
    """A journal on a clock."""
    clock = Clock()
    journal = SqliteJournal(path, clock, elsewhere=Later(clock))
    try:
        yield journal, clock
    finally:
        journal.close()
        clock.advance(0)


@contextmanager
def in_memory(otherwise: Path) -> Iterator[Path]:
    """A folder that costs no disk, where there is such: nothing in these tests cuts the power."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield otherwise
        return
    with TemporaryDirectory(prefix="hagoop-", dir=memory) as folder:
        yield Path(folder)


def files_of(folder: Path) -> Files:
    """A journal and what is beside it; SQLite makes its shared memory anew."""
    return {name: (folder / name).read_bytes() for name in (NAME, LOG, TOLD) if (folder / name).exists()}


def write(folder: Path, commits: int = 4) -> list[Files]:
    """A journal that gets so many commits: its files after each, and when it was closed."""
    folder.mkdir(parents=True)
    seen = []
    with opened(folder / NAME) as (journal, clock):
        for number in range(commits):
            journal.append(f"r{number % 2}", "committed", {"number": number})
            if not number:
                journal.put("worker", {"lost": 1})
            clock.advance(0)
            seen.append(files_of(folder))
    return [*seen, files_of(folder)]


def start(folder: Path, files: Mapping[str, bytes]) -> Found:
    """Begin a new life on these files."""
    folder.mkdir(exist_ok=True)
    for each in folder.iterdir():
        each.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    try:
        with opened(folder / NAME) as (journal, _):
            state = list(journal.replay()), journal.values()
    except StateError as refused:
        return Found(None, str(refused))
    finally:
        globalLogPublisher.removeObserver(events.append)
    return Found(state, said=[each["log_format"].format(**each) for each in events])


def flipped(data: bytes, at: int, mask: int = 0x55) -> bytes:
    """The same with some bits of one byte changed."""
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def sampled(full: bool, step: int) -> Callable[[range], range]:
    """All of a range, or each so many of it."""
    return lambda whole: whole if full else whole[::step]
