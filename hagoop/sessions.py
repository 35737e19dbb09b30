"""The server's side of connections: who joined as what, and what each role may do."""

import secrets
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, TypeVar

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure as TwistedFailure
from zope.interface import implementer

from hagoop import commands, policy, wire
from hagoop.commands import PROTOCOL_VERSION
from hagoop.docket import Docket
from hagoop.errors import BadMessage, NotJoined, VersionMismatch, WorkerLost
from hagoop.grants import AnswerGrant, AssignmentGrant, Grants
from hagoop.intake import Intake
from hagoop.interfaces import Arrived, IWorker
from hagoop.jobs import (
    Assignment,
    AssignmentId,
    Failure,
    Finished,
    Held,
    Kept,
    RequestId,
    RequestStatus,
    Seen,
    Submission,
    WorkerId,
    WorkerStatus,
)
from hagoop.leases import Session
from hagoop.links import Link
from hagoop.scheduler import ASKS_PER_SLOT, Leased, Scheduler

log = Logger()
T = TypeVar("T")
JOIN_SECONDS = 10.0
SILENCE_SECONDS = 30.0
LIST_PAGE = 20
WORKERS_PAGE = 100
PAGE_BYTES = 60_000
MOST_ARRIVALS = 64
"""How many jobs' bytes a session may have sent without committing them."""


@define(eq=False)
class Desk:
    """What sessions need of the server."""

    scheduler: Scheduler
    docket: Docket
    intake: Intake
    grants: Grants
    clock: IReactorTime
    web_port: Callable[[], int]

    def identify(self, wanted: str, process: str) -> WorkerId:
        """The identity for a worker: its own, or a fresh one if a live session has it.

        The same process coming back replaces its session, of which we have not heard the end yet.
        """
        live = self.scheduler.ledger.fleet.live_session(WorkerId(wanted)) if wanted else None
        if live is not None and live.process == process:
            worker = self.scheduler.workers[live.id]
            self.scheduler.leave(live, failed=False)
            worker.close("its process has come back")
            live = None
        return WorkerId(wanted) if wanted and live is None else WorkerId(secrets.token_hex(8))


@implementer(IWorker)
@define(eq=False)
class WorkerPeer:
    """A worker's session, as the scheduler sees it."""

    name: str
    link: Link
    dropped: Callable[[AssignmentId], None]
    forgotten: Callable[[RequestId], None]

    def cancel(self, assignment: AssignmentId, reason: str) -> None:
        """Send it; the answer says that the slot is free again."""
        told = Deferred.fromCoroutine(
            self.link.call(commands.Cancel, assignment=assignment, reason=reason)
        )
        told.addCallback(lambda _: self.dropped(assignment))
        told.addErrback(lambda reason: log.debug("cancel {id}: {reason}", id=assignment, reason=reason))

    def take_back(self, assignment: AssignmentId, end: int) -> "Deferred[int]":
        """Ask, and wait for the end that it keeps."""
        return Deferred.fromCoroutine(self._take_back(assignment, end))

    async def _take_back(self, assignment: AssignmentId, end: int) -> int:
        answer = await self.link.call(commands.TakeBack, assignment=assignment, end=end)
        kept: int = answer["end"]
        return kept

    def forget(self, request: RequestId) -> None:
        """Send it, and drop what the worker sent for it and did not commit."""
        self.link.tell(commands.Forget, request=request)
        self.forgotten(request)

    def close(self, reason: str) -> None:
        """Drop the connection."""
        self.link.drop(reason)


