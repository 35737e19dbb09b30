"""Whole runs and inputs of all kinds, with real servers, workers and clients, against the plain pipe."""

import sys
from collections.abc import Iterator

import pytest
from cluster import Cluster, Part, differ, oracle, running, until

pytestmark = pytest.mark.slow

TOTALS = (
    "awk -F'\\t' '{ n[$1]++ } END { for (k in n) print k, n[k] | \"sort\"; close(\"sort\"); print NR }'"
)
LAST = f"""#!{sys.executable}
import os, sys, time
lines = sys.stdin.buffer.readlines()
while not os.path.exists(os.environ["UNTIL"]):
    time.sleep(0.01)
sys.stdout.buffer.write(lines[-1] + b"\\n%d\\n" % len(lines))
"""
"""Prints nothing before its end, and does not end before it may."""
FILES = {
    "a.txt": b"".join(b"k%d\t%d\n" % (number % 17, number) for number in range(3000)),
    "b.txt": b"one line",
    "c.txt": b"",
    "d.txt": b"k1\tx\nk2\ty\n\nlast",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server and three workers, two of which may be killed, and a folder of files."""
    with running(tmp_path_factory.mktemp("whole") / "it", 3) as made:
        (made.at / "in").mkdir()
        for name, data in FILES.items():
            (made.at / "in" / name).write_bytes(data)
        (made.at / "last.py").write_text(LAST)
        (made.at / "last.py").chmod(0o755)
        yield made


def answer(cluster: Cluster, *words: object) -> bytes:
    """What ``run`` answers."""
    ran = cluster.request("run", *words, "--quiet")
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout


def test_reducer_with_totals_sees_all_keys(cluster: Cluster) -> None:
    """By our name and by Hadoop's; without reduce tasks there is no reducer."""
    wanted = oracle(FILES.values(), None, TOTALS)
    assert differ(answer(cluster, "in", "--reducer", TOTALS, "--reduce-whole"), wanted) == ""
    hadoop = ("-input", "in", "-mapper", "cat", "-reducer", TOTALS, "-numReduceTasks")
    assert differ(answer(cluster, *hadoop, "1"), wanted) == ""
    assert differ(answer(cluster, *hadoop, "0"), oracle(FILES.values(), "cat")) == ""


def test_mapper_with_totals_sees_each_file_whole(cluster: Cluster) -> None:
    """Once; an empty file is no file."""
    each = [oracle([data], TOTALS) for data in FILES.values()]
    assert differ(answer(cluster, "in", "--mapper", TOTALS, "--map-whole"), b"".join(each)) == ""


def test_one_run_sees_lines_of_many_small_files(cluster: Cluster) -> None:
    """In fewer runs than there are files, and each of their last lines is ended."""
    (cluster.at / "small").mkdir()
    files = [b"x%d\ny%d" % (number, number) for number in range(200)]
    for number, data in enumerate(files):
        (cluster.at / "small" / f"{number:03}").write_bytes(data)
    wanted = oracle(files, "tr xy ab")
    assert differ(answer(cluster, "small", "--mapper", "tr xy ab", "--combine-files"), wanted) == ""
    counts = answer(cluster, "small", "--mapper", "wc -l", "--combine-files").split()
    assert sum(map(int, counts)) == 400
    assert len(counts) < 100


def test_numbers_are_an_input(cluster: Cluster) -> None:
    """What ``seq`` prints, in any number of jobs; none of them, too."""
    wanted = oracle([b"".join(b"%d\n" % number for number in range(1, 20_001))], "rev", "wc -c")
    words = ("--mapper", "rev", "--reducer", "wc -c", "--reduce-whole")
    assert answer(cluster, "--lines", "20000", *words) == wanted
    assert answer(cluster, "--lines", "0", *words) == b""


def holder(cluster: Cluster, phase: str) -> Part | None:
    """The worker that has begun the whole job of a phase."""
    for each in cluster.ask("workers"):
        if f" {phase} " in each["doing"]:
            return cluster.workers[int(each["name"].removeprefix("worker-")) - 1]
    return None


@pytest.mark.parametrize("phase", ["map", "reduce"])
def test_killed_holder_of_a_whole_job_costs_nothing_but_time(cluster: Cluster, phase: str) -> None:
    """``kill -9`` in the middle: another one does all of it."""
    option = "--mapper" if phase == "map" else "--reducer"
    may_end = cluster.at / f"{phase}-may-end"
    words = ("run", "in/a.txt", option, "./last.py", f"--{phase}-whole", "--env", f"UNTIL={may_end}")
    client = cluster.begin(*words, "--quiet")
    until(lambda: holder(cluster, phase), what="a whole job")
    killed = holder(cluster, phase)
    assert killed is not None
    killed.kill()
    may_end.touch()
    out, _ = client.communicate(timeout=60)
    assert client.returncode == 0, (cluster.folder / "stderr").read_text()
    last = "k9\t2984" if phase == "reduce" else FILES["a.txt"].splitlines()[-1].decode()
    assert out.decode() == f"{last}\n\n3000\n"
    assert cluster.ask("status")["failures"] == 0
