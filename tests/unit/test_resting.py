"""When a worker may work: what it looks at, and what it then says and does."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock

from hagoop import commands
from hagoop.door.kept import KeptLine
from hagoop.hours import parse_hours
from hagoop.idleness import BUSY, IN_USE, NOT_SEEN, Sight
from hagoop.jobs import AssignmentId, Stop
from hagoop.options import WorkerConfig
from hagoop.outlook import HERE, Outlook
from hagoop.resting import AtHours, Countdown, Moment, Presence, WhileIdle
from hagoop.worker import Worker

CONFIG = WorkerConfig(
    servers=(),
    slots=1,
    name="lab1",
    state=Path("/nowhere"),
    nice=0,
    memory_bytes=0,
    disk_bytes=0,
    allow_root=False,
    leave_with_server=False,
)


class Reactor(Clock):
    """One that runs."""

    def callWhenRunning(self, called: Callable[..., object], *arguments: object) -> None:
        """At once."""
        called(*arguments)


# What is looked at


def test_countdown_ends_for_good() -> None:
    """By a clock of its own."""
    clock = Clock()
    left = Countdown(10.0, clock.seconds)
    clock.advance(4)
    assert left() == Outlook(6.0, "leaving", ends=True)
    clock.advance(6)
    assert left().rests


def test_moment_follows_the_clock_on_the_wall() -> None:
    """With a zone or without; the grace is over by then."""
    moment = datetime(2026, 3, 1, 7, 30)
    wall = datetime(2026, 3, 1, 7, 29)
    assert Moment(moment, 5.0, lambda zone: wall)() == Outlook(55.0, "leaving", ends=True)
    zoned = Moment(moment.replace(tzinfo=UTC), 5.0, lambda zone: wall.replace(tzinfo=zone))
    assert zoned().seconds == 55.0


def test_hours_are_those_of_the_wall() -> None:
    """Read anew each time."""
    times = iter([datetime(2026, 3, 1, 21, 59, 59), datetime(2026, 3, 1, 22, 0, 0)])
    at = AtHours(parse_hours("22-7"), lambda: next(times))
    assert [at().rests, at().rests] == [True, False]


def test_worker_of_an_idle_machine_comes_later_than_it_would_stay() -> None:
    """And rests while nothing is known."""
    sights: list[Sight] = [Sight(1000, 0.4), Sight(1000, 0.2), Sight(1000, 0.4), Sight(3, 0.0)]
    idle = WhileIdle(lambda see: succeed(see()), lambda: sights.pop(0))
    said = [idle()]
    while sights:
        idle.look()
        said.append(idle())
    assert said == [Outlook(0, NOT_SEEN), Outlook(0, BUSY), HERE, HERE, Outlook(0, IN_USE)]


@pytest.mark.filterwarnings("ignore")
def test_machine_that_cannot_be_seen_is_not_used() -> None:
    """It might be anybody's."""
    sights: list[Deferred[Sight]] = [succeed(Sight(1000, 0.0)), fail(OSError("gone"))]
    idle = WhileIdle(lambda see: sights.pop(0), lambda: Sight(0, None))
    idle.look()
    assert idle() is HERE
    idle.look()
    assert idle() == Outlook(0, NOT_SEEN)


# What is told


@define
class Told:
    """A presence, and what it tells."""

    config: WorkerConfig = CONFIG
    clock: Reactor = field(factory=Reactor)
    heard: list[Outlook] = field(factory=list)
    ends: list[float] = field(factory=list)
    presence: Presence = field(init=False)

    def __attrs_post_init__(self) -> None:
        end = lambda: self.ends.append(self.clock.seconds())  # noqa: E731
        self.presence = Presence(self.clock, self.config, self.heard.append, end)

    def look_at(self, *outlooks: Outlook) -> None:
        """Look at these, one after the other."""
        left = list(outlooks)
        self.presence.looks.append(lambda: left.pop(0))
        self.presence.start()
        self.clock.pump([1.0] * (len(outlooks) - 1))


