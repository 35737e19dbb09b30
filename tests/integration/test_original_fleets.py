"""The tests of the original HaGoop, on real processes and uneven text, the whole answer compared.

The fleets that need minutes are in ``tests/chaos``.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, running, until
from fleets import Books, committed, deaths, unruly

pytestmark = pytest.mark.slow
LINES = 750


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A server; the tests start who works."""
    with running(tmp_path / "it", 0) as made:
        yield made


@pytest.mark.parametrize("count", [1, 3])
def test_workers_then_a_request(cluster: Cluster, count: int) -> None:
    """One worker, or three, and one request."""
    cluster.start_workers(count)
    books = Books(cluster, LINES)
    books.ask()
    books.check()


@pytest.mark.parametrize("count", [1, 3])
def test_a_request_then_workers(cluster: Cluster, count: int) -> None:
    """The request is there before anybody is."""
    books = Books(cluster, LINES)
    books.ask()
    until(lambda: [each["state"] for each in cluster.ask("list")] == ["running"])
    cluster.start_workers(count)
    books.check()


def test_three_requests_at_once(cluster: Cluster) -> None:
    """Of three workers."""
    cluster.start_workers(3)
    books = Books(cluster, LINES)
    books.ask(3)
    books.check()


def test_three_equal_workers(cluster: Cluster) -> None:
    """Joined at the same time, all of them work."""
    cluster.start_workers(3)
    books = Books(cluster, LINES, pace=0.004)
    books.ask()
    books.check()
    assert all(committed(cluster)), committed(cluster)


def test_three_workers_that_join_one_after_the_other(cluster: Cluster) -> None:
    """A second apart, while the request runs; whoever comes last works too."""
    cluster.start_workers(1)
    books = Books(cluster, LINES, pace=0.01)
    books.ask()
    for _ in range(2):
        time.sleep(1)
        cluster.add_worker()
    books.check()
    assert all(committed(cluster)), committed(cluster)


def test_ten_dying_workers_then_a_good_one(cluster: Cluster) -> None:
    """Each dies with a chance of 25 % every tenth of a second; what they leave one good one does."""
    unruly(cluster, "dying", 10, chance=0.25)
    books = Books(cluster, LINES, pace=0.004)
    books.ask()
    until(lambda: deaths(cluster) == 10, what="the death of all")
    unruly(cluster, "good")
    books.check()


def test_evil_workers_before_and_after_a_request(cluster: Cluster) -> None:
    """Twenty take work and never answer; one good one does it all."""
    unruly(cluster, "evil", 10)
    until(lambda: len(cluster.ask("workers")) == 10, what="ten workers")
    books = Books(cluster, LINES)
    books.ask()
    unruly(cluster, "evil", 10)
    unruly(cluster, "good")
    books.check()


def test_late_worker_then_good_ones(cluster: Cluster) -> None:
    """It does its work and says so when others have done it; then nobody wants to know."""
    books = Books(cluster, LINES)
    books.ask()
    unruly(cluster, "late", delay=8)
    until(lambda: busy(cluster), what="a lease")
    unruly(cluster, "good", 10)
    books.check()
    until(lambda: not busy(cluster), what="its answer")
    assert len(cluster.ask("workers")) == 11


def test_looping_worker_then_good_ones(cluster: Cluster) -> None:
    """Its program never ends; neither is it waited for, nor is the program blamed."""
    unruly(cluster, "looping")
    books = Books(cluster, LINES)
    books.ask()
    until(lambda: busy(cluster), what="a lease")
    unruly(cluster, "good", 10)
    books.check()


def busy(cluster: Cluster) -> list[str]:
    """Workers that have something in hand."""
    return [each["name"] for each in cluster.ask("workers") if each["doing"] != "idle"]
