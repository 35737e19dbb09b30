"""The original's largest fleets: more bad workers than good ones, and the whole answer compared."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, running, until
from fleets import Books, deaths, unruly
from idle import check_idle, watch

LONGEST_SECONDS = 300.0
STRESS_LINES = 500_000
LINES = 750


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A server; the tests start who works.  Afterwards it is as idle as before."""
    with running(tmp_path / "it", 0) as made:
        before = watch(made)
        yield made
        check_idle(made, before)


def test_hundred_dying_workers_then_a_good_one(cluster: Cluster, short: bool) -> None:
    """Each dies with a chance of 75 % every tenth of a second."""
    count = 40 if short else 100
    unruly(cluster, "dying", count, chance=0.75)
    books = Books(cluster, LINES, pace=0.004)
    books.ask()
    until(lambda: deaths(cluster) == count, 60, "the death of all")
    unruly(cluster, "good")
    books.check(LONGEST_SECONDS)


def test_sixty_workers_of_all_kinds_and_six_requests(cluster: Cluster, short: bool) -> None:
    """From good ones to those that die with 85 % every tenth of a second, and evil ones."""
    ten, lines = (3, 250) if short else (10, LINES)
    books = Books(cluster, lines, pace=0.004)
    unruly(cluster, "good", ten)
    time.sleep(1)
    unruly(cluster, "dying", ten, chance=0.25)
    time.sleep(1)
    books.ask(3)
    for chance in (0.45, 0.65, 0.85):
        unruly(cluster, "dying", ten, chance=chance)
        time.sleep(1)
    unruly(cluster, "evil", ten)
    books.ask(3)
    books.check(LONGEST_SECONDS)


def test_stress(cluster: Cluster, short: bool) -> None:
    """Good, evil and dead ones, then more, most of which die; half a million lines, asked five times."""
    ten, lines = (3, STRESS_LINES // 100) if short else (10, STRESS_LINES)
    books = Books(cluster, lines)
    for kind in ("good", "evil", "bad"):
        unruly(cluster, kind, ten)
    books.ask(2)
    time.sleep(1)
    unruly(cluster, "good", ten)
    for count, chance in ((2, 0.5), (1, 0.25), (3, 0.7)):
        unruly(cluster, "dying", count * ten, chance=chance)
    books.ask(3)
    unruly(cluster, "dying", ten, chance=0.1)
    books.check(LONGEST_SECONDS)
