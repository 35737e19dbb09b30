"""Links in memory: late, in pieces, stalled, dead without a word, cut.

A direction of a link keeps its order, as TCP does.  A *stall* delays what is sent; a *dead* direction
loses it, and after half a minute both systems give the link up, as they are told to by ``tuning.py``.
"""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from whole.clock import Life

if TYPE_CHECKING:
    from whole.network import Network

BUFFER_BYTES = WINDOW_BYTES = 1 << 16
PROBE_SECONDS = 30.0


@define(eq=False)
class Weather:
    """What a network is like.

    :ivar latency: seconds that most pieces take; ``spikes``: how often one takes 20 times as long.
    :ivar piece: bytes that travel together at most.
    """

    random: Random
    latency: float
    spikes: float
    piece: int

    def delay(self) -> float:
        """Of the next piece."""
        seconds = self.latency * (0.5 + self.random.random())
        return seconds * (20 if self.random.random() < self.spikes else 1)


class Way:
    """One direction of a link."""

    def __init__(self, network: "Network", source: "End", target: "End") -> None:
        self.network, self.source, self.target = network, source, target
        self.waiting: deque[bytes] = deque()
        self.size = 0
        self.flying = 0
        self.dead = False
        self.stalled_until = 0.0
        self.ending = False
        self._last = 0.0
        self._pumping = False

    def send(self, data: bytes) -> None:
        """More bytes."""
        self.waiting.append(data)
        self.size += len(data)
        self.pump_soon()

    def pump_soon(self) -> None:
        """Send what fits on the machine's next turn."""
        if not self._pumping:
            self._pumping = True
            self.network.clock.call_later(self.source.life, 0.0, self._pump)

    def _pump(self) -> None:
        self._pumping = False
        while self.size and self.flying + self.target.unread < WINDOW_BYTES:
            self._launch(self._take())
        if self.size < BUFFER_BYTES:
            self.source.drained()
        if self.ending and not self.size and self.source.producer is None:
            self.source.flushed()

    def _take(self) -> bytes:
        most = min(self.network.weather.piece, WINDOW_BYTES)
        if len(self.waiting) > 1 and self.size <= most:
            data = b"".join(self.waiting)
            self.waiting.clear()
        else:
            data = self.waiting.popleft()
            if len(data) > most:
                self.waiting.appendleft(data[most:])
                data = data[:most]
        self.size -= len(data)
        return data

    def _launch(self, data: bytes) -> None:
        self.flying += len(data)
        self._arrive_later(self._arrive, data)

    def _arrive_later(self, arrive: Callable[..., None], *arguments: Any) -> None:
        clock = self.network.clock
        wanted = max(clock.now, self.stalled_until) + self.network.weather.delay()
        self._last = max(self._last, wanted)
        # Whoever sent it may be dead by then.
        clock.call_later(None, self._last - clock.now, arrive, *arguments)

    def _arrive(self, data: bytes) -> None:
        self.flying -= len(data)
        if not self.dead:
            self.target.take(data)
            self.pump_soon()

    def end(self, reason: Exception) -> None:
        """Behind all that is on its way: the other side closed."""
        self._arrive_later(self._end, reason)

    def _end(self, reason: Exception) -> None:
        if not self.dead:
            self.target.closed_by_peer(reason)


