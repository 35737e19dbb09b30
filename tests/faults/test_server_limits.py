"""A server with few descriptors, or with little memory: it goes on."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cluster import Cluster, can, differ, until

from hagoop import commands

pytestmark = pytest.mark.slow

MOST_BYTES = 512 << 20
FEW = 64
MANY = 200
SLOWLY = "while read -r line; do sleep 0.01; printf '%s\\n' \"$line\"; done"
TEXT = b"".join(b"line %d\n" % each for each in range(300))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Nothing is started yet."""
    made = Cluster(tmp_path / "it")
    (made.at / "input").write_bytes(TEXT)
    try:
        yield made
    finally:
        made.end()


def dial(port: int) -> socket.socket:
    """A connection that says nothing."""
    made = socket.socket()
    made.setblocking(False)
    made.connect_ex(("127.0.0.1", port))
    return made


@pytest.mark.skipif(not can("prlimit", "--version"), reason="there is no prlimit")
def test_server_without_descriptors_serves_those_it_has(cluster: Cluster) -> None:
    """64 descriptors and 200 connections that say nothing: workers go on, others come in later."""
    cluster.server.prefix = ["prlimit", f"--nofile={FEW}"]
    cluster.start_server()
    cluster.start_workers(2)
    request = cluster.request("run", "input", "--mapper", SLOWLY, "--detach").stdout.decode().strip()
    until(lambda: cluster.ask("status", request)["done"] > 0)
    assert cluster.server.process is not None
    with ExitStack() as stack:
        for number in range(MANY):
            stack.enter_context(dial((cluster.commands, cluster.web)[number % 2]))
        time.sleep(0.5)
        assert len(os.listdir(f"/proc/{cluster.server.process.pid}/fd")) < FEW
        waited = cluster.request("wait", request)
        assert waited.returncode == 0, waited.stderr.decode()
        assert [each["lost"] for each in cluster.ask("workers")] == [0, 0]
    assert differ(cluster.request("answer", request).stdout, TEXT) == ""
    assert cluster.ask("status", request)["failures"] == 0
    server = cluster.server
    assert (
        server.said("left, failed: True"),
        server.said("cannot be written"),
        server.said("EMFILE"),
    ) == (0, 0, 0)
    assert server.said("all that this process has descriptors for") <= 1


def joined(cluster: Cluster) -> socket.socket:
    """A client that has come in, and stays."""
    version = b"%d" % commands.PROTOCOL_VERSION
    values = {
        b"_ask": b"1",
        b"_command": b"Join",
        b"version": version,
        b"role": b"client",
        b"slots": b"0",
    }
    values |= dict.fromkeys((b"identity", b"process", b"name"), b"") | {b"held": b"[]"}
    parts = [part for pair in values.items() for part in pair]
    made = dial(cluster.commands)
    made.setblocking(True)
    made.sendall(b"".join(len(each).to_bytes(2, "big") + each for each in parts) + b"\0\0")
    return made


@pytest.mark.skipif(not can("prlimit", "--version"), reason="there is no prlimit")
def test_more_clients_than_descriptors_wait_outside(cluster: Cluster) -> None:
    """Accepts pause, with one line in the log; when some have left the others come in."""
    cluster.server.prefix = ["prlimit", f"--nofile={FEW}"]
    cluster.start_server()
    cluster.start_workers(1)
    with ExitStack() as stack:
        for _ in range(MANY):
            stack.enter_context(joined(cluster))
        until(lambda: cluster.server.said("all that this process has descriptors for"))
        waiting = cluster.begin("list")
        time.sleep(0.5)
        assert waiting.poll() is None
    assert waiting.wait(30) == 0
    assert cluster.request("run", "input", "--mapper", "cat").stdout == TEXT
    assert cluster.server.said("all that this process has descriptors for") == 1
    assert cluster.server.said("left, failed: True") == 0


def peak_bytes(process: int) -> int:
    """The most memory that a process has had."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(each.split()[1]) << 10 for each in lines if each.startswith("VmHWM"))


@pytest.mark.parametrize("mebibytes", [16, pytest.param(1200, marks=pytest.mark.full)])
def test_results_are_spooled_and_not_held(cluster: Cluster, mebibytes: int) -> None:
    """An upload, runs and an answer of so much go through a server: its memory stays small."""
    cluster.start_server()
    cluster.start_workers(2)
    assert cluster.server.process is not None
    line = os.urandom(40_000).hex().encode() + b"\n"
    lines = (mebibytes << 20) // len(line)
    source = cluster.folder / "large"
    with open(source, "wb") as file:
        for number in range(lines):
            file.write(b"%06d" % (number * 7919 % lines) + line)
    before = peak_bytes(cluster.server.process.pid)
    with open(source, "rb") as stdin:
        words = cluster.request_words("run", "-", "--quiet", "--mapper", "cat", "--reducer", "cat")
        client = subprocess.run(
            [*words, "--output", str(cluster.folder / "answer")],
            cwd=cluster.at,
            env=cluster.env,
            stdin=stdin,
            capture_output=True,
            timeout=600,
        )
    assert client.returncode == 0, client.stderr.decode()
    assert (cluster.folder / "answer").stat().st_size == source.stat().st_size
    peak = peak_bytes(cluster.server.process.pid)
    assert peak < MOST_BYTES
    # However much it is: what passes through is held in pieces.
    assert peak - before < 200 << 20, (peak >> 20, before >> 20)
