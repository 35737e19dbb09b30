"""What a fleet could do: the work of a scheduler that knows the future and pays nothing."""

from collections.abc import Iterable

from hagoop.lab.lives import Life


def work_until(lives: Iterable[Life], time: float) -> float:
    """Reference seconds that all good machines together compute from 0 to a time."""
    return sum(_work(each, time) for each in lives if each.kind == "ok")


def _work(life: Life, time: float) -> float:
    there = [(each.joins, min(each.ends, time)) for each in life.stays if each.joins < time]
    return sum(life.work_done(joins, ends) for joins, ends in there)
