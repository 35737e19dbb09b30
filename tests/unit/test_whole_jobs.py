"""Jobs that cannot be cut: leases, takings back and commits end where files end."""

from collections.abc import Iterator
from random import Random

import pytest
from attrs import define
from books import Books, finished

from hagoop import policy
from hagoop.jobs import SessionId, WorkerId
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
    """A part of what is left, up to the end of a file."""
    books.submit_files(1000, 1000, 1000, 1000, 1000)
    lease = hold(books, books.join("w1"), 0, 5000)
    books.join("w2")
    [asked] = books.review_after(0.5)
    assert isinstance(asked, TakeBack)
    assert asked.end in (2000, 3000, 4000)
    assert lease.asked_back


# The whole-job rule


def test_whole_files_are_leased_by_the_rule_for_whole_jobs(books: Books) -> None:
    """A newcomer gets less than two seconds of guessed speed, and never less than a file."""
    books.submit_files(*[45] * 1000)
    assert books.ask(books.join("w1")).open_weight == 135
    large = Books()
    large.submit_files(5000, 5000)
    assert large.ask(large.join()).open_weight == 5000


def test_whole_job_of_one_that_will_likely_be_lost_is_copied(books: Books) -> None:
    """All of it would be lost; of a steady worker, or where jobs are cut, nothing is copied."""
    for failures, copied in ((0.0, False), (50.0, True)):
        made = Books()
        made.submit_files(2000)
        session = made.join("w1")
        made.ledger.fleet.records[WorkerId("w1")].failures = failures
        lease = hold(made, session, 0, 2000)
        lease.taken = 0
        made.join("w2")
        made.review_after(0.25)
        assert made.wants_copy(lease) is copied
    lines = Books()
    lines.submit(lines=2000)
    session = lines.join("w1")
    lines.ledger.fleet.records[WorkerId("w1")].failures = 50.0
    lease = lines.hold(session, 0, 1)
    assert not lines.review_after(0.25)
    assert not lines.wants_copy(lease)


@define
class Mortal:
    """A worker that is lost again and again, and comes back a second later."""

    name: str
    dice: Random
    mean_life: float
    session: SessionId | None = None
    until: float = 0.0
    lease: Lease | None = None
    began: float = 0.0

    def live(self, books: Books, job_seconds: float) -> bool:
        """A quarter of a second of its life; whether it has finished the job."""
        if books.now >= self.until and self.session is not None:
            books.end(self.session)
            self.session, self.lease, self.until = None, None, books.now + 1.0
        elif books.now >= self.until:
            self.session = books.join(self.name)
            self.until = books.now + self.dice.expovariate(1 / self.mean_life)
        if self.session is None:
            return False
        if self.lease is None or self.lease.id not in books.ledger.leases:
            self.lease, self.began = books.ledger.lease_next(self.session, books.now), books.now
        if self.lease is None:
            return False
        books.beat(self.lease, self.lease.stretch.end, int(4 * books.now))
        return books.now - self.began >= job_seconds


def seconds_to_finish(seed: int) -> float:
    """How long a job of ten seconds takes four workers that live eight, after a minute without work."""
    books, dice = Books(), Random(seed)
    workers = [Mortal(f"w{number}", dice, 8.0) for number in range(4)]
    while books.now < 1060.0:
        for each in workers:
            each.live(books, 10.0)
        books.review_after(0.25)
    books.submit_files(1000)
    began = books.now
    while not max([each.live(books, 10.0) for each in workers]):
        books.review_after(0.25)
    return books.now - began


def test_copies_of_a_long_whole_job_end_sooner_where_lives_are_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In virtual time, over forty histories, with the rule and without."""
    with_rule = sum(seconds_to_finish(seed) for seed in range(40))
    monkeypatch.setattr(policy, "LIKELY", 0.0)
    without = sum(seconds_to_finish(seed) for seed in range(40))
    assert with_rule < 0.9 * without
