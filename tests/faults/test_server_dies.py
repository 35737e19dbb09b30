"""The server is killed, again and again, or stopped while it is busy: nothing is lost or charged."""

import json
import random
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, running, until
from line_ledger import numbered, wrong_in_ledger

pytestmark = pytest.mark.slow

STOP_SECONDS = 10.0
SLOWLY = f"""#!{sys.executable}
import os, sys, time
for line in sys.stdin.buffer:
    if not os.path.exists(os.environ["HURRY"]):
        time.sleep(0.01)
    sys.stdout.buffer.write(line.partition(b"\\t")[0] + b"\\n")
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three workers, and a mapper that takes 10 ms for a line until it is told to hurry."""
    with running(tmp_path / "it", 3) as made:
        (made.at / "slowly.py").write_text(SLOWLY)
        (made.at / "slowly.py").chmod(0o755)
        yield made


def submit(cluster: Cluster, lines: int) -> str:
    """The line ledger: each number comes out once."""
    (cluster.at / "input").write_bytes(numbered(lines))
    words = ("run", "input", "--mapper", "./slowly.py", "--reducer", "cat", "--detach")
    return cluster.request(*words, "--env", f"HURRY={hurry(cluster)}").stdout.decode().strip()


def hurry(cluster: Cluster) -> Path:
    """Where the mapper looks whether it shall."""
    return cluster.folder / "hurry"


def committed(cluster: Cluster, request: str) -> float:
    """The share of the lines that is; 2: the map is over."""
    asked = cluster.request("status", request, "--json")
    if asked.returncode:
        return 0.0
    status = json.loads(asked.stdout)
    assert status["failures"] == 0, status
    return float(status["done"]) if status["phase"] == "map" else 2.0


def check_ledger(cluster: Cluster, request: str, lines: int) -> None:
    """Every line once, and no attempt is charged to the program."""
    waited = cluster.request("wait", request)
    assert waited.returncode == 0, waited.stderr.decode()
    assert wrong_in_ledger(cluster.request("answer", request).stdout, lines) == []
    assert cluster.ask("status", request)["failures"] == 0


@pytest.mark.parametrize(
    ("kills", "lines"), [(5, 10_000), pytest.param(60, 100_000, marks=pytest.mark.full)]
)
def test_each_life_of_a_server_gets_further(cluster: Cluster, kills: int, lines: int) -> None:
    """Killed at random, each time when something more is committed than in the life before."""
    chance, request, done = random.Random(kills), submit(cluster, lines), 0.0
    for _ in range(kills):
        until(lambda done=done: committed(cluster, request) > done, what="progress in this life")
        time.sleep(chance.uniform(0, 0.3))
        cluster.server.kill()
        cluster.start_server()
        # Until its lines are counted again nobody can say which part is done.
        until(lambda done=done: committed(cluster, request) > done, what="what was committed")
        done = committed(cluster, request)
        assert done < 2.0, "it was over before the last kill"
    hurry(cluster).touch()
    check_ledger(cluster, request, lines)


def test_busy_server_that_is_told_to_stop_stops_in_time(cluster: Cluster) -> None:
    """With programs, clients that wait, silent connections, a transfer under way: all is put away."""
    request = submit(cluster, 400)
    waiting = [
        cluster.begin_client(cluster.folder / f"said-{each}", *words)
        for each, words in enumerate([("wait", request), ("answer", request)])
    ]
    silent = [socket.create_connection(("127.0.0.1", port)) for port in (cluster.commands, cluster.web)]
    silent[1].sendall(b"PUT /uploads/u1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nbegun")
    until(lambda: committed(cluster, request) > 0)
    assert cluster.server.process is not None
    cluster.server.term()
    assert cluster.server.process.wait(STOP_SECONDS) == 0
    state = cluster.server.folder / "state"
    kept = {"journal.sqlite", "journal.sqlite-told", "lives.jsonl", "lock", "spool"}
    assert {each.name for each in state.iterdir()} == kept
    for each in silent:
        each.close()
    cluster.start_server()
    check_ledger(cluster, request, 400)
    assert waiting[0].wait(20) == 0
    assert wrong_in_ledger(waiting[1].communicate(timeout=20)[0], 400) == []
