"""Connections in memory, all pumped together, on one clock."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, ITCPTransport
from twisted.internet.task import Clock
from twisted.test.iosim import FakeTransport, IOPump, connect
from zope.interface import implementer

S = TypeVar("S")
C = TypeVar("C")
HERE, THERE = IPv4Address("TCP", "10.0.0.1", 9470), IPv4Address("TCP", "10.0.0.2", 40000)


@implementer(ITCPTransport)
class Wire(FakeTransport):
    """One end; what was written before it is aborted is lost."""

    def abortConnection(self) -> None:
        self.stream = []
        super().abortConnection()


@define(eq=False)
class Wires:
    """All connections of a test."""

    clock: Clock = field(factory=Clock)
    _pumps: list[IOPump] = field(factory=list)

    def connect(self, server: S, client: C, there: IPv4Address = THERE) -> tuple[S, C]:
        """Connect two protocols; ``there`` is the client's address."""
        ends = Wire(server, True, HERE, there), Wire(client, False, there, HERE)
        pump = connect(server, ends[0], client, ends[1], greet=False, clock=self.clock)
        self._pumps.append(pump)
        self.settle()
        return server, client

    def settle(self) -> None:
        """Until nothing moves any more."""
        quiet = 0
        while quiet < 5:
            self.clock.advance(0)
            moved = [pump.pump(advanceClock=False) for pump in self._pumps]
            quiet = 0 if any(moved) else quiet + 1

    def advance(self, seconds: float) -> None:
        """Time goes by, a second at most at once."""
        while seconds > 0:
            self.clock.advance(min(1.0, seconds))
            self.settle()
            seconds -= 1.0

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> "Deferred[Any]":
        """Begin something."""
        started = Deferred.fromCoroutine(coroutine)
        self.settle()
        return started

    def result(self, waited: "Deferred[Any]") -> Any:
        """What has come of it; raises what failed it."""
        results: list[Any] = []
        failures: list[Any] = []
        self.settle()
        waited.addCallbacks(results.append, failures.append)
        for each in failures:
            each.raiseException()
        assert results, "it has not come yet"
        return results[0]

    def is_closed(self, protocol: IProtocol) -> bool:
        """Whether a protocol's connection is gone."""
        transport: Any = protocol.transport
        return transport is None or bool(transport.disconnected or transport.disconnecting)
