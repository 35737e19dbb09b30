"""What programs have printed is not done: it is sorted first, and the tail knows how long that takes."""

import pytest
from attrs import evolve
from books import Books

from hagoop import policy
from hagoop.jobs import AssignmentId, Phase, SessionId, WorkerId
from hagoop.leases import Lease, TakeBack
from hagoop.splitting import Helper, Running, plan_tail

EACH = 0.01
"""Seconds that a line takes here, and once more when what came of it is sorted."""


@pytest.fixture
def books() -> Books:
    return Books()


def held(books: Books, end: int = 200, sorting: float = 1.0) -> Lease:
    """A lease of which a hundred lines, the first job, are done."""
    lease = books.hold(books.join("w1"), 0, end)
    books.beat(lease, job_end=100, taken=1)
    books.commit(lease, end=100, seconds=1.0, sorting=sorting)
    return lease


def taken_back(books: Books) -> TakeBack:
    [asked] = [each for each in books.review_after(0.01) if isinstance(each, TakeBack)]
    return asked


@pytest.mark.parametrize(("job_end", "moved"), [(900, 400), (200, 400)])
def test_both_sort_at_their_ends(books: Books, job_end: int, moved: int) -> None:
    """All of a last job, which is cut, or of one each, while the others' lines are sorted in time."""
    books.submit(lines=900)
    lease = held(books, 900)
    books.beat(lease, job_end=job_end, taken=2, done=100)
    books.join("idle")
    assert 900 - taken_back(books).end == pytest.approx(moved, abs=5)


def test_helper_takes_more_of_what_was_taken_and_is_to_be_sorted(books: Books) -> None:
    """Six hundred of eight hundred lines are taken: the holder sorts those, its helper only its own."""
    books.submit(lines=900)
    lease = held(books, 900)
    books.beat(lease, job_end=900, taken=2, done=700)
    books.join("idle")
    # 10 s are left, 20 ms a line are shared; but only two hundred lines can move.
    assert 900 - taken_back(books).end == pytest.approx(200, abs=5)


@pytest.mark.parametrize(("taken", "moved"), [(200, 150), (150, 175)])
def test_what_waits_behind_a_delivery_is_expected_to_wait(books: Books, taken: int, moved: int) -> None:
    """All of its first is taken, and a second long it is sorted; or half of it is to be done before.

    Half of that and of its own two seconds moves.
    """
    books.submit(lines=400)
    delivered = held(books)
    books.beat(delivered, job_end=200, taken=2, done=taken)
    waiting = books.ask(delivered.session.id)
    books.join("idle")
    books.beat(waiting, job_end=waiting.begin)
    asked = taken_back(books)
    assert asked.assignment == waiting.id
    assert 400 - asked.end == pytest.approx(moved, abs=5)


def idle(books: Books, done: int) -> list[SessionId]:
    """Who could help, while a worker with one slot has done so much of its two hundred lines."""
    books.submit(lines=400)
    lease = held(books)
    books.beat(lease, job_end=200, taken=2, done=done)
    books.ledger.waiting[lease.session.id] = 1
    return [each.id for each in books.ledger.leasing.idle]


def test_who_only_sorts_can_help(books: Books) -> None:
    """Its slot has nothing to run; as long as one line is not taken, it has."""
    assert idle(books, 200) == [SessionId(1)]
    assert idle(Books(), 199) == []


def test_who_only_sorts_begins_later(books: Books) -> None:
    """It takes less of what another holds than one would who has nothing to do."""
    shares = []
    for is_sorting in (True, False):
        made = Books()
        made.submit(lines=2200)
        lease = held(made)
        made.beat(lease, job_end=200, taken=2, done=200)
        if not is_sorting:
            made.commit(lease, seconds=1.0, sorting=1.0)
        made.hold(made.join("w2"), 200, 2200)
        made.ledger.waiting[lease.session.id] = 1
        [asked] = [each for each in made.ledger.help(made.now) if isinstance(each, TakeBack)]
        shares.append(2200 - asked.end)
    assert 0 < shares[1] - shares[0] < 200


