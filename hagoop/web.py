"""The web endpoint: bytes of programs, inputs, runs, slices and answers, opened by grants."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import BinaryIO, Protocol, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request as HttpRequest
from twisted.web.pages import notFound
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from hagoop.answers import CHUNK_BYTES, Answer, InThread
from hagoop.channels import ByteChannel, ByteRequest, GrantedSite
from hagoop.door.porch import Porch
from hagoop.errors import HaGoopError
from hagoop.grants import AnswerGrant, AssignmentGrant, Grant, Grants, UploadGrant
from hagoop.jobs import Assignment, RequestId, Shipped

log = Logger()
RANGE = re.compile(rb"bytes=(\d{1,18})-")
FORBIDDEN, NOT_FOUND, NOT_ALLOWED = 403, 404, 405
WELCOME = "This is HaGoop's web port: bytes for its workers and clients."
WARNING = "Careful: this server is open to anybody who reaches it (--insecure)."


class ByteSource(Protocol):
    """Where the bytes come from: the requests' data, by what a grant is for."""

    @property
    def in_thread(self) -> InThread:
        """Calls a function in a thread."""

    def program(self, shipped: Shipped) -> Iterator[bytes]:
        """The bytes of a shipped file.  Blocks."""

    def assignment(self, assignment: Assignment) -> Iterator[bytes]:
        """The bytes of an assignment; raises ``HaGoopError`` when its request is gone.  Blocks."""

    def files(self, assignment: Assignment) -> Iterator[bytes]:
        """Where the lines of a map assignment are; likewise.  Blocks."""

    def answer(self, request: RequestId) -> Answer | None:
        """The answer of a request that is still known."""

    def answer_part(self, answer: Answer, number: int) -> BinaryIO:
        """One part of an answer."""

    def unreadable(self, grant: Grant | None, problem: BaseException | None) -> None:
        """What a grant opens could not be read to its end."""


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
            parts: list[bytes] = []
            try:
                await self._in_thread(lambda parts=parts: _gather(chunks, parts))
            finally:
                # What came before what was wrong is sound.
                if parts and not self._gone:
                    self._request.write(b"".join(parts))
            if not parts:
                return True
            if self._resumed is not None:
                await self._resumed
        return False

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


def _gather(chunks: Iterator[bytes], parts: list[bytes]) -> None:
    """The next chunks together: one trip through a thread should be worth it."""
    size = 0
    for each in chunks:
        parts.append(each)
        size += len(each)
        if size >= CHUNK_BYTES // 4:
            break


def read_chunks(file: BinaryIO) -> Iterator[bytes]:
    """A file, piece by piece; it is closed at the end."""
    with closing(file):
        while chunk := file.read(CHUNK_BYTES // 4):
            yield chunk


class ByteSite(GrantedSite):
    """The web endpoint's site, with all that it serves."""

    def __init__(
        self,
        source: ByteSource,
        grants: Grants,
        command_port: Callable[[], int],
        porch: Porch,
        warning: bool = False,
    ) -> None:
        super().__init__(_root(source, warning), grants, command_port, porch)


class _Plain(Resource):
    """Knows its own methods, and answers others in plain words."""

    def render(self, request: Request) -> bytes | int:
        """Answer."""
        # Not of the others that Twisted knows: its HEAD needs a GET.
        known = request.method in (b"GET", b"PUT")
        method = getattr(self, f"render_{request.method.decode()}", None) if known else None
        if method is None:
            return _say(request, NOT_ALLOWED, "this method is not for this URL")
        answer: bytes | int = method(request)
        return answer


def _say(request: Request, status: int, message: str) -> bytes:
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"text/plain; charset=utf-8")
    return message.encode() + b"\n"