@implementer(ITCPTransport, IConsumer, IPushProducer)
class End:
    """A transport: one machine's end of a link."""

    protocol: Any
    way: Way
    peer: "End"

    def __init__(self, link: "Link", life: Life, here: IPv4Address, there: IPv4Address) -> None:
        self.link, self.life, self._here, self._there = link, life, here, there
        self.connected = self.closed = False
        self.disconnecting = False
        self.producer: Any = None
        self._streaming = False
        self._told_to_pause = False
        self._paused = False
        self._unread: deque[bytes] = deque()
        self.unread = 0
        self._end: Exception | None = None
        self.lost: Callable[[Failure], None] = lambda _: None

    def begin(self, protocol: Any) -> None:
        """The connection is made."""
        self.protocol, self.connected = protocol, True
        protocol.makeConnection(self)
        # Something may have come before.
        self.link.network.clock.call_later(self.life, 0.0, self._read)

    # What protocols call

    def write(self, data: bytes) -> None:
        if self.connected and data and self.life.acts:
            self.way.send(bytes(data))
            if self.producer is not None and self._streaming and self.way.size > BUFFER_BYTES:
                self._told_to_pause = True
                self.producer.pauseProducing()

    def writeSequence(self, iovec: Any) -> None:
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            self.way.ending = True
            self.way.pump_soon()

    def loseWriteConnection(self) -> None:
        self.loseConnection()

    def abortConnection(self) -> None:
        if self.connected:
            self.disconnecting = True
            self._drop_unsent()
            self.link.network.clock.call_later(self.life, 0.0, self._abort)

    def _abort(self) -> None:
        if self.connected:
            if self.life.acts:
                self.way.end(ConnectionLost())
            self.fail(ConnectionAborted())

    def _drop_unsent(self) -> None:
        self.way.waiting.clear()
        self.way.size = 0

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self.producer is not None:
            raise RuntimeError(f"cannot register {producer}: {self.producer} is there")
        if not self.connected:
            producer.stopProducing()
            return
        self.producer, self._streaming = producer, streaming
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self.producer = None
        if self.disconnecting:
            self.way.pump_soon()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        if self._paused:
            self._paused = False
            self.link.network.clock.call_later(self.life, 0.0, self._read)

    def stopProducing(self) -> None:
        self.loseConnection()

    def getPeer(self) -> IPv4Address:
        return self._there

    def getHost(self) -> IPv4Address:
        return self._here

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """They always are prompt."""

    def getTcpKeepAlive(self) -> bool:
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """They always are probed."""

    # What the network calls

    def drained(self) -> None:
        """There is room for more."""
        if self.producer is not None and (self._told_to_pause or not self._streaming):
            self._told_to_pause = False
            self.producer.resumeProducing()

    def flushed(self) -> None:
        """All is sent of what was written before it was closed."""
        if self.connected:
            if self.life.acts:
                self.way.end(ConnectionDone())
            self.fail(ConnectionDone())

    def take(self, data: bytes) -> None:
        """Bytes arrive."""
        if not (self.closed or self.life.dead):
            self._unread.append(data)
            self.unread += len(data)
            self.link.network.clock.call_later(self.life, 0.0, self._read)

    def closed_by_peer(self, reason: Exception) -> None:
        """No more will come."""
        self._end = reason
        if not self.life.dead:
            self.link.network.clock.call_later(self.life, 0.0, self._read)

    def _read(self) -> None:
        while self._unread and self.connected and not self._paused and not self.disconnecting:
            data = self._unread.popleft()
            self.unread -= len(data)
            self.protocol.dataReceived(data)
            self.peer.way.pump_soon()
        if self._end is not None and self.connected and (not self._unread or self.disconnecting):
            self.fail(self._end)

    def fail(self, reason: Exception) -> None:
        """The link is over for this end."""
        if not self.connected:
            return
        self.connected = False
        self._drop_unsent()
        self.link.over(self)
        if self.producer is not None:
            self.producer.stopProducing()
            self.producer = None
        protocol, self.protocol = self.protocol, None
        protocol.connectionLost(Failure(reason))
        self.lost(Failure(reason))

    def fail_later(self, seconds: float, reason: Exception) -> None:
        """The same, when the machine notices."""
        self.link.network.clock.call_later(self.life, seconds, self.fail, reason)


@define(eq=False)
class Link:
    """Two ends.  ``number``: for the story."""

    network: "Network"
    number: int
    ends: tuple[End, End] = field(init=False)
    _over: int = 0

    def join(self, client: End, server: End) -> None:
        """Connect the ends."""
        self.ends = client, server
        client.peer, server.peer = server, client
        client.way = Way(self.network, client, server)
        server.way = Way(self.network, server, client)

    @property
    def name(self) -> str:
        """For the story."""
        client, server = self.ends
        return f"link {self.number} {client.life.name}-{server.life.name}:{server.getHost().port}"

    def over(self, end: End) -> None:
        """One end is closed."""
        self._over += not end.closed
        end.closed = True
        if self._over == 2:
            self.network.links.pop(self.number, None)

    def concerns(self, life: Life) -> bool:
        """Whether a life has an end of it."""
        return any(each.life is life for each in self.ends)

    # What goes wrong

    def stall(self, seconds: float, which: tuple[int, ...] = (0, 1)) -> None:
        """What is sent from now on comes later."""
        for each in which:
            self.ends[each].way.stalled_until = self.network.clock.now + seconds

    def die(self, which: tuple[int, ...] = (0, 1)) -> None:
        """Bytes vanish; without acknowledgements, both systems give it up in the end."""
        for each in which:
            self.ends[each].way.dead = True
        for end in self.ends:
            end.fail_later(PROBE_SECONDS + 10 * self.network.random.random(), ConnectionLost())

    def cut(self) -> None:
        """It breaks, and both ends are told, one of them perhaps a while later."""
        late = self.network.random.choice([0, 1])
        for number, end in enumerate(self.ends):
            end.way.dead = True
            seconds = 3 * self.network.random.random() if number == late else 0.0
            end.fail_later(seconds, ConnectionLost())
