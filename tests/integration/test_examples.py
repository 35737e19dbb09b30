"""The examples as plain pipes, against counts made another way."""

import os
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import hagoop

EXAMPLES = Path(hagoop.__file__).parent.parent / "examples"
ENV = {**os.environ, "LC_ALL": "C", "PYTHONPATH": str(EXAMPLES.parent)}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The C programs, compiled; each example's mapper and reducer."""
    folder = tmp_path_factory.mktemp("built")
    for name in ("wordcount_map", "wordcount_reduce"):
        words = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", folder / name, EXAMPLES / f"{name}.c"]
        subprocess.run(words, check=True)
    script = f"{sys.executable} {EXAMPLES / 'wordcount.py'}"
    shell = EXAMPLES / "wordcount.sh"
    return {
        "python": (f"{script} map", f"{script} reduce", f"{script} combine"),
        "c": (f"{folder}/wordcount_map", f"{folder}/wordcount_reduce", f"{folder}/wordcount_reduce"),
        "shell": (f"{shell} map", f"{shell} reduce", f"{shell} reduce"),
    }


KINDS = pytest.mark.parametrize("kind", ["python", "shell", "c"])


def pipe(data: bytes, *commands: str) -> bytes:
    words = ["sh", "-c", " | ".join(commands)]
    return subprocess.run(words, input=data, env=ENV, capture_output=True, check=True).stdout


def make_text() -> bytes:
    """Words, bytes that are no text, a long line, awkward names of numbers, no last newline."""
    chance = random.Random(7)
    words = b"inf INFINITY nan NaN e The the a1b \xff\xfe \0 \xc3\xa9t\xc3\xa9 \r".split(b" ")
    lines = [b" ".join(chance.choices(words, k=chance.randrange(9))) for _ in range(2000)]
    return b"\n".join([*lines, b"long " * 50_000, b"w" * 200_000 + b"!", b"", b"last"])


def expected(text: bytes) -> bytes:
    counts = Counter(word.lower() for word in re.findall(rb"[A-Za-z]+", text))
    return b"".join(b"%s\t%d\n" % each for each in sorted(counts.items()))


@KINDS
def test_counts_are_right(built, kind):
    """Mapper, sort, reducer: as a user would type it first."""
    mapper, reducer, _ = built[kind]
    text = make_text()
    assert pipe(text, mapper, "sort -s -t '\t' -k1,1", reducer) == expected(text)


@KINDS
def test_combiner_changes_nothing(built, kind):
    """Applied to any part of the pairs, once or twice."""
    mapper, reducer, combiner = built[kind]
    text = make_text()
    cut = text.index(b"\n", len(text) // 3) + 1
    parts = [pipe(part, mapper, "sort", combiner, combiner) for part in (text[:cut], text[cut:])]
    assert pipe(b"".join(parts), "sort", reducer) == expected(text)


@KINDS
def test_mapper_is_pure_per_line(built, kind):
    """Cut anywhere between lines, the same is printed; nothing for nothing."""
    mapper, reducer, _ = built[kind]
    text = make_text() + b"\n"
    cut = text.index(b"\n", len(text) // 2) + 1
    assert pipe(text[:cut], mapper) + pipe(text[cut:], mapper) == pipe(text, mapper)
    assert (pipe(b"", mapper), pipe(b"", reducer)) == (b"", b"")


@KINDS
def test_reducer_takes_any_key(built, kind):
    """Keys that are no words, longer than any buffer, empty; numbers below zero."""
    reducer = built[kind][1]
    long = b"k" * 300_000
    lines = b"\t1\n\t2\n1\t5\n1.0\t-7\n1e0\t1\n" + long + b"\t1\n" + long + b"\t2\n\xff\t3"
    assert pipe(lines, reducer) == b"\t3\n1\t5\n1.0\t-7\n1e0\t1\n" + long + b"\t3\n\xff\t3\n"


def test_broken_pipe_is_quiet(built):
    """A reader that has enough gets no traceback."""
    command = f"yes a | {built['python'][0]} | head -n 1"
    ended = subprocess.run(["sh", "-c", command], env=ENV, capture_output=True, check=True)
    assert (ended.stdout, ended.stderr) == (b"a\t1\n", b"")


@pytest.mark.parametrize("kind", ["python", "shell"])
def test_wrong_use_is_one_sentence(built, kind):
    """With exit status 2."""
    command = built[kind][0].removesuffix("map") + "sort"
    ended = subprocess.run(command.split(), env=ENV, capture_output=True)
    assert ended.returncode == 2
    assert ended.stderr.count(b"\n") == 1
    assert b"say what to do" in ended.stderr
