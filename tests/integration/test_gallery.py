"""The examples, run by the commands in their heads, against answers made another way."""

import ast
import math
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

import pytest
from cluster import REQUEST, SOURCE, Cluster, differ, end_line, running

pytestmark = pytest.mark.slow

EXAMPLES = sorted(each for each in (SOURCE / "examples").iterdir() if each.is_file())
PARTS = {"wordcount_reduce.c": "wordcount_map.c"}
"""Programs that are run by the commands in the head of another."""
MOST_LINES = 40
SECONDS = 300.0
LONGER = {"wordcount_original.c"}
"""The original interface asks more of a program; nobody begins with it."""
COMMAND = re.compile(r"^(?:cc|hagoop-request) (?:.*\\\n)*.*", re.MULTILINE)
WORD = re.compile(rb"[A-Za-z]+")
SAID = (
    b"Angel GLEAN angle gallery regally allergy stone notes onset Tones "
    # Accents, bytes that are no text, and a sign that becomes a k in small letters.
    b"e\xcc\x81t\xc3\xa9 \xff\xfe na\xefve \xe2\x84\xaa"
)


# Inputs


def make_text(seed: int, lines: int = 150) -> bytes:
    """Words that are anagrams or not, bytes that are no text, empty lines, no last newline."""
    dice = random.Random(seed)
    words = SAID.split(b" ")
    return b"\n".join(b", ".join(dice.choices(words, k=dice.randrange(9))) for _ in range(lines))


def make_log(seed: int) -> bytes:
    dice = random.Random(seed)
    said = [b"all is well", b"error: no room", b"a fatal \xff", b"no Error", b"noerrors"]
    seconds = [dice.randrange(100_000) for _ in range(300)]
    return b"".join(b"%d user%d %b\n" % (each, each % 7, dice.choice(said)) for each in seconds)


def make_table(seed: int, value: bytes, rows: int) -> bytes:
    """Numbers and values; numbers come several times, or not at all."""
    dice = random.Random(seed)
    return b"".join(b"%d\t%b %d\n" % (dice.randrange(60), value, row) for row in range(rows))


def make_matrix(seed: int) -> bytes:
    """Numbers so different that the order of a sum would tell."""
    dice = random.Random(seed)
    cells = [(row, column) for row in range(12) for column in range(30) if dice.random() < 0.7]
    dice.shuffle(cells)
    numbers = (dice.choice([1e16, -1e16, 1.0, 0.1]) * dice.random() for _ in cells)
    return b"".join(b"%d %d %r\n" % (*cell, number) for cell, number in zip(cells, numbers, strict=True))


def make_vector(seed: int) -> bytes:
    dice = random.Random(seed)
    return b"".join(b"%d %r\n" % (column, dice.random()) for column in range(30) if column % 7)


INPUTS = {
    "BOOKS/a": make_text(1),
    "BOOKS/b.txt": make_text(2),
    "BOOKS/deep/c": make_text(3, 40),
    "LOGS/one.log": make_log(4),
    "LOGS/two.log": make_log(5),
    "CUSTOMERS": make_table(6, b"customer", 50),
    "ORDERS": make_table(7, b"article", 200),
    "NUMBERS": make_table(8, b"line", 300) + b"7\n18446744073709551615\tlarge\n",
    "MATRIX": make_matrix(9),
    "VECTOR": make_vector(10),
}
BOOKS = {name: data for name, data in INPUTS.items() if name.startswith("BOOKS")}


# Answers, made another way


def words_of(text: bytes) -> list[bytes]:
    return [each.lower() for each in WORD.findall(text)]


def all_words() -> list[bytes]:
    return [word for text in BOOKS.values() for word in words_of(text)]


def counted(found: Iterable[bytes], between: bytes = b"\t") -> bytes:
    counts = sorted(Counter(found).items())
    return b"".join(b"%b%b%d\n" % (each, between, count) for each, count in counts)


