"""What surrounds a program: the words that give it a folder and bounds, its environment."""

from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from hagoop.containers import SHELL
from hagoop.jobs import Assignment, Piece

_BLOCK_BYTES = 512
"""What ``ulimit -f`` counts in, by POSIX; memory it counts in kibibytes."""


@frozen
class Bounds:
    """What the system holds each process of a program to; 0: nothing.

    :param file_bytes: size of a file that it writes, a little more at most.
    :param memory_bytes: its own data: what it only reserves does not count.
    :param processes: of its user, all others counted too; the system does not hold root to it.
    """

    file_bytes: int = 0
    memory_bytes: int = 0
    processes: int = 0

    @property
    def script(self) -> str:
        """What makes a shell, and what it becomes, keep to them; where less is allowed, it stays so."""
        n = self.processes
        limits = (
            (self.file_bytes, f"ulimit -f {self.file_bytes // _BLOCK_BYTES + 1}"),
            (self.memory_bytes, f"ulimit -d {self.memory_bytes // 1024}"),
            # The one option is that of bash, the other that of dash and busybox.
            (n, f"ulimit -u {n} 2>/dev/null || ulimit -p {n}"),
        )
        return "".join(f"{words} 2>/dev/null; " for bound, words in limits if bound)


READY = GO = b"\n"
"""What a shell that waits writes to stderr, and then reads from stdin before it becomes its program."""


def place_argv(
    argv: Sequence[str], folder: Path, bounds: Bounds, waits: bool = False
) -> tuple[str, ...]:
    """The words that run ``argv`` in ``folder`` within bounds.

    A shell sets them before it becomes the program: from outside its first bytes could be missed.

    :param waits: first it writes ``READY`` and reads ``GO``; without that the program never begins.
    """
    # Into a variable that is unset again, whatever it was.
    wait = "echo >&2; read -r PWD || exit; " if waits else ""
    script = f'cd "$1" || exit 126; {bounds.script}shift; {wait}unset PWD OLDPWD; exec "$@"'
    return (SHELL, "-c", script, "sh", str(folder), *argv)


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
