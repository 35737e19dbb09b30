"""How long ago requests ended, whatever the system's clock does meanwhile."""

import pytest
from attrs import define, field
from twisted.internet.task import Clock

from hagoop.ages import GRACE_SECONDS, Ages
from hagoop.jobs import RequestId

R1, R2 = RequestId("r1"), RequestId("r2")
HOUR, DAY = 3600.0, 86_400.0


@define(eq=False)
class System:
    """A machine's clocks.

    :ivar ahead: how far the one that people see is ahead of the one that only goes forward.
    """

    clock: Clock = field(factory=Clock)
    ahead: float = 1e9

    def wall(self) -> float:
        return self.clock.seconds() + self.ahead

    def start(self) -> Ages:
        """A server's life begins."""
        return Ages(self.clock, self.wall)


@pytest.fixture
def system() -> System:
    return System()


def test_age_counts_from_the_end(system: System) -> None:
    """One that runs, or that nobody knows, has none."""
    ages = system.start()
    ages.ended(R1)
    system.clock.advance(DAY)
    assert (ages.seconds(R1), ages.seconds(R2)) == (DAY, 0.0)
    assert ages.older_than(DAY - 1) == [R1]
    assert ages.older_than(DAY) == []
    ages.forget(R1)
    ages.forget(R2)
    assert ages.older_than(0) == []


@pytest.mark.parametrize("step", [8 * DAY, -8 * DAY])
def test_clock_that_steps_makes_nothing_older_or_younger(system: System, step: float) -> None:
    """What ended in this life, and what ended before."""
    ages = system.start()
    ages.had_ended(R2, system.wall() - DAY)
    system.clock.advance(HOUR)
    ages.ended(R1)
    system.ahead += step
    system.clock.advance(HOUR)
    assert ages.seconds(R1) == HOUR
    assert ages.seconds(R2) == max(0.0, DAY + 2 * HOUR + min(0.0, step))


def test_age_goes_on_after_a_restart(system: System) -> None:
    """By the clock that people see; one that was ahead at the end makes none younger than new."""
    ages = system.start()
    ages.had_ended(R1, system.wall() - 3 * DAY)
    ages.had_ended(R2, system.wall() + 3 * DAY)
    system.clock.advance(HOUR)
    assert (ages.seconds(R1), ages.seconds(R2)) == (3 * DAY + HOUR, 0.0)


def test_clock_that_is_set_right_after_the_start_ends_nothing(system: System) -> None:
    """A machine may start before it knows what time it is."""
    ended = system.wall()
    system.ahead += 8 * DAY
    ages = system.start()
    ages.had_ended(R1, ended)
    system.clock.advance(GRACE_SECONDS - 1)
    assert ages.seconds(R1) == GRACE_SECONDS - 1
    system.ahead -= 8 * DAY
    assert ages.seconds(R1) == GRACE_SECONDS - 1
    system.ahead += 8 * DAY
    system.clock.advance(1)
    assert ages.seconds(R1) == GRACE_SECONDS
