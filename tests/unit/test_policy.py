"""The choices, each by its rule; bounds are in seconds of the worker that asks."""

from math import inf

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from hagoop import policy
from hagoop.experience import JobSizer, Pace, Prior, Record, StartUp
from hagoop.policy import Asking, Sight, Supply
from hagoop.splitting import Part

PRIOR = Prior(0.5, 60.0)
PLENTY = Supply(left=1e9, speed=100.0, workers=10)


def starting(seconds: float) -> StartUp:
    """A program that is known to start in so many seconds and then to do one unit a second."""
    known = StartUp()
    for weight in (1, 10, 100):
        known.observe(weight, seconds + weight)
    return known


def asking(
    speed: float = 100.0,
    *,
    new: bool = False,
    session: float = 100.0,
    overhead: float = 0.02,
    start: float = 0.05,
    failures: float = 0.0,
) -> Asking:
    pace = Pace(None if new else speed, overhead, starting(start))
    return Asking(Record(failures=failures), pace, speed, session, start_seconds=start)


def test_newcomer_gets_at_most_two_seconds() -> None:
    """Who has proven nothing is given little, however much there is."""
    assert policy.lease_seconds(asking(new=True), PLENTY) == policy.FIRST_LEASE_SECONDS == 2.0
    assert policy.lease_seconds(asking(session=1.9), PLENTY) == 2.0


def test_proven_worker_gets_at_most_a_minute() -> None:
    """Larger, and bounded in seconds: a fast worker gets more lines in the same time."""
    assert policy.lease_seconds(asking(), PLENTY) == policy.LEASE_SECONDS == 60.0
    assert policy.lease_weight(asking(100.0), PLENTY) == 6000
    assert policy.lease_weight(asking(1000.0), PLENTY) == 60_000


def test_leases_shrink_towards_the_end() -> None:
    """Each worker gets its whole share of what is left, whatever its program takes to start."""
    supply = Supply(left=4000.0, speed=100.0, workers=2)
    assert policy.lease_seconds(asking(), supply) == supply.drain_seconds == 40.0
    assert policy.lease_seconds(asking(start=1.0), supply) == 40.0
    assert policy.lease_weight(asking(25.0), supply) == 1000


def test_share_is_of_all_that_is_not_committed() -> None:
    """Who asks late gets as much as who asked first: all are to end together."""
    supply = Supply(left=3000.0, speed=100.0, workers=2, leased=1000.0)
    assert policy.lease_weight(asking(25.0), supply) == 1000


def test_what_is_held_counts_for_the_share() -> None:
    """No slot is busy beyond the others' end, and other slots do what is held for them."""
    supply = Supply(left=3000.0, speed=100.0, workers=2, leased=1000.0)
    assert policy.share_seconds(asking(25.0), supply) == 40.0
    assert policy.share_seconds(evolve(asking(25.0), held=400.0), supply) == 24.0
    assert policy.share_seconds(evolve(asking(25.0), held=1000.0, slots=2), supply) == 40.0
    assert policy.share_seconds(evolve(asking(25.0), held=1600.0, slots=2), supply) == 16.0


def test_lease_is_worth_its_overhead() -> None:
    """Even at the very end a lease is not smaller than what it costs."""
    supply = Supply(left=1.0, speed=1e6, workers=1)
    assert policy.lease_seconds(asking(overhead=0.5, start=1.0), supply) == 2.0
    assert policy.lease_seconds(asking(overhead=0.01, start=1.0), supply) == pytest.approx(0.5)


@pytest.mark.parametrize("failures", [0.0, 3.0, 30.0])
@pytest.mark.parametrize("start", [0.05, 0.5, 1.5, 5.0, 30.0])
def test_slow_start_does_not_keep_jobs_at_one_line(start: float, failures: float) -> None:
    """However soon the worker may be lost: a hundred thousand lines take few starts of the program."""
    sizer, pace, left, jobs = JobSizer(), Pace(), 100_000, 0
    while left:
        asked = Asking(Record(failures=failures), pace, pace.speed or 100.0, 0.0)
        lines = sizer.next_job(left, policy.commit_seconds(asked, PLENTY, PRIOR, 0.0))
        seconds = start + 1e-5 * lines
        sizer.observe(lines, seconds)
        pace.observe(lines, seconds, 0.02)
        left, jobs = left - lines, jobs + 1
        assert jobs < 40, f"{left} lines are left"


def test_slow_lines_are_rarely_done_in_pairs() -> None:
    """Only to see, now and then, whether it is the start that is slow."""
    sizer, pace = JobSizer(), Pace()
    sizes = []
    for _ in range(100):
        asked = Asking(Record(), pace, pace.speed or 100.0, 0.0)
        sizes.append(sizer.next_job(10**6, policy.commit_seconds(asked, PLENTY, PRIOR, 0.0)))
        sizer.observe(sizes[-1], 20.0 * sizes[-1])
        pace.observe(sizes[-1], 20.0 * sizes[-1], 0.02)
    assert set(sizes) == {1, 2}
    assert sizes.count(2) < 20


