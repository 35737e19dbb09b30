"""What the system is told about our connections.

They send at once what is written: by itself the system waits for an acknowledgement before it
sends another small part, which took 40 ms of every short exchange.  And they end when the other
machine is gone without a word.
"""

import socket

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    ISystemHandle,
)
from twisted.protocols.policies import ProtocolWrapper
from zope.interface import implementer

PROBE_SECONDS = 10
DEAD_SECONDS = 30
"""How long a peer's machine may acknowledge nothing before its connections are given up."""
OPTIONS = {
    "TCP_NODELAY": 1,
    "TCP_KEEPIDLE": PROBE_SECONDS,
    "TCP_KEEPINTVL": PROBE_SECONDS,
    "TCP_USER_TIMEOUT": 1000 * DEAD_SECONDS,
}


def tune(transport: object) -> None:
    """Let a connection be prompt, and end when the other machine does not answer though nothing be sent.

    A process that is stopped or busy does no harm: its machine answers for it.
    """
    while isinstance(transport, ProtocolWrapper):
        # TLS has a handle of its own, in which there is no socket.
        transport = transport.transport
    if not ISystemHandle.providedBy(transport):
        return
    handle = transport.getHandle()
    if not isinstance(handle, socket.socket) or handle.family not in (socket.AF_INET, socket.AF_INET6):
        return
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in OPTIONS.items():
        # Not every system has all of them.
        if hasattr(socket, name):
            handle.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


@implementer(IStreamClientEndpoint)
@frozen
class Tuned:
    """An endpoint whose connections are tuned."""

    endpoint: IStreamClientEndpoint

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[IProtocol]":
        """Connect."""
        connecting: Deferred[IProtocol] = self.endpoint.connect(protocolFactory)
        return connecting.addCallback(_tuned)


def _tuned(protocol: IProtocol) -> IProtocol:
    tune(getattr(protocol, "transport", None))
    return protocol
