"""Peers that speak AMP by themselves, and so need not behave as ours do."""

import itertools
import socket
from collections.abc import Iterator

from attrs import define, field
from cluster import Cluster

from hagoop.commands import PROTOCOL_VERSION

Box = dict[bytes, bytes]


class Closed(Exception):
    """The server wants to hear no more."""


def box(values: Box) -> bytes:
    """A box as it travels."""
    strings = [each for pair in values.items() for each in pair]
    return b"".join(len(each).to_bytes(2, "big") + each for each in strings) + b"\0\0"


@define(eq=False)
class Peer:
    """A client that has joined.

    :ivar sent: how many calls it has made.
    """

    cluster: Cluster
    sent: int = 0
    _socket: socket.socket = field(init=False)
    _numbers: Iterator[int] = field(factory=lambda: itertools.count(1))
    _unread: bytes = b""

    def __enter__(self) -> "Peer":
        self._socket = socket.create_connection((self.cluster.host, self.cluster.commands), 30)
        nothing = dict.fromkeys(("identity", "process", "name"), b"")
        rest = {"version": b"%d" % PROTOCOL_VERSION, "role": b"client", "slots": b"0", "held": b"[]"}
        try:
            assert b"web_port" in self.call(b"Join", **rest, **nothing)
        except BaseException:
            self._socket.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def call(self, command: bytes, **arguments: bytes) -> Box:
        """Send a command and wait for what is answered, to whatever call."""
        self.send(command, **arguments)
        return self.receive()

    def send(self, command: bytes, **arguments: bytes) -> None:
        """Send a command."""
        asked = {b"_ask": b"%x" % next(self._numbers), b"_command": command}
        self._socket.sendall(box({**asked, **{name.encode(): it for name, it in arguments.items()}}))
        self.sent += 1

    def receive(self) -> Box:
        """The next answer."""
        return {name: self._string() for name in iter(self._string, b"")}

    def _string(self) -> bytes:
        return self._take(int.from_bytes(self._take(2), "big"))

    def _take(self, size: int) -> bytes:
        while len(self._unread) < size:
            data = self._socket.recv(1 << 16)
            if not data:
                raise Closed("the server has closed the connection")
            self._unread += data
        taken, self._unread = self._unread[:size], self._unread[size:]
        return taken

    def give_up_after(self, seconds: float) -> None:
        """How long the server may take no more."""
        self._socket.settimeout(seconds)
