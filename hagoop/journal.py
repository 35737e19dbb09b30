"""Facts on disk before anyone is told: SQLite for the server, memory for the simulator.

Both are one class with two stores.  All that is queued becomes one group: the bytes that
it names are synced, then its rows are committed, then its Deferreds fire.  The SQL is in ``rows``.
"""

import json
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from hagoop.disk import StateLock, is_full, lock_state, why
from hagoop.errors import SpoolFull, StateError
from hagoop.interfaces import IJournal, Syncable
from hagoop.rows import Body, SqliteStore, Write

log = Logger()

# json.dumps would build an encoder for every fact.
_JSON = json.JSONEncoder(separators=(",", ":"), sort_keys=True)

Done = TypeVar("Done")


class Store(Protocol):
    """What keeps the rows; all but ``name`` and ``epoch`` block."""

    name: str
    epoch: int

    def commit(self, writes: Sequence[Write]) -> None:
        """Make all of them durable, or raise and change nothing."""

    def replay(self) -> Iterator[tuple[str, str, Body]]:
        """As of ``IJournal``."""

    def values(self) -> dict[str, Body]:
        """As of ``IJournal``."""

    def close(self) -> None:
        """No more will come."""

    def abandon(self) -> None:
        """The same, and nothing more may be written."""


class Elsewhere(Protocol):
    """Where blocking work is done, one piece after the other."""

    def run(self, work: Callable[[], Done], then: Callable[[Done], object]) -> None:
        """Do ``work`` there, then call ``then`` with its result in the reactor's thread."""

    def end(self) -> None:
        """No more work will come, and none is left."""


