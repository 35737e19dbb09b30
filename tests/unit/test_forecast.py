"""How long a phase will still take."""

import pytest

from hagoop.forecast import END_SLOWER, LIKELY_MOST, SAMPLES, Forecast


def steady(rate: int, seconds: int) -> Forecast:
    known = Forecast()
    for second in range(seconds + 1):
        known.committed(float(second), rate * second)
    return known


def test_nothing_is_said_before_something_is_known() -> None:
    """Neither of a phase in which nothing was committed, nor after one line of a million."""
    assert Forecast().seconds_left(100, 5.0) is None
    assert steady(1, 2).seconds_left(10**6, 2.0) is None


def test_it_goes_on_as_it_went() -> None:
    """Ten a second, a thousand left."""
    middle = END_SLOWER * 100.0
    assert steady(10, 100).seconds_left(1000, 100.0) == pytest.approx((middle, LIKELY_MOST * middle))


def test_the_last_quarter_counts() -> None:
    """A fleet that has grown is not judged by its beginnings."""
    known = steady(10, 60)
    for second in range(61, 101):
        known.committed(float(second), 600 + 100 * (second - 60))
    guess = known.seconds_left(1000, 100.0)
    assert guess is not None
    assert guess[0] == pytest.approx(10.0, rel=0.05)


def test_standing_still_makes_the_guess_grow() -> None:
    """Nobody commits: the time passes all the same."""
    known = steady(10, 100)
    early, late = known.seconds_left(100, 100.0), known.seconds_left(100, 120.0)
    assert early is not None
    assert late is not None
    assert late[0] > 1.5 * early[0]


def test_memory_is_bounded() -> None:
    """However long it takes, and however often something is committed."""
    known = Forecast()
    for number in range(200_000):
        if known.is_due(float(number)):
            known.committed(float(number), number)
    assert len(known._samples) <= 2 * SAMPLES
    assert known.seconds_left(1000, 200_000.0) == pytest.approx((1000.0, 1250.0), rel=0.1)
