"""Workers on which programs fail that others run well: put aside, let back, never all of them."""

import pytest
from books import Books

from hagoop.errors import LinkBroke
from hagoop.jobs import State, WorkerId
from hagoop.standing import ASIDE_SECONDS, DOUBT_SECONDS, FEW, MOST_DOUBLINGS, Standing


@pytest.fixture
def books():
    """A ledger; it is sound at the end."""
    made = Books()
    yield made
    made.ledger.check()


def fail_often(books: Books, bad: int, good: int | None = None) -> None:
    """Fail as often as it takes; another does the same lines."""
    for _ in range(FEW):
        lease = books.ask(bad)
        books.fail(lease)
        if good is not None:
            again = books.ask(good)
            assert again.stretch.front == lease.stretch.front
            books.commit(again)


def test_few_failures_say_nothing():
    """Anybody may meet a bad line."""
    standing = Standing()
    for _ in range(FEW - 1):
        standing.failed(0.0, others_succeed=True)
    assert not standing.is_on_trial
    assert standing.seconds_aside(0.0) == 0


@pytest.mark.parametrize(("succeed", "first"), [(True, ASIDE_SECONDS), (False, DOUBT_SECONDS)])
def test_each_wait_is_twice_the_last_up_to_a_bound(succeed, first):
    """Shorter while nobody has shown that it can be done."""
    standing = Standing()
    waits = []
    for _ in range(FEW + MOST_DOUBLINGS + 2):
        standing.failed(0.0, others_succeed=succeed)
        waits.append(standing.seconds_aside(0.0))
    doubled = [first * 2**n for n in range(MOST_DOUBLINGS + 1)]
    assert waits == [*[0.0] * (FEW - 1), *doubled, doubled[-1], doubled[-1]]
    assert standing.seconds_aside(first) == doubled[-1] - first


def test_one_success_restores():
    """The next failure is the first again."""
    standing = Standing()
    for _ in range(FEW):
        standing.failed(0.0, others_succeed=True)
    standing.delivered()
    assert (standing.is_on_trial, standing.seconds_aside(0.0)) == (False, 0.0)


def test_worker_that_fails_what_others_do_is_put_aside(books):
    """It gets nothing; when its time has come, one small piece, and then as much as before."""
    books.submit(lines=10_000)
    good, bad = books.join("good"), books.join("bad")
    fail_often(books, bad, good)
    assert books.refused(bad)
    books.now += ASIDE_SECONDS
    lease = books.ask(bad)
    assert len(lease.stretch.open) == 1
    assert books.refused(bad)
    books.commit(lease)
    assert len(books.ask(bad).stretch.open) > 1


def get_no_bytes(books: Books, session: int) -> None:
    """As often as says something."""
    for _ in range(FEW):
        books.fail(books.ask(session), LinkBroke.code)


def test_worker_that_gets_no_bytes_is_put_aside_and_told_of(books):
    """It may not reach their port: it fails what others do, though no program of theirs."""
    request = books.submit(lines=10_000)
    good, bad = books.join("good"), books.join("bad")
    books.commit(books.ask(good))
    for _ in range(FEW - 1):
        books.fail(books.ask(bad), LinkBroke.code)
    assert books.ledger.troubles == []
    books.fail(books.ask(bad), LinkBroke.code)
    assert books.refused(bad)
    assert books.ledger.troubles == ["bad: it ended; open that port too"]
    assert request.failures == 0
    books.now += ASIDE_SECONDS
    books.commit(books.ask(bad))
    assert books.ledger.troubles == []


def test_when_nobody_gets_bytes_nothing_fails(books):
    """The server may be away, or out of descriptors: all go on as soon as they can."""
    request = books.submit(lines=10_000)
    for name in ("one", "other"):
        session = books.join(name)
        books.now += DOUBT_SECONDS * 2**MOST_DOUBLINGS
        get_no_bytes(books, session)
    assert request.state is State.RUNNING
    books.now += DOUBT_SECONDS
    books.commit(books.ask(session))


def test_worker_on_trial_gets_no_copy(books):
    """Copies are for those who are trusted to be faster."""
    books.submit(lines=100)
    good, bad = books.join("good"), books.join("bad")
    fail_often(books, bad, good)
    lease = books.hold(good, lease_start(books), 100)
    lease.progress.want_copy(lease.stretch)
    books.now += 1000
    assert books.refused(bad)
    books.ledger.fleet.standing(WorkerId("bad")).delivered()
    assert books.ask(bad).stretch is lease.stretch


def lease_start(books: Books) -> int:
    """Where what nobody holds begins."""
    return books.progress().untouched.first.start


def test_the_last_worker_is_never_put_aside(books):
    """Others that leave do not count."""
    books.submit(lines=10_000)
    good, bad = books.join("good"), books.join("bad")
    fail_often(books, bad, good)
    assert books.refused(bad)
    books.ledger.worker_leaves(good)
    assert not books.refused(bad)


def test_when_all_fail_all_go_on(books):
    """Others that are put aside themselves do not count: then it is the program."""
    books.submit(lines=10_000)
    one, other, good = books.join("one"), books.join("other"), books.join("good")
    fail_often(books, one, good)
    fail_often(books, other, good)
    assert books.refused(one)
    assert books.refused(other)
    books.end(good)
    assert not books.refused(one)
    assert not books.refused(other)


def test_program_that_fails_everywhere_is_tried_again_soon(books):
    """While nobody has done it, a worker waits for a moment only."""
    books.submit(lines=10_000, attempts=100)
    one, other = books.join("one"), books.join("other")
    for _ in range(FEW):
        books.fail(books.ask(one), seconds=5.0)
        books.fail(books.ask(other), seconds=5.0)
    assert not books.refused(one)
    assert books.ledger.fleet.standing(WorkerId("other")).seconds_aside(books.now) == DOUBT_SECONDS
