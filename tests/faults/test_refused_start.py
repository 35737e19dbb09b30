"""S5, S6, S9: what a real server says of a damaged disk, and its exit status; and of a taken port."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, Part, oracle, running, until
from damage import LOG, NAME, TOLD, flipped

pytestmark = pytest.mark.slow

LOOKS = 5
LINES = b"".join(b"k%d\tv%d\n" % (number % 7, number) for number in range(300))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server that was killed when a request was done; what it has left is kept."""
    with running(tmp_path_factory.mktemp("refused") / "it", 1) as cluster:
        (cluster.at / "input").write_bytes(LINES)
        ran = cluster.request("run", "input", "--mapper", "cat", "--reducer", "cut -f1 | uniq -c")
        assert ran.returncode == 0, ran.stderr
        moments: list[int] = []
        until(lambda: is_quiet(state_of(cluster), moments), what="an end of its commits")
        cluster.server.kill()
        shutil.copytree(state_of(cluster), cluster.folder / "killed")
        cluster.start_server()
        cluster.server.term()
        cluster.server.wait()
        shutil.copytree(state_of(cluster), cluster.folder / "closed")
        yield cluster
        restore(cluster, "closed")
        cluster.start_server()


def state_of(cluster: Cluster) -> Path:
    return cluster.server.folder / "state"


def is_quiet(state: Path, moments: list[int]) -> bool:
    """Whether all commits are told of, and no other came since a few looks: one that is not told of when
    its server is killed may be lost, and nobody misses it."""
    moments.append((state / LOG).stat().st_mtime_ns)
    last = moments[-LOOKS:]
    told = (state / TOLD).stat().st_mtime_ns
    return last == [last[0]] * LOOKS and last[0] <= told


def restore(cluster: Cluster, kept: str) -> None:
    """As it was when it was killed, or closed after that."""
    if cluster.server.is_alive:
        cluster.server.kill()
    shutil.rmtree(state_of(cluster))
    shutil.copytree(cluster.folder / kept, state_of(cluster))
    cluster.server.log.unlink(missing_ok=True)


def start(part: Part) -> int | None:
    """Let it try; its exit status, None while it runs."""
    part.start()
    until(lambda: not part.is_alive or part.said("Starting factory"), what="a start or an end")
    assert part.process is not None
    return part.process.poll()


@pytest.mark.parametrize(
    ("name", "where", "said"),
    [
        (LOG, 0.0, "is damaged at byte 0 of "),
        (LOG, 0.6, "or give up what is in the log from byte "),
        (LOG, 0.99, "or give up what is in the log from byte "),
        (NAME, 0.0, "is no sound journal (file is not a database); restore it from a backup, or move"),
    ],
)
def test_flipped_bit_stops_the_start(killed: Cluster, name: str, where: float, said: str) -> None:
    """One sentence, no traceback, exit status 1, nothing changed and no pid file left."""
    restore(killed, "closed" if name == NAME else "killed")
    file = state_of(killed) / name
    whole = file.read_bytes()
    damaged = flipped(whole, round(where * len(whole)))
    file.write_bytes(damaged)
    assert start(killed.server) == 1
    log = killed.server.log.read_text()
    assert f"hagoop-server: '{state_of(killed)}/{NAME}" in log
    assert said in log
    assert "Traceback" not in log
    assert file.read_bytes() == damaged
    assert not list(killed.server.folder.glob("*.pid"))


def test_port_that_is_taken_stops_the_start(killed: Cluster) -> None:
    """Also where there is something to clear of a request that has ended; the next finds all free."""
    restore(killed, "closed")
    with socket.create_server((killed.host, killed.commands)):
        killed.server.start()
        killed.server.wait()
    assert killed.server.process is not None
    assert killed.server.process.poll() == 1
    said = killed.server.log.read_text()
    assert f"hagoop-server: Couldn't listen on {killed.host}:{killed.commands}: " in said
    assert "Traceback" not in said
    killed.start_server()
    assert killed.server.said("is in use by process") == 0


def test_torn_end_is_dropped_and_the_server_goes_on(killed: Cluster) -> None:
    """The end of a request is lost with the log's; it ends again, with the same answer."""
    restore(killed, "killed")
    log = state_of(killed) / LOG
    log.write_bytes(log.read_bytes()[:-5000])
    killed.start_server()
    assert killed.server.said("was cut short at byte") == 1
    assert killed.request("wait").returncode == 0
    expected = oracle([LINES], None, "cut -f1 | uniq -c")
    assert killed.request("answer").stdout == expected
    killed.server.kill()
