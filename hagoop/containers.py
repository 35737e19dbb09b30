"""How a program and all that it starts are held together: begun, signalled and ended as one.

In a PID namespace whatever a program starts dies with it, and all of it with a worker that is killed.
Without one a program keeps to its session at best: what begins a session of its own is not reached,
and all of it outlives the worker.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from functools import cache

from attrs import frozen

from hagoop.families import family

SHELL = "/bin/sh"
_PROBE_SECONDS = 10.0
_TRIES = 2
_MOST_SIGNALLED = 4096
# The first in the namespace takes no signals and must outlive what it waits for.
_INIT = (SHELL, "-c", '"$@"; exit $?', "sh")


@frozen
class Container:
    """One way to hold programs together.

    :param name: for people.
    :param words: what comes before a program.
    :param program: what begins whatever the words themselves have to complain of.
    :param is_namespace: the words make two processes, one outside and the first one inside a PID
        namespace, and programs are below these.
    :param is_session: programs are in a session of their own, whose number is the process's.
    """

    name: str
    words: tuple[str, ...] = ()
    program: str = ""
    is_namespace: bool = False
    is_session: bool = False

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Send a signal to a program begun as ``pid`` and to all that it has started."""
        if self.is_namespace:
            _signal_namespace(pid, number)
        elif not (self.is_session and _signal_session(pid, number)):
            # Before setsid has run there is no session yet, and the program is one process.
            _kill(pid, number)

    def sweep(self, pid: int) -> None:
        """Kill what a program that has ended left behind, as far as it can be reached."""
        if self.is_session:
            _signal_session(pid, signal.SIGKILL)

    def outcome(self, status: int | None, number: int | None) -> tuple[int | None, int | None]:
        """The exit status or signal of the program itself, from those of the process outside."""
        if self.is_namespace and status is not None and status - 128 in set(signal.Signals):
            return None, status - 128
        return status, number


def _signal_namespace(pid: int, number: signal.Signals) -> None:
    outside, *inside = family(pid, _MOST_SIGNALLED)
    if number == signal.SIGKILL or len(inside) < 2:
        # With its first process the whole namespace dies; the one outside sees that it is over.
        _kill(inside[0] if inside else outside, signal.SIGKILL)
        return
    for each in inside[1:]:
        _kill(each, number)


def _signal_session(pid: int, number: signal.Signals) -> bool:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _kill(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


@cache
def find_container(search: str) -> Container:
    """The best that works on this machine, tried out once.  Blocks for some milliseconds.

    :param search: the ``PATH`` on which it is looked for.
    """
    return next(each for each in _known(search) if _works(each))


def _known(search: str) -> Iterator[Container]:
    def found(*words: str) -> tuple[str, ...] | None:
        """The words, the first as a path; None if it, or setsid, is not there."""
        first = shutil.which(words[0], path=search)
        return (first, *words[1:]) if first and setsid else None

    setsid = shutil.which("setsid", path=search) or ""
    # The one outside has a session too: Ctrl-C at the worker's terminal is for the worker alone.
    bubble = found("bwrap", "--dev-bind", "/", "/", "--proc", "/proc", "--unshare-pid")
    if bubble:
        words = (setsid, *bubble, "--new-session", "--die-with-parent", "--")
        yield Container("PID namespace (bubblewrap)", words, "bwrap", is_namespace=True)
    unshare = found("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    setpriv = found("setpriv", "--pdeathsig", "KILL")
    for user in ((), ("--user", "--map-current-user")):
        if unshare and setpriv:
            words = (setsid, *setpriv, unshare[0], *user, *unshare[1:], *_INIT, setsid)
            yield Container("PID namespace (unshare)", words, "unshare", is_namespace=True)
    if setsid:
        yield Container("session", (setsid,), is_session=True)
    yield Container("nothing")


def _works(container: Container) -> bool:
    """Whether it passes on a status, and a signal.

    A second try: what is wrong for a moment only must not cost a worker its container for good.
    """
    return any(
        _status_of(container, "exit 7") == 7
        and (
            not container.is_namespace
            or _status_of(container, "kill -KILL $$") == 128 + signal.SIGKILL
        )
        for _ in range(_TRIES)
    )


def _status_of(container: Container, script: str) -> int | None:
    try:
        return subprocess.run(
            [*container.words, SHELL, "-c", script],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_SECONDS,
        ).returncode
    except (OSError, subprocess.TimeoutExpired):
        return None
