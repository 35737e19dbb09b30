"""The next run of an assignment's program, made ready while the present one works.

Its folder, container and shell are there when its turn comes; a program that nobody needs has not begun.
"""

from collections.abc import Callable
from pathlib import Path

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from hagoop.errors import HaGoopError
from hagoop.feeding import Feed
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
    _planned: IDelayedCall | None = None
    _making: Deferred[None] = field(factory=lambda: succeed(None))

    def expect(self, following: Task | None) -> None:
        """What will most likely come after the next run, without its feed; None: nobody knows."""
        self._following = following

    async def run(self, task: Task, started: Callable[[Running], None]) -> tuple[Path, Ended]:
        """One run; what it printed.

        :raises JobError: it failed.
        """
        ready = self._take(task)
        if self._following is not None:
            self._planned = self.clock.callLater(AFTER_SECONDS, self._make, self._following)
        if not isinstance(task.feed, Feed):
            output = self.bench.new_path("output")
            with self.bench.gone_if_it_fails(output):
                return output, await self.bench.run(task, output, started)
        ready = ready or await self.bench.make_ready(evolve(task, feed=None))
        with self.bench.gone_if_it_fails(ready.stdout):
            return ready.stdout, await self.bench.run_ready(ready, task.feed, started)

    async def let_go(self) -> None:
        """Nothing follows; returns when nothing waits any more."""
        self._following = None
        await self._drop()
        # What is about to be ready is let go of then.
        await DeferredList([self._making])

    def _drop(self) -> Deferred[None]:
        ready, self._ready = self._ready, None
        if self._planned is not None and self._planned.active():
            self._planned.cancel()
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
        self._making = Deferred.fromCoroutine(self._make_ready(task))
        self._making.addErrback(lambda reason: log.failure("making a run ready broke", reason))

    async def _make_ready(self, task: Task) -> None:
        try:
            ready = await self.bench.make_ready(task)
        except (HaGoopError, OSError) as error:
            # The next run starts from the beginning, and says by itself what is wrong.
            log.debug("nothing was made ready: {error}", error=error)
            return
        # Whatever has begun meanwhile did not wait for it.
        if task is self._following:
            self._ready = ready
        else:
            await self.bench.let_go(ready)
