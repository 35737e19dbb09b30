"""What surrounds a program: the words that give it a folder and a session, its environment."""

import os
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from attrs import frozen

from hagoop.jobs import Assignment, Piece


SHELL = "/bin/sh"
_BLOCK_BYTES = 512
"""What ``ulimit -f`` counts in, by POSIX."""


@frozen
class Launcher:
    """What this machine has for the purpose.

    :param setsid: the program that begins a session; ``None``: there is none.
    """

    setsid: str | None

    def argv(self, argv: Sequence[str], folder: Path, file_bytes: int) -> tuple[str, ...]:
        """The words that run ``argv`` in ``folder``.

        :param file_bytes: how large a file it may write, a little more at most; 0: any.
        """
        # A shell bounds what follows it; from outside it would be too late for a program's first bytes.
        # Where less is allowed already, less it stays.
        bound = f"ulimit -f {file_bytes // _BLOCK_BYTES + 1} 2>/dev/null; " if file_bytes else ""
        script = f'cd "$1" || exit 126; unset PWD OLDPWD; {bound}shift; exec "$@"'
        first = (self.setsid,) if self.setsid else ()
        return (*first, SHELL, "-c", script, "sh", str(folder), *argv)


@cache
def find_launcher(search: str) -> Launcher:
    """Look once for what is on the path ``search``."""
    return Launcher(shutil.which("setsid", path=search))


def place_argv(argv: Sequence[str], folder: Path, file_bytes: int) -> tuple[tuple[str, ...], bool]:
    """The words that run ``argv`` in ``folder`` with bounded files, and whether in its own session."""
    launcher = find_launcher(os.environ.get("PATH", os.defpath))
    return launcher.argv(argv, folder, file_bytes), launcher.setsid is not None


def run_environment(
    assignment: Assignment, phase: str, piece: Piece | None, folder: Path, search: str
) -> dict[str, str]:
    """The whole environment of one run.

    :param phase: ``map``, ``combine`` or ``reduce``.
    :param piece: the input as leased, where the run reads lines of one file.
    :param folder: the run's own folder.
    :param search: the worker's ``PATH``.
    """
    made = {"PATH": search, "HOME": str(folder), "TMPDIR": str(folder), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    made.update(assignment.program.env)
    made.update(_names_of_run(assignment, phase))
    if piece:
        made.update(_names_of_input(piece))
    return made


def _names_of_run(assignment: Assignment, phase: str) -> dict[str, str]:
    number = assignment.id.rpartition("-")[2]
    task = f"{assignment.request}_{'m' if phase != 'reduce' else 'r'}_{number:0>6}"
    return {
        "HAGOOP_REQUEST": assignment.request,
        "HAGOOP_PHASE": phase,
        "HAGOOP_JOB": assignment.id,
        "HAGOOP_ATTEMPT": str(assignment.attempt),
        "mapreduce_job_id": assignment.request,
        "mapreduce_task_id": f"task_{task}",
        "mapreduce_task_attempt_id": f"attempt_{task}_{assignment.attempt}",
        "mapreduce_task_partition": number,
        "mapreduce_task_ismap": "false" if phase == "reduce" else "true",
    }


def _names_of_input(piece: Piece) -> dict[str, str]:
    return {
        "HAGOOP_INPUT_FILE": piece.name,
        "HAGOOP_INPUT_START_LINE": str(piece.file_line),
        "HAGOOP_INPUT_LINES": str(piece.end - piece.start),
        "mapreduce_map_input_file": piece.name,
        "map_input_file": piece.name,
        "mapreduce_map_input_start": str(piece.offset),
        "mapreduce_map_input_length": str(piece.length),
    }
