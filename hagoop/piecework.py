"""One assignment at the worker: fetched, cut into jobs, run, sorted, committed job by job.

While a program runs, what the job before it printed is sorted, sent and committed.
"""

from pathlib import Path
from typing import Protocol

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure as TwistedFailure

from hagoop.errors import HaGoopError, JobError, TransferFailed, WorkerLost
from hagoop.experience import JobSizer
from hagoop.feeding import Feed
from hagoop.incoming import Incoming, LineFile, PieceList, SliceFiles, SliceList
from hagoop.jobs import Assignment, AssignmentId, Counter, Failure, Finished, Held, Phase, Piece, Seen
from hagoop.process import Ended, Running
from hagoop.sorting import Packed, find_bound
from hagoop.transfer import Transfer
from hagoop.workbench import NOTHING, Task, Workbench

COMMITS_IN_FLIGHT = 4
SEND_TRIES = 5
LOG_CHARACTERS = 4096
SEND_PAUSE_SECONDS = 0.5


class Dropped(JobError):
    """The assignment is not ours any more: cancelled, or a copy was faster."""


class ServerSide(Protocol):
    """What piecework needs of the connection to the server; it may be away for a while."""

    transfer: Transfer

    async def commit(self, job: Finished) -> tuple[bool, int]:
        """Send ``Commit``: whether it counts, and the front.  Raises ``WorkerLost``."""

    async def back(self) -> None:
        """Wait until the connection is there again."""


@frozen
class Done:
    """A job whose program has ended well; its output is not sorted yet.

    :ivar output: None when it printed nothing.
    """

    start: int
    end: int
    weight: int
    output: Path | None
    ended: Ended
    piece: Piece | None


NO_RUN = Ended(0, 0.0, 0, (), "", "")


