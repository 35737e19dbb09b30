"""What a run may do, and what was wrong with one that has ended by itself."""

import errno
import os
import re
import signal
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from hagoop.errors import HaGoopError, JobError, OutOfBounds, OutputTooLarge, ProgramFailed, WorkerUnfit
from hagoop.families import Usage, others_of_user
from hagoop.feeding import Feed
from hagoop.jobs import Counter
from hagoop.launching import Bounds
from hagoop.programs import why_unfit

# A disk with less room than this has none.
_FULL_BYTES = 64 << 10
_PASSING = tuple(os.strerror(each) for each in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE))
# A file system that somebody unmounts while bubblewrap goes through all of them.
_UNMOUNTED = re.compile(rf"remount .*({os.strerror(errno.ENOENT)}|{os.strerror(errno.EINVAL)})$")
_RESERVED_BYTES = 1 << 30
_NO_MEMORY = re.compile(
    rb"MemoryError|[Cc](?:annot|ould not) allocate memory|[Oo]ut of memory|bad_alloc|[Mm]emory exhausted"
)


GRACE_SECONDS = 4.0
"""A second less than in which what is cancelled must be gone."""
MOST_PROCESSES = 512


@frozen
class Run:
    """What is run, and within which bounds.

    :param folder: the current directory of the program.
    :param env: its whole environment.
    :param stdin: what it is fed through a pipe; a path: that file itself; ``None``: nothing.
    :param reads: a part of a file that it reads itself; how far it is, is seen where the system tells.
    :param stdout: the file that takes what it prints, made new.
    :param stdout_limit: bytes that it may print; 0: any number.
    :param stderr_limit: bytes of log that are kept.
    :param timeout_seconds: without a byte read or printed for so long it is killed; 0: never.
    :param grace_seconds: time between TERM and KILL.
    :param memory_limit: bytes that all of its processes may use together; 0: any number.
    :param folder_limit: bytes that its folder may hold; 0: any number.
    :param most_processes: how many it may be.
    """

    argv: tuple[str, ...]
    folder: Path
    env: dict[str, str]
    stdin: Feed | Path | None
    stdout: Path
    stdout_limit: int = 4 << 30
    stderr_limit: int = 64 << 10
    timeout_seconds: float = 600.0
    grace_seconds: float = GRACE_SECONDS
    ok_status: tuple[int, ...] = (0,)
    reads: Feed | None = None
    memory_limit: int = 0
    folder_limit: int = 0
    most_processes: int = MOST_PROCESSES

    @property
    def bounds(self) -> Bounds:
        """What the system sees to."""
        # Between two looks a program may make thousands of itself, or eat all memory; this is sooner.
        processes = others_of_user() + 2 * self.most_processes
        # Here what threads only reserve counts as well: eight mebibytes each, as a rule.
        memory = self.memory_limit + _RESERVED_BYTES if self.memory_limit else 0
        return Bounds(self.stdout_limit, memory, processes)


@frozen
class Ended:
    """A run that ended well.

    :param status: its exit status, one of the run's ``ok_status``.
    :param bytes_out: size of its output, the last newline included.
    """

    status: int
    seconds: float
    bytes_out: int
    counters: tuple[Counter, ...]
    status_text: str
    log: str


@frozen
class Exit:
    """How a run ended by itself: by an exit status or by a signal.

    :param log: what it wrote to stderr.
    """

    status: int | None
    signal: int | None
    bytes_out: int
    log: str


def verdict(run: Run, exit: Exit, container: str) -> HaGoopError | None:
    """What was wrong with a run that ended by itself; None: nothing.

    :param container: the first word of what held it, for when that was it that failed.
    """
    if run.stdout_limit and (exit.bytes_out > run.stdout_limit or exit.signal == signal.SIGXFSZ):
        return too_large(run, exit.bytes_out)
    if exit.status in run.ok_status:
        return None
    if run.memory_limit and _NO_MEMORY.search(exit.log.encode()):
        return too_much_memory(run)
    if exit.signal is not None:
        return ProgramFailed(f"it was killed by signal {exit.signal}{_name_of(exit.signal)}")
    return _no_room(run) or _unfit(run, exit, container) or ProgramFailed(_status_sentence(exit))


def out_of_bounds(run: Run, used: Usage) -> OutOfBounds | None:
    """What to say of a run that uses more than it may."""
    if used.processes > run.most_processes:
        return OutOfBounds(f"it started more than {run.most_processes} processes")
    if run.memory_limit and used.memory_bytes > run.memory_limit:
        return too_much_memory(run)
    return None


def too_much_memory(run: Run) -> OutOfBounds:
    """What to say of a run whose processes need more memory than they may have."""
    given = in_units(run.memory_limit)
    return OutOfBounds(f"it needs more memory than the {given} that a worker gives it")


def too_full(run: Run) -> OutOfBounds:
    """What to say of a run that fills its folder."""
    given = in_units(run.folder_limit)
    return OutOfBounds(f"it stored more than the {given} of disk that a worker gives it")


def too_large(run: Run, bytes_out: int) -> OutputTooLarge:
    """What to say of a run that prints or writes too much."""
    did = "printed" if bytes_out > run.stdout_limit else "wrote a file of"
    return OutputTooLarge(f"it {did} more than {in_units(run.stdout_limit)} in one run")


def _no_room(run: Run) -> WorkerUnfit | None:
    """A program that finds this worker's disk full is not to blame."""
    try:
        disk = os.statvfs(run.stdout.parent)
    except FileNotFoundError:
        # Whoever removes it, as at a worker's end, wants none of it.
        return None
    full = disk.f_blocks and disk.f_bavail * disk.f_frsize < _FULL_BYTES
    return WorkerUnfit("no room left on this worker's disk") if full else None


def _unfit(run: Run, exit: Exit, container: str) -> JobError | None:
    if container and exit.log.startswith(f"{container}: "):
        said = exit.log.splitlines()[0]
        # What lacks at the moment only, is no reason to give this worker nothing more.
        passes = said.endswith(_PASSING) or _UNMOUNTED.search(said)
        kind = JobError if passes else WorkerUnfit
        return kind(f"programs cannot be contained on this machine: {said}")
    assert exit.status is not None
    why = why_unfit(run.argv, run.folder, run.env.get("PATH", ""), exit.status, exit.log)
    return WorkerUnfit(why) if why else None


def _status_sentence(exit: Exit) -> str:
    silent = not exit.bytes_out and not exit.log
    hint = "; grep, diff and cmp do so when nothing matched: --ok-status 0,1"
    return f"it ended with exit status {exit.status}{hint if exit.status == 1 and silent else ''}"


def end_last_line(path: Path) -> int:
    """Give the last line a newline if it has none; how many bytes that took."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if not size:
            return 0
        file.seek(size - 1)
        return 0 if file.read(1) == b"\n" else file.write(b"\n")


def in_units(size: int) -> str:
    """A number of bytes as people say it: ``4 GiB``."""
    for shift, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 1 << shift:
            return f"{size / (1 << shift):.3g} {unit}"
    return f"{size} bytes"


def _name_of(number: int) -> str:
    with suppress(ValueError):
        return f" ({signal.Signals(number).name})"
    return ""
