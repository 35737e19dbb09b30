"""Jobs delivered in order, a few at once, and not at all once something is wrong."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field
from twisted.internet.defer import Deferred, DeferredSemaphore, succeed
from twisted.internet.task import Clock

from hagoop.commands import COMMITS_IN_FLIGHT
from hagoop.delivery import (
    LEAST_COMBINED_BYTES,
    LOG_CHARACTERS,
    SEND_PAUSE_SECONDS,
    SEND_TRIES,
    WAITING,
    Delivery,
    Done,
    Dropped,
    shortened,
)
from hagoop.errors import HaGoopError, JobError, ProgramFailed, TransferFailed, WorkerLost, WorkerUnfit
from hagoop.feeding import Feed
from hagoop.jobs import Assignment, AssignmentId, Counter, Finished, Phase, Program, RequestId
from hagoop.keys import Order
from hagoop.places import PLACES, new_places
from hagoop.sorting import Packed
from hagoop.verdicts import Ended
from hagoop.workbench import Workbench

ENDED = Ended(0, 1.0, 0, (Counter("g", "n", 1),), "so far", "log")
MAP = Assignment(
    AssignmentId("1-7"), RequestId("r1"), Phase.MAP, 0, 0, 9, 9, 1.0, 0, Program("m", None), "word", 10
)


@define(eq=False)
class Bench:
    """Sorts and packs files, at once unless told otherwise; a combiner ends when the test says so.

    :ivar made: what was done to which file.
    """

    folder: Path
    made: list[str] = field(factory=list)
    combining: "list[tuple[Any, Deferred[Ended]]]" = field(factory=list)
    sorting: "Deferred[None]" = field(factory=lambda: succeed(None))
    _number: int = 0

    def new_path(self, kind: str) -> Path:
        self._number += 1
        return self.folder / f"{kind}-{self._number}"

    def discard(self, *paths: Path) -> None:
        for each in paths:
            each.unlink(missing_ok=True)

    gone_if_it_fails = Workbench.gone_if_it_fails

    async def measure(self, file: Path) -> Packed:
        self.made.append("measure")
        data = file.read_bytes()
        return Packed(len(data), hashlib.sha256(data).hexdigest())

    async def sort(self, raw: Path, order: Order) -> Path:
        await self.sorting
        self.made.append("sort")
        target = self.new_path("sorted")
        target.write_bytes(b"".join(sorted(raw.read_bytes().splitlines(keepends=True))))
        raw.unlink()
        return target

    async def sort_again(self, printed: Path, order: Order) -> Path:
        return await self.sort(printed, order)

    async def pack(self, sorted_file: Path, order: Order) -> tuple[Path, Packed]:
        self.made.append("pack")
        target = self.new_path("packed")
        target.write_bytes(b"packed " + sorted_file.read_bytes())
        sorted_file.unlink()
        return target, await self.measure(target)

    async def run(self, task: Any, output: Path, started: Callable[[Any], None]) -> Ended:
        self.made.append(f"{task.phase} {task.argv[-1]}")
        ended: Deferred[Ended] = Deferred()
        program = Combining(ended)
        self.combining.append((task, ended))
        output.write_bytes(b"combined\n")
        started(program)
        return await ended

    @property
    def left(self) -> list[str]:
        """Files that nobody discarded."""
        return sorted(each.name for each in self.folder.iterdir())


@define(eq=False)
class Combining:
    """A program that ends when it is stopped."""

    ended: "Deferred[Ended]"

    def stop(self, reason: str) -> "Deferred[None]":
        if not self.ended.called:
            self.ended.errback(JobError(reason))
        return succeed(None)


@define(eq=False)
class Server:
    """Takes bytes and commits as the test wants.

    :ivar commits: jobs that wait for their acknowledgement.
    """

    puts: list[tuple[str, str, bytes]] = field(factory=list)
    commits: "list[tuple[Finished, Deferred[tuple[bool, int]]]]" = field(factory=list)
    broken: list[Exception] = field(factory=list)
    away: "Deferred[None] | None" = None

    @property
    def transfer(self) -> "Server":
        return self

    async def put(self, path: str, grant: str, file: Any, size: int) -> tuple[dict[str, str], str]:
        if self.broken:
            raise self.broken.pop(0)
        self.puts.append((path, grant, file.read()))
        return {"upload": str(len(self.puts))}, ""

    async def commit(self, job: Finished) -> tuple[bool, int]:
        answered: Deferred[tuple[bool, int]] = Deferred()
        self.commits.append((job, answered))
        return await answered

    async def back(self) -> None:
        if self.away is not None:
            await self.away

    def acknowledge(self, number: int, accepted: bool = True, front: int = 0) -> None:
        """The answer to a commit has come."""
        self.commits[number][1].callback((accepted, front))

    def lose(self, number: int) -> None:
        """Its answer will not come."""
        self.commits[number][1].errback(WorkerLost("the connection was lost"))

    @property
    def ends(self) -> list[int]:
        """The ends of the jobs that were committed."""
        return [job.end for job, _ in self.commits]


@define(eq=False)
class Place:
    """A delivery and what it needs."""

    folder: Path
    assignment: Assignment = MAP
    places: DeferredSemaphore = field(factory=new_places)
    clock: Clock = field(factory=Clock)
    server: Server = field(factory=Server)
    failures: list[tuple[HaGoopError, int]] = field(factory=list)
    acknowledged: list[int] = field(factory=list)
    bench: Bench = field(init=False)
    delivery: Delivery = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.bench = Bench(self.folder)
        told = self._failed, self.acknowledged.append
        it = self.assignment, self.bench, self.server, self.clock
        self.delivery = Delivery(*it, *told, self.places)

    def _failed(self, error: HaGoopError, done: Done) -> None:
        self.failures.append((error, done.end))
        self.delivery.stop(error)

    def add(self, number: int, printed: bytes = b"b\na\n") -> "Deferred[None]":
        """The job of one line has ended well."""
        output = None
        if printed:
            output = self.bench.new_path("output")
            output.write_bytes(printed)
        done = Done(number, number + 1, 1, output, ENDED, 2.5, None)
        return Deferred.fromCoroutine(self.delivery.add(done))

    def settle(self) -> "Deferred[None]":
        """What fires when all is acknowledged or has failed."""
        return Deferred.fromCoroutine(self.delivery.settle())


@pytest.fixture
def place(tmp_path):
    """A delivery of a map's jobs whose output is the answer."""
    return Place(tmp_path)