@define(eq=False)
class WorkerRole:
    """A joined worker."""

    desk: Desk
    session: Session
    arrivals: dict[str, tuple[RequestId, Arrived]] = field(factory=dict)
    _words: dict[AssignmentId, str] = field(factory=dict)
    _number: int = 0
    leaving: bool = False

    def grant(self, assignment: Assignment) -> Assignment:
        """The assignment with what opens its bytes."""
        arrived = partial(self._arrived, assignment.request)
        grant = AssignmentGrant(assignment, self.desk.docket.spool.receive, arrived)
        word = self._words[assignment.id] = self.desk.grants.give(grant)
        return evolve(assignment, grant=word)

    def keep(self, assignment: Assignment) -> Kept:
        """An assignment that goes on after a reconnect."""
        return Kept(assignment.id, self.grant(assignment).grant)

    def _arrived(self, request: RequestId, arrived: Arrived) -> str:
        while len(self.arrivals) >= MOST_ARRIVALS:
            self._discard(next(iter(self.arrivals)))
        self._number += 1
        self.arrivals[str(self._number)] = request, arrived
        if self._is_over(request):
            self._discard(str(self._number))
        return str(self._number)

    def _discard(self, upload: str) -> None:
        _, arrived = self.arrivals.pop(upload)
        arrived.discard()

    def _is_over(self, request: RequestId) -> bool:
        return request not in self.desk.docket.data or request in self.desk.docket.ended_facts

    def forget(self, request: RequestId) -> None:
        """A request has ended: what was sent for it will not be committed."""
        for each in [upload for upload, (of, _) in self.arrivals.items() if of == request]:
            self._discard(each)

    async def ask(self) -> Assignment:
        """Wait for an assignment."""
        self._end_grants()
        try:
            leased: Leased = await self.desk.scheduler.ask(self.session)
        except CancelledError as error:
            raise WorkerLost("the session has ended") from error
        return self.grant(leased.assignment)

    def _end_grants(self) -> None:
        """Grants of assignments that are gone end when the worker asks for the next."""
        for each in [each for each in self._words if each not in self.session.leases]:
            self.desk.grants.end(self._words.pop(each))

    async def commit(self, job: Finished) -> dict[str, object]:
        """Make a job count, or say that it does not."""
        _, arrived = self.arrivals.pop(job.upload, (job.request, None))
        if job.upload and arrived is None and not self._is_over(job.request):
            raise BadMessage("no bytes have arrived under this name")
        accepted = await self.desk.scheduler.commit(self.session, job, arrived)
        return {"accepted": accepted, "front": self.desk.scheduler.front(job.id)}

    def lost(self) -> None:
        """The session is over."""
        for word in self._words.values():
            self.desk.grants.end(word)
        for each in list(self.arrivals):
            self._discard(each)
        self.desk.scheduler.leave(self.session, failed=not self.leaving)


@define(eq=False)
class ClientRole:
    """A joined client."""

    desk: Desk
    _words: list[str] = field(factory=list)
    _uploads: list[str] = field(factory=list)

    def upload(self, digest: str, size: int) -> dict[str, object]:
        """Let it send bytes, unless they are here."""
        if digest and self.desk.intake.has_program(digest):
            return {"have": True, "name": "", "grant": ""}
        name, word = self.desk.intake.expect(digest, size)
        self._uploads.append(name)
        self._words.append(word)
        return {"have": False, "name": name, "grant": word}

    def answer(self, request: str) -> dict[str, object]:
        """What opens an answer."""
        account = self.desk.docket.account(request)
        word = self.desk.grants.give(AnswerGrant(account.id))
        self._words.append(word)
        return {"grant": word}

    def status(self, request: str) -> RequestStatus:
        """One request now."""
        return self.desk.docket.status(self.desk.docket.account(request))

    async def wait(self, request: str) -> RequestStatus:
        """One request at its end."""
        account = self.desk.docket.account(request)
        await self.desk.docket.ended(account.id)
        return self.desk.docket.status(account)

    def list(self, skip: int) -> tuple[RequestStatus, ...]:
        """A page of requests, newest first."""
        known = list(self.desk.docket.ledger.requests.values())[::-1]
        page = known[max(0, skip) : max(0, skip) + LIST_PAGE]
        return one_message(evolve(self.desk.docket.status(each), log="", counters=()) for each in page)

    def workers(self, skip: int) -> tuple[WorkerStatus, ...]:
        """A page of workers."""
        page = self.desk.scheduler.statuses()[max(0, skip) : max(0, skip) + WORKERS_PAGE]
        return one_message(page)

    def lost(self) -> None:
        """What it sent and did not use goes."""
        for word in self._words:
            self.desk.grants.end(word)
        for name in self._uploads:
            self.desk.intake.discard(name)


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
            self._limit = self._desk.clock.callLater(JOIN_SECONDS, self._check_life)

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
    def leaving(self, unbegun: tuple[AssignmentId, ...]) -> dict[str, object]:
        """``Leaving``."""
        self._worker.leaving = True
        self._desk.scheduler.give_notice(self._worker.session, unbegun)
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


def one_message(values: Iterable[T]) -> tuple[T, ...]:
    """The first of them, as many as one message holds, and at least one."""
    page: list[T] = []
    size = 0
    for each in values:
        size += len(wire.encode(each)) + 1
        if page and size > PAGE_BYTES:
            break
        page.append(each)
    return tuple(page)


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

