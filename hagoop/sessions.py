"""The server's ends of connections: join first, then use the commands of one role."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure as TwistedFailure

from hagoop import commands, policy
from hagoop.commands import PROTOCOL_VERSION
from hagoop.errors import BadMessage, NotJoined, VersionMismatch
from hagoop.jobs import (
    AssignmentId,
    Failure,
    Finished,
    Held,
    Kept,
    RequestId,
    Seen,
    Stop,
    Submission,
    WorkerId,
)
from hagoop.links import Link
from hagoop.roles import ClientRole, Desk, WorkerPeer, WorkerRole
from hagoop.scheduler import ASKS_PER_SLOT

log = Logger()
T = TypeVar("T")
JOIN_SECONDS = 10.0
SILENCE_SECONDS = 30.0


class ServerLink(Link):
    """One connection at the server: joins first, then uses the commands of its role."""

    def __init__(self, desk: Desk, connections: "ServerFactory") -> None:
        super().__init__()
        self._desk = desk
        self._connections = connections
        self._role: WorkerRole | ClientRole | None = None
        self._heard = desk.clock.seconds()

    def connectionMade(self) -> None:
        """Drop it unless it joins soon."""
        super().connectionMade()
        self._connections.links.add(self)
        self._limit = self._desk.clock.callLater(JOIN_SECONDS, self._check_life)

    def dataReceived(self, data: bytes) -> None:
        """Any byte is a sign of life."""
        self._heard = self._desk.clock.seconds()
        super().dataReceived(data)

    def _check_life(self) -> None:
        quiet = self._desk.clock.seconds() - self._heard
        if self._role is None:
            self.drop(f"it did not join within {JOIN_SECONDS:g} s")
        elif isinstance(self._role, WorkerRole) and quiet >= SILENCE_SECONDS:
            self.drop(f"nothing was heard of it for {SILENCE_SECONDS:g} s")
        else:
            left = SILENCE_SECONDS - quiet if isinstance(self._role, WorkerRole) else SILENCE_SECONDS
            self._limit = self._desk.clock.callLater(left, self._check_life)

    def connectionLost(self, reason: TwistedFailure = connectionDone) -> None:
        """The session is over."""
        if self._limit.active():
            self._limit.cancel()
        role, self._role = self._role, None
        try:
            if role is not None:
                role.lost()
        finally:
            # Whatever else goes wrong: the server's stop waits for this.
            super().connectionLost(reason)
            self._connections.gone(self)

    @property
    def _worker(self) -> WorkerRole:
        if not isinstance(self._role, WorkerRole):
            raise NotJoined("this command is for workers that have joined")
        return self._role

    @property
    def _client(self) -> ClientRole:
        if not isinstance(self._role, ClientRole):
            raise NotJoined("this command is for clients that have joined")
        return self._role

    @commands.Join.responder
    def join(
        self,
        version: int,
        role: str,
        identity: str,
        process: str,
        name: str,
        slots: int,
        held: tuple[Held, ...],
    ) -> dict[str, object]:
        """Take on a role."""
        if version != PROTOCOL_VERSION:
            raise VersionMismatch(
                f"the server speaks version {PROTOCOL_VERSION} of the protocol, this peer {version}; "
                "install the same hagoop on both"
            )
        if self._role is not None or role not in ("worker", "client"):
            raise NotJoined(f"a connection joins once, as worker or client, not as '{role}'")
        if role == "client":
            self._role = ClientRole(self._desk)
            return self._joined(WorkerId(""), ())
        return self._join_worker(identity, process, name, slots, held)

    def _join_worker(
        self, identity: str, process: str, name: str, slots: int, held: tuple[Held, ...]
    ) -> dict[str, object]:
        if not 1 <= slots <= commands.MOST_SLOTS:
            raise BadMessage(f"a worker has 1 to {commands.MOST_SLOTS} slots, not {slots}")
        worker = self._desk.identify(identity[:64], process)
        peer = WorkerPeer(name[:64], self, self._dropped, self._forgotten)
        session = self._desk.scheduler.join(peer, worker, process, slots)
        self._role = WorkerRole(self._desk, session)
        self.most_calls += ASKS_PER_SLOT * slots
        kept = self._desk.scheduler.keep_held(session, held)
        granted = [None if each is None else self._role.keep(each) for each in kept]
        return self._joined(worker, tuple(granted))

    def _dropped(self, assignment: AssignmentId) -> None:
        if isinstance(self._role, WorkerRole):
            self._desk.scheduler.give_back(self._role.session, assignment)

    def _forgotten(self, request: RequestId) -> None:
        if isinstance(self._role, WorkerRole):
            self._role.forget(request)

    def _joined(self, identity: WorkerId, kept: tuple[Kept | None, ...]) -> dict[str, object]:
        return {
            "identity": identity,
            "web_port": self._desk.web_port(),
            "beat_seconds": self._beat_seconds(),
            "kept": kept,
        }

    def _beat_seconds(self) -> float:
        return policy.beat_seconds(len(self._desk.scheduler.workers))

    @commands.Ask.responder
    def ask(self, slot: int) -> Any:
        """``Ask``."""
        return _later(self._worker.ask(), lambda assignment: {"assignment": assignment})

    @commands.Beat.responder
    def beat(self, seen: tuple[Seen, ...]) -> dict[str, object]:
        """``Beat``."""
        self._desk.scheduler.beat(self._worker.session, seen)
        return {"beat_seconds": self._beat_seconds()}

    @commands.Commit.responder
    def commit(self, job: Finished) -> Any:
        """``Commit``."""
        return Deferred.fromCoroutine(self._worker.commit(job))

    @commands.Fail.responder
    def fail(self, failure: Failure) -> dict[str, object]:
        """``Fail``."""
        self._desk.scheduler.fail_job(self._worker.session, failure)
        return {}

    @commands.Leaving.responder
    def leaving(
        self, unbegun: tuple[AssignmentId, ...], stops: tuple[Stop, ...]
    ) -> dict[str, object]:
        """``Leaving``."""
        self._worker.leaving = True
        self._desk.scheduler.give_notice(self._worker.session, unbegun, stops)
        return {}

    @commands.Upload.responder
    def upload(self, digest: str, size: int) -> dict[str, object]:
        """``Upload``."""
        return self._client.upload(digest, size)

    @commands.Survey.responder
    def survey(self, manifest: str) -> Any:
        """``Survey``."""
        seen = self._client.desk.intake.sees(manifest)
        return _later(seen, lambda seen: {"seen": seen})

    @commands.Submit.responder
    def submit(self, key: str, submission: Submission) -> Any:
        """``Submit``."""
        submitted = self._client.desk.docket.submit(key, submission)
        return _later(submitted, lambda request: {"request": request})

    @commands.List.responder
    def list(self, skip: int) -> dict[str, object]:
        """``List``."""
        return {"requests": self._client.list(skip)}

    @commands.Status.responder
    def status(self, request: str) -> dict[str, object]:
        """``Status``."""
        return {"status": self._client.status(request)}

    @commands.Wait.responder
    def wait(self, request: str) -> Any:
        """``Wait``."""
        return _later(self._client.wait(request), lambda status: {"status": status})

    @commands.Answer.responder
    def answer(self, request: str) -> dict[str, object]:
        """``Answer``."""
        return self._client.answer(request)

    @commands.BadLines.responder
    def bad_lines(self, request: str, skip: int) -> dict[str, object]:
        """``BadLines``."""
        return {"lines": self._client.bad_lines(request, skip)}

    @commands.CancelRequest.responder
    def cancel_request(self, request: str) -> Any:
        """``CancelRequest``."""
        return Deferred.fromCoroutine(self._cancel(request))

    async def _cancel(self, request: str) -> dict[str, object]:
        account = self._client.desk.docket.account(request)
        await self._desk.docket.cancel(account.id)
        return {"status": self._desk.docket.status(account)}

    @commands.ForgetRequest.responder
    def forget_request(self, request: str) -> Any:
        """``ForgetRequest``."""
        account = self._client.desk.docket.account(request)
        forgotten = self._desk.docket.forget(account.id)
        return _later(forgotten, lambda _: {"request": account.id})

    @commands.Workers.responder
    def workers(self, skip: int) -> dict[str, object]:
        """``Workers``."""
        return {"workers": self._client.workers(skip)}


def _later(waited: Coroutine[Any, Any, T], shape: Callable[[T], dict[str, object]]) -> Any:
    return Deferred.fromCoroutine(waited).addCallback(shape)


class ServerFactory(Factory):
    """Makes a link for each connection."""

    noisy = False

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.links: set[ServerLink] = set()
        self._closed: Deferred[None] | None = None

    async def close(self) -> None:
        """Drop all connections, and wait until they are gone."""
        if self.links:
            self._closed = Deferred()
            for each in list(self.links):
                each.drop("the server stops")
            await self._closed

    def gone(self, link: ServerLink) -> None:
        """A connection is over."""
        self.links.discard(link)
        if self._closed is not None and not self.links and not self._closed.called:
            self._closed.callback(None)

    def buildProtocol(self, addr: IAddress | None) -> ServerLink:
        """A connection was made."""
        return ServerLink(self._desk, self)
