"""Faults D: inputs, names, answers and clients that nobody would wish for.

How each is read, cut and refused in every detail is in ``tests/unit``; here are real processes.
"""

import bz2
import gzip
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, can, differ, end_line, is_one_sentence, oracle, running, until
from memory import MOST_SERVER_BYTES, grows_no_more_than, peak
from peers import Peer

from hagoop import wire
from hagoop.jobs import Program, Source, Submission
from hagoop.unpacking import find_zstd

pytestmark = pytest.mark.slow

MIB = 1 << 20
KEYS = "cut -f1 | uniq -c"
TEXT = b"".join(b"k%d\t%d\n" % (number % 13, number) for number in range(2000))
ODD = {
    "bom": b"\xef\xbb\xbfa\t1\nb\t2\n",
    "crlf": b"a\t1\r\nb\t2\r\n",
    "empty": b"",
    "newlines": b"\n" * 3000,
    "no last newline": b"a\t1\nb\t2",
    "one line": b"a\t1\n",
    "one newline": b"\n",
    "one without": b"x",
    "utf-16": "a\t1\nb\n".encode("utf-16"),
}
NAMES = [
    b"-rf",
    b" ",
    b"a b",
    b"new\nline",
    b"'quoted\" $HOME `id` \\",
    b"*",
    b"~",
    b"\xff\xfe no text",
    b"caf\xc3\xa9",
    b"tab\there",
    b"\x1b[31mred",
    b"x" * 255,
    b"...",
    b"--mapper",
]
HIDDEN = 'mount -t tmpfs none hidden && cp -r names hidden && exec "$@"'
"""What is there then is seen by the client alone, and travels."""
SUBMISSION = wire.encode(Submission(Program("cat", None), (Source("server", "input"),), "cat"))
NAMED = """awk '{ print ENVIRON["HAGOOP_INPUT_FILE"] "\\t" $0 }'"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, full: bool) -> Iterator[Cluster]:
    """Two workers, which stay; but of one that has a line of 1 GiB in hand nobody sees that it works."""
    with running(tmp_path_factory.mktemp("data") / "it", 2) as made:
        (made.at / "input").write_bytes(TEXT)
        yield made
        assert full or made.server.said(" joined as ") == 2
        ran = made.request("run", "input", "--mapper", "cat", "--reducer", KEYS)
        assert differ(ran.stdout, oracle([TEXT], "cat", KEYS)) == ""
        # A file system on which the disk was full is no disk of theirs.
        assert peak(made.server) < MOST_SERVER_BYTES


def run(cluster: Cluster, *words: object) -> bytes:
    """The answer of a request that ends well."""
    ran = cluster.request("run", *words, seconds=600)
    assert ran.returncode == 0, ran.stderr.decode()[-2000:]
    return ran.stdout


def fail(cluster: Cluster, *words: object) -> str:
    """The one sentence about a request that fails."""
    ran = cluster.request("run", "--quiet", *words)
    assert (ran.returncode, ran.stdout) == (1, b""), ran.stderr.decode()
    assert is_one_sentence(ran.stderr), ran.stderr.decode()
    return ran.stderr.decode().strip()


def spool_is_empty(cluster: Cluster) -> None:
    """Once all requests are forgotten nothing is kept of them."""
    cluster.forget_all()
    spool = cluster.server.folder / "state/spool"
    until(lambda: not [each for each in spool.rglob("*") if each.is_file()], what="an empty spool")


# Inputs


def test_odd_files_have_one_rule_each(cluster: Cluster) -> None:
    """D1: a byte is a byte, a last line is a line; each file alone, and all of them together."""
    folder = cluster.at / "odd"
    folder.mkdir()
    for name, data in ODD.items():
        (folder / name).write_bytes(data)
    assert run(cluster, *(folder / name for name in ODD), "--mapper", "cat") == b"".join(
        end_line(data) for data in ODD.values()
    )
    answer = run(cluster, "odd", "--mapper", "cat", "--reducer", "cat")
    assert differ(answer, oracle([ODD[name] for name in sorted(ODD)], "cat", "cat")) == ""


def test_empty_files_cost_nothing(cluster: Cluster, full: bool) -> None:
    """D1: thousands, or a million, and one line among them."""
    for number in range(1_000_000 if full else 3000):
        folder = cluster.at / f"empties/{number // 1000:03}"
        if number % 1000 == 0:
            folder.mkdir(parents=True)
        (folder / f"file-{number}").touch()
    (cluster.at / "empties/001/line").write_bytes(b"the only one")
    with grows_no_more_than(16 * MIB, cluster.server, *cluster.workers):
        assert run(cluster, "empties", "--mapper", "cat") == b"the only one\n"


@pytest.mark.parametrize("reducer", [None, "cat"], ids=["mapped", "sorted"])
@pytest.mark.parametrize(
    "size",
    [24 * MIB, *(pytest.param(each * MIB, marks=pytest.mark.full) for each in (100, 1024))],
    ids=lambda size: f"{size // MIB} MiB",
)
def test_huge_line_streams(cluster: Cluster, size: int, reducer: str | None) -> None:
    """D2: of a key and of a value; neither server nor worker ever has it in memory."""
    for number, line in enumerate((b"a\t%b\n", b"%b\tz\n")):
        path = cluster.at / "huge"
        with open(path, "wb") as file:
            file.write(b"\tfirst\n" + line.partition(b"%b")[0])
            for _ in range(size // MIB):
                file.write(b"m" * MIB)
            file.write(line.partition(b"%b")[2] + b"zz\tlast")
        words = () if reducer is None else ("--reducer", reducer)
        with grows_no_more_than(min(size - 4 * MIB, 64 * MIB), cluster.server, *cluster.workers):
            run(cluster, "huge", "--mapper", "cat", *words, "--output", f"answer-{number}", "--force")
        with open(path, "ab") as file:
            file.write(b"\n")
        assert can("cmp", str(path), str(cluster.at / f"answer-{number}"))
        (cluster.at / f"answer-{number}").unlink()
        path.unlink()
    spool_is_empty(cluster)


def test_hostile_names_are_names(cluster: Cluster) -> None:
    """D3: in place and uploaded; programs are told them byte for byte, and nothing else is touched."""
    folder = os.fsencode(cluster.at / "names")
    os.mkdir(folder)
    for number, name in enumerate(sorted(NAMES)):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(b"%d\n" % number)
    (cluster.at / "hidden").mkdir()
    before = tree(cluster)
    # Names that begin with a dot are skipped.
    seen = [(number, name) for number, name in enumerate(sorted(NAMES)) if not name.startswith(b".")]
    for top in ["names", "hidden/names"] if can("unshare", "-m", "true") else ["names"]:
        prefix = ["unshare", "-m", "sh", "-c", HIDDEN, "sh"] if top.startswith("hidden") else []
        ran = cluster.request("run", top, "--mapper", NAMED, prefix=prefix)
        assert ran.returncode == 0, ran.stderr.decode()
        assert ran.stdout == b"".join(b"%b/%b\t%d\n" % (top.encode(), name, at) for at, name in seen)
    for _, name in seen:
        given = os.path.join(b"names", name)
        assert run(cluster, os.fsdecode(given), "--mapper", "wc -l").strip() == b"1"
    assert tree(cluster) == before


def tree(cluster: Cluster) -> set[bytes]:
    """All that is in the folder of the client, and beside it."""
    tops = [os.fsencode(cluster.at), os.fsencode(cluster.folder / "home")]
    walked = [found for top in tops for found in os.walk(top)]
    return {os.path.join(at, each) for at, folders, files in walked for each in (*folders, *files)}


def test_answers_go_where_they_are_told_to(cluster: Cluster) -> None:
    """D3: also to a name that looks like an option; shipped files never leave a run's folder."""
    for name in ("./-rf", "a\nb", "x" * 255, "ends in a space "):
        run(cluster, "input", "--mapper", "cat", "--output", name)
        assert (cluster.at / name).read_bytes() == TEXT
        (cluster.at / name).unlink()
    (cluster.folder / "above").write_bytes(b"above\n")
    mapper = "cat > /dev/null; cat above; ls ..//above 2> /dev/null; true"
    assert run(cluster, "input", "--map-whole", "--mapper", mapper, "--file", "../above") == b"above\n"


