"""Machines: a server, workers, and what users run.  Each has lives, one after the other."""

from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from hagoop.options import ServerConfig, WorkerConfig
from hagoop.server import ServerService
from hagoop.worker_service import WorkerService
from whole.clock import Life
from whole.processes import Processes
from whole.programs import find
from whole.reactor import Reactor

if TYPE_CHECKING:
    from whole.world import World

SERVER_HOST = "10.0.0.1"
SERVER = f"tcp:{SERVER_HOST}:9470"
SPOOL_BYTES = 1 << 30


@define(eq=False)
class Machine:
    """A host with a name, a folder, and at most one process that lives.

    :ivar service: what runs in its life; ``stopping``: it was told to end.
    """

    world: "World"
    name: str
    host: str
    line_seconds: float = 0.01
    life: Life | None = None
    reactor: Reactor | None = None
    service: Any = None
    stopping: bool = False
    random: Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.random = Random(f"{self.name} {self.world.scenario.seed}")

    @property
    def folder(self) -> Path:
        """Its disk."""
        return self.world.folder / self.name

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.life is not None and self.life.acts

    def boot(self) -> Reactor:
        """A new life, with its reactor."""
        world, self.stopping = self.world, False
        life = self.life = Life(self.name)
        world.lives[life] = self
        mood = partial(world.moods.mood, self.name, self.line_seconds)
        processes = Processes(find, mood, world.pids)
        self.reactor = Reactor(
            world.clock, world.network, life, self.host, self.random, processes,
            world.scenario.thread_seconds, partial(self.stopped, life),
        )  # fmt: skip
        return self.reactor

    def stopped(self, life: Life) -> None:
        """Its process wanted to end."""
        self.world.wrong(f"{life.name} has stopped by itself")

    def run(self, acting: Callable[[Reactor], Coroutine[Any, Any, Any]]) -> "Deferred[Any]":
        """Live a life that ends when this does."""
        reactor = self.boot()
        life = self.life
        ended: Deferred[Any] = Deferred()

        def over(result: Any) -> None:
            if not life.dead:
                self.end()
                self.world.clock.call_later(None, 0.0, ended.callback, result)

        def begin() -> None:
            Deferred.fromCoroutine(acting(reactor)).addBoth(over)

        reactor.callLater(0.0, begin)
        return ended

    def end(self, *, vanishes: bool = False, back_in: float | None = None) -> None:
        """Its process is gone, without a word; or all of the machine."""
        life, reactor = self.life, self.reactor
        assert life is not None
        assert reactor is not None
        if life.dead:
            return
        life.dead = True
        reactor.processes.die()
        if vanishes:
            self.world.network.machine_died(life, back_in)
        else:
            self.world.network.process_died(life)
        self.let_go()

    def let_go(self) -> None:
        """What the system takes back of a process that is gone."""
        lock = getattr(self.service, "_lock", None)
        if lock is not None:
            lock.release()

    def stop(self) -> "Deferred[None]":
        """End as SIGTERM has it; fires when the process is gone."""
        gone: Deferred[None] = Deferred()
        self.stopping = True
        reactor, life = self.reactor, self.life
        assert reactor is not None

        def stopped(result: Any) -> None:
            if isinstance(result, Failure):
                self.world.wrong(f"{self.name} could not stop: {result.getTraceback()}")
            if not life.dead:
                self.world.stopped_well(self)
                self.end()
                self.world.clock.call_later(None, 0.0, gone.callback, None)

        def stop() -> None:
            Deferred.fromCoroutine(_stop(self.service)).addBoth(stopped)

        reactor.callLater(0.0, stop)
        return gone


async def _stop(service: Any) -> None:
    await service.stopService()


@define(eq=False)
class WorkerMachine(Machine):
    """A worker's."""

    slots: int = 1

    def start(self) -> None:
        """Begin another life."""
        if self.alive:
            return
        config = WorkerConfig(
            servers=(SERVER,), slots=self.slots, name=self.name, state=self.folder, nice=0,
            memory_bytes=0, disk_bytes=0, allow_root=True, leave_with_server=False,
        )  # fmt: skip
        reactor = self.boot()
        self.service = WorkerService(reactor, config)
        self.world.clock.within(self.life, self.service.privilegedStartService)
        self.world.clock.within(self.life, self.service.startService)

    @property
    def worker(self) -> Any:
        """What its service runs."""
        return self.service.worker


@define(eq=False)
class ServerMachine(Machine):
    """The server's."""

    restarts: int = 0

    @property
    def server(self) -> Any:
        """What its service runs."""
        return self.service._server

    def start(self) -> None:
        """Begin another life: it reads what the one before has left."""
        config = ServerConfig(
            listen=f"tcp:9470:interface={SERVER_HOST}", web=f"tcp:9471:interface={SERVER_HOST}",
            state=self.folder, input_roots=(), keep_seconds=1e9, spool_bytes=SPOOL_BYTES, insecure=True,
        )  # fmt: skip
        self.world.disk.found()
        reactor = self.boot()
        self.service = ServerService(reactor, config)
        self.world.clock.within(self.life, self._start)

    def _start(self) -> None:
        try:
            self.service.privilegedStartService()
            self.service.startService()
        except Exception as error:
            self.world.wrong(f"the server does not start: {error!r}")
            raise