def test_rest_that_is_not_worth_a_job_comes_along() -> None:
    """Nobody starts a program for the last few lines, unless they may be heavy for all that is known."""
    asked = asking(100.0, start=1.0)
    assert policy.lease_weight(asked, Supply(400.0, 200.0, 2)) == 400
    assert policy.lease_weight(asked, Supply(420.0, 200.0, 2)) == 210
    new = asking(100.0, new=True, start=1.0)
    assert policy.lease_weight(new, Supply(400.0, 200.0, 2)) == 400
    assert policy.lease_weight(evolve(new, is_guess=True), Supply(150.0, 200.0, 2)) == 75


def test_large_fleet_gets_leases_that_the_server_can_hand_out() -> None:
    """Twenty thousand workers ask at most four thousand times a second."""
    supply = Supply(left=1.0, speed=1e6, workers=20_000)
    assert policy.lease_seconds(asking(new=True), supply) == 5.0


def test_lease_has_a_line_at_least() -> None:
    """Lines that take hours are leased one by one."""
    assert policy.lease_weight(asking(1e-5), PLENTY) == 1


def test_fleet_without_speed_never_drains() -> None:
    """When all are stalled the rest is far from done."""
    assert Supply(5.0, 0.0, 3).drain_seconds == inf


def test_job_is_longer_for_who_lasts_longer() -> None:
    """What a loss costs against what a commit costs, from four times its cost to ten seconds."""
    cost = 0.02 + 0.05
    frail = policy.commit_seconds(asking(failures=1e6), PLENTY, PRIOR, 0.0)
    usual = policy.commit_seconds(asking(failures=1.0), PLENTY, PRIOR, 0.0)
    assert frail == pytest.approx(4 * cost)
    assert frail < usual < policy.COMMIT_SECONDS
    lasting = Asking(Record(exposure=1e6), Pace(1.0, 0.02), 1.0, 100.0, start_seconds=0.05)
    assert policy.commit_seconds(lasting, PLENTY, PRIOR, 0.0) == policy.COMMIT_SECONDS == 10.0


def test_job_is_half_of_what_is_left_at_most() -> None:
    """Of what all workers still have to do, leased or not: the next may be shared out again."""
    lasting = evolve(asking(), record=Record(exposure=1e6))
    supply = Supply(left=200.0, speed=100.0, workers=2, leased=600.0)
    assert policy.commit_seconds(lasting, supply, PRIOR, 0.0) == supply.seconds_left / 2 == 4.0


def test_job_that_costs_much_is_longer_than_ten_seconds() -> None:
    """A program that needs ten seconds to start is not started for each ten seconds."""
    assert policy.commit_seconds(asking(start=10.0), PLENTY, PRIOR, 0.0) == pytest.approx(40.08)


def test_beats_come_four_times_a_second_or_as_the_server_can_take() -> None:
    """With 4,000 workers and more the interval grows."""
    assert policy.beat_seconds(1) == 0.25
    assert policy.beat_seconds(20_000) == 5.0


def test_deadline_is_a_second_at_least() -> None:
    """A fast worker on a small job still gets a moment."""
    assert policy.deadline_seconds(1, 1e6, 0.0, 0) == pytest.approx(1.0, abs=0.03)


def test_deadline_allows_start_up() -> None:
    """A program that takes five seconds to start is not late after four."""
    assert policy.deadline_seconds(1, 1e6, 5.0, 0) == pytest.approx(21.0, abs=0.01)


def test_deadline_allows_three_times_the_job() -> None:
    """Inside a job nobody can see how far a program is."""
    assert policy.deadline_seconds(1000, 10.0, 0.02, 0) == 300.0


def test_deadline_doubles_with_each_miss_up_to_five() -> None:
    """A heavy range is not copied forever."""
    first = policy.deadline_seconds(100, 10.0, 0.02, 0)
    limits = [policy.deadline_seconds(100, 10.0, 0.02, misses) for misses in range(8)]
    assert limits == [first * each for each in (1, 2, 4, 8, 16, 32, 32, 32)]


def left(**changed: float) -> float:
    """Seconds left of 100 not committed and 60 not taken, of one that does ten a second."""
    known = Sight(100, 60, 10.0, 10.0, 0.1, 0.1)
    return policy.predict_seconds_left(evolve(known, **changed), 1)


def test_end_is_predicted_from_what_was_taken() -> None:
    """60 left at 10 a second, a tenth of a second since the last Beat; slower, if it goes slower."""
    assert left() == pytest.approx(5.9)
    assert left(rate=1.0) == pytest.approx(59.9)


def test_who_is_overdue_is_expected_to_take_as_long_again() -> None:
    """All is taken and nothing committed: twice the time, two Beats aside."""
    assert left(untaken=0, still_seconds=30.0) == 29.5


def test_what_comes_from_afar_is_late_for_no_fault_of_its_holder() -> None:
    """What is done takes its way; all taken and not here yet means nothing before that."""
    assert left(way=2.0) == pytest.approx(5.9 + 3.0)
    assert left(untaken=0, still_seconds=8.0, way=2.0) == pytest.approx(3.0 + policy.MIN_GAIN_SECONDS)
    assert left(untaken=0, still_seconds=30.0, way=2.0) == 29.5 - 8.0 + 3.0