def test_inputs_that_cannot_be_read_are_refused_before_anything_runs(cluster: Cluster) -> None:
    """D4: loops, links to nothing, folders for files; links out of the tree are the user's."""
    at = cluster.at
    (at / "loop").mkdir()
    (at / "loop/inner").symlink_to("../loop")
    (at / "circle").symlink_to("circle")
    (cluster.folder / "outside").write_bytes(b"outside\n")
    (at / "tree").mkdir()
    (at / "tree/link").symlink_to("../../outside")
    before = len(cluster.ask("list"))
    told = {
        "loop": "'loop/inner' is a link to a folder that it is in; remove the link",
        "circle": "'circle' cannot be read: too many levels of symbolic links",
        "input/x": "'input/x' does not exist",
    }
    for name, sentence in told.items():
        assert fail(cluster, name, "--mapper", "cat") == sentence
    assert len(cluster.ask("list")) == before
    assert run(cluster, "tree", "--mapper", "cat") == b"outside\n"


# Answers


def test_large_answer_is_in_nobodys_memory(cluster: Cluster, full: bool) -> None:
    """D5: larger than the server may ever be, or a part of that; read, written, sent."""
    block = b"".join(b"%07d\tsome words that are no use to anybody\n" % each for each in range(22_000))
    path, copies = cluster.at / "large", 1100 if full else 64
    with open(path, "wb") as file:
        for _ in range(copies):
            file.write(block)
    with grows_no_more_than(48 * MIB, cluster.server, *cluster.workers):
        run(cluster, "large", "--mapper", "cat", "--output", "large-answer")
    assert can("cmp", str(path), str(cluster.at / "large-answer"))
    path.unlink()
    (cluster.at / "large-answer").unlink()
    spool_is_empty(cluster)


