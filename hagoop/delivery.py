"""What becomes of a job whose program has ended well: sorted, combined, sent, committed.

Jobs of one assignment are delivered in order, one being prepared while the next one runs;
acknowledgements are awaited later, a few at once.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredSemaphore, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hagoop.commands import COMMITS_IN_FLIGHT
from hagoop.errors import HaGoopError, JobError, TransferFailed, WorkerLost, WorkerUnfit
from hagoop.experience import LEAST_SECONDS
from hagoop.feeding import Feed
from hagoop.jobs import Assignment, AssignmentId, Counter, Finished, Phase, Piece
from hagoop.places import a_place, new_places
from hagoop.process import Running
from hagoop.shipping import to_argv
from hagoop.sorting import Packed
from hagoop.transfer import Transfer
from hagoop.verdicts import Ended
from hagoop.workbench import NOTHING, Task, Workbench

log = Logger()
WAITING = 2
"""How many jobs may be prepared or wait for it: more would only be lost together."""
LEAST_COMBINED_BYTES = 1 << 18
"""Less than this is reduced as fast as a combiner starts."""
MOST_TIMES = 4.0
"""So many times what a job took at most says how long another takes: a start counts for little in it."""
SEND_TRIES = 5
SEND_PAUSE_SECONDS = 0.5
LOG_CHARACTERS = 4096
MOST_BUG = 300
"""How many characters of an error that nobody expected are told."""


class Dropped(JobError):
    """The assignment is not ours any more: cancelled, or a copy was faster."""


class ServerSide(Protocol):
    """What a worker's assignments need of the connection, which may be away for a while."""

    is_near: bool
    """Whether it is on this machine, and files are the same for both."""

    @property
    def transfer(self) -> Transfer:
        """The web endpoint."""

    async def commit(self, job: Finished) -> tuple[bool, int]:
        """Send ``Commit``: whether it counts, and the front.  Raises ``WorkerLost``."""

    async def back(self) -> None:
        """Wait until the connection is there again."""


@frozen
class Done:
    """A job whose program has ended well; its output is not sorted yet.

    :ivar output: None when it printed nothing.
    :ivar seconds: of the program, and of its share in fetching what the assignment needs.
    """

    start: int
    end: int
    weight: int
    output: Path | None
    ended: Ended
    seconds: float
    piece: Piece | None


@frozen
class Parcel:
    """What is committed for a job.

    :ivar file: None when there is nothing to send.
    """

    done: Done
    file: Path | None
    packed: Packed
    counters: tuple[Counter, ...]
    sorting_seconds: float


