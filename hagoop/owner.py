"""Looks whether the owner of this machine, or somebody else, uses it (Linux)."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from math import inf
from pathlib import Path

from attrs import define, field

from hagoop.idleness import (
    Process,
    Sight,
    Usage,
    busy_ticks,
    read_process,
    ticks_below,
    untouched_since,
)

ASK_SECONDS = 3.0
GRAPHICAL = ("TYPE=x11", "TYPE=wayland", "TYPE=mir")
NOTHING_TO_SEE = (
    "this machine does not show whether somebody uses it (no terminals in /dev, or no /proc/stat); "
    "name the hours at which it may work: --hours"
)


def _wall() -> float:
    return datetime.now().timestamp()


def _ask_loginctl(sessions: list[str]) -> str:
    """What logind knows of some sessions; empty where it does not answer."""
    words = ["loginctl", "show-session", *sessions, "--property=IdleHint", "--property=IdleSinceHint"]
    try:
        asked = subprocess.run(words, capture_output=True, timeout=ASK_SECONDS, text=True)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout


@define(eq=False)
class Owner:
    """What is seen of a machine, look by look.

    Terminals show when somebody last typed (their time of access), for a desktop logind says whether it
    is idle.  What this process and those below it take of the processors is ours, all else is others'.

    :param root: where the folders of the system are.
    :param wall: seconds since 1970, as files have them; ``steady``: seconds of a clock without steps.
    """

    root: Path = Path("/")
    wall: Callable[[], float] = _wall
    steady: Callable[[], float] = time.monotonic
    ask: Callable[[list[str]], str] = _ask_loginctl
    process: int = field(factory=os.getpid)
    _touched: float = -inf
    _usage: Usage = field(factory=Usage)

    def check(self) -> None:
        """Raise ``ValueError`` where nothing can be seen."""
        if not (self.root / "proc/stat").exists() or not any(self._terminals()):
            raise ValueError(NOTHING_TO_SEE)

    def look(self) -> Sight:
        """Look once; takes milliseconds, seconds where logind is slow: for a thread."""
        now = self.wall()
        # A terminal that is gone was used nevertheless.
        touched = max(self._terminal_touched(), self._desktop_touched(now))
        self._touched = min(now, max(self._touched, touched))
        self._usage.add(self.steady(), self._others_seconds())
        return Sight(max(0.0, now - self._touched), self._usage.processors)

    def _terminals(self) -> Iterator[Path]:
        yield from (self.root / "dev").glob("tty[0-9]*")
        yield from (self.root / "dev/pts").glob("[0-9]*")

    def _terminal_touched(self) -> float:
        touched = -inf
        for each in self._terminals():
            with suppress(OSError):
                touched = max(touched, each.stat().st_atime)
        return touched

    def _desktop_touched(self, now: float) -> float:
        sessions = [each.name for each in self._sessions() if self._is_desktop(each)]
        return untouched_since(self.ask(sessions), now) if sessions else -inf

    def _sessions(self) -> Iterator[Path]:
        found = (self.root / "run/systemd/sessions").glob("*")
        return (each for each in found if each.suffix != ".ref")

    def _is_desktop(self, session: Path) -> bool:
        try:
            lines = session.read_text(errors="replace").splitlines()
        except OSError:
            return False
        ours = "CLASS=user" in lines and "STATE=closing" not in lines
        return ours and any(each in lines for each in GRAPHICAL)

    def _others_seconds(self) -> float:
        busy = busy_ticks((self.root / "proc/stat").read_text())
        own = ticks_below(self.process, dict(self._processes()))
        return (busy - own) / os.sysconf("SC_CLK_TCK")

    def _processes(self) -> Iterator[tuple[int, Process]]:
        for each in (self.root / "proc").glob("[0-9]*"):
            # It may end meanwhile.
            with suppress(OSError, IndexError, ValueError):
                yield int(each.name), read_process((each / "stat").read_text(errors="replace"))
