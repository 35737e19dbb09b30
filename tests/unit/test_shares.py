"""Each request its share of the workers, as soon as a job ends."""

import pytest
from books import MUCH, Books

from hagoop.leases import TakeBack


@pytest.fixture
def books():
    """A ledger with four workers, all at work for one large request; it is sound at the end."""
    made = Books()
    made.submit("large", lines=MUCH)
    for number in range(4):
        made.hold(made.join(f"w{number}"), 1000 * number, 1000 * number + 1000, "large")
    yield made
    made.ledger.check()


def asked_back(books: Books) -> list[TakeBack]:
    """What is asked back now."""
    return [each for each in books.review_after(0.01) if isinstance(each, TakeBack)]


def test_one_request_keeps_all_workers(books):
    """There is nobody to share with."""
    assert asked_back(books) == []


def test_small_request_gets_its_share_of_busy_workers(books):
    """Half of them, each asked once, to stop behind the job in hand."""
    books.submit("small", lines=MUCH)
    first = asked_back(books)
    second = asked_back(books)
    assert len(first) == len(second) == 1
    assert asked_back(books) == []
    leases = [books.ledger.leases[each.assignment] for each in (*first, *second)]
    assert len({each.session.id for each in leases}) == 2
    assert [each.end for each in (*first, *second)] == [each.job_end for each in leases]


def test_worker_that_gave_back_serves_the_other_request(books):
    """And then nobody else is asked for it."""
    books.submit("small", lines=1)
    [asked] = asked_back(books)
    lease = books.ledger.leases[asked.assignment]
    books.ledger.end_taken_back(lease.id, asked.end)
    books.commit(lease)
    assert books.ask(lease.session.id).request.id == "small"
    assert asked_back(books) == []


def test_request_that_has_its_share_asks_for_no_more(books):
    """Two of four workers for each of two requests."""
    books.submit("small", lines=MUCH)
    for each in list(books.ledger.leases.values())[:2]:
        books.commit(each)
        books.ask(each.session.id)
    assert asked_back(books) == []


def test_free_worker_takes_it_without_asking(books):
    """Unless it lacks the program."""
    small = books.submit("small", lines=MUCH)
    idle = books.join("idle")
    assert asked_back(books) == []
    small.unfit["idle"] = "map is not on this machine"
    assert len(asked_back(books)) == 1
    books.end(idle)


def test_more_requests_than_workers_wait_for_each_other(books):
    """Nobody has more than one; the others wait."""
    for each in list(books.ledger.leases.values())[1:]:
        books.commit(each)
        books.end(each.session.id)
    books.submit("small", lines=MUCH)
    books.submit("smaller", lines=MUCH)
    assert asked_back(books) == []


def test_nothing_behind_the_job_is_nothing_to_ask_back(books):
    """It ends by itself."""
    books.submit("small", lines=MUCH)
    for each in books.ledger.leases.values():
        books.beat(each, each.stretch.end)
    assert asked_back(books) == []
