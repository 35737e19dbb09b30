"""Unruly workers in this process, each with its own identity, connection and lives."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

from attrs import define, field
from twisted.application.internet import ClientService
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from hagoop.asking import FirstThatAnswers, retry_seconds
from hagoop.demo.kinds import Habits, Kind, UnrulyLink, make_link
from hagoop.disk import StateLock, lock_state
from hagoop.door.dialling import dial
from hagoop.interfaces import IWorkerReactor
from hagoop.options import WorkerConfig
from hagoop.races import first_of
from hagoop.workbench import Share, Workbench
from hagoop.worker import Worker

log = Logger()
AWAY_SECONDS = 1.0
"""How long the flaky stay away."""
BREAK_SECONDS = 2.0
LEAVE_SECONDS = 6.5
"""A worker sees the jobs in hand through before it leaves."""


@define(eq=False)
class Life:
    """A worker from its start to its death: what a process would hold in its memory."""

    worker: Worker
    habits: Habits
    die: Callable[[], object]
    _link: UnrulyLink | None = None
    _client: ClientService = field(init=False)

    def begin(self) -> None:
        """Connect, and ask for work."""
        reactor = self.worker.reactor
        endpoints = [dial(reactor, each) for each in self.worker.config.servers]
        self._client = ClientService(
            FirstThatAnswers(endpoints),
            _LinkFactory(self),
            retryPolicy=retry_seconds,
            clock=reactor,
        )
        self.worker.start()
        self._client.startService()

    def make_link(self) -> UnrulyLink:
        """A connection was made."""
        self._link = make_link(self.worker, self.habits, self.die)
        return self._link

    async def break_off(self) -> None:
        """End at once: to the server the connection breaks, and nothing is said."""
        if self._link is not None:
            self._link.drop("this worker dies")
        await self._client.stopService()
        await self._stop(BREAK_SECONDS)

    async def leave(self) -> None:
        """End in good order."""
        if self._link is not None:
            self._link.hurry()
        await self._stop(LEAVE_SECONDS)
        await self._client.stopService()

    async def _stop(self, seconds: float) -> None:
        """Whatever is wrong with a worker: it ends."""
        stopping = Deferred.fromCoroutine(self.worker.stop())
        await first_of(stopping, deferLater(self.worker.reactor, seconds))


class _LinkFactory(Factory):
    noisy = False

    def __init__(self, life: Life) -> None:
        self._life = life

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return self._life.make_link()


@define(eq=False)
class Hosted:
    """One worker through all of its lives.

    :ivar dead: called when it has died, with its programs gone; None: another life begins here,
        if it is of a kind that comes back.
    :ivar lives: how many have begun.
    """

    reactor: IWorkerReactor
    config: WorkerConfig
    habits: Habits
    seed: str
    dead: Callable[[], None] | None = None
    lives: int = 0
    _life: Life | None = None
    _lock: StateLock | None = None
    _gone: "Deferred[None]" = field(factory=Deferred)
    _dies: bool = False
    _calls: list[IDelayedCall] = field(factory=list)

    def start(self) -> None:
        """Take the state folder, and begin the first life, or the one after ``lives``."""
        self._lock = lock_state(self.config.state)
        self._begin()

    def _begin(self) -> None:
        self.lives += 1
        self._dies, self._gone = False, Deferred()
        # A folder of its own: what the life before still removes may have the same names.
        scratch = self._scratch / str(self.lives)
        share = Share(self.config.memory_bytes, self.config.disk_bytes)
        bench = Workbench(self.reactor, scratch, os.environ.get("PATH", os.defpath), share)
        self._life = Life(Worker(self.reactor, self.config, bench), self.habits, self.die)
        self._life.begin()
        seconds = self.habits.life_seconds(Random(f"{self.seed} {self.config.name} {self.lives}"))
        if seconds is not None:
            self._call_later(seconds, self.die)

    @property
    def _scratch(self) -> Path:
        return self.config.state / "scratch"

    def _call_later(self, seconds: float, call: Callable[[], object]) -> None:
        self._calls = [each for each in self._calls if each.active()]
        self._calls.append(self.reactor.callLater(seconds, call))

    def die(self) -> None:
        """End the life, soon: whoever says so may be part of it."""
        if not self._dies:
            log.info("{name} dies in its life {life}", name=self.config.name, life=self.lives)
            self._dies = True
            self._call_later(0, self._die)

    def _die(self) -> None:
        life, self._life = self._life, None
        if life is not None:
            ended = Deferred.fromCoroutine(life.break_off())
            ended.addCallback(self._died).addErrback(self._broken)
            ended.addCallback(self._gone.callback)

    def _died(self, _: None) -> None:
        if self.dead is not None:
            self.dead()
        shutil.rmtree(self._scratch, ignore_errors=True)
        if self.habits.kind is Kind.FLAKY and self._lock is not None:
            self._call_later(AWAY_SECONDS, self._begin)

    def _broken(self, reason: Failure) -> None:
        log.failure("{name} did not die as it should", reason, name=self.config.name)

    def stop(self) -> "Deferred[None]":
        """Leave in good order; fires when all programs are gone."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        for each in self._calls:
            if each.active():
                each.cancel()
        life, self._life = self._life, None
        if life is not None:
            await life.leave()
        else:
            await self._gone
        shutil.rmtree(self._scratch, ignore_errors=True)
        lock.release()


def stop_all(hosted: list[Hosted]) -> "Deferred[list[tuple[bool, None]]]":
    """Let all of them leave."""
    return DeferredList([each.stop() for each in hosted], consumeErrors=True)
