"""Whose fault it is: programs, machines and departures are told apart."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, differ, running, until

pytestmark = pytest.mark.slow

TEXT = b"".join(b"line %d\n" % number for number in range(400))
TOOL = "while read -r line; do sleep 0.01; printf '%s\\n' \"$line\"; done"
BROKEN = "exit 9"
SOON = 40.0
"""Seconds: four times what it may take, for a busy machine."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A server without workers yet, and the folders of a sound tool and a broken one."""
    with running(tmp_path / "it", 0) as made:
        (made.at / "input").write_bytes(TEXT)
        for name, script in (("sound", TOOL), ("broken", BROKEN)):
            (made.folder / name).mkdir()
            (made.folder / name / "tool").write_text(f"#!/bin/sh\n{script}\n")
            (made.folder / name / "tool").chmod(0o755)
        yield made


def add_worker(cluster: Cluster, tool: str) -> None:
    """A worker on whose PATH is that tool."""
    cluster.add_worker(PATH=f"{cluster.folder / tool}:{os.environ['PATH']}")
    cluster.await_workers()


def test_machine_on_which_all_fails_is_put_aside(cluster: Cluster) -> None:
    """It fails fast what the others do; the request does not suffer for it."""
    for tool in ("sound", "broken", "sound"):
        add_worker(cluster, tool)
    client = cluster.begin("run", "input", "--mapper", "tool")

    def is_aside() -> bool:
        shown = {each["name"]: each["doing"] for each in cluster.ask("workers")}
        return shown["worker-2"].startswith("put aside for ")

    until(is_aside)
    out, _ = client.communicate(timeout=60)
    assert client.returncode == 0, (cluster.folder / "stderr").read_text()
    assert differ(out, TEXT) == ""
    assert 3 <= cluster.ask("status")["failures"] <= 6


def test_program_that_always_fails_is_told_soon(cluster: Cluster) -> None:
    """On one worker after two runs, and on many after four."""
    for count in (1, 3):
        while len(cluster.workers) < count:
            add_worker(cluster, "broken")
        ran = cluster.request("run", "input", "--quiet", "--mapper", "tool", seconds=SOON)
        assert ran.returncode == 1
        times = {1: "2 times", 3: "4 times"}[count]
        assert f"the mapper failed {times} on input, line".encode() in ran.stderr
        assert b"exit status 9" in ran.stderr


def test_slow_program_that_always_fails_is_told_after_its_attempts(cluster: Cluster) -> None:
    """Four by default, on the same lines, on other workers first."""
    add_worker(cluster, "sound")
    add_worker(cluster, "sound")
    fails = "sleep 1.1; echo 'no use' >&2; exit 1"
    ran = cluster.request("run", "input", "--quiet", "--mapper", fails, seconds=SOON)
    assert ran.returncode == 1
    assert b"the mapper failed 4 times on input, line" in ran.stderr
    assert ran.stderr.strip().endswith(b"it said: no use")


def test_no_number_of_departures_fails_a_request(cluster: Cluster) -> None:
    """A worker that is killed ten times over the same lines."""
    add_worker(cluster, "sound")
    [worker] = cluster.workers
    begun, gate = cluster.folder / "begun", cluster.folder / "gate"
    gate.touch()
    held = f"echo >> {begun}; while [ -e {gate} ]; do sleep 0.05; done; cat"
    request = cluster.request("run", "input", "--mapper", held, "--detach").stdout.decode().strip()
    for deaths in range(10):
        until(lambda deaths=deaths: begun.exists() and begun.stat().st_size > deaths, 60, "a run")
        worker.kill()
        worker.start()
    gate.unlink()
    assert cluster.request("wait", request).returncode == 0
    assert differ(cluster.request("answer", request).stdout, TEXT) == ""
    assert cluster.ask("status")["failures"] == 0
