"""The journal's rows in an SQLite file.  All SQL that writes is here."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from hagoop.disk import is_full, sync_folder
from hagoop.examining import (
    SCHEMA,
    commits_of,
    connect_to_read,
    examine,
    explained,
    is_new,
    link_of,
    meta_of,
    mismatch,
)
from hagoop.interfaces import Syncable
from hagoop.told import Told

log = Logger()

TABLES = """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL, chain BLOB NOT NULL);
    CREATE TABLE fact (id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL,
                       kind TEXT NOT NULL, body TEXT NOT NULL, chain BLOB NOT NULL);
    CREATE INDEX fact_stream ON fact (stream);
    CREATE TABLE value (key TEXT PRIMARY KEY, body TEXT NOT NULL, chain BLOB NOT NULL);
"""
LOG_BYTES = 4 << 20
"""About as much of the log is moved into the database at once."""
COMMIT_BYTES = 16 << 10
"""What a commit adds to the log beside its bodies."""
ADD_META = "INSERT INTO meta (key, value, chain) VALUES (?, ?, ?)"
# A replaced row would be written to the index too.
NEW_META = "UPDATE meta SET value = ?, chain = ? WHERE key = ?"

Body = dict[str, object]


@frozen(eq=False)
class Write:
    """A change that waits for its group.

    :param change: ``fact``, ``value`` or ``forget``.
    :param name: the stream or the key.
    """

    change: str
    name: str
    kind: str = ""
    body: str = ""
    syncs: tuple[Syncable, ...] = ()
    done: "Deferred[None]" = field(factory=Deferred)


class SqliteStore:
    """Rows in a file, each with a checksum over itself and the row before it in its stream."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._told = Told(path)
        self._chains: dict[str, bytes] = {}
        self._log_bytes = 0
        with explained(path):
            examine(path, self._told)
            self._db = _connect(path)
            try:
                self.epoch, self._number = self._open(path)
                self._told.write(self._number)
            except BaseException:
                self.abandon()
                raise

    def _open(self, path: Path) -> tuple[int, int]:
        """Make the tables if there are none; return the epoch and its commit's number, both durable."""
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        # By itself it would not tell when that fails.
        self._db.execute("PRAGMA wal_autocheckpoint = 0")
        with _transaction(self._db):
            if is_new(self._db):
                for statement in filter(str.strip, TABLES.split(";")):
                    self._db.execute(statement)
                self._set_meta("epoch", 0)
            self._set_meta("schema", SCHEMA)
            epoch = meta_of(self._db, path, "epoch") + 1
            number = commits_of(self._db, path) + 1
            self._set_meta("epoch", epoch)
            self._set_meta("commits", number)
        # A life that ended with a failed sync has left what looks written and is not: write it anew.
        self._move_log("TRUNCATE")
        sync_folder(path.parent)
        return epoch, number

    def _set_meta(self, key: str, value: int) -> None:
        chain = link_of(b"", key, str(value))
        if not self._db.execute(NEW_META, (value, chain, key)).rowcount:
            self._db.execute(ADD_META, (key, value, chain))

    def leap(self, epochs: int) -> None:
        """As if it had been opened so often since."""
        with _transaction(self._db):
            self.epoch = meta_of(self._db, self._path, "epoch") + epochs
            self._set_meta("epoch", self.epoch)

    def commit(self, writes: Sequence[Write]) -> None:
        # Only what is committed may be built upon.
        chains: dict[str, bytes | None] = {}
        number = self._number + 1
        with _transaction(self._db):
            for each in writes:
                self._write(each, chains)
            self._set_meta("commits", number)
        self._number = number
        for stream, chain in chains.items():
            if chain is None:
                self._chains.pop(stream, None)
            else:
                self._chains[stream] = chain
        self._told.write(number)
        self._tidy(COMMIT_BYTES + sum(len(each.body) for each in writes))

    def _tidy(self, size: int) -> None:
        """Move the log into the database when it has grown."""
        self._log_bytes += size
        if self._log_bytes < LOG_BYTES:
            return
        self._log_bytes = 0
        self._move_log("PASSIVE")

    def _move_log(self, how: str) -> None:
        """Write what is in the log into the database, and sync that."""
        try:
            self._db.execute(f"PRAGMA wal_checkpoint({how})")
        except sqlite3.Error as problem:
            # A disk that is full passes, and the log keeps all of it until then.
            if not is_full(problem):
                raise

    def _write(self, write: Write, chains: dict[str, bytes | None]) -> None:
        if write.change == "forget":
            self._db.execute("DELETE FROM fact WHERE stream = ?", (write.name,))
            chains[write.name] = None
        elif write.change == "value":
            row = (write.name, write.body, link_of(b"", write.name, write.body))
            self._db.execute("INSERT OR REPLACE INTO value (key, body, chain) VALUES (?, ?, ?)", row)
        else:
            chain = link_of(self._last(write.name, chains), write.kind, write.body)
            chains[write.name] = chain
            self._db.execute(
                "INSERT INTO fact (stream, kind, body, chain) VALUES (?, ?, ?, ?)",
                (write.name, write.kind, write.body, chain),
            )

    def _last(self, stream: str, chains: dict[str, bytes | None]) -> bytes:
        """The chain of the stream's last fact."""
        if stream in chains:
            return chains[stream] or link_of(b"", stream)
        if stream not in self._chains:
            newest = "SELECT chain FROM fact WHERE stream = ? ORDER BY id DESC LIMIT 1"
            row = self._db.execute(newest, (stream,)).fetchone()
            self._chains[stream] = row[0] if row else link_of(b"", stream)
        return self._chains[stream]

    def replay(self) -> Iterator[tuple[str, str, Body]]:
        chains: dict[str, bytes] = {}
        rows = "SELECT id, stream, kind, body, chain FROM fact ORDER BY id"
        with explained(self._path), closing(_connect(self._path)) as db:
            for row, stream, kind, body, chain in db.execute(rows):
                before = chains.get(stream) or link_of(b"", stream)
                if link_of(before, kind, body) != chain:
                    raise mismatch(f"Row {row} of", self._path)
                chains[stream] = chain
                yield stream, kind, json.loads(body)

    def values(self) -> dict[str, Body]:
        found: dict[str, Body] = {}
        with explained(self._path), closing(_connect(self._path)) as db:
            for key, body, chain in db.execute("SELECT key, body, chain FROM value ORDER BY key"):
                if link_of(b"", key, body) != chain:
                    raise mismatch(f"Value {key!r} of", self._path)
                found[key] = json.loads(body)
        return found

    def abandon(self) -> None:
        """Let go of the files as they are: SQLite would tidy up what it could not sync."""
        self._told.close()
        # The last to close does that; who may only read does not.
        with suppress(sqlite3.Error), closing(connect_to_read(self._path)) as last:
            is_new(last)
            self._db.close()

    def close(self) -> None:
        self._told.close()
        with closing(self._db):
            try:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as problem:
                # All facts are safe in the log beside the file; the next start reads them there.
                log.warn("{path} was not tidied: {problem}", path=self.name, problem=problem)


def _connect(path: Path) -> sqlite3.Connection:
    # The thread that opens is not the one that writes; never two at once.
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after some errors.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