@define(eq=False)
class Work:
    """An assignment under work.

    :ivar front: everything before it is committed and acknowledged.
    :ivar job_end: end of the job in hand: no ``TakeBack`` goes below it.
    :ivar last_begun: fires with the seconds it should take when the last job begins.
    """

    assignment: Assignment
    bench: Workbench
    server: ServerSide
    clock: IReactorTime
    sizer: JobSizer
    front: int = field(init=False)
    end: int = field(init=False)
    job_end: int = field(init=False)
    job_start: int = field(init=False)
    last_begun: "Deferred[float]" = field(factory=Deferred)
    _id: AssignmentId = field(init=False)
    _grant: str = field(init=False)
    _taken: int = 0
    _running: Running | None = None
    _error: HaGoopError | None = None
    _fetching: "Deferred[None] | None" = None
    _room: DeferredSemaphore = field(factory=lambda: DeferredSemaphore(COMMITS_IN_FLIGHT))
    _before: "Deferred[None]" = field(factory=lambda: succeed(None))
    _sent: list["Deferred[None]"] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.front = self.job_start = self.job_end = self.assignment.start
        self.end = self.assignment.end
        self._id, self._grant = self.assignment.id, self.assignment.grant

    # What the server sees and says

    @property
    def id(self) -> AssignmentId:
        """Its id now; a reconnect may give it another."""
        return self._id

    @property
    def seen(self) -> Seen:
        """Its line of the next Beat."""
        taken = self._taken + (self._running.taken if self._running else 0)
        out = self._running.bytes_out if self._running else 0
        return Seen(self._id, self.job_end, taken, out)

    @property
    def held(self) -> Held:
        """What is said of it at ``Join``."""
        it = self.assignment
        return Held(self._id, it.request, it.phase, it.round, self.front, self.end, self.job_end)

    def kept(self, id_: AssignmentId, grant: str) -> None:
        """It goes on under a new id."""
        self._id, self._grant = id_, grant

    def take_back(self, end: int) -> int:
        """Stop at ``end``, or as soon after it as the job in hand allows."""
        if self._error is None:
            self.end = min(self.end, max(end, self.job_end, self.front + 1))
        return self.end

    async def cancel(self, reason: str) -> None:
        """End its program and drop it."""
        self._fail(Dropped(reason))
        if self._running is not None:
            await self._running.stop(reason)

    def _fail(self, error: HaGoopError) -> None:
        if self._error is None:
            self._error = error
        if self._running is not None:
            self._running.stop(str(error))
        if self._fetching is not None:
            self._fetching.cancel()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    # The way through

    async def run(self) -> Failure | None:
        """Work through it; None when it is committed or not ours any more, else how a job failed."""
        began = self.clock.seconds()
        try:
            await self.bench.fetch_programs(self.assignment, self.server.transfer)
            await self._work()
            await self._settle()
        except Dropped:
            return None
        except HaGoopError as error:
            await self._settle(quiet=True)
            return None if isinstance(self._error, Dropped) else self._failure(error, began)
        finally:
            self._stop_fetching()
            if not self.last_begun.called:
                self.last_begun.callback(0.0)
        return None

    def _failure(self, error: HaGoopError, began: float) -> Failure:
        self.sizer.failed(self.job_end - self.job_start)
        log = getattr(error, "stderr", b"").decode("utf-8", "replace")
        seconds = self.clock.seconds() - began
        return Failure(
            self._id, self.job_start, self.job_end, error.code, str(error), seconds, shortened(log)
        )

    async def _work(self) -> None:
        if self.assignment.phase is Phase.MAP:
            await self._map()
        elif self.assignment.phase is Phase.MERGE:
            await self._merge()
        else:
            await self._reduce()

    def _fetch(self, incoming: Incoming) -> None:
        path = f"assignments/{self._id}"
        fetching = Deferred.fromCoroutine(self.server.transfer.get(path, self._grant, incoming.write))
        fetching.addCallbacks(lambda _: incoming.end(), incoming.end)
        # What goes wrong later, in the body, was told to whoever waits for it.
        fetching.addErrback(lambda _: None)
        self._fetching = fetching

    def _stop_fetching(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()

    # Map

    async def _map(self) -> None:
        lines = LineFile(self.bench.new_path("lines"))
        incoming = Incoming(lines)
        self._fetch(incoming)
        try:
            offset = 0
            for piece in (await incoming.header(PieceList)).pieces:
                await self._map_piece(piece, lines, offset)
                offset += piece.length
        finally:
            lines.close()
            self.bench.discard(lines.path)

    async def _map_piece(self, piece: Piece, lines: LineFile, offset: int) -> None:
        limit = offset + piece.length
        at = piece.start
        while at < min(piece.end, self.end):
            self._check()
            left = min(piece.end, self.end) - at
            count = self._begin(at, self.sizer.next_job(left, self.assignment.commit_seconds))
            whole = at + count == piece.end
            if whole:
                await lines.await_bytes(limit)
            stop = limit if whole else await lines.find_line(offset, limit, count)
            await self._run_job(at, count, Feed(lines.path, offset, stop), piece)
            at, offset = at + count, stop

    def _begin(self, start: int, count: int) -> int:
        """Fix the job in hand: from now on no ``TakeBack`` cuts into it."""
        self.job_start, self.job_end = start, start + count
        if self.job_end >= self.end and not self.last_begun.called:
            self.last_begun.callback(self.sizer.expected_seconds(count))
        return count

    async def _run_job(self, start: int, weight: int, feed: Feed, piece: Piece | None) -> None:
        self._check()
        command = self._command()
        output = self.bench.new_path("output")
        began = self.clock.seconds()
        if command is None:
            await self.bench.copy(feed, output)
            ended = NO_RUN
        else:
            task = Task(command, self.assignment.phase, self.assignment, piece, feed)
            ended = await self._run_program(task, output)
        self.sizer.observe(weight, self.clock.seconds() - began)
        self._taken += feed.end - feed.offset
        printed = output if output.exists() and output.stat().st_size else None
        if printed is None:
            self.bench.discard(output)
        await self._finish_later(Done(start, self.job_end, weight, printed, ended, piece))

    def _command(self) -> str | None:
        program = self.assignment.program
        return program.mapper if self.assignment.phase is Phase.MAP else program.reducer

    async def _run_program(self, task: Task, output: Path) -> Ended:
        try:
            return await self.bench.run(task, output, self._started)
        except BaseException:
            self.bench.discard(output)
            self._check()
            raise
        finally:
            self._running = None

    def _started(self, running: Running) -> None:
        self._running = running
        if self._error is not None:
            running.stop(str(self._error))

    # Reduce and merge

    async def _fetch_slices(self) -> tuple[SliceList, Path]:
        folder = self.bench.new_path("slices")
        folder.mkdir()
        slices = SliceFiles(folder)
        incoming = Incoming(slices)
        self._fetch(incoming)
        try:
            header = await incoming.header(SliceList)
            parts = await slices.all(header.slices)
            return header, await self.bench.merge(parts)
        finally:
            slices.close()
            self.bench.discard(folder)

    async def _merge(self) -> None:
        self._begin(self.assignment.start, self.assignment.end - self.assignment.start)
        began = self.clock.seconds()
        _, merged = await self._fetch_slices()
        self._check()
        ended = Ended(0, self.clock.seconds() - began, 0, (), "", "")
        await self._finish_later(
            Done(self.assignment.start, self.end, self.assignment.weight, merged, ended, None)
        )

    async def _reduce(self) -> None:
        header, merged = await self._fetch_slices()
        try:
            offsets = await self.bench.in_thread(_find_bounds, merged, header.keys)
            await self._reduce_cells(merged, offsets)
        finally:
            self.bench.discard(merged)

    async def _reduce_cells(self, merged: Path, offsets: list[int]) -> None:
        """``offsets``: where the keys of each cell begin, and at last the end."""
        first = self.assignment.start
        at = first
        while at < self.end:
            self._check()
            left = offsets[self.end - first] - offsets[at - first]
            wanted = offsets[at - first] + self.sizer.next_job(left, self.assignment.commit_seconds)
            count = 1
            while at + count < self.end and offsets[at + count - first] < wanted:
                count += 1
            self._begin(at, count)
            feed = Feed(merged, offsets[at - first], offsets[at + count - first])
            if feed.end > feed.offset:
                await self._run_job(at, feed.end - feed.offset, feed, None)
            else:
                await self._finish_later(Done(at, at + count, 0, None, NO_RUN, None))
            at += count

    # Committing

    async def _finish_later(self, done: Done) -> None:
        """Sort, send and commit a job while the next one runs; at most a few at once."""
        await self._room.acquire()
        before, self._before = self._before, Deferred()
        sent = Deferred.fromCoroutine(self._finish(done, before, self._before))
        sent.addErrback(self._unfinished)
        sent.addBoth(lambda _: self._room.release())
        self._sent.append(sent)

    def _unfinished(self, reason: TwistedFailure) -> None:
        error = reason.value
        if isinstance(error, CancelledError):
            error = Dropped("it was cancelled")
        self._fail(error if isinstance(error, HaGoopError) else JobError(repr(error)))

    async def _settle(self, quiet: bool = False) -> None:
        """Wait until all that was begun is acknowledged."""
        for each in self._sent:
            await each
        if not quiet:
            self._check()

    async def _finish(self, done: Done, before: "Deferred[None]", prepared: "Deferred[None]") -> None:
        began = self.clock.seconds()
        await before
        file: Path | None = None
        try:
            self._check()
            file, packed, counters = await self._prepare(done)
            overhead = self.clock.seconds() - began
            acknowledged = await self._send(done, file, packed, counters, overhead, prepared)
            self._acknowledge(done, *acknowledged)
        finally:
            if not prepared.called:
                prepared.callback(None)
            if file is not None:
                self.bench.discard(file)

    def _acknowledge(self, done: Done, accepted: bool, front: int) -> None:
        if not accepted and front < 0:
            raise Dropped("the assignment is not ours any more")
        if not accepted:
            raise JobError("a copy was faster")
        self.front = max(self.front, done.end)

    async def _prepare(self, done: Done) -> tuple[Path | None, Packed, tuple[Counter, ...]]:
        """The file to commit: the output itself, or the sorted run made of it."""
        if done.output is None:
            return None, NOTHING, done.ended.counters
        phase, program = self.assignment.phase, self.assignment.program
        if phase is Phase.REDUCE or not program.sorts:
            return done.output, await self.bench.measure(done.output), done.ended.counters
        lines, counters = done.output, done.ended.counters
        if phase is Phase.MAP:
            lines = await self.bench.sort(lines)
            if program.combiner is not None:
                lines, counted = await self._combine(done, lines, program.combiner)
                counters += counted
        if not lines.stat().st_size:
            return None, NOTHING, counters
        packed_file, packed = await self.bench.pack(lines)
        return packed_file, packed, counters

    async def _combine(
        self, done: Done, lines: Path, combiner: str
    ) -> tuple[Path, tuple[Counter, ...]]:
        output = self.bench.new_path("combined")
        feed = Feed(lines, 0, lines.stat().st_size)
        task = Task(combiner, "combine", self.assignment, done.piece, feed)
        try:
            ended = await self.bench.run(task, output, lambda running: self._watch_combiner(running))
        finally:
            self.bench.discard(lines)
        # A combiner may print its keys in another order.
        return await self.bench.sort(output), ended.counters

    def _watch_combiner(self, running: Running) -> None:
        if self._error is not None:
            running.stop(str(self._error))

    async def _send(
        self,
        done: Done,
        file: Path | None,
        packed: Packed,
        counters: tuple[Counter, ...],
        overhead: float,
        prepared: "Deferred[None]",
    ) -> tuple[bool, int]:
        """Send the bytes, then ``Commit``; again after a broken connection."""
        for tries in range(SEND_TRIES):
            self._check()
            try:
                upload = await self._upload(file, packed)
                job = self._finished(done, upload, packed, counters, overhead)
                sending = Deferred.fromCoroutine(self.server.commit(job))
                if not prepared.called:
                    prepared.callback(None)
                return await sending
            except (WorkerLost, TransferFailed):
                if tries == SEND_TRIES - 1:
                    raise
                await self._pause()
                await self.server.back()
        raise TransferFailed("the server takes no bytes")

    async def _pause(self) -> None:
        pause: Deferred[None] = Deferred()
        self.clock.callLater(SEND_PAUSE_SECONDS, pause.callback, None)
        await pause

    async def _upload(self, file: Path | None, packed: Packed) -> str:
        if file is None:
            return ""
        path = f"assignments/{self._id}"
        with open(file, "rb") as body:
            answer, _ = await self.server.transfer.put(path, self._grant, body, packed.size)
        return str(answer["upload"])

    def _finished(
        self,
        done: Done,
        upload: str,
        packed: Packed,
        counters: tuple[Counter, ...],
        overhead: float,
    ) -> Finished:
        it = self.assignment
        return Finished(
            id=self._id,
            request=it.request,
            phase=it.phase,
            round=it.round,
            start=done.start,
            end=done.end,
            upload=upload,
            digest=packed.digest,
            size=packed.size,
            seconds=done.ended.seconds,
            overhead_seconds=overhead,
            counters=counters,
            status=done.ended.status_text,
            log=shortened(done.ended.log),
        )


def shortened(log: str) -> str:
    """Head and tail of a log: a message holds 64 KiB, and JSON may take six bytes a character."""
    if len(log) <= LOG_CHARACTERS:
        return log
    half = LOG_CHARACTERS // 2
    return f"{log[:half]}\n... {len(log) - 2 * half} characters left out ...\n{log[-half:]}"


def _find_bounds(merged: Path, keys: list[bytes | None]) -> list[int]:
    size = merged.stat().st_size
    offsets = [0]
    with open(merged, "rb") as file:
        for key in keys[1:]:
            offsets.append(size if key is None else find_bound(file, size, key, offsets[-1]))
    offsets[-1] = size
    return offsets

