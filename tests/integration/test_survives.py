"""Workers and servers killed in the middle: the answer is the same."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, differ, oracle, running, until

pytestmark = pytest.mark.slow

LINES = 450
SLOW = "./slow.py"
SCRIPT = f"""#!{sys.executable}
import sys, time
for line in sys.stdin.buffer:
    time.sleep(0.01)
    sys.stdout.buffer.write(line.upper())
"""
TEXT = b"".join(b"k%d\tv%d\n" % (number % 37, number) for number in range(LINES))
KEYS = "cut -f1 | uniq -c"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Two workers, and a mapper that takes 10 ms for a line."""
    with running(tmp_path / "it", 2) as made:
        (made.at / "input").write_bytes(TEXT)
        (made.at / "slow.py").write_text(SCRIPT)
        (made.at / "slow.py").chmod(0o755)
        yield made


def expected(cluster: Cluster) -> bytes:
    return oracle([TEXT], "tr a-z A-Z", KEYS)


RUN = ("run", "input", "--mapper", SLOW, "--reducer", KEYS)


def is_in_the_middle(cluster: Cluster) -> bool:
    """Whether something is committed, and not all."""
    asked = cluster.request("status", "--json")
    if asked.returncode:
        return False
    status = json.loads(asked.stdout)
    assert status["state"] == "running", status
    return status["phase"] == "map" and status["done"] > 0


def finish(cluster: Cluster, client: "object") -> None:
    """Wait for ``run`` and compare its answer."""
    out, _ = client.communicate(timeout=60)  # type: ignore[attr-defined]
    assert client.returncode == 0, (cluster.folder / "stderr").read_text()  # type: ignore[attr-defined]
    assert differ(out, expected(cluster)) == ""


def finish_detached(cluster: Cluster, request: str) -> None:
    """``wait``, then ``answer``."""
    waited = cluster.request("wait", request)
    assert waited.returncode == 0, waited.stderr.decode()
    answered = cluster.request("answer", request)
    assert answered.returncode == 0, answered.stderr.decode()
    assert differ(answered.stdout, expected(cluster)) == ""


def detach(cluster: Cluster) -> str:
    """Submit; the id."""
    submitted = cluster.request(*RUN, "--detach")
    assert submitted.returncode == 0, submitted.stderr.decode()
    return submitted.stdout.decode().strip()


def test_killed_worker_costs_nothing_but_time(cluster: Cluster) -> None:
    """``kill -9`` of one of two workers, whose programs die with it or are of no account."""
    client = cluster.begin(*RUN)
    until(lambda: is_in_the_middle(cluster))
    cluster.workers[0].kill()
    finish(cluster, client)
    assert cluster.ask("status")["failures"] == 0
    [left] = cluster.ask("workers")
    assert left["name"] == "worker-2"


def test_killed_worker_comes_back(cluster: Cluster) -> None:
    """All are killed; one starts again on its state, under its old identity, and ends the work."""
    before = {each["name"]: each["id"] for each in cluster.ask("workers")}
    client = cluster.begin(*RUN)
    until(lambda: is_in_the_middle(cluster))
    for each in cluster.workers:
        each.kill()
    cluster.workers[0].start()
    finish(cluster, client)
    [back] = cluster.ask("workers")
    assert (back["name"], back["id"]) == ("worker-1", before["worker-1"])


def how_far(cluster: Cluster) -> tuple[int, float]:
    """The phase of the newest request, and how much of it is done: a later one begins at nothing."""
    # A server that has just begun counts the lines again: before, it cannot say what part is done.
    until(lambda: cluster.ask("status")["whole"])
    status = cluster.ask("status")
    return ("map", "merge", "reduce").index(status["phase"]), status["done"]


def test_killed_server_goes_on_where_it_was(cluster: Cluster) -> None:
    """The server is killed and starts again: ``run`` and the workers find it by themselves."""
    client = cluster.begin(*RUN)
    until(lambda: is_in_the_middle(cluster))
    before = how_far(cluster)
    cluster.server.kill()
    cluster.start_server()
    assert how_far(cluster) >= before
    finish(cluster, client)


def test_all_are_killed_at_once(cluster: Cluster) -> None:
    """As when the power fails: server and workers are killed and start again."""
    request = detach(cluster)
    until(lambda: is_in_the_middle(cluster))
    for each in (cluster.server, *cluster.workers):
        each.kill()
    cluster.start_server()
    for each in cluster.workers:
        each.start()
    finish_detached(cluster, request)


def test_server_is_killed_again_and_again(cluster: Cluster) -> None:
    """Three times, while no client looks; ``wait`` and ``answer`` notice nothing."""
    request = detach(cluster)
    for done in (0.0, 0.2, 0.5):
        until(lambda done=done: cluster.ask("status")["done"] > done)
        cluster.server.kill()
        cluster.start_server()
    finish_detached(cluster, request)


