"""Several steps and other orders of keys, against the plain pipe; workers and a server are killed."""

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen
from cluster import PROGRAM_ENV, Cluster, differ, end_line, running, until

pytestmark = pytest.mark.slow

SCRIPT = f"""#!{sys.executable}
import os, sys, time
for line in sys.stdin.buffer:
    while os.environ["HOLD"].encode() in line and not os.path.exists(os.environ["GATE"]):
        time.sleep(0.02)
    sys.stdout.buffer.write(line)
"""
"""Lines with some bytes are held until a file is there."""


@frozen
class Step:
    """Programs of a step, and how its lines are sorted.

    :param options: ours for that order.
    """

    mapper: str | None = None
    reducer: str | None = None
    sort: tuple[str, ...] = ("-s", "-t", "\t", "-k1,1")
    options: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """The step as options."""
        named = {"--mapper": self.mapper, "--reducer": self.reducer}
        return [word for pair in named.items() if pair[1] is not None for word in pair] + [*self.options]

    def run(self, data: bytes) -> bytes:
        """The pipe; nothing is run on nothing."""
        data = pipe(["/bin/sh", "-c", self.mapper or "cat"], data)
        if self.reducer is None:
            return data
        return pipe(["/bin/sh", "-c", self.reducer], pipe(["env", "LC_ALL=C", "sort", *self.sort], data))


def pipe(words: list[str], data: bytes) -> bytes:
    if not data:
        return b""
    ran = subprocess.run(words, input=data, env=PROGRAM_ENV, stdout=subprocess.PIPE, check=True)
    return end_line(ran.stdout)


def words_of(steps: list[Step]) -> list[str]:
    """``run`` with all of these steps."""
    return [word for step in steps for word in ("--then", *step.words)][1:]


def piped(data: bytes, steps: list[Step]) -> bytes:
    """One pipe after the other."""
    for step in steps:
        data = step.run(data)
    return data


def dotted(count: int) -> bytes:
    """Lines of fields with dots and TABs, some of them empty, and all kinds of bytes."""
    dice = random.Random(9)
    parts = [b"", b"a", b"a\0", b"b", b"10", b"9", b"\xff", b"a b", b"\r", b"a\x01"]
    fields = [dice.choices(parts, k=dice.randrange(5)) for _ in range(count)]
    return b"\n".join(dice.choice([b".", b"\t"]).join(each) for each in fields)


