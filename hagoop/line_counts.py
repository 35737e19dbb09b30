"""The lines of requests are counted while their map runs."""

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from hagoop.jobs import RequestId

Count = Callable[[], "Deferred[None]"]


@define(eq=False)
class LineCounts:
    """Begins and stops to count.

    :ivar grown: told when all lines of a request are known.
    :ivar failed: told why they cannot be.
    """

    grown: Callable[[RequestId], None]
    failed: Callable[[RequestId, BaseException], None]
    _counts: dict[RequestId, Count] = field(factory=dict)
    _running: dict[RequestId, "Deferred[None]"] = field(factory=dict)

    def know(self, request: RequestId, count: Count) -> None:
        """How the lines of a request are counted from now on; another step reads another input."""
        self._counts[request] = count

    def begin(self, request: RequestId) -> None:
        """Count, or count again."""
        counted = self._running[request] = self._counts[request]()
        counted.addCallback(lambda _: self.grown(request))
        counted.addErrback(self._failed, request)

    def _failed(self, reason: Failure, request: RequestId) -> None:
        error = reason.value
        if error is not None and not isinstance(error, CancelledError):
            self.failed(request, error)

    def stop(self, request: RequestId) -> None:
        """Nobody needs them any more."""
        counting = self._running.pop(request, None)
        if counting is not None:
            counting.cancel()

    def stop_all(self) -> None:
        """The server ends."""
        for each in list(self._running):
            self.stop(each)

    def forget(self, request: RequestId) -> None:
        """The request is gone."""
        self._counts.pop(request, None)