def copier(helper: Helper, left: float = 100.0, sorting_each: float = 0.0) -> Helper | None:
    """Who is to copy a hundred lines of which nothing can be taken."""
    held = Running(AssignmentId("1-1"), 100.0, 0.0, 100.0, left, sorting_each=sorting_each)
    return next((each.copier for each in plan_tail([held], [helper])), None)


def test_who_only_sorts_makes_no_copy() -> None:
    """A copy is for one who begins it at once."""
    helper = Helper(SessionId(1), WorkerId("w1"), 100.0, 0.0)
    assert copier(helper) == helper
    assert copier(evolve(helper, may_copy=False)) is None


def test_who_only_sorts_is_known_for_it() -> None:
    """The line of one that is silent is copied by who is free, and not by who still sorts."""
    copied = []
    for is_sorting in (False, True):
        made = Books()
        made.submit(lines=201)
        lease = held(made)
        silent = made.hold(made.join("silent"), 200, 201)
        made.now += 20.0
        made.beat(lease, job_end=200, taken=2, done=200)
        if not is_sorting:
            made.commit(lease, seconds=1.0, sorting=1.0)
        made.ledger.waiting[lease.session.id] = 1
        made.ledger.help(made.now)
        copied.append(made.wants_copy(silent))
    assert copied == [True, False]


def test_copy_is_to_be_sorted_too() -> None:
    """A second for its lines, and one more: its holder is done with them in one and a half."""
    helper = Helper(SessionId(1), WorkerId("w1"), 100.0, 0.0, sorting_each=EACH)
    assert copier(helper, 1.5) == helper
    assert copier(helper, 1.5, EACH) is None
    assert copier(helper, 2.5, EACH) == helper


def test_jobs_are_sorted_one_by_one(books: Books) -> None:
    """What was printed before the job in hand comes first: nine seconds, of which five are left then.

    Five for the rest of the program, four for what is not sorted by then, ten for its own.
    """
    books.submit(lines=2000)
    lease = held(books, 2000)
    books.beat(lease, job_end=1000, taken=2, done=1000)
    books.beat(lease, job_end=2000, taken=3, done=1500)
    books.join("idle")
    assert 2000 - taken_back(books).end == pytest.approx(475, abs=5)


def test_job_in_hand_begins_where_the_last_one_ended(books: Books) -> None:
    """And not again when it is cut."""
    books.submit(lines=2000)
    lease = held(books, 2000)
    books.beat(lease, job_end=1000, taken=2, done=1000)
    books.now += 1.0
    books.beat(lease, job_end=1100, taken=3, done=1100)
    assert (lease.job_begin, lease.printed_weight) == (1000, 900)
    seen = books.now
    books.now += 1.0
    books.beat(lease, job_end=1050, taken=4, done=1050)
    assert (lease.job_begin, lease.job_since) == (1000, seen)


def test_newcomer_is_expected_to_sort_as_others_do(books: Books) -> None:
    """Until it has shown how fast it is."""
    books.submit(lines=400)
    lease = held(books)
    new = books.ledger.fleet.sessions[books.join("new")]
    fleet = books.ledger.fleet
    assert fleet.sorting_each(lease.session, lease.request, Phase.MAP) == EACH
    assert fleet.sorting_each(new, lease.request, Phase.MAP) == EACH


def test_end_is_when_all_is_sorted() -> None:
    """Sorting comes after the program; what should be sorted by now is overdue."""
    seen = policy.Sight(100, 60, 10.0, 10.0, 0.1, 0.1, sorting_seconds=4.0)
    assert policy.predict_seconds_left(seen, 1) == pytest.approx(5.9 + 4.0)
    printed = policy.Sight(100, 0, 10.0, 10.0, 0.1, 1.0, sorting_seconds=4.0)
    assert policy.predict_seconds_left(printed, 1) == pytest.approx(3.0)
    late = policy.Sight(100, 0, 10.0, 10.0, 0.1, 30.0, sorting_seconds=4.0)
    assert policy.predict_seconds_left(late, 1) == pytest.approx(30.0 - 4.0 - 0.5)


def test_speed_is_of_work_that_is_sorted() -> None:
    """A hundred lines take one second, and one more."""
    assert policy.speed_with_sorting(100.0, 0.0) == 100.0
    assert policy.speed_with_sorting(100.0, EACH) == 50.0
