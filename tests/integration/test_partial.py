"""Answers that do not cover all: what is missing is what the list says, and the rest is right."""

import json
from collections.abc import Iterator

import pytest
from cluster import Cluster, differ, oracle, running, until

pytestmark = pytest.mark.slow

MAPPER = """#!/bin/sh
exec awk '/HANG/ { while (system("test -e " GATE) != 0) system("sleep 0.1") }
    { print $2 % 7 "\\t" $1 $2; fflush() }' GATE="$1"
"""
ONE = b"".join(b"line %d\n" % number for number in range(60))
TWO = b"".join(b"%s %d\n" % (b"HANG" if n == 77 else b"line", n) for n in range(60, 120))[:-1]
FILES = {"one.txt": ONE, "two.txt": TWO}
REDUCER = "cut -f1 | uniq -c"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Workers, more than may hang together in a while; a mapper that waits on one line for a file."""
    with running(tmp_path_factory.mktemp("partial") / "it", 4) as made:
        (made.at / "map.sh").write_text(MAPPER)
        (made.at / "map.sh").chmod(0o755)
        for name, text in FILES.items():
            (made.at / name).write_bytes(text)
        yield made


def never(cluster: Cluster) -> str:
    """The mapper, waiting for what never comes."""
    return f"./map.sh {cluster.at}/never"


def mapped(cluster: Cluster, text: bytes, reducer: str | None) -> bytes:
    """What comes of lines of which none is to be waited for."""
    return oracle([text], never(cluster), reducer, cluster.at)


def left(listed: bytes) -> bytes:
    """The input without exactly what is listed, by its bytes; lines and bytes agree."""
    texts = {name: bytearray(text) for name, text in FILES.items()}
    for row in listed.splitlines()[1:][::-1]:
        name, line, lines, offset, size = row.decode().split("\t")
        at, end = int(offset), int(offset) + int(size)
        cut = bytes(texts[name][at:end])
        assert len(cut.splitlines()) == int(lines)
        assert FILES[name][:at].count(b"\n") == int(line) - 1
        del texts[name][at:end]
    return b"".join(texts.values())


@pytest.mark.parametrize("reducer", [None, REDUCER])
def test_request_ends_when_what_it_has_is_good_enough(cluster: Cluster, reducer: str | None) -> None:
    """One line never ends; the answer is that over all lines but those that are listed."""
    reducing = () if reducer is None else ("--reducer", reducer)
    name = "map" if reducer is None else "reduce"
    enough = ("--good-enough", "50%", "--output", name)
    ran = cluster.request("run", *FILES, "--mapper", never(cluster), *reducing, *enough)
    assert ran.returncode == 0, ran.stderr.decode()
    listed = (cluster.at / f"{name}.missing").read_bytes()
    there = left(listed)
    assert b"HANG" not in there
    assert len(there.splitlines()) >= 60
    assert differ((cluster.at / name).read_bytes(), mapped(cluster, there, reducer)) == ""
    assert f"; what is missing is listed in {name}.missing".encode() in ran.stderr
    status = cluster.ask("status")
    assert status["cover"]["lines"] == len(there.splitlines())
    assert status["cover"]["bytes"] == len(there)
    assert b"% of the lines" in cluster.request("list").stdout
    again = cluster.request("answer", "--output", f"{name}-again")
    assert again.returncode == 0, again.stderr.decode()
    assert (cluster.at / f"{name}-again").read_bytes() == (cluster.at / name).read_bytes()
    assert (cluster.at / f"{name}-again.missing").read_bytes() == listed


def test_partial_answer_of_what_runs_and_then_the_whole(cluster: Cluster) -> None:
    """Over what is committed now; the request goes on, and in the end has all."""
    gate = cluster.at / "gate"
    run = ("run", *FILES, "--mapper", f"./map.sh {gate}", "--reducer", REDUCER)
    client = cluster.begin(*run)
    until(lambda: is_in_the_middle(cluster))
    partial = cluster.request("answer", "--partial", "--output", "partial")
    assert partial.returncode == 0, partial.stderr.decode()
    there = left((cluster.at / "partial.missing").read_bytes())
    assert there
    assert b"HANG" not in there
    assert differ((cluster.at / "partial").read_bytes(), mapped(cluster, there, REDUCER)) == ""
    assert b"; what is missing is listed in partial.missing" in partial.stderr
    assert [each for each in cluster.ask("list") if each["partial_of"]] == []
    gate.touch()
    out, _ = client.communicate(timeout=60)
    assert client.returncode == 0, (cluster.folder / "stderr").read_text()
    assert differ(out, oracle([ONE, TWO], f"./map.sh {gate}", REDUCER, cluster.at)) == ""
    whole = cluster.request("answer", "--partial", "--output", "whole")
    assert whole.returncode == 0, whole.stderr.decode()
    assert (cluster.at / "whole").read_bytes() == out
    assert not (cluster.at / "whole.missing").exists()


def is_in_the_middle(cluster: Cluster) -> bool:
    """Whether something is committed, and not all."""
    asked = cluster.request("status", "--json")
    status = json.loads(asked.stdout) if not asked.returncode else {}
    return status.get("state") == "running" and status["done"] > 0
