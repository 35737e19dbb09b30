"""S1 and S3: a server that is killed at its writes, one after the other, and while it recovers from it.

Each life of a server kills itself (``dying_server.py``) before its first write, the next before its
second, and so on until a commit has passed; then the next one is tried in the same way, to the end.
"""

import itertools
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from cluster import Cluster, oracle, until
from journal_reader import read_journal, state_journal, wrong_commits, wrong_ends
from syscalls import injecting, needs_strace

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
HASTE = "import hagoop.asking, hagoop.client; hagoop.asking.FIRST_RETRY_SECONDS = 0.02; "
KEYS = "cut -f1 | uniq -c"
LIFE_SECONDS = 20.0
FILES = 6
MOST_POINTS = 16
"""More writes than these a commit does not need."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A server that has not started, and inputs of several files, so that there are runs to merge."""
    made = Cluster(tmp_path / "it")
    (made.at / "input").mkdir()
    for number, text in enumerate(texts()):
        (made.at / "input" / f"{number}").write_bytes(text)
    yield made
    made.end()


def texts() -> list[bytes]:
    return [b"".join(b"k%d\tv%d\n" % (n % 7, n) for n in range(each, each + 8)) for each in range(FILES)]


def mortal(cluster: Cluster, point: int, at_start: bool = False) -> None:
    """Let the server's next life end at a write; 0: not."""
    plant(cluster, f"die_at({point}, {str(cluster.folder / 'diary')!r}, {at_start})")


def plant(cluster: Cluster, death: str) -> None:
    """Let the server's next life end so."""
    words = cluster.server.words
    plain = words[2].rpartition("; from hagoop.")[2] if "dying_server" in words[2] else words[2]
    plain = plain if plain.startswith("from ") else f"from hagoop.{plain}"
    planted = f"import dying_server; dying_server.{death}"
    words[2] = f"import sys; sys.path.append({str(HERE)!r}); {planted}; {plain}"


def live(cluster: Cluster) -> None:
    """Start it; wait until it listens, or has died."""
    cluster.server.start()
    until(lambda: cluster.listens or not cluster.server.is_alive, what="a server that listens or dies")


def diary(cluster: Cluster) -> Counter[str]:
    """How often it has died of what."""
    path = cluster.folder / "diary"
    return Counter(path.read_text().split()) if path.exists() else Counter()


def requests(cluster: Cluster, count: int, pool: ThreadPoolExecutor) -> list["Future[bytes]"]:
    """So many, each with an answer of its own kind, from clients that come one after the other."""
    return [pool.submit(request, cluster, number) for number in range(count)]


def request(cluster: Cluster, number: int) -> bytes:
    """Run one; its answer.  A client that was told that a submit has failed submits again."""
    words = ("--mapper", f"sed s/v/{number}v/", "--reducer", KEYS, "--quiet")
    output = f"answer-{number}" + ("/" if number % 2 else "")
    while True:
        ran = cluster.request("run", "input", *words, "--output", output, "--force", seconds=600)
        if ran.returncode == 0:
            break
        assert ran.returncode in (1, 3), ran.stderr
    if number % 2:
        assert (cluster.at / output / "_SUCCESS").exists()
        output += "part-00000"
    return (cluster.at / output).read_bytes()


@pytest.mark.parametrize(("count", "lives"), [(2, 10), pytest.param(10, 10**6, marks=pytest.mark.full)])
def test_killed_at_each_write(cluster: Cluster, count: int, lives: int) -> None:
    """Through map, merges, reduce and download: every answer is right, nothing is lost or doubled."""
    mortal(cluster, 0)
    cluster.start_server()
    cluster.start_workers(2)
    for each in cluster.workers:
        each.kill()
        each.words[2] = HASTE + each.words[2]
        each.start()
    with ThreadPoolExecutor(3) as pool:
        answers = requests(cluster, count, pool)
        cluster.server.kill()
        for life in range(lives):
            if all(each.done() for each in answers):
                break
            mortal(cluster, life % MOST_POINTS + 1)
            live(cluster)
            end = time.monotonic() + LIFE_SECONDS
            while cluster.server.is_alive and time.monotonic() < end:
                if all(each.done() for each in answers):
                    break
                time.sleep(0.01)
            if cluster.server.is_alive:
                cluster.server.kill()
        mortal(cluster, 0)
        cluster.start_server()
        for number, each in enumerate(answers):
            assert each.result() == oracle(texts(), f"sed s/v/{number}v/", KEYS)
    died = diary(cluster)
    print(f"{sum(died.values())} deaths: {dict(died)}")
    assert sum(died.values()) >= min(lives, 100) - 2
    journal = read_journal(state_journal(cluster.state))
    assert [*wrong_commits(journal), *wrong_ends(journal)] == []


