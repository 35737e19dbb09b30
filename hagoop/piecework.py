"""One assignment at the worker: fetched, cut into jobs, run job by job.

The worker decides where a job ends when it begins it; what the job printed is delivered
(``delivery.py``) while the next one runs.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hagoop.cutting import Cells, Job, Lines
from hagoop.delivery import Delivery, Done, Dropped, ServerSide, own_error, shortened
from hagoop.errors import HaGoopError, WorkerFull, WorkerLost, WorkerUnfit
from hagoop.experience import JobSizer
from hagoop.feeding import Feed
from hagoop.in_place import SharedFile, find_shared
from hagoop.incoming import Incoming, LineFile, NoBody, PieceList, SliceFiles, SliceList
from hagoop.job_runs import NO_RUN, JobRuns
from hagoop.jobs import Assignment, AssignmentId, Failure, Held, Phase, Piece, Seen
from hagoop.places import a_place, new_places
from hagoop.sorting import find_bound
from hagoop.workbench import Workbench

log = Logger()


@define(eq=False)
class Work:
    """An assignment under work.

    :param places: for the programs of its slot.
    :ivar front: everything before it is committed and acknowledged.
    :ivar job_end: end of the job in hand, which may be cut: then it is less.
    :ivar commit_seconds: how long a job should take, by the server's newest word.
    :ivar last_begun: fires with the seconds it should take when the last job begins.
    """

    assignment: Assignment
    bench: Workbench
    server: ServerSide
    clock: IReactorTime
    sizer: JobSizer
    places: DeferredSemaphore = field(factory=new_places)
    front: int = field(init=False)
    end: int = field(init=False)
    job_start: int = field(init=False)
    job_end: int = field(init=False)
    commit_seconds: float = field(init=False)
    last_begun: "Deferred[float]" = field(factory=Deferred)
    _delivery: Delivery = field(init=False)
    _runs: JobRuns = field(init=False)
    _body: LineFile | SliceFiles | None = None
    _merged: Path | None = None
    _looked_through: int = 0
    _fetch_rate: float = 0.0
    _began: float = 0.0
    _error: HaGoopError | None = None
    _file_ends: tuple[int, ...] = ()
    _fetching: "Deferred[None] | None" = None

    def __attrs_post_init__(self) -> None:
        self.front = self.job_start = self.job_end = self.assignment.start
        self.end, self.commit_seconds = self.assignment.end, self.assignment.commit_seconds
        self._runs = JobRuns(self.assignment, self.bench, self.clock, self.sizer)
        self._delivery = Delivery(
            self.assignment,
            self.bench,
            self.server,
            self.clock,
            self._undelivered,
            self._acknowledged,
            self.places,
        )

    # What the server sees and says

    @property
    def id(self) -> AssignmentId:
        """Its id now; a reconnect may give it another."""
        return self._delivery.id

    @property
    def seen(self) -> Seen:
        """Its line of the next Beat: bytes fetched, merged and looked through for keys are a sign of
        life as bytes read are."""
        runs = self._runs
        fetched = (self._body.size if self._body else 0) + self.bench.size_of(self._merged)
        taken = runs.taken + fetched + self._looked_through
        return Seen(self.id, self.job_end, taken, runs.bytes_out, runs.done)

    @property
    def held(self) -> Held:
        """What is said of it at ``Join``."""
        it = self.assignment
        return Held(self.id, it.request, it.phase, it.round, self.front, self.end, self.job_end)

    def kept(self, id_: AssignmentId, grant: str) -> None:
        """It goes on under a new id."""
        self._delivery.id, self._delivery.grant = id_, grant

    def dropped_as(self, id_: AssignmentId) -> Failure:
        """What to say of it where it was taken to go on under a new id, and had ended."""
        told = "it ended while the connection was away"
        return Failure(id_, self.job_start, self.job_end, WorkerLost.code, told, 0.0)

    @property
    def combining_speed(self) -> float:
        """Bytes a second of its combiner; 0 if none has run."""
        return self._delivery.combining_speed

    @property
    def is_dropped(self) -> bool:
        """Whether it is not ours any more; its end is told to nobody."""
        return isinstance(self._error, Dropped)

    @property
    def failed(self) -> bool:
        """Whether it will not be finished here."""
        return self._error is not None

    async def take_back(self, end: int) -> int:
        """Stop at ``end``, or as soon after it as the job in hand allows, which is cut if it can be."""
        # No other job begins behind it meanwhile.
        self._stop_at(end)
        if end < self.job_end:
            await self._runs.cut(end)
            self._stop_at(end)
        self._say_if_last()
        return self.end

    def _stop_at(self, end: int) -> None:
        end = max(end, self.job_end, self.assignment.start + 1)
        # Where files are whole jobs, the one in which it lies is done.
        ends = (each for each in self._file_ends if each >= end)
        self.end = min(self.end, next(ends, end))

    def _was_cut(self, end: int) -> None:
        if self._error is None:
            self.job_end = end

    def _say_if_last(self) -> None:
        """What was not the last job may be it now."""
        begun = self.job_end > self.assignment.start
        if begun and self.job_end >= self.end and not self.last_begun.called:
            self.last_begun.callback(self._runs.seconds_left)

    async def cancel(self, reason: str) -> None:
        """End its program and drop it."""
        running = [each for each in (self._runs.running, self._delivery.combining) if each is not None]
        self._fail(Dropped(reason))
        for each in running:
            await each.stop(reason)
        await self._runs.let_go()

    def _fail(self, error: HaGoopError) -> None:
        if self._error is None:
            self._error = error
        self._runs.stop(error)
        self._delivery.stop(error)
        self._stop_fetching()

    def _undelivered(self, error: HaGoopError, done: Done) -> None:
        if self._error is None:
            self.job_start, self.job_end = done.start, done.end
        self._fail(error)

    def _acknowledged(self, end: int) -> None:
        self.front = max(self.front, end)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    # The way through

    async def run(self) -> None:
        """Run all of its jobs; what they printed may still be under way, and what failed is kept."""
        self._began = self.clock.seconds()
        try:
            await self.bench.fetch_programs(self.assignment, self.server.transfer)
            await self._work()
        except WorkerFull as error:
            # What follows may fit once this is done; what is too much by itself never will.
            begun = self.job_start > self.assignment.start
            self._fail(error if begun else WorkerUnfit(str(error)))
        except HaGoopError as error:
            self._fail(error)
        except OSError as error:
            # Its own files, not the program's.
            self._fail(WorkerUnfit(f"this worker cannot store what it fetches: {error.strerror}"))
        except CancelledError:
            # The worker stops: who waits for this run is to end, not to go on.
            raise
        except Exception as error:
            log.failure("{id} broke", id=self.id)
            self._fail(own_error(error))
        finally:
            self._stop_fetching()
            self._runs.let_go()
            if not self.last_begun.called:
                self.last_begun.callback(0.0)

    async def settle(self) -> Failure | None:
        """Wait for the acknowledgements; how a job failed, unless all is well or not ours any more."""
        await self._delivery.settle()
        error = self._error
        if error is None or isinstance(error, Dropped):
            return None
        self.sizer.failed(self.job_end - self.job_start)
        return Failure(
            id=self.id,
            start=self.job_start,
            end=self.job_end,
            kind=error.code,
            message=str(error),
            seconds=self.clock.seconds() - self._began,
            log=shortened(getattr(error, "stderr", b"").decode("utf-8", "replace")),
        )

    async def _work(self) -> None:
        if self.assignment.phase is Phase.MAP:
            await self._map()
        elif self.assignment.phase is Phase.MERGE:
            await self._merge()
        else:
            await self._reduce()

    def _fetch(self, incoming: Incoming, what: str = "assignments") -> None:
        path, grant = f"{what}/{self.id}", self._delivery.grant
        fetching = Deferred.fromCoroutine(self.server.transfer.get(path, grant, incoming.write))
        fetching.addCallbacks(lambda _: incoming.end(), incoming.end)
        # Whoever waits for the bytes has been told.
        fetching.addErrback(lambda _: None)
        self._fetching = fetching

    def _stop_fetching(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()

    def _begin(self, start: int, end: int, weight: int) -> None:
        """Announce the job in hand: it may be cut, but goes no further."""
        self.job_start, self.job_end = start, end
        if end >= self.end and not self.last_begun.called:
            self.last_begun.callback(self.sizer.expected_seconds(weight))

    # Map

    async def _map(self) -> None:
        shared = await self._share()
        if not shared:
            self._check()
            await self._map_fetched()
            return
        pieces = [piece for piece, _ in shared]
        self._know_files(pieces)
        for (piece, file), following in zip(shared, (*pieces[1:], None), strict=True):
            self._runs.shared = file
            await self._map_piece(piece, file, piece.offset, following)

    async def _share(self) -> list[tuple[Piece, SharedFile]]:
        """The files with the lines, if they are to be read where they are; else nothing.

        A file system may show one machine what another wrote some time later; an original program is
        promised that it opens the user's own file nevertheless.
        """
        program = self.assignment.program
        is_near = self.server.is_near and not program.combine_files
        if program.binary is None and not is_near:
            return []
        incoming = Incoming(NoBody())
        self._fetch(incoming, "files")
        return await find_shared(incoming, self.bench.in_thread)

    async def _map_fetched(self) -> None:
        lines = self._body = LineFile(self.bench.new_path("lines"), self.bench.share.half_disk)
        incoming = Incoming(lines)
        self._fetch(incoming)
        try:
            offset = 0
            pieces = (await incoming.header(PieceList)).pieces
            self._know_files(pieces)
            for piece, following in zip(pieces, (*pieces[1:], None), strict=True):
                await self._map_piece(piece, lines, offset, following)
                offset += piece.length
        finally:
            lines.close()
            self.bench.discard(lines.path)

    def _know_files(self, pieces: Iterable[Piece]) -> None:
        if self.assignment.program.map_whole:
            self._file_ends = tuple(each.end for each in pieces)

    async def _map_piece(
        self,
        piece: Piece,
        lines: LineFile | SharedFile,
        offset: int,
        following: Piece | None = None,
    ) -> None:
        at, limit = piece.start, offset + piece.length
        while at < min(piece.end, self.end):
            async with self._turn():
                # Some may have been taken back meanwhile.
                if at >= self.end:
                    break
                job = await self._next_job(piece, lines, at, range(offset, limit))
                then = piece if job.end < min(piece.end, self.end) else following
                self._runs.expect(self._runs.plain_task(then) if then else None)
                job, done = await self._run_job(job, piece)
            await self._delivery.add(done)
            at, offset = job.end, job.feed.end

    async def _next_job(
        self, piece: Piece, lines: LineFile | SharedFile, at: int, place: range
    ) -> Job:
        """What the next one takes of a piece from line ``at`` on; ``place``: the bytes that are left."""
        left = min(piece.end, self.end) - at
        whole = self.assignment.program.map_whole
        count = left if whole else self.sizer.next_job(left, self.commit_seconds)
        self._begin(at, at + count, count)
        wanted = count if at + count < piece.end else None
        stop = await self._find(lines, place.start, place.stop, wanted)
        places = None if whole else Lines(at, self.bench.in_thread)
        return Job(at, at + count, count, Feed(lines.path, place.start, stop), places)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """The next job's, when its slot has a place for a program: it is not begun, nor late, before."""
        async with a_place(self.places):
            self._check()
            yield

    async def _find(
        self, lines: LineFile | SharedFile, offset: int, limit: int, count: int | None
    ) -> int:
        """Where a job's lines end; without a count, at the piece's end."""
        if count is not None:
            return await lines.find_line(offset, limit, count)
        await lines.await_bytes(limit)
        return limit

    async def _run_job(self, job: Job, piece: Piece | None) -> tuple[Job, Done]:
        """Run the program on it; the job as it became if it was cut, and what is to be delivered."""
        self._check()
        run = await self._runs.run(job, piece, self.commit_seconds, self._was_cut)
        job, seconds = run.job, run.seconds + run.job.weight * self._fetch_rate
        self.sizer.observe(job.weight, max(seconds, self._delivery.expected_seconds(job.weight)))
        return job, Done(job.start, job.end, job.weight, run.output, run.ended, seconds, piece)

    # Merge and reduce

    async def _merge(self) -> None:
        it = self.assignment
        self._begin(it.start, it.end, it.weight)
        _, merged = await self._fetch_slices()
        with self.bench.gone_if_it_fails(merged):
            self._check()
        seconds = self.clock.seconds() - self._began
        await self._delivery.add(Done(it.start, it.end, it.weight, merged, NO_RUN, seconds, None))

    async def _fetch_slices(self) -> tuple[SliceList, Path]:
        """The slices of all runs, merged to one sorted file."""
        folder = self.bench.new_path("slices")
        folder.mkdir()
        slices = self._body = SliceFiles(folder, self.bench.share.half_disk)
        incoming = Incoming(slices)
        self._fetch(incoming)
        try:
            header = await incoming.header(SliceList)
            parts = await slices.all(header.slices)
            self._merged = self.bench.new_path("merged")
            await self.bench.merge(parts, self._merged, self.assignment.program.order)
            return header, self._merged
        finally:
            slices.close()
            self.bench.discard(folder)

    async def _reduce(self) -> None:
        header, merged = await self._fetch_slices()
        try:
            offsets = await self.bench.in_thread(self._find_bounds, merged, header.keys)
            self._fetch_rate = (self.clock.seconds() - self._began) / max(1, offsets[-1])
            await self._reduce_cells(merged, offsets)
        finally:
            self.bench.discard(merged)

    def _find_bounds(self, merged: Path, keys: Sequence[bytes | None]) -> list[int]:
        """Where the keys of each cell begin, and at last the end.  Blocks, for seconds if it is much."""
        order, size, offsets = self.assignment.program.order, merged.stat().st_size, [0]
        with open(merged, "rb") as file:
            for key in keys[1:]:
                offsets.append(size if key is None else find_bound(file, key, order, offsets[-1]))
                self._looked_through = offsets[-1]
        offsets[-1] = size
        return offsets

    async def _reduce_cells(self, merged: Path, offsets: list[int]) -> None:
        """``offsets``: where the keys of each cell begin, and at last the end."""
        first = at = self.assignment.start
        while at < self.end:
            async with self._turn():
                # Some may have been taken back meanwhile.
                if at >= self.end:
                    break
                done = await self._reduce_next(merged, offsets, first, at)
            await self._delivery.add(done)
            at = done.end

    async def _reduce_next(self, merged: Path, offsets: list[int], first: int, at: int) -> Done:
        begin = offsets[at - first]
        left = offsets[self.end - first] - begin
        wanted = begin + self.sizer.next_job(left, self.commit_seconds)
        end = at + 1
        while end < self.end and offsets[end - first] < wanted:
            end += 1
        feed = Feed(merged, begin, offsets[end - first])
        self._begin(at, end, feed.size)
        if not feed.size:
            return Done(at, end, 0, None, NO_RUN, 0.0, None)
        places = None if self.assignment.program.reduce_whole else Cells(first, offsets)
        self._runs.expect(self._runs.plain_task(None) if end < self.end else None)
        _, done = await self._run_job(Job(at, end, feed.size, feed, places), None)
        return done
