"""The original interface, with real servers, workers and clients, against its plain pipe."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import REQUEST, SOURCE, Cluster, differ, running, until
from originals import oracle

pytestmark = pytest.mark.slow

SCRIPT = f"""#!{sys.executable}
import itertools, os, sys, time

def key(line):
    head, comma, _ = line.partition(b", ")
    return head + comma

what, path, start, end, offset = sys.argv[1:]
with open(path, "rb") as file:
    file.seek(int(offset))
    lines = [line[:-1] for line in itertools.islice(file, int(end) - int(start))]
time.sleep(0.05 * len(lines) * (os.environ.get("SLOW") == what))
out = sys.stdout.buffer
if what == "map":
    for line in lines:
        out.write(line + b"\\n")
else:
    for name, same in itertools.groupby(lines, key):
        same = list(same)
        # The first word of what it prints is not the key, so its order is another.
        out.write(b"%d %b%b\\n" % (len(same) % 7, name[::-1], b"|".join(same)))
        if len(same) % 2:
            out.write(b"odd, " + name + b"\\n")
"""
"""Map prints lines as they are; reduce prints one or two for each key, in no order."""


# Inputs


def real_text() -> bytes:
    """Some of the standard library, the last line without its end."""
    found = sorted(Path(os.__file__).parent.glob("[a-d]*.py"))
    return b"".join(each.read_bytes() for each in found) + b"the end"


def uneven() -> bytes:
    """Lines from nothing to a megabyte."""
    dice = random.Random(5)
    sizes = [dice.choice([0, 1, 5, 80, 80, 80, 3000, 70_000]) for _ in range(1500)] + [1_000_000]
    dice.shuffle(sizes)
    words = [b"the", b"a", b"of", b"word", b"w" * 50]
    return b"\n".join((b" ".join(dice.choices(words, k=1 + size // 4)))[:size] for size in sizes)


def awkward(count: int, padding: bytes = b"") -> bytes:
    """Keys that begin like others, one of them everywhere; a long one; lines without any.

    :param padding: more bytes of most lines.
    """
    dice = random.Random(6)
    keys = [b"a", b"a ", b"a!", b"a,b", b"a,", b"", b",", b"ab", b"a\0", b"\xff\xfe", b"a\tb"]
    keys.append(b"k" * 3000)
    lines = [b"%b, %d%b" % (dice.choice(keys), dice.randrange(count), padding) for _ in range(count)]
    lines += [b"hot, %d" % dice.randrange(5) for _ in range(count)]
    lines += [b"a", b"a,b", b"a,", b"", b"none", b",x", b"a!"] * 3
    dice.shuffle(lines)
    return b"\n".join(lines) + b"\n"


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example in C, compiled."""
    made = tmp_path_factory.mktemp("built") / "wordcount_original"
    source = SOURCE / "examples/wordcount_original.c"
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", made, source], check=True)
    return made


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A program in Python."""
    made = tmp_path / "program"
    made.write_text(SCRIPT)
    made.chmod(0o755)
    return made


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A server and two workers."""
    with running(tmp_path / "it", 2) as made:
        yield made


def test_example_counts_words(counter: Path, tmp_path: Path) -> None:
    """As counted another way; from any byte and line on."""
    text = b"skipped\nB a-b\nB\nlast"
    (tmp_path / "text").write_bytes(text)
    words = [counter, "map", tmp_path / "text", "7", "9", "8"]
    assert subprocess.check_output(words) == b"b, 1\na, 1\nb, 1\nb, 1\n"
    (tmp_path / "pairs").write_bytes(b"a b, 1\na,b, 4\na,b, 6\n" + b"k" * 100_000 + b", -2")
    words = [counter, "reduce", tmp_path / "pairs", "0", "4", "0"]
    assert subprocess.check_output(words) == b"a b, 1\na,b, 10\n" + b"k" * 100_000 + b", -2\n"
    assert subprocess.run([counter, "map"], capture_output=True).returncode == 2


@pytest.mark.parametrize("make", [real_text, uneven], ids=["text", "uneven"])
def test_local_run_counts_words(counter: Path, tmp_path: Path, make) -> None:
    """``run --local`` by two workers."""
    (tmp_path / "text").write_bytes(make())
    words = [*REQUEST, "run", "--local", "--workers", "2", "--quiet", "--binary", counter, "text"]
    env = {**os.environ, "PYTHONPATH": str(SOURCE), "TMPDIR": str(tmp_path)}
    ran = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, timeout=90)
    assert ran.returncode == 0, ran.stderr.decode()
    assert differ(ran.stdout, oracle([make()], counter, tmp_path / "scratch")) == ""