@pytest.mark.parametrize("given", ["input", "-"])
def test_server_that_dies_between_upload_and_submit_gets_both_again(
    cluster: Cluster, given: str
) -> None:
    """D7: from the same client, which is told nothing; it is one request."""
    text = b"".join(texts())
    plant(cluster, "die_at_submit()")
    cluster.start_server()
    with ThreadPoolExecutor(1) as pool:
        words = ("run", given, "--mapper", "sed s/v/w/", "--reducer", KEYS, "--quiet")
        ran = pool.submit(cluster.request, *words, stdin=text)
        until(lambda: not cluster.server.is_alive, what="the death of the server")
        mortal(cluster, 0)
        cluster.start_server()
        cluster.add_worker()
        assert ran.result().returncode == 0, ran.result().stderr
    assert ran.result().stdout == oracle([text], "sed s/v/w/", KEYS)
    assert len(cluster.ask("list")) == 1


def facts(cluster: Cluster) -> object:
    """All that is recorded, but how often it was opened."""
    return read_journal(state_journal(cluster.state)).facts


@pytest.mark.parametrize(
    "pairs",
    [
        [(1, 2), (5, 4), (9, 1)],
        pytest.param(list(itertools.product(range(1, 15), repeat=2)), marks=pytest.mark.full),
    ],
    ids=["some", "all"],
)
def test_killed_while_it_recovers(cluster: Cluster, pairs: list[tuple[int, int]]) -> None:
    """And again while it recovers from that: what it knows afterwards is what it would have known."""
    mortal(cluster, 40)
    live(cluster)
    cluster.add_worker()
    words = ("run", "input", "--mapper", "cat", "--reducer", KEYS, "--quiet")
    clients = [cluster.begin_client(cluster.folder / f"said-{each}", *words) for each in range(2)]
    until(lambda: not cluster.server.is_alive, what="the server's death in the middle")
    for each in (*cluster.workers, *clients):
        each.kill()
    kept = cluster.folder / "kept"
    shutil.copytree(cluster.state, kept)
    mortal(cluster, 0)
    live(cluster)
    sound = facts(cluster)
    cluster.server.kill()
    for pair in pairs:
        shutil.rmtree(cluster.state)
        shutil.copytree(kept, cluster.state)
        for point in (*pair, 0):
            mortal(cluster, point, at_start=True)
            live(cluster)
            if cluster.server.is_alive:
                assert facts(cluster) == sound, pair
                cluster.server.kill()
    died = diary(cluster)
    print(f"{sum(died.values())} deaths while starting: {dict(died)}")
    cluster.start_server()
    cluster.workers[0].start()
    for known in cluster.ask("list"):
        assert cluster.request("wait", known["id"]).returncode == 0


INSIDE = [("fdatasync", 5), ("pwrite64", 14)]
MORE = [("fdatasync", each) for each in range(4, 24)] + [("pwrite64", each) for each in range(8, 88, 2)]


@needs_strace
@pytest.mark.parametrize(
    "deaths", [INSIDE, pytest.param(MORE, marks=pytest.mark.full)], ids=["some", "more"]
)
def test_killed_inside_a_commit(cluster: Cluster, deaths: list[tuple[str, int]]) -> None:
    """Between the pages that SQLite writes, and at its own syncs, of which only the system knows."""
    cluster.start_server()
    cluster.start_workers(1)
    with ThreadPoolExecutor(1) as pool:
        [answer] = requests(cluster, 1, pool)
        cluster.server.kill()
        for number, (call, when) in enumerate(deaths):
            trace = cluster.folder / f"trace-{number}"
            fault = f"{call}:signal=KILL:when={when}"
            cluster.server.prefix = injecting(trace, fault, paths=[cluster.state / "journal.sqlite-wal"])
            live(cluster)
            until(lambda each=answer: not cluster.server.is_alive or each.done(), what="a death")
            if answer.done():
                [answer] = requests(cluster, 1, pool)
                cluster.server.kill()
        cluster.server.prefix = []
        cluster.start_server()
        assert answer.result() == oracle(texts(), "sed s/v/0v/", KEYS)
