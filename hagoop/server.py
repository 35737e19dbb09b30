"""The server as a service: state folder, journal, spool, scheduler, command port and web port."""

import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import BinaryIO

from attrs import define, field
from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from hagoop import wire
from hagoop.answers import Answer
from hagoop.disk import StateLock, is_passing, lock_state, refuse_other
from hagoop.docket import Docket
from hagoop.door.audit import Audit
from hagoop.door.book import Book
from hagoop.door.crowd import raise_limit
from hagoop.door.doors import Door, LockedDoor, OpenDoor
from hagoop.door.doorway import Doorway, introduce, open_doorway, own_host
from hagoop.door.porch import Porch
from hagoop.ending import fail_at_exit, tell_plainly
from hagoop.errors import BadProgram, Damaged, SpoolFull, StateError, TransferFailed
from hagoop.experience import Record
from hagoop.fleet import Fleet
from hagoop.forgetting import forget_old
from hagoop.grants import Grant, Grants
from hagoop.intake import Intake
from hagoop.interfaces import IServerReactor
from hagoop.jobs import Assignment, RequestId, Shipped, State, WorkerId
from hagoop.journal import SqliteJournal
from hagoop.ledger import Ledger
from hagoop.lives_log import LIVES_NAME, LivesLog
from hagoop.mending import Mending
from hagoop.options import ServerConfig, listening_host, listening_port
from hagoop.phases import RequestData
from hagoop.recovery import read_stories, restore
from hagoop.roles import Desk
from hagoop.scheduler import Scheduler
from hagoop.sessions import ServerFactory
from hagoop.signals import Signals
from hagoop.sound import sound_chunks
from hagoop.spool import FolderSpool
from hagoop.survived import Survived
from hagoop.web import ByteSite, read_chunks

log = Logger()
KEEP_RECORDS_SECONDS = 5.0
SWEEP_SECONDS = 60.0
BACKLOG = 1024
DOOR_SECONDS = 1.0
"""How soon a revoked secret ends its sessions."""


def wall_seconds() -> float:
    """Seconds since 1970: only for ages that outlive the process."""
    return datetime.now(UTC).timestamp()


@define
class Source:
    """What the web endpoint sends."""

    docket: Docket
    spool: FolderSpool
    mending: Mending

    @property
    def in_thread(self) -> "Callable[..., Deferred[None]]":
        """As the docket does it."""
        return self.docket.in_thread

    def program(self, shipped: Shipped) -> Iterator[bytes]:
        """The bytes of a shipped file.

        :raises BadProgram: they are not what was shipped, as is found out at their end, or gone; whoever
            ships it next brings it again.
        """
        try:
            yield from sound_chunks(read_chunks(self.spool.open_blob(shipped.digest)), shipped.digest)
        except (Damaged, OSError) as problem:
            if is_passing(problem):
                raise
            self.spool.lose_blob(shipped.digest)
            raise BadProgram(
                f"{shipped.path} was lost or damaged on the server's disk; submit the request again"
            ) from problem

    def assignment(self, assignment: Assignment) -> Iterator[bytes]:
        """Lines or slices."""
        return self._data(assignment).stream(assignment)

    def files(self, assignment: Assignment) -> Iterator[bytes]:
        """Where these lines are."""
        return self._data(assignment).files(assignment)

    def _data(self, assignment: Assignment) -> RequestData:
        """Of a request that is still known.

        :raises TransferFailed: the worker has not heard yet that it was forgotten.
        """
        data = self.docket.data.get(assignment.request)
        if data is None:
            raise TransferFailed(f"the request {assignment.request} was forgotten")
        return data

    def answer(self, request: RequestId) -> Answer | None:
        """An answer, as far as it is there."""
        data = self.docket.data.get(request)
        return data.answer if data else None

    def answer_part(self, answer: Answer, number: int) -> BinaryIO:
        """One part of it."""
        return self.spool.open(answer.parts[number])

    def unreadable(self, grant: Grant | None, problem: BaseException | None) -> None:
        """See to it."""
        self.mending.unreadable(grant, problem)