def sorting(tmp_path, combiner=None):
    """A delivery of a map's jobs whose output is sorted."""
    return Place(tmp_path, evolve(MAP, program=Program("m", "r", combiner)))


def test_short_log_stays_as_it_is():
    """Up to the bound."""
    log = "x" * LOG_CHARACTERS
    assert shortened("") == ""
    assert shortened(log) == log


def test_long_log_keeps_head_and_tail():
    """And says how much is missing."""
    log = "head" + "x" * 10_000 + "tail"
    short = shortened(log)
    assert short.startswith("headx")
    assert short.endswith("xtail")
    assert f"\n... {10_008 - LOG_CHARACTERS} characters left out ...\n" in short
    assert len(short) < LOG_CHARACTERS + 100


def test_job_is_sent_then_committed_then_acknowledged(place):
    """With all that is known of it; nothing is left on the disk."""
    place.add(0)
    job, _ = place.server.commits[0]
    assert place.server.puts == [("assignments/1-7", "word", b"b\na\n")]
    assert (job.id, job.start, job.end, job.upload) == ("1-7", 0, 1, "1")
    assert (job.digest, job.size) == (hashlib.sha256(b"b\na\n").hexdigest(), 4)
    assert (job.seconds, job.counters, job.status, job.log) == (2.5, ENDED.counters, "so far", "log")
    settled = place.settle()
    assert place.acknowledged == []
    assert not settled.called
    place.server.acknowledge(0)
    assert place.acknowledged == [1]
    assert settled.called
    assert place.bench.left == []