LINES = dotted(3000)
COUNT = "LC_ALL=C cut -f1 | LC_ALL=C uniq -c"
BY_COUNT = Step(r"sed 's/^ *\([0-9]*\) /\1	/'", "cat")
TWO_FIELDS = (("-s", "-t", "\t", "-k1,2"), ("--key-fields", "2"))
DOTS = (("-s", "-t", ".", "-k1,1"), ("--separator", "."))
SORTED = (("-t", "\t", "-k1,1"), ("--secondary-sort",))
SORTED_DOTS = (("-t", ".", "-k1,2"), ("--secondary-sort", "--separator", ".", "--key-fields", "2"))
CASES = {
    "two fields": [Step("cat", "cat", *TWO_FIELDS)],
    "values sorted behind two dots": [Step(None, "cat", *SORTED_DOTS)],
    "three steps": [Step("tr a A", COUNT), BY_COUNT, Step(None, "cut -f1 | uniq -c")],
    "steps without reducers": [Step("tr a A"), Step("sed p"), Step("cat", COUNT), Step("tr A a")],
    "steps of other orders": [Step("cat", "cat", *DOTS), Step(None, "cat", *SORTED), BY_COUNT],
    "a step that prints nothing": [Step("cat", "cat > /dev/null"), Step("wc -l")],
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers."""
    with running(tmp_path_factory.mktemp("steps") / "it", 2) as made:
        (made.at / "input").write_bytes(LINES)
        yield made


@pytest.mark.parametrize("name", CASES)
def test_answer_is_that_of_the_pipe(cluster: Cluster, name: str) -> None:
    """Byte for byte."""
    steps = CASES[name]
    ran = cluster.request("run", "input", *words_of(steps))
    assert ran.returncode == 0, ran.stderr.decode()
    assert differ(ran.stdout, piped(end_line(LINES), steps)) == ""


def test_original_program_may_be_a_step(cluster: Cluster) -> None:
    """It has its own order, and its answer is the next one's input."""
    binary = cluster.at / "binary"
    binary.write_text('#!/bin/sh\nexec tail -c +$(($5 + 1)) "$2" | head -n $(($4 - $3))\n')
    binary.chmod(0o755)
    words = ["--binary", "./binary", "--then", "--mapper", "tr a A"]
    ran = cluster.request("run", "input", *words)
    assert ran.returncode == 0, ran.stderr.decode()
    in_order = pipe(["env", "LC_ALL=C", "sort"], end_line(LINES))
    assert differ(ran.stdout, pipe(["tr", "a", "A"], in_order)) == ""


def test_failure_names_the_step(cluster: Cluster) -> None:
    """And the input, which is no file of the user's."""
    ran = cluster.request("run", "input", "--reducer", COUNT, "--then", "--mapper", "false")
    assert ran.returncode == 1
    said = ran.stderr.decode()
    assert "the mapper of step 2 of 2 failed" in said
    assert "on the answer of step 1, line" in said
    unfit = cluster.request("run", "input", "--mapper", "cat", "--then", "--mapper", "no-such-thing")
    assert unfit.returncode == 1
    assert "no connected worker can run step 2 of 2: no-such-thing is not" in unfit.stderr.decode()


# Killed on the way

FEW = b"".join(b"k%d\tv%d\n" % (number % 60, number) for number in range(600))
PLAIN = [Step("cat", COUNT), Step("cat", "cat"), Step(None, "cut -f1 | uniq -c")]


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Cluster]:
    """Two workers, and a mapper that holds some lines."""
    with running(tmp_path / "it", 2) as made:
        (made.at / "input").write_bytes(FEW)
        (made.at / "hold.py").write_text(SCRIPT)
        (made.at / "hold.py").chmod(0o755)
        yield made


def holding(cluster: Cluster, hold: str, gate: str) -> tuple[str, ...]:
    """Options of a mapper that holds lines."""
    gates = ("--env", f"HOLD={hold}", "--env", f"GATE={cluster.folder / gate}")
    return ("--mapper", "./hold.py", *gates)


def is_at(cluster: Cluster, step: int) -> bool:
    """Whether the newest request maps in a step, and some of its lines are committed."""
    status = cluster.ask("status")
    assert status["state"] == "running", status
    return (status["step"], status["phase"]) == (step, "map") and status["done"] > 0


def test_killed_workers_and_servers_change_nothing(held: Cluster) -> None:
    """A worker in step 1; the server where step 2 begins, and in its middle."""
    first = (*holding(held, "k42", "first"), "--reducer", COUNT)
    second = (*holding(held, "k42", "second"), "--reducer", "cat")
    steps = (*first, "--then", *second, "--then", *PLAIN[2].words)
    assert held.request("run", "input", *steps, "--detach").returncode == 0
    until(lambda: is_at(held, 1), 60)
    held.workers[0].kill()
    (held.folder / "first").touch()
    until(lambda: held.ask("status")["step"] == 2, 60)
    held.server.kill()
    held.start_server()
    held.workers[0].start()
    until(lambda: is_at(held, 2), 60)
    done = held.ask("status")["done"]
    held.server.kill()
    held.start_server()
    status = held.ask("status")
    assert (status["step"], status["steps"], status["phase"]) == (2, 3, "map")
    assert status["done"] >= done
    (held.folder / "second").touch()
    answered = held.request("answer")
    assert answered.returncode == 0, answered.stderr.decode()
    assert differ(answered.stdout, piped(FEW, PLAIN)) == ""
    ended = held.ask("status")
    assert (ended["state"], ended["step"], ended["failures"]) == ("done", 3, 0)