def test_who_is_silent_is_expected_to_be_slow() -> None:
    """Silence of ten seconds means a speed forty-one times less; what was seen is not safe."""
    assert left(silent_seconds=10.0) == pytest.approx(10.0 + 100 / (10.0 / 41))


def part(movable: float, speed: float, seconds_left: float) -> Part:
    return Part(None, 1000.0, movable, speed, seconds_left)


def test_idle_worker_takes_the_end_so_that_both_end_together() -> None:
    """Two equal workers and 100 seconds left: half, less what starting costs."""
    taken = policy.weight_to_take_back(part(900, 10.0, 100.0), 10.0, 0.0)
    assert taken == 500
    assert policy.weight_to_take_back(part(900, 10.0, 100.0), 10.0, 20.0) == 400


def test_job_in_hand_is_never_taken() -> None:
    """Only what lies behind it."""
    assert policy.weight_to_take_back(part(30, 10.0, 100.0), 10.0, 0.0) == 30


def test_nothing_is_taken_without_gain() -> None:
    """Neither a fraction of a line, nor what would end at the same time or later."""
    assert policy.weight_to_take_back(part(0.5, 10.0, 100.0), 10.0, 0.0) == 0
    assert policy.weight_to_take_back(part(900, 10.0, 100.0), 10.0, 200.0) == 0
    assert policy.weight_to_take_back(part(9, 1000.0, 0.01), 1e9, 0.0) == 0


def test_copy_is_worth_it_when_it_ends_well_before() -> None:
    """Ten seconds of work beside a holder that needs a hundred; not beside one that needs ten."""
    assert policy.is_worth_copying(100, 100.0, 10.0, 1.0)
    assert not policy.is_worth_copying(100, 11.0, 10.0, 1.0)


@given(
    st.floats(1, 1e9),
    st.floats(0, 1),
    st.floats(1e-6, 1e9),
    st.floats(0, 1e6),
    st.floats(1e-6, 1e9),
    st.floats(0, 1e3),
)
def test_what_is_taken_back_lies_behind_the_job_and_helps(
    uncommitted: float, share: float, speed: float, left: float, idle_speed: float, start: float
) -> None:
    """Never more than there is, and the helper ends before the holder would have."""
    held = part(share * uncommitted, speed, left)
    taken = policy.weight_to_take_back(held, idle_speed, start)
    assert 0 <= taken <= held.movable
    assert not taken or start + taken / idle_speed < left


@given(
    st.floats(1e-9, 1e20),
    st.floats(0, 1e7),
    st.floats(0, 1e7),
    st.floats(0, 1e12),
    st.integers(1, 10**5),
)
def test_lease_is_always_a_number_of_lines(
    speed: float, overhead: float, start: float, left: float, workers: int
) -> None:
    """Whatever a worker claims to need, there is an answer."""
    asked = asking(speed, overhead=overhead, start=start)
    supply = Supply(left, speed, workers)
    assert policy.lease_weight(asked, supply) >= 1
    assert policy.commit_seconds(asked, supply, PRIOR, 0.0) >= policy.MIN_COMMIT_SECONDS


def whole(asked: Asking, supply: Supply = PLENTY, prior: Prior = PRIOR) -> float:
    return policy.whole_lease_seconds(asked, supply, prior, 0.0)


def test_whole_lease_is_bounded_by_a_share_and_twenty_seconds() -> None:
    """For who has never been lost, in a long time; a newcomer gets two seconds here too."""
    steady = Prior(0.01, 1e6)
    assert whole(asking(), prior=steady) == policy.WHOLE_LEASE_SECONDS == 20.0
    assert whole(asking(), Supply(6000.0, 100.0, 2), steady) == 10.0
    assert whole(asking(new=True), prior=steady) == policy.FIRST_LEASE_SECONDS
    assert policy.whole_lease_weight(asking(start=1.0), PLENTY, steady, 0.0) == 1900


def test_whole_lease_of_a_frail_worker_is_short() -> None:
    """Who was lost four times in ten seconds should not be given ten; more start-up, more work."""
    prior = Prior(4.0, 10.0)
    short = whole(asking(start=0.05), prior=prior)
    longer = whole(asking(start=1.0), prior=prior)
    assert 0.05 < short < 2.0 < longer < 10.0
    assert whole(asking(start=0.05, failures=20.0), prior=prior) < short


def test_whole_lease_is_one_job_at_least() -> None:
    """However long it takes to begin."""
    assert policy.whole_lease_weight(asking(1e-3), PLENTY, PRIOR, 0.0) == 1
    assert policy.whole_lease_weight(asking(start=60.0), Supply(0.0, 0.0, 1), PRIOR, 0.0) == 1


def test_holder_is_likely_lost_when_its_end_is_nearer_than_that_of_the_job() -> None:
    """One failure in ten seconds: after ten more it is even."""
    prior = Prior(1.0, 10.0)
    assert not policy.is_likely_lost(Record(), 9.0, prior, 0.0)
    assert policy.is_likely_lost(Record(), 11.0, prior, 0.0)
