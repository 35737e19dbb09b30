"""The worker: keeps a connection to its server, and its slots at work.

Works outlive the connection: when it breaks, programs run on, and ``Join`` says what is still held.
"""

import os
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from attrs import define, evolve, field
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    DeferredSemaphore,
    TimeoutError,
    gatherResults,
)
from twisted.internet.interfaces import (
    IDelayedCall,
)
from twisted.internet.protocol import connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure as TwistedFailure

from hagoop import commands
from hagoop.asking import FIRST_RETRY_SECONDS, AskAhead
from hagoop.beating import Beating
from hagoop.commands import DELIVERED_WORKS
from hagoop.delivery import own_error
from hagoop.door.kept import KeptLine
from hagoop.errors import BLAMED_KINDS, HaGoopError, NotAdmitted, WorkerLost
from hagoop.experience import JobSizer
from hagoop.interfaces import IWorkerReactor
from hagoop.jobs import (
    Assignment,
    AssignmentId,
    Failure,
    Finished,
    Kept,
    Phase,
    RequestId,
    Seen,
    Stop,
)
from hagoop.links import Link
from hagoop.machines import is_this_machine
from hagoop.options import WorkerConfig
from hagoop.outlook import HERE, Outlook
from hagoop.piecework import Work
from hagoop.places import new_places
from hagoop.remembered import Remembered
from hagoop.transfer import Transfer
from hagoop.way import Way
from hagoop.workbench import Workbench

log = Logger()
T = TypeVar("T")
AFTER_FAILURE_SECONDS = 1.0
MOST_REFUSED_SECONDS = 8.0
"""A server drops who has not joined within ten seconds."""


class WorkerLink(Link):
    """The worker's end of its connection."""

    def __init__(self, worker: "Worker") -> None:
        super().__init__()
        self._worker = worker
        self.most_calls += 2 * worker.config.slots

    @commands.Cancel.responder
    def cancel(self, assignment: str, reason: str) -> Any:
        """``Cancel``: answered when the program is gone."""
        cancelled = Deferred.fromCoroutine(self._worker.cancel(AssignmentId(assignment), reason))
        return cancelled.addCallback(lambda _: {})

    @commands.TakeBack.responder
    def take_back(self, assignment: str, end: int) -> Any:
        """``TakeBack``: answered when the end that is kept is known."""
        kept = Deferred.fromCoroutine(self._worker.take_back(AssignmentId(assignment), end))
        return kept.addCallback(lambda end: {"end": end})

    @commands.Forget.responder
    def forget(self, request: str) -> dict[str, object]:
        """``Forget``."""
        self._worker.forget(RequestId(request))
        return {}

    def connectionMade(self) -> None:
        """Join.  ``ClientService`` cannot wait for it: a connection lost meanwhile confuses it."""
        super().connectionMade()
        joining = Deferred.fromCoroutine(self._worker.try_to_join(self))
        joining.addErrback(lambda reason: log.failure("joining broke", reason))

    def connectionLost(self, reason: TwistedFailure = connectionDone) -> None:
        """The worker goes on without."""
        super().connectionLost(reason)
        self._worker.link_lost(self)


@define(eq=False)
class Slot:
    """What one slot does, from turn to turn.

    :ivar ahead: asks for its next assignment.
    :ivar work: what it has in hand.
    :ivar settling: fire when what it had before is delivered, the oldest first.
    :ivar places: for its programs: one maps or reduces while one sorts or combines; at times two do.
    """

    number: int
    ahead: AskAhead
    work: Work | None = None
    settling: "deque[Deferred[None]]" = field(factory=deque)
    places: DeferredSemaphore = field(factory=new_places)


