"""The heaviest fleets of the original HaGoop: most of their workers die at once, or never answer."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, running, until
from fleets import Books, unruly

LONGEST_SECONDS = 300.0
CHANCES = (0.0, 0.25, 0.45, 0.65, 0.85)
"""Of a death every tenth of a second."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A server, and nobody to work for it yet."""
    with running(tmp_path / "it", 0) as made:
        yield made


def test_hundred_dying_workers_then_a_good_one(cluster: Cluster, short: bool) -> None:
    """They live for 70 ms on average and leave everything to one."""
    count = 20 if short else 100
    books = Books(cluster, 1000, pace=0.002)
    books.ask()
    unruly(cluster, "dying", count, chance=0.75)
    until(lambda: cluster.server.said(" joined as ") == count, 60, "the last Join")
    until(lambda: not cluster.ask("workers"), what="the death of all")
    unruly(cluster, "good")
    books.check(LONGEST_SECONDS)


def test_mixed_workers_and_six_requests(cluster: Cluster, short: bool) -> None:
    """Ten of each chance of death, those that die coming back, and ten that never answer."""
    count = 2 if short else 10
    for chance in CHANCES:
        unruly(cluster, "flaky" if chance else "good", count, chance=chance)
    unruly(cluster, "evil", count)
    books = Books(cluster, 600 if short else 3000, pace=0.001)
    books.ask(2 if short else 6)
    books.check(LONGEST_SECONDS)


def test_stress(cluster: Cluster, short: bool) -> None:
    """Ten good, ten evil, ten dead; then good and flaky ones of every kind join; five requests."""
    few = 2 if short else 10
    books = Books(cluster, 20_000 if short else 500_000)
    books.ask(2 if short else 5)
    unruly(cluster, "good", few)
    unruly(cluster, "evil", few)
    unruly(cluster, "bad", few)
    time.sleep(1)
    unruly(cluster, "good", few)
    for count, chance in ((2, 0.5), (1, 0.25), (3, 0.7), (1, 0.1)):
        unruly(cluster, "flaky", count * few, chance=chance)
    books.check(LONGEST_SECONDS)