def test_time_to_sort_is_told(tmp_path, monkeypatch):
    """A sort that takes four seconds: longer than the program, which took two and a half."""
    place = sorting(tmp_path)
    known = Bench.sort

    async def slow(*args):
        place.clock.advance(4.0)
        return await known(*args)

    monkeypatch.setattr(Bench, "sort", slow)
    place.add(0)
    job, _ = place.server.commits[0]
    assert (job.seconds, job.sorting_seconds) == (4.0, 4.0)
    times = [place.delivery.expected_seconds(weight) for weight in (1, 3, 4, 1000)]
    assert times == [4.0, 12.0, 16.0, 16.0]


def test_job_that_printed_nothing_sends_nothing(place):
    """It is committed all the same."""
    place.add(0, b"")
    job, _ = place.server.commits[0]
    assert place.server.puts == []
    assert (job.upload, job.size, job.digest) == ("", 0, hashlib.sha256().hexdigest())


def test_output_that_a_reducer_reads_is_sorted_and_packed(tmp_path):
    """What the reducer prints is not."""
    place = sorting(tmp_path)
    place.add(0)
    assert place.server.puts[0][2] == b"packed a\nb\n"
    assert place.bench.made == ["sort", "pack", "measure"]
    reducing = Place(tmp_path, evolve(MAP, phase=Phase.REDUCE, program=Program("m", "r", "c")))
    reducing.add(0)
    assert reducing.server.puts[0][2] == b"b\na\n"


def test_combiner_is_run_on_sorted_lines(tmp_path):
    """Its output is sorted again, and its counters are the job's."""
    place = sorting(tmp_path, "c")
    place.add(0)
    task, ended = place.bench.combining[0]
    assert (task.feed, task.reads) == (task.reads.path, Feed(task.feed, 0, 4))
    assert place.server.commits == []
    ended.callback(evolve(ENDED, counters=(Counter("g", "combined", 1),)))
    assert place.bench.made == ["sort", "combine c", "sort", "pack", "measure"]
    job, _ = place.server.commits[0]
    assert [each.name for each in job.counters] == ["n", "combined"]
    place.server.acknowledge(0)
    assert place.bench.left == []


def test_speed_of_the_combiner_is_that_of_its_heaviest_run(tmp_path):
    """What it took for little was its start; without a run there is none."""
    place = sorting(tmp_path, "c")
    assert place.delivery.combining_speed == 0.0
    for lines, seconds in ((1, 1.0), (LEAST_COMBINED_BYTES, 4.0), (LEAST_COMBINED_BYTES - 1, 0.5)):
        place.add(0, b"a\n" * lines)
        place.bench.combining[-1][1].callback(evolve(ENDED, seconds=seconds))
    assert place.delivery.combining_speed == 2 * LEAST_COMBINED_BYTES / 4.0


