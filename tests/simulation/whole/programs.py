"""The programs of requests as commands, what runs them, and how their runs go."""

import heapq
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

from attrs import define, evolve, field
from world.programs import (
    BY_KEY,
    Lines,
    Step,
    Task,
    count_keys,
    lines_of,
    run_combiner,
    run_mapper,
    run_reducer,
    sort_key,
)

from hagoop.jobs import Program as Submitted
from whole.processes import Mood, Program


def submitted(step: Step) -> Submitted:
    """A step's programs as a user types them."""
    return evolve(
        step.program,
        mapper=_command("map", step.mapper),
        reducer=_command("reduce", step.reducer),
        combiner=_command("combine", step.combiner),
        timeout_seconds=30.0,
    )


def _command(kind: str, name: str | None) -> str | None:
    return None if name is None else f"{kind} {name}"


def counters(task: Task) -> dict[tuple[str, str], int]:
    """What its programs count."""
    files, counted = task.lines, Counter[tuple[str, str]]()
    for step in task.steps:
        if step.mapper is not None:
            counted["world", "lines"] += sum(map(len, files))
        lines, keys = step.run(files)
        files, counted["world", "keys"] = [lines], counted["world", "keys"] + keys
    return dict(+counted)


def find(argv: list[str]) -> Program:
    """What a command line means."""
    if argv[0] == "sort":
        return lambda _: (_sort(argv), b"")
    kind, name = argv
    return lambda lines: _run(kind, name, lines)


def _run(kind: str, name: str, lines: Lines) -> tuple[bytes, bytes]:
    if kind == "map":
        return b"".join(run_mapper(name, lines)), _counter(b"lines", len(lines))
    if kind == "combine":
        return b"".join(run_combiner(name, lines)), b""
    return b"".join(run_reducer(name, lines, BY_KEY)), _counter(b"keys", count_keys(lines, BY_KEY))


def _counter(name: bytes, amount: int) -> bytes:
    return b"reporter:counter:world,%b,%d\n" % (name, amount) if amount else b""


def _sort(argv: list[str]) -> bytes:
    parts = [lines_of(Path(each).read_bytes()) for each in argv[argv.index("--") + 1 :]]
    if "-m" in argv:
        return b"".join(heapq.merge(*parts, key=sort_key(BY_KEY)))
    return b"".join(sorted((line for part in parts for line in part), key=sort_key(BY_KEY)))


@define(eq=False)
class Moods:
    """How runs go: each takes its time; some fail, as many as a request survives for certain.

    :ivar failures: how many of one request.
    """

    random: Random
    failures: int
    tell: Callable[[str], None]
    calm: Callable[[], bool]
    failed: Counter[str] = field(factory=Counter)

    def mood(self, worker: str, line_seconds: float, argv: list[str], env: dict[str, str]) -> Mood:
        """Of the next run."""
        chance = self.random
        mood = Mood(
            start_seconds=chance.choice([0.001, 0.03]),
            line_seconds=line_seconds * (0.5 + chance.random()) if argv[0] != "sort" else 0.0001,
            stubborn=chance.random() < 0.1,
            slow_to_close=chance.choice([0.0, 0.01, 0.5]),
        )
        request = env.get("HAGOOP_REQUEST", "")
        if not request or self.calm() or self.failed[request] >= self.failures or chance.random() > 0.05:
            return mood
        self.failed[request] += 1
        how, at = chance.choice(["exit", "kill", "hang"]), chance.randrange(3)
        self.tell(f"{worker}: a run of {' '.join(argv)} for {request} will {how} at line {at}")
        return evolve(mood, fails_at=at, how=how)
