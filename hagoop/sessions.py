"""The server's ends of connections: join first, then use the commands of one role."""

from collections.abc import Callable, Collection, Coroutine
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed, ConnectionLost
from twisted.internet.interfaces import IAddress, IConsumer, IPushProducer
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure as TwistedFailure
from zope.interface import implementer

from hagoop import commands, policy
from hagoop.commands import COMMITS_IN_FLIGHT, PROTOCOL_VERSION, WORKS_PER_SLOT
from hagoop.door import greetings
from hagoop.door.book import Claim, Refused, Role
from hagoop.door.doors import Admission
from hagoop.door.porch import Porch
from hagoop.errors import BadMessage, NotAdmitted, NotJoined, VersionMismatch
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
from hagoop.machines import this_machine
from hagoop.options import is_loopback_host
from hagoop.roles import ClientRole, Desk, WorkerPeer, WorkerRole
from hagoop.scheduler import ASKS_PER_SLOT

log = Logger()
T = TypeVar("T")
JOIN_SECONDS = 10.0
COUNT_SECONDS = 0.1
"""How often it is looked whether the lines are counted that a worker holds who comes back."""
CALLS_PER_SLOT = ASKS_PER_SLOT + WORKS_PER_SLOT * COMMITS_IN_FLIGHT
"""How many calls of a slot may wait for their answers: all of these do while the disk is slow."""


