"""When a worker works: until it is to end, at some hours, while nobody else needs the machine."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from hagoop.hours import Hours
from hagoop.idleness import NOT_SEEN, Sight, needed_by
from hagoop.interfaces import IWorkerReactor
from hagoop.options import WorkerConfig
from hagoop.outlook import HERE, Outlook, nearest
from hagoop.owner import Owner

log = Logger()
LOOK_SECONDS = 1.0
"""How often it looks at the clock: no long wait would survive steps of it, sleep, or summer time."""
OWNER_SECONDS = 5.0
"""How often it looks whether somebody uses the machine."""
ENDING = "leaving"


def steady_seconds() -> float:
    """Seconds since some moment, the time in which the machine slept among them where that is known."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


@define
class Countdown:
    """The end, so many seconds after this was made."""

    seconds: float
    steady: Callable[[], float] = steady_seconds
    _since: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._since = self.steady()

    def __call__(self) -> Outlook:
        """How long it still is."""
        return Outlook(self._since + self.seconds - self.steady(), ENDING, ends=True)


@define
class Moment:
    """The end, at a moment of the wall clock, less a grace."""

    moment: datetime
    grace_seconds: float
    wall: Callable[..., datetime] = datetime.now

    def __call__(self) -> Outlook:
        """How long it still is."""
        left = self.moment - self.wall(self.moment.tzinfo)
        return Outlook(left.total_seconds() - self.grace_seconds, ENDING, ends=True)


@define
class AtHours:
    """The hours of the day."""

    hours: Hours
    wall: Callable[[], datetime] = datetime.now

    def __call__(self) -> Outlook:
        """Whether it is one of them."""
        now = self.wall()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return self.hours.outlook((now - midnight).total_seconds())


@define(eq=False)
class WhileIdle:
    """As long as nobody else needs the machine.

    :param in_thread: calls what blocks.
    :param see: looks at the machine.
    """

    in_thread: Callable[[Callable[[], Sight]], "Deferred[Sight]"]
    see: Callable[[], Sight]
    _why: str = NOT_SEEN

    def look(self) -> "Deferred[None]":
        """Look again."""
        return self.in_thread(self.see).addCallbacks(self._seen, self._unseen)

    def __call__(self) -> Outlook:
        """What was seen last."""
        return Outlook(0.0, self._why) if self._why else HERE

    def _seen(self, sight: Sight) -> None:
        self._why = needed_by(sight, rests=bool(self._why))

    def _unseen(self, reason: Failure) -> None:
        log.failure("it cannot be seen whether somebody uses this machine", reason)
        self._why = NOT_SEEN


@define(eq=False)
class Presence:
    """Looks at all that says whether a worker may work, and tells it.

    :param heed: told how things stand, again and again; a far end is none.
    :param end: called once, when the worker is to end for good.
    """

    reactor: IWorkerReactor
    config: WorkerConfig
    heed: Callable[[Outlook], None]
    end: Callable[[], None]
    looks: list[Callable[[], Outlook]] = field(factory=list)
    _loops: list[LoopingCall] = field(factory=list)
    _noticed: bool = False

    def start(self) -> None:
        """Look from now on."""
        it = self.config
        if isinstance(it.until, timedelta):
            self.looks.append(Countdown(it.until.total_seconds() - it.grace_seconds))
        elif it.until is not None:
            self.looks.append(Moment(it.until, it.grace_seconds))
        if it.hours is not None:
            self.looks.append(AtHours(it.hours))
        if it.idle_only:
            self.looks.append(self._watch_owner())
        # What does not run yet cannot be ended.
        self.reactor.callWhenRunning(self._every, LOOK_SECONDS, self._look)

    def _watch_owner(self) -> WhileIdle:
        watched = WhileIdle(
            lambda see: deferToThreadPool(self.reactor, self.reactor.getThreadPool(), see), Owner().look
        )
        self.reactor.callWhenRunning(self._every, OWNER_SECONDS, watched.look)
        return watched

    def _every(self, seconds: float, look: Callable[[], object]) -> None:
        loop = LoopingCall(look)
        loop.clock = self.reactor
        self._loops.append(loop)
        loop.start(seconds)

    def _look(self) -> None:
        outlook = nearest(each() for each in self.looks)
        if outlook.rests and outlook.ends:
            self.stop()
            self.end()
        else:
            near = outlook.seconds <= self.config.notice_seconds
            self.heed(outlook if near else HERE)

    def give_notice(self) -> None:
        """The machine will be taken away: the first such word counts."""
        if not self._noticed:
            self._noticed = True
            log.info("notice is given: gone in {seconds:.0f} s", seconds=self.config.notice_seconds)
            self.looks.append(Countdown(self.config.notice_seconds - self.config.grace_seconds))
            self._look()

    def stop(self) -> None:
        """Look no more."""
        for each in self._loops:
            if each.running:
                each.stop()
