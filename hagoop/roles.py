"""What a joined worker or client may do at the server, and how the scheduler sees a worker."""

import secrets
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from hagoop import commands, wire
from hagoop.commands import COMMITS_IN_FLIGHT, WORKS_PER_SLOT
from hagoop.docket import Docket
from hagoop.door.audit import Audit
from hagoop.door.doors import Door, OpenDoor
from hagoop.door.porch import Porch
from hagoop.door.quotas import Quotas
from hagoop.errors import BadMessage, Damaged, LimitExceeded, TransferFailed, WorkerLost
from hagoop.grants import AnswerGrant, AssignmentGrant, Grants
from hagoop.intake import Intake
from hagoop.interfaces import Arrived, IWorker
from hagoop.jobs import (
    Assignment,
    AssignmentId,
    BadLine,
    Finished,
    Kept,
    Missing,
    RequestId,
    RequestStatus,
    Seen,
    State,
    Submission,
    WorkerId,
    WorkerStatus,
)
from hagoop.leases import Session
from hagoop.links import Link
from hagoop.partials import Partials
from hagoop.requests import Request
from hagoop.scheduler import Leased, Scheduler
from hagoop.way import believed

log = Logger()
T = TypeVar("T")
DEAD_SECONDS = 12.0
"""A session silent for so long, two Beats of an idle worker and more, keeps no identity."""
LIST_PAGE = 20
WORKERS_PAGE = 100
BAD_LINES_PAGE = 500
MISSING_PAGE = 500
PAGE_BYTES = 60_000
"""What a page may take: one message of AMP holds 65,535 bytes."""
OF_ANOTHER = "(of another client)"
MOST_WHY = 64
"""What is shown of why a worker leaves or rests."""
MOST_KNOWN = 1000
"""Of how many requests a worker that comes back is told."""
MOST_ARRIVALS = 64
ARRIVALS_PER_SLOT = WORKS_PER_SLOT * (COMMITS_IN_FLIGHT + 1)
"""How many jobs' bytes a session may have sent without committing them: at least, and for each slot."""
MOST_UPLOADS = 4096
"""How many things a client may bring over one connection."""
MOST_WORDS = 2 * MOST_UPLOADS
"""How many words a client may hold that open something."""


