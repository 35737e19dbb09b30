"""Lines on which a mapper fails or hangs: passed over and listed, or named in few words."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, differ, oracle, running

pytestmark = pytest.mark.slow

MAPPER = """#!/bin/sh
exec awk '/BAD/ { print "cannot take " $2 > "/dev/stderr"; exit 3 }
    /HANG/ { system("sleep 60") }
    { print $2 "\\t" $1 }'
"""
ONE = b"HANG 0\n" + b"".join(b"%s %d\n" % (b"BAD" if n == 70 else b"good", n) for n in range(1, 100))
TWO = b"".join(b"%s %d\n" % (b"BAD" if n in (133, 199) else b"good", n) for n in range(100, 200))[:-1]
FLAGS = "--mapper", "./map.sh", "--timeout", "1", "--attempts", "2"
FILES = {"one.txt": ONE, "two.txt": TWO}


def listed(name: str, number: int) -> bytes:
    """What is said of a line of a file."""
    lines = FILES[name].splitlines(keepends=True)
    offset, line = sum(map(len, lines[: number - 1])), lines[number - 1].rstrip()
    if line.startswith(b"HANG"):
        return b"%s\t%d\t%d\t%s" % (name.encode(), number, offset, b"it took and printed nothing")
    how = b"it ended with exit status 3\tcannot take " + line.split()[1]
    return b"%s\t%d\t%d\t%s\n" % (name.encode(), number, offset, how)


BAD = [listed("one.txt", 1), listed("one.txt", 71), listed("two.txt", 34), listed("two.txt", 100)]


def check_list(said: bytes, bad: list[bytes]) -> None:
    """Exactly the bad lines, in the order of the input."""
    rows = said.splitlines(keepends=True)
    assert len(rows) == len(bad), said.decode()
    assert [got[: len(wanted)] for got, wanted in zip(rows, bad, strict=True)] == bad


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers; a mapper and its input."""
    with running(tmp_path_factory.mktemp("bad") / "it", 2) as made:
        (made.at / "map.sh").write_text(MAPPER)
        (made.at / "map.sh").chmod(0o755)
        for name, text in FILES.items():
            (made.at / name).write_bytes(text)
        yield made


def expected(folder: Path, text: bytes, reducer: str | None) -> bytes:
    """The pipe over all lines but the bad ones."""
    good = [each for each in text.splitlines(keepends=True) if each.startswith(b"good")]
    return oracle([b"".join(good)], "./map.sh", reducer, folder)


def test_answer_covers_all_lines_but_those_that_are_listed(cluster: Cluster) -> None:
    """With a reducer; and again when the answer is fetched once more."""
    skipping = (*FLAGS, "--reducer", "cat", "--skip-bad-lines", "4")
    ran = cluster.request("run", *FILES, *skipping, "--output", "answer")
    assert ran.returncode == 0, ran.stderr.decode()
    wanted = expected(cluster.at, ONE + TWO, "cat")
    assert differ((cluster.at / "answer").read_bytes(), wanted) == ""
    check_list((cluster.at / "answer.bad").read_bytes(), BAD)
    assert b"4 bad lines were passed over; they are listed in answer.bad" in ran.stderr
    assert cluster.ask("status")["bad_lines"] == 4
    assert cluster.request("answer", "--output", "again").returncode == 0
    assert differ((cluster.at / "again").read_bytes(), wanted) == ""
    check_list((cluster.at / "again.bad").read_bytes(), BAD)


def test_list_goes_to_stderr_when_the_answer_goes_to_stdout(cluster: Cluster) -> None:
    """Map alone."""
    ran = cluster.request("run", "two.txt", "--mapper", "./map.sh", "--skip-bad-lines", "9", "--quiet")
    assert ran.returncode == 0, ran.stderr.decode()
    assert differ(ran.stdout, expected(cluster.at, TWO, None)) == ""
    check_list(ran.stderr, BAD[2:])


def test_older_list_does_not_stay_beside_a_new_answer(cluster: Cluster) -> None:
    """Where the new one leaves nothing out."""
    (cluster.at / "new.bad").write_bytes(b"old")
    assert cluster.request("run", "one.txt", "-m", "cat", "-o", "new", "--force").returncode == 0
    assert (cluster.at / "new").read_bytes() == ONE
    assert not (cluster.at / "new.bad").exists()


@pytest.mark.parametrize("skip", [(), ("--skip-bad-lines", "1")])
def test_failure_names_few_lines(cluster: Cluster, skip: tuple[str, ...]) -> None:
    """The last one where some may be passed over; and nothing is left behind."""
    ran = cluster.request("run", "two.txt", "--mapper", "./map.sh", *skip, "--output", "none")
    assert ran.returncode == 1
    failed = b"fails on more than 1 line, at last" if skip else b"failed 4 times"
    assert b"The request failed: the mapper " + failed + b" on two.txt, line" in ran.stderr
    assert ran.stderr.strip().endswith((b"said: cannot take 133", b"said: cannot take 199"))
    assert not list(cluster.at.glob("*none*"))
