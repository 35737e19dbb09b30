"""Machines whose cable is pulled: neither side is told, and all of them find out."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, can, running, until

NUMBER = os.getpid()
NAME = f"hgm{NUMBER}"
NET = f"10.{200 + NUMBER % 50}.{NUMBER // 50 % 250}"
FOUND_OUT_SECONDS = 60.0
"""A link is given up after half a minute without a sign."""
TEXT = b"b\na\n"


def ip(*words: object) -> None:
    subprocess.run(["ip", *map(str, words)], check=True, capture_output=True, timeout=20)


@pytest.fixture
def machine(short: bool) -> Iterator[str]:
    """A network namespace at the other end of a cable of ours."""
    if short:
        pytest.skip("it takes a minute")
    if os.geteuid() or not can("ip", "netns", "list"):
        pytest.skip("only root can make network namespaces")
    try:
        ip("netns", "add", NAME)
        ip("link", "add", NAME, "type", "veth", "peer", "name", "eth0", "netns", NAME)
        ip("addr", "add", f"{NET}.1/24", "dev", NAME)
        ip("link", "set", NAME, "up")
        ip("-n", NAME, "addr", "add", f"{NET}.2/24", "dev", "eth0")
        ip("-n", NAME, "link", "set", "eth0", "up")
        yield NAME
    finally:
        can("ip", "netns", "del", NAME)


@pytest.fixture
def cluster(machine: str, tmp_path: Path) -> Iterator[Cluster]:
    """A server here, and a worker there."""
    with running(tmp_path / "it", 0, host=f"{NET}.1", options=("--insecure",)) as made:
        (made.at / "input").write_bytes(TEXT)
        made.add_worker("--allow-root", prefix=["ip", "netns", "exec", machine])
        made.await_workers()
        yield made
        ip("link", "set", NAME, "up")


@pytest.mark.parametrize("command", ["run", "wait"])
def test_all_find_out_that_a_link_is_dead(cluster: Cluster, machine: str, command: str) -> None:
    """The worker, a client that waits and the server; when the cable is back, so are they."""
    client = begin(cluster, machine, command)
    try:
        until(lambda: busy(cluster), what="a lease")
        until(lambda: connections(cluster) >= 3, what="a worker and a client")
        ip("link", "set", NAME, "down")
        [worker] = cluster.workers
        until(lambda: not connections(cluster), FOUND_OUT_SECONDS, "the end of the server's connections")
        until(lambda: worker.said("the server is gone"), FOUND_OUT_SECONDS, "the end of the worker's")
        ip("link", "set", NAME, "up")
        assert client.wait(FOUND_OUT_SECONDS) == 0
    finally:
        client.kill()
        client.wait()
    assert cluster.request("answer").stdout == TEXT


def begin(cluster: Cluster, machine: str, command: str) -> "subprocess.Popen[bytes]":
    """A client on the other machine that follows a request to its end."""
    words: tuple[str, ...] = ("run", "input", "--mapper", "sleep 5; cat")
    if command == "run":
        words = (*words, "--output", "answer")
    else:
        ran = cluster.request(*words, "--detach")
        words = ("wait", ran.stdout.decode().strip())
    there = ["ip", "netns", "exec", machine, *cluster.request_words(*words)]
    return subprocess.Popen(there, env=cluster.env, cwd=cluster.at)


def busy(cluster: Cluster) -> bool:
    """Whether the worker has something in hand."""
    return any(each["doing"] != "idle" for each in cluster.ask("workers"))


def connections(cluster: Cluster) -> int:
    """How many the server has to the other machine."""
    assert cluster.server.process is not None
    words = ["ss", "-Htn", "state", "established", "dst", f"{NET}.2"]
    found = subprocess.run(words, capture_output=True, text=True, check=True)
    return len(found.stdout.splitlines())
