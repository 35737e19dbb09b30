"""``--then``: several steps on one command line of ``hagoop-request run``."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from attrs import evolve
from twisted.python.usage import UsageError

from hagoop.common_options import STDOUT, value_of
from hagoop.run_options import Running, RunOptions, label_of, program_of

THEN = "--then"
VALUES_OF_REQUEST = ("--output", "-o", "--server", "--workers", "--lines", "--good-enough")
FLAGS_OF_REQUEST = ("--local", "--detach", "--force", "--json", "--quiet")
"""What is said of the whole request, wherever it stands."""
INHERITED = ("ok-status", "timeout", "attempts")
"""What the first step says for all."""


class StepOptions(RunOptions):
    """What stands after a ``--then``; of its runs it says only what is other than in the first step."""

    before_program: ClassVar[str] = THEN

    def __init__(self, first: RunOptions) -> None:
        super().__init__()
        for name in INHERITED:
            self[name] = first[name]
        # The later of two settings of a name counts.
        self.env = list(first.env)

    def postOptions(self) -> None:
        if self.words:
            raise UsageError(f"'{self.words[0]}': INPUTs stand before the first --then")
        for name in (each.removeprefix("--") for each in (*VALUES_OF_REQUEST, *FLAGS_OF_REQUEST)):
            if self.get(name) not in (None, 0, STDOUT):
                raise UsageError(f"--{name} is of the whole request: put it before the first --then")
        self._check_programs()


def split_steps(words: Sequence[str]) -> list[list[str]]:
    """The words of each step; what is said of the whole request is said in the first."""
    if not words or words[0] not in ("run", "check"):
        return [list(words)]
    steps: list[list[str]] = [[]]
    for word in words:
        if word == THEN:
            steps.append([])
        else:
            steps[-1].append(word)
    parted = [_part(each) for each in steps[1:]]
    moved = [word for of_request, _ in parted for word in of_request]
    return [[words[0], *moved, *steps[0][1:]], *(of_step for _, of_step in parted)]


def _part(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is said of the request, and what is said of a step."""
    of_request: list[str] = []
    of_step: list[str] = []
    rest = iter(words)
    for word in rest:
        if word in VALUES_OF_REQUEST:
            of_request += [word, value_of(word, rest)]
        elif word in FLAGS_OF_REQUEST or word.partition("=")[0] in VALUES_OF_REQUEST:
            of_request.append(word)
        else:
            of_step.append(word)
    return of_request, of_step


def add_steps(
    running: Running, first: RunOptions, later: Sequence[Sequence[str]], folder: Path
) -> Running:
    """A command line with the steps that follow its first.

    :raises UsageError: one cannot be understood.
    """
    if not later:
        return running
    steps = [_parse(each, first) for each in later]
    made = [program_of(each, folder) for each in steps]
    return evolve(
        running,
        then=tuple(program for program, _ in made),
        files=_join([running.files, *(tuple(files.items()) for _, files in made)]),
        label=label_of(first, *steps),
    )


def _parse(words: Sequence[str], first: RunOptions) -> StepOptions:
    options = StepOptions(first)
    options.parseOptions(words)
    return options


def _join(steps: Iterable[Sequence[tuple[str, Path]]]) -> tuple[tuple[str, Path], ...]:
    """All files to ship: each step finds those of all."""
    found: dict[str, Path] = {}
    for name, path in (each for files in steps for each in files):
        known = found.setdefault(name, path)
        if known.resolve() != path.resolve():
            raise UsageError(f"{known} and {path} would both be found as {name}: rename one of them")
    return tuple(found.items())
