"""What hostile or merely many peers may cost a server: its memory stays bounded, and it serves on."""

import itertools
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from cluster import Cluster, differ, oracle, running, until
from memory import MOST_SERVER_BYTES, grows_no_more_than, peak
from peers import Closed, Peer

from hagoop import wire
from hagoop.jobs import Program, Source, Submission

pytestmark = pytest.mark.slow

MIB = 1 << 20
ANSWER_BYTES = 24 * MIB
KEYS = "cut -f1 | uniq -c"
TEXT = b"".join(b"k%d\t%d\n" % (number % 13, number) for number in range(500))
CALLS = 400_000
"""More than would be sent before the server had taken a minute for them."""
ASKED = 4500
READERS = 20
FULL_BUFFER_SECONDS = 1.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers, and a server that has served."""
    with running(tmp_path_factory.mktemp("memory") / "it", 2) as made:
        (made.at / "input").write_bytes(TEXT)
        check_work(made)
        yield made
        assert peak(made.server) < MOST_SERVER_BYTES


def check_work(cluster: Cluster) -> None:
    """An ordinary request is served."""
    ran = cluster.request("run", "input", "--mapper", "cat", "--reducer", KEYS)
    assert ran.returncode == 0, ran.stderr.decode()
    assert differ(ran.stdout, oracle([TEXT], "cat", KEYS)) == ""


def test_who_reads_no_answers_costs_no_memory(cluster: Cluster) -> None:
    """Calls as fast as the server takes them, whose answers are large; it takes no more at some time."""
    for number in range(12):
        words = ("run", "input", "--mapper", f"cat; : {number} {'x' * 150}", "--detach")
        assert cluster.request(*words).returncode == 0
    with grows_no_more_than(16 * MIB, cluster.server), Peer(cluster) as peer:
        peer.give_up_after(FULL_BUFFER_SECONDS)
        with suppress(TimeoutError):
            for _ in range(CALLS):
                peer.send(b"List", skip=b"0")
        assert peer.sent < CALLS
        # While it waits, others are served.
        check_work(cluster)


def test_connections_that_ask_for_ever_cost_no_memory(cluster: Cluster) -> None:
    """More calls that wait than may, for uploads and for answers that are never fetched."""
    with grows_no_more_than(16 * MIB, cluster.server):
        request = cluster.request("run", "input", "--mapper", "sleep 60", "--detach").stdout.strip()
        with Peer(cluster) as peer, pytest.raises((Closed, OSError)):  # noqa: PT012
            for _ in range(1000):
                peer.send(b"Wait", request=request)
            peer.receive()
        assert cluster.request("cancel", request.decode()).returncode == 0
        for command, arguments in (
            (b"Upload", {"digest": b"", "size": b"1"}),
            (b"Answer", {"request": b""}),
        ):
            with Peer(cluster) as peer:
                for _ in range(ASKED):
                    peer.call(command, **arguments)
    check_work(cluster)


def test_small_uploads_that_nobody_uses_go_to_disk(cluster: Cluster) -> None:
    """Each alone would stay in memory."""
    body = b"x" * (MIB - 1)
    with Peer(cluster) as peer, grows_no_more_than(96 * MIB, cluster.server):
        for _ in range(160):
            opened = peer.call(b"Upload", digest=b"", size=b"%d" % len(body))
            put(cluster, opened[b"name"].decode(), opened[b"grant"].decode(), body)
    spool = cluster.server.folder / "state/spool/arriving"
    until(lambda: not list(spool.iterdir()), what="the end of what was brought")


def put(cluster: Cluster, name: str, word: str, body: bytes) -> None:
    """Upload it."""
    with socket.create_connection(("127.0.0.1", cluster.web), 30) as web:
        head = f"PUT /uploads/{name} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {word}\r\n"
        web.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert web.recv(4096).startswith(b"HTTP/1.1 200")


def test_slow_readers_of_an_answer_cost_little(cluster: Cluster) -> None:
    """A byte now and then: what they have not read stays on the disk; who reads fast does not wait."""
    data = TEXT * (ANSWER_BYTES // len(TEXT))
    (cluster.at / "large").write_bytes(data)
    assert cluster.request("run", "large", "--mapper", "cat", "--detach").returncode == 0
    assert cluster.request("wait").returncode == 0
    with Peer(cluster) as peer, ExitStack() as stack, grows_no_more_than(40 * MIB, cluster.server):
        word = peer.call(b"Answer", request=b"")[b"grant"].decode()
        request = cluster.ask("status")["id"]
        readers = [stack.enter_context(begin_reading(cluster, request, word)) for _ in range(READERS)]
        for _ in range(10):
            assert all(each.recv(1) for each in readers)
        assert differ(cluster.request("answer").stdout, data) == ""


def begin_reading(cluster: Cluster, request: str, word: str) -> socket.socket:
    """Ask for an answer; the little that the system would take for us stays little."""
    web = socket.socket()
    web.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    web.settimeout(30)
    web.connect((cluster.host, cluster.web))
    head = f"GET /answers/{request} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {word}\r\n"
    web.sendall(f"{head}\r\n".encode())
    return web


# Many requests, many jobs


@pytest.fixture
def crowd(tmp_path: Path, full: bool) -> Iterator[Cluster]:
    """A server with an input root and no worker yet."""
    (tmp_path / "short").write_bytes(TEXT[:200])
    (tmp_path / "long").write_bytes(TEXT * (200 if full else 20))
    with running(tmp_path / "it", 0, options=["--input-root", str(tmp_path)]) as made:
        yield made


def submission(mapper: str, name: str) -> bytes:
    """A request for a file below the input root."""
    return wire.encode(Submission(Program(mapper, None), (Source("server", name),), mapper))


def submit(peers: list[Peer], count: int, name: str, mapper: str) -> list[str]:
    """So many requests, by all of these in turn; their ids."""
    body = submission(mapper, name)
    in_turn = list(itertools.islice(itertools.cycle(peers), count))
    found = []
    for number, peer in enumerate(in_turn):
        key = f"{name} {number}".encode()
        found.append(peer.call(b"Submit", key=key, submission=body)[b"request"].decode())
    return found


def test_many_requests_cost_little_and_all_get_their_share(crowd: Cluster, full: bool) -> None:
    """D10: ten clients, a queue, and a large request before it that does not hold it up."""
    count = 1000 if full else 40
    with ExitStack() as stack:
        peers = [stack.enter_context(Peer(crowd)) for _ in range(10)]
        [large] = submit(peers[:1], 1, "long", "while read -r line; do sleep 0.02; echo $line; done")
        with grows_no_more_than(count // 20 * MIB + 16 * MIB, crowd.server):
            found = submit(peers, count, "short", "cat")
            crowd.start_workers(2)
            peers[0].give_up_after(count)
            for each in found[-10:]:
                # The others ended before, or will soon.
                peers[0].call(b"Wait", request=each.encode())
        assert crowd.ask("status", large)["state"] == "running"
    for each in (found[0], found[-1]):
        assert crowd.request("answer", each).stdout == TEXT[:200]
    crowd.request("cancel", large)


def test_many_jobs_cost_little(crowd: Cluster, full: bool) -> None:
    """D10: each file is a job of its own; memory grows with them, and slowly."""
    jobs = 50_000 if full else 200
    for number in range(jobs):
        folder = crowd.folder.parent / f"jobs/{number // 1000:02}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:05}").write_bytes(b"%05d\n" % number)
    crowd.start_workers(2)
    program = Program("cat", None, map_whole=True)
    body = wire.encode(Submission(program, (Source("server", "jobs"),), "many"))
    with Peer(crowd) as peer, grows_no_more_than(16 * MIB + jobs * 6144, crowd.server):
        request = peer.call(b"Submit", key=b"many", submission=body)[b"request"].decode()
        assert crowd.request("wait", request, seconds=3000).returncode == 0
    answer = crowd.request("answer", request, seconds=600).stdout
    assert answer == b"".join(b"%05d\n" % number for number in range(jobs))
    assert sum(each["committed"] for each in crowd.ask("workers")) == jobs


def test_many_small_files_cost_little(crowd: Cluster, full: bool) -> None:
    """D1: thousands, or a million, none of them empty; also after a start."""
    files = 1_000_000 if full else 3000
    for number in range(files):
        folder = crowd.folder.parent / f"records/{number // 1000:03}"
        if number % 1000 == 0:
            folder.mkdir(parents=True)
        (folder / f"{number:06}").write_bytes(b"%06d\n" % number)
    program = Program("cat", None, combine_files=True)
    body = wire.encode(Submission(program, (Source("server", "records"),), "records"))
    most = 24 * MIB + files * 128
    with grows_no_more_than(most, crowd.server), Peer(crowd) as peer:
        peer.give_up_after(1800)
        request = peer.call(b"Submit", key=b"records", submission=body)[b"request"].decode()
    crowd.server.kill()
    crowd.start_server()
    with grows_no_more_than(most, crowd.server):
        crowd.start_workers(2)
        assert crowd.request("wait", request, seconds=3000).returncode == 0
    answer = crowd.request("answer", request).stdout
    assert answer == b"".join(b"%06d\n" % number for number in range(files))
    assert peak(crowd.server) < MOST_SERVER_BYTES // 2
