"""Whether a journal is sound: asked at each start, before SQLite writes anything.

It is refused as it is, so that whoever repairs it finds all that there was.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import blake2b
from pathlib import Path
from urllib.parse import quote

from twisted.logger import Logger

from hagoop.disk import is_full, why
from hagoop.errors import StateError
from hagoop.told import Told
from hagoop.write_ahead import LogFile, log_beside, read_log

log = Logger()

SCHEMA = 2
"""What this one writes; it reads all before.  2: long lists of input files lie in the spool."""


def examine(path: Path, told: Told) -> None:
    """Check a journal and the log beside it; say so when a commit was cut short.

    :raises StateError: it is damaged, or holds less than was told.
    """
    beside, number = log_beside(path), told.read()
    if not path.exists() or not path.stat().st_size:
        if number:
            repair = f"restore it from a backup, or start empty: {_remove(told)}"
            raise StateError(f"'{path}' is missing or empty; {repair}")
        return
    if not path.is_file():
        raise StateError(f"'{path}' is not a file; {_restore(path)}")
    seen = read_log(beside)
    if seen.is_damaged:
        raise _damaged(beside, seen, told)
    _roll_back(path)
    with closing(connect_to_read(path, is_alone=not seen.size)) as db:
        held = 0 if is_new(db) else _check(db, path)
    if held < number and not seen.is_cut:
        raise _damaged(beside, seen, told)
    if held < number and not seen.sound:
        raise _behind(path, told, (held, number))
    _tell_cut(beside, seen, max(0, number - held))


def _roll_back(path: Path) -> None:
    """A journal whose very first commit was cut short has a log of another kind, which may be undone."""
    if path.with_name(f"{path.name}-journal").exists():
        with closing(sqlite3.connect(path, timeout=30)) as db:
            is_new(db)


def _check(db: sqlite3.Connection, path: Path) -> int:
    """Whether SQLite and we can read it; the number of its last commit."""
    schema = meta_of(db, path, "schema")
    if schema > SCHEMA:
        raise StateError(
            f"'{path}' was written by a newer HaGoop (schema {schema}, this one knows {SCHEMA}); "
            "upgrade HaGoop or choose another --state"
        )
    for (problem,) in db.execute("PRAGMA integrity_check(1)"):
        if problem != "ok":
            raise StateError(f"'{path}' is damaged ({' '.join(problem.split())}); {_restore(path)}")
    meta_of(db, path, "epoch")
    return commits_of(db, path)


def _damaged(beside: Path, seen: LogFile, told: Told) -> StateError:
    """Something in the log does not check, though it was synced."""
    repair = f"truncate -s {seen.sound} '{beside}'" if seen.sound else f"rm '{beside}' '{told.path}'"
    return StateError(
        f"'{beside}' is damaged at byte {seen.checked} of {seen.size}; restore the journal from a "
        f"backup, or give up what is in the log from byte {seen.sound} on: {repair}"
    )


def _behind(path: Path, told: Told, numbers: tuple[int, int]) -> StateError:
    """There is no log, and the database alone holds less than was told."""
    return StateError(
        f"'{path}' ends with commit {numbers[0]} where {numbers[1]} were told of, and "
        f"'{log_beside(path)}' is missing or empty; restore that file, or give up what it held: "
        f"{_remove(told)}"
    )


def _tell_cut(beside: Path, seen: LogFile, lost: int) -> None:
    if lost:
        log.error(
            "{log} was cut short at byte {size}: the last {lost} commits are gone, though they were "
            "told of; what they recorded is done again where it can be",
            log=str(beside),
            size=seen.size,
            lost=lost,
        )
    elif seen.is_torn:
        log.warn(
            "{log} ends in a commit that was cut short: it is dropped from byte {sound} on, and nobody "
            "was told of it",
            log=str(beside),
            sound=seen.sound,
        )


def _restore(path: Path) -> str:
    return f"restore it from a backup, or move '{path}'* away to start empty"


def _remove(told: Told) -> str:
    return f"rm '{told.path}'"


# What rows have in common


def is_new(db: sqlite3.Connection) -> bool:
    """Whether nothing was ever stored; a damaged file that only looks so has pages."""
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    return bool(tables == 0 and pages <= 1)


def meta_of(db: sqlite3.Connection, path: Path, key: str) -> int:
    """A number that the journal keeps about itself.

    :raises StateError: it is not there, or does not check.
    """
    row = db.execute("SELECT value, chain FROM meta WHERE key = ?", (key,)).fetchone()
    if row is None or not isinstance(row[0], int) or row[1] != link_of(b"", key, str(row[0])):
        raise mismatch(f"The {key} in", path)
    return int(row[0])


def commits_of(db: sqlite3.Connection, path: Path) -> int:
    """How many commits a journal has seen; there were times when they were not counted."""
    counted = db.execute("SELECT count(*) FROM meta WHERE key = 'commits'").fetchone()[0]
    return meta_of(db, path, "commits") if counted else 0


def mismatch(what: str, path: Path) -> StateError:
    """A row that was changed by something else."""
    return StateError(f"{what} '{path}' does not match its checksum; {_restore(path)}")


def link_of(before: bytes, *parts: object) -> bytes:
    """The checksum of a row; parts that a damaged file gives another type give another sum."""
    row = [each if isinstance(each, str) else repr(each) for each in parts]
    return blake2b(before + "\0".join(row).encode(), digest_size=16).digest()


def connect_to_read(path: Path, *, is_alone: bool = False) -> sqlite3.Connection:
    """Who may only read does not tidy the log away either, which is evidence.

    :param is_alone: there is no log, and none is to be made.
    """
    how = "mode=ro&immutable=1" if is_alone else "mode=ro"
    return sqlite3.connect(f"file:{quote(str(path))}?{how}", uri=True, timeout=30)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """What goes wrong with the journal's files is told in a sentence."""
    try:
        yield
    except (sqlite3.Error, OSError) as problem:
        raise StateError(f"'{path}' {_explain(path, problem)}") from problem


def _explain(path: Path, problem: sqlite3.Error | OSError) -> str:
    code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
    if is_full(problem):
        return "cannot be opened: its disk is full; free some space there"
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"cannot be opened ({problem}); end the program that reads or writes it"
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return f"cannot be opened ({problem}); check the owner and mode of the file and its folder"
    if isinstance(problem, OSError) or code == sqlite3.SQLITE_IOERR:
        return f"cannot be read or written ({why(problem)}); see to the disk, then restart"
    return f"is no sound journal ({problem}); {_restore(path)}"
