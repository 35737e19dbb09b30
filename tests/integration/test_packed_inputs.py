"""Packed inputs, with real servers, workers and clients: uploaded, seen, below an input root."""

import bz2
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, can, differ, is_one_sentence, oracle, running, until

from hagoop.unpacking import find_zstd

pytestmark = pytest.mark.slow

TEXT = b"".join(b"k%d\t%d\n" % (number % 37, number) for number in range(20_000))
PLAIN = {"a": TEXT, "b": TEXT[:5000] + b"\nno end", "c": b"x\n" * 7, "d": b"plain\n"}
COUNT = "cut -f1 | uniq -c"
GATED = """
while read -r line; do
    echo "$line"
    test "$line" != gate || until test -e "$UNTIL"; do sleep 0.05; done
done
"""
"""Waits at one line until it may end."""
HIDDEN = 'mount -t tmpfs none hidden && cp logs/* hidden && exec "$@"'


def pack_all(folder: Path) -> None:
    """Each of the plain texts, packed in another way, one of them in two parts."""
    zstd = find_zstd()
    assert zstd is not None
    folder.mkdir(parents=True)
    half = len(TEXT) // 2
    (folder / "a.gz").write_bytes(gzip.compress(TEXT[:half]) + gzip.compress(TEXT[half:]))
    (folder / "b.bz2").write_bytes(bz2.compress(PLAIN["b"]))
    (folder / "c.zst").write_bytes(zstd.compress(PLAIN["c"]))
    (folder / "d").write_bytes(PLAIN["d"])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server with an input root and two workers; packed files there, and at the client."""
    folder = tmp_path_factory.mktemp("packed")
    pack_all(folder / "root/logs")
    with running(folder / "it", 2, options=["--input-root", str(folder / "root")]) as made:
        pack_all(made.at / "logs")
        (made.at / "hidden").mkdir()
        yield made


def await_no_texts(cluster: Cluster) -> None:
    """What was unpacked goes with its request."""
    arriving = cluster.server.folder / "state/spool/arriving"
    until(lambda: not list(arriving.iterdir()), what="the end of all texts")


@pytest.mark.parametrize("source", ["logs", "server:logs", "hidden"])
def test_packed_files_are_read_as_the_text_within(cluster: Cluster, source: str) -> None:
    """Where the server sees them, and where they travel."""
    prefix = ["unshare", "-m", "sh", "-c", HIDDEN, "sh"] if source == "hidden" else []
    if prefix and not can("unshare", "-m", "true"):
        pytest.skip("only root can hide files from the server")
    ran = cluster.request("run", source, "--reducer", COUNT, prefix=prefix)
    assert ran.returncode == 0, ran.stderr.decode()
    assert differ(ran.stdout, oracle(PLAIN.values(), None, COUNT)) == ""
    await_no_texts(cluster)


def test_packed_file_may_be_a_whole_job(cluster: Cluster) -> None:
    """Once per file; what the next step reads is one file."""
    words = ("run", "logs", "--mapper", "wc -l", "--map-whole", "--quiet")
    ran = cluster.request(*words, "--then", "--mapper", "paste -s -d' '", "--map-whole")
    counts = [str(len(each.splitlines())) for each in PLAIN.values()]
    assert ran.stdout.decode() == " ".join(counts) + "\n"
    await_no_texts(cluster)


def test_damaged_file_fails_the_request_by_its_name(cluster: Cluster) -> None:
    """In one sentence, after which nothing is left."""
    (cluster.at / "bad").mkdir()
    (cluster.at / "bad/x.gz").write_bytes(gzip.compress(TEXT)[:-9])
    ran = cluster.request("run", "bad", "--mapper", "cat", "--quiet")
    assert ran.returncode == 1
    assert is_one_sentence(ran.stderr)
    assert b"'bad/x.gz' is damaged: it ends before its text does" in ran.stderr
    await_no_texts(cluster)


def test_text_is_unpacked_again_after_a_restart(tmp_path: Path) -> None:
    """The server is killed in the middle of the map; what was committed stays."""
    with running(tmp_path / "it", 2) as cluster:
        lines = [*TEXT.splitlines(keepends=True)[:100], b"gate\n", b"k1\tbehind"]
        (cluster.at / "input.gz").write_bytes(gzip.compress(b"".join(lines)))
        may_end = cluster.at / "may-end"
        words = ("--mapper", GATED, "--env", f"UNTIL={may_end}", "--reducer", COUNT, "--quiet")
        client = cluster.begin("run", "input.gz", *words)
        until(lambda: is_in_the_middle(cluster), what="the middle of the map")
        cluster.server.kill()
        cluster.start_server()
        may_end.touch()
        out, _ = client.communicate(timeout=60)
        assert client.returncode == 0, (cluster.folder / "stderr").read_text()
        assert differ(out, oracle(lines, None, COUNT)) == ""
        await_no_texts(cluster)


def is_in_the_middle(cluster: Cluster) -> bool:
    """Whether something is committed, and not all."""
    asked = cluster.request("status", "--json")
    if asked.returncode:
        return False
    status = json.loads(asked.stdout)
    return status["phase"] == "map" and status["done"] > 0
