"""The web endpoint: bytes of programs, inputs, runs, slices and answers, opened by grants."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, BinaryIO, Protocol, cast

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as HttpRequest
from twisted.web.pages import notFound
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

from hagoop.answers import CHUNK_BYTES, Answer, InThread
from hagoop.errors import HaGoopError, LimitExceeded, SpoolFull
from hagoop.grants import AnswerGrant, AssignmentGrant, Grant, Grants, UploadGrant
from hagoop.interfaces import Arrived, Arriving
from hagoop.jobs import Assignment, RequestId
from hagoop.tuning import tune

log = Logger()
RANGE = re.compile(rb"bytes=(\d{1,18})-")
BEARER = b"Bearer "


class ByteSource(Protocol):
    """Where the bytes come from: the requests' data, by what a grant is for."""

    @property
    def in_thread(self) -> InThread:
        """Calls a function in a thread."""

    def program(self, digest: str) -> BinaryIO:
        """A shipped file; raises ``HaGoopError`` when it is not there.  Blocks."""

    def assignment(self, assignment: Assignment) -> Iterator[bytes]:
        """The bytes of an assignment.  Blocks."""

    def files(self, assignment: Assignment) -> Iterator[bytes]:
        """Where the lines of a map assignment are.  Blocks."""

    def answer(self, request: RequestId) -> Answer | None:
        """The answer of a request that is still known."""

    def answer_part(self, answer: Answer, number: int) -> BinaryIO:
        """One part of an answer."""


@implementer(IPushProducer)
class Pump:
    """Sends what an iterator gives, reading in threads, no faster than the peer takes it."""

    def __init__(self, request: Request, in_thread: InThread) -> None:
        self._request = request
        self._in_thread = in_thread
        self._resumed: Deferred[None] | None = None
        self._gone = False
        request.notifyFinish().addErrback(self._lost)
        request.registerProducer(self, True)

    def pauseProducing(self) -> None:
        """The peer is slower than we."""
        if self._resumed is None:
            self._resumed = Deferred()

    def resumeProducing(self) -> None:
        """The peer takes more."""
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.callback(None)

    def stopProducing(self) -> None:
        """The peer is gone."""
        self._gone = True
        self.resumeProducing()

    def _lost(self, _: Failure) -> None:
        self.stopProducing()

    async def send(self, chunks: Iterator[bytes]) -> bool:
        """Send all; whether the peer is still there."""
        while not self._gone:
            chunk = await self._next(chunks)
            if not chunk:
                return True
            if self._gone:
                break
            self._request.write(chunk)
            if self._resumed is not None:
                await self._resumed
        return False

    async def _next(self, chunks: Iterator[bytes]) -> bytes:
        got: list[bytes] = []
        await self._in_thread(lambda: got.append(_gather(chunks)))
        return got[0]

    @property
    def gone(self) -> bool:
        """Whether nobody listens any more."""
        return self._gone

    def finish(self) -> None:
        """All is sent."""
        if not self._gone:
            self._request.unregisterProducer()
            self._request.finish()

    def cut(self) -> None:
        """End without the last chunk, so that the peer knows that more was to come."""
        if not self._gone:
            self._gone = True
            self._request.unregisterProducer()
            self._request.loseConnection()


def _gather(chunks: Iterator[bytes]) -> bytes:
    """The next chunks together: one trip through a thread should be worth it."""
    parts: list[bytes] = []
    size = 0
    for each in chunks:
        parts.append(each)
        size += len(each)
        if size >= CHUNK_BYTES // 4:
            break
    return b"".join(parts)


