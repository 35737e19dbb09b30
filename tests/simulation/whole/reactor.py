"""What a machine's process in the world has in place of Twisted's reactor."""

from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import (
    IHostnameResolver,
    IHostResolution,
    IReactorCore,
    IReactorFDSet,
    IReactorPluggableNameResolver,
    IReactorProcess,
    IReactorTCP,
    IReactorThreads,
    IReactorTime,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from whole.clock import Call, Life, WorldClock
from whole.network import Connector, Network, Port
from whole.processes import Processes


@implementer(IHostResolution)
@define
class _Resolution:
    name: str

    def cancel(self) -> None:
        """It is over already."""


@implementer(IHostnameResolver)
class Resolver:
    """Hosts are named by their addresses."""

    def resolveHostName(
        self, receiver: Any, hostName: str, portNumber: int = 0, *_: Any, **__: Any
    ) -> Any:
        receiver.resolutionBegan(resolution := _Resolution(hostName))
        receiver.addressResolved(IPv4Address("TCP", hostName, portNumber))
        receiver.resolutionComplete()
        return resolution


@define(eq=False)
class Threads:
    """A thread pool: what blocks is done at once, at a later moment, and so is the news of it."""

    reactor: "Reactor"
    random: Random

    def callInThreadWithCallback(
        self, told: Callable[[bool, Any], None] | None, function: Any, *arguments: Any, **named: Any
    ) -> None:
        work = self.reactor.callLater(self.delay(), self._work, told, function, arguments)
        work.named = named

    def delay(self) -> float:
        """How long it takes until it is done."""
        return self.random.expovariate(1 / self.reactor.thread_seconds)

    def _work(self, told: Any, function: Any, arguments: Any, **named: Any) -> None:
        try:
            result = function(*arguments, **named)
        except Exception:
            told(False, Failure())
        else:
            told(True, result)


@implementer(
    IReactorCore,
    IReactorFDSet,
    IReactorPluggableNameResolver,
    IReactorProcess,
    IReactorTCP,
    IReactorThreads,
    IReactorTime,
)
@define(eq=False)
class Reactor:
    """Of one life of one machine.

    :ivar host: its address.
    :ivar stopped: called when somebody stops it.
    :ivar processes: the programs that it has started.
    """

    clock: WorldClock
    network: Network
    life: Life
    host: str
    random: Random
    processes: Processes
    thread_seconds: float = 0.001
    stopped: Callable[[], None] = lambda: None
    running: bool = True
    nameResolver: Resolver = field(factory=Resolver)
    _threads: Threads = field(init=False)
    _writers: dict[Any, None] = field(factory=dict)
    _looking: bool = False

    def __attrs_post_init__(self) -> None:
        self._threads = Threads(self, self.random)

    # Time

    def seconds(self) -> float:
        """As ``AwakeClock`` has it: less the time in which it was stopped."""
        return 1000.0 + self.clock.now - self.life.paused

    def callLater(self, delay: float, callable: Any, *args: Any, **kw: Any) -> Call:
        call = self.clock.call_later(self.life, delay, callable, *args)
        call.named = kw
        return call

    def getDelayedCalls(self) -> list[Call]:
        return self.clock.planned(self.life)

    # Core

    def callWhenRunning(self, callable: Any, *args: Any, **kw: Any) -> None:
        self.callLater(0.0, callable, *args, **kw)

    def addSystemEventTrigger(self, *_: Any, **__: Any) -> None:
        """There is no shutdown but that of the service."""

    def removeSystemEventTrigger(self, _: Any) -> None:
        """Likewise."""

    def stop(self) -> None:
        self.stopped()

    # Threads

    def callFromThread(self, callable: Any, *args: Any, **kw: Any) -> None:
        self.callLater(0.0, callable, *args, **kw)

    def callInThread(self, callable: Any, *args: Any, **kw: Any) -> None:
        self._threads.callInThreadWithCallback(lambda *_: None, callable, *args, **kw)

    def getThreadPool(self) -> Threads:
        return self._threads

    # Network

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Port:
        listening = Port(self.network, self.life, interface or self.host, port, factory)
        listening.startListening()
        return listening

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> Connector:
        connector = Connector(self.network, self, (host, port), factory, timeout)
        connector.connect()
        return connector

    # Descriptors: only pipes to programs are waited for

    def addWriter(self, writer: Any) -> None:
        self._writers[writer] = None
        self.look_soon()

    def removeWriter(self, writer: Any) -> None:
        self._writers.pop(writer, None)
        self.processes.wake()

    def look_soon(self) -> None:
        """Somebody may have room."""
        if self._writers and not self._looking:
            self._looking = True
            self.callLater(0.0, self._look)

    def _look(self) -> None:
        self._looking = False
        for each in list(self._writers):
            if each in self._writers and self.processes.has_room(each.fileno()):
                each.doWrite()
                self.processes.wake()
                self.look_soon()

    def addReader(self, reader: Any) -> None:
        raise NotImplementedError("nobody reads descriptors")

    removeReader = addReader

    def removeAll(self) -> list[Any]:
        return []

    def getReaders(self) -> list[Any]:
        return []

    def getWriters(self) -> list[Any]:
        return list(self._writers)

    # Processes

    def spawnProcess(
        self, processProtocol: Any, executable: Any, args: Any, env: Any, *, childFDs: dict[int, Any]
    ) -> Any:
        return self.processes.spawn(self, processProtocol, args, env, childFDs)