@pytest.fixture
def small_disk(cluster: Cluster) -> Iterator[Path]:
    """A folder of the client's on a disk of 1 MiB."""
    place = cluster.at / "small"
    place.mkdir()
    if not can("mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)):
        pytest.skip("only root can mount a small disk")
    yield place
    assert can("umount", "-l", str(place))
    place.rmdir()


def test_answer_that_finds_no_room_is_kept_by_the_server(cluster: Cluster, small_disk: Path) -> None:
    """D9: said in one sentence; nothing half is left, and there is room for it elsewhere."""
    data = TEXT * 100
    (cluster.at / "hundred").write_bytes(data)
    said = fail(cluster, "hundred", "--mapper", "cat", "--output", "small/answer")
    kept = f"the server keeps the answer: hagoop-request answer {cluster.ask('status')['id']}"
    assert said == f"'small/answer' cannot be written: no space left on device; {kept} --output FILE"
    assert list(small_disk.iterdir()) == []
    assert cluster.request("answer").stdout == data


def test_answer_that_may_not_be_written_is_refused_first(cluster: Cluster, small_disk: Path) -> None:
    """D9: a place that is taken, or on a disk that is only to be read; nothing is submitted."""
    (small_disk / "taken").write_bytes(b"precious")
    assert can("mount", "-o", "remount,ro", str(small_disk))
    before = len(cluster.ask("list"))
    told = {
        "small/taken": "'small/taken' exists; choose another --output, or add --force",
        "small/new": f"'small/new' cannot be written: '{small_disk}' is not yours to write in",
        "small/parts/": f"'small/parts/' cannot be written: '{small_disk}' is not yours to write in",
    }
    for name, sentence in told.items():
        assert fail(cluster, "input", "--mapper", "cat", "--output", name) == sentence
    assert (small_disk / "taken").read_bytes() == b"precious"
    assert len(cluster.ask("list")) == before


# Clients


def test_client_killed_while_it_downloads(cluster: Cluster) -> None:
    """D6: whoever asks next gets all of it."""
    data = TEXT * 1000
    (cluster.at / "thousand").write_bytes(data)
    before = len(cluster.ask("list"))
    # Nobody reads what it prints, so that it stands in the middle of it.
    client = cluster.begin("run", "thousand", "--mapper", "cat")
    until(lambda: len(cluster.ask("list")) > before, what="the request")
    until(lambda: cluster.ask("status")["state"] == "done", what="the end of the request")
    assert client.poll() is None
    client.kill()
    client.wait()
    for _ in range(2):
        assert differ(cluster.request("answer").stdout, data) == ""


def test_download_goes_on_where_it_broke(cluster: Cluster) -> None:
    """D6: three times, at any byte; each time on a connection of its own."""
    data = TEXT * 50
    (cluster.at / "fifty").write_bytes(data)
    run(cluster, "fifty", "--mapper", "cat")
    with Peer(cluster) as peer:
        opened = peer.call(b"Answer", request=b"")[b"grant"].decode()
        request = cluster.ask("status")["id"]
        got = b""
        for most in (1, 100_000, 7, len(data)):
            with socket.create_connection(("127.0.0.1", cluster.web), 30) as web:
                head = f"GET /answers/{request} HTTP/1.1\r\nHost: x\r\nRange: bytes={len(got)}-\r\n"
                web.sendall(f"{head}Authorization: Bearer {opened}\r\n\r\n".encode())
                got += unchunked(web, most)
    assert got == data


def unchunked(web: socket.socket, most: int) -> bytes:
    """So many bytes of an answer; the connection may break in the middle."""
    body, found = b"", b""
    with web.makefile("rb") as file:
        while file.readline().strip():
            pass
        while len(found) < most:
            size = int(file.readline() or b"0", 16)
            if not size:
                break
            body = file.read(min(size, most - len(found)))
            found += body
            if len(body) == size:
                file.readline()
    return found


def test_same_submit_again_is_the_same_request(tmp_path: Path) -> None:
    """D7: at the same time, later, and by another connection after the server was killed."""
    with running(tmp_path / "it", 0, options=["--input-root", str(tmp_path)]) as cluster:
        (tmp_path / "input").write_bytes(TEXT)
        with Peer(cluster) as one, Peer(cluster) as two:
            for each in (one, two, one):
                each.send(b"Submit", key=b"the key", submission=SUBMISSION)
            answers = [each.receive()[b"request"] for each in (one, two, one)]
        cluster.server.kill()
        cluster.start_server()
        with Peer(cluster) as again:
            answers.append(again.call(b"Submit", key=b"the key", submission=SUBMISSION)[b"request"])
            other = again.call(b"Submit", key=b"another", submission=SUBMISSION)[b"request"]
        assert len(set(answers)) == 1
        assert {each["id"].encode() for each in cluster.ask("list")} == {answers[0], other}
        cluster.start_workers(1)
        assert cluster.request("wait", answers[0].decode()).returncode == 0
        assert cluster.request("answer", answers[0].decode()).stdout == TEXT


# Bytes that are not what they say


def packed_by_zstd(data: bytes) -> bytes:
    zstd = find_zstd()
    if zstd is None:
        pytest.skip("this Python has no zstd")
    packed: bytes = zstd.compress(data)
    return packed


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "zst": packed_by_zstd}