def test_original_call_is_answered(cluster: Cluster, counter: Path, tmp_path: Path) -> None:
    """``hagoop-request HOST:PORT DIRECTORY ANSWER BINARY``, as in the first HaGoop."""
    books = cluster.at / "books"
    books.mkdir()
    files = [real_text(), b"", uneven(), b"no end"]
    for number, data in enumerate(files):
        (books / f"{number}.txt").write_bytes(data)
    words = [*REQUEST, cluster.address, "books", "answer", str(counter)]
    ran = subprocess.run(words, cwd=cluster.at, env=cluster.env, capture_output=True, timeout=90)
    assert ran.returncode == 0, ran.stderr.decode()
    assert ran.stderr.decode().splitlines()[-1] == "Success! Result saved in answer"
    expected = oracle(files, counter, tmp_path / "scratch")
    assert differ((cluster.at / "answer").read_bytes(), expected) == ""
    words[-1] = "nothing"
    ran = subprocess.run(words, cwd=cluster.at, env=cluster.env, capture_output=True, timeout=90)
    assert (ran.returncode, ran.stderr) == (1, b"--binary nothing: there is no such file\n")


def test_keys_are_whole_and_the_answer_is_sorted(cluster: Cluster, script: Path, tmp_path: Path) -> None:
    """Whatever the keys look like, and in whatever order they are printed."""
    for data in (awkward(20_000), b"", b"one line", b"\n", b"a, 1\na, 2"):
        (cluster.at / "input").write_bytes(data)
        ran = cluster.request("run", "input", "--binary", script)
        assert ran.returncode == 0, ran.stderr.decode()
        assert differ(ran.stdout, oracle([data], script, tmp_path / "scratch")) == ""
    cluster.forget_all()
    # The program stays, for whoever submits it again.
    kept = (cluster.server.folder / "state/spool/requests").rglob("*")
    assert [each for each in kept if each.is_file()] == []


def is_in(cluster: Cluster, phase: str) -> bool:
    """Whether a phase has begun; of map, some must be committed too."""
    asked = cluster.request("status", "--json")
    if asked.returncode:
        return False
    status = json.loads(asked.stdout)
    assert status["state"] == "running", status
    return status["phase"] == phase and (phase == "reduce" or status["done"] > 0)


@pytest.mark.parametrize("phase", ["map", "reduce"])
@pytest.mark.parametrize("victim", ["worker", "server"])
def test_kills_change_nothing(
    cluster: Cluster, script: Path, tmp_path: Path, phase: str, victim: str
) -> None:
    """``kill -9`` of one of two workers, or of the server, in each phase in which programs run."""
    # So long that there are cells to cut: reduce commits more than once.
    data = awkward(150, b"x" * 4000)
    (cluster.at / "input").write_bytes(data)
    client = cluster.begin("run", "input", "--binary", script, "--env", f"SLOW={phase}")
    try:
        until(lambda: is_in(cluster, phase), what=f"the middle of {phase}")
        if victim == "worker":
            cluster.workers[0].kill()
        else:
            cluster.server.kill()
            cluster.start_server()
        out, _ = client.communicate(timeout=60)
    finally:
        client.kill()
        client.communicate()
    assert client.returncode == 0, (cluster.folder / "stderr").read_text()
    assert differ(out, oracle([data], script, tmp_path / "scratch")) == ""
    assert cluster.ask("status")["failures"] == 0


def test_failing_binary_is_told(cluster: Cluster) -> None:
    """Which lines, and what it said."""
    (cluster.at / "input").write_bytes(b"a, 1\n" * 10)
    binary = cluster.at / "broken"
    binary.write_text(
        '#!/bin/sh\ntest $1 = map && tail -c +$(($5 + 1)) "$2" | head -n $(($4 - $3)) && exit\n'
        "echo no >&2\nexit 3\n"
    )
    binary.chmod(0o755)
    ran = cluster.request("run", "input", "--binary", "broken", "--quiet")
    assert ran.returncode == 1
    said = ran.stderr.decode()
    assert said.startswith("The request failed: the reducer failed ")
    assert said.endswith("it ended with exit status 3; it said: no\n")
