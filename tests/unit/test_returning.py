"""Several workers come back at once: what each has begun is not given to another meanwhile."""

from collections.abc import Iterator

import pytest
from attrs import evolve
from books import Books

from hagoop import policy
from hagoop.jobs import AssignmentId, Held, Phase, RequestId
from hagoop.leases import Lease, TakeBack
from hagoop.ranges import Range

R1 = RequestId("r1")
SAID = Held(AssignmentId("0-1"), R1, Phase.MAP, 0, 50, 90, 60)


@pytest.fixture
def books() -> Iterator[Books]:
    """A request of a hundred lines; checked after the test."""
    made = Books()
    made.submit(lines=100)
    yield made
    made.ledger.check()


def come_back(
    books: Books, said: Held = SAID, *, proven: bool = True
) -> tuple[list[TakeBack], Lease | None]:
    """A worker says what it holds: what others are asked for, and what it has again."""
    session = books.join("slow")
    books.ledger.fleet.records[books.ledger.fleet.sessions[session].worker].committed = int(proven)
    asked = books.ledger.room_made(session, said, books.now)
    return asked, books.ledger.held_again(session, said, books.now)


def taken_over(books: Books, end: int = 100, job_end: int = 10) -> Lease:
    """A faster one was here before and has got all from the first line on."""
    lease = books.hold(books.join("fast"), 0, end)
    books.beat(lease, job_end)
    return lease


def test_what_another_has_got_and_not_begun_goes_back(books: Books) -> None:
    """It is asked to end before it, and keeps what lies before."""
    fast = taken_over(books)
    asked, slow = come_back(books)
    assert asked == [TakeBack(fast.session.id, fast.id, 50)]
    assert slow is not None
    assert (fast.stretch.open, slow.stretch.open) == (Range(0, 50), Range(50, 90))
    assert Range(90, 100) in slow.progress.untouched
    books.ledger.end_taken_back(fast.id, 50)
    books.commit(fast, end=50)
    books.commit(slow, end=90)


def test_what_is_done_beyond_all_the_same_does_not_count(books: Books) -> None:
    """The question came too late."""
    fast = taken_over(books)
    _, slow = come_back(books)
    books.ledger.end_taken_back(fast.id, 70)
    assert slow is not None
    assert fast.stretch.open == Range(0, 50)
    books.commit(slow, end=60)


@pytest.mark.parametrize(
    ("job_end", "said", "proven"),
    [
        (60, SAID, True),
        (10, SAID, False),
        (10, evolve(SAID, front=100, end=120), True),
        (10, evolve(SAID, round=1), True),
        (10, evolve(SAID, front=20, end=10), True),
    ],
    ids=["begun", "unknown worker", "no such lines", "no such phase", "no range"],
)
def test_nothing_is_taken_from_another(books: Books, job_end: int, said: Held, proven: bool) -> None:
    """That has begun it, or for one who may say what it likes."""
    fast = taken_over(books, job_end=job_end)
    assert come_back(books, said, proven=proven) == ([], None)
    assert fast.stretch.open == Range(0, 100)


def test_nothing_is_taken_if_the_rest_is_anothers(books: Books) -> None:
    """It would not be whole anyway."""
    fast = taken_over(books, end=70)
    books.hold(books.join("third"), 70, 100)
    assert come_back(books) == ([], None)
    assert fast.stretch.open == Range(0, 70)


def test_server_that_begins_waits_for_who_comes_back(books: Books) -> None:
    """Nobody gets what another may hold; who has come back goes on at once."""
    books.ledger.returns_awaited(books.now)
    fast = books.join("fast")
    books.ledger.worker_asked(fast, books.now)
    assert books.ledger.serve(books.now) == []
    _, slow = come_back(books, evolve(SAID, front=0, job_end=9))
    assert slow is not None
    books.now += policy.RETURN_SECONDS
    [lease] = books.ledger.serve(books.now)
    assert lease.stretch.front == 90


def test_server_without_requests_waits_for_nobody() -> None:
    """There is nothing that anybody could hold."""
    books = Books()
    books.ledger.returns_awaited(books.now)
    session = books.join()
    books.submit(lines=10)
    books.ledger.worker_asked(session, books.now)
    assert len(books.ledger.serve(books.now)) == 1


# Lines that are not counted yet


@pytest.fixture
def counting() -> Iterator[Books]:
    """A server that has begun again, and has counted forty lines so far."""
    made = Books()
    made.submit(lines=0)
    made.ledger.phase_began(R1, Phase.MAP, 0, None)
    made.ledger.lines_counted(R1, 40, 100, (0,), whole=False)
    made.ledger.returns_awaited(made.now)
    yield made
    made.ledger.check()


def test_lines_that_are_not_counted_yet_are_waited_for(counting: Books) -> None:
    """Who holds them would lose them else; nobody gets anything meanwhile."""
    ledger, fast = counting.ledger, counting.join("fast")
    ledger.worker_asked(fast, counting.now)
    for _ in range(3):
        assert ledger.awaits_count([SAID], counting.now)
        counting.now += policy.RETURN_SECONDS / 2
        assert ledger.serve(counting.now) == []
    ledger.lines_counted(R1, 100, 100, (0,), whole=True)
    assert not ledger.awaits_count([SAID], counting.now)
    _, slow = come_back(counting)
    assert slow is not None
    assert slow.stretch.open == Range(50, 90)
    counting.now += policy.RETURN_SECONDS
    [lease] = ledger.serve(counting.now)
    assert not lease.stretch.open.meets(slow.stretch.open)


@pytest.mark.parametrize(
    "said",
    [
        evolve(SAID, front=10, end=40),
        evolve(SAID, round=1),
        evolve(SAID, request=RequestId("r9")),
    ],
    ids=["counted", "no such phase", "no such request"],
)
def test_nothing_else_is_waited_for(counting: Books, said: Held) -> None:
    """It can be judged now."""
    assert not counting.ledger.awaits_count([said], counting.now)


def test_waiting_has_an_end(counting: Books) -> None:
    """There may be no such lines, or very many before them."""
    counting.now += policy.COUNT_SECONDS
    assert not counting.ledger.awaits_count([SAID], counting.now)


def test_lines_that_there_are_not_are_not_waited_for(counting: Books) -> None:
    """Once all are counted."""
    counting.ledger.lines_counted(R1, 45, 45, (0,), whole=True)
    assert not counting.ledger.awaits_count([SAID], counting.now)
