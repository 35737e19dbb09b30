"""Connections whose other machine is gone without a word: the system notices, if it is told to look."""

import socket

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    ISystemHandle,
)
from zope.interface import implementer

PROBE_SECONDS = 10
DEAD_SECONDS = 30
"""How long a peer's machine may acknowledge nothing before its connections are given up."""
OPTIONS = {
    "TCP_KEEPIDLE": PROBE_SECONDS,
    "TCP_KEEPINTVL": PROBE_SECONDS,
    "TCP_USER_TIMEOUT": 1000 * DEAD_SECONDS,
}


def probe(transport: object) -> None:
    """Let a connection end when the other machine does not answer any more, even if nothing is sent.

    A process that is stopped or busy does no harm: its machine answers for it.
    """
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
class Probed:
    """An endpoint whose connections are probed."""

    endpoint: IStreamClientEndpoint

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[IProtocol]":
        """Connect."""
        connecting: Deferred[IProtocol] = self.endpoint.connect(protocolFactory)
        return connecting.addCallback(_probed)


def _probed(protocol: IProtocol) -> IProtocol:
    probe(getattr(protocol, "transport", None))
    return protocol
