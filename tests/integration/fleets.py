"""Fleets as the original HaGoop tested them: text of uneven lines, requests under way, who works.

The original is right only where all lines are equally long, and its tests hold no other text.  Here
lines and words differ in length as widely as they can, and the whole answer is compared with the pipe.
"""

import functools
import json
import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any

from attrs import define, field
from cluster import REQUEST_SECONDS, SOURCE, Cluster, Process, differ, oracle

WORDS = f"""#!{sys.executable}
import os, re, sys, time
pace = float(os.environ.get("PACE", 0))
for line in sys.stdin.buffer:
    if pace:
        time.sleep(pace)
    for word in re.findall(b"[!-~]+", line):
        sys.stdout.buffer.write(word + b"\\t1\\n")
"""
"""A mapper that counts words, and takes PACE seconds for each line where that is set."""
MAP, COUNT = "./words.py", "./wordcount.sh reduce"
LONGEST = 20_000


# The text


def uneven_text(lines: int, seed: int = 7) -> bytes:
    """So many lines of code and, now and then, of words of all lengths in lines up to 20 kB."""
    dice = random.Random(seed)
    code = library()
    every = max(10, lines // 500)
    start = dice.randrange(len(code))
    made = (
        long_line(dice) if number % every == 3 else code[(start + number) % len(code)]
        for number in range(lines)
    )
    return b"".join(line + b"\n" for line in made)


@functools.cache
def library() -> list[bytes]:
    """The lines of the standard library's modules."""
    found = sorted(Path(os.__file__).parent.glob("*.py"))
    return b"".join(each.read_bytes() for each in found).split(b"\n")


def long_line(dice: random.Random) -> bytes:
    """Words from one letter to a thousand, from none to 20 kB of them."""
    size = dice.choice([0, 1, 70, 500, 4000, LONGEST])
    line = b""
    while len(line) < size:
        line += bytes(dice.choices(b"abc", k=dice.choice([1, 2, 3, 10, 100, 1000]))) + b" "
    return line[:size]


def write_books(cluster: Cluster, lines: int) -> list[bytes]:
    """Three files, one of them in a folder of the folder, as the original's; their texts in order."""
    text = uneven_text(lines).splitlines(keepends=True)
    parts = [b"".join(text[number * lines // 3 : (number + 1) * lines // 3]) for number in range(3)]
    (cluster.at / "books/inner").mkdir(parents=True)
    for name, part in zip(("books/a", "books/b", "books/inner/c"), parts, strict=True):
        (cluster.at / name).write_bytes(part)
    (cluster.at / "words.py").write_text(WORDS)
    (cluster.at / "words.py").chmod(0o755)
    shutil.copy(SOURCE / "examples/wordcount.sh", cluster.at)
    return parts


# Requests


@define(eq=False)
class Asked:
    """``hagoop-request run`` under way."""

    cluster: Cluster
    name: str
    words: tuple[str, ...]
    process: Process = field(init=False)

    def __attrs_post_init__(self) -> None:
        words = ("run", *self.words, "--output", self.name, "--json")
        self.process = self.cluster.begin_client(self.said, *words)

    @property
    def said(self) -> Path:
        """Its stderr."""
        return self.cluster.folder / f"{self.name}-said"

    def end(self, seconds: float = REQUEST_SECONDS) -> dict[str, Any]:
        """Wait for the end; the last status."""
        assert self.process.wait(seconds) == 0, self.said.read_text()
        found: dict[str, Any] = json.loads(self.said.read_text().splitlines()[-1])
        return found

    @property
    def answer(self) -> bytes:
        """What it has brought."""
        return (self.cluster.at / self.name).read_bytes()


@define(eq=False)
class Books:
    """The words of some books, asked for once or several times at once.

    :ivar pace: seconds that the mapper takes for a line.
    """

    cluster: Cluster
    lines: int
    pace: float = 0.0
    parts: list[bytes] = field(init=False)
    asked: list[Asked] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.parts = write_books(self.cluster, self.lines)

    def ask(self, count: int = 1) -> None:
        """Submit so many more requests."""
        words = ("books", "--mapper", MAP, "--combiner", COUNT, "--reducer", COUNT)
        for _ in range(count):
            name = f"answer-{len(self.asked) + 1}"
            self.asked.append(Asked(self.cluster, name, (*words, "--env", f"PACE={self.pace}")))

    def check(self, seconds: float = REQUEST_SECONDS) -> None:
        """Every answer is what the pipe gives, and nothing was charged to the program."""
        ended = [each.end(seconds) for each in self.asked]
        expected = oracle(self.parts, MAP, COUNT, self.cluster.at)
        assert [differ(each.answer, expected) for each in self.asked] == [""] * len(self.asked)
        assert [each["failures"] for each in ended] == [0] * len(self.asked)


# Who works


def committed(cluster: Cluster) -> list[int]:
    """How many jobs each worker that is connected has done."""
    return [each["committed"] for each in cluster.ask("workers")]


def unruly(cluster: Cluster, kind: str, count: int = 1, **options: object) -> None:
    """Start workers of a kind: the first is a process of its own, the others share one."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    for share in (1, count - 1):
        if share:
            seed = len(cluster.workers)
            cluster.add_unruly(kind, "--count", str(share), "--seed", str(seed), *words)


def deaths(cluster: Cluster) -> int:
    """How many unruly workers have died; some before they had joined."""
    return sum(each.said(" dies in its life ") for each in cluster.workers)
