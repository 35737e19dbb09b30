"""Workers of every kind beside a good one: the answer is the same."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, Part, differ, is_one_sentence, oracle, running, until

pytestmark = pytest.mark.slow

LINES = 300
SLOW = "./slow.py"
SCRIPT = f"""#!{sys.executable}
import sys, time
for line in sys.stdin.buffer:
    time.sleep(0.005)
    sys.stdout.buffer.write(line.upper())
"""
TEXT = b"".join(b"k%d\tv%d\n" % (number % 37, number) for number in range(LINES))
KEYS = "cut -f1 | uniq -c"
DIES = " dies in its life "


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A server, and a mapper that takes 5 ms for a line."""
    with running(tmp_path / "it", 0) as made:
        (made.at / "input").write_bytes(TEXT)
        (made.at / "slow.py").write_text(SCRIPT)
        (made.at / "slow.py").chmod(0o755)
        yield made


def begin(cluster: Cluster, kind: str, *options: str) -> tuple[Part, "object"]:
    """Let unruly workers get at the work first, then start a good one."""
    unruly = cluster.add_unruly(kind, *options)
    cluster.await_workers()
    client = cluster.begin("run", "input", "--mapper", SLOW, "--reducer", KEYS)
    until(lambda: holds_work(cluster) or not unruly.is_alive, what="work for the unruly")
    cluster.add_worker()
    return unruly, client


def holds_work(cluster: Cluster) -> bool:
    """Whether the request is there, and somebody has got some of it."""
    return unruly_has_died(cluster) or any(each["doing"] != "idle" for each in cluster.ask("workers"))


def unruly_has_died(cluster: Cluster) -> bool:
    """Whether work may have come and gone."""
    return any(each.said(DIES) for each in cluster.workers)


def finish(cluster: Cluster, client: "object") -> None:
    """Wait for the answer and compare it."""
    out, _ = client.communicate(timeout=80)  # type: ignore[attr-defined]
    assert client.returncode == 0, (cluster.folder / "stderr").read_text()  # type: ignore[attr-defined]
    assert differ(out, oracle([TEXT], "tr a-z A-Z", KEYS)) == ""
    assert cluster.ask("status")["failures"] == 0


def names(cluster: Cluster) -> set[str]:
    """Who is connected."""
    return {each["name"] for each in cluster.ask("workers")}


@pytest.mark.parametrize("count", ["1", "3"])
def test_bad_workers_die_of_work(cluster: Cluster, count: str) -> None:
    """A process is really gone; of several in one, the server sees no more."""
    unruly, client = begin(cluster, "bad", "--count", count)
    finish(cluster, client)
    until(lambda: 1 + int(count) - unruly.said(DIES) == len(names(cluster)), what="the end of the dead")
    assert unruly.said(DIES)
    assert unruly.is_alive == (count != "1")


@pytest.mark.parametrize("kind", ["evil", "looping"])
@pytest.mark.parametrize("count", ["1", "3"])
def test_workers_that_never_end_are_not_waited_for(cluster: Cluster, kind: str, count: str) -> None:
    """Others do what they hold; they stay connected, and no program of theirs is left."""
    unruly, client = begin(cluster, kind, "--count", count)
    finish(cluster, client)
    assert unruly.is_alive


def test_late_workers_are_not_waited_for(cluster: Cluster) -> None:
    """What comes after a copy of it changes nothing."""
    unruly, client = begin(cluster, "late", "--delay", "8")
    finish(cluster, client)
    assert unruly.is_alive
    assert "late-1" in names(cluster)


def test_late_workers_alone_get_there(cluster: Cluster) -> None:
    """Their work counts when it is not done by others."""
    cluster.add_unruly("late", "--delay", "0.5", "--count", "2")
    cluster.await_workers()
    finish(cluster, cluster.begin("run", "input", "--mapper", "tr a-z A-Z", "--reducer", KEYS))


@pytest.mark.parametrize("count", ["1", "4"])
def test_dying_workers_stay_away(cluster: Cluster, count: str) -> None:
    """Processes die by SIGKILL; several in one process by themselves."""
    unruly, client = begin(cluster, "dying", "--count", count, "--chance", "0.2")
    finish(cluster, client)
    until(lambda: unruly.said(DIES) == int(count), what="all deaths")
    until(lambda: names(cluster) == {"worker-2"})
    assert unruly.is_alive == (count != "1")


@pytest.mark.parametrize("count", ["1", "4"])
def test_flaky_workers_come_back_as_themselves(cluster: Cluster, count: str) -> None:
    """Each life begins as a fresh process does, and under the same identity."""
    unruly, client = begin(cluster, "flaky", "--count", count, "--chance", "0.1")
    finish(cluster, client)
    until(lambda: unruly.said("joined ") > 2 * int(count), what="a third life")
    joined = [line for line in unruly.log.read_text().splitlines() if "joined " in line]
    assert len({line.split()[-1] for line in joined}) == int(count)
    assert unruly.is_alive


def test_good_workers_in_one_process(cluster: Cluster) -> None:
    """Several workers need no process each."""
    cluster.add_unruly("good", "--count", "5")
    cluster.await_workers()
    until(lambda: len(names(cluster)) == 5)
    assert names(cluster) == {f"good-1-{number}" for number in range(1, 6)}
    finish(cluster, cluster.begin("run", "input", "--mapper", SLOW, "--reducer", KEYS))


def test_process_that_was_killed_leaves_no_other_behind(cluster: Cluster) -> None:
    """Who starts the flaky again may be killed too; its process then leaves by itself."""
    cluster.add_unruly("flaky", "--chance", "0")
    cluster.await_workers()
    cluster.workers[0].kill()
    until(lambda: not names(cluster))


@pytest.mark.parametrize("kind", ["flaky", "evil"])
def test_process_whose_parent_is_gone_before_it_begins_leaves(cluster: Cluster, kind: str) -> None:
    """It has nobody whose end it could notice later."""
    unruly = cluster.add_unruly(kind, "--parent", "1")
    unruly.wait()
    assert unruly.process is not None
    assert unruly.process.returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--kind", "angelic", "--state", "x"], b"--kind: 'angelic' is not a kind of worker"),
        (["--kind", "evil"], b"--state is missing"),
        (["--kind", "evil", "--state", "x", "--chance", "2"], b"--chance: '2' is not allowed"),
        (["--kind", "evil", "--state", "x", "--delay", "soon"], b"--delay: 'soon' is not allowed"),
    ],
)
def test_usage_is_told_in_a_sentence(tmp_path: Path, words: list[str], said: bytes) -> None:
    """And nothing is started."""
    part = Part(tmp_path, [sys.executable, "-m", "hagoop.demo.unruly", *words], {"HOME": str(tmp_path)})
    part.start()
    part.wait()
    assert part.process is not None
    assert part.process.returncode == 2
    log = part.log.read_bytes()
    assert log.startswith(said)
    assert is_one_sentence(log)