def test_little_is_not_combined_but_for_the_first_lines(tmp_path):
    """A start costs more than it saves; a combiner that fails is noticed at once all the same."""
    place = sorting(tmp_path, "c")
    place.add(1, b"a\n" * (LEAST_COMBINED_BYTES // 2 - 1))
    assert place.bench.made == ["sort", "pack", "measure"]
    place.add(2, b"a\n" * (LEAST_COMBINED_BYTES // 2))
    assert place.bench.made[3:] == ["sort", "combine c"]
    place.bench.combining[0][1].callback(ENDED)


def test_combiner_that_prints_nothing_leaves_nothing_to_send(tmp_path):
    """An empty run is none."""
    place = sorting(tmp_path, "c")
    place.add(0)
    place.bench.new_path("combined")
    (combined,) = (each for each in tmp_path.iterdir() if each.name.startswith("combined"))
    combined.write_bytes(b"")
    place.bench.combining[0][1].callback(ENDED)
    assert place.server.puts == []
    assert place.server.commits[0][0].size == 0
    assert place.bench.left == []


def test_combiner_that_begins_after_the_stop_is_ended(tmp_path):
    """It is told as soon as it runs."""
    place = sorting(tmp_path, "c")
    place.bench.sorting = Deferred()
    place.add(0)
    place.delivery.stop(Dropped("cancelled"))
    place.bench.sorting.callback(None)
    assert [str(error) for error, _ in place.failures] == ["cancelled"]
    assert place.server.puts == []


def test_combiner_that_fails_fails_its_job(tmp_path):
    """With its own error, and nothing is sent."""
    place = sorting(tmp_path, "c")
    place.add(0)
    place.bench.combining[0][1].errback(ProgramFailed("it ended with exit status 1"))
    ((error, end),) = place.failures
    assert (type(error), end) == (ProgramFailed, 1)
    assert place.server.puts == []
    assert place.bench.left == []


def test_what_was_never_prepared_is_removed(tmp_path):
    """A worker must not fill up with what jobs printed whose assignments were gone by then."""
    place = sorting(tmp_path, "c")
    place.add(0)
    place.add(1)
    place.delivery.stop(Dropped("a copy was faster"))
    assert place.settle().called
    assert place.bench.left == []


def test_stopping_ends_the_combiner(tmp_path):
    """With the reason."""
    place = sorting(tmp_path, "c")
    place.add(0)
    place.delivery.stop(Dropped("a copy was faster"))
    assert [str(error) for error, _ in place.failures] == ["a copy was faster"]
    assert place.settle().called


def test_jobs_are_committed_in_their_order(tmp_path):
    """Though one is prepared longer than the next."""
    place = sorting(tmp_path, "c")
    place.add(0)
    place.add(1, b"")
    assert place.server.commits == []
    place.bench.combining[0][1].callback(ENDED)
    assert place.server.ends == [1, 2]


def test_acknowledgements_are_not_waited_for_one_by_one(place):
    """A few commits are in flight; the next goes when one has landed."""
    for number in range(COMMITS_IN_FLIGHT + 1):
        place.add(number)
    assert place.server.ends == [1, 2, 3, 4]
    place.server.acknowledge(1)
    assert place.server.ends == [1, 2, 3, 4, 5]
    assert place.acknowledged == [2]


def test_few_jobs_wait_to_be_prepared(tmp_path):
    """More would only be lost together: the worker waits."""
    place = sorting(tmp_path, "c")
    added = [place.add(number) for number in range(WAITING + 1)]
    assert [each.called for each in added] == [True] * WAITING + [False]
    place.bench.combining[0][1].callback(ENDED)
    assert added[-1].called


def test_slot_runs_no_more_programs_than_it_has_places(tmp_path):
    """Of whatever assignment; who waits for one goes on in turn, unless it is stopped meanwhile."""
    places = new_places()
    made = [Place(tmp_path / str(number), sorting(tmp_path).assignment, places) for number in range(4)]
    held: list[Deferred[None]] = [Deferred() for _ in made]
    for each, pause in zip(made, held, strict=True):
        each.bench.sorting = pause
        each.add(0)
    assert [places.tokens, len(places.waiting)] == [PLACES - 2, 2]
    made[2].delivery.stop(JobError("it was cut"))
    held[0].callback(None)
    assert made[0].server.ends == [1]
    assert [str(error) for error, _ in made[2].failures] == ["it was cut"]
    assert not places.waiting
    for each in (held[1], held[3]):
        each.callback(None)
    assert [each.server.ends for each in made] == [[1], [1], [], [1]]
    assert places.tokens == PLACES


def test_nothing_is_delivered_after_a_failure(place):
    """The order would have a hole."""
    place.server.broken = [JobError("the disk is full")]
    place.add(0)
    place.add(1)
    assert [(str(error), end) for error, end in place.failures] == [
        ("the disk is full", 1),
        ("the disk is full", 2),
    ]
    assert place.server.commits == []
    assert place.settle().called


def test_nothing_is_delivered_after_a_stop(place):
    """The first reason stays."""
    place.delivery.stop(Dropped("cancelled"))
    place.delivery.stop(Dropped("again"))
    place.add(0)
    assert [str(error) for error, _ in place.failures] == ["cancelled"]
    assert place.server.puts == []


def test_disk_that_cannot_be_written_makes_the_worker_unfit(place):
    """Nobody else is to blame."""
    place.server.broken = [OSError(28, "No space left on device")]
    place.add(0)
    ((error, _),) = place.failures
    assert (type(error), str(error)) == (
        WorkerUnfit,
        "this worker cannot store what it made: No space left on device",
    )
    assert place.settle().called


def test_bug_of_ours_fails_the_job(place):
    """Nothing waits for it for ever, and what was wrong is told."""
    place.server.broken = [ZeroDivisionError("ours")]
    place.add(0)
    ((error, end),) = place.failures
    assert (type(error), end) == (WorkerUnfit, 1)
    assert str(error) == (
        "this worker met an error of its own; its log has more: ZeroDivisionError: ours"
    )
    assert place.settle().called


@pytest.mark.parametrize(
    ("front", "kind", "told"),
    [(-1, Dropped, "the assignment is not ours any more"), (0, JobError, "a copy was faster")],
)
def test_refused_commit_ends_the_delivery(place, front, kind, told):
    """Whether the assignment is gone, or its front is elsewhere."""
    place.add(0)
    place.server.acknowledge(0, False, front)
    ((error, end),) = place.failures
    assert (type(error), str(error), end) == (kind, told, 1)
    assert place.acknowledged == []


def test_commit_that_has_counted_before_is_acknowledged(place):
    """The answer was lost with the link; now its front lies behind the job."""
    place.add(0)
    place.server.acknowledge(0, False, 1)
    assert (place.failures, place.acknowledged) == ([], [1])


def test_job_is_sent_again_when_the_link_breaks(place):
    """Bytes and commit, after a while, under the grant of then."""
    place.server.broken = [TransferFailed("cut off")]
    place.add(0)
    place.clock.advance(SEND_PAUSE_SECONDS)
    place.server.lose(0)
    place.delivery.id, place.delivery.grant = AssignmentId("2-1"), "other"
    place.clock.advance(SEND_PAUSE_SECONDS)
    assert [path for path, _, _ in place.server.puts] == ["assignments/1-7", "assignments/2-1"]
    assert place.server.commits[1][0].id == "2-1"
    place.server.acknowledge(1)
    assert place.acknowledged == [1]
    assert place.failures == []


def test_job_waits_for_the_server_to_be_back(place):
    """However long it is away."""
    place.server.away = Deferred()
    place.server.broken = [WorkerLost("the connection is away")]
    place.add(0)
    place.clock.advance(3600)
    assert place.server.puts == []
    place.server.away.callback(None)
    assert place.server.ends == [1]


def test_job_that_cannot_be_sent_fails_at_last(place):
    """Not for ever."""
    place.server.broken = [TransferFailed("cut off")] * SEND_TRIES
    place.add(0)
    for _ in range(SEND_TRIES - 1):
        assert place.failures == []
        place.clock.advance(SEND_PAUSE_SECONDS)
    assert [str(error) for error, _ in place.failures] == ["cut off"]


def test_stop_ends_what_waits_to_be_sent_again(place):
    """It is not sent any more."""
    place.server.broken = [TransferFailed("cut off")]
    place.add(0)
    place.delivery.stop(Dropped("cancelled"))
    place.clock.advance(SEND_PAUSE_SECONDS)
    assert [str(error) for error, _ in place.failures] == ["cancelled"]
    assert place.server.puts == []


def test_cancel_reaches_all_that_wait_for_their_acknowledgement(place):
    """A worker that ends while its server says nothing waits for none of them."""
    for number in range(3):
        place.add(number)
    settled = place.settle()
    assert not settled.called
    settled.cancel()
    assert settled.called
    assert [end for _, end in place.failures] == [1, 2, 3]
    assert {type(error) for error, _ in place.failures} == {Dropped}


def test_stopped_delivery_does_not_wait_for_the_server(place):
    """There is nothing to send when it is back."""
    place.add(0)
    place.server.away = Deferred()
    place.server.lose(0)
    place.delivery.stop(Dropped("the worker leaves"))
    place.clock.advance(SEND_PAUSE_SECONDS)
    assert place.settle().called
    assert place.bench.left == []
