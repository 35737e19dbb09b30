"""How long the way to a worker is: measured there, believed within bounds, allowed for everywhere."""

from collections.abc import Iterator
from math import inf, nan
from typing import Any

import pytest
from attrs import define, field
from books import Books
from test_resting import CONFIG
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from hagoop import policy
from hagoop.jobs import SessionId
from hagoop.leases import Close, TakeBack
from hagoop.way import MOST_SECONDS, Way, believed
from hagoop.worker import Worker

LONG = 4.0


@pytest.fixture
def books() -> Iterator[Books]:
    """Checked after the test."""
    made = Books()
    yield made
    made.ledger.check()


def far(books: Books, worker: str = "w1", way: float = LONG) -> SessionId:
    """One who joins from afar."""
    session = books.join(worker)
    books.ledger.fleet.sessions[session].way = way
    return session


# Measuring


@pytest.mark.parametrize(
    ("said", "way"),
    [(None, 0.0), (0.5, 0.5), (-1.0, 0.0), (nan, 0.0), (1e9, MOST_SECONDS), (inf, MOST_SECONDS)],
)
def test_what_is_believed_has_bounds(said: float | None, way: float) -> None:
    """Whoever says more gains some seconds at most."""
    assert believed(said) == way


def test_first_answer_replaces_what_joining_took() -> None:
    """That may have waited for a server that began."""
    way = Way()
    way.joined(5.0)
    assert way.seconds == 5.0
    way.answered(1.0)
    assert way.seconds == 1.0
    way.joined(5.0)
    assert way.seconds == 1.0


def test_one_late_answer_says_little() -> None:
    """It may have been a pause; a way that has become longer is known after some."""
    way = Way()
    way.answered(0.1)
    way.answered(600.0)
    assert way.seconds < 0.3 * MOST_SECONDS
    for _ in range(20):
        way.answered(4.0)
    assert way.seconds == pytest.approx(4.0, rel=0.05)


@define(eq=False)
class Server:
    """The end of a connection; it answers when it is told to."""

    said: list[dict[str, Any]] = field(factory=list)
    answers: "list[Deferred[dict[str, Any]]]" = field(factory=list)

    async def call(self, command: object, **arguments: Any) -> dict[str, Any]:
        """Wait."""
        self.said.append(arguments)
        self.answers.append(Deferred())
        return await self.answers[-1]


def test_worker_says_how_long_its_beats_are_answered_after() -> None:
    """With the next one, and when it asks."""
    worker: Any = Worker(MemoryReactorClock(), CONFIG, None)
    server = worker.link = Server()
    worker.beating.keep(policy.IDLE_BEAT_SECONDS)
    worker.reactor.advance(policy.IDLE_BEAT_SECONDS)
    worker.reactor.advance(1.5)
    server.answers[0].callback({})
    worker.reactor.advance(policy.IDLE_BEAT_SECONDS)
    asking = Deferred.fromCoroutine(worker._ask(0))
    assert [each["way"] for each in server.said] == [0.0, 1.5, 1.5]
    asking.addErrback(lambda _: None).cancel()


# Allowing for it


def test_nobody_is_late_before_his_lines_have_come(books: Books) -> None:
    """What is given takes half a round trip, its bytes some more; then he is late as others are."""
    books.submit(lines=10)
    lease = books.ask(far(books))
    allowed = policy.late_seconds(LONG)
    books.review_after(allowed)
    assert not lease.misses
    books.review_after(policy.MIN_DEADLINE_SECONDS + 1.0)
    assert lease.misses == 1


def test_session_from_afar_is_not_closed_for_its_way(books: Books) -> None:
    """Neither taken back nor copied nor closed, though somebody waits."""
    books.submit(lines=10)
    lease = books.ask(far(books))
    far(books, "w2")
    decisions = [made for _ in range(int(policy.late_seconds(LONG))) for made in books.review_after(1.0)]
    assert not [each for each in decisions if isinstance(each, Close | TakeBack)]
    assert not books.wants_copy(lease)


def test_who_cannot_be_heard_yet_is_not_silent(books: Books) -> None:
    """His first word about a lease comes a round trip after it was given."""
    books.submit(lines=1)
    lease = books.ask(far(books))
    books.now += LONG + 0.5
    assert lease.silent_seconds(books.now) == pytest.approx(0.5)
    books.now += 10
    assert policy.is_silent(lease.silent_seconds(books.now), 1)


def test_idle_beats_are_awaited_for_so_much_longer(books: Books) -> None:
    """Before one is taken for gone."""
    fleet, now = books.ledger.fleet, books.now + policy.quiet_seconds(2) + 1.0
    near, away = (fleet.sessions[each] for each in (books.join("near"), far(books, "far")))
    assert (fleet.is_quiet(near, now), fleet.is_quiet(away, now)) == (True, False)


def test_first_lease_and_job_pay_for_the_way(books: Books) -> None:
    """Four times what a delivery costs at least, as after it was measured."""
    books.submit(lines=10**6)
    near, away = books.ask(books.join("near")), books.ask(far(books, "far", 1.5 * LONG))
    assert away.open_weight == 6 * LONG * policy.GUESSED_SPEED[away.progress.phase]
    assert near.open_weight < away.open_weight
    assert away.commit_seconds >= 4 * LONG > near.commit_seconds


def test_help_from_afar_must_be_worth_its_way(books: Books) -> None:
    """Who is near is sent for less."""
    starts = []
    for session in (books.join("near"), far(books, "far")):
        way = books.ledger.fleet.sessions[session].way
        starts.append(policy.help_seconds(0.1, way))
    assert starts == [pytest.approx(0.1), pytest.approx(0.1 + 3 * LONG)]


def test_answer_from_afar_is_waited_for() -> None:
    """Before it is copied what its holder may be giving back."""
    assert policy.answer_seconds(LONG) == policy.ANSWER_SECONDS + LONG
