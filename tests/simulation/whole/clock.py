"""The one clock of a world, and the lives of its machines: what the dead had planned never happens."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from attrs import define, field
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

log = Logger()
MOST_AT_ONCE = 20_000
"""So many calls at one moment mean that time stands still."""


@define(eq=False)
class Life:
    """One life of one machine's process, from its start to its end.

    :ivar dying: it was killed in the middle of a call: nothing of what it still does is seen by anyone.
    :ivar paused_until: it is stopped, as by SIGSTOP; ``paused``: for how long it ever was.
    """

    name: str
    dead: bool = False
    dying: bool = False
    paused_until: float = 0.0
    paused: float = 0.0

    @property
    def acts(self) -> bool:
        """Whether what it does is seen."""
        return not (self.dead or self.dying)


@implementer(IDelayedCall)
class Call:
    """Something that will happen."""

    __slots__ = ("arguments", "clock", "function", "life", "named", "state", "time")

    def __init__(self, clock: "WorldClock", time: float, life: Life | None, function: Any) -> None:
        self.clock, self.time, self.life, self.function = clock, time, life, function
        self.arguments: tuple[Any, ...] = ()
        self.named: dict[str, Any] = {}
        self.state = "active"

    def getTime(self) -> float:
        return self.time

    def active(self) -> bool:
        return self.state == "active"

    def _check(self) -> None:
        if self.state == "cancelled":
            raise AlreadyCancelled
        if self.state == "called":
            raise AlreadyCalled

    def cancel(self) -> None:
        self._check()
        self.state = "cancelled"

    def delay(self, seconds: float) -> None:
        self._check()
        self._move(self.time + seconds)

    def reset(self, seconds: float) -> None:
        self._check()
        self._move(self.clock.now + seconds)

    def _move(self, time: float) -> None:
        # A later time is found out when the old one comes.
        if time < self.time:
            self.clock.push(time, self)
        self.time = time


@define(eq=False)
class WorldClock:
    """Time goes by in jumps, from one call to the next.

    :ivar acting: the life whose call is under way.
    :ivar ended: told each life that was found dying after a call.
    """

    now: float = 0.0
    calls: int = 0
    acting: Life | None = None
    ended: Callable[[Life], None] = field(default=lambda _: None)
    _heap: list[tuple[float, int, Call]] = field(factory=list)
    _number: int = 0
    _at_once: int = 0

    def seconds(self) -> float:
        """Seconds since the world began."""
        return self.now

    def push(self, time: float, call: Call) -> None:
        """Let a call be looked at then."""
        self._number += 1
        heappush(self._heap, (time, self._number, call))

    def call_later(
        self, life: Life | None, seconds: float, function: Callable[..., object], *arguments: Any
    ) -> Call:
        """Call in so many seconds, if the life still is; without one, in any case."""
        call = Call(self, self.now + max(0.0, seconds), life, function)
        call.arguments = arguments
        self.push(call.time, call)
        return call

    def step(self) -> bool:
        """Whatever happens next; whether there was anything."""
        while self._heap:
            time, _, call = heappop(self._heap)
            if self._is_due(time, call):
                self._do(call)
                return True
        return False

    def _is_due(self, time: float, call: Call) -> bool:
        life = call.life
        if call.state != "active" or (life is not None and life.dead):
            return False
        wanted = call.time if life is None else max(call.time, life.paused_until)
        if wanted > time:
            self.push(wanted, call)
            return False
        self._at_once = self._at_once + 1 if time <= self.now else 0
        if self._at_once > MOST_AT_ONCE:
            raise AssertionError(f"time stands still at {self.now}: {call.function}")
        self.now = max(self.now, time)
        return True

    def _do(self, call: Call) -> None:
        call.state = "called"
        self.calls += 1
        self.within(call.life, call.function, *call.arguments, **call.named)

    def within(
        self, life: Life | None, function: Callable[..., object], *arguments: Any, **named: Any
    ) -> None:
        """Call as a machine's reactor does: what goes wrong is logged."""
        before, self.acting = self.acting, life
        try:
            function(*arguments, **named)
        except Exception:
            if life is None:
                raise
            log.failure("unhandled in {life}", life=life.name)
        finally:
            self.acting = before
        if life is not None and life.dying and not life.dead and before is None:
            self.ended(life)

    def pause(self, life: Life, seconds: float) -> None:
        """Stop a life for a while: its timers do not run meanwhile, and what comes waits."""
        # One stop within another, or over its end, is one.
        until = max(life.paused_until, self.now + seconds)
        longer = until - max(life.paused_until, self.now)
        life.paused += longer
        life.paused_until = until
        for each in self.planned(life):
            if each.time > self.now:
                each.time += longer

    def forget(self) -> None:
        """Nothing will happen any more."""
        self._heap.clear()

    def planned(self, life: Life) -> list[Call]:
        """What a life still has to do."""
        return [each for _, _, each in sorted(self._heap, key=lambda it: it[:2]) if _is_of(each, life)]


def _is_of(call: Call, life: Life) -> bool:
    return call.life is life and call.state == "active"
