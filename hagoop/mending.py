"""What the spool has lost is made again, where the input allows; else the request fails and says why.

A run that is gone or damaged is found by whoever reads it.  Then all that the request needs now is
looked at, that it is lost is put on disk, and the request is restored as at a start, from what is left
of its first map.  Bytes of an answer that clients have are the same when they are made again.

Whoever reads for a worker or a client tells again.  Where a request stands still, for what moves it
on, or a start, could not read something, it is restored even if nothing is lost after all.
"""

from collections.abc import Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from hagoop.disk import is_passing, why
from hagoop.docket import Docket
from hagoop.errors import Damaged, RequestError, TransferFailed
from hagoop.grants import AnswerGrant, AssignmentGrant, Grant
from hagoop.jobs import Output, RequestId, State
from hagoop.recorder import RETRY_SECONDS
from hagoop.recovery import Story, read_stories, restore
from hagoop.requests import Request
from hagoop.sound import is_sound

log = Logger()
MOST_LOSSES = 3
"""A disk that loses more than so often is not to be trusted with another try."""
MOST_ALARMS = 8
"""Complaints about a request of which all is sound when one looks."""


@define(eq=False)
class Mending:
    """Hears what could not be read, and sees to it."""

    docket: Docket
    _under_way: set[RequestId] = field(factory=set)
    _standing: dict[RequestId, BaseException] = field(factory=dict)
    """What those met that do not go on by themselves, until they are restored."""
    _alarms: dict[RequestId, int] = field(factory=dict)

    def unreadable(self, grant: Grant | None, problem: BaseException | None) -> None:
        """What a grant opens could not be sent whole."""
        if isinstance(grant, AnswerGrant):
            self.heard(grant.request, problem)
        # A lease that is gone may have been of files that are dropped since.
        elif isinstance(grant, AssignmentGrant) and grant.assignment.id in self.docket.ledger.leases:
            self.heard(grant.assignment.request, problem)

    def heard(self, request: RequestId, problem: BaseException | None) -> None:
        """Something that a request needs could not be read; whoever needs it will tell again."""
        account = self.docket.ledger.requests.get(request)
        if account is None or request not in self.docket.data:
            return
        if isinstance(problem, OSError) and not is_passing(problem):
            problem = Damaged(f"what the request needs cannot be read: {why(problem)}")
        if account.state is not State.RUNNING:
            if isinstance(problem, Damaged):
                self.docket.answer_damaged(request, str(problem))
        elif isinstance(problem, RequestError):
            self.docket.fail(request, str(problem))
        elif isinstance(problem, Damaged):
            self._begin(request, problem)

    def stopped(self, request: RequestId, problem: BaseException) -> None:
        """The same, but nobody will tell again: the request stands still until it is restored."""
        self._standing[request] = problem
        self.heard(request, problem)
        if self._stands(request):
            self._begin(request, problem)

    def _begin(self, request: RequestId, problem: BaseException) -> None:
        if request in self._under_way:
            return
        self._under_way.add(request)
        mended = Deferred.fromCoroutine(self._see_to(request, problem))
        mended.addErrback(self._unmended, request, problem)
        mended.addBoth(lambda _: self._under_way.discard(request))

    def _unmended(self, reason: Failure, request: RequestId, problem: BaseException) -> None:
        log.failure("mending {request}", reason, request=request)
        if request in self.docket.data:
            self.docket.fail(request, f"{problem}; submit the request again")

    async def _see_to(self, request: RequestId, problem: BaseException) -> None:
        await self._try(request, problem)
        while self._stands(request):
            await self._try(request, self._standing[request])

    def _stands(self, request: RequestId) -> bool:
        """Whether a request stands still."""
        account = self.docket.ledger.requests.get(request)
        if account is None or account.state is not State.RUNNING:
            self._standing.pop(request, None)
        return request in self._standing

    async def _try(self, request: RequestId, problem: BaseException) -> None:
        try:
            if isinstance(problem, Damaged):
                await self._mend(request, problem)
                return
            await self._pause()
            if self._stands(request):
                await self._set_back(request)
        except TransferFailed as passing:
            # It cannot be found out now.
            log.warn("{request}: {problem}", request=request, problem=passing)
            await self._pause()

    async def _pause(self) -> None:
        await deferLater(self.docket.clock, RETRY_SECONDS)

    async def _mend(self, request: RequestId, problem: Damaged) -> None:
        account = self.docket.ledger.requests[request]
        story, lost = await self._look(request, account)
        if not self._is_running(request, account):
            return
        if story is None or story.submitted is None:
            self.docket.fail(request, f"{problem}; submit the request again")
        elif not lost:
            await self._false_alarm(request, problem)
        elif story.closed is not None or account.left_out:
            self.docket.fail(request, f"{problem}; submit the request again")
        elif story.losses >= MOST_LOSSES:
            self.docket.fail(request, f"{problem}, not for the first time: see to the server's disk")
        else:
            log.warn("{request}: {problem}; it is made again", request=request, problem=problem)
            await self._set_back(request, lost)

    def _is_running(self, request: RequestId, account: Request) -> bool:
        """Whether it has neither ended nor been forgotten or set back."""
        known = self.docket.ledger.requests.get(request)
        return known is account and account.state is State.RUNNING

    async def _look(self, request: RequestId, account: Request) -> tuple[Story | None, list[Output]]:
        """What is told of it, and what of that is lost; both of one phase."""
        while True:
            progress = account.progress
            story = await self._story(request)
            lost = await self._lost(story) if story is not None and story.submitted else []
            # What a phase has read may be dropped when it has ended.
            if account.progress is progress or not self._is_running(request, account):
                return story, lost

    async def _story(self, request: RequestId) -> Story | None:
        """What the journal tells of a request."""
        rows = self.docket.journal.replay()
        found: list[Story] = []

        def read() -> None:
            own = (each for each in rows if each[0].split(".", 1)[0] == request)
            found.extend(read_stories(own))

        await self.docket.in_thread(read)
        return found[0] if found else None

    async def _lost(self, story: Story) -> list[Output]:
        lost: list[Output] = []

        def look() -> None:
            lost.extend(each for each in story.needed() if not is_sound(self.docket.spool, each))

        await self.docket.in_thread(look)
        return lost

    async def _false_alarm(self, request: RequestId, problem: Damaged) -> None:
        """It may have been read well at another time; but not for ever."""
        self._alarms[request] = alarms = self._alarms.get(request, 0) + 1
        log.warn("{request}: {problem}; but all is there", request=request, problem=problem)
        if alarms >= MOST_ALARMS:
            self.docket.fail(request, f"{problem}; see to the server's disk, then submit it again")
        elif self._stands(request):
            await self._set_back(request)

    async def _set_back(self, request: RequestId, lost: Sequence[Output] = ()) -> None:
        """Restore a request from the journal, without what is lost."""
        docket, account = self.docket, self.docket.ledger.requests[request]
        if account.partial_of is not None:
            docket.fail(request, "what it is made of could not be read; ask for it again")
            return
        await docket.end_partials(request, "what it was made of was lost")
        if not self._is_running(request, account):
            return
        account = docket.set_back(request)
        # Also where nothing is: then all is on disk that was on its way there.
        await docket.record_lost(request, [each.place for each in lost])
        story = await self._story(request)
        # It may have been cancelled or forgotten meanwhile.
        if story is not None and self._is_running(request, account):
            self._standing.pop(request, None)
            restore(docket, [story])
