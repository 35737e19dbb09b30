"""The jobs of one assignment at the worker, one after the other: each is one run of its program.

Where the user gave none for its phase, the lines stay as they are.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from hagoop.cutting import InHand, Job
from hagoop.errors import HaGoopError
from hagoop.experience import JobSizer
from hagoop.feeding import Feed
from hagoop.in_place import SharedFile
from hagoop.jobs import Assignment, Phase, Piece
from hagoop.originals import original_task
from hagoop.process import Running
from hagoop.shipping import to_argv
from hagoop.standby import Standby
from hagoop.verdicts import Ended
from hagoop.workbench import Task, Workbench

NO_RUN = Ended(0, 0.0, 0, (), "", "")


@frozen
class JobRun:
    """A job that has ended well.

    :ivar job: as it became, if it was cut.
    :ivar output: what it printed; None when that is nothing.
    """

    job: Job
    output: Path | None
    ended: Ended
    seconds: float


@define(eq=False)
class JobRuns:
    """Runs them; times are seconds.

    :ivar shared: the file with the lines, where a worker reads it in place.
    :ivar running: the program that runs.
    """

    assignment: Assignment
    bench: Workbench
    clock: IReactorTime
    sizer: JobSizer
    shared: SharedFile | None = None
    running: Running | None = None
    _standby: Standby = field(init=False)
    _in_hand: InHand | None = None
    _taken: int = 0
    _done: int = 0
    _began: float = 0.0
    _error: HaGoopError | None = None

    def __attrs_post_init__(self) -> None:
        self._standby = Standby(self.bench, self.clock)

    @property
    def taken(self) -> int:
        """How many bytes their programs have read."""
        return self._taken + (self.running.taken if self.running else 0)

    @property
    def bytes_out(self) -> int:
        """How much the one that runs has printed."""
        return self.running.bytes_out if self.running else 0

    @property
    def done(self) -> int:
        """The weight that they have done, as far as that shows."""
        return self._done + (self._in_hand.done if self._in_hand else 0)

    @property
    def seconds_left(self) -> float:
        """How long the job in hand should still take; 0 without one."""
        return self._in_hand.seconds_left if self._in_hand else 0.0

    async def cut(self, end: int) -> None:
        """Let the job in hand end there, or as soon after it as can be."""
        if self._in_hand is not None:
            await self._in_hand.cut(end)

    def stop(self, error: HaGoopError) -> None:
        """End what runs; it and whatever follows fails with this."""
        if self._error is None:
            self._error = error
        if self.running is not None:
            self.running.stop(str(error))

    def let_go(self) -> "Deferred[None]":
        """No more will be run; fires when nothing waits any more."""
        return Deferred.fromCoroutine(self._standby.let_go())

    def expect(self, following: Task | None) -> None:
        """What will most likely come after the next job, to be made ready; None: nobody knows."""
        self._standby.expect(following)

    def plain_task(self, piece: Piece | None) -> Task | None:
        """One run without its feed; None: there is none that is fed."""
        it = self.assignment
        command = it.program.command(it.phase)
        return None if command is None else Task(to_argv(command), it.phase, it, piece, None)

    async def run(
        self, job: Job, piece: Piece | None, most_seconds: float, was_cut: Callable[[int], None]
    ) -> JobRun:
        """Run the program on a job.

        :param most_seconds: one that lasts much longer is cut.
        :param was_cut: told where it ends then.
        :raises JobError: it failed; or what ``stop`` was told.
        """
        self._began = self.clock.seconds()
        it = self.assignment
        if it.program.binary is not None or it.program.command(it.phase) is None:
            job = evolve(job, places=None)
        job = job.paced(self.sizer.expected_seconds(job.weight))
        hand = self._in_hand = InHand(job, self.clock, most_seconds, was_cut)
        try:
            output, ended = await self._run_program(job, piece)
        finally:
            self._in_hand = None
            hand.over()
        job = hand.job
        self._taken += job.feed.size
        self._done += job.weight
        seconds = self.clock.seconds() - self._began
        return JobRun(job, self._unless_empty(output), ended, seconds)

    def _unless_empty(self, output: Path) -> Path | None:
        if output.exists() and output.stat().st_size:
            return output
        self.bench.discard(output)
        return None

    async def _run_program(self, job: Job, piece: Piece | None) -> tuple[Path, Ended]:
        task = await self._task(job, piece)
        try:
            async with self._unchanged():
                if task is None:
                    return await self._copy(job.feed), NO_RUN
                return await self._standby.run(task, self._started)
        except BaseException:
            # What we stopped ourselves says so.
            if self._error is not None:
                raise self._error from None
            raise
        finally:
            self.running = None
            if task is not None and task.copy is not None:
                self.bench.discard(task.copy)

    async def _task(self, job: Job, piece: Piece | None) -> Task | None:
        """What a job runs; None: nothing, its lines stay as they are."""
        it = self.assignment
        if it.program.binary is not None and it.phase is not Phase.SORT:
            start = 0 if piece is None else piece.file_line + job.start - piece.start
            numbers = range(start, start + job.end - job.start)
            task = Task((it.program.binary,), it.phase, it, piece, feed=None)
            return await original_task(self.bench, task, job.feed, numbers, self.shared)
        plain = self.plain_task(piece)
        return None if plain is None else evolve(plain, feed=job.feed)

    async def _copy(self, feed: Feed) -> Path:
        output = self.bench.new_path("output")
        with self.bench.gone_if_it_fails(output):
            await self.bench.copy(feed, output)
        return output

    @asynccontextmanager
    async def _unchanged(self) -> AsyncIterator[None]:
        """Whatever is made of a file that has changed since, is neither kept nor a program's fault."""
        try:
            yield
        finally:
            if self.shared is not None:
                await self.shared.check()

    def _started(self, running: Running) -> None:
        # What the first one waits for, and others have ready, is no part of what jobs take.
        self.running, self._began = running, self.clock.seconds()
        if self._in_hand is not None:
            self._in_hand.began(running)
        if self._error is not None:
            running.stop(str(self._error))
