"""Whole runs and inputs of all kinds, with real servers, workers and clients, against the plain pipe."""

from collections.abc import Iterator

import pytest
from cluster import Cluster, differ, oracle, running

pytestmark = pytest.mark.slow

TOTALS = (
    "awk -F'\\t' '{ n[$1]++ } END { for (k in n) print k, n[k] | \"sort\"; close(\"sort\"); print NR }'"
)
FILES = {
    "a.txt": b"".join(b"k%d\t%d\n" % (number % 17, number) for number in range(3000)),
    "b.txt": b"one line",
    "c.txt": b"",
    "d.txt": b"k1\tx\nk2\ty\n\nlast",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server and two workers, and a folder of files."""
    with running(tmp_path_factory.mktemp("whole") / "it", 2) as made:
        (made.at / "in").mkdir()
        for name, data in FILES.items():
            (made.at / "in" / name).write_bytes(data)
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