@define(eq=False)
class Worker:
    """What a worker does, apart from connecting."""

    reactor: IWorkerReactor
    config: WorkerConfig
    bench: Workbench
    process: str = field(factory=lambda: secrets.token_hex(8))
    transfer: Transfer = field(init=False)
    kept_line: KeptLine = field(init=False)
    link: WorkerLink | None = None
    is_near: bool = False
    way: Way = field(factory=Way)
    beating: Beating = field(init=False)
    works: dict[AssignmentId, Work] = field(factory=dict)
    _unbegun: dict[AssignmentId, int] = field(factory=dict)
    _sizers: dict[tuple[RequestId, Phase, int], JobSizer] = field(factory=dict)
    _remembered: Remembered = field(factory=Remembered)
    _programs: dict[RequestId, set[str]] = field(factory=dict)
    _back: list["Deferred[None]"] = field(factory=list)
    _slots: list["Deferred[None]"] = field(factory=list)
    _settling: list["Deferred[None]"] = field(factory=list)
    _asks: list["Deferred[Assignment]"] = field(factory=list)
    lost: "Callable[[], None]" = field(default=lambda: None)
    _refusals: int = 0
    _stopping: bool = False
    _hurries: bool = False
    outlook: Outlook = HERE
    _handing_back: IDelayedCall | None = None
    _idle: "Deferred[None] | None" = None

    def __attrs_post_init__(self) -> None:
        self.kept_line = KeptLine(self.config.state)
        self.beating = Beating(self.reactor, self._seen, lambda: self.link, self.way)

    def _seen(self) -> tuple[Seen, ...]:
        return tuple(each.seen for each in self.works.values())

    # The connection

    async def try_to_join(self, link: WorkerLink) -> None:
        """Join, or drop the connection after a while that grows with each refusal."""
        try:
            await self.join(link)
            self._refusals = 0
        except HaGoopError as error:
            if isinstance(error, NotAdmitted):
                self.kept_line.refused()
            told = link.greeting or error
            log.error("could not join {peer}: {told}", peer=link.peer, told=told)
            self._refusals += 1
            await self._pause(min(MOST_REFUSED_SECONDS, FIRST_RETRY_SECONDS * 2**self._refusals))
            link.drop("it could not be joined")

    async def join(self, link: WorkerLink) -> None:
        """A connection was made: say who we are and what we hold.

        :raises PeerError: the server will not have us.
        """
        # A server that keeps what was cancelled would wait for it for ever.
        held = [each for each in self.works.values() if not each.is_dropped]
        began = self.reactor.seconds()
        line = self.kept_line.best(link.line)
        answer = await link.call(
            commands.Join,
            version=commands.PROTOCOL_VERSION,
            role="worker",
            identity=self._identity(),
            process=self.process,
            name=self.config.name,
            slots=self.config.slots,
            held=tuple(each.held for each in held),
            knows=tuple(self._programs),
            way=self.way.seconds,
            secret_id=line.id if line else "",
            secret=line.secret if line else "",
        )
        self.way.joined(self.reactor.seconds() - began)
        self._keep_identity(answer["identity"])
        self.kept_line.keep(line, answer["token"])
        self.is_near = is_this_machine(answer["machine"])
        self._connect_bytes(link, answer["web_port"])
        self._go_on(link, held, answer["kept"])
        self.link = link
        self.beating.keep(answer["beat_seconds"])
        log.info("joined {peer} as {identity}", peer=link.peer, identity=answer["identity"])
        if self.outlook != HERE:
            # Before anybody asks.
            self._say_outlook()
        for each in self._take_waiting():
            each.callback(None)

    def _take_waiting(self) -> list["Deferred[None]"]:
        waiting, self._back = self._back, []
        return waiting

    def _connect_bytes(self, link: WorkerLink, port: int) -> None:
        """Bytes come from the host that we reached."""
        if hasattr(self, "transfer"):
            self.transfer.close()
        address: Any = link.transport.getPeer() if link.transport is not None else None
        host = getattr(address, "host", "127.0.0.1")
        self.transfer = Transfer(self.reactor, host, port, link.line)

    def _go_on(
        self, link: WorkerLink, held: Sequence[Work], kept: Sequence[Kept | None]
    ) -> None:
        for work, again in zip(held, kept, strict=True):
            is_ours = self.works.pop(work.id, None) is not None
            if is_ours and again is not None:
                work.kept(again.id, again.grant)
                self.works[again.id] = work
            elif is_ours:
                Deferred.fromCoroutine(work.cancel("it is not ours any more"))
            elif again is not None:
                # It ended while we said that we hold it, and would be waited for, for ever.
                link.tell(commands.Fail, failure=work.dropped_as(again.id))

    def link_lost(self, link: WorkerLink) -> None:
        """The connection is gone; what runs, runs on."""
        if link is self.link:
            self.link = None
            self._unbegun.clear()
            self._rest()
            log.info("the server is gone; {count} assignments go on", count=len(self.works))
            self.lost()

    async def back(self) -> None:
        """Wait for the connection."""
        while self.link is None:
            waiting: Deferred[None] = Deferred(lambda gone: self._back.remove(gone))
            self._back.append(waiting)
            await waiting

    async def commit(self, job: Finished) -> tuple[bool, int]:
        """Send ``Commit``.

        :raises WorkerLost: the connection is away.
        """
        if self.link is None:
            raise WorkerLost("the connection is away")
        answer = await self.link.call(commands.Commit, job=job)
        work = self.works.get(job.id)
        if work is not None and answer["commit_seconds"]:
            work.commit_seconds = answer["commit_seconds"]
        return answer["accepted"], answer["front"]

    # Identity

    def _identity(self) -> str:
        try:
            return (self.config.state / "identity").read_text().strip()
        except FileNotFoundError:
            return ""

    def _keep_identity(self, identity: str) -> None:
        if identity != self._identity():
            beside = self.config.state / "identity.new"
            beside.write_text(identity + "\n")
            os.replace(beside, self.config.state / "identity")

    # Slots

    def start(self) -> None:
        """Put the slots to work."""
        for number in range(self.config.slots):
            slot = Deferred.fromCoroutine(self._slot(number))
            slot.addErrback(self._slot_broken, number)
            self._slots.append(slot)

    def _slot_broken(self, reason: TwistedFailure, number: int) -> None:
        if not reason.check(CancelledError):
            log.failure("slot {number} broke", reason, number=number)

    async def _slot(self, number: int) -> None:
        """One assignment after the other, whatever becomes of each."""
        slot = Slot(number, self._new_ahead(number))
        while not self._stopping:
            try:
                await self._take_turn(slot)
            except Exception as error:
                if self._stopping:
                    return
                log.failure("slot {number} broke", number=number)
                await self._drop_in_hand(slot, error)

    async def _take_turn(self, slot: Slot) -> None:
        asked, slot.ahead = slot.ahead.ask(), self._new_ahead(slot.number)
        assignment = await asked
        end = self._unbegun.pop(assignment.id, None)
        if end is None or self._stopping:
            # Cancelled since, or leased over a connection that broke: it is somebody else's now.
            return
        work = slot.work = self._begin(evolve(assignment, end=end), slot.places)
        work.last_begun.addCallback(slot.ahead.ask_in)
        await work.run()
        slot.work = None
        slot.settling.append(self._begin_to_settle(work))
        # The last jobs of one assignment are delivered while others run, but only of so many.
        while slot.settling and (work.failed or len(slot.settling) > DELIVERED_WORKS):
            await slot.settling.popleft()

    async def _drop_in_hand(self, slot: Slot, error: Exception) -> None:
        """A turn broke: what it was about is for others, and the next may come after a while."""
        work, slot.work = slot.work, None
        slot.settling.clear()
        if work is None or self.works.pop(work.id, None) is None:
            await self._pause(AFTER_FAILURE_SECONDS)
            return
        told = own_error(error)
        Deferred.fromCoroutine(work.cancel(str(told)))
        await self._report(Failure(work.id, work.job_start, work.job_end, told.code, str(told), 0.0))

    def _new_ahead(self, number: int) -> AskAhead:
        return AskAhead(self.reactor, lambda: self._ask_for(number), self.way)

    def _ask_for(self, number: int) -> "Deferred[Assignment]":
        asked = Deferred.fromCoroutine(self._ask(number))
        self._asks.append(asked)
        return asked.addBoth(self._asked, asked)

    def _asked(self, result: T, asked: "Deferred[Assignment]") -> T:
        self._asks.remove(asked)
        return result

    async def _ask(self, number: int) -> Assignment:
        while True:
            await self.back()
            link = self.link
            if link is None:
                continue
            try:
                answer = await link.call(commands.Ask, slot=number, way=self.way.seconds)
            except HaGoopError as error:
                log.debug("slot {number}: {error}", number=number, error=error)
                await self._pause(AFTER_FAILURE_SECONDS)
                continue
            assignment: Assignment = answer["assignment"]
            if link is self.link and self.outlook.rests:
                # It was on its way when we said so.
                self._tell_leaving((assignment.id,))
                continue
            if link is self.link:
                self._unbegun[assignment.id] = assignment.end
            return assignment

    def _begin(self, assignment: Assignment, places: DeferredSemaphore) -> Work:
        # Another round may be another step, of another program.
        key = assignment.request, assignment.phase, assignment.round
        if key not in self._sizers:
            # What it still delivers, or lets go of, may tell of the next phase.
            for each in self.works.values():
                self._learn(each)
            self._sizers[key] = self._remembered.sizer(assignment.program, assignment.phase)
        self._programs[assignment.request] = {each.digest for each in assignment.program.files}
        sizer = self._sizers[key]
        work = Work(assignment, self.bench, self, self.reactor, sizer, places)
        self.works[assignment.id] = work
        return work

    def _learn(self, work: Work) -> None:
        program = work.assignment.program
        self._remembered.learn(program, work.assignment.phase, work.sizer)
        if work.combining_speed:
            self._remembered.combined(program, work.combining_speed)

    def _begin_to_settle(self, work: Work) -> "Deferred[None]":
        settling = Deferred.fromCoroutine(self._settle(work))
        self._settling.append(settling)
        return settling.addBoth(self._settled, settling)

    def _settled(self, result: T, settling: "Deferred[None]") -> T:
        self._settling.remove(settling)
        return result

    async def _settle(self, work: Work) -> None:
        try:
            failure = await work.settle()
        finally:
            self.works.pop(work.id, None)
            self._learn(work)
            if work.assignment.program.files and work.assignment.request not in self._programs:
                # They came when the request was forgotten already.
                self._drop_programs()
            if not self.works:
                self._rest()
        if failure is not None:
            await self._report(failure)

    async def _report(self, failure: Failure) -> None:
        log.info("{id} failed: {message}", id=failure.id, message=failure.message)
        if self.link is not None:
            with suppress(HaGoopError):
                await self.link.call(commands.Fail, failure=failure)
        # What is nobody's fault would else come back at once, for ever.
        await self._pause(0.0 if failure.kind in BLAMED_KINDS else AFTER_FAILURE_SECONDS)

    async def _pause(self, seconds: float) -> None:
        await deferLater(self.reactor, seconds)

    # What the server says

    async def cancel(self, assignment: AssignmentId, reason: str) -> None:
        """``Cancel``."""
        self._unbegun.pop(assignment, None)
        work = self.works.get(assignment)
        if work is not None:
            await work.cancel(reason)

    async def take_back(self, assignment: AssignmentId, end: int) -> int:
        """``TakeBack``: from what we do not hold, everything is free."""
        if assignment in self._unbegun:
            self._unbegun[assignment] = min(self._unbegun[assignment], end)
        work = self.works.get(assignment)
        return end if work is None else await work.take_back(end)

    def forget(self, request: RequestId) -> None:
        """``Forget``."""
        self._sizers = {key: sizer for key, sizer in self._sizers.items() if key[0] != request}
        if self._programs.pop(request, None):
            self._drop_programs()

    def _drop_programs(self) -> None:
        try:
            self.bench.forget_programs(set().union(*self._programs.values()))
        except OSError as error:
            log.warn("programs that nobody needs stay: {error}", error=error)

    # Rest

    def expect(self, outlook: Outlook) -> None:
        """How long it will be there is known anew: work as much as fits, rest, or come again."""
        known, self.outlook = self.outlook, outlook
        if self._stopping or (outlook.rests, outlook.why) == (known.rests, known.why):
            return
        log.info("{now}", now=outlook.why or "working again")
        self._say_outlook()
        if outlook.rests and not known.rests:
            self._handing_back = self.reactor.callLater(self.config.grace_seconds, self._hand_back)
        elif not outlook.rests:
            self._keep_in_hand()

    def _say_outlook(self) -> None:
        if self.outlook.rests:
            self._say_leaving()
        elif self.outlook != HERE:
            self._tell_leaving(self._take_unbegun())
        elif self.link is not None:
            self.link.tell(commands.Back)

    def _hand_back(self) -> None:
        """The grace is over: what is still in hand is for others."""
        self._tell_leaving(tuple(self.works))
        for each in list(self.works.values()):
            Deferred.fromCoroutine(each.cancel("the worker rests"))

    def _keep_in_hand(self) -> None:
        if self._handing_back is not None and self._handing_back.active():
            self._handing_back.cancel()

    # The end

    def _rest(self) -> None:
        """Nothing is in hand, or nobody there to take it."""
        if self._idle is not None and not self._idle.called:
            self._idle.callback(None)

    def _say_leaving(self) -> "Deferred[None]":
        """Give back all but the jobs in hand, which are cut: fires when that is said."""
        begun = [each for each in self.works.values() if each.job_end > each.assignment.start]
        waiting = [each for each in self.works.values() if each not in begun]
        self._tell_leaving((*self._take_unbegun(), *(each.id for each in waiting)))
        for each in waiting:
            Deferred.fromCoroutine(each.cancel("the worker leaves"))
        return Deferred.fromCoroutine(self._cut_in_hand(begun))

    async def _cut_in_hand(self, begun: Sequence[Work]) -> None:
        ends = await gatherResults([Deferred.fromCoroutine(each.take_back(0)) for each in begun])
        if begun and (self._stopping or self.outlook.rests):
            stops = (Stop(each.id, end) for each, end in zip(begun, ends, strict=True))
            self._tell_leaving((), tuple(stops))

    def _take_unbegun(self) -> tuple[AssignmentId, ...]:
        unbegun = tuple(self._unbegun)
        self._unbegun.clear()
        return unbegun

    def _tell_leaving(self, unbegun: tuple[AssignmentId, ...], stops: tuple[Stop, ...] = ()) -> None:
        if self.link is not None:
            told = Outlook(0.0, "leaving") if self._stopping else self.outlook
            seconds = max(0.0, told.seconds)
            self.link.tell(commands.Leaving, unbegun=unbegun, stops=stops, seconds=seconds, why=told.why)

    async def _end_jobs_in_hand(self) -> None:
        """Commit them, if that fits the grace and there is somebody to commit them to."""
        if not self.works or self.link is None or self._hurries:
            return
        self._idle = Deferred()
        self._idle.addTimeout(self.config.grace_seconds, self.reactor)
        with suppress(TimeoutError):
            await self._idle

    def hurry(self) -> None:
        """Do not wait for the jobs in hand any longer."""
        self._hurries = True
        self._rest()

    async def stop(self) -> None:
        """Say that we leave, see the jobs in hand through, and end all programs."""
        self._stopping = True
        self._keep_in_hand()
        await self._say_leaving()
        await self._end_jobs_in_hand()
        self.beating.stop()
        works = list(self.works.values())
        await DeferredList([Deferred.fromCoroutine(each.cancel("the worker leaves")) for each in works])
        # Sorting and combining too.
        working = [*self._slots, *self._settling]
        waiting: list[Deferred[Any]] = [*self._asks, *working]
        for each in waiting:
            each.cancel()
            # Of an assignment that was asked for ahead, nobody may be waiting to hear.
            each.addErrback(lambda _: None)
        await DeferredList(working)
        if hasattr(self, "transfer"):
            await self.transfer.close()
