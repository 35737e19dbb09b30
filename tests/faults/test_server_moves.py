"""A server whose machine is lost: another starts from its backup, and everybody finds it."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nursery
import pytest
from attrs import define, field
from cluster import Cluster, differ, free_ports, oracle, until

pytestmark = pytest.mark.slow

LINES = 600
TEXT = b"".join(b"k%d\t%d\n" % (each % 37, each) for each in range(LINES))
SLOWLY = f"""#!{sys.executable}
import sys, time
for line in sys.stdin.buffer:
    time.sleep(0.01)
    sys.stderr.write("reporter:counter:it,lines,1\\n")
    sys.stdout.buffer.write(line.upper())
"""
KEYS = "cut -f1 | uniq -c"


@define(eq=False)
class Movable(Cluster):
    """A cluster whose server may listen elsewhere one day.

    :ivar later: its ports there.
    """

    later: list[int] = field(factory=lambda: free_ports(2))

    @property
    def both(self) -> str:
        """Where it is now, and where it may be."""
        return f"{self.address},{self.host}:{self.later[0]}"

    def move(self, state: Path) -> None:
        """Start a server there, with that state; the old machine is no more."""
        shutil.rmtree(self.server.folder / "state")
        self.commands, self.web = self.later
        listen = ["--listen", f"{self.host}:{self.commands}", "--web", f"{self.host}:{self.web}"]
        self.server.words += ["--state", str(state), *listen]
        self.start_server()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Movable]:
    """A server, and workers that know both of its addresses."""
    made = Movable(tmp_path / "it")
    try:
        (made.at / "slowly.py").write_text(SLOWLY)
        (made.at / "slowly.py").chmod(0o755)
        made.start_server()
        made.start_workers(3, "--server", made.both)
        yield made
    finally:
        made.end()


def back_up(cluster: Movable, target: Path) -> "subprocess.CompletedProcess[bytes]":
    """``hagoop-server backup``."""
    words = [sys.executable, "-c", "from hagoop.server_tap import main; main()", "backup", str(target)]
    state = str(cluster.server.folder / "state")
    return nursery.run([*words, "--state", state], cwd=cluster.at, env=cluster.env, seconds=60)


def done(cluster: Movable) -> float:
    """The share of the newest request's lines that is committed."""
    status = cluster.ask("status")
    return float(status["done"]) if status["phase"] == "map" else 1.0


def test_request_goes_on_at_a_server_started_from_a_backup(cluster: Movable, tmp_path: Path) -> None:
    """Backed up under load, with workers that die; what was committed since is done again, once."""
    first = cluster.request("run", "-", "--mapper", "rev", "--reducer", "uniq -c", stdin=TEXT)
    words = ("run", "-", "--mapper", "./slowly.py", "--reducer", KEYS, "--detach")
    request = cluster.request(*words, stdin=TEXT).stdout.decode().strip()
    until(lambda: done(cluster) > 0.1)
    cluster.workers[0].kill()
    backed_up = back_up(cluster, tmp_path / "backup")
    assert backed_up.returncode == 0, backed_up.stderr.decode()
    assert b"Backed up 2 requests, 1 of them running" in backed_up.stderr
    again = back_up(cluster, tmp_path / "backup")
    assert again.returncode == 1
    assert b"/backup' is there and not empty; name a folder that is not there yet" in again.stderr
    then, known = done(cluster), {each["id"] for each in cluster.ask("workers")}
    waiting = cluster.begin_client(cluster.folder / "waited", "wait", request, "--server", cluster.both)
    words = cluster.request_words("run", "-", "--mapper", "cat", "--detach")
    # Not by the cluster, which remembers what was acknowledged.
    lost = nursery.run(words, cwd=cluster.at, env=cluster.env, stdin=b"later\n", seconds=60)
    until(lambda: cluster.ask("status", request)["done"] > then)
    cluster.server.kill()
    cluster.move(tmp_path / "backup")
    cluster.workers[0].start()
    until(lambda: len(cluster.ask("workers")) == 3, what="the workers' coming")
    assert cluster.request("answer", "r1").stdout == first.stdout
    assert known <= {each["id"] for each in cluster.ask("workers")}
    assert waiting.wait(60) == 0, (cluster.folder / "waited").read_text()
    answer = cluster.request("answer", request, "--server", cluster.both).stdout
    assert differ(answer, oracle([TEXT], "tr a-z A-Z", KEYS)) == ""
    status = cluster.ask("status", request)
    assert status["failures"] == 0
    assert status["counters"] == [{"group": "it", "name": "lines", "amount": LINES}]
    # Its number is not given again, for workers may still hold some of it.
    assert lost.stdout == b"r3\n"
    assert cluster.request("status", "r3").returncode == 1
    newest = cluster.request("run", "-", "--mapper", "cat", "--detach", stdin=b"new\n").stdout
    assert int(newest[1:]) > 1_000_000
