"""Pieces grow with what a worker has earned, between two bounds in seconds."""

import pytest
from books import Books

from hagoop.leases import Lease
from hagoop.policy import FIRST_LEASE_SECONDS, GUESSED_LEASE_SECONDS, LEASE_SECONDS

SPEED = 100.0


@pytest.fixture
def books():
    """A ledger with more lines than anybody can do; it is sound at the end."""
    made = Books()
    made.submit(lines=10**9)
    yield made
    made.ledger.check()


def seconds_of(lease: Lease) -> float:
    """How long a lease keeps a worker of this speed busy."""
    return len(lease.stretch.open) / SPEED


def work(books: Books, session: int, seconds: float) -> list[float]:
    """Work for a while; the pieces, in seconds."""
    pieces = []
    until = books.now + seconds
    while books.now < until:
        lease = books.ask(session)
        pieces.append(seconds_of(lease))
        books.now += pieces[-1]
        books.commit(lease, seconds=pieces[-1])
    return pieces


def test_pieces_grow_from_the_lower_bound_to_the_upper(books):
    """A newcomer's first is small; a proven worker gets up to a minute, and never more."""
    pieces = work(books, books.join("proven"), 1000)
    assert pieces[0] <= GUESSED_LEASE_SECONDS
    assert pieces == sorted(pieces)
    assert LEASE_SECONDS - 1 < pieces[-1] <= LEASE_SECONDS


def test_newcomer_gets_less_than_a_proven_worker(books):
    """At the same moment, of the same request."""
    proven = books.join("proven")
    work(books, proven, 1000)
    newcomer = books.join("newcomer")
    assert seconds_of(books.ask(newcomer)) <= FIRST_LEASE_SECONDS
    assert seconds_of(books.ask(proven)) > LEASE_SECONDS - 1


def test_who_comes_back_begins_small_and_is_soon_where_it_was(books):
    """Its speed is known, and its session is young."""
    worker = books.join("worker")
    work(books, worker, 1000)
    books.end(worker)
    again = books.join("worker")
    pieces = work(books, again, 10)
    assert pieces[0] == FIRST_LEASE_SECONDS
    assert pieces[1] > LEASE_SECONDS - 1


def test_who_is_lost_often_commits_more_often(books):
    """The commit interval, not the piece, shrinks with each loss."""
    steady, flaky = books.join("steady"), books.join("flaky")
    for _ in range(20):
        books.ask(flaky)
        books.now += 3
        books.end(flaky)
        flaky = books.join("flaky")
    books.now += 3600
    sure, unsure = books.ask(steady), books.ask(flaky)
    assert unsure.commit_seconds < sure.commit_seconds
