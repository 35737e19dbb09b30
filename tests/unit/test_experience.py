"""What a worker earns: by time, loses by failing, and how its speed is learned."""

from math import exp, inf, isfinite, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hagoop.experience import (
    A_GRID,
    B_GRID,
    FIT_SAMPLE,
    LEAST_SECONDS,
    MOST_SECONDS,
    UNKNOWN_START_SECONDS,
    JobSizer,
    Pace,
    Prior,
    Record,
    StartUp,
    fit_prior,
    usual_of,
)

PRIOR = Prior(0.5, 60.0)


def online(since: float = 0.0) -> Record:
    record = Record()
    record.joined(since)
    return record


def test_nobody_knows_a_newcomer() -> None:
    """Before anything happened the prior speaks alone."""
    assert online().expected_life(PRIOR, 0.0) == 120.0


def test_time_connected_makes_experienced() -> None:
    """Each second without a loss makes the next loss less likely."""
    record = online()
    lives = [record.expected_life(PRIOR, now) for now in (0.0, 10.0, 100.0)]
    assert lives == sorted(lives)
    assert lives[0] < lives[-1]


def test_loss_costs_experience_and_notice_does_not() -> None:
    """Leaving with notice keeps what was earned."""
    lost, left = online(), online()
    lost.left(100.0, failed=True)
    left.left(100.0, failed=False)
    assert lost.seconds_at(500.0) == left.seconds_at(500.0) == 100.0
    assert (lost.failures, left.failures) == (1, 0)
    assert lost.expected_life(PRIOR, 500.0) < left.expected_life(PRIOR, 500.0)


def test_experience_survives_sessions() -> None:
    """What was earned adds up, time between sessions does not count."""
    record = online()
    record.left(100.0, failed=False)
    record.joined(1000.0)
    assert record.seconds_at(1010.0) == 110.0


def test_who_was_never_online_has_earned_nothing() -> None:
    """A record from the journal is not running."""
    assert Record().seconds_at(1000.0) == 0.0


def test_stalled_time_earns_nothing() -> None:
    """From a missed deadline until the next commit the clock stands still."""
    record = online()
    record.missed(10.0)
    record.missed(15.0)
    assert record.seconds_at(50.0) == 10.0
    assert record.failures == 1.0
    record.delivered(60.0)
    assert record.seconds_at(65.0) == 15.0
    assert record.committed == 1


def test_who_ends_stalled_has_earned_until_then() -> None:
    """A session that ends after a miss does not gain by waiting."""
    record = online()
    record.missed(10.0)
    record.left(500.0, failed=True)
    assert record.exposure == 10.0
    record.delivered(600.0)
    assert record.seconds_at(700.0) == 10.0


def test_prior_is_mild_before_three_failures() -> None:
    """A fleet that loses nobody is believed to last half as long as it has."""
    assert fit_prior([], 0.0) == Prior(0.5, 30.0)
    assert fit_prior([Record(exposure=8000.0, failures=1.5)], 0.0) == Prior(0.5, 2000.0)


def test_prior_follows_the_fleet() -> None:
    """A fleet that dies fast is expected to die fast, a lasting one to last."""
    dying = fit_prior([Record(failures=5, exposure=50.0)] * 10, 0.0)
    lasting = fit_prior([Record(failures=1, exposure=50_000.0)] * 10, 0.0)
    assert dying.a in A_GRID
    assert dying.b in B_GRID
    assert dying.b / dying.a < 100 < lasting.b / lasting.a


def test_prior_looks_at_the_newest_records() -> None:
    """What the fleet was long ago is not what it is."""
    old, new = [Record(failures=9, exposure=1.0)], [Record(failures=1, exposure=9000.0)] * FIT_SAMPLE
    assert fit_prior(old + new, 0.0) == fit_prior(new, 0.0)


def test_first_job_replaces_the_guess() -> None:
    """Nothing is averaged with what was never measured."""
    pace = Pace()
    assert pace.speed is None
    assert pace.start.estimate() == UNKNOWN_START_SECONDS
    pace.observe(100, 2.0, 0.1)
    assert pace.speed == 50.0
    assert pace.start.estimate() == UNKNOWN_START_SECONDS
    assert pace.overhead == 0.1


def test_start_up_is_told_from_work() -> None:
    """One line and sixteen, at 50 ms a line and 7 ms to start: the shortest job is mostly work."""
    start = StartUp()
    for weight in (1, 16):
        start.observe(weight, 0.007 + 0.05 * weight)
    assert start.estimate() == start.estimate(4.0) == pytest.approx(0.007)


