"""Hosts' ports, how they are reached, and whom they have links with."""

from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.base import BaseConnector
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import (
    CannotListenError,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
)
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure
from zope.interface import implementer

from whole.clock import Life, WorldClock
from whole.links import PROBE_SECONDS, End, Link, Weather

SYN_SECONDS = 1.0


@implementer(IListeningPort)
@define(eq=False)
class Port:
    """Takes connections."""

    network: "Network"
    life: Life
    host: str
    port: int
    factory: Any

    def startListening(self) -> None:
        """From now on."""
        if (self.host, self.port) in self.network.ports:
            raise CannotListenError(self.host, self.port, OSError("in use"))
        self.network.ports[self.host, self.port] = self
        self.factory.doStart()

    def stopListening(self) -> "Deferred[None]":
        """Not any more."""
        if self.network.ports.get((self.host, self.port)) is self:
            del self.network.ports[self.host, self.port]
            self.factory.doStop()
        return succeed(None)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", self.host, self.port)


class Dialling:
    """A connection that is being made, as a connector knows it."""

    def __init__(self, network: "Network", life: Life, host: str, connector: "Connector") -> None:
        self.network, self.life, self.host, self.connector = network, life, host, connector
        self.over = False
        self.end: End | None = None
        network.clock.call_later(None, network.weather.delay(), self._knock)

    def _knock(self) -> None:
        """It reaches the other host, if anything does."""
        there = self.connector.host, self.connector.port
        if self.over or self.life.dead:
            return
        blocked = self.network.blocked(self.host, there[0])
        if blocked:
            self.network.clock.call_later(None, blocked + SYN_SECONDS, self._knock)
            return
        port = self.network.ports.get(there)
        if port is None or port.life.dead:
            self._later(self.failIfNotConnected, ConnectionRefusedError())
            return
        self.network.clock.call_later(port.life, 0.0, self._accept, port)

    def _later(self, function: Callable[..., object], *arguments: Any) -> None:
        self.network.clock.call_later(self.life, self.network.weather.delay(), function, *arguments)

    def _accept(self, port: Port) -> None:
        if self.network.ports.get((port.host, port.port)) is not port:
            self._later(self.failIfNotConnected, ConnectionRefusedError())
            return
        link = self.network.link(self.life, self.host, port)
        protocol = port.factory.buildProtocol(link.ends[0].getHost())
        if protocol is None:
            link.ends[0].link.over(link.ends[0])
            link.ends[1].link.over(link.ends[1])
            self._later(self.failIfNotConnected, ConnectionLost())
            return
        link.ends[1].begin(protocol)
        self.network.clock.call_later(None, self.network.weather.delay(), self._reached, link)

    def _reached(self, link: Link) -> None:
        client = link.ends[0]
        if self.over or self.life.dead:
            client.link.over(client)
            if not client.way.dead:
                client.way.end(ConnectionLost())
        elif link.ends[1].way.dead or client.way.dead:
            client.link.over(client)
        else:
            self.network.clock.call_later(self.life, 0.0, self._connected, client)

    def _connected(self, client: End) -> None:
        if self.over:
            client.link.over(client)
            client.way.end(ConnectionLost())
            return
        protocol = self.connector.buildProtocol(client.getPeer())
        if protocol is None:
            client.connected = True
            client.protocol = _Nobody()
            client.abortConnection()
            return
        self.over, self.end = True, client
        client.lost = self.connector.connectionLost
        client.begin(protocol)

    def failIfNotConnected(self, reason: Exception) -> None:
        """It takes too long, or is refused, or nobody wants it any more."""
        if not self.over:
            self.over = True
            self.connector.connectionFailed(Failure(reason))

    def loseConnection(self) -> None:
        """Close it."""
        if self.end is not None:
            self.end.loseConnection()


class _Nobody:
    def connectionLost(self, reason: Failure) -> None:
        """Nobody minds."""


class Connector(BaseConnector):
    """One attempt."""

    def __init__(
        self, network: "Network", reactor: Any, place: tuple[str, int], factory: Any, timeout: Any
    ) -> None:
        self.host, self.port = place
        self._network, self._life, self._here = network, reactor.life, reactor.host
        super().__init__(factory, timeout, reactor)

    def _makeTransport(self) -> Any:
        return Dialling(self._network, self._life, self._here, self)

    def getDestination(self) -> IPv4Address:
        return IPv4Address("TCP", self.host, self.port)


@define(eq=False)
class Network:
    """All hosts' ports and links.

    :ivar partitions: until when nothing passes between two hosts.
    """

    clock: WorldClock
    random: Random
    weather: Weather
    ports: dict[tuple[str, int], Port] = field(factory=dict)
    links: dict[int, Link] = field(factory=dict)
    partitions: dict[frozenset[str], float] = field(factory=dict)
    _number: int = 0

    def link(self, life: Life, host: str, port: Port) -> Link:
        """A new one."""
        self._number += 1
        link = Link(self, self._number)
        here, there = IPv4Address("TCP", host, 20_000 + self._number % 40_000), port.getHost()
        link.join(End(link, life, here, there), End(link, port.life, there, here))
        self.links[link.number] = link
        return link

    @property
    def is_settled(self) -> bool:
        """Whether nothing is on its way any more that the dead have sent."""
        ends = (end for link in self.links.values() for end in link.ends)
        return not any(end.life.dead and end.way.flying for end in ends)

    def blocked(self, one: str, other: str) -> float:
        """For how long nothing passes between two hosts."""
        return max(0.0, self.partitions.get(frozenset((one, other)), 0.0) - self.clock.now)

    def partition(self, one: str, other: str, seconds: float) -> None:
        """Nothing passes; what is longer than the systems' patience ends links."""
        self.partitions[frozenset((one, other))] = self.clock.now + seconds
        for link in list(self.links.values()):
            if {each.getHost().host for each in link.ends} == {one, other}:
                if seconds >= PROBE_SECONDS:
                    link.die()
                else:
                    link.stall(seconds)

    def process_died(self, life: Life) -> None:
        """Its system closes its links."""
        for link in [each for each in self.links.values() if each.concerns(life)]:
            for end in link.ends:
                if end.life is life and not end.closed:
                    end.connected = False
                    end._drop_unsent()
                    link.over(end)
                    gone = ConnectionDone() if self.random.random() < 0.5 else ConnectionLost()
                    end.way.end(gone)
        self._close_ports(life)

    def machine_died(self, life: Life, back_in: float | None) -> None:
        """Nobody closes anything: who waits for it finds out after a while."""
        for link in [each for each in self.links.values() if each.concerns(life)]:
            for end in link.ends:
                end.way.dead = True
                if end.life is life:
                    end.connected = False
                    link.over(end)
                    # Even where it was closed before: that may still have been on its way.
                    patience = PROBE_SECONDS + 10 * self.random.random()
                    back = patience if back_in is None else back_in + 10 * self.random.random()
                    end.peer.fail_later(min(patience, back), ConnectionLost())
        self._close_ports(life)

    def _close_ports(self, life: Life) -> None:
        for each in [where for where, port in self.ports.items() if port.life is life]:
            del self.ports[each]