def test_far_end_is_none() -> None:
    """It is told when it is near, and again and again."""
    told = Told()
    far, near, rest = Outlook(121, "x"), Outlook(120, "x"), Outlook(0, "x")
    told.look_at(far, near, rest, HERE)
    assert told.heard == [HERE, near, rest, HERE]
    assert told.ends == []


def test_end_for_good_is_told_once() -> None:
    """And nothing after it."""
    told = Told()
    told.look_at(Outlook(1, "x", ends=True), Outlook(0, "x", ends=True))
    told.clock.advance(10)
    assert len(told.heard) == 1
    assert told.ends == [1.0]


def test_what_is_told_on_the_command_line_is_looked_at() -> None:
    """All of it."""
    hours, until = parse_hours("0-24"), timedelta(hours=2)
    told = Told(evolve(CONFIG, hours=hours, until=until))
    told.presence.start()
    assert [type(each) for each in told.presence.looks] == [Countdown, AtHours]
    moment = Told(evolve(CONFIG, until=datetime(2999, 1, 1)))
    moment.presence.start()
    assert [type(each) for each in moment.presence.looks] == [Moment]
    assert told.heard == moment.heard == [HERE]


def test_first_notice_counts() -> None:
    """A second one does not put it off; the grace is within."""
    told = Told()
    told.presence.start()
    told.presence.give_notice()
    told.presence.give_notice()
    assert len(told.presence.looks) == 1
    assert told.heard[-1].seconds == pytest.approx(115, abs=5)
    assert told.heard[-1].ends


# What a worker does then


class Line:
    """The end of a connection, and what was said there; it answers what it has answers for."""

    peer, line, transport = "server", None, None

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.said: list[tuple[object, ...]] = []
        self.answers = list(answers)

    async def call(self, command: type[commands.Command], **arguments: Any) -> dict[str, Any]:
        """Answer, or let it wait."""
        self.said.append((command,))
        return self.answers.pop(0) if self.answers else await Deferred()

    def tell(self, command: type[commands.Command], **arguments: Any) -> None:
        """Keep it."""
        self.said.append((command, *arguments.values()))


@define
class Work:
    """An assignment in hand."""

    id: AssignmentId
    job_end: int
    assignment: Any = None
    cancelled: str = ""

    @property
    def start(self) -> int:
        """Of the assignment."""
        return 0

    def __attrs_post_init__(self) -> None:
        self.assignment = self

    async def take_back(self, end: int) -> int:
        """Not the job in hand."""
        return max(end, self.job_end)

    async def cancel(self, reason: str) -> None:
        """It is gone."""
        self.cancelled = reason


BEGUN, FETCHING, ASKED = AssignmentId("1-1"), AssignmentId("1-2"), AssignmentId("1-3")


@pytest.fixture
def worker() -> Any:
    """A worker with a job in hand, an assignment that it fetches, and one for which it asked ahead."""
    made = Worker(MemoryReactorClock(), CONFIG, None)
    made.link = Line()
    made.works = {BEGUN: Work(BEGUN, 7), FETCHING: Work(FETCHING, 0)}
    made._unbegun = {ASKED: 9}
    return made


def test_worker_that_rests_gives_back_what_it_does_not_finish(worker: Any) -> None:
    """At once what has not begun, after the grace the job in hand; it is told once."""
    rest = Outlook(0.0, "resting until 22:00")
    for _ in range(3):
        worker.expect(rest)
    at_once = (commands.Leaving, (ASKED, FETCHING), (), 0.0, rest.why)
    stopping = (commands.Leaving, (), (Stop(BEGUN, 7),), 0.0, rest.why)
    assert worker.link.said == [at_once, stopping]
    assert [each.cancelled for each in worker.works.values()] == ["", "the worker leaves"]
    del worker.works[FETCHING]
    worker.reactor.advance(5)
    assert worker.link.said == [at_once, stopping, (commands.Leaving, (BEGUN,), (), 0.0, rest.why)]
    assert worker.works[BEGUN].cancelled == "the worker rests"