def test_start_up_of_equal_jobs_is_unknown() -> None:
    """No job starts slower than it ends; nothing else can be said."""
    start = StartUp()
    for _ in range(3):
        start.observe(1, 10.0)
    assert start.estimate() == UNKNOWN_START_SECONDS
    assert start.estimate(4.0) == 4.0
    start.observe(1, 0.01)
    assert start.estimate() == start.estimate(4.0) == 0.01


def test_start_up_stays_known_where_jobs_are_alike_for_long() -> None:
    """Two jobs told it; a hundred of nearly the same length say nothing against it."""
    start = StartUp()
    for weight in (1, 16, *[18, 20] * 50):
        start.observe(weight, 0.007 + 0.05 * weight)
    assert start.estimate() == pytest.approx(0.007)


def test_uneven_lines_do_not_hide_a_slow_start() -> None:
    """Lines of 0 to 100 ms, and half a second to start."""
    start = StartUp()
    for number, weight in enumerate([1, 5, 20, 3, 40, 10, 2, 30]):
        start.observe(weight, 0.5 + 0.05 * weight + 0.05 * (-1) ** number)
    assert start.estimate() == pytest.approx(0.5, abs=0.05)


@given(st.lists(st.tuples(st.floats(1.0, 1e12), st.floats(LEAST_SECONDS, MOST_SECONDS)), max_size=20))
def test_start_up_stays_within_what_was_seen(jobs: list[tuple[float, float]]) -> None:
    """Whatever a worker claims."""
    start = StartUp()
    for weight, seconds in jobs:
        start.observe(weight, seconds)
    assert 0 < start.estimate() <= min([seconds for _, seconds in jobs], default=UNKNOWN_START_SECONDS)
    assert 0 <= start.most <= min([seconds for _, seconds in jobs], default=0.0)


def test_all_of_a_job_may_be_its_start_until_others_are_of_other_weights() -> None:
    """One of two units tells; among many of one it may have been chance, and is tried again."""
    start = StartUp()
    assert start.most == 0.0
    start.observe(1, 3.0)
    start.observe(1, 3.0)
    assert start.most == 3.0
    start.observe(2, 6.0)
    assert start.most < 0.01
    for _ in range(10):
        start.observe(1, 3.0)
    assert start.most == 3.0


def test_slower_job_moves_the_speed_half_way() -> None:
    """On a scale of logarithms: the mean of 100 and 25 is 50."""
    pace = Pace(speed=100.0)
    pace.observe(25, 1.0, 0.0)
    assert pace.speed == pytest.approx(50.0)


def test_short_job_says_less() -> None:
    """Under a tenth of a second start-up is most of what was measured."""
    pace = Pace(speed=160.0)
    pace.observe(1, 0.099, 0.0)
    assert pace.speed == pytest.approx(160.0 * ((1 / 0.099) / 160.0) ** 0.25)


def test_much_faster_job_is_believed_nearly_at_once() -> None:
    """Jobs grow from one line: early speeds are start-up, not speed."""
    pace = Pace(speed=1.0)
    pace.observe(1000, 1.0, 0.0)
    assert pace.speed == pytest.approx(1000**0.9)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 2**62), st.floats(0, allow_infinity=False), st.floats(0, allow_infinity=False)
        ),
        min_size=1,
        max_size=8,
    )
)
def test_no_claim_breaks_the_arithmetic(claims: list[tuple[int, float, float]]) -> None:
    """Whatever a worker says that it has measured, its speed stays a positive number."""
    pace = Pace()
    for weight, took, overhead in claims:
        pace.observe(weight, took, overhead)
    assert pace.speed is not None
    assert 0 < pace.speed < inf
    assert isfinite(log(pace.speed))
    assert isfinite(pace.overhead * 1e9)


def test_typical_speed_is_the_median_of_equals() -> None:
    """A worker known to be twice as fast counts as half of what it did."""
    fast = Record(relative=log(2.0))
    paces = [(Pace(speed=200.0), fast), (Pace(speed=100.0), Record()), (Pace(speed=1.0), Record())]
    usual = usual_of(paces)
    assert (usual.known, usual.speed) == (3, pytest.approx(100.0))


def test_stranger_is_taken_to_be_slower_than_usual() -> None:
    """By the spread of those that are known, or by a fifth where they are alike."""
    alike = usual_of([(Pace(speed=100.0), Record())] * 3)
    assert alike.low == pytest.approx(100.0 * exp(-0.2))
    spread = usual_of([(Pace(speed=each), Record()) for each in (1.0, 10.0, 100.0)])
    assert spread.low == pytest.approx(1.0)


def test_nobody_tells_what_is_usual_who_has_measured_nothing() -> None:
    """A pace without a speed says nothing."""
    assert usual_of([(Pace(), Record())]).known == 0