@pytest.mark.parametrize(
    "kind", ["gz", *(pytest.param(each, marks=pytest.mark.full) for each in ("bz2", "zst"))]
)
def test_bombs_are_refused_before_they_go_off(cluster: Cluster, kind: str) -> None:
    """D8: files of nothing but zeros, packed; neither memory nor disk is filled."""
    (cluster.at / f"bomb.{kind}").write_bytes(PACKERS[kind](bytes(16 * MIB)) * 96)
    with grows_no_more_than(48 * MIB, cluster.server):
        said = fail(cluster, f"bomb.{kind}", "--mapper", "wc -c")
    assert f"'bomb.{kind}' holds more than " in said
    assert "made to fill disks" in said
    spool_is_empty(cluster)


def test_uploads_of_another_length_are_nothing(cluster: Cluster) -> None:
    """D8: more or less than was announced, and chunks that are none."""
    with Peer(cluster) as peer:
        for body in (
            b"Content-Length: 1000\r\n\r\n" + b"x" * 1000,
            b"Content-Length: 10\r\n\r\nhalf",
            b"Transfer-Encoding: chunked\r\n\r\nffffffffff\r\nx",
            b"Transfer-Encoding: chunked\r\n\r\nno number\r\nx",
            b"Content-Length: -1\r\n\r\n",
            b"Content-Length: 10\r\nContent-Length: 11\r\n\r\n0123456789",
        ):
            opened = peer.call(b"Upload", digest=b"", size=b"10")
            name, word = opened[b"name"].decode(), opened[b"grant"].decode()
            with socket.create_connection(("127.0.0.1", cluster.web), 30) as web:
                head = f"PUT /uploads/{name} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {word}\r\n"
                web.sendall(head.encode() + body)
                web.shutdown(socket.SHUT_WR)
                assert not web.recv(65536).startswith(b"HTTP/1.1 200")
    arriving = cluster.server.folder / "state/spool/arriving"
    until(lambda: not list(arriving.iterdir()), what="the end of what came")
