"""What makes a worker unruly."""

from random import Random
from statistics import mean

import pytest

from hagoop.demo.kinds import TICK_SECONDS, Habits, Kind


def lives(kind: Kind, chance: float, count: int = 1000) -> list[float | None]:
    """The lives of so many workers."""
    return [Habits(kind, chance, 0.0).life_seconds(Random(f"{seed}")) for seed in range(count)]


@pytest.mark.parametrize("kind", [Kind.GOOD, Kind.BAD, Kind.EVIL, Kind.LATE, Kind.LOOPING])
def test_chance_kills_only_the_flaky_and_the_dying(kind):
    """Whatever else happens to the others."""
    assert lives(kind, 1.0, 1) == [None]


def test_no_chance_of_death_is_a_life_without_end():
    """A flaky worker can be made a good one."""
    assert lives(Kind.FLAKY, 0.0, 1) == [None]


def test_certain_death_comes_at_the_first_tick():
    """Not before: it must have been there."""
    assert set(lives(Kind.DYING, 1.0)) == {TICK_SECONDS}


@pytest.mark.parametrize("chance", [0.5, 0.1, 0.01])
def test_lives_are_as_long_as_dice_at_every_tick_would_make_them(chance):
    """On the average one over the chance, and none shorter than a tick."""
    found = lives(Kind.FLAKY, chance)
    assert mean(found) == pytest.approx(TICK_SECONDS / chance, rel=0.1)
    assert min(found) >= TICK_SECONDS - 1e-9
    died_at_once = sum(each < 1.5 * TICK_SECONDS for each in found) / len(found)
    assert died_at_once == pytest.approx(chance, abs=0.05)


def test_same_seed_is_the_same_life():
    """A run that went wrong can be run again."""
    assert lives(Kind.FLAKY, 0.1, 20) == lives(Kind.FLAKY, 0.1, 20)
