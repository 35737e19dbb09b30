"""Bytes over HTTP, as workers and clients fetch and send them.

Everything streams: what comes is written as it comes, what goes is read as it goes.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any, BinaryIO

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    TimeoutError,
)
from twisted.internet.interfaces import (
    IConsumer,
    IReactorFDSet,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Protocol
from twisted.internet.task import Cooperator
from twisted.python.failure import Failure
from twisted.web._newclient import RequestNotSent
from twisted.web.client import (
    URI,
    Agent,
    FileBodyProducer,
    HTTPConnectionPool,
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from hagoop.door.dialling import over_tls
from hagoop.door.join_string import JoinString
from hagoop.errors import HaGoopError, LinkBroke, SpoolFull, TransferFailed
from hagoop.interfaces import IServerReactor
from hagoop.manifests import Stdin
from hagoop.piped import Piped
from hagoop.tuning import Tuned

CONNECT_SECONDS = 10.0
MOST_TEXT = 1 << 16
TOO_LARGE = 413
BROKEN = (
    ConnectError, ConnectionClosed, OSError, RequestGenerationFailed, RequestNotSent,
    RequestTransmissionFailed, ResponseFailed, TimeoutError,
)  # fmt: skip
"""What becomes of a request whose connection breaks, at any moment of it."""
IDLE_SECONDS = 60.0
"""A body that stands still for so long has failed: a half-open link must not hold a slot for ever."""


class _Body(Protocol):
    """Takes a response's body and says how it ended."""

    def __init__(self, write: Callable[[bytes], object], clock: IReactorTime | None) -> None:
        self.done: Deferred[None] = Deferred(lambda _: self._abort())
        self._write = write
        self._clock = clock
        self._limit = clock.callLater(IDLE_SECONDS, self._abort) if clock else None

    def dataReceived(self, data: bytes) -> None:
        """Pass it on; a consumer that fails ends the transfer."""
        if self._limit is not None:
            self._limit.reset(IDLE_SECONDS)
        if self.done.called:
            return
        try:
            self._write(data)
        except Exception:
            # Whatever it is, it is the caller's to see.
            self.done.errback()
            self._abort()

    def connectionMade(self) -> None:
        """Bytes are going to come, unless nobody wants them any more."""
        if self.done.called:
            self._abort()

    def _abort(self) -> None:
        # A body's transport cannot abort.  Nothing waits to be sent: losing it is as good.
        if self.transport is not None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The body has ended, one way or another."""
        if self._limit is not None and self._limit.active():
            self._limit.cancel()
        if self.done.called:
            return
        if reason is not None and reason.check(ResponseDone):
            self.done.callback(None)
        elif reason is not None and reason.check(PotentialDataLoss):
            self.done.errback(TransferFailed("the length of what came is not known"))
        else:
            self.done.errback(TransferFailed("the connection broke while bytes were coming"))


@implementer(IBodyProducer)
class _Upload(FileBodyProducer):
    """A file as a body, hashed while it goes; pieces large enough for their reading not to matter.

    One piece at a turn of the clock.
    """

    def __init__(self, file: BinaryIO, size: int | None, clock: IReactorTime) -> None:
        self.digest = hashlib.sha256()
        turns = Cooperator(lambda: lambda: True, lambda turn: clock.callLater(0, turn))
        super().__init__(file, turns, readSize=1 << 17)
        self.length = UNKNOWN_LENGTH if size is None else size

    def _determineLength(self, fObj: BinaryIO) -> object:
        return UNKNOWN_LENGTH

    def startProducing(self, consumer: IConsumer) -> "Deferred[None]":
        """Send all of it."""
        sent: Deferred[None] = super().startProducing(_Hashing(consumer, self.digest))
        return sent


@define
class _Hashing:
    """Passes writes on, and hashes them."""

    _consumer: IConsumer
    _digest: "hashlib._Hash"

    def write(self, data: bytes) -> None:
        self._digest.update(data)
        self._consumer.write(data)


@implementer(IAgentEndpointFactory)
@frozen
class _OneServer:
    """All requests go there."""

    _endpoint: IStreamClientEndpoint

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """The endpoint of the one server that there is."""
        return self._endpoint


@define(eq=False)
class Transfer:
    """Requests to one server's web endpoint.

    :ivar line: names the key that it must have; None: without TLS.
    """

    reactor: IServerReactor
    host: str
    port: int
    line: JoinString | None = None
    _pool: HTTPConnectionPool = field(init=False)
    _agent: Agent = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pool = HTTPConnectionPool(self.reactor, persistent=True)
        self._pool.maxPersistentPerHost = 8
        self._pool.cachedConnectionTimeout = 30
        server: IStreamClientEndpoint = HostnameEndpoint(
            self.reactor, self.host, self.port, timeout=CONNECT_SECONDS
        )
        if self.line is not None:
            server = over_tls(self.line, server)
        self._agent = Agent.usingEndpointFactory(self.reactor, _OneServer(Tuned(server)), self._pool)

    def close(self) -> "Deferred[None]":
        """Close what is kept open."""
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    async def get(
        self,
        path: str,
        grant: str,
        write: Callable[[bytes], object],
        offset: int = 0,
        *,
        patient: bool = False,
    ) -> None:
        """Fetch, from ``offset`` on, calling ``write`` with each part.

        :param patient: the other side may have nothing to send for long.
        :raises TransferFailed: it was refused or cut off.
        """
        headers = _headers(grant)
        if offset:
            headers.addRawHeader(b"range", b"bytes=%d-" % offset)
        response = await self._request(b"GET", path, headers, None)
        if response.code not in (200, 206):
            raise TransferFailed(await _refusal(path, response))
        body = _Body(write, None if patient else self.reactor)
        # Later: bytes may lead to this transfer being cancelled, and no coroutine can be while it runs.
        self.reactor.callLater(0, response.deliverBody, body)
        try:
            await body.done
        except CancelledError as error:
            raise TransferFailed("the transfer was cancelled") from error

    async def put(
        self, path: str, grant: str, file: BinaryIO, size: int | None
    ) -> tuple[dict[str, Any], str]:
        """Send a file; the answer and the SHA-256 of what was sent.

        :param size: None when it is not known before.
        :raises TransferFailed: it was refused or cut off.
        :raises SpoolFull: the server has no room.
        """
        body = self._body(file, size)
        response = await self._request(b"PUT", path, _headers(grant), body)
        if response.code == TOO_LARGE:
            raise SpoolFull(await _text(response))
        if response.code != 200:
            raise TransferFailed(await _refusal(path, response))
        answer: dict[str, Any] = json.loads(await _text(response))
        return answer, body.digest.hexdigest()

    def _body(self, file: BinaryIO, size: int | None) -> "_Upload | Piped":
        if isinstance(file, Stdin) and file.descriptor is not None:
            return Piped(IReactorFDSet(self.reactor), self.reactor, file, file.descriptor)
        return _Upload(file, size, self.reactor)

    async def _request(
        self, method: bytes, path: str, headers: Headers, body: IBodyProducer | None
    ) -> IResponse:
        host = f"[{self.host}]" if ":" in self.host else self.host
        uri = f"http://{host}:{self.port}/{path}".encode()
        try:
            response: IResponse = await self._agent.request(method, uri, headers, body)
        except BROKEN as error:
            cause = _cause(error)
            if isinstance(cause, HaGoopError):
                # Of what was to be sent.
                raise cause from error
            told = f"{host}:{self.port} does not take or give bytes: {cause}"
            raise LinkBroke(told.removesuffix(".")) from error
        except (CancelledError, ConnectingCancelledError) as error:
            raise TransferFailed("the transfer was cancelled") from error
        return response


def _cause(error: Exception) -> Exception:
    """What is behind an error of Twisted's."""
    reasons: list[Failure] = getattr(error, "reasons", [])
    cause = reasons[0].value if reasons else error
    return cause if isinstance(cause, Exception) else error


def _headers(grant: str) -> Headers:
    return Headers({b"authorization": [b"Bearer " + grant.encode()]})


async def _text(response: IResponse) -> str:
    parts: list[bytes] = []
    body = _Body(parts.append, None)
    response.deliverBody(body)
    try:
        await body.done
    except CancelledError as error:
        raise TransferFailed("the transfer was cancelled") from error
    return b"".join(parts)[:MOST_TEXT].decode("utf-8", "replace").strip()


async def _refusal(path: str, response: IResponse) -> str:
    kind = path.split("/", 1)[0]
    return f"the server refused {kind}: {await _text(response)} ({response.code})"