def test_answer_outlives_the_server(cluster: Cluster) -> None:
    """A request that is done is there after a restart, whether the server was killed or stopped."""
    ran = cluster.request("run", "input", "--mapper", "cat", "--reducer", KEYS)
    assert ran.returncode == 0
    cluster.server.kill()
    cluster.start_server()
    assert cluster.request("answer").stdout == ran.stdout
    cluster.server.term()
    cluster.server.wait()
    cluster.start_server()
    assert cluster.request("answer").stdout == ran.stdout
    status = cluster.ask("status")
    assert (status["state"], status["answer_bytes"]) == ("done", len(ran.stdout))
    # And there is still somebody to work.
    until(lambda: len(cluster.ask("workers")) == 2)
    assert cluster.request("run", "input", "--mapper", "cat").stdout == TEXT


def test_stopped_server_goes_on_when_it_starts(cluster: Cluster) -> None:
    """SIGTERM in the middle of a request, and a start."""
    client = cluster.begin(*RUN)
    until(lambda: is_in_the_middle(cluster))
    cluster.server.term()
    cluster.server.wait()
    cluster.start_server()
    finish(cluster, client)


def test_stopped_in_the_middle_leaves_nothing(cluster: Cluster) -> None:
    """SIGTERM of all in the middle: all end soon, with their programs; the fixture sees to the rest."""
    client = cluster.begin(*RUN)
    until(lambda: is_in_the_middle(cluster))
    client.kill()
    client.communicate()
    for each in (*cluster.workers, cluster.server):
        each.term()
    for each in (*cluster.workers, cluster.server):
        each.wait()
    assert not list(cluster.folder.glob("*/*.pid"))


TRACE = f"""#!{sys.executable}
import os, sys, time
with open(sys.argv[1], "a") as trace:
    for line in sys.stdin.buffer:
        time.sleep(0.01)
        trace.write(line.decode())
        sys.stdout.buffer.write(line.upper())
"""


def test_worker_that_leaves_sees_its_job_through(cluster: Cluster) -> None:
    """SIGTERM: what it has begun it commits, so that no line is mapped twice; the rest is another's."""
    trace = cluster.folder / "trace"
    (cluster.at / "trace.py").write_text(TRACE)
    mapper = f"{sys.executable} trace.py {trace}"
    client = cluster.begin("run", "input", "--mapper", mapper, "--reducer", KEYS)
    until(lambda: is_in_the_middle(cluster))
    cluster.workers[0].term()
    cluster.workers[0].wait()
    finish(cluster, client)
    assert sorted(trace.read_bytes().splitlines()) == sorted(TEXT.splitlines())
    [left] = cluster.ask("workers")
    assert left["name"] == "worker-2"
    assert not cluster.server.said("left, failed: True")


def test_worker_that_cannot_end_its_job_in_time_ends_it(cluster: Cluster) -> None:
    """The grace is over: its lines are another's, and nothing is left of its program."""
    gate = cluster.folder / "gate"
    gate.touch()
    closed = f"while [ -e {gate} ]; do sleep 0.05; done; exec {SLOW}"
    client = cluster.begin("run", "input", "--mapper", closed, "--reducer", KEYS)
    until(lambda: len([each for each in cluster.ask("workers") if each["doing"] != "idle"]) == 2)
    cluster.workers[0].term()
    cluster.workers[0].wait()
    gate.unlink()
    finish(cluster, client)
    assert cluster.ask("status")["failures"] == 0


def test_machines_imaged_from_one_disk_are_told_apart(cluster: Cluster) -> None:
    """Twelve with one identity: the first keeps it, all others store their own and keep that."""
    for each in cluster.workers:
        each.term()
        each.wait()
    identity = (cluster.workers[0].folder / "state" / "identity").read_text()
    clones = [cluster.workers[0]]
    clones[0].start()
    until(lambda: len(cluster.ask("workers")) == 1)
    for _ in range(11):
        clones.append(cluster.add_worker(identity=identity))
    until(lambda: len(cluster.ask("workers")) == 12)
    ran = cluster.request(*RUN)
    assert differ(ran.stdout, expected(cluster)) == ""
    known = {each["name"]: each["id"] for each in cluster.ask("workers")}
    assert len(set(known.values())) == 12
    assert known["worker-1"] == identity.strip()
    clones[5].term()
    clones[5].wait()
    clones[5].start()
    until(lambda: len(cluster.ask("workers")) == 12)
    assert {each["name"]: each["id"] for each in cluster.ask("workers")} == known