@define(eq=False)
class Desk:
    """What sessions need of the server.

    :ivar porch: what is before the door; by default that of a server that only this machine reaches.
    """

    scheduler: Scheduler
    docket: Docket
    intake: Intake
    grants: Grants
    clock: IReactorTime
    web_port: Callable[[], int]
    door: Door = field(factory=OpenDoor)
    porch: Porch = field(init=False)
    quotas: Quotas = field(init=False)
    partials: Partials = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.porch = Porch(self.clock, Audit(None, self.clock.seconds), bounded=False)
        self.quotas = Quotas(self.docket, self.door, self.intake)
        self.partials = Partials(self.docket)

    def identify(self, wanted: str, process: str) -> WorkerId:
        """The identity for a worker: its own, or a fresh one if another that lives has it.

        A session of which nothing is heard any more is replaced, and so is one of the same process,
        which has come back before we noticed that it was gone.
        """
        live = self.scheduler.ledger.fleet.live_session(WorkerId(wanted)) if wanted else None
        if live is not None and live.process == process:
            self._replace(live, "its process has come back", failed=False)
        elif live is not None and self.clock.seconds() - live.heard > DEAD_SECONDS:
            self._replace(live, "its identity has come back, and it is silent", failed=True)
        elif live is not None:
            wanted = ""
        return WorkerId(wanted or secrets.token_hex(8))

    def _replace(self, session: Session, reason: str, *, failed: bool) -> None:
        worker = self.scheduler.workers[session.id]
        self.scheduler.leave(session, failed=failed)
        worker.close(reason)


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
    """A joined worker.

    :ivar secret: the id by which it joined; None where none is asked for.
    """

    desk: Desk
    session: Session
    secret: str | None = None
    arrivals: dict[str, tuple[RequestId, Arrived]] = field(factory=dict)
    _words: dict[AssignmentId, str] = field(factory=dict)
    _number: int = 0
    leaving: bool = False
    _gone: bool = False

    def beat(self, seen: tuple[Seen, ...]) -> None:
        """It works on: what it needs for that stays open."""
        self.desk.scheduler.beat(self.session, seen)
        for each in seen:
            if each.id in self.session.leases and each.id in self._words:
                self.desk.grants.renew(self._words[each.id])

    def says_way(self, way: float | None) -> None:
        """How long its way is, as it says, if it does."""
        if way is not None:
            self.session.way = believed(way)

    def grant(self, assignment: Assignment) -> Assignment:
        """The assignment with what opens its bytes."""
        arrived = partial(self._arrived, assignment.request)
        grant = AssignmentGrant(assignment, self.desk.docket.spool.receive, arrived)
        word = self._words[assignment.id] = self.desk.grants.give(grant, self.secret)
        return evolve(assignment, grant=word)

    def keep(self, assignment: Assignment) -> Kept:
        """An assignment that goes on after a reconnect."""
        return Kept(assignment.id, self.grant(assignment).grant)

    def _arrived(self, request: RequestId, arrived: Arrived) -> str:
        while len(self.arrivals) >= max(MOST_ARRIVALS, ARRIVALS_PER_SLOT * self.session.slots):
            self._discard(next(iter(self.arrivals)))
        self._number += 1
        self.arrivals[str(self._number)] = request, arrived
        # What was on its way when the session ended is of no use: its name is this session's.
        if self._gone or self._is_over(request):
            self._discard(str(self._number))
        return str(self._number)

    def _discard(self, upload: str) -> None:
        _, arrived = self.arrivals.pop(upload)
        arrived.discard()

    def _is_over(self, request: RequestId) -> bool:
        return request not in self.desk.docket.data or request in self.desk.docket.ended_facts

    def still_knows(self, requests: Sequence[RequestId]) -> None:
        """It keeps something for these: of those that ended while it was away it hears now."""
        for each in requests[:MOST_KNOWN]:
            if self._is_over(each):
                self.desk.scheduler.workers[self.session.id].forget(each)

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
        scheduler = self.desk.scheduler
        return {
            "accepted": await scheduler.commit(self.session, job, arrived),
            "front": scheduler.front(job.id),
            "commit_seconds": scheduler.commit_seconds(job.id),
        }

    def leaves(self, why: str) -> None:
        """It has given notice: its end will be no loss."""
        self.leaving, self.session.why = True, why[:MOST_WHY]

    def comes_back(self) -> None:
        """It has rested, or stays after all."""
        self.leaving = False
        self.desk.scheduler.welcome_back(self.session)

    def lost(self) -> None:
        """The session is over."""
        self._gone = True
        for word in self._words.values():
            self.desk.grants.end(word)
        for each in list(self.arrivals):
            self._discard(each)
        self.desk.scheduler.leave(self.session, failed=not self.leaving)


