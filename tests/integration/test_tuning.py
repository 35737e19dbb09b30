"""Both ends of a connection are prompt, and notice that the other machine is gone."""

import socket

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol

from hagoop.links import Link
from hagoop.tuning import Tuned, tune


def is_tuned(transport: object) -> bool:
    handle = transport.getHandle()  # type: ignore[attr-defined]
    prompt = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    return bool(prompt and handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))


async def test_both_ends_are_tuned() -> None:
    """A command link by itself, and whoever connects for bytes."""
    from twisted.internet import reactor

    made: Deferred[Link] = Deferred()

    class Served(Link):
        def connectionMade(self) -> None:
            super().connectionMade()
            made.callback(self)

    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(
        Factory.forProtocol(Served)
    )
    place = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    protocol = await Tuned(place).connect(Factory.forProtocol(Protocol))
    served = await made
    assert is_tuned(protocol.transport)
    assert is_tuned(served.transport)
    protocol.transport.abortConnection()
    await port.stopListening()


def test_what_is_no_connection_of_the_system_is_left_alone() -> None:
    """In memory, or nothing at all."""
    tune(None)
    tune(object())
