"""Time less the pauses of our own."""

from twisted.internet.task import Clock

from hagoop.awake import PAUSE_SECONDS, AwakeClock


def test_time_goes_by_while_somebody_looks():
    """However often."""
    clock = Clock()
    awake = AwakeClock(clock.seconds)
    for _ in range(100):
        clock.advance(PAUSE_SECONDS)
        awake()
    assert awake() == 100 * PAUSE_SECONDS


def test_a_pause_takes_no_time():
    """Neither a long one nor a short one that is longer than anything between two looks."""
    clock = Clock()
    awake = AwakeClock(clock.seconds)
    clock.advance(1)
    assert awake() == 1
    for pause in (PAUSE_SECONDS + 0.25, 3600):
        clock.advance(pause)
        assert awake() == 1
    clock.advance(1)
    assert awake() == 2
