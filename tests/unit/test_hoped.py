"""A program that comes again is given out by its last speed, and nobody is late by that."""

from collections.abc import Iterator

import pytest
from attrs import evolve
from books import MUCH, Books

from hagoop.experience import UNKNOWN_START_SECONDS
from hagoop.fleet import REMEMBERED_START
from hagoop.jobs import Phase, RequestId, State
from hagoop.leases import TakeBack
from hagoop.policy import FIRST_LEASE_SECONDS, GUESSED_LEASE_SECONDS, GUESSED_SPEED
from hagoop.remembered import MOST_PROGRAMS

SPEED = 10_000
GUESSED = GUESSED_LEASE_SECONDS * GUESSED_SPEED[Phase.MAP]


@pytest.fixture
def books() -> Iterator[Books]:
    """One worker, which has been there for a while; the ledger is sound at the end."""
    made = Books()
    made.join("w1")
    made.now += 100
    yield made
    made.ledger.check()


def run(books: Books, request: str = "r1", attempts: int = 4, speed: float = SPEED) -> int:
    """Run a program, which is another one for each number of attempts; the weight of its first lease."""
    books.submit(request, MUCH, attempts)
    return finish(books, request, speed)


def finish(books: Books, request: str, speed: float = SPEED) -> int:
    """One lease is committed, and the request goes with its answer; the weight of the lease."""
    [session] = books.ledger.fleet.sessions
    lease = books.ask(session)
    weight = lease.open_weight
    books.commit(lease, seconds=weight / speed)
    books.ledger.request_ended(lease.request.id, State.DONE, "")
    books.ledger.request_forgotten(lease.request.id)
    return weight


def test_program_that_comes_again_begins_with_a_large_lease(books: Books) -> None:
    """So many lines as it did in two seconds, when it ran last."""
    assert run(books) == GUESSED
    assert run(books, "r2", speed=2 * SPEED) == pytest.approx(FIRST_LEASE_SECONDS * SPEED, abs=1)
    assert run(books, "r3") == pytest.approx(FIRST_LEASE_SECONDS * 2 * SPEED, abs=1)


def test_shares_are_counted_with_the_speed_that_is_hoped_for(books: Books) -> None:
    """Of all workers: one that nobody knows is expected to be slower than others, as ever."""
    run(books)
    request = books.submit("r2", MUCH)
    books.join("w2")
    supply = books.ledger.fleet.supply(request, books.progress("r2"), books.now)
    assert 1.5 * SPEED < supply.speed < 2 * SPEED


def test_rest_of_a_phase_is_split_unless_the_program_is_known(books: Books) -> None:
    """Fifteen lines may be an hour's work; where it does thousands a second they are a moment's."""
    run(books)
    books.join("w2")
    for request, words, first in (("known", {}, 15), ("new", {"attempts": 5}, 8)):
        books.submit(request, 15, **words)
        lease = books.ask(next(iter(books.ledger.fleet.sessions)))
        assert (lease.request.id, lease.open_weight) == (request, first)


def test_start_of_a_program_that_comes_again_is_known(books: Books) -> None:
    """Told by jobs of one line and of sixteen; nearly all of it is believed until jobs here tell."""
    fleet, [session] = books.ledger.fleet, books.ledger.fleet.sessions.values()
    first = books.submit("r1", MUCH)
    assert fleet.start_seconds(session, first, Phase.MAP) == UNKNOWN_START_SECONDS
    lease = books.ask(session.id)
    for end in (1, 17):
        books.commit(lease, end=end, seconds=0.5 + 0.1 * (end - lease.stretch.front))
    second = books.submit("r2", MUCH)
    assert fleet.start_seconds(session, second, Phase.MAP) == pytest.approx(0.5 * REMEMBERED_START)
    assert fleet.asking(session, second, Phase.MAP, books.now).start_seconds == pytest.approx(0.475)
    books.commit(books.hold(session.id, 0, 10, "r2"), seconds=1.0)
    assert fleet.start_seconds(session, second, Phase.MAP) == pytest.approx(0.475)
    books.commit(books.hold(session.id, 10, 300, "r2"), seconds=29.0)
    assert fleet.start_seconds(session, second, Phase.MAP) < 0.1


def test_another_program_begins_with_a_small_lease(books: Books) -> None:
    """As one that never ran; so does another phase of the same."""
    run(books)
    assert run(books, "r2", attempts=5) == GUESSED
    request = books.submit("r3", MUCH)
    [session] = books.ledger.fleet.sessions.values()
    guessed = GUESSED_SPEED[Phase.REDUCE]
    assert books.ledger.fleet.hoped_speed(session, request, Phase.REDUCE) == guessed


def test_what_is_seen_here_is_believed_sooner(books: Books) -> None:
    """Lines of this request are slow, and those of another one of the same program are not."""
    request = books.submit("slow", MUCH)
    [session] = books.ledger.fleet.sessions
    books.commit(books.ask(session), end=10, seconds=1.0)
    books.submit("fast", MUCH)
    books.commit(books.hold(session, 0, SPEED, "fast"))
    other, fleet = books.ledger.fleet.sessions[books.join("w2")], books.ledger.fleet
    assert fleet.hoped_speed(other, request, Phase.MAP) == fleet.speed(other, request, Phase.MAP) < 10


def test_nobody_is_late_by_what_the_program_did_before(books: Books) -> None:
    """200 lines may take six seconds, thrice what is guessed; as it was last they would take 20 ms."""
    run(books)
    books.submit("r2", MUCH)
    [session] = books.ledger.fleet.sessions
    lease = books.ask(session)
    books.beat(lease, job_end=200)
    assert books.review_after(5.5) == []
    assert books.review_after(1.0) == [TakeBack(session, lease.id, 200)]


def test_programs_that_ran_last_are_known(books: Books) -> None:
    """One that runs again is kept, others make room."""
    for number in [*range(1, MOST_PROGRAMS + 1), 1, MOST_PROGRAMS + 1]:
        run(books, attempts=number)
    assert run(books, attempts=1) > GUESSED
    assert run(books, attempts=2) == GUESSED
    assert run(books, attempts=4) > GUESSED


def test_job_without_weight_says_nothing(books: Books) -> None:
    """What was known before stays: a cell without keys takes no time that means anything."""
    guessed = GUESSED_LEASE_SECONDS * GUESSED_SPEED[Phase.REDUCE]
    reduced, much = [], range(0, 10 * MUCH, 10)
    for number, weights in enumerate((much, (0, 0), much)):
        books.submit(f"r{number}")
        books.ledger.phase_began(RequestId(f"r{number}"), Phase.REDUCE, 0, weights)
        reduced.append(finish(books, f"r{number}"))
    assert reduced == [guessed, 0, FIRST_LEASE_SECONDS * SPEED]


def test_step_is_another_program(books: Books) -> None:
    """What was seen of the one before says nothing of it; what it did in any request does."""
    request = books.submit("r1", MUCH)
    program = request.program
    request.submission = evolve(request.submission, then=(evolve(program, mapper="other"), program))
    [session] = books.ledger.fleet.sessions.values()
    books.commit(books.ask(session.id), seconds=GUESSED / SPEED)
    fleet, speeds = books.ledger.fleet, []
    for step in (1, 2):
        books.ledger.step_began(request.id, step)
        ways = fleet.speed, fleet.hoped_speed
        speeds.append([each(session, request, Phase.MAP) for each in ways])
    guessed = GUESSED_SPEED[Phase.MAP]
    assert speeds == [[guessed, guessed], [guessed, pytest.approx(SPEED)]]
