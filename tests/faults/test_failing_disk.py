"""S8, S9, S10: a server whose disk fails, is full, is interrupted or takes less than it says."""

import gzip
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from acknowledged import too_early
from cluster import Cluster, is_one_sentence, oracle, until
from damage import LOG
from power import Disk
from syscalls import CALLS, TALK, injecting, needs_strace, read_calls, recording

pytestmark = [pytest.mark.slow, needs_strace]

TEXT = b"".join(b"k%d\tv%d\n" % (number % 7, number) for number in range(300))
LARGE = b"".join(b"k%d\tv%d %s\n" % (number % 7, number, b"x" * 90) for number in range(12_000))
KEYS = "cut -f1 | uniq -c"
RUN = ("run", "-", "--quiet", "--mapper", "tr a-z A-Z", "--reducer", KEYS)
SEGMENT = "spool/requests/r1/segment-0"
ARRIVING = "spool/arriving/0"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Nothing is started yet; what a stopped server has logged is no complaint."""
    made = Cluster(tmp_path / "it")
    yield made
    made.server.log.unlink(missing_ok=True)
    made.end()


def afflict(cluster: Cluster, name: str, fault: str) -> Path:
    """Let a file of the state folder meet a fault; where strace tells of it.  ``when`` is by thread."""
    trace = cluster.folder / "trace"
    cluster.server.prefix = injecting(trace, fault, paths=[cluster.server.folder / "state" / name])
    return trace


def begin(cluster: Cluster, text: bytes, run: Sequence[str] = RUN) -> "subprocess.Popen[bytes]":
    """A server on a state that it knows, a worker, and a client that runs."""
    afflicted, cluster.server.prefix = cluster.server.prefix, []
    cluster.start_server()
    cluster.server.kill()
    cluster.server.prefix = afflicted
    (cluster.at / "input").write_bytes(text)
    words = [f"'{each}'" for each in cluster.request_words(*run)]
    (cluster.at / "run").write_text(f"exec {' '.join(words)} <input")
    cluster.start_server()
    cluster.start_workers(1)
    with open(cluster.folder / "said", "wb") as said:
        words = ["/bin/sh", "run"]
        client = subprocess.Popen(
            words, cwd=cluster.at, env=cluster.env, stdout=subprocess.PIPE, stderr=said
        )
    cluster.clients.append(client)
    return client


def ends(cluster: Cluster) -> int:
    """How the server ends by itself."""
    until(lambda: not cluster.server.is_alive, what="the server's end")
    assert cluster.server.process is not None
    return cluster.server.process.wait()


def start_well(cluster: Cluster) -> None:
    """Again, on a disk that is well."""
    cluster.server.prefix = []
    cluster.start_server()


def said(cluster: Cluster) -> bytes:
    """What the client said."""
    return (cluster.folder / "said").read_bytes()


def answers(cluster: Cluster, client: "subprocess.Popen[bytes]", text: bytes) -> None:
    """It has the right answer, or was told that it has none."""
    out, _ = client.communicate(timeout=60)
    if client.returncode:
        assert is_one_sentence(said(cluster))
        assert b"see to the disk" in said(cluster) or b"submit it again" in said(cluster)
    else:
        assert out == oracle([text], "tr a-z A-Z", KEYS)


def text_of(name: str) -> bytes:
    return LARGE if name == ARRIVING else TEXT


FAILURES = [
    (LOG, "fdatasync:error=EIO:when=4"),
    (LOG, "pwrite64:error=EIO:when=13"),
    (LOG, "fdatasync:error=ENOSPC:when=4"),
    (LOG, "fdatasync:error=EINTR:when=4"),
    ("journal.sqlite-told", "pwrite64:error=EIO:when=2"),
    (SEGMENT, "pwrite64:error=EIO"),
    (SEGMENT, "fdatasync:error=EIO"),
    ("spool/requests", "fsync:error=EIO"),
    (ARRIVING, "write:error=EIO:when=3"),
    (SEGMENT, "fdatasync:error=EDQUOT"),
]
SHORT = {0, 6}


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        pytest.param(*each, marks=() if number in SHORT else pytest.mark.full)
        for number, each in enumerate(FAILURES)
    ],
)
def test_failed_disk_ends_the_server(cluster: Cluster, name: str, fault: str) -> None:
    """At once, with status 1 and a line; what failed is not tried again; the next life goes on."""
    trace = afflict(cluster, name, fault)
    client = begin(cluster, text_of(name))
    assert ends(cluster) == 1
    log = cluster.server.log.read_text()
    assert "the disk cannot be trusted any more: the server stops" in log
    assert "Traceback" not in log
    _, _, after = trace.read_text().partition("(INJECTED)")
    assert not [each for each in after.splitlines() if "sync(" in each or "write" in each]
    start_well(cluster)
    answers(cluster, client, text_of(name))


def test_disk_that_fails_while_an_input_is_unpacked_ends_the_server(cluster: Cluster) -> None:
    """The request is not failed for it: the next life unpacks its input anew."""
    (cluster.at / "packed.gz").write_bytes(gzip.compress(TEXT))
    trace = afflict(cluster, ARRIVING, "write:error=EIO:when=1")
    client = begin(cluster, TEXT, ("run", "packed.gz", *RUN[2:]))
    assert ends(cluster) == 1
    assert "the disk cannot be trusted any more: the server stops" in cluster.server.log.read_text()
    assert trace.read_text().count("(INJECTED)") == 1
    start_well(cluster)
    answers(cluster, client, TEXT)
    assert client.returncode == 0


def test_nothing_is_told_after_a_failed_sync(cluster: Cluster) -> None:
    """Everything that was told had been synced, and what failed never is."""
    trace = cluster.folder / "trace"
    cluster.server.prefix = [*recording(trace, [*CALLS, *TALK]), "--inject=fdatasync:error=EIO:when=8"]
    client = begin(cluster, TEXT)
    assert ends(cluster) == 1
    calls = read_calls(trace)
    disk = Disk(str(cluster.server.folder / "state"))
    disk.play(calls)
    assert [each.error for each in calls if each.error == "EIO"] == ["EIO"]
    assert list(too_early(disk, calls)) == []
    start_well(cluster)
    answers(cluster, client, TEXT)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        (LOG, "pwrite64:error=EINTR:when=2+5"),
        pytest.param(SEGMENT, "pwrite64:error=EINTR:when=1", marks=pytest.mark.full),
        pytest.param(ARRIVING, "write:error=EINTR:when=1+2", marks=pytest.mark.full),
    ],
)
def test_interrupted_write_is_completed(cluster: Cluster, name: str, fault: str) -> None:
    """Nobody notices."""
    trace = afflict(cluster, name, fault)
    client = begin(cluster, text_of(name))
    answers(cluster, client, text_of(name))
    assert client.returncode == 0
    assert "(INJECTED)" in trace.read_text()
    assert cluster.server.is_alive


def test_full_disk_passes(cluster: Cluster) -> None:
    """A commit waits for room, everybody is served meanwhile, and all goes on when there is some."""
    trace = afflict(cluster, LOG, "pwrite64:error=ENOSPC:when=24..25")
    client = begin(cluster, TEXT)
    # Each commit in flight says so once.
    until(lambda: cluster.server.said("the disk is full"))
    assert cluster.ask("list")[0]["state"] == "running"
    answers(cluster, client, TEXT)
    assert client.returncode == 0
    assert trace.read_text().count("(INJECTED)") == 2
    assert "Traceback" not in cluster.server.log.read_text()


def test_full_disk_refuses_new_requests(cluster: Cluster) -> None:
    """With a sentence; later the same is taken."""
    afflict(cluster, LOG, "pwrite64:error=ENOSPC:when=5..6")
    client = begin(cluster, TEXT)
    client.communicate(timeout=60)
    told = b"The server's disk is full; free some space there, then try again\n"
    assert (client.returncode, said(cluster)) == (1, told)
    until(lambda: cluster.request(*RUN, stdin=TEXT).stdout == oracle([TEXT], "tr a-z A-Z", KEYS))


def test_disk_that_takes_less_than_it_says_is_found_out(cluster: Cluster) -> None:
    """100 bytes of a page are said to be written and are not: the next start refuses, and says where."""
    afflict(cluster, LOG, "pwrite64:retval=100:when=12")
    client = begin(cluster, TEXT)
    answers(cluster, client, TEXT)
    cluster.server.kill()
    cluster.server.prefix = []
    cluster.server.start()
    assert ends(cluster) == 1
    assert "journal.sqlite-wal' is damaged at byte " in cluster.server.log.read_text()

