"""Files that the workers see themselves: programs of the original interface read them where they are."""

import os
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from cluster import Cluster, can, differ, running
from originals import oracle

pytestmark = pytest.mark.slow

SCRIPT = f"""#!{sys.executable} -IS
import os, sys, time

what, path, start, end, offset = sys.argv[1:]
start, end, offset = int(start), int(end), int(offset)
inputs = os.environ.get("INPUTS")
with open(path, "rb") as file:
    before = file.read(offset)
    lines = [file.readline() for _ in range(end - start)]
    rest = file.read()
if not all(line.endswith(b"\\n") for line in lines):
    sys.exit(3)
if what == "map" and inputs:
    # In place or not, by which worker: its folder is the one with the name of that.
    place = path.startswith(inputs)
    worker = os.getcwd().split("/state/")[0].rpartition("/")[2]
    print(f"reporter:counter:{{'place' if place else 'copy'}},{{worker}},1", file=sys.stderr)
    if before.count(b"\\n") != start if place else before + rest:
        sys.exit(4)
    if "CHANGE" in os.environ:
        with open(path, "ab") as file:
            file.write(b"more")
        sys.exit(int(os.environ["CHANGE"]))
    time.sleep(float(os.environ.get("PACE", 0)) * len(lines))
for line in lines if what == "map" else sorted(lines, key=lambda line: line[::-1]):
    sys.stdout.buffer.write(line)
"""
"""Prints its lines; it fails if one lacks its end, or if START, OFFSET and FILE do not go together."""
HIDE = 'mount --bind "$DECOY" "$INPUTS" && exec "$@"'


def uneven() -> list[bytes]:
    """Files with lines from nothing to megabytes, NUL, CR, no text at all; two lack their end."""
    dice = random.Random(7)
    sizes = [dice.choice([0, 0, 1, 7, 80, 80, 3000, 300_000]) for _ in range(60)]
    sizes += [3_000_000, 1_500_000]
    dice.shuffle(sizes)
    words = [b"the, ", b"\0", b"\r", b"a", b"\xff\xfe", b", ", b"word " * 9]
    lines = [(b"".join(dice.choices(words, k=1 + size // 8)) * 3)[:size] for size in sizes]
    return [b"\n".join(lines) + b"\n", b"", b"one\r", b"\n\n\r\n", b"x" * 700_000 + b"\n\0"]


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program."""
    made = tmp_path_factory.mktemp("program") / "program"
    made.write_text(SCRIPT)
    made.chmod(0o755)
    return made


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server and three workers; the third sees other files where the inputs are, if that can be."""
    folder = tmp_path_factory.mktemp("in_place") / "it"
    with running(folder, 2) as made:
        inputs, decoys = made.at / "inputs", folder / "decoys"
        for number, data in enumerate(uneven()):
            for each in (inputs, decoys):
                each.mkdir(exist_ok=True)
                (each / f"{number}").write_bytes(data.upper() if each is decoys else data)
            shutil.copystat(inputs / f"{number}", decoys / f"{number}")
        if can_hide():
            prefix = ["unshare", "-m", "sh", "-c", HIDE, "sh"]
            made.add_worker("--allow-root", prefix=prefix, DECOY=str(decoys), INPUTS=str(inputs))
            made.await_workers()
        yield made


def can_hide() -> bool:
    return os.geteuid() == 0 and can("unshare", "-m", "true")


def run(
    cluster: Cluster, script: Path, *words: object, stdin: bytes | None = None
) -> "CompletedProcess[bytes]":
    """A request whose program knows where the inputs are."""
    inputs = f"INPUTS={cluster.at}/inputs"
    return cluster.request("run", "--binary", script, "--env", inputs, *words, stdin=stdin)


def ways(cluster: Cluster) -> dict[str, set[str]]:
    """Which workers have read in place, and which have copied."""
    found: dict[str, set[str]] = {"place": set(), "copy": set()}
    for each in cluster.ask("status")["counters"]:
        found[each["group"]].add(each["name"])
    return found


def test_each_worker_reads_in_place_what_it_sees(cluster: Cluster, script: Path, tmp_path: Path) -> None:
    """Lines of all lengths, some from copies, some where they are: the answer is the pipe's."""
    ran = run(cluster, script, "--env", "PACE=0.02", "inputs")
    assert ran.returncode == 0, ran.stderr.decode()
    assert differ(ran.stdout, oracle(uneven(), script, tmp_path / "scratch")) == ""
    # What fails in place may end well from a copy.
    assert cluster.ask("status")["failures"] == 0
    found = ways(cluster)
    assert found["place"] == {"worker-1", "worker-2"}
    assert found["copy"] >= ({"worker-3"} if can_hide() else set())


def test_uploaded_lines_are_copied(cluster: Cluster, script: Path, tmp_path: Path) -> None:
    """Nobody but the server has them in a file; a file's last line without its end is copied too."""
    stdin = uneven()[0] + b"end"
    ran = run(cluster, script, "inputs/2", "-", stdin=stdin)
    assert ran.returncode == 0, ran.stderr.decode()
    assert differ(ran.stdout, oracle([b"one\r", stdin], script, tmp_path / "scratch")) == ""
    assert ways(cluster)["copy"]
    assert not ways(cluster)["place"]


@pytest.mark.parametrize("status", [0, 5])
def test_file_that_changes_meanwhile_is_not_the_programs_fault(
    cluster: Cluster, script: Path, status: int
) -> None:
    """Nor is there an answer from half of it: the request fails and names the file."""
    changing = cluster.at / "inputs-changing"
    changing.write_bytes(b"a, 1\n" * 100)
    ran = run(cluster, script, "--env", f"CHANGE={status}", "--quiet", changing.name)
    assert ran.returncode == 1
    said = (
        "The request failed: 'inputs-changing' changed while the request ran; submit the request again\n"
    )
    assert ran.stderr.decode() == said
    assert (cluster.ask("status")["failures"], cluster.ask("status")["counters"]) == (0, [])