def index() -> bytes:
    files = {
        word: [name.encode() for name, text in BOOKS.items() if word in words_of(text)]
        for word in sorted(set(all_words()))
    }
    return b"".join(b"%b\t%b\n" % (word, b" ".join(names)) for word, names in files.items())


def ngrams() -> bytes:
    rows = [words_of(line) for text in BOOKS.values() for line in text.split(b"\n")]
    return counted(b" ".join(each) for row in rows for each in zip(row, row[1:], row[2:], strict=False))


def anagrams() -> bytes:
    words = sorted(set(all_words()))
    groups = {key: [each for each in words if sorted(each) == list(key)] for key in map(letters, words)}
    return b"".join(b", ".join(groups[key]) + b"\n" for key in sorted(groups) if len(groups[key]) > 1)


def letters(word: bytes) -> bytes:
    return bytes(sorted(word))


def matching(between: bytes | None) -> bytes:
    found = [
        (name.encode(), line)
        for name, text in INPUTS.items()
        for line in text.splitlines(keepends=True)
        if name.startswith("LOGS") and (b"error" in line or b"fatal" in line)
    ]
    return b"".join(line if between is None else name + between + line for name, line in found)


def joined() -> bytes:
    left, right = (INPUTS[name].splitlines() for name in ("CUSTOMERS", "ORDERS"))
    pairs = [(each.split(b"\t"), other.split(b"\t")) for each in left for other in right]
    found = [(one[0], one[1], two[1]) for one, two in pairs if one[0] == two[0]]
    return b"".join(b"\t".join(each) + b"\n" for each in sorted(found, key=lambda each: each[0]))


def sessions() -> bytes:
    lines = (INPUTS["LOGS/one.log"] + INPUTS["LOGS/two.log"]).splitlines()
    seen: dict[bytes, list[int]] = {}
    for second, user in (line.split(b" ")[:2] for line in lines):
        seen.setdefault(user, []).append(int(second))
    found = [(user, *each) for user in sorted(seen) for each in visits(seen[user])]
    return b"".join(b"%b\t%d\t%d\t%d\n" % each for each in found)


def stats() -> bytes:
    found = []
    for name, text in BOOKS.items():
        words = [len(line.split()) for line in text.splitlines()]
        found.append((name.encode(), len(words), sum(words), len(end_line(text))))
    return b"".join(b"%b\t%d\t%d\t%d\n" % each for each in found)


def top() -> bytes:
    counts = sorted(Counter(all_words()).items(), key=lambda each: (-each[1], each[0]))
    return b"".join(b"%b\t%d\n" % each for each in counts[:100])


def visits(seconds: list[int]) -> list[tuple[int, int, int]]:
    seconds = sorted(seconds)
    pauses = [i for i in range(1, len(seconds)) if seconds[i] - seconds[i - 1] > 1800]
    bounds = pairwise([0, *pauses, len(seconds)])
    return [(seconds[i], seconds[j - 1], j - i) for i, j in bounds]


def pi() -> bytes:
    hits = 0
    for seed in range(1, 1001):
        numbers = random.Random(seed)
        darts = [complex(numbers.random(), numbers.random()) for _ in range(1000)]
        hits += len([each for each in darts if each.real**2 + each.imag**2 < 1])
    assert abs(hits / 1e6 - math.pi / 4) < 0.002
    return b"pi\t%a\n" % (4 * hits / 1e6)


def product() -> bytes:
    matrix, cells = (map(bytes.split, INPUTS[name].splitlines()) for name in ("MATRIX", "VECTOR"))
    vector = {column: float(number) for column, number in cells}
    sums: dict[bytes, Fraction] = {}
    for row, column, number in matrix:
        sums[row] = sums.get(row, Fraction()) + Fraction(float(number) * vector.get(column, 0.0))
    return b"".join(b"%b\t%a\n" % (row, float(sums[row])) for row in sorted(sums))


