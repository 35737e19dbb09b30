"""A client's side: connect, submit, follow, fetch the answer; whatever breaks is taken up again."""

import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from attrs import define, evolve, field, frozen
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from hagoop import commands
from hagoop.answers import copy_chunks
from hagoop.disk import why
from hagoop.door.dialling import dial
from hagoop.enough import ALL
from hagoop.errors import (
    BadProgram,
    LinkBroke,
    RequestFailed,
    ServerUnreachable,
    TransferFailed,
    UnknownRequest,
    WorkerLost,
)
from hagoop.found import ON_SERVER, open_regular, walk
from hagoop.interfaces import IServerReactor
from hagoop.jobs import (
    BadLine,
    Found,
    Missing,
    Program,
    RequestId,
    RequestStatus,
    Shipped,
    Source,
    State,
    Submission,
    WorkerStatus,
)
from hagoop.links import Link
from hagoop.manifests import FilesInARow, Lent, Manifest, Stdin
from hagoop.transfer import Transfer
from hagoop.unreached import RETRY_SECONDS, BytesTried, open_port

log = Logger()
T = TypeVar("T")
JOIN_SECONDS = 10.0
AWAY_TRIES = 60
"""How often, with the longest of these pauses, a server is looked for that was there before."""
NEEDS_LINE = "if it is one, it takes a line: hagoop-server invite client, there"
STDIN = "-"


@frozen
class Order:
    """What a user wants to be run.

    :param files: files to ship, by the path under which a run finds them.
    :param then: the programs of further steps.
    :param lines: in place of inputs: so many numbers.
    :param good_enough: the share of the lines that suffices, in parts of a million.
    """

    inputs: tuple[str, ...]
    program: Program
    files: tuple[tuple[str, Path], ...]
    label: str
    then: tuple[Program, ...] = ()
    lines: int | None = None
    good_enough: int = ALL


