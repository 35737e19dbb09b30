"""A worker's slots go on, whatever becomes of one assignment."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field
from test_delivery import MAP
from test_resting import CONFIG
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, fail
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, globalLogPublisher

from hagoop import commands
from hagoop import worker as worker_module
from hagoop.commands import DELIVERED_WORKS
from hagoop.errors import JobError, WorkerUnfit
from hagoop.experience import JobSizer
from hagoop.jobs import Assignment, AssignmentId, Failure, Phase, Program, RequestId
from hagoop.places import new_places
from hagoop.workbench import Workbench
from hagoop.worker import Worker

BAD_NAME = UnicodeEncodeError("utf-8", "\ud800x", 0, 1, "surrogates not allowed")


@define(eq=False)
class Server:
    """The end of a connection: answers asks one by one, with one assignment after the other."""

    peer, line, transport = "server", None, None
    asked: int = 0
    failures: list[Failure] = field(factory=list)

    async def call(self, command: type[commands.Command], **arguments: Any) -> dict[str, Any]:
        """All are of different requests."""
        if command is commands.Fail:
            self.failures.append(arguments["failure"])
            return {}
        assert command is commands.Ask
        self.asked += 1
        it = evolve(MAP, id=AssignmentId(f"1-{self.asked}"), request=RequestId(f"r{self.asked}"))
        return {"assignment": it}

    def tell(self, command: type[commands.Command], **arguments: Any) -> None:
        """Leaving is all that is told."""


@define(eq=False)
class Bench:
    """Where fetching an assignment's programs comes to something, each time to something else."""

    outcomes: "list[Deferred[None]]"

    async def fetch_programs(self, assignment: Any, transfer: Any) -> None:
        """The next outcome; then it takes for ever."""
        await (self.outcomes.pop(0) if self.outcomes else Deferred())

    def size_of(self, file: Path | None) -> int:
        """There is none."""
        return 0


@pytest.fixture
def logged() -> Iterator[list[LogEvent]]:
    """Failures in the log."""
    events: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            events.append(event)

    globalLogPublisher.addObserver(observe)
    yield events
    globalLogPublisher.removeObserver(observe)


def started(*errors: Exception) -> Any:
    """A worker at whose bench these happen, one after the other."""
    made: Any = Worker(MemoryReactorClock(), CONFIG, Bench([fail(each) for each in errors]))
    made.link, made.transfer = Server(), None
    made.start()
    return made


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (BAD_NAME, WorkerUnfit, "UnicodeEncodeError: 'utf-8' codec can't encode character"),
        (RuntimeError("can't start new thread"), JobError, "RuntimeError: can't start new thread"),
        (CancelledError(), JobError, "CancelledError: "),
        (ValueError("x" * 9999), WorkerUnfit, "ValueError: xxx"),
    ],
)
def test_slot_outlives_what_nobody_expected(
    error: Exception, kind: type[JobError], told: str, logged: list[LogEvent]
) -> None:
    """The assignment is given back with a word, the log has more, and the next one begins."""
    worker = started(error)
    (failure,) = worker.link.failures
    assert (failure.id, failure.kind) == ("1-1", kind.code)
    assert told in failure.message
    assert len(failure.message) < 500
    assert len(logged) == 1
    worker.reactor.advance(1.0)
    assert list(worker.works) == ["1-2"]
    assert worker.link.asked == 2


@define(eq=False)
class Quick:
    """Work that is done at once, and delivered when the test says so."""

    assignment: Assignment
    bench: Any
    server: Any
    clock: Any
    sizer: JobSizer
    places: DeferredSemaphore
    failed = False
    combining_speed: float = 0.0
    last_begun: "Deferred[float]" = field(factory=Deferred)
    delivered: "Deferred[None]" = field(factory=Deferred)

    @property
    def id(self) -> AssignmentId:
        return self.assignment.id

    async def run(self) -> None: ...

    async def settle(self) -> None:
        await self.delivered


def test_few_assignments_are_delivered_while_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """All share the places of their slot; when the oldest is delivered, one more begins."""
    monkeypatch.setattr(worker_module, "Work", Quick)
    worker = started()
    begun = list(worker.works.values())
    assert [each.assignment.id for each in begun] == [f"1-{n + 1}" for n in range(DELIVERED_WORKS + 1)]
    assert len({id(each.places) for each in begun}) == 1
    begun[1].delivered.callback(None)
    assert worker.link.asked == DELIVERED_WORKS + 1
    begun[0].delivered.callback(None)
    assert list(worker.works) == ["1-3", "1-4", "1-5"]


def test_combiner_tells_of_its_reducer_before_its_assignment_is_settled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next phase may begin while what remains of a map is let go of."""
    monkeypatch.setattr(worker_module, "Work", Quick)
    worker = started()
    worker.works["1-1"].combining_speed = 3200.0
    reduce = evolve(MAP, id=AssignmentId("1-9"), phase=Phase.REDUCE)
    assert worker._begin(reduce, new_places()).sizer.remembered == 200.0
    other = evolve(reduce, request=RequestId("r9"), program=Program("other", "r"))
    assert worker._begin(other, new_places()).sizer.remembered is None


def test_what_an_assignment_showed_is_remembered_when_it_is_settled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of its own phase, and of the reducer beside its combiner."""
    monkeypatch.setattr(worker_module, "Work", Quick)
    worker = started()
    work = worker.works["1-1"]
    work.combining_speed = 3200.0
    work.sizer.observe(100, 1.0)
    work.delivered.callback(None)
    assert "1-1" not in worker.works
    for phase, speed in ((Phase.MAP, 100.0), (Phase.REDUCE, 200.0)):
        it = evolve(MAP, id=AssignmentId("1-9"), request=RequestId("r9"), phase=phase)
        assert worker._begin(it, new_places()).sizer.remembered == speed


def test_scratch_folder_that_vanished_holds_nothing_up(tmp_path: Path) -> None:
    """There is nothing to drop: whoever ends an assignment, or is told of a request's end, goes on."""
    reactor = MemoryReactorClock()
    worker: Any = Worker(reactor, CONFIG, Workbench(reactor, tmp_path / "scratch", ""))
    worker._programs = {RequestId("r1"): {"d"}, RequestId("r2"): set()}
    shutil.rmtree(tmp_path / "scratch")
    worker.forget(RequestId("r1"))
    assert list(worker._programs) == ["r2"]


def test_turn_that_breaks_gives_its_assignment_back(
    monkeypatch: pytest.MonkeyPatch, logged: list[LogEvent]
) -> None:
    """Whatever breaks a turn, its assignment is nobody's for ever."""
    monkeypatch.setattr("hagoop.worker.Work.run", _broken)
    worker = started()
    assert [each.id for each in worker.link.failures] == ["1-1"]
    assert worker.works == {}
    worker.reactor.advance(1.0)
    assert [each.id for each in worker.link.failures] == ["1-1", "1-2"]


async def _broken(work: Any) -> None:
    work.last_begun.callback(0.0)
    raise ZeroDivisionError("ours")


def test_stopping_ends_the_slots(logged: list[LogEvent]) -> None:
    """Without a failure."""
    worker = started()
    worker.transfer = Closed()
    assert list(worker.works) == ["1-1"]
    worker._hurries = True
    stopped = Deferred.fromCoroutine(worker.stop())
    assert stopped.called
    assert (logged, worker.link.failures, worker.link.asked) == ([], [], 1)


class Closed:
    """Has nothing to close."""

    async def close(self) -> None:
        """At once."""
