"""What a disk loses of the spool is made again, or the request fails and says why; no wrong byte."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import define
from cluster import Cluster, differ, is_one_sentence, oracle, running, until

pytestmark = pytest.mark.slow

LINES = 200
TEXT = b"".join(b"k%d\t%d\n" % (each % 37, each) for each in range(LINES)) + b"last\n"
KEYS = "cut -f1 | uniq -c"
GATED = """#!/bin/sh
while read -r line; do
    while [ "$line" = last ] && [ -e {gate} ]; do sleep 0.02; done
    printf '%s\\n' "$line"
done
"""
NUMBERS = b"".join(b"%d\n" % each for each in range(4)) + b"last\n"
LARGE = """python3 -c '
import random, sys
for line in sys.stdin:
    print(line.strip(), random.Random(line).randbytes(1_500_000).hex())
'"""


def flip(path: Path) -> None:
    """Another bit, and again every 50 bytes: of some files only a part is needed."""
    data = bytearray(path.read_bytes())
    for at in range(20, len(data), 50):
        data[at] ^= 0x10
    path.write_bytes(data)


def overwrite(path: Path) -> None:
    """Others' bytes, as many as there were."""
    path.write_bytes(random.Random(1).randbytes(path.stat().st_size))


def truncate(path: Path) -> None:
    """The first half."""
    os.truncate(path, path.stat().st_size // 2)


DAMAGES = [flip, overwrite, truncate, Path.unlink]
Damage = Callable[[Path], object]


@define
class Gated:
    """A request whose last line waits, so that much is committed before it goes on."""

    cluster: Cluster
    gate: Path
    request: str = ""

    def submit(self, *words: str, stdin: bytes | None = None) -> None:
        """Begin one, and wait until it waits."""
        self.gate.touch()
        ran = self.cluster.request("run", *words, "--detach", stdin=stdin)
        assert ran.returncode == 0, ran.stderr.decode()
        self.request = ran.stdout.decode().strip()
        until(self._waits)

    def _waits(self) -> bool:
        """Whether much is committed; a small reduce is committed in one go."""
        status = self.cluster.ask("status", self.request)
        return status["phase"] == "reduce" or status["done"] > 0.1

    def files(self, shelf: str, name: str) -> list[Path]:
        """What the spool keeps for it."""
        spool = self.cluster.server.folder / "state/spool/requests"
        return sorted((spool / f"{self.request}{shelf}").glob(name))

    def finish(self) -> None:
        """Let it go on, to its end."""
        self.gate.unlink()
        waited = self.cluster.request("wait", self.request)
        assert waited.returncode in (0, 1), waited.stderr

    @property
    def answer(self) -> bytes:
        """Its answer; nothing was charged to anybody."""
        status = self.cluster.ask("status", self.request)
        assert (status["state"], status["failures"]) == ("done", 0), status
        return self.cluster.request("answer", self.request).stdout


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers."""
    with running(tmp_path_factory.mktemp("damaged") / "it", 2) as made:
        yield made


@pytest.fixture
def gated(cluster: Cluster, tmp_path: Path) -> Iterator[Gated]:
    """A mapper with a gate, and input to read in place."""
    (cluster.at / "input").write_bytes(TEXT)
    (cluster.at / "gated.sh").write_text(GATED.format(gate=tmp_path / "gate"))
    (cluster.at / "gated.sh").chmod(0o755)
    made = Gated(cluster, tmp_path / "gate")
    yield made
    made.gate.unlink(missing_ok=True)
    # Nothing may stay damaged: what is there at the end is looked at.
    assert cluster.request("forget", made.request).returncode == 0


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda each: each.__name__)
def test_damaged_runs_are_made_again(gated: Gated, damage: Damage) -> None:
    """All small runs of a request lie in one file."""
    gated.submit("input", "--mapper", "./gated.sh", "--reducer", KEYS)
    [segment] = gated.files(".runs", "segment-*")
    damage(segment)
    gated.finish()
    assert differ(gated.answer, oracle([TEXT], "cat", KEYS)) == ""
    assert gated.cluster.server.said("it is made again")


@pytest.mark.parametrize("damage", [flip, Path.unlink], ids=lambda each: each.__name__)
def test_damaged_runs_of_a_reduce_stop_no_start(gated: Gated, damage: Damage) -> None:
    """A start reads all indexes: what cannot be read concerns its request alone, which is mended."""
    gated.submit("input", "--mapper", "cat", "--reducer", "./gated.sh")
    until(lambda: gated.cluster.ask("status", gated.request)["phase"] == "reduce")
    gated.cluster.server.kill()
    [segment] = gated.files(".runs", "segment-*")
    damage(segment)
    gated.cluster.start_server()
    gated.finish()
    assert differ(gated.answer, oracle([TEXT], "cat", "cat")) == ""
    assert gated.cluster.server.said("is damaged: " if damage is flip else "no such file")


@pytest.mark.parametrize("damage", [flip, truncate], ids=lambda each: each.__name__)
def test_damaged_part_of_an_answer_is_made_again(gated: Gated, damage: Damage) -> None:
    """Before the request has ended, it is as if it had not been committed; also after a restart."""
    gated.submit("input", "--mapper", "./gated.sh")
    [segment] = gated.files("", "segment-*")
    damage(segment)
    if damage is flip:
        gated.cluster.server.kill()
        gated.cluster.start_server()
    gated.finish()
    assert differ(gated.answer, TEXT) == ""


def test_lost_file_is_made_again(gated: Gated) -> None:
    """Of a large run, which has a file of its own; the rest of the map is kept."""
    (gated.cluster.at / "input").write_bytes(NUMBERS)
    mapper = f"./gated.sh | {LARGE}"
    gated.submit("input", "--mapper", mapper, "--reducer", "md5sum | cut -c-32", "--reduce-whole")
    runs = gated.files(".runs", "run-*")
    runs[0].unlink()
    gated.finish()
    assert gated.cluster.server.said("it is made again")
    expected = oracle([NUMBERS], LARGE, "md5sum | cut -c-32")
    assert differ(gated.answer, expected) == ""


@pytest.mark.parametrize("damage", [flip, Path.unlink], ids=lambda each: each.__name__)
def test_damaged_answer_is_told_and_not_given(gated: Gated, damage: Damage) -> None:
    """Of what has ended nothing can be made again: one sentence, and no wrong byte."""
    ran = gated.cluster.request("run", "input", "--mapper", "cat")
    assert ran.stdout == TEXT
    gated.request = gated.cluster.ask("status")["id"]
    [segment] = gated.files("", "segment-*")
    damage(segment)
    for _ in range(2):
        asked = gated.cluster.request("answer", gated.request)
        assert asked.returncode == 1
        assert TEXT.startswith(asked.stdout)
        assert asked.stdout != TEXT
        assert is_one_sentence(asked.stderr)
        told = (
            f"the answer of {gated.request} was damaged on the server's disk; submit the request again"
        )
        assert told in asked.stderr.decode()


@pytest.mark.parametrize(("damage", "size"), [(flip, "small"), (flip, "large"), (Path.unlink, "large")])
def test_damaged_upload_fails_the_request(gated: Gated, damage: Damage, size: str) -> None:
    """It cannot be had again; small and large ones are kept in files of two kinds."""
    text = TEXT if size == "small" else b"last\n" + b"more\n" * 300_000
    gated.gate.touch()
    words = ("run", "-", "--mapper", "./gated.sh", "--reducer", KEYS, "--detach")
    gated.request = gated.cluster.request(*words, stdin=text).stdout.decode().strip()
    until(lambda: any(each["doing"] != "idle" for each in gated.cluster.ask("workers")))
    [upload] = gated.files("", "segment-*" if size == "small" else "run-*")
    damage(upload)
    gated.cluster.server.kill()
    gated.cluster.start_server()
    gated.finish()
    status = gated.cluster.ask("status", gated.request)
    assert status["state"] == "failed"
    assert "'stdin' was damaged on the server's disk; submit the request again" in status["message"]