class _Leaf(_Plain):
    """One thing below a folder of URLs."""

    isLeaf = True

    def __init__(self, source: ByteSource) -> None:
        super().__init__()
        self.source = source

    def refuse(self, request: ByteRequest, status: int, message: str) -> bytes:
        if status == FORBIDDEN:
            porch = cast(ByteChannel, request.channel).byte_site.porch
            porch.refused(request.peer_host, message)
        return _say(request, status, message)

    def stream(self, request: Request, sending: "Callable[[Pump], Deferred[None]]") -> int:
        request.setHeader(b"content-type", b"application/octet-stream")
        request.setHeader(b"x-content-type-options", b"nosniff")
        pump = Pump(request, self.source.in_thread)

        def broken(reason: Failure) -> None:
            log.warn("sending {uri}: {reason}", uri=request.uri, reason=reason.value)
            pump.cut()
            self.source.unreadable(cast(ByteRequest, request).grant, reason.value)

        sending(pump).addErrback(broken)
        return NOT_DONE_YET

    def send_of(
        self, request: ByteRequest, chunks: Callable[[Assignment], Iterator[bytes]], of: Assignment
    ) -> bytes | int:
        try:
            return self.send(request, chunks(of))
        except HaGoopError as error:
            return self.refuse(request, NOT_FOUND, str(error))

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
            return self.refuse(request, FORBIDDEN, "this upload was not granted")
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
            return self.refuse(request, FORBIDDEN, "this assignment was not granted")
        return self.send_of(request, self.source.assignment, grant.assignment)

    def render_PUT(self, request: ByteRequest) -> bytes:
        grant = request.grant
        if not isinstance(grant, AssignmentGrant) or not request.is_for(grant.assignment.id):
            return self.refuse(request, FORBIDDEN, "this assignment was not granted")
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
        return self.send_of(request, self.source.files, grant.assignment)


class Programs(_Leaf):
    """``GET /programs/SHA256``: a file shipped with the request of an assignment."""

    def render_GET(self, request: ByteRequest) -> bytes | int:
        grant = request.grant
        files = grant.assignment.program.files if isinstance(grant, AssignmentGrant) else ()
        wanted = [each for each in files if request.is_for(each.digest)]
        if not wanted:
            return self.refuse(request, FORBIDDEN, "this program was not granted")
        return self.send(request, self.source.program(wanted[0]))


class Answers(_Leaf):
    """``GET /answers/R``: an answer as it grows, from ``Range: bytes=N-`` on."""

    def render_GET(self, request: ByteRequest) -> bytes | int:
        grant = request.grant
        if not isinstance(grant, AnswerGrant) or not request.is_for(grant.request):
            return self.refuse(request, FORBIDDEN, "this answer was not granted")
        answer = self.source.answer(grant.request)
        if answer is None:
            return self.refuse(request, NOT_FOUND, "this request was forgotten")
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
            end = len(answer.parts)
            if number < end:
                await pump.send(self._parts(answer, number, end, skip))
                number, skip = end, 0
            elif answer.closed:
                break
            else:
                await answer.changed()
        if answer.failed:
            pump.cut()
        else:
            pump.finish()

    def _parts(self, answer: Answer, number: int, end: int, skip: int) -> Iterator[bytes]:
        for each in range(number, end):
            with self.source.answer_part(answer, each) as file:
                # Who reads from a pipe cannot give back what was wrong.
                answer.check_part(each, file)
                file.seek(skip)
                yield from read_chunks(file)
            skip = 0


class _Root(_Plain):
    """Holds the folders of URLs, and says what this is."""

    def __init__(self, warning: bool) -> None:
        super().__init__()
        self._text = f"{WELCOME}\n{WARNING}\n" if warning else f"{WELCOME}\n"
        self.putChild(b"", self)

    def render_GET(self, request: Request) -> bytes:
        """The page."""
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        request.setHeader(b"x-content-type-options", b"nosniff")
        return self._text.encode()

    def getChild(self, path: bytes, request: HttpRequest) -> IResource:
        """Whatever is not there; Twisted's own answer is deprecated."""
        return notFound()


def _root(source: ByteSource, warning: bool) -> IResource:
    root = _Root(warning)
    root.putChild(b"uploads", Uploads(source))
    root.putChild(b"assignments", Assignments(source))
    root.putChild(b"files", Files(source))
    root.putChild(b"programs", Programs(source))
    root.putChild(b"answers", Answers(source))
    return root


__all__ = ["ByteSite", "ByteSource", "read_chunks"]
