"""Workers that stop, sleep, die all the time, or say what is not so: rows W1 to W9."""

import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from cluster import Cluster, running, until
from double import Double, Refused, finished
from ledgers import DEPARTED, Ledger
from proxied import running_proxied
from proxy import Link, Proxy

from hagoop.jobs import AssignmentId, RequestId

sys.path.insert(0, str(Path(__file__).parent.parent / "integration"))

from test_clocks import clock, faked, step  # noqa: F401

pytestmark = pytest.mark.slow


# Zombies


def test_worker_that_wakes_up_late(proxied: Cluster, links: list[Link]) -> None:
    """Stopped until others have taken over what it held: what it still says changes nothing."""
    made = Ledger(proxied, 250, 0.01).begin()
    made.await_lines(0.1)
    zombie = proxied.workers[0].process
    assert zombie is not None
    zombie.send_signal(signal.SIGSTOP)
    try:
        made.await_lines(0.6)
    finally:
        zombie.send_signal(signal.SIGCONT)
    made.end()


@pytest.mark.full
def test_worker_that_wakes_up_after_its_session(proxied: Cluster, links: list[Link]) -> None:
    """Nothing was heard of it for half a minute: it joins again, and goes on or lets go."""
    made = Ledger(proxied, 6000, 0.01).begin()
    made.await_lines(0.02)
    zombie, closed = proxied.workers[0].process, proxied.server.said("nothing was heard of it")
    assert zombie is not None
    zombie.send_signal(signal.SIGSTOP)
    try:
        until(lambda: proxied.server.said("nothing was heard of it") > closed, 60, "its session's end")
    finally:
        zombie.send_signal(signal.SIGCONT)
    made.end(300)
    until(lambda: len(proxied.ask("workers")) == 2, what="its return")


def test_laptop_that_sleeps_for_an_hour(tmp_path: Path, proxy_alone: Proxy, clock: Path) -> None:  # noqa: F811
    """It wakes up to another time, and to a link that is long gone."""
    with running_proxied(tmp_path / "it", proxy_alone, 1) as cluster:
        [laptop], [link, _] = cluster.workers, proxy_alone.links
        laptop.term()
        laptop.wait()
        laptop.env.update(faked(clock))
        laptop.start()
        until(lambda: laptop.said("joined ") == 2, what="its Join")
        made = Ledger(cluster, 120, 0.01).begin()
        made.await_lines(0.1)
        assert laptop.process is not None
        laptop.process.send_signal(signal.SIGSTOP)
        try:
            link.reset()
            until(lambda: cluster.server.said(DEPARTED), what="the end of its session")
            step(clock, 1)
        finally:
            laptop.process.send_signal(signal.SIGCONT)
        made.end()
        assert laptop.said("joined ") == 3


@pytest.fixture
def proxy_alone() -> Iterator[Proxy]:
    """Links of one test."""
    made = Proxy()
    yield made
    made.close()


# Deaths


@pytest.mark.full
@pytest.mark.parametrize("seconds", [300.0])
def test_worker_that_dies_all_the_time(proxied: Cluster, links: list[Link], seconds: float) -> None:
    """One of two, each 1.5 to 7.5 s, for five minutes."""
    dice, mortal = random.Random(4), proxied.workers[0]
    made = Ledger(proxied, int(seconds * 130), 0.01).begin()
    end, deaths = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        time.sleep(dice.uniform(1.5, 7.5))
        mortal.kill()
        for each in mortal.folder.glob("*.pid"):
            each.unlink()
        mortal.start()
        deaths += 1
    made.end(seconds)
    assert deaths > seconds / 7.5 - 1
    assert proxied.server.said(DEPARTED) >= deaths - 1


# Machines


def test_worker_without_a_folder_for_temporary_files(tmp_path: Path) -> None:
    """It needs none but its own."""
    with running(tmp_path / "it", 0) as cluster:
        cluster.add_worker(TMPDIR="/nonexistent")
        cluster.await_workers()
        Ledger(cluster, 20).begin().end()


# Doubles


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server and nobody to work for it."""
    with running(tmp_path_factory.mktemp("double") / "it", 0) as made:
        (made.at / "input").write_bytes(b"0\n1\n2\n3\n4\n5\n")
        yield made


def submit(cluster: Cluster) -> RequestId:
    """Six lines; the id."""
    ran = cluster.request("run", "input", "--mapper", "cat", "--detach")
    return RequestId(ran.stdout.decode().strip())


def test_commits_of_a_double(cluster: Cluster) -> None:
    """Twice, of what it never had, of others' lines, of what has ended or never was: none counts."""
    request = submit(cluster)
    double = Double(cluster)
    held = double.ask()
    assert (held.request, held.start) == (request, 0)
    first = finished(held, 0, 1, b"0\n", double.put(held, b"0\n"))
    assert double.commit(first)
    for wrong in (
        # The same again, with bytes and without.
        first,
        evolve(first, upload=double.put(held, b"0\n")),
        # More than is open, or less than nothing.
        finished(held, 0, 2, b"x\n", double.put(held, b"x\n")),
        finished(held, 1, 7, b"x\n", double.put(held, b"x\n")),
        finished(held, 3, 4, b"x\n", double.put(held, b"x\n")),
        finished(held, 2, 2, b"", ""),
        # By another's id, of an older life, of no request.
        evolve(finished(held, 0, 1, b"", ""), id=AssignmentId("0-1")),
        evolve(finished(held, 1, 2, b"", ""), request=RequestId("r99")),
        evolve(finished(held, 1, 2, b"", ""), round=3),
    ):
        assert not is_taken(double, wrong), wrong
    with pytest.raises(Refused, match="BAD_MESSAGE"):
        double.commit(evolve(finished(held, 1, 2, b"x\n", ""), size=2))
    double.close()
    worker = cluster.add_worker()
    assert cluster.request("wait", request).returncode == 0
    assert cluster.request("answer", request).stdout == b"0\n1\n2\n3\n4\n5\n"
    late = Double(cluster, "late")
    assert not is_taken(late, evolve(first, upload=""))
    late.close()
    worker.term()
    worker.wait()


def is_taken(double: Double, job: object) -> bool:
    """Whether a commit counts; an error is a refusal as well."""
    try:
        return double.commit(job)  # type: ignore[arg-type]
    except Refused:
        return False


def test_mute_double_holds_nobody_up(cluster: Cluster) -> None:
    """It takes an assignment, and never says a word again."""
    request = submit(cluster)
    mute = Double(cluster, "mute")
    assert mute.ask().request == request
    cluster.add_worker()
    assert cluster.request("wait", request).returncode == 0
    assert cluster.request("answer", request).stdout == b"0\n1\n2\n3\n4\n5\n"
    mute.close()