@define(eq=False)
class WriterThread:
    """A thread that begins with its first work, so that a start that failed can exit."""

    _reactor: IReactorFromThreads
    _todo: "queue.SimpleQueue[Callable[[], None] | None]" = field(factory=queue.SimpleQueue, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def run(self, work: Callable[[], Done], then: Callable[[Done], object]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="hagoop-journal")
            self._thread.start()
        self._todo.put(lambda: self._reactor.callFromThread(then, work()))

    def end(self) -> None:
        if self._thread is not None:
            self._todo.put(None)
            self._thread.join()

    def _loop(self) -> None:
        for work in iter(self._todo.get, None):
            work()


@define(eq=False)
class Later:
    """The same without a thread: work is done on the clock's next turn."""

    _clock: IReactorTime

    def run(self, work: Callable[[], Done], then: Callable[[Done], object]) -> None:
        self._clock.callLater(0, lambda: then(work()))

    def end(self) -> None:
        """Nothing was begun."""


@implementer(IJournal)
class Journal:
    """The queue, the groups and the end; a store keeps the rows."""

    def __init__(
        self, store: Store, elsewhere: Elsewhere, on_broken: Callable[[StateError], None] | None
    ) -> None:
        self.epoch = store.epoch
        self._store = store
        self._elsewhere = elsewhere
        self._on_broken = on_broken
        self._queued: deque[Write] = deque()
        self._busy = False
        self._broken: StateError | None = None
        self._closers: list[Deferred[None]] = []
        self._closed = False

    def replay(self) -> Iterable[tuple[str, str, Body]]:
        return self._store.replay()

    def values(self) -> dict[str, Body]:
        return self._store.values()

    def append(
        self, stream: str, kind: str, body: Body, syncs: Sequence[Syncable] = ()
    ) -> "Deferred[None]":
        return self._enqueue(Write("fact", stream, kind, _encode(body), tuple(syncs)))

    def put(self, key: str, body: Body) -> "Deferred[None]":
        return self._enqueue(Write("value", key, body=_encode(body)))

    def forget(self, stream: str) -> "Deferred[None]":
        return self._enqueue(Write("forget", stream))

    def close(self) -> "Deferred[None]":
        if self._closed:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._closers.append(done)
        self._go_on()
        return done

    def _enqueue(self, write: Write) -> "Deferred[None]":
        # A name that is no text must not reach the thread, where it would end everybody's writing.
        write.name.encode()
        if self._broken is not None:
            return fail(self._broken)
        if self._closers or self._closed:
            return fail(StateError("The journal is closed"))
        self._queued.append(write)
        self._go_on()
        return write.done

    def _go_on(self) -> None:
        if self._busy:
            return
        if self._queued:
            self._busy = True
            self._elsewhere.run(self._commit, self._settle)
        elif self._closers:
            self._busy = True
            self._elsewhere.run(self._end_store, self._end)

    def _end_store(self) -> None:
        if self._broken is None:
            self._store.close()
        else:
            self._store.abandon()

    def _commit(self) -> tuple[list[Write], Exception | None]:
        """Sync and commit one group; in the thread."""
        group = self._drain()
        # Whatever it is, a Deferred that never fires would be worse.
        try:
            for each in {id(each): each for write in group for each in write.syncs}.values():
                each.sync()
        except Exception as problem:
            # Also for want of room: the system forgets what it could not write, and calls it clean.
            return group, _broken(self._store.name, problem)
        try:
            self._store.commit(group)
        except Exception as problem:
            return group, _verdict(self._store.name, problem)
        return group, None

    def _drain(self) -> list[Write]:
        """Take what is queued.  The thread takes at one end, the reactor adds at the other."""
        group = []
        while self._queued:
            group.append(self._queued.popleft())
        return group

    def _settle(self, outcome: tuple[list[Write], Exception | None]) -> None:
        group, problem = outcome
        self._busy = False
        if isinstance(problem, StateError):
            self._broken = problem
            group += self._drain()
        self._go_on()
        for each in group:
            if problem is None:
                each.done.callback(None)
            else:
                each.done.errback(problem)
        if self._broken is not None and problem is self._broken:
            self._tell(self._broken)

    def _tell(self, broken: StateError) -> None:
        log.error("Nothing can be recorded any more: {problem}", problem=broken)
        if self._on_broken is not None:
            self._on_broken(broken)

    def _end(self, _: None) -> None:
        self._closed = True
        self._elsewhere.end()
        closers, self._closers = self._closers, []
        for each in closers:
            each.callback(None)


class SqliteJournal(Journal):
    """A journal in an SQLite file.

    :param reactor: takes the results back from the writer's thread.
    :param on_broken: told once when nothing can be written any more.
    :param elsewhere: in place of a thread.
    :raises StateError: the file cannot be used.
    """

    def __init__(
        self,
        path: Path,
        reactor: IReactorFromThreads,
        on_broken: Callable[[StateError], None] | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        super().__init__(SqliteStore(path), elsewhere or WriterThread(reactor), on_broken)


@define
class MemoryDisk:
    """What a memory journal leaves behind for the next one."""

    epoch: int = 0
    facts: list[tuple[str, str, str]] = field(factory=list)
    values: dict[str, str] = field(factory=dict)


class MemoryJournal(Journal):
    """The same without a file.

    :param disk: of an earlier one, to be opened again.
    """

    def __init__(
        self,
        clock: IReactorTime,
        disk: MemoryDisk | None = None,
        on_broken: Callable[[StateError], None] | None = None,
    ) -> None:
        super().__init__(MemoryStore(disk or MemoryDisk()), Later(clock), on_broken)


class MemoryStore:
    """Rows in lists."""

    name = "memory"

    def __init__(self, disk: MemoryDisk) -> None:
        disk.epoch += 1
        self.epoch = disk.epoch
        self._disk = disk

    def commit(self, writes: Sequence[Write]) -> None:
        for each in writes:
            if each.change == "fact":
                self._disk.facts.append((each.name, each.kind, each.body))
            elif each.change == "value":
                self._disk.values[each.name] = each.body
            else:
                self._disk.facts = [fact for fact in self._disk.facts if fact[0] != each.name]

    def replay(self) -> Iterator[tuple[str, str, Body]]:
        for stream, kind, body in self._disk.facts:
            yield stream, kind, json.loads(body)

    def values(self) -> dict[str, Body]:
        return {key: json.loads(body) for key, body in self._disk.values.items()}

    def close(self) -> None:
        """Nothing is held."""

    def abandon(self) -> None:
        """Nor is it then."""


def _verdict(name: str, problem: Exception) -> Exception:
    if is_full(problem):
        return SpoolFull("The server's disk is full; free some space there, then try again")
    return _broken(name, problem)


def _broken(name: str, problem: Exception) -> StateError:
    if not isinstance(problem, (OSError, sqlite3.Error)):
        log.failure("A group for {name} failed", name=name)
    made = StateError(
        f"The journal '{name}' could not be written ({why(problem)}); see to the disk, then restart"
    )
    made.__cause__ = problem
    return made


def _encode(body: Body) -> str:
    return _JSON.encode(body)


__all__ = ["Journal", "Later", "MemoryDisk", "MemoryJournal", "SqliteJournal", "StateLock", "lock_state"]