def test_worker_that_comes_again_keeps_what_is_in_hand(worker: Any) -> None:
    """It says so."""
    worker.expect(Outlook(0.0, "in use by its owner"))
    worker.expect(HERE)
    worker.reactor.advance(60)
    assert worker.link.said[2:] == [(commands.Back,)]
    assert worker.works[BEGUN].cancelled == ""


def test_other_reason_to_rest_is_told(worker: Any) -> None:
    """The grace is not longer for that."""
    worker.expect(Outlook(0.0, "in use by its owner"))
    worker.reactor.advance(4)
    worker.expect(Outlook(0.0, "resting until 22:00"))
    worker.reactor.advance(1)
    said = [each[-1] for each in worker.link.said]
    assert list(dict.fromkeys(said)) == ["in use by its owner", "resting until 22:00"]
    assert worker.works[BEGUN].cancelled


def test_worker_with_notice_works_on(worker: Any) -> None:
    """All but what it asked for ahead: that is leased anew, as it fits."""
    for seconds in (120.0, 119.0):
        worker.expect(Outlook(seconds, "leaving", ends=True))
    assert worker.link.said == [(commands.Leaving, (ASKED,), (), 120.0, "leaving")]
    assert [each.cancelled for each in worker.works.values()] == ["", ""]


def test_worker_without_a_server_rests_too(worker: Any) -> None:
    """Its owner does not care whether there is one."""
    worker.link = None
    worker.expect(Outlook(0.0, "in use by its owner"))
    worker.reactor.advance(5)
    assert all(each.cancelled for each in worker.works.values())


def test_assignment_that_crosses_with_our_rest_is_given_back(worker: Any) -> None:
    """And the next is waited for."""
    worker.link = Line({"assignment": Work(BEGUN, 0)})
    worker.outlook = Outlook(0.0, "in use by its owner")
    asking = Deferred.fromCoroutine(worker._ask(0))
    leaving = (commands.Leaving, (BEGUN,), (), 0.0, "in use by its owner")
    assert worker.link.said == [(commands.Ask,), leaving, (commands.Ask,)]
    asking.addErrback(lambda _: None).cancel()


@pytest.mark.parametrize(
    ("outlook", "said"),
    [
        (HERE, []),
        (Outlook(0.0, "why"), [(commands.Leaving, (), (), 0.0, "why")]),
        (Outlook(9.0, "why"), [(commands.Leaving, (), (), 9.0, "why")]),
    ],
)
def test_worker_says_anew_how_things_stand_when_it_joins(
    worker: Any, tmp_path: Path, outlook: Outlook, said: list[object]
) -> None:
    """Before any slot asks."""
    worker.config = evolve(CONFIG, state=tmp_path)
    worker.kept_line = KeptLine(tmp_path)
    worker.link, worker.works, worker._unbegun = None, {}, {}
    worker.expect(outlook)
    answer = {"identity": "i", "token": "", "machine": "", "web_port": 1, "beat_seconds": 1.0}
    line = Line({**answer, "kept": ()})
    asking = Deferred.fromCoroutine(worker._ask(0))
    Deferred.fromCoroutine(worker.join(line))
    assert line.said == [(commands.Join,), *said, (commands.Ask,)]
    asking.addErrback(lambda _: None).cancel()


def test_worker_that_stops_says_nothing_else(worker: Any) -> None:
    """It leaves, whatever the hour."""
    worker.expect(Outlook(0.0, "in use by its owner"))
    stopping = Deferred.fromCoroutine(worker.stop())
    worker.expect(HERE)
    said = [each[-1] for each in worker.link.said]
    assert list(dict.fromkeys(said)) == ["in use by its owner", "leaving"]
    worker.hurry()
    assert stopping.called
