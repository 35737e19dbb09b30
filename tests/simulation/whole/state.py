"""The server's state folder: its journal watched, and what is found of it after an end."""

import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from attrs import define, field

from hagoop.journal import Journal
from hagoop.rows import SqliteStore, Write

if TYPE_CHECKING:
    from whole.world import World

JOURNAL, LOG, TOLD = "journal.sqlite", "journal.sqlite-wal", "journal.sqlite-told"
OURS = ("spool", "lock", "journal.sqlite-shm")
TORN = 0.5
"""How often a transaction is torn when power fails right behind it."""
Fact = tuple[str, str, str]


@define(eq=False)
class Elsewhere:
    """The journal's thread: work is done later, and so is what is told of it."""

    reactor: Any

    def run(self, work: Callable[[], Any], then: Callable[[Any], object]) -> None:
        """In one go."""
        threads = self.reactor.getThreadPool()
        self.reactor.callLater(threads.delay(), self._work, work, then)

    def _work(self, work: Callable[[], Any], then: Callable[[Any], object]) -> None:
        self.reactor.callLater(self.reactor.getThreadPool().delay(), then, work())

    def end(self) -> None:
        """Nothing was begun."""


class WatchedStore:
    """The journal's rows in SQLite; the world knows what is on disk, and may end the server here."""

    def __init__(self, path: Path, state: "State") -> None:
        self._store = SqliteStore(path)
        self._state = state
        self.name, self.epoch = self._store.name, self._store.epoch
        state.connection = self._store._db

    def commit(self, writes: Sequence[Write]) -> None:
        log = self._state.folder / LOG
        self._state.doing("commit")
        before = log.stat().st_size if log.exists() else 0
        self._state.forgetting = {each.name for each in writes if each.change == "forget"}
        self._store.commit(writes)
        self._state.committing = before
        try:
            self._state.doing("committed")
        finally:
            self._state.committing = None
        if self._state.is_seen():
            self._state.written(writes)
            self._state.forgetting = set()

    def replay(self) -> Iterator[Any]:
        return self._store.replay()

    def values(self) -> dict[str, Any]:
        return self._store.values()

    def close(self) -> None:
        self._store.close()
        self._state.connection = None


@define(eq=False)
class State:
    """What the world knows of the server's folder.

    :ivar facts: the rows of requests that are on disk for certain.
    :ivar ends: how often each request has ended.
    :ivar forgetting: streams that the transaction under way drops.
    :ivar committing: size of SQLite's log before the transaction that has just been written.
    """

    world: "World"
    folder: Path
    random: Random
    facts: Counter[Fact] = field(factory=Counter)
    ever: set[Fact] = field(factory=set)
    connection: sqlite3.Connection | None = None
    committing: int | None = None
    forgetting: set[str] = field(factory=set)
    frozen: Path | None = None
    countdown: int = 0
    power: bool = False

    def open_journal(self, path: Path, reactor: Any, on_broken: Any = None) -> Journal:
        """In place of ``SqliteJournal``."""
        return Journal(WatchedStore(path, self), Elsewhere(reactor), on_broken)

    def is_seen(self) -> bool:
        """Whether what is done now is done by a server that lives on."""
        life = self.world.server.life
        return life is not None and life.acts

    def written(self, writes: Sequence[Write]) -> None:
        """These are on disk."""
        for each in writes:
            if each.change == "fact":
                self.facts[each.name, each.kind, each.body] += 1
                self.ever.add((each.name, each.kind, each.body))
                self.world.stock.written(each)
            elif each.change == "forget":
                for fact in [fact for fact in self.facts if fact[0] == each.name]:
                    del self.facts[fact]

    # Ends

    def doing(self, what: str) -> None:
        """Something is about to be done on disk: perhaps the last thing."""
        if self.countdown and self.is_seen():
            self.countdown -= 1
            if not self.countdown:
                self.world.tell(f"server: ends at '{what}'{', power too' if self.power else ''}")
                self.freeze()
                life = self.world.server.life
                assert life is not None
                life.dying = True

    def freeze(self) -> None:
        """What is there now is what the next life will find."""
        target = self.frozen = self.world.folder / "found"
        skipped = shutil.ignore_patterns(*OURS)
        shutil.copytree(self.folder, target, ignore=skipped)
        spool = self.folder / "spool"
        if self.power and spool.exists():
            self.world.disk.lose_power(target / "spool")
        elif spool.exists():
            shutil.copytree(spool, target / "spool")
        if self.power and self.committing is not None and self.random.random() < TORN:
            self._tear(target / LOG, self.committing)

    def _tear(self, log: Path, safe: int) -> None:
        """Of the last transaction only a part has reached the disk."""
        data = log.read_bytes()
        if len(data) <= safe:
            return
        cut = safe + int(self.random.random() * (len(data) - safe))
        rest = self.random.choice([b"", b"\0" * (len(data) - cut), b"\x5a" * 100])
        log.write_bytes(data[:cut] + rest)
        # It is written only when the log was synced, and whatever it was before may be forgotten.
        log.with_name(TOLD).unlink(missing_ok=True)
        self.world.tell(f"server: its log is torn at {cut - safe} of {len(data) - safe} bytes")

    def thaw(self) -> None:
        """The server is gone."""
        if self.frozen is None:
            self.freeze()
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        self.countdown, self.power = 0, False
        shutil.rmtree(self.folder)
        assert self.frozen is not None
        os.rename(self.frozen, self.folder)
        self.frozen = None
        self._compare()

    def _compare(self) -> None:
        """Whatever was on disk still is; what is there beside it is known from now on."""
        rows = Counter(self.read())
        lost = [each for each in self.facts - rows if each[0] not in self.forgetting]
        self.forgetting = set()
        if lost:
            self.world.wrong(f"rows are lost: {sorted(lost)}")
        for each in sorted(rows - self.facts):
            self.ever.add(each)
        self.facts = rows
        self.world.stock.check_rows()

    def read(self) -> list[Fact]:
        """All rows of requests, by a reader of our own, which leaves no trace."""
        if not (self.folder / JOURNAL).exists():
            return []
        copy = self.world.folder / "read"
        copy.mkdir()
        for name in (JOURNAL, LOG):
            if (self.folder / name).exists():
                shutil.copyfile(self.folder / name, copy / name)
        db = sqlite3.connect(copy / JOURNAL, isolation_level=None)
        try:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'fact'").fetchone():
                return []
            return db.execute("SELECT stream, kind, body FROM fact ORDER BY id").fetchall()
        finally:
            db.close()
            shutil.rmtree(copy)