def test_first_job_is_one_line() -> None:
    """A program of unknown speed is not given more."""
    sizer = JobSizer()
    assert sizer.next_job(1000, 10.0) == 1
    assert sizer.expected_seconds(5) == 0.0


def test_jobs_grow_by_a_bounded_factor() -> None:
    """However fast one line was, the next job has sixty-four, and takes half the interval at most."""
    sizer = JobSizer()
    sizer.observe(1, 0.0)
    assert sizer.next_job(10_000, 10.0) == 64
    sizer.observe(16, 0.001)
    assert sizer.next_job(10_000, 10.0) == 1024
    assert sizer.next_job(10_000, 0.05) == 400


def test_jobs_of_a_program_that_starts_slowly_grow_sixteenfold() -> None:
    """By what is known, so many could take up to the whole interval."""
    sizer = JobSizer()
    sizer.observe(1, 0.5)
    assert sizer.next_job(10_000, 10.0) == 16
    assert sizer.next_job(10_000, 5.0) == 10


def test_jobs_grow_sixteenfold_at_most_after_a_failure() -> None:
    """Until one ends well: half of what failed is tried, and no more."""
    sizer = JobSizer()
    sizer.observe(1000, 0.1)
    sizer.failed(640)
    assert sizer.next_job(10_000, 10.0) == 320
    sizer.observe(320, 0.03)
    assert sizer.next_job(100_000, 10.0) == 20_480


def test_jobs_grow_to_the_commit_interval() -> None:
    """At 10 lines a second and 10 seconds a job has 100 lines."""
    sizer = JobSizer()
    sizer.observe(100, 10.0)
    assert sizer.next_job(10_000, 10.0) == 100
    assert sizer.expected_seconds(100) == 10.0


def test_slow_program_gets_one_line_at_a_time() -> None:
    """A job has a line, even if one takes longer than the interval."""
    sizer = JobSizer()
    sizer.observe(1, 100.0)
    assert sizer.next_job(10, 1.0) == 1


def test_small_rest_goes_with_the_job() -> None:
    """Less than half a job more is not worth a start of the program."""
    sizer = JobSizer()
    sizer.observe(100, 10.0)
    assert sizer.next_job(149, 10.0) == 149
    assert sizer.next_job(150, 10.0) == 100


def test_slower_job_is_averaged_and_faster_one_believed() -> None:
    """Down half way, up at once."""
    sizer = JobSizer()
    sizer.observe(100, 1.0)
    sizer.observe(50, 1.0)
    assert sizer.expected_seconds(75) == pytest.approx(1.0)
    sizer.observe(200, 1.0)
    assert sizer.expected_seconds(200) == pytest.approx(1.0)


def test_failed_job_is_tried_again_with_half() -> None:
    """Smaller and smaller, down to a line."""
    sizer = JobSizer()
    sizer.observe(1000, 1.0)
    sizer.failed(640)
    assert sizer.next_job(10_000, 10.0) == 320
    sizer.failed(1)
    assert sizer.next_job(10_000, 10.0) == 16


def test_known_program_begins_with_a_second() -> None:
    """Not with one line; with no more, as its lines may be slower now; then by what it measures."""
    sizer = JobSizer(remembered=1000.0)
    assert sizer.next_job(100_000, 10.0) == 1000
    assert sizer.next_job(1200, 10.0) == 1200
    assert sizer.next_job(100_000, 0.1) == 100
    assert sizer.expected_seconds(250) == 0.25
    sizer.observe(1000, 100.0)
    assert sizer.next_job(100_000, 10.0) == 100


def test_failure_of_a_known_program_is_tried_again_with_one_line() -> None:
    """What was remembered does not hold for these lines."""
    sizer = JobSizer(remembered=1000.0)
    sizer.failed(250)
    assert sizer.next_job(1000, 10.0) == 1


def test_heaviest_job_tells_the_steady_speed() -> None:
    """In light ones the start is most of the time."""
    sizer = JobSizer()
    assert sizer.steady is None
    sizer.observe(1000, 2.0)
    sizer.observe(1, 1.0)
    assert sizer.steady == 500.0


@given(st.floats(0.25, 4.0), st.floats(0.25, 1e4), st.floats(0.01, 3.0), st.integers(0, 3))
def test_lasting_is_the_sum_of_survival(a: float, b: float, lives: float, failures: int) -> None:
    """Also where as many failures as one make the formula another."""
    record, prior = Record(failures=failures), Prior(a, b)
    steps, seconds = 200, lives * b
    wide = seconds / steps
    summed = sum(record.survival((n + 0.5) * wide, prior, 0.0) for n in range(steps)) * wide
    assert record.lasting_seconds(seconds, prior, 0.0) == pytest.approx(summed, rel=0.01)
    assert record.lasting_seconds(seconds, Prior(1.0, b), 0.0) <= seconds
