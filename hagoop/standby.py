"""The next run of an assignment's program, made ready while the present one works.

Its folder, container and shell are there when its turn comes; a program that nobody needs has not begun.
"""

from collections.abc import Callable
from pathlib import Path

from attrs import define, evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from hagoop.errors import HaGoopError
from hagoop.process import Running
from hagoop.verdicts import Ended
from hagoop.workbench import Ready, Task, Workbench

log = Logger()
AFTER_SECONDS = 0.02
"""The program that has just begun goes first."""


@define(eq=False)
class Standby:
    """Runs the program of one assignment, job by job."""

    bench: Workbench
    clock: IReactorTime
    _following: Task | None = None
    _ready: Ready | None = None
    _making: IDelayedCall | None = None

    def expect(self, following: Task | None) -> None:
        """What will most likely come after the next run, without its feed; None: nobody knows."""
        self._following = following

    async def run(self, task: Task, started: Callable[[Running], None]) -> tuple[Path, Ended]:
        """One run; what it printed.

        :raises JobError: it failed.
        """
        ready = self._take(task)
        if self._following is not None:
            self._making = self.clock.callLater(AFTER_SECONDS, self._make, self._following)
        if task.feed is None:
            output = self.bench.new_path("output")
            with self.bench.gone_if_it_fails(output):
                return output, await self.bench.run(task, output, started)
        ready = ready or await self.bench.make_ready(evolve(task, feed=None))
        with self.bench.gone_if_it_fails(ready.stdout):
            return ready.stdout, await self.bench.run_ready(ready, task.feed, started)

    def let_go(self) -> Deferred[None]:
        """Nothing follows; fires when nothing waits any more."""
        self._following = None
        return self._drop()

    def _drop(self) -> Deferred[None]:
        ready, self._ready = self._ready, None
        if self._making is not None and self._making.active():
            self._making.cancel()
        return succeed(None) if ready is None else self.bench.let_go(ready)

    def _take(self, task: Task) -> Ready | None:
        """What was made ready, if it is for this."""
        ready = self._ready
        fits = ready is not None and ready.running.waits and ready.task == evolve(task, feed=None)
        if fits:
            self._ready = None
        self._drop()
        return ready if fits else None

    def _make(self, task: Task) -> None:
        making = Deferred.fromCoroutine(self.bench.make_ready(task))
        making.addCallbacks(self._made, self._not_made)
        making.addErrback(lambda reason: log.failure("making a run ready broke", reason))

    def _not_made(self, reason: Failure) -> None:
        """The next run starts from the beginning, and says by itself what is wrong."""
        reason.trap(HaGoopError, OSError)
        log.debug("nothing was made ready: {error}", error=reason.value)

    def _made(self, ready: Ready) -> None:
        # Whatever has begun meanwhile did not wait for it.
        if ready.task is self._following:
            self._ready = ready
        else:
            self.bench.let_go(ready)
