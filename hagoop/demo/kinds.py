"""Kinds of workers, from good to evil: each is an ordinary worker at the end of an unruly link.

A worker speaks to its server by commands alone, so that whatever may be wrong with one shows there:
what it does with the work that it is given, and when it says that it is done.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from math import ceil, log1p
from random import Random
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols import amp
from twisted.python.failure import Failure

from hagoop import commands
from hagoop.errors import WorkerLost
from hagoop.jobs import Assignment, Phase
from hagoop.worker import Worker, WorkerLink

TICK_SECONDS = 0.1
"""How often the flaky and the dying are asked whether they die."""
FOR_EVER = "sleep 1000000000"
MANY_CALLS = 1 << 20


class Kind(StrEnum):
    """What a worker is like."""

    GOOD = "good"
    BAD = "bad"
    EVIL = "evil"
    FLAKY = "flaky"
    DYING = "dying"
    LATE = "late"
    LOOPING = "looping"


SAID: Mapping[Kind, str] = {
    Kind.GOOD: "do what they should",
    Kind.BAD: "die the moment they get work, and stay away",
    Kind.EVIL: "take work, never begin it, and never answer",
    Kind.FLAKY: "die now and then, and come back",
    Kind.DYING: "die at some time, and stay away",
    Kind.LATE: "do their work, and say so long after",
    Kind.LOOPING: "begin their work, and never get on with it",
}
"""What workers of each kind do."""

MORTAL = frozenset([Kind.FLAKY, Kind.DYING])
"""Who dies by chance."""


@frozen
class Habits:
    """What a worker is like, in numbers.

    :param chance: of a mortal's death at each tick.
    :param delay_seconds: how long a late one keeps to itself that it is done.
    """

    kind: Kind
    chance: float
    delay_seconds: float

    def life_seconds(self, random: Random) -> float | None:
        """How long a life lasts; None: nothing ends it from outside.

        Drawn at once: thousands of workers that throw dice ten times a second would do nothing else.
        """
        if self.kind not in MORTAL or not self.chance:
            return None
        ticks = 1 if self.chance == 1 else ceil(log1p(-random.random()) / log1p(-self.chance))
        return max(1, ticks) * TICK_SECONDS


class UnrulyLink(WorkerLink):
    """A link that may keep to itself what server and worker say to each other.

    :ivar die: ends the worker at once.
    """

    def __init__(self, worker: Worker, habits: Habits, die: Callable[[], object]) -> None:
        super().__init__(worker)
        self.habits = habits
        self.die = die
        self._clock: IReactorTime = worker.reactor
        self._sitting: dict[Deferred[None], float | None] = {}
        self._hurries = False

    async def call(self, command: type[amp.Command], **arguments: Any) -> dict[str, Any]:
        """Send a command, unless there is something wrong with it."""
        if command is commands.Commit:
            await self.sit_on_output()
        answer = await super().call(command, **arguments)
        if command is commands.Ask:
            return {"assignment": await self.take(answer["assignment"])}
        return answer

    async def sit_on_output(self) -> None:
        """A job is done."""

    async def take(self, assignment: Assignment) -> Assignment:
        """Work has come: what the worker is to know of it."""
        return assignment

    async def sit(self, seconds: float | None = None) -> None:
        """Do nothing for a while, or for as long as the connection lasts.

        :raises WorkerLost: it has ended.
        """
        if seconds is not None and self._hurries:
            return
        sitting: Deferred[None] = Deferred(self._sitting.__delitem__)
        self._sitting[sitting] = seconds
        call = None if seconds is None else self._clock.callLater(seconds, self._stand_up, sitting)
        try:
            await sitting
        finally:
            if call is not None and call.active():
                call.cancel()

    def _stand_up(self, sitting: "Deferred[None]") -> None:
        del self._sitting[sitting]
        sitting.callback(None)

    def hurry(self) -> None:
        """The worker is about to leave: what was to be said later is said now."""
        self._hurries = True
        for each in [each for each, seconds in self._sitting.items() if seconds is not None]:
            self._stand_up(each)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Whatever was kept is of no use any more."""
        super().connectionLost(reason)
        sitting, self._sitting = self._sitting, {}
        for each in sitting:
            each.errback(WorkerLost("the connection was lost"))


class BadLink(UnrulyLink):
    """Dies the moment it gets work."""

    async def take(self, assignment: Assignment) -> Assignment:
        """Never to be heard of again."""
        self.die()
        await self.sit()
        return assignment


class EvilLink(UnrulyLink):
    """Takes work and keeps it; what the server wants back or ended gets no answer."""

    def __init__(self, worker: Worker, habits: Habits, die: Callable[[], object]) -> None:
        super().__init__(worker, habits, die)
        self.most_calls = MANY_CALLS

    async def take(self, assignment: Assignment) -> Assignment:
        """The worker never learns of it."""
        await self.sit()
        return assignment

    @commands.Cancel.responder
    def cancel(self, assignment: str, reason: str) -> Any:
        """``Cancel``: no answer."""
        return Deferred()

    @commands.TakeBack.responder
    def take_back(self, assignment: str, end: int) -> Any:
        """``TakeBack``: no answer."""
        return Deferred()


class LateLink(UnrulyLink):
    """Sits on what is done."""

    async def sit_on_output(self) -> None:
        """There is no hurry."""
        await self.sit(self.habits.delay_seconds)


class LoopingLink(UnrulyLink):
    """Its programs never end."""

    async def take(self, assignment: Assignment) -> Assignment:
        """The same lines, for another program; where none would be run, nothing is amiss."""
        if assignment.phase not in (Phase.MAP, Phase.REDUCE):
            return assignment
        program = evolve(
            assignment.program,
            mapper=FOR_EVER,
            reducer=FOR_EVER,
            combiner=None,
            binary=None,
            timeout_seconds=0.0,
        )
        return evolve(assignment, program=program)


_LINKS: Mapping[Kind, type[UnrulyLink]] = {
    Kind.BAD: BadLink,
    Kind.EVIL: EvilLink,
    Kind.LATE: LateLink,
    Kind.LOOPING: LoopingLink,
}


def make_link(worker: Worker, habits: Habits, die: Callable[[], object]) -> UnrulyLink:
    """The link that makes a worker what it is."""
    return _LINKS.get(habits.kind, UnrulyLink)(worker, habits, die)
