"""Connections to the web endpoint: which grant a request shows, and where its body goes."""

from collections.abc import Callable, Collection
from typing import Any, cast

from attrs import define
from twisted.internet.error import ConnectionClosed, ConnectionLost
from twisted.internet.interfaces import ITCPTransport
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as HttpRequest
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from hagoop.door import greetings
from hagoop.door.porch import Porch
from hagoop.errors import HaGoopError, LimitExceeded, SpoolFull, StateError, TransferFailed
from hagoop.grants import AssignmentGrant, Given, Grant, Grants, UploadGrant
from hagoop.interfaces import Arrived, Arriving
from hagoop.tuning import tune

BEARER = b"Bearer "
MOST_UNWANTED = 64 << 10
"""How much of a body is listened to that nobody has allowed."""
IDLE_SECONDS = 60
"""How long a connection may stand still, unless it brings what was granted or waits for an answer."""


@define(eq=False)
class Sink:
    """Where a body goes while it comes; without a grant, or past its bound, nowhere.

    :ivar unwanted: called when much comes that goes nowhere.
    """

    receive: Callable[[], Arriving] | None
    unwanted: Callable[[], None] = lambda: None
    error: HaGoopError | None = None
    size: int = 0
    _arriving: Arriving | None = None

    def write(self, data: bytes) -> int:
        """Take a part of the body."""
        self.size += len(data)
        if self.receive is None and self.error is None and self.size > MOST_UNWANTED:
            self.unwanted()
        try:
            if self._open() is not None and self._arriving is not None:
                self._arriving.write(data)
        except (LimitExceeded, SpoolFull, StateError, TransferFailed) as error:
            self.error = error
            self.close()
        return len(data)

    def _open(self) -> Arriving | None:
        if self._arriving is None and self.receive is not None:
            self._arriving = self.receive()
        return self._arriving

    def seek(self, offset: int, whence: int = 0) -> int:
        """Twisted rewinds a body; this one is not read from."""
        return 0

    def read(self, size: int = -1) -> bytes:
        """Twisted reads what claims to be a form; there are none."""
        return b""

    def tell(self) -> int:
        """How much has come."""
        return self.size

    def close(self) -> None:
        """The body will not be kept."""
        arriving, self._arriving, self.receive = self._arriving, None, None
        if arriving is not None:
            arriving.abandon()

    def take(self) -> Arrived | None:
        """The body, if all of it was kept; closing no longer drops it."""
        arriving = self._open()
        self._arriving = self.receive = None
        return arriving.finish() if arriving is not None else None


class ByteRequest(Request):
    """A request whose body goes straight to the spool."""

    given: Given | None = None

    @property
    def grant(self) -> Grant | None:
        """What it may do."""
        return None if self.given is None else self.given.grant

    @property
    def peer_host(self) -> str:
        """Where it comes from."""
        return str(getattr(self.getClientAddress(), "host", "here"))

    def gotLength(self, length: int | None) -> None:
        """The headers are known: decide what takes the body."""
        header = self.requestHeaders.getRawHeaders(b"authorization", [b""])[0]
        word = header[len(BEARER) :].decode("latin-1") if header.startswith(BEARER) else ""
        channel = cast(ByteChannel, self.channel)
        self.given = channel.byte_site.grants.given(word)
        if self.given is not None:
            channel.opened(self)
        self.sink = Sink(self._receiver(), channel.abort)
        self.content = self.sink

    def _receiver(self) -> Callable[[], Arriving] | None:
        grant = self.grant
        if isinstance(grant, UploadGrant):
            return lambda: grant.receive(grant.limit)
        if isinstance(grant, AssignmentGrant):
            return lambda: grant.receive(grant.assignment.output_bytes)
        return None

    def is_for(self, name: str) -> bool:
        """Whether the URL names this one thing."""
        return self.postpath == [name.encode()]


class ByteChannel(HTTPChannel):
    """A connection to the web endpoint, which knows a HaGoop peer at the wrong door."""

    _began = False
    _ended = False
    _secret: str | None = None

    @property
    def byte_site(self) -> "GrantedSite":
        """What it is a connection to."""
        return cast(GrantedSite, self.factory)

    def connectionMade(self) -> None:
        """It is tuned: an answer may have nothing to send for long."""
        super().connectionMade()
        tune(self.transport)
        self.byte_site.channels[self] = None
        self.byte_site.porch.came(self, self._host, self.abort)

    @property
    def _host(self) -> str:
        return str(getattr(self.getPeer(), "host", "here"))

    def dataReceived(self, data: bytes) -> None:
        """HTTP begins with a letter, AMP with a zero, TLS with neither."""
        if self._ended:
            return
        if not self._began and not data[:1].isalpha() and not data.startswith(b"\r"):
            self._turn_away(data)
            return
        self._began = True
        super().dataReceived(data)

    def opened(self, request: ByteRequest) -> None:
        """A word of ours was shown."""
        if request.given is not None:
            self._secret = request.given.secret
        self.byte_site.porch.passed(self)
        if isinstance(request.grant, UploadGrant):
            # What comes through a pipe comes when it comes; a machine that is gone is noticed anyway.
            self.setTimeout(None)

    def allContentReceived(self) -> None:
        """A request is whole: what follows it may be late again."""
        self.setTimeout(self.byte_site.timeOut)
        super().allContentReceived()

    def is_of(self, secrets: Collection[str]) -> bool:
        """Whether it was opened by one of these."""
        return self._secret in secrets

    def abort(self) -> None:
        """End it at once, with what is under way."""
        self._ended = True
        if self.transport is not None:
            ITCPTransport(self.transport).abortConnection()

    def timeoutConnection(self) -> None:
        """It has been idle for too long: nothing that the log should have a line for."""
        self.abort()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """It is over."""
        if not self._began and not reason.check(ConnectionClosed):
            trouble = greetings.trouble_of(reason.value or ConnectionLost())
            self.byte_site.porch.turned_away(self._host, greetings.not_a_peer(trouble))
        self.byte_site.channels.pop(self, None)
        self.byte_site.porch.gone(self)
        super().connectionLost(reason)

    def _turn_away(self, data: bytes) -> None:
        if not data.startswith(b"\0"):
            self.byte_site.porch.turned_away(self._host, greetings.what_speaks(data))
            self.abort()
            return
        transport: Any = self.transport  # Typed as maybe None; it is made.
        port = getattr(transport.getHost(), "port", 0)
        told = f"x-hagoop-commands: {self.byte_site.command_port()} on {port}"
        transport.write(f"HTTP/1.1 400 Bad Request\r\n{told}\r\n\r\n".encode())
        self.loseConnection()


class GrantedSite(Site):
    """A site whose bytes are opened by grants.

    :ivar command_port: the port on which commands are.
    :ivar channels: its connections.
    """

    requestFactory = ByteRequest
    protocol = ByteChannel  # type: ignore[assignment]

    def __init__(
        self, root: IResource, grants: Grants, command_port: Callable[[], int], porch: Porch
    ) -> None:
        self.grants = grants
        self.command_port = command_port
        self.porch = porch
        self.channels: dict[ByteChannel, None] = {}
        # Twisted would look at a clock of its own.
        super().__init__(root, timeout=IDLE_SECONDS, reactor=porch.clock)

    def drop(self, secrets: Collection[str]) -> None:
        """End what these have opened."""
        for each in [each for each in self.channels if each.is_of(secrets)]:
            each.abort()

    def log(self, request: HttpRequest) -> None:
        """No access log: what matters is logged by what it does."""
