"""Clocks that step, and a server that sleeps: no lease moves, nobody is taken for dead."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, Process, differ, running, until

pytestmark = pytest.mark.slow

LINES = 200
TEXT = b"".join(b"line %d\n" % number for number in range(LINES))
SLOW = "while read -r line; do sleep 0.01; printf '%s\\n' \"$line\"; done"
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
STOPPED_SECONDS = float(os.environ.get("HAGOOP_STOPPED_SECONDS", "8"))
"""How long the server is stopped; a session lives for 30 silent seconds."""


def step(clock: Path, hours: int) -> None:
    """Let a clock jump; 0: back to what it is."""
    beside = clock.with_suffix(".new")
    beside.write_text(f"{hours:+d}h\n")
    os.replace(beside, clock)


def shared() -> set[Path]:
    """What the library has put into shared memory; it stays when a process is killed."""
    return set(Path("/dev/shm").glob("*faketime_*"))


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[Path]:
    """The file that sets the wall clock of whoever is told to look at it."""
    if not LIBRARIES:
        pytest.skip("libfaketime is not installed (Debian: faketime)")
    step(tmp_path / "clock", 0)
    before = shared()
    yield tmp_path / "clock"
    for each in shared() - before:
        each.unlink(missing_ok=True)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A server, and nobody to work for it yet."""
    with running(tmp_path / "it", 0) as made:
        (made.at / "input").write_bytes(TEXT)
        yield made


def faked(clock: Path) -> dict[str, str]:
    """What makes a process see that clock, and leave the monotonic one alone."""
    return {
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        # Else a thread's wait for a time, for Python's own lock too, is over at once, and begins again.
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    }


def check_undisturbed(cluster: Cluster, client: Process, text: bytes = TEXT) -> None:
    """The answer is right, and nobody was missed."""
    out, _ = client.communicate(timeout=60)
    assert client.returncode == 0, (cluster.folder / "stderr").read_text()
    assert differ(out, text) == ""
    assert not cluster.server.said("left, failed: True")
    assert not cluster.server.said("closing session")
    assert [each["lost"] for each in cluster.ask("workers")] == [0, 0]


def is_half_done(cluster: Cluster) -> bool:
    """Whether the request is well under way."""
    asked = cluster.request("status", "--json")
    return not asked.returncode and json.loads(asked.stdout)["done"] > 0.1


@pytest.mark.parametrize("hours", [1, -1])
def test_clock_that_steps_moves_no_lease(cluster: Cluster, clock: Path, hours: int) -> None:
    """An hour either way, at the server and at a worker, in the middle of a request."""
    cluster.server.term()
    cluster.server.wait()
    cluster.server.env.update(faked(clock))
    cluster.start_server()
    cluster.add_worker(**faked(clock))
    cluster.add_worker()
    cluster.await_workers()
    client = cluster.begin("run", "input", "--mapper", SLOW)
    until(lambda: is_half_done(cluster))
    age = cluster.ask("status")["age_seconds"]
    step(clock, hours)
    # Ages are told by the wall clock: it did step.
    until(lambda: abs(cluster.ask("status")["age_seconds"] - age - max(0, 3600 * hours)) < 100)
    check_undisturbed(cluster, client)


def test_server_that_was_stopped_misses_nobody(cluster: Cluster) -> None:
    """SIGSTOP, and SIGCONT some time later: workers go on with what they had."""
    cluster.start_workers(2)
    client = cluster.begin("run", "input", "--mapper", SLOW)
    until(lambda: is_half_done(cluster))
    assert cluster.server.process is not None
    os.kill(cluster.server.process.pid, signal.SIGSTOP)
    time.sleep(STOPPED_SECONDS)
    os.kill(cluster.server.process.pid, signal.SIGCONT)
    check_undisturbed(cluster, client)
