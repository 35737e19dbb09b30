"""Time as a process sees it that may be stopped, suspended or starved for a while."""

import time
from collections.abc import Callable

from attrs import define, field
from twisted.internet.base import ReactorBase
from twisted.internet.task import LoopingCall

TICK_SECONDS = 0.5
PAUSE_SECONDS = 2.0
"""A process that is awake looks at its clock more often than this."""


@define
class AwakeClock:
    """Monotonic seconds, less the time in which nobody looked at the clock.

    Whatever waits, a lease's deadline, a silent connection, gets that time in addition: after a pause of
    our own nothing has expired of which we could not have heard.

    :param monotonic: what it reads; it follows no step of the wall clock.
    """

    _monotonic: Callable[[], float] = time.monotonic
    _last: float = field(init=False)
    _paused: float = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        self._last = self._monotonic()

    def __call__(self) -> float:
        """Seconds since some moment."""
        now = self._monotonic()
        gap, self._last = now - self._last, now
        if gap > PAUSE_SECONDS:
            self._paused += gap
        return now - self._paused


def install_awake_clock(reactor: ReactorBase) -> None:
    """Let a reactor that does not run yet live by such a clock, and look at it often enough."""
    reactor.seconds = AwakeClock()
    ticking = LoopingCall(lambda: None)
    ticking.clock = reactor
    reactor.callWhenRunning(ticking.start, TICK_SECONDS)