@define(eq=False)
class ClientRole:
    """A joined client.

    :ivar owner: whose its requests are; None: all requests are everybody's, for there is no door.
    """

    desk: Desk
    owner: str | None = None
    host: str = ""
    _words: deque[str] = field(factory=deque)
    _uploads: list[str] = field(factory=list)

    def upload(self, digest: str, size: int) -> dict[str, object]:
        """Let it send bytes, unless they are here, and it has brought them itself."""
        if digest and self.desk.intake.has_program(digest) and self._has_brought(digest):
            return {"have": True, "name": "", "grant": ""}
        if len(self._uploads) >= MOST_UPLOADS:
            raise LimitExceeded(
                f"{MOST_UPLOADS} files were brought over one connection, which is as many as may; "
                "put files into folders, or pack them"
            )
        room = self.desk.quotas.check_room(self.owner, size)
        limit = room if room is not None and size < 0 else size
        name, word = self.desk.intake.expect(digest, limit)
        self.desk.quotas.bring(self.owner, name)
        self._uploads.append(name)
        self._lend(word)
        return {"have": False, "name": name, "grant": word}

    def _has_brought(self, digest: str) -> bool:
        """Whether it may name a program by its digest: who knows a digest need not know the bytes."""
        if self.owner is None or self.desk.docket.names_program(self.owner, digest):
            return True
        return self.desk.intake.has_arrived(self._uploads, digest)

    async def survey(self, manifest: str) -> bool:
        """Whether the server may read the files of a manifest in place.

        Not for who comes through the door: size and age of a file are no proof that he may read it.
        """
        self._check_own(manifest)
        return self.owner is None and await self.desk.intake.sees(manifest)

    async def submit(self, key: str, submission: Submission) -> RequestId:
        """Submit what it has brought, as far as it may."""
        owner = self.owner or ""
        if self.desk.docket.keys.knows((owner, key)):
            return await self.desk.docket.submit(key, submission, owner)
        self._check(submission)
        request = await self.desk.docket.submit(key, submission, owner)
        # What it has brought is its request's now.
        self.desk.quotas.brought(self.owner, self._uploads)
        self.desk.porch.note(
            "submitted", self.host, secret=self.owner, request=request, label=submission.label
        )
        return request

    def _check(self, submission: Submission) -> None:
        self.desk.quotas.check_running(self.owner)
        for source in submission.sources:
            if source.kind == "seen" and self.owner is not None:
                raise BadMessage("who joins by a secret uploads its files")
            if source.kind in ("upload", "seen"):
                self._check_own(*source.name.split(" "))
        for file in submission.program.files:
            if not self._has_brought(file.digest):
                raise TransferFailed(f"{file.path} was not uploaded by this client; submit it again")

    def _check_own(self, *names: str) -> None:
        """Others' uploads are not for it."""
        for name in names:
            if self.owner is not None and name not in self._uploads:
                raise TransferFailed(f"nothing was uploaded as '{name[:64]}'; submit it again")

    def account(self, request: str) -> Request:
        """One of its requests; the newest of them without an id.

        :raises UnknownRequest: there is none, or it is another's.
        """
        return self.desk.docket.account(request, self.owner)

    def answer(self, request: str) -> dict[str, object]:
        """What opens an answer."""
        account = self.account(request)
        if account.id in self.desk.docket.damaged:
            raise Damaged(self.desk.docket.damaged[account.id])
        word = self.desk.grants.give(AnswerGrant(account.id), self.owner)
        self._lend(word)
        return {"grant": word}

    def _lend(self, word: str) -> None:
        self._words.append(word)
        if len(self._words) > MOST_WORDS:
            self.desk.grants.end(self._words.popleft())

    def status(self, request: str) -> RequestStatus:
        """One request now."""
        return self.desk.docket.status(self.account(request))

    async def wait(self, request: str) -> RequestStatus:
        """One request at its end."""
        account = self.account(request)
        await self.desk.docket.ended(account.id)
        return self.desk.docket.status(account)

    async def cancel(self, request: str) -> RequestStatus:
        """Stop one."""
        account = self.account(request)
        self.desk.porch.note("cancelled", self.host, secret=self.owner, request=account.id)
        await self.desk.docket.cancel(account.id)
        return self.desk.docket.status(account)

    async def forget(self, request: str) -> RequestId:
        """Drop one."""
        account = self.account(request)
        self.desk.porch.note("forgot", self.host, secret=self.owner, request=account.id)
        await self.desk.docket.forget(account.id)
        return account.id

    def list(self, skip: int) -> tuple[RequestStatus, ...]:
        """A page of requests, newest first; of others' no more than that they are there."""
        known = list(self.desk.docket.ledger.requests.values())[::-1]
        page = known[max(0, skip) : max(0, skip) + LIST_PAGE]
        return one_message(self._shown(each) for each in page)

    def _shown(self, account: Request) -> RequestStatus:
        status = self.desk.docket.status(account)
        if self.desk.docket.is_of(account.id, self.owner):
            return evolve(status, log="", counters=())
        # By name what is shown, so that nothing is that comes to be known later.
        return RequestStatus(
            id=status.id,
            state=status.state,
            label=OF_ANOTHER,
            age_seconds=status.age_seconds,
            phase=status.phase,
            done=status.done,
            weight=0,
            whole=status.whole,
            working=status.working,
            workers=status.workers,
            failures=0,
            seconds_left=None,
        )

    def bad_lines(self, request: str, skip: int) -> tuple[BadLine, ...]:
        """A page of the lines that a request passed over."""
        known = self.account(request).bad_lines
        page = sorted(known)[max(0, skip) : max(0, skip) + BAD_LINES_PAGE]
        return one_message(known[each] for each in page)

    async def partial(self, key: str, request: str) -> RequestId:
        """The request whose answer covers what is committed of one now."""
        account = self.account(request)
        if account.state is State.RUNNING:
            self.desk.quotas.check_running(self.owner)
        return await self.desk.partials.of(key, account.id)

    def missing_parts(self, request: str, skip: int) -> tuple[Missing, ...]:
        """A page of what an answer does not cover."""
        known = self.account(request).missing
        return one_message(known[max(0, skip) : max(0, skip) + MISSING_PAGE])

    def workers(self, skip: int) -> tuple[WorkerStatus, ...]:
        """A page of workers."""
        page = self.desk.scheduler.statuses()[max(0, skip) : max(0, skip) + WORKERS_PAGE]
        return one_message(page)

    def lost(self) -> None:
        """What it sent and did not use goes."""
        self.desk.quotas.brought(self.owner, self._uploads)
        for word in self._words:
            self.desk.grants.end(word)
        for name in self._uploads:
            self.desk.intake.discard(name)


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
