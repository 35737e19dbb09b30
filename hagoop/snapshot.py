"""A journal as it is at one moment, read from beside while its server writes it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from hagoop.disk import is_full
from hagoop.errors import StateError

BUSY_SECONDS = 30.0


def copy_rows(source: Path, target: Path) -> None:
    """Copy the rows of a journal, whoever writes them meanwhile.  Blocks.

    :raises StateError: they cannot be read, or written.
    """
    with _told(source), closing(_read_only(source)) as db, closing(sqlite3.connect(target)) as copy:
        # In one step, which sees one moment and keeps no writer waiting.
        db.backup(copy, pages=-1)


def epoch_of(path: Path) -> int:
    """How often a journal has been opened, as it says itself.

    :raises StateError: it cannot be read.
    """
    with _told(path), closing(_read_only(path)) as db:
        (epoch,) = db.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
    return int(epoch)


def _read_only(path: Path) -> sqlite3.Connection:
    """Whoever only reads must not tidy up what a server has left: that is for its next start."""
    name = f"file:{quote(str(path))}?mode=ro"
    return sqlite3.connect(name, uri=True, isolation_level=None, timeout=BUSY_SECONDS)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as problem:
        how = "the disk is full; free some space" if is_full(problem) else str(problem)
        raise StateError(f"no backup was made: '{path}' cannot be copied ({how})") from problem
