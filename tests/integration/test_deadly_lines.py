"""A line that kills the worker whose program reads it, as one that fills its memory would."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, running, until

pytestmark = pytest.mark.slow

MAPPER = """#!/bin/sh
while read -r line; do
    case $line in deadly*) test -e "$SPARED" || kill -9 $PPID;; esac
    echo "$line"
done
"""
LINES = [b"good 1\n", b"deadly 2\n", b"good 3\n"]
END_SECONDS = 120.0
ENOUGH_JOBS = 60
SEVERAL = 6
"""More deaths of a worker than workers that a line may kill until it is set aside."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """No workers yet; a mapper and its input."""
    with running(tmp_path / "it", 0) as made:
        (made.at / "input").write_bytes(b"".join(LINES))
        (made.at / "map.sh").write_text(MAPPER)
        (made.at / "map.sh").chmod(0o755)
        yield made


def start_workers(cluster: Cluster, count: int) -> None:
    """Workers whose programs are their own children, in no namespace, and can kill them."""
    tools = cluster.folder / "tools"
    tools.mkdir()
    for name in ("cat", "sort"):
        (tools / name).symlink_to(shutil.which(name) or name)
    for _ in range(count):
        cluster.add_worker(PATH=str(tools))
    cluster.await_workers()


def earn_experience(cluster: Cluster) -> None:
    """Small jobs, until each worker has done so many that nobody expects it to go."""
    (cluster.at / "many").mkdir()
    for number in range(80 * len(cluster.workers)):
        (cluster.at / "many" / str(number)).write_bytes(b"x\n")
    while min(each["committed"] for each in cluster.ask("workers")) < ENOUGH_JOBS:
        assert cluster.request("run", "many", "-r", "cat", "--quiet").returncode == 0


def deadly(cluster: Cluster, *words: str) -> "subprocess.Popen[bytes]":
    """Submit the request, and wait for nothing."""
    env = ("--env", f"SPARED={cluster.folder / 'spared'}")
    return cluster.begin("run", "input", "-m", "./map.sh", "-o", "answer", *env, *words)


def restarted(cluster: Cluster) -> int:
    """Start the workers again that are dead; how many there were."""
    dead = [each for each in cluster.workers if not each.is_alive]
    for each in dead:
        each.start()
    return len(dead)


def test_line_that_kills_workers_is_set_aside(cluster: Cluster) -> None:
    """The answer covers all others; the line is listed, and nothing is charged to the program."""
    start_workers(cluster, 6)
    earn_experience(cluster)
    client = deadly(cluster, "--skip-bad-lines", "1")
    until(lambda: not restarted(cluster) and client.poll() is not None, END_SECONDS, "the end")
    assert client.returncode == 0, (cluster.folder / "stderr").read_text()
    assert (cluster.at / "answer").read_bytes() == LINES[0] + LINES[2]
    row = (cluster.at / "answer.bad").read_bytes().split(b"\t")
    assert row[:3] == [b"input", b"2", b"%d" % len(LINES[0])]
    assert row[3].endswith(b"workers were lost with it in hand")
    status = cluster.ask("status")
    assert (status["bad_lines"], status["failures"]) == (1, 0)


def test_deaths_alone_never_fail_a_request(cluster: Cluster) -> None:
    """However many die of a line: as soon as it kills nobody any more, the answer is whole."""
    start_workers(cluster, 2)
    client = deadly(cluster)
    died = 0

    def many_died() -> bool:
        nonlocal died
        died += restarted(cluster)
        return died >= SEVERAL

    until(many_died, END_SECONDS, "many deaths")
    assert cluster.ask("status")["state"] == "running"
    (cluster.folder / "spared").touch()
    until(lambda: not restarted(cluster) and client.poll() is not None, END_SECONDS, "the end")
    assert client.returncode == 0, (cluster.folder / "stderr").read_text()
    assert (cluster.at / "answer").read_bytes() == b"".join(LINES)
    assert cluster.ask("status")["failures"] == 0