def ordered(key: Callable[[bytes], Any]) -> bytes:
    lines = INPUTS["NUMBERS"].splitlines(keepends=True)
    return b"".join(sorted(lines, key=lambda line: key(line.split(b"\t")[0].strip())))


ANSWERS: dict[str, dict[str, Callable[[], bytes]]] = {
    "anagrams.py": {"anagrams.txt": anagrams},
    "filestats.sh": {"stats.txt": stats},
    "grep.sh": {"found.txt": lambda: matching(b":"), "lines.txt": lambda: matching(None)},
    "inverted_index.py": {"index.txt": index},
    "join.py": {"joined.txt": joined},
    "matrix_vector.py": {"product.txt": product},
    "ngrams.py": {"ngrams.txt": ngrams},
    "pi.py": {"pi.txt": pi},
    "sessions.py": {"sessions.txt": sessions},
    "sort.sh": {"sorted.txt": lambda: ordered(int), "bytes.txt": lambda: ordered(bytes)},
    "top.sh": {"top.txt": top},
    "wordcount.awk": {"counts.txt": lambda: counted(all_words())},
    "wordcount.py": {"counts.txt": lambda: counted(all_words())},
    "wordcount.sh": {"counts.txt": lambda: counted(all_words())},
    "wordcount_map.c": {"counts.txt": lambda: counted(all_words())},
    "wordcount_original.c": {"counts.txt": lambda: counted(all_words(), b", ")},
}
"""What the commands in each head write, by file."""


# Running


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers that find this Python as ``python3``, as those of an installed HaGoop do."""
    with running(tmp_path_factory.mktemp("gallery") / "it", 0) as made:
        for _ in range(2):
            made.add_worker(PATH=search_path())
        made.await_workers()
        script = made.folder / "bin" / "hagoop-request"
        script.parent.mkdir()
        script.write_text(f'#!/bin/sh\nexec {" ".join(REQUEST)} "$@"\n')
        script.chmod(0o755)
        yield made


def search_path(*first: Path) -> str:
    folders = [*first, Path(sys.executable).parent, os.environ["PATH"]]
    return ":".join(map(str, folders))


def commands_of(example: Path) -> list[str]:
    """What is to be typed, by the example's head."""
    text = example.read_text()
    if example.suffix == ".py":
        head = (ast.get_docstring(ast.parse(text)) or "").splitlines()
    else:
        comment = takewhile(lambda line: line.startswith(("#", "/*", " *")), text.splitlines())
        head = [re.sub(r"^(#| \*) ?", "", each) for each in comment]
    return COMMAND.findall("\n".join(each[4:] for each in head if each.startswith("    ")))


def make_folder(folder: Path) -> None:
    """The examples, and the inputs beside them."""
    for each in EXAMPLES:
        shutil.copy(each, folder)
    for name, data in INPUTS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


@pytest.mark.parametrize("name", [each.name for each in EXAMPLES if each.name not in PARTS])
def test_example_does_what_its_head_says(cluster: Cluster, tmp_path: Path, name: str) -> None:
    """Its commands, as they stand there, give what was reckoned here."""
    make_folder(tmp_path)
    env = {**cluster.env, "PATH": search_path(cluster.folder / "bin"), "HAGOOP_SERVER": cluster.address}
    for command in commands_of(tmp_path / name):
        ran = subprocess.run(
            ["sh", "-c", command], cwd=tmp_path, env=env, capture_output=True, timeout=SECONDS
        )
        assert ran.returncode == 0, ran.stderr.decode()
    for file, answer in ANSWERS[name].items():
        assert differ((tmp_path / file).read_bytes(), answer()) == ""


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.name)
def test_example_is_short(example: Path) -> None:
    """What people copy, they must have read."""
    assert example.name in LONGER or len(example.read_text().splitlines()) < MOST_LINES
    assert commands_of(example) or example.name in commands_of(example.parent / PARTS[example.name])[1]