@implementer(IPushProducer)
class ServerLink(Link):
    """One connection at the server: joins first, then uses the commands of its role.

    :ivar admission: who it is, once it has joined.
    """

    def __init__(self, desk: Desk, connections: "ServerFactory") -> None:
        super().__init__()
        self._desk = desk
        self._connections = connections
        self._role: WorkerRole | ClientRole | None = None
        self._heard = desk.clock.seconds()
        self._pausing: Deferred[Any] | None = None
        self.admission: Admission | None = None

    def connectionMade(self) -> None:
        """Drop it unless it joins soon."""
        super().connectionMade()
        # Who does not read our answers is not read either: they would fill our memory.
        self._consumer.registerProducer(self, True)
        self._connections.links[self] = None
        self._porch.came(self, self.peer, self._give_way)
        self._limit = self._desk.clock.callLater(JOIN_SECONDS, self._check_life)

    def dataReceived(self, data: bytes) -> None:
        """Any byte is a sign of life."""
        self._heard = self._desk.clock.seconds()
        super().dataReceived(data)

    def stopProducing(self) -> None:
        """The connection is over, which ``connectionLost`` is told too."""

    def unhandledError(self, failure: TwistedFailure) -> None:
        """A bug of ours: what waits to be sent is sent, and no more."""
        if self.transport is not None:
            # Over TLS a connection does not close while there is a producer.
            self._consumer.unregisterProducer()
        super().unhandledError(failure)

    @property
    def _consumer(self) -> IConsumer:
        """The transport, as what takes our answers."""
        return cast(IConsumer, self.transport)

    @property
    def _porch(self) -> Porch:
        return self._desk.porch

    def is_of(self, secrets: Collection[str]) -> bool:
        """Whether it has joined by one of these."""
        return self.admission is not None and self.admission.owner in secrets

    def _give_way(self) -> None:
        self.drop("there are too many from its address that have not joined")

    def drop(self, reason: str) -> None:
        """End the connection; of strangers the log gets no line for each."""
        if self._role is not None:
            super().drop(reason)
        else:
            self._porch.turned_away(self.peer, reason)
            self.end()

    def _check_life(self) -> None:
        quiet = self._desk.clock.seconds() - self._heard
        if self._role is None:
            self.drop(f"it did not join within {JOIN_SECONDS:g} s")
        elif isinstance(self._role, WorkerRole) and quiet >= policy.SILENCE_SECONDS:
            self.drop(f"nothing was heard of it for {policy.SILENCE_SECONDS:g} s")
        else:
            worker = isinstance(self._role, WorkerRole)
            left = policy.SILENCE_SECONDS - (quiet if worker else 0.0)
            self._limit = self._desk.clock.callLater(left, self._check_life)

    def connectionLost(self, reason: TwistedFailure = connectionDone) -> None:
        """The session is over."""
        if self._limit.active():
            self._limit.cancel()
        role, self._role = self._role, None
        if self._pausing is not None:
            self._pausing.cancel()
        if role is None and not reason.check(ConnectionClosed):
            trouble = greetings.trouble_of(reason.value or ConnectionLost())
            self._porch.turned_away(self.peer, greetings.not_a_peer(trouble))
        try:
            if role is not None:
                role.lost()
        finally:
            # Whatever else goes wrong: the server's stop waits for this.
            super().connectionLost(reason)
            self._porch.gone(self)
            self._connections.gone(self)

    @property
    def _worker(self) -> WorkerRole:
        if not isinstance(self._role, WorkerRole):
            raise self._not_joined("this command is for workers that have joined")
        return self._role

    @property
    def _client(self) -> ClientRole:
        if not isinstance(self._role, ClientRole):
            raise self._not_joined("this command is for clients that have joined")
        return self._role

    def _not_joined(self, sentence: str) -> NotJoined:
        self._porch.refused(self.peer, sentence)
        return NotJoined(sentence)

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
        secret_id: str | None,
        secret: str | None,
        knows: tuple[RequestId, ...] | None,
        way: float | None,
    ) -> Any:
        """Take on a role, if the door opens."""
        self._check_join(version, role)
        if role == Role.WORKER and self._desk.scheduler.awaits_count(held):
            known = identity, process, name, slots, held, secret_id, secret, knows, way
            return self._pause_until_counted(lambda: self.join(version, role, *known))
        claim = Claim(Role(role), secret_id or "", secret or "", identity[:64], process)
        try:
            admission = self._desk.door.admit(claim)
        except Refused as refused:
            return self._refuse(claim, str(refused))
        if claim.role is Role.WORKER:
            joined = self._join_worker(admission, process, name, slots, held)
            self._worker.says_way(way)
            self._worker.still_knows(knows or ())
            return joined
        self._role = ClientRole(self._desk, admission.owner, self.peer)
        self._let_in(admission, Role.CLIENT)
        return self._joined(WorkerId(""), "", ())

    def _check_join(self, version: int, role: str) -> None:
        if version != PROTOCOL_VERSION:
            self._porch.refused(self.peer, f"it speaks version {version} of the protocol")
            raise VersionMismatch(
                f"the server speaks version {PROTOCOL_VERSION} of the protocol, this peer {version}; "
                "install the same hagoop on both"
            )
        if self._role is not None or self._pausing is not None or role not in list(Role):
            raise NotJoined(f"a connection joins once, as worker or client, not as '{role[:64]}'")

    def _pause_until_counted(self, join: Callable[[], Any]) -> "Deferred[Any]":
        """Until then what a worker holds cannot be told from what there is not."""
        self._pausing = deferLater(self._desk.clock, COUNT_SECONDS)
        return self._pausing.addBoth(self._join_again, join)

    def _join_again(self, result: object, join: Callable[[], Any]) -> Any:
        self._pausing = None
        if isinstance(result, TwistedFailure):
            raise NotJoined("the connection is over")
        return join()

    def _refuse(self, claim: Claim, sentence: str) -> "Deferred[Any]":
        """Say so, later each time: guessing should take its time, and keep nobody else waiting."""
        self._porch.refused(self.peer, sentence, role=claim.role, secret=claim.id[:64])
        self._pausing = deferLater(self._desk.clock, self._porch.delay(self.peer))
        return self._pausing.addBoth(self._refused, sentence)

    def _refused(self, result: object, sentence: str) -> None:
        self._pausing = None
        raise NotAdmitted(sentence)

    def _let_in(self, admission: Admission, role: Role, **facts: object) -> None:
        self.admission = admission
        self._porch.passed(self)
        self._porch.note("joined", self.peer, role=role, secret=admission.owner, **facts)

    def _join_worker(
        self, admission: Admission, process: str, name: str, slots: int, held: tuple[Held, ...]
    ) -> dict[str, object]:
        if not 1 <= slots <= commands.MOST_SLOTS:
            raise BadMessage(f"a worker has 1 to {commands.MOST_SLOTS} slots, not {slots}")
        worker = self._desk.identify(admission.identity, process)
        peer = WorkerPeer(name[:64], self, self._dropped, self._forgotten)
        session = self._desk.scheduler.join(peer, worker, process, slots)
        self._role = WorkerRole(self._desk, session, admission.owner)
        self._let_in(admission, Role.WORKER, name=peer.name, identity=worker)
        self.most_calls += CALLS_PER_SLOT * slots
        kept = self._desk.scheduler.keep_held(session, held)
        granted = [None if each is None else self._role.keep(each) for each in kept]
        token = self._desk.door.token(admission, worker)
        return self._joined(worker, token, tuple(granted))

    def _dropped(self, assignment: AssignmentId) -> None:
        if isinstance(self._role, WorkerRole):
            self._desk.scheduler.give_back(self._role.session, assignment)

    def _forgotten(self, request: RequestId) -> None:
        if isinstance(self._role, WorkerRole):
            self._role.forget(request)

    def _joined(
        self, identity: WorkerId, token: str, kept: tuple[Kept | None, ...]
    ) -> dict[str, object]:
        return {
            "identity": identity,
            "web_port": self._desk.web_port(),
            "beat_seconds": self._beat_seconds(),
            "kept": kept,
            "token": token,
            "insecure": self._desk.door.warning,
            "machine": this_machine() if is_loopback_host(self.peer) else "",
        }

    def _beat_seconds(self) -> float:
        return policy.beat_seconds(len(self._desk.scheduler.workers))

    @commands.Ask.responder
    def ask(self, slot: int, way: float | None) -> Any:
        """``Ask``."""
        self._worker.says_way(way)
        return _later(self._worker.ask(), lambda assignment: {"assignment": assignment})

    @commands.Beat.responder
    def beat(self, seen: tuple[Seen, ...], way: float | None) -> dict[str, object]:
        """``Beat``."""
        self._worker.says_way(way)
        self._worker.beat(seen)
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
        self,
        unbegun: tuple[AssignmentId, ...],
        stops: tuple[Stop, ...],
        seconds: float | None,
        why: str | None,
    ) -> dict[str, object]:
        """``Leaving``."""
        self._desk.scheduler.give_notice(self._worker.session, unbegun, stops, seconds or 0.0)
        self._worker.leaves(why or "leaving")
        return {}

    @commands.Back.responder
    def back(self) -> dict[str, object]:
        """``Back``."""
        self._worker.comes_back()
        return {}

    @commands.Upload.responder
    def upload(self, digest: str, size: int) -> dict[str, object]:
        """``Upload``."""
        return self._client.upload(digest, size)

    @commands.Survey.responder
    def survey(self, manifest: str) -> Any:
        """``Survey``."""
        return _later(self._client.survey(manifest), lambda seen: {"seen": seen})

    @commands.Submit.responder
    def submit(self, key: str, submission: Submission) -> Any:
        """``Submit``."""
        submitted = self._client.submit(key, submission)
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

    @commands.Partial.responder
    def partial(self, key: str, request: str) -> Any:
        """``Partial``."""
        return _later(self._client.partial(key, request), lambda taken: {"request": taken})

    @commands.MissingParts.responder
    def missing_parts(self, request: str, skip: int) -> dict[str, object]:
        """``MissingParts``."""
        return {"parts": self._client.missing_parts(request, skip)}

    @commands.CancelRequest.responder
    def cancel_request(self, request: str) -> Any:
        """``CancelRequest``."""
        return _later(self._client.cancel(request), lambda status: {"status": status})

    @commands.ForgetRequest.responder
    def forget_request(self, request: str) -> Any:
        """``ForgetRequest``."""
        return _later(self._client.forget(request), lambda forgotten: {"request": forgotten})

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
        # In the order in which they came: what follows from the end of all is the same each time.
        self.links: dict[ServerLink, None] = {}
        self._closed: Deferred[None] | None = None

    def drop(self, secrets: Collection[str]) -> None:
        """Drop who has joined by one of these."""
        for each in [each for each in self.links if each.is_of(secrets)]:
            each.drop("its secret was revoked")

    async def close(self) -> None:
        """Drop all connections, and wait until they are gone."""
        if self.links:
            self._closed = Deferred()
            for each in list(self.links):
                each.drop("the server stops")
            await self._closed

    def gone(self, link: ServerLink) -> None:
        """A connection is over."""
        self.links.pop(link, None)
        if self._closed is not None and not self.links and not self._closed.called:
            self._closed.callback(None)

    def buildProtocol(self, addr: IAddress | None) -> ServerLink:
        """A connection was made."""
        return ServerLink(self._desk, self)
