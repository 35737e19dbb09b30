"""The line ledger as a request: the number of each line, once; and which lines were run how often."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from attrs import define, field
from cluster import REQUEST_SECONDS, Cluster, until
from line_ledger import numbered, wrong_in_ledger
from nursery import Process

NUMBERS = f"""#!{sys.executable}
import os, sys, time
pace, own = float(os.environ["PACE"]), os.urandom(6).hex().encode()
trace = os.open(os.environ["TRACE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for line in sys.stdin.buffer:
    time.sleep(pace)
    ran = b"%b\\t%b\\n" % (line.split(b"\\t")[0], own)
    os.write(trace, ran)
    sys.stdout.buffer.write(ran)
"""
"""Prints the number at the beginning of each line, and by which run; and notes that it has."""
IDENTITY = "cat"
DEPARTED = "left, failed: True"


def wrong_in(answer: bytes, lines: int) -> list[str]:
    """What is wrong with an answer, whoever has run its lines."""
    numbers = [each.partition(b"\t")[0] for each in answer.splitlines()]
    return wrong_in_ledger(b"\n".join(numbers), lines)


@define(eq=False)
class Ledger:
    """A request under way.

    :ivar pace: seconds for each line.
    :ivar options: more words for ``run``.
    """

    cluster: Cluster
    lines: int
    pace: float = 0.0
    options: tuple[str, ...] = ()
    reducer: str | None = IDENTITY
    client: Process | None = None
    name: str = field(init=False)
    trace: Path = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.name = f"ledger-{len(list(self.cluster.at.glob('ledger-*')))}"
        self.trace = self.cluster.folder / f"{self.name}-trace"
        program = self.cluster.at / "print_numbers.py"
        program.write_text(NUMBERS)
        program.chmod(0o755)
        (self.cluster.at / self.name).write_bytes(numbered(self.lines))

    @property
    def words(self) -> tuple[str, ...]:
        """The command."""
        env = ("--env", f"PACE={self.pace}", "--env", f"TRACE={self.trace}")
        reducer = () if self.reducer is None else ("--reducer", self.reducer)
        mapper = ("--mapper", "./print_numbers.py")
        return ("run", self.name, *mapper, *reducer, *env, "--json", *self.options)

    @property
    def answer(self) -> Path:
        """Where its answer is put."""
        return self.cluster.at / f"{self.name}-answer"

    @property
    def said(self) -> str:
        """What the command has said."""
        return (self.cluster.folder / f"{self.name}-said").read_text()

    def begin(self) -> "Ledger":
        """Submit it, and leave its client running."""
        words = (*self.words, "--output", self.answer.name, "--force")
        self.client = self.cluster.begin_client(self.cluster.folder / f"{self.name}-said", *words)
        return self

    @property
    def ran(self) -> list[bytes]:
        """Each line that was run, and by whom, in the order of time."""
        return self.trace.read_bytes().splitlines() if self.trace.exists() else []

    @property
    def mapped(self) -> Counter[bytes]:
        """How often each line was run."""
        return Counter(each.partition(b"\t")[0] for each in self.ran)

    def await_lines(self, share: float = 0.1) -> None:
        """Wait until so much of it was run."""
        until(lambda: len(self.mapped) > share * self.lines, 60, "the first lines")

    def end(self, seconds: float = REQUEST_SECONDS) -> dict[str, Any]:
        """Wait for its end: every number is there once, and nothing was charged to the program."""
        assert self.client is not None
        assert self.client.wait(seconds) == 0, self.said
        assert wrong_in(self.answer.read_bytes(), self.lines) == []
        status: dict[str, Any] = json.loads(self.said.splitlines()[-1])
        assert status["failures"] == 0, status
        return status