@define(eq=False)
class Server:
    """A running server."""

    reactor: IServerReactor
    config: ServerConfig
    scheduler: Scheduler
    docket: Docket
    journal: SqliteJournal
    grants: Grants
    desk: Desk
    site: ByteSite
    links: ServerFactory
    lives: LivesLog
    _book: Book | None = None
    _changed: set[WorkerId] = field(factory=set)
    _chores: list[LoopingCall] = field(factory=list)

    def start(self) -> None:
        """Begin to review, to keep records and to forget old answers."""
        self.scheduler.records_changed = self._changed.add
        self.scheduler.session_began = self.lives.began
        self.scheduler.session_over = self.lives.over
        self.scheduler.start()
        for seconds, chore in (
            (KEEP_RECORDS_SECONDS, self.keep_records),
            (KEEP_RECORDS_SECONDS, self.lives.write),
            (max(1.0, min(SWEEP_SECONDS, self.config.keep_seconds / 4)), self.forget_old),
            (DOOR_SECONDS, self.watch_door),
        ):
            call = LoopingCall(chore)
            call.clock = self.reactor
            call.start(seconds, now=False).addErrback(self._broken)
            self._chores.append(call)

    def _broken(self, reason: Failure) -> None:
        log.failure("a chore broke", reason)

    def keep_records(self) -> None:
        """Write down what workers have earned since the last time."""
        fleet, now = self.scheduler.ledger.fleet, self.reactor.seconds()
        for worker in self._changed:
            body = _record_fact(fleet.records[worker], now)
            self.journal.put(worker, body).addErrback(self._unkept, worker)
        self._changed.clear()

    def _unkept(self, reason: Failure, worker: WorkerId) -> None:
        """A disk that is full takes it later; of one that failed everybody has been told."""
        if reason.check(SpoolFull):
            self._changed.add(worker)
        elif not reason.check(StateError):
            log.failure("records", reason)

    async def watch_door(self) -> None:
        """End what came by secrets that were revoked since the last time, and what passes its quota."""
        door = self.desk.door
        if not isinstance(door, LockedDoor):
            return
        book = door.book
        if book is not self._book:
            self._book = book
            await self._end_revoked({each.id for each in book.secrets if each.revoked})
        self.desk.quotas.enforce()

    async def _end_revoked(self, secrets: set[str]) -> None:
        self.links.drop(secrets)
        self.site.drop(secrets)
        for request, owner in list(self.docket.owners.items()):
            if owner in secrets:
                message = f"the secret {owner} of its client was revoked"
                await self.docket.end(request, State.CANCELLED, message)

    async def forget_old(self) -> None:
        """Forget requests that ended longer ago than ``--keep``."""
        await forget_old(self.docket, self.config.keep_seconds)

    async def stop(self) -> None:
        """Write down everything and close."""
        for each in self._chores:
            if each.running:
                each.stop()
        self.scheduler.stop()
        self.docket.stop()
        self.keep_records()
        await self.journal.close()
        self.desk.porch.audit.close()


def _record_fact(record: Record, now: float) -> dict[str, object]:
    return {
        "failures": record.failures,
        "exposure": record.seconds_at(now),
        "committed": record.committed,
        "lost": record.lost,
        "relative": record.relative,
    }


def _restore_records(fleet: Fleet, facts: dict[str, dict[str, object]]) -> None:
    for worker, body in facts.items():
        fleet.records[WorkerId(worker)] = wire.from_plain(Record, body)


def build_server(
    reactor: IServerReactor,
    config: ServerConfig,
    web_port: Callable[[], int],
    command_port: Callable[[], int],
    broken: Callable[[], None],
    doorway: Doorway | None = None,
) -> Server:
    """Open the state, recover what it tells, and make all parts.  Blocks.

    :raises StateError: the state folder cannot be used.
    """

    def in_thread(function: Callable[..., object], *arguments: object) -> "Deferred[None]":
        called = deferToThreadPool(reactor, reactor.getThreadPool(), function, *arguments)
        return called.addCallback(lambda _: None)

    journal = SqliteJournal(config.state / "journal.sqlite", reactor, lambda _: broken())
    spool = FolderSpool(config.state / "spool", reactor, config.spool_bytes, on_broken=broken)
    ledger = Ledger(epoch=journal.epoch)
    grants = Grants(lambda: secrets.token_urlsafe(24), reactor.seconds)
    scheduler = Scheduler(ledger, reactor)
    intake = Intake(spool, reactor, in_thread, grants, config.input_roots)
    docket = Docket(
        ledger,
        journal,
        spool,
        intake,
        reactor,
        in_thread,
        wall_seconds,
        scheduler.enact,
        scheduler.forget,
    )
    scheduler.docket = docket
    stories = read_stories(journal.replay())
    _restore_records(ledger.fleet, journal.values())
    spool.sweep(
        [shelf for each in stories for shelf in each.shelves],
        [place for each in stories for place in each.places],
        blobs=[each for story in stories for each in story.programs],
        names=[each for story in stories for each in story.names],
    )
    mending = Mending(docket)
    docket.unreadable, docket.stopped = mending.heard, mending.stopped
    restore(docket, stories)
    door = _make_door(config, doorway)
    desk = Desk(scheduler, docket, intake, grants, reactor, web_port, door)
    audit = Audit(config.state / "audit.log" if config.is_open else None, wall_seconds)
    desk.porch = Porch(reactor, audit, bounded=config.is_open)
    site = ByteSite(Source(docket, spool, mending), grants, command_port, desk.porch, door.warning)
    links = ServerFactory(desk)
    lives = LivesLog(config.state / LIVES_NAME, ledger, reactor.seconds, wall_seconds)
    return Server(reactor, config, scheduler, docket, journal, grants, desk, site, links, lives)


