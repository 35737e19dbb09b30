"""Hard lines: how fast they are done says little of who does them, and much of what is left of them."""

import pytest
from books import MUCH, Books

from hagoop import policy
from hagoop.jobs import AssignmentId, SessionId, WorkerId
from hagoop.leases import Lease, TakeBack
from hagoop.splitting import Helper, Running, plan_tail


@pytest.fixture
def books() -> Books:
    return Books()


def test_lines_that_are_hard_for_one_are_so_for_a_helper() -> None:
    """A hundred times as fast on others: it gets half of these all the same."""
    held = Running(AssignmentId("1-1"), 1000.0, 999.0, 10.0, 100.0, ease=0.01)
    [plan] = plan_tail([held], [Helper(SessionId(1), WorkerId("w1"), 1000.0, 0.0, proven=True)])
    assert [weight for _, weight in plan.shares] == [500]


def test_speed_of_now_is_that_of_a_second(books: Books) -> None:
    """Beats of a large fleet are rare: four of them are of lines that are long done."""
    books.submit(lines=MUCH)
    lease = books.hold(books.join(), 0, MUCH)
    for done in (5000, 10_000, 10_010, 10_020):
        books.now += 0.5
        books.beat(lease, lease.stretch.end, done=done)
    assert lease.seen_rate == pytest.approx(20.0)


def test_first_second_shows_no_ease(books: Books) -> None:
    """Programs start in it, again and again: a tenth of the speed means nothing yet."""
    books.submit(lines=MUCH)
    lease = books.hold(books.join(), 0, MUCH)
    for beats in range(1, 5):
        books.now += 0.25
        books.beat(lease, MUCH, done=beats)
        books.ledger.fleet.see_ease(lease)
        assert (lease.stretch.ease is None) == (beats < 4)


def test_lease_that_stands_shows_nothing(books: Books) -> None:
    """It may be starting its program."""
    books.submit(lines=MUCH)
    lease = books.ask(books.join())
    for _ in range(2):
        books.now += 0.5
        books.beat(lease, lease.stretch.end, done=0)
    assert lease.seen_rate is None


def shared(books: Books, rate: float) -> tuple[Lease, Lease]:
    """A lease whose lines are done at a rate (1,000 a second are usual), and what its helper got."""
    books.submit(lines=MUCH)
    one, two = books.join("w1"), books.join("w2")
    for session, start in ((one, 0), (two, 10_000)):
        lease = books.hold(session, start, start + 10_000)
        for end, seconds in ((1, 0.011), (100, 0.11), (10_000, 9.91)):
            books.commit(lease, start + end, seconds)
    lease = books.hold(one, 20_000, MUCH)
    for beat in range(1, 5):
        books.now += 0.5
        books.beat(lease, 30_000, done=round(beat * rate / 2))
    books.ledger.waiting[two] = 1
    [asked] = [each for each in books.ledger.help(books.now) if isinstance(each, TakeBack)]
    books.ledger.end_taken_back(lease.id, asked.end)
    return lease, books.ask(two)


def test_what_is_cut_off_hard_lines_is_known_to_be_hard(books: Books) -> None:
    """Its first jobs are short, but not so short that they cost more than they are worth."""
    lease, given = shared(books, 10.0)
    assert lease.stretch.ease == given.stretch.ease == pytest.approx(0.01, rel=0.2)
    usual = shared(Books(), 1000.0)[1]
    assert usual.stretch.ease == pytest.approx(1.0, rel=0.2)
    assert given.commit_seconds < usual.commit_seconds / 2
    fleet, now = books.ledger.fleet, books.now
    asking = fleet.asking(given.session, given.request, given.progress.phase, now)
    supply = fleet.supply(given.request, given.progress, now)
    assert given.commit_seconds == policy.least_commit_seconds(asking, supply)
