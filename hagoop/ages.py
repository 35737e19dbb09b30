"""How long ago requests ended, whatever the system's clock does meanwhile.

Of what ended in this life a clock tells that only goes forward.  What ended before is as old as the
system's clock says; it may be ahead when the server starts, and be set right a little later.  So the
least that it has said since the start is believed, and for a while nothing at all.
"""

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from hagoop.jobs import RequestId

GRACE_SECONDS = 3600.0
"""So long after a start nothing is older than the server's life: by then its clock is set."""


@define(eq=False)
class Ages:
    """When requests ended.

    :ivar wall: seconds since 1970; steps.
    """

    clock: IReactorTime
    wall: Callable[[], float]
    _ended: dict[RequestId, float] = field(factory=dict)
    _had_ended: dict[RequestId, float] = field(factory=dict)
    _start: float = field(init=False)
    _least_offset: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._start = self.clock.seconds()
        self._least_offset = self.wall() - self._start

    def ended(self, request: RequestId) -> None:
        """It ends now."""
        self._ended[request] = self.clock.seconds()

    def had_ended(self, request: RequestId, wall: float) -> None:
        """It ended in an earlier life, when the system's clock said so."""
        self._had_ended[request] = wall

    def forget(self, request: RequestId) -> None:
        """Nobody asks any more."""
        self._ended.pop(request, None)
        self._had_ended.pop(request, None)

    def older_than(self, seconds: float) -> list[RequestId]:
        """All that ended longer ago."""
        return [each for each in (*self._had_ended, *self._ended) if self.seconds(each) > seconds]

    def seconds(self, request: RequestId) -> float:
        """How long ago it ended; 0 while it runs."""
        now = self.clock.seconds()
        self._least_offset = min(self._least_offset, self.wall() - now)
        if request in self._ended:
            return now - self._ended[request]
        if request not in self._had_ended:
            return 0.0
        if now - self._start < GRACE_SECONDS:
            return now - self._start
        return max(0.0, now + self._least_offset - self._had_ended[request])