def _make_door(config: ServerConfig, doorway: Doorway | None) -> Door:
    if doorway is not None:
        return LockedDoor(doorway.file, wall_seconds)
    return OpenDoor(warning=config.is_open)


class ServerService(MultiService):
    """A server as ``twistd`` runs it.

    :param owns_process: whether it is what its process is there for: SIGTERM stops it, and the process
        tells why it could not start, or go on.
    :ivar command_port: the port that takes commands, once it listens; ``web_port``: bytes.
    """

    def __init__(
        self, reactor: IServerReactor, config: ServerConfig, *, owns_process: bool = False
    ) -> None:
        super().__init__()
        self._owns_process = owns_process
        self._is_broken = False
        self._reactor = reactor
        self._config = config
        self._lock: StateLock | None = None
        self._server: Server | None = None
        self._ports: list[IListeningPort] = []
        self._doorway: Doorway | None = None
        self._signals = Signals(reactor)
        self.command_port = 0
        self.web_port = 0

    def privilegedStartService(self) -> None:
        """Lock and read the state, then listen; what is wrong stops the start."""
        try:
            self._begin()
        except (StateError, CannotListenError) as problem:
            if self._owns_process:
                tell_plainly("hagoop-server", problem)
            raise
        super().privilegedStartService()

    def _begin(self) -> None:
        refuse_other(self._config.state, "identity", "a worker")
        self._lock = lock_state(self._config.state)
        raise_limit()
        if self._config.has_door:
            self._doorway = open_doorway(self._config.state)
        server = self._server = build_server(
            self._reactor,
            self._config,
            lambda: self.web_port,
            lambda: self.command_port,
            self._break,
            self._doorway,
        )
        self._settle(listening_port(self._config.listen))
        self.web_port = self._listen(self._config.web, server.site)
        self.command_port = self._listen(self._config.listen, server.links)
        if not listening_port(self._config.listen):
            self._settle(self.command_port)
        server.desk.porch.crowd.watch(self._ports)

    def _listen(self, where: str, factory: IProtocolFactory) -> int:
        """Listen now; the port's number, 0 where there are none."""
        if self._doorway is not None:
            from hagoop.door.tls import behind_tls

            factory = behind_tls(self._doorway.identity, factory)
        listening = serverFromString(self._reactor, where).listen(factory)
        failures: list[Failure] = []
        listening.addCallbacks(self._ports.append, failures.append)
        for each in failures:
            each.raiseException()
        for port in self._ports:
            lengthen_queue(port)
        return getattr(self._ports[-1].getHost(), "port", 0) if self._ports else 0

    def _settle(self, port: int) -> None:
        """Let lines say where we are: before we listen, so that who sees that we do can make some."""
        if self._doorway is not None and port:
            host = self._config.host or listening_host(self._config.listen) or own_host()
            self._doorway.move(host, port)
            introduce(self._doorway, wall_seconds())

    @property
    def survived(self) -> Survived:
        """What it has been put through since it started."""
        return self._server.scheduler.survived if self._server is not None else Survived()

    def startService(self) -> None:
        """Go."""
        super().startService()
        if self._server is not None:
            self._server.start()
        if self._owns_process:
            # Twisted's own comes first, and would end the process by the signal once all is put away.
            self._reactor.callWhenRunning(lambda: self._reactor.callLater(0, self._catch))

    def _catch(self) -> None:
        if self.running:
            self._signals.catch(signal.SIGTERM, self._terminated)

    def _terminated(self) -> None:
        """Who stops a server wants to know that it has stopped well."""
        with suppress(ReactorNotRunning):
            self._reactor.stop()

    def _break(self) -> None:
        """The disk failed: nothing more is promised, and nothing tried again as if it had worked."""
        if self._is_broken:
            return
        self._is_broken = True
        log.critical("the disk cannot be trusted any more: the server stops")
        if self._owns_process:
            fail_at_exit()
        self._reactor.stop()

    def stopService(self) -> "Deferred[None]":
        """Stop listening, write everything down, let go of the state."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await maybeDeferred(super().stopService)
        self._signals.release()
        if self._server is not None:
            self._server.desk.porch.crowd.leave()
        for port in self._ports:
            await maybeDeferred(port.stopListening)
        if self._server is not None:
            # What ends from now on we have ended ourselves.
            self._server.lives.stop()
            await self._server.links.close()
            await self._server.stop()
        if self._lock is not None:
            self._lock.release()


def lengthen_queue(port: IListeningPort) -> None:
    """Let more connections wait than Twisted does: who finds no room tries again a second later."""
    listening = getattr(port, "socket", None)
    if isinstance(listening, socket.socket):
        listening.listen(BACKLOG)


def make_server_service(reactor: IServerReactor, config: ServerConfig) -> IService:
    """A server that is not started yet."""
    service: IService = ServerService(reactor, config, owns_process=True)
    return service

