"""One connection of a simulated worker, as the scheduler sees it: late, in order, or broken."""

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure as TwistedFailure
from zope.interface import implementer

from hagoop.errors import WorkerLost
from hagoop.interfaces import IWorker
from hagoop.jobs import AssignmentId
from hagoop.leases import Session
from world.server import Server


@implementer(IWorker)
@define(eq=False)
class Peer:
    """One connection of a machine; what is sent arrives in order, later, or not at all.

    :ivar cut: the machine has closed it; ``ended``: the server knows.
    """

    machine: Any  # A machine has peers; an import would go round.
    server: Server
    name: str
    session: Session | None = None
    cut: bool = False
    ended: bool = False
    asks: int = 0
    calls: dict["Deferred[Any]", None] = field(factory=dict)
    asked_back: dict["Deferred[int]", None] = field(factory=dict)
    _sent: float = 0.0
    _delivered: float = 0.0

    def send(self, function: Callable[..., object], *arguments: Any) -> None:
        """To the server."""
        now = self.server.life.seconds()
        self._sent = max(self._sent, now + self.machine.delay())
        self.server.life.callLater(self._sent - now, self._arrive, function, arguments)

    def _arrive(self, function, arguments):
        if not self.ended:
            function(*arguments)

    def deliver(self, function: Callable[..., object], *arguments: Any) -> None:
        """To the machine."""
        now = self.machine.life.seconds()
        self._delivered = max(self._delivered, now + self.machine.delay())
        self.machine.life.callLater(self._delivered - now, self._reach, function, arguments)

    def _reach(self, function, arguments):
        if not self.cut:
            function(*arguments)

    def call(self) -> "Deferred[Any]":
        """What an answer will be, unless the connection breaks."""
        result: Deferred[Any] = Deferred()
        self.calls[result] = None
        return result

    def answer(self, result: "Deferred[Any]", outcome: object) -> None:
        """The answer has come."""
        self.calls.pop(result, None)
        result.callback(outcome)

    def broken(self) -> None:
        """No answers will come."""
        self.cut = True
        for each in list(self.calls):
            self.calls.pop(each, None)
            each.errback(WorkerLost("the connection is away"))

    def end(self, failed: bool) -> None:
        """The server learns that it is over."""
        if not self.ended:
            self.ended = True
            self.server.scheduler.leave(self.session, failed=failed)
            for each in list(self.asked_back):
                self._answer_back(each, WorkerLost("the connection is away"))

    # What the scheduler asks for

    def cancel(self, assignment: AssignmentId, reason: str) -> None:
        self.deliver(self._cancel, assignment)

    def _cancel(self, assignment):
        self.machine.cancel(assignment)
        if not self.machine.deaf:
            self.send(self.server.scheduler.give_back, self.session, assignment)

    def take_back(self, assignment: AssignmentId, end: int) -> "Deferred[int]":
        answered: Deferred[int] = Deferred()
        self.asked_back[answered] = None
        self.deliver(self._take_back, assignment, end, answered)
        return answered

    def _answer_back(self, answered, outcome):
        if answered in self.asked_back:
            del self.asked_back[answered]
            # An exception makes it fail.
            answered.callback(outcome if isinstance(outcome, int) else TwistedFailure(outcome))

    def _take_back(self, assignment, end, answered):
        if self.machine.deaf:
            return
        kept = self.machine.take_back(assignment, end)
        if self.machine.trouble():
            late = 5 * self.machine.random.random()
            self.machine.life.callLater(late, self.send, self._answer_back, answered, kept)
        else:
            self.send(self._answer_back, answered, kept)

    def forget(self, request: str) -> None:
        """Nothing is kept."""

    def close(self, reason: str) -> None:
        self.server.life.callLater(0, self.end, True)
        self.deliver(self.machine.disconnect)
