"""Jobs that cannot be cut: leases, takings back and commits end where files end."""

from collections.abc import Iterator

import pytest
from books import Books, finished

from hagoop.jobs import SessionId
from hagoop.leases import Lease, TakeBack
from hagoop.ranges import Range


@pytest.fixture
def books() -> Iterator[Books]:
    """Checked after the test."""
    made = Books()
    yield made
    made.ledger.check()


def hold(books: Books, session: SessionId, start: int, end: int) -> Lease:
    """A lease whose first job has not been announced."""
    lease = books.hold(session, start, end)
    lease.job_end = 0
    return lease


def test_part_of_a_file_is_not_committed(books: Books) -> None:
    """Neither by who holds it, nor late."""
    books.submit_files(10, 10)
    session = books.join()
    lease = hold(books, session, 0, 20)
    for start, end in ((0, 5), (0, 15)):
        assert books.rejected(session, finished(lease, start, end))
    books.commit(lease, 10)
    books.end(session)
    late = books.join("w2")
    for start, end in ((10, 15), (15, 20)):
        assert books.rejected(late, finished(lease, start, end))
    progress, _ = books.ledger.job_committed(late, finished(lease, 10, 20), books.now)
    assert progress is books.progress()


def test_who_comes_back_with_a_part_of_a_file_does_not_keep_it(books: Books) -> None:
    """It would end in the middle of a whole job."""
    books.submit_files(10, 10)
    session = books.join()
    with pytest.raises(AssertionError):
        books.hold(session, 0, 15)
    assert books.hold(session, 10, 20)


def test_deadline_asks_back_all_files_behind_the_one_in_hand(books: Books) -> None:
    """Its end is rounded up to where that file ends."""
    books.submit_files(10, 10, 10)
    session = books.join()
    lease = hold(books, session, 0, 30)
    assert lease.job_weight == 10
    assert books.review_after(100.0) == [TakeBack(session, lease.id, 10)]
    books.ledger.end_taken_back(lease.id, 10)
    assert list(books.progress().untouched) == [Range(10, 30)]


def test_one_file_is_never_asked_back(books: Books) -> None:
    """There is nothing behind the job in hand."""
    books.submit_files(10)
    hold(books, books.join(), 0, 10)
    assert books.review_after(100.0) == []


def test_stop_within_a_file_leaves_that_file(books: Books) -> None:
    """Whoever says so will not do it."""
    books.submit_files(10, 10, 10)
    lease = hold(books, books.join(), 0, 30)
    books.ledger.end_taken_back(lease.id, 25)
    assert lease.stretch.open == Range(0, 20)
    books.ledger.end_taken_back(lease.id, 1)
    assert not books.ledger.leases


def test_mute_holder_keeps_the_file_in_hand(books: Books) -> None:
    """What lies behind it goes to the idle."""
    books.submit_files(10, 10, 10)
    session = books.join("w1")
    lease = hold(books, session, 0, 30)
    books.join("w2")
    books.mute.add(session)
    books.review_after(10.0)
    assert lease.stretch.open == Range(0, 10)


def test_tail_is_taken_back_by_whole_files(books: Books) -> None:
    """Half of what is left, rounded up to a file's end."""
    books.submit_files(1000, 1000, 1000, 1000, 1000)
    lease = hold(books, books.join("w1"), 0, 5000)
    books.join("w2")
    [asked] = books.review_after(0.5)
    assert isinstance(asked, TakeBack)
    assert asked.end in (3000, 4000)
    assert lease.asked_back
