"""The journal's rows in an SQLite file.  All SQL is here."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import blake2b
from pathlib import Path

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from hagoop.disk import is_full, sync_folder
from hagoop.errors import StateError
from hagoop.interfaces import Syncable

log = Logger()

SCHEMA = 1
TABLES = """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL, chain BLOB NOT NULL);
    CREATE TABLE fact (id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL,
                       kind TEXT NOT NULL, body TEXT NOT NULL, chain BLOB NOT NULL);
    CREATE INDEX fact_stream ON fact (stream);
    CREATE TABLE value (key TEXT PRIMARY KEY, body TEXT NOT NULL, chain BLOB NOT NULL);
"""
SET_META = "INSERT OR REPLACE INTO meta (key, value, chain) VALUES (?, ?, ?)"
RESTORE = "restore it from a backup, or move it away to start empty"

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
        with _explained(path):
            self._db = _connect(path)
            try:
                self.epoch = self._open(path)
            except BaseException:
                self._db.close()
                raise
        self._path = path
        self._chains: dict[str, bytes] = {}

    def _open(self, path: Path) -> int:
        """Make or check the tables; return the new epoch, durable."""
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        with _transaction(self._db):
            if self._is_new():
                for statement in filter(str.strip, TABLES.split(";")):
                    self._db.execute(statement)
                self._set_meta("schema", SCHEMA)
                self._set_meta("epoch", 0)
            self._check_schema(path)
            epoch = self._meta(path, "epoch") + 1
            self._set_meta("epoch", epoch)
        sync_folder(path.parent)
        return epoch

    def _is_new(self) -> bool:
        """Whether nothing was ever stored; a damaged file that only looks so has pages."""
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (pages,) = self._db.execute("PRAGMA page_count").fetchone()
        return bool(tables == 0 and pages <= 1)

    def _check_schema(self, path: Path) -> None:
        schema = self._meta(path, "schema")
        if schema > SCHEMA:
            raise StateError(
                f"'{path}' was written by a newer HaGoop (schema {schema}, this one knows {SCHEMA}); "
                "upgrade HaGoop or choose another --state"
            )
        for (problem,) in self._db.execute("PRAGMA integrity_check(1)"):
            if problem != "ok":
                raise StateError(f"'{path}' is damaged ({' '.join(problem.split())}); {RESTORE}")

    def _meta(self, path: Path, key: str) -> int:
        row = self._db.execute("SELECT value, chain FROM meta WHERE key = ?", (key,)).fetchone()
        if row is None or not isinstance(row[0], int) or row[1] != _link(b"", key, str(row[0])):
            raise _mismatch(f"The {key} in", path)
        return int(row[0])

    def _set_meta(self, key: str, value: int) -> None:
        self._db.execute(SET_META, (key, value, _link(b"", key, str(value))))

    def leap(self, epochs: int) -> None:
        """As if it had been opened so often since."""
        with _transaction(self._db):
            self.epoch = self._meta(self._path, "epoch") + epochs
            self._set_meta("epoch", self.epoch)

    def commit(self, writes: Sequence[Write]) -> None:
        # Only what is committed may be built upon.
        chains: dict[str, bytes | None] = {}
        with _transaction(self._db):
            for each in writes:
                self._write(each, chains)
        for stream, chain in chains.items():
            if chain is None:
                self._chains.pop(stream, None)
            else:
                self._chains[stream] = chain

    def _write(self, write: Write, chains: dict[str, bytes | None]) -> None:
        if write.change == "forget":
            self._db.execute("DELETE FROM fact WHERE stream = ?", (write.name,))
            chains[write.name] = None
        elif write.change == "value":
            row = (write.name, write.body, _link(b"", write.name, write.body))
            self._db.execute("INSERT OR REPLACE INTO value (key, body, chain) VALUES (?, ?, ?)", row)
        else:
            chain = _link(self._last(write.name, chains), write.kind, write.body)
            chains[write.name] = chain
            self._db.execute(
                "INSERT INTO fact (stream, kind, body, chain) VALUES (?, ?, ?, ?)",
                (write.name, write.kind, write.body, chain),
            )

    def _last(self, stream: str, chains: dict[str, bytes | None]) -> bytes:
        """The chain of the stream's last fact."""
        if stream in chains:
            return chains[stream] or _link(b"", stream)
        if stream not in self._chains:
            newest = "SELECT chain FROM fact WHERE stream = ? ORDER BY id DESC LIMIT 1"
            row = self._db.execute(newest, (stream,)).fetchone()
            self._chains[stream] = row[0] if row else _link(b"", stream)
        return self._chains[stream]

    def replay(self) -> Iterator[tuple[str, str, Body]]:
        chains: dict[str, bytes] = {}
        rows = "SELECT id, stream, kind, body, chain FROM fact ORDER BY id"
        with _explained(self._path), closing(_connect(self._path)) as db:
            for row, stream, kind, body, chain in db.execute(rows):
                before = chains.get(stream) or _link(b"", stream)
                if _link(before, kind, body) != chain:
                    raise _mismatch(f"Row {row} of", self._path)
                chains[stream] = chain
                yield stream, kind, json.loads(body)

    def values(self) -> dict[str, Body]:
        found: dict[str, Body] = {}
        with _explained(self._path), closing(_connect(self._path)) as db:
            for key, body, chain in db.execute("SELECT key, body, chain FROM value ORDER BY key"):
                if _link(b"", key, body) != chain:
                    raise _mismatch(f"Value {key!r} of", self._path)
                found[key] = json.loads(body)
        return found

    def close(self) -> None:
        with closing(self._db):
            try:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as problem:
                # All facts are safe in the log beside the file; the next start reads them there.
                log.warn("{path} was not tidied: {problem}", path=self.name, problem=problem)


def _mismatch(what: str, path: Path) -> StateError:
    return StateError(f"{what} '{path}' does not match its checksum; {RESTORE}")


def _link(before: bytes, *parts: object) -> bytes:
    """The checksum of a row; parts that a damaged file gives another type give another sum."""
    row = [each if isinstance(each, str) else repr(each) for each in parts]
    return blake2b(before + "\0".join(row).encode(), digest_size=16).digest()


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


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as problem:
        raise StateError(f"'{path}' {_explain(problem)}") from problem


def _explain(problem: sqlite3.Error) -> str:
    code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
    if is_full(problem):
        return "cannot be opened: its disk is full; free some space there"
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"cannot be opened ({problem}); end the program that reads or writes it"
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return f"cannot be opened ({problem}); check the owner and mode of the file and its folder"
    return f"is no sound journal ({problem}); {RESTORE}"