@define(eq=False)
class Client:
    """A connection to a server that is made again when it breaks.

    :ivar insecure: whether the server is open to anybody who reaches it.
    """

    reactor: IServerReactor
    servers: Sequence[str]
    where: str
    insecure: bool = False
    _link: Link | None = None
    _transfer: Transfer | None = None

    # The connection

    async def connect(self) -> None:
        """Connect and join.

        :raises ServerUnreachable: nobody answers as a HaGoop server does.
        :raises VersionMismatch: it speaks another version.
        """
        problems: list[str] = []
        for server in self.servers:
            try:
                await self._connect(server)
                return
            except ServerUnreachable as error:
                problems.append(str(error))
        raise ServerUnreachable(problems[-1])

    async def _connect(self, server: str) -> None:
        endpoint = dial(self.reactor, server)
        link = Link()
        try:
            await connectProtocol(endpoint, link)
        except (ConnectError, OSError) as error:
            raise ServerUnreachable(
                f"No server at {self.where}. Name one (--server HOST), start one "
                "(twistd hagoop-server), or run it here: --local"
            ) from error
        try:
            await self._join(link)
        except BaseException:
            link.drop("it could not be joined")
            raise

    async def _join(self, link: Link) -> None:
        line = link.line
        joining = Deferred.fromCoroutine(
            link.call(
                commands.Join,
                version=commands.PROTOCOL_VERSION,
                role="client",
                identity="",
                process="",
                name="",
                slots=0,
                held=(),
                secret_id=line.id if line else "",
                secret=line.secret if line else "",
            )
        )
        joining.addTimeout(JOIN_SECONDS, self.reactor)
        try:
            answer = await joining
        except (WorkerLost, TimeoutError, CancelledError) as error:
            told = link.greeting or f"{self.where} does not answer as a HaGoop server; {NEEDS_LINE}"
            raise ServerUnreachable(told) from error
        address: Any = link.transport.getPeer() if link.transport is not None else None
        self._link = link
        self.insecure = answer["insecure"]
        host = getattr(address, "host", "127.0.0.1")
        self._transfer = Transfer(self.reactor, host, answer["web_port"], line)

    async def close(self) -> None:
        """Let go."""
        if self._link is not None and self._link.transport is not None:
            self._link.transport.loseConnection()
        if self._transfer is not None:
            await self._transfer.close()

    async def _again(self) -> None:
        """Connect again after the connection broke; one at a time."""
        for seconds in (*RETRY_SECONDS, *[RETRY_SECONDS[-1]] * AWAY_TRIES):
            await deferLater(self.reactor, seconds)
            try:
                return await self.connect()
            except ServerUnreachable:
                continue
        await self.connect()

    async def call(self, command: type[commands.Command], **arguments: Any) -> dict[str, Any]:
        """Send a command; again on a new connection when this one breaks: all commands may be repeated.

        :raises HaGoopError: what the server answered, or ``ServerUnreachable``.
        """
        is_repeated = False
        while True:
            if self._link is None:
                await self.connect()
            assert self._link is not None
            link = self._link
            try:
                return await link.call(command, **arguments)
            except WorkerLost:
                is_repeated = True
                if link is self._link:
                    await self._again()
            except UnknownRequest:
                if command is commands.ForgetRequest and is_repeated:
                    # It was done the first time, and the answer was lost.
                    return {"request": arguments["request"]}
                raise

    @property
    def transfer(self) -> Transfer:
        """Bytes to and from the server."""
        if self._transfer is None:
            raise ServerUnreachable(f"not connected to {self.where}")
        return self._transfer

    # Submitting

    async def submit(self, order: Order, stdin: BinaryIO) -> RequestId:
        """Send what must travel, then submit; the acknowledgement means that it is on disk.

        What was sent goes with a connection that breaks, and is sent again; so does stdin, if it can be
        read again or is not too large.

        :raises RequestError: the server will not have it.
        :raises ServerUnreachable: bytes do not come through.
        """
        key = secrets.token_hex(16)
        if self._link is None:
            await self.connect()
        with Stdin(stdin) as kept:
            for seconds in RETRY_SECONDS:
                link = self._link
                try:
                    return await self._submit(key, order, kept)
                except TransferFailed as error:
                    if not kept.is_kept or not self._broke(error, link):
                        raise
                await deferLater(self.reactor, seconds)
            try:
                return await self._submit(key, order, kept)
            except LinkBroke as error:
                raise open_port(error) from error

    def _broke(self, error: TransferFailed, link: Link | None) -> bool:
        """Whether that may be because this link, or another to its server, has ended."""
        is_over = link is not self._link or link is None or link.transport is None
        return is_over or isinstance(error, LinkBroke)

    async def _submit(self, key: str, order: Order, stdin: Stdin) -> RequestId:
        files = [await self._ship(path, file) for path, file in order.files]
        program = evolve(order.program, files=tuple(files))
        sources = [await self._source(each, stdin) for each in order.inputs]
        if order.lines is not None:
            sources.append(Source("lines", str(order.lines)))
        submission = Submission(
            program, tuple(sources), order.label, order.then, order.good_enough
        )
        answer = await self.call(commands.Submit, key=key, submission=submission)
        return RequestId(answer["request"])

    async def _ship(self, path: str, file: Path) -> Shipped:
        """Send a program, if it is not there yet; what it was when it was read is what will be run."""
        with open_shipped(path, file) as source:
            executable = bool(os.fstat(source.fileno()).st_mode & 0o111)
            size, digest = await self._in_thread(_measure, source)
            answer = await self.call(commands.Upload, digest=digest, size=size)
            if not answer["have"]:
                await self._put(answer, source, size)
        return Shipped(path, digest, size, executable)

    async def _put(self, upload: dict[str, Any], file: BinaryIO, size: int | None) -> int:
        path = f"uploads/{upload['name']}"
        answer, digest = await self.transfer.put(path, upload["grant"], file, size)
        if answer["digest"] != digest:
            raise TransferFailed("what was uploaded arrived changed")
        arrived: int = answer["size"]
        return arrived

    async def _source(self, name: str, stdin: Stdin) -> Source:
        if name.startswith(ON_SERVER):
            return Source("server", name.removeprefix(ON_SERVER))
        if name == STDIN:
            return await self._send_stdin(stdin)
        manifest = Manifest()
        with manifest.file:
            await self._in_thread(manifest.write, walk([Path(name)]))
            return await self._send_files(manifest)

    async def _send_files(self, found: Manifest) -> Source:
        manifest = await self._send_manifest(found)
        answer = await self.call(commands.Survey, manifest=manifest)
        if answer["seen"]:
            return Source("seen", manifest)
        upload = await self.call(commands.Upload, digest="", size=found.size)
        await self._put(upload, FilesInARow(found.read()), found.size)
        return Source("upload", f"{manifest} {upload['name']}")

    async def _send_manifest(self, found: Manifest) -> str:
        size = found.file.tell()
        found.file.seek(0)
        upload = await self.call(commands.Upload, digest="", size=size)
        await self._put(upload, Lent(found.file), size)
        name: str = upload["name"]
        return name

    async def _send_stdin(self, stdin: Stdin) -> Source:
        upload = await self.call(commands.Upload, digest="", size=-1)
        size = await self._put(upload, stdin.again(), None)
        with (manifest := Manifest()).file:
            manifest.write([Found("stdin", "/dev/stdin", size, 0, 0, 0, "")])
            name = await self._send_manifest(manifest)
        return Source("upload", f"{name} {upload['name']}")

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        called: Deferred[T] = deferToThreadPool(
            self.reactor, self.reactor.getThreadPool(), function, *arguments
        )
        return await called

    # Following

    async def status(self, request: str) -> RequestStatus:
        """One request now; the newest without an id."""
        status: RequestStatus = (await self.call(commands.Status, request=request))["status"]
        return status

    async def wait(self, request: str) -> RequestStatus:
        """One request at its end."""
        status: RequestStatus = (await self.call(commands.Wait, request=request))["status"]
        return status

    async def cancel(self, request: str) -> RequestStatus:
        """Stop a request."""
        status: RequestStatus = (await self.call(commands.CancelRequest, request=request))["status"]
        return status

    async def forget(self, request: str) -> str:
        """Drop a request and its answer."""
        forgotten: str = (await self.call(commands.ForgetRequest, request=request))["request"]
        return forgotten

    async def requests(self) -> list[RequestStatus]:
        """All requests, newest first."""
        found: list[RequestStatus] = []
        while page := (await self.call(commands.List, skip=len(found)))["requests"]:
            found += page
        return found

    async def bad_lines(self, status: RequestStatus) -> list[BadLine]:
        """The lines that a request which has ended passed over, in the order of the input."""
        found: list[BadLine] = []
        while len(found) < status.bad_lines:
            page = (await self.call(commands.BadLines, request=status.id, skip=len(found)))["lines"]
            if not page:
                raise TransferFailed("the list of bad lines came short; fetch it again")
            found += page
        return found

    async def partial(self, request: str) -> RequestId:
        """The request whose answer covers what is committed of one now; perhaps that one itself."""
        key = secrets.token_hex(16)
        return RequestId((await self.call(commands.Partial, key=key, request=request))["request"])

    async def missing(self, status: RequestStatus) -> list[Missing]:
        """What an answer does not cover, in the order of the input."""
        found: list[Missing] = []
        while status.cover is not None and len(found) < status.cover.missing:
            asked = {"request": status.id, "skip": len(found)}
            page = (await self.call(commands.MissingParts, **asked))["parts"]
            if not page:
                raise TransferFailed("the list of what is missing came short; fetch it again")
            found += page
        return found

    async def workers(self) -> list[WorkerStatus]:
        """All workers."""
        found: list[WorkerStatus] = []
        while page := (await self.call(commands.Workers, skip=len(found)))["workers"]:
            found += page
        return found

    async def fetch(self, request: str, write: Callable[[bytes], object]) -> RequestStatus:
        """Write the answer as it grows, from where the link broke on if it does; then its status.

        :raises RequestFailed: there will be no answer.
        :raises TransferFailed: what came is not what the server has.
        :raises ServerUnreachable: commands come through, and bytes do not.
        """
        taken = Taken(write)
        tried = BytesTried(self.reactor, f", then: hagoop-request answer {request}")
        while True:
            answer = await self.call(commands.Answer, request=request)
            try:
                await self.transfer.get(
                    f"answers/{request}", answer["grant"], taken.write, taken.size, patient=True
                )
            except TransferFailed as error:
                # Cut off: the request failed, or the link broke; its status tells which.
                await deferLater(self.reactor, tried.failed(error, (self._link, taken.size)))
            status = await self.status(request)
            if status.state is State.DONE and taken.size >= status.answer_bytes:
                taken.check(status)
                return status
            if status.state in (State.FAILED, State.CANCELLED):
                raise RequestFailed(status.message)


def open_shipped(path: str, file: Path) -> BinaryIO:
    """A file to ship.

    :raises BadProgram: it cannot be read, or is no file.
    """
    try:
        return BufferedReader(open_regular(file))
    except OSError as problem:
        raise BadProgram(f"{path} cannot be shipped: {why(problem)}") from problem


def _measure(file: BinaryIO) -> tuple[int, str]:
    """Size and SHA-256 of a file, which is at its beginning again.  Blocks."""
    digest = hashlib.sha256()
    copy_chunks(file, digest.update)
    size = file.tell()
    file.seek(0)
    return size, digest.hexdigest()


@define
class Taken:
    """What has come of an answer."""

    _write: Callable[[bytes], object]
    size: int = 0
    _digest: "hashlib._Hash" = field(factory=hashlib.sha256)

    def write(self, data: bytes) -> None:
        """More of it."""
        self._write(data)
        self._digest.update(data)
        self.size += len(data)

    def check(self, status: RequestStatus) -> None:
        """Compare it with what the server says."""
        if (self.size, self._digest.hexdigest()) != (status.answer_bytes, status.answer_digest):
            raise TransferFailed("the answer came changed; fetch it again: hagoop-request answer")
