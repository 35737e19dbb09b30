"""A copy of a server's state, made while the server runs: whole, of one moment, good to start from.

First the journal as it is at one moment; then every file that its rows name is *pinned* by a second
name in ``arriving/`` of the spool, which the next start empties.  A file that the server has dropped in
between means that the moment is over: the next one is taken.  What is pinned is copied at leisure.
"""

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from attrs import frozen

from hagoop.arriving import write_whole
from hagoop.disk import check_owner, sync_folder, why
from hagoop.docket import gone_stream
from hagoop.errors import StateError
from hagoop.jobs import LEAP, Place, RequestId
from hagoop.lives_log import LIVES_NAME
from hagoop.recovery import Story, read_stories
from hagoop.rows import SqliteStore, Write
from hagoop.snapshot import copy_rows, epoch_of

JOURNAL_NAME, SPOOL_NAME, DOOR_NAME = "journal.sqlite", "spool", "door"
LOGS = (LIVES_NAME, "audit.log")
TRIES = 100
CHUNK_BYTES = 1 << 20


@frozen
class Copied:
    """What a backup holds.

    :param size: bytes of all its files.
    """

    requests: int
    running: int
    size: int


@frozen
class Wanted:
    """A file of the spool that is copied.

    :param name: where it is below the spool.
    :param size: how many of its first bytes are named; None: all.
    """

    name: str
    size: int | None


class _Gone(Exception):
    """The server has changed what was to be copied."""


def back_up(state: Path, target: Path) -> Copied:
    """Copy a server's state into a folder that is not there yet, or is empty; whole or not at all.

    Blocks.

    :raises StateError: there is no such state, it is damaged, or the copy cannot be written.
    """
    _check_state(state)
    _check_free(target)
    gone = ""
    for _ in range(TRIES):
        try:
            with _beside(target) as made:
                copied = _copy_state(state, made)
                os.rename(made, target)
            sync_folder(target.parent)
        except _Gone as found:
            gone = str(found)
            continue
        except OSError as problem:
            told = f"'{target}' cannot be written ({why(problem)}); no backup was made"
            raise StateError(told) from problem
        return copied
    raise StateError(f"'{state}' changes faster than it can be copied, at last {gone}: try again")


def _check_state(state: Path) -> None:
    if not (state / JOURNAL_NAME).is_file():
        raise StateError(
            f"'{state}' is no server's state: there is no {JOURNAL_NAME}; name it with --state"
        )
    check_owner(state)


def _check_free(target: Path) -> None:
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise StateError(f"'{target}' is there and not empty; name a folder that is not there yet")
    if os.path.ismount(target):
        raise StateError(
            f"'{target}' is the top of a disk, which has no room beside it; name a folder in it"
        )


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A folder that becomes the target; whatever happens before, it is gone afterwards."""
    target.parent.mkdir(parents=True, exist_ok=True)
    made = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    made.mkdir(mode=0o700)
    try:
        yield made
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _copy_state(state: Path, made: Path) -> Copied:
    """Copy it as it is at some moment.

    :raises _Gone: that moment was over too soon.
    """
    with _pins(state / SPOOL_NAME) as pins:
        stories, epoch = _snapshot(state, made)
        pinned = [(each, _pin(state / SPOOL_NAME, each, pins)) for each in _wanted(stories)]
        # A start in between may have given a name that was free again to another file.
        if epoch_of(state / JOURNAL_NAME) != epoch:
            raise _Gone("by a start of its server")
        for wanted, pin in pinned:
            _copy(pin, made / SPOOL_NAME / wanted.name, wanted.size)
    for each in _others(state):
        _copy(each, made / each.relative_to(state), None)
    for folder, _, _ in os.walk(made):
        sync_folder(Path(folder))
    known = [each for each in stories if each.submitted is not None]
    running = sum(each.ended is None for each in known)
    return Copied(len(known), running, sum(each.stat().st_size for each in _files(made)))


@contextmanager
def _pins(spool: Path) -> Iterator[Path]:
    """A folder for second names, on the disk of the first; a start of the server removes it too."""
    pins = spool / "arriving" / f"backup-{secrets.token_hex(4)}"
    try:
        pins.mkdir(mode=0o700)
        yield pins
    finally:
        shutil.rmtree(pins, ignore_errors=True)


def _snapshot(state: Path, made: Path) -> tuple[list[Story], int]:
    """Copy the journal as it is at one moment: its stories, and how often it had been opened."""
    copy = made / JOURNAL_NAME
    copy_rows(state / JOURNAL_NAME, copy)
    copy.chmod(0o600)
    try:
        store = SqliteStore(copy)
        try:
            stories = read_stories(store.replay())
            # What is damaged is found now, and not when it is needed.
            store.values()
            last = max((int(each.request[1:]) for each in stories), default=0)
            stream = gone_stream(RequestId(f"r{last + LEAP}"))
            store.commit([Write("fact", stream, "forgotten", "{}")])
            # Opening it here was one more.
            epoch = store.epoch - 1
            store.leap(LEAP)
        finally:
            store.close()
    except StateError as problem:
        told = str(problem).replace(str(copy), str(state / JOURNAL_NAME))
        raise StateError(f"no backup was made: {told}") from problem
    return stories, epoch


def _wanted(stories: Sequence[Story]) -> Iterator[Wanted]:
    """The files that rows name; behind what is named in a segment there may be half a write."""
    ends: dict[str, int] = {}
    for place in _places(stories):
        ends[place.path] = max(ends.get(place.path, 0), place.offset + place.size)
    yield from (Wanted(name, end) for name, end in ends.items())
    programs = {each for story in stories for each in story.programs}
    yield from (Wanted(f"blobs/{each}", None) for each in programs)


def _places(stories: Sequence[Story]) -> Iterator[Place]:
    for story in stories:
        shelves = set(story.shelves)
        # Of what has ended rows may be left whose files are gone already.
        yield from (each for each in story.places if each.path.split("/")[1] in shelves)


def _pin(spool: Path, wanted: Wanted, pins: Path) -> Path:
    """What holds a file of the spool, under whatever name."""
    path, pin = spool / wanted.name, pins / wanted.name.replace("/", "-")
    try:
        os.link(path, pin)
    except FileNotFoundError as problem:
        raise _Gone(f"by the loss of {path}") from problem
    except OSError:
        # Not every file system has second names; then it must stay until it is copied.
        return path
    return pin


def _copy(source: Path, target: Path, size: int | None) -> None:
    """Copy the first bytes of a file, for its owner alone, and onto the disk."""
    _make_private(target.parent)
    with _opened(source) as file:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb", buffering=0) as copy:
            left = os.fstat(file.fileno()).st_size if size is None else size
            while left and (chunk := file.read(min(left, CHUNK_BYTES))):
                write_whole(copy, chunk)
                left -= len(chunk)
            os.fsync(descriptor)
    if left:
        raise StateError(f"'{source}' is shorter than it was once; no backup was made: see to the disk")


def _opened(source: Path) -> FileIO:
    try:
        return FileIO(source, "rb")
    except FileNotFoundError as problem:
        raise _Gone(f"by the loss of {source}") from problem


def _make_private(folder: Path) -> None:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700)


def _others(state: Path) -> list[Path]:
    """The door, and logs with those before them."""
    door = [each for each in _files(state / DOOR_NAME) if each.name != "lock" and each.name[:1] != "."]
    logs = [state / name for each in LOGS for name in (each, f"{each}.1")]
    return [*door, *(each for each in logs if each.is_file())]


def _files(folder: Path) -> list[Path]:
    return [each for each in folder.rglob("*") if each.is_file()]