def read_chunks(file: BinaryIO) -> Iterator[bytes]:
    """A file, piece by piece; it is closed at the end."""
    with closing(file):
        while chunk := file.read(CHUNK_BYTES // 4):
            yield chunk


@define(eq=False)
class Sink:
    """Where a body goes while it comes; without a grant, or past its bound, nowhere."""

    receive: Callable[[], Arriving] | None
    error: HaGoopError | None = None
    size: int = 0
    _arriving: Arriving | None = None

    def write(self, data: bytes) -> int:
        """Take a part of the body."""
        self.size += len(data)
        try:
            if self._open() is not None and self._arriving is not None:
                self._arriving.write(data)
        except (LimitExceeded, SpoolFull) as error:
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

    grant: Grant | None = None

    def gotLength(self, length: int | None) -> None:
        """The headers are known: decide what takes the body."""
        header = self.requestHeaders.getRawHeaders(b"authorization", [b""])[0]
        word = header[len(BEARER) :].decode("latin-1") if header.startswith(BEARER) else ""
        grants: Grants = cast(ByteSite, self.channel.site).grants  # type: ignore[attr-defined]
        self.grant = grants.find(word)
        self.sink = Sink(self._receiver())
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

    def connectionMade(self) -> None:
        """It is tuned: an answer may have nothing to send for long."""
        super().connectionMade()
        tune(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """HTTP begins with a letter, AMP with a zero."""
        if not self._began and data.startswith(b"\0"):
            self._turn_away()
            return
        self._began = True
        super().dataReceived(data)

    def _turn_away(self) -> None:
        transport: Any = self.transport  # Typed as maybe None; it is made.
        port = getattr(transport.getHost(), "port", 0)
        told = f"x-hagoop-commands: {cast(ByteSite, self.factory).command_port()} on {port}"
        transport.write(f"HTTP/1.1 400 Bad Request\r\n{told}\r\n\r\n".encode())
        self.loseConnection()


class ByteSite(Site):
    """The web endpoint's site.

    :ivar command_port: the port on which commands are.
    """

    requestFactory = ByteRequest
    protocol = ByteChannel  # type: ignore[assignment]

    def __init__(self, source: ByteSource, grants: Grants, command_port: Callable[[], int]) -> None:
        self.grants = grants
        self.command_port = command_port
        super().__init__(_root(source))

    def log(self, request: HttpRequest) -> None:
        """No access log: what matters is logged by what it does."""


class _Leaf(Resource):
    """One thing below a folder of URLs."""

    isLeaf = True

    def __init__(self, source: ByteSource) -> None:
        super().__init__()
        self.source = source

    def refuse(self, request: Request, status: int, message: str) -> bytes:
        request.setResponseCode(status)
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        return message.encode() + b"\n"

    def stream(self, request: Request, sending: "Callable[[Pump], Deferred[None]]") -> int:
        request.setHeader(b"content-type", b"application/octet-stream")
        request.setHeader(b"x-content-type-options", b"nosniff")
        pump = Pump(request, self.source.in_thread)

        def broken(reason: Failure) -> None:
            log.warn("sending {uri}: {reason}", uri=request.uri, reason=reason.value)
            pump.cut()

        sending(pump).addErrback(broken)
        return NOT_DONE_YET

    def send(self, request: Request, chunks: Iterator[bytes]) -> int:
        async def sending(pump: Pump) -> None:
            if await pump.send(chunks):
                pump.finish()

        return self.stream(request, lambda pump: Deferred.fromCoroutine(sending(pump)))


class Uploads(_Leaf):
    """``PUT /uploads/NAME``: a program, a manifest or a bundle of a client."""

    def render_PUT(self, request: ByteRequest) -> bytes:
        grant = request.grant
        if not isinstance(grant, UploadGrant) or not request.is_for(grant.name):
            return self.refuse(request, 403, "this upload was not granted")
        arrived = request.sink.take()
        if arrived is None:
            return self.refuse(request, 413, str(request.sink.error))
        grant.arrived(arrived)
        return json.dumps({"size": arrived.size, "digest": arrived.digest}).encode() + b"\n"


class Assignments(_Leaf):
    """``/assignments/ID``: what a worker reads and writes for an assignment."""

    def render_GET(self, request: ByteRequest) -> bytes | int:
        grant = request.grant
        if not isinstance(grant, AssignmentGrant) or not request.is_for(grant.assignment.id):
            return self.refuse(request, 403, "this assignment was not granted")
        return self.send(request, self.source.assignment(grant.assignment))

    def render_PUT(self, request: ByteRequest) -> bytes:
        grant = request.grant
        if not isinstance(grant, AssignmentGrant) or not request.is_for(grant.assignment.id):
            return self.refuse(request, 403, "this assignment was not granted")
        arrived = request.sink.take()
        if arrived is None:
            return self.refuse(request, 413, str(request.sink.error))
        return json.dumps({"upload": grant.arrived(arrived)}).encode() + b"\n"


class Files(_Leaf):
    """``GET /files/ID``: where an assignment's lines are, for a worker that sees the files itself."""

    def render_GET(self, request: ByteRequest) -> bytes | int:
        grant = request.grant
        if not isinstance(grant, AssignmentGrant) or not request.is_for(grant.assignment.id):
            return self.refuse(request, 403, "these files were not granted")
        return self.send(request, self.source.files(grant.assignment))


class Programs(_Leaf):
    """``GET /programs/SHA256``: a file shipped with the request of an assignment."""

    def render_GET(self, request: ByteRequest) -> bytes | int:
        grant = request.grant
        files = grant.assignment.program.files if isinstance(grant, AssignmentGrant) else ()
        wanted = [each.digest for each in files if request.is_for(each.digest)]
        if not wanted:
            return self.refuse(request, 403, "this program was not granted")
        try:
            file = self.source.program(wanted[0])
        except HaGoopError as error:
            return self.refuse(request, 404, str(error))
        return self.send(request, read_chunks(file))


class Answers(_Leaf):
    """``GET /answers/R``: an answer as it grows, from ``Range: bytes=N-`` on."""

    def render_GET(self, request: ByteRequest) -> bytes | int:
        grant = request.grant
        if not isinstance(grant, AnswerGrant) or not request.is_for(grant.request):
            return self.refuse(request, 403, "this answer was not granted")
        answer = self.source.answer(grant.request)
        if answer is None:
            return self.refuse(request, 404, "this request was forgotten")
        offset = self._offset(request)
        return self.stream(
            request, lambda pump: Deferred.fromCoroutine(self._send_answer(pump, answer, offset))
        )

    def _offset(self, request: Request) -> int:
        found = RANGE.fullmatch(request.getHeader(b"range") or b"")
        if found is None:
            return 0
        request.setResponseCode(206)
        request.setHeader(b"content-range", b"bytes %b-/*" % found[1])
        return int(found[1])

    async def _send_answer(self, pump: Pump, answer: Answer, offset: int) -> None:
        while answer.size < offset and not answer.closed:
            await answer.changed()
        number, skip = answer.find(offset)
        while not pump.gone:
            if number < len(answer.parts):
                await pump.send(self._part(answer, number, skip))
                number, skip = number + 1, 0
            elif answer.closed:
                break
            else:
                await answer.changed()
        if answer.failed:
            pump.cut()
        else:
            pump.finish()

    def _part(self, answer: Answer, number: int, skip: int) -> Iterator[bytes]:
        file = self.source.answer_part(answer, number)
        file.seek(skip)
        return read_chunks(file)


class _Root(Resource):
    """Holds the folders of URLs."""

    def getChild(self, path: bytes, request: HttpRequest) -> IResource:
        """Whatever is not there; Twisted's own answer is deprecated."""
        return notFound()


def _root(source: ByteSource) -> IResource:
    root = _Root()
    root.putChild(b"uploads", Uploads(source))
    root.putChild(b"assignments", Assignments(source))
    root.putChild(b"files", Files(source))
    root.putChild(b"programs", Programs(source))
    root.putChild(b"answers", Answers(source))
    return root


__all__ = ["ByteSite", "ByteSource"]