@define(eq=False)
class Delivery:
    """Delivers the jobs of one assignment.

    :param places: for the programs of its slot.
    :ivar failed: told what went wrong, and with which job; nothing is delivered after it.
    :ivar acknowledged: told the end of each job that counts.
    :ivar combining: the combiner that runs.
    """

    assignment: Assignment
    bench: Workbench
    server: ServerSide
    clock: IReactorTime
    failed: Callable[[HaGoopError, Done], None]
    acknowledged: Callable[[int], None]
    places: DeferredSemaphore = field(factory=new_places)
    id: AssignmentId = field(init=False)
    grant: str = field(init=False)
    _prepared: tuple[int, float] = (1, 0.0)
    _error: HaGoopError | None = None
    combining: Running | None = None
    _combined: tuple[int, float] = (0, 1.0)
    _room: DeferredSemaphore = field(factory=lambda: DeferredSemaphore(WAITING))
    _flying: DeferredSemaphore = field(factory=lambda: DeferredSemaphore(COMMITS_IN_FLIGHT))
    _last: "Deferred[None]" = field(factory=lambda: succeed(None))
    _delivered: list["Deferred[None]"] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.id, self.grant = self.assignment.id, self.assignment.grant

    async def add(self, done: Done) -> None:
        """Deliver a job; waits while others wait."""
        await self._room.acquire()
        before, self._last = self._last, Deferred()
        self._delivered.append(Deferred.fromCoroutine(self._deliver(done, before, self._last)))

    def expected_seconds(self, weight: int) -> float:
        """How long preparing should take, by the last job; for a much larger one, at least."""
        last, seconds = self._prepared
        return seconds * min(weight / last, MOST_TIMES)

    @property
    def combining_speed(self) -> float:
        """Bytes a second of the combiner in its heaviest run; 0 if there was none."""
        size, seconds = self._combined
        return size / max(seconds, LEAST_SECONDS)

    async def settle(self) -> None:
        """Wait until all that was added is acknowledged, or has failed."""
        # All together first: a cancel must reach each of them, and whatever it reaches ends well.
        await DeferredList(self._delivered)
        for each in self._delivered:
            await each

    def stop(self, error: HaGoopError) -> None:
        """Deliver nothing more."""
        if self._error is None:
            self._error = error
        if self.combining is not None:
            self.combining.stop(str(error))

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    async def _deliver(self, done: Done, before: "Deferred[None]", sent: "Deferred[None]") -> None:
        """Never fails: what goes wrong is told to ``failed``.

        Not by an errback: who is told may at once wait for this very delivery to end.
        """
        try:
            await self._deliver_in_turn(done, before, sent)
        except CancelledError:
            self.failed(Dropped("it was cancelled"), done)
        except HaGoopError as error:
            self.failed(error, done)
        except OSError as error:
            self.failed(WorkerUnfit(f"this worker cannot store what it made: {error.strerror}"), done)
        except Exception as error:
            log.failure("delivering {id} broke", id=self.id)
            self.failed(own_error(error), done)

    async def _deliver_in_turn(
        self, done: Done, before: "Deferred[None]", sent: "Deferred[None]"
    ) -> None:
        parcel: Parcel | None = None
        try:
            await before
            async with a_place(self.places):
                self._check()
                parcel = await self._prepare(done)
            answer = await self._send(parcel, sent)
            self._acknowledge(done, *answer)
        finally:
            self._go_on(sent)
            # Also what was never prepared, because the assignment was gone by then.
            made = done.output, parcel.file if parcel is not None else None
            self.bench.discard(*{each for each in made if each is not None})

    def _go_on(self, sent: "Deferred[None]") -> None:
        """The next job's turn; jobs are sent in order."""
        if not sent.called:
            self._room.release()
            sent.callback(None)

    def _acknowledge(self, done: Done, accepted: bool, front: int) -> None:
        if not accepted and front < 0:
            raise Dropped("the assignment is not ours any more")
        # Else it has counted before: the answer was lost with the link.
        if not accepted and front < done.end:
            raise JobError("a copy was faster")
        self.acknowledged(done.end)

    # Preparing

    async def _prepare(self, done: Done) -> Parcel:
        """The output as it is committed: itself, or the sorted run made of it."""
        began = self.clock.seconds()
        file, packed, counters = await self._pack(done)
        seconds = self.clock.seconds() - began
        self._prepared = max(1, done.weight), seconds
        return Parcel(done, file, packed, counters, seconds)

    async def _pack(self, done: Done) -> tuple[Path | None, Packed, tuple[Counter, ...]]:
        counters = done.ended.counters
        if done.output is None:
            return None, NOTHING, counters
        phase, program = self.assignment.phase, self.assignment.program
        if phase is program.last_phase:
            return done.output, await self.bench.measure(done.output), counters
        lines = done.output
        if phase is not Phase.MERGE:
            lines = await self.bench.sort(lines, program.order)
            if program.combiner is not None and _is_worth_combining(done, lines):
                lines, counted = await self._combine(done, lines, program.combiner)
                counters += counted
        if not lines.stat().st_size:
            self.bench.discard(lines)
            return None, NOTHING, counters
        packed_file, packed = await self.bench.pack(lines, program.order)
        return packed_file, packed, counters

    async def _combine(
        self, done: Done, lines: Path, combiner: str
    ) -> tuple[Path, tuple[Counter, ...]]:
        output = self.bench.new_path("combined")
        # It is not cut, and all of it is there: nobody need feed it.
        whole = Feed(lines, 0, lines.stat().st_size)
        task = Task(to_argv(combiner), "combine", self.assignment, done.piece, lines, whole)
        try:
            with self.bench.gone_if_it_fails(output):
                ended = await self.bench.run(task, output, self._began_to_combine)
        finally:
            self.combining = None
            self.bench.discard(lines)
        self._combined = max(self._combined, (whole.size, ended.seconds))
        # A combiner may print its keys in another order.
        return await self.bench.sort_again(output, self.assignment.program.order), ended.counters

    def _began_to_combine(self, running: Running) -> None:
        self.combining = running
        if self._error is not None:
            running.stop(str(self._error))

    # Sending

    async def _send(self, parcel: Parcel, sent: "Deferred[None]") -> tuple[bool, int]:
        """Send the bytes, then ``Commit``; again after a broken connection."""
        for tries in range(1, SEND_TRIES + 1):
            self._check()
            try:
                return await self._send_once(parcel, sent)
            except (WorkerLost, TransferFailed):
                if tries == SEND_TRIES:
                    raise
                await deferLater(self.clock, SEND_PAUSE_SECONDS)
                self._check()
                await self.server.back()
        raise TransferFailed("the server takes no bytes")

    async def _send_once(self, parcel: Parcel, sent: "Deferred[None]") -> tuple[bool, int]:
        began = self.clock.seconds()
        upload = await self._upload(parcel)
        await self._flying.acquire()
        try:
            self._check()
            job = self._finished(parcel, upload, self.clock.seconds() - began)
            answering = Deferred.fromCoroutine(self.server.commit(job))
            self._go_on(sent)
            return await answering
        finally:
            self._flying.release()

    async def _upload(self, parcel: Parcel) -> str:
        if parcel.file is None:
            return ""
        with open(parcel.file, "rb") as body:
            answer, _ = await self.server.transfer.put(
                f"assignments/{self.id}", self.grant, body, parcel.packed.size
            )
        return str(answer["upload"])

    def _finished(self, parcel: Parcel, upload: str, overhead: float) -> Finished:
        it, done = self.assignment, parcel.done
        return Finished(
            id=self.id,
            request=it.request,
            phase=it.phase,
            round=it.round,
            start=done.start,
            end=done.end,
            upload=upload,
            digest=parcel.packed.digest,
            size=parcel.packed.size,
            seconds=max(done.seconds, parcel.sorting_seconds),
            overhead_seconds=overhead,
            sorting_seconds=parcel.sorting_seconds,
            counters=parcel.counters,
            status=done.ended.status_text,
            log=shortened(done.ended.log),
        )


def _is_worth_combining(done: Done, lines: Path) -> bool:
    """Large enough; or the first lines of all, so that a combiner that fails is noticed at once."""
    return done.start == 0 or lines.stat().st_size >= LEAST_COMBINED_BYTES


def own_error(error: Exception) -> JobError:
    """What to say of an error that nobody expected, whatever it is.

    What a machine lacks for a moment may be there the next time; anything else would only come again.
    """
    kind = JobError if isinstance(error, MemoryError | RuntimeError | CancelledError) else WorkerUnfit
    told = f"{type(error).__name__}: {error}"[:MOST_BUG]
    return kind(f"this worker met an error of its own; its log has more: {told}")


def shortened(log: str) -> str:
    """Head and tail of a log: a message holds 64 KiB, and JSON may take six bytes a character."""
    if len(log) <= LOG_CHARACTERS:
        return log
    half = LOG_CHARACTERS // 2
    return f"{log[:half]}\n... {len(log) - 2 * half} characters left out ...\n{log[-half:]}"
