"""Workers that leave at a time or after a signal, or rest for a while: nothing is lost by that."""

import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cluster import Cluster, Part, differ, oracle, running, until

from hagoop.families import family

LINES = b"".join(b"k%d\t%d\n" % (number % 7, number) for number in range(200))
PAUSE = ["--grace", "1"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server and what it works on."""
    with running(tmp_path_factory.mktemp("notice") / "it", 0) as made:
        (made.at / "lines").write_bytes(LINES)
        yield made


@pytest.fixture
def cluster(shared: Cluster) -> Iterator[Cluster]:
    """The same; the workers of a test end with it."""
    yield shared
    for each in shared.workers:
        each.term()
    for each in shared.workers:
        each.wait()


def zone(wall: str, seconds: int) -> str:
    """A time zone in which it is so many seconds before an hour."""
    hour, minute = map(int, wall.split(":"))
    now = datetime.now(UTC)
    wanted = now.replace(hour=hour, minute=minute, second=0, microsecond=0) - timedelta(seconds=seconds)
    west = round((now - wanted).total_seconds()) % 86400
    return f"HERE{west // 3600}:{west // 60 % 60:02}:{west % 60:02}"


def doing(cluster: Cluster, part: Part) -> str:
    """What is shown of a worker; nothing when it is gone."""
    shown = {each["name"]: each["doing"] for each in cluster.ask("workers")}
    return str(shown.get(part.folder.name, ""))


def await_doing(cluster: Cluster, part: Part, words: str) -> None:
    """Wait until a worker is shown to do that."""
    until(lambda: words in doing(cluster, part), what=f"a worker {words}")


def await_program(cluster: Cluster, part: Part) -> None:
    """Wait until it maps: what it has not begun it would hand back at once, and be gone."""
    await_doing(cluster, part, "map")
    process = part.process
    assert process is not None
    until(lambda: len(family(process.pid, 2)) > 1, what="the start of a program")


def begin(cluster: Cluster, name: str) -> "subprocess.Popen[bytes]":
    """A request whose programs wait for a gate; it is open when the file ``name`` is there."""
    gate = cluster.at / name
    mapper = f"while [ ! -e {gate} ]; do sleep 0.1; done; cat"
    return cluster.begin("run", "lines", "--mapper", mapper)


def finish(cluster: Cluster, name: str, client: "subprocess.Popen[bytes]") -> None:
    """Open the gate, and see what comes."""
    (cluster.at / name).touch()
    answer, _ = client.communicate(timeout=90)
    assert client.returncode == 0
    assert differ(answer, oracle([LINES], None)) == ""
    assert cluster.server.said("failed: True") == 0


def end(part: Part) -> int:
    """A worker's exit status, once it has ended by itself."""
    until(lambda: not part.is_alive, what="the end of a worker")
    assert part.process is not None
    return int(part.process.returncode)


def test_workers_that_leave_lose_nothing(cluster: Cluster) -> None:
    """They end by themselves, at their time; what was in hand is for others, and no loss is counted."""
    client = begin(cluster, "leaving")
    timed = cluster.add_worker("--until", "+6s", *PAUSE)
    told = cluster.add_worker("--notice", "3", *PAUSE)
    closing = cluster.add_worker("--hours", "22-7", *PAUSE, TZ=zone("7:00", 5))
    stopped = cluster.add_worker("--grace", "600")
    for each in (told, stopped):
        await_program(cluster, each)
    assert told.process is not None
    told.process.send_signal(signal.SIGUSR2)
    stopped.term()
    await_doing(cluster, stopped, "leaving")
    # Its job would go on for ten minutes.
    stopped.term()
    assert end(stopped) == -signal.SIGTERM
    assert end(told) == end(timed) == 0
    await_doing(cluster, closing, "resting until 22:00")
    assert closing.is_alive
    cluster.add_worker()
    finish(cluster, "leaving", client)
    assert cluster.server.said("failed: False") == 3


def test_worker_comes_again_by_itself(cluster: Cluster) -> None:
    """At its hours; before them it rests, connected.  When it leaves, the job in hand counts."""
    client = begin(cluster, "again")
    resting = cluster.add_worker("--hours", "12-13,22-7", TZ=zone("16:00", 0))
    opening = cluster.add_worker("--hours", "22-7", "--grace", "60", TZ=zone("22:00", 4))
    await_doing(cluster, resting, "resting until 22:00")
    await_program(cluster, opening)
    opening.term()
    await_doing(cluster, opening, "leaving")
    cluster.add_worker()
    finish(cluster, "again", client)
    assert end(opening) == -signal.SIGTERM
    assert doing(cluster, resting) == "resting until 22:00"


def test_owner_of_a_machine_is_looked_for(cluster: Cluster) -> None:
    """Whether somebody uses this one or not: the worker says so, and rests or works."""
    looking = cluster.add_worker("--idle-only")
    if not looking.said("does not show whether somebody uses it"):
        until(lambda: looking.said("joined ") or not looking.is_alive, what="a worker's Join")
        said = ("looking whether", "in use by", "busy with", "idle")
        assert looking.is_alive
        assert doing(cluster, looking).startswith(said)
