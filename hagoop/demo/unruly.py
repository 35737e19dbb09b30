"""``python -m hagoop.demo.unruly``: workers of one kind, in one process.

One alone dies as a process does, by SIGKILL; of several each dies by itself: its connection breaks,
its programs end, and what it had in its memory is gone.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

from attrs import define
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import LoopingCall
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.python.usage import UsageError

from hagoop.demo.hosting import AWAY_SECONDS, Hosted, stop_all
from hagoop.demo.kinds import Habits, Kind
from hagoop.interfaces import IWorkerReactor
from hagoop.options import ProgramOptions, WorkerConfig, parse_count, parse_name
from hagoop.worker_tap import Options as WorkerOptions

USAGE = 2
MOST_WORKERS = 10_000
PARENT_SECONDS = 0.5
"""How often to look whether the parent is there."""
END_SECONDS = 7.5


class Options(ProgramOptions):
    """What unruly workers may be told.

    :ivar habits: what they are like; ``configs``: what each of them is told.
    """

    program = "python -m hagoop.demo.unruly"
    longdesc = "Workers of HaGoop that are good, bad, evil, flaky, dying, late or looping: for tests."
    habits: Habits
    configs: list[WorkerConfig]
    life: int
    parent_process: int | None

    optParameters: ClassVar[list[list[object]]] = [
        ["server", None, None, "ADDRESS[,ADDRESS] [default: $HAGOOP_SERVER, else this machine]"],
        ["kind", None, None, f"One of {', '.join(Kind)}"],
        ["count", None, "1", "How many workers, of one slot each"],
        ["chance", None, "0.02", "Of death, every tenth of a second, for the flaky and the dying"],
        ["delay", None, "20", "Seconds that the late keep to themselves that a job is done"],
        ["seed", None, "0", "The same deaths again"],
        ["state", None, None, "Folder that takes a state folder for each worker"],
        ["name", None, None, "What people see, with a number if there are several [default: the kind]"],
        ["parent", None, None, "End when the process of this number is not our parent any more"],
        ["life", None, "0", "Which of its lives this process is, if others follow [default: all]"],
    ]

    def postOptions(self) -> None:
        """Check all that can be checked now."""
        for each in ("kind", "state"):
            if self[each] is None:
                raise UsageError(f"--{each} is missing; see {self.program} --help")
        kind = self.read("kind", _kind)
        self.habits = Habits(kind, self.read("chance", _chance), self.read("delay", _seconds))
        count = self.read("count", lambda text: parse_count(text, 1, MOST_WORKERS))
        self.life = self.read("life", _number)
        self.parent_process = self.read_if_given("parent", _number)
        prefix = self.read("name", parse_name) if self["name"] else str(kind)
        names = [prefix] if count == 1 else [f"{prefix}-{number}" for number in range(1, count + 1)]
        self.configs = [self._config(each) for each in names]

    def _config(self, name: str) -> WorkerConfig:
        """As the worker's own command line has it."""
        words = ["--slots", "1", "--name", name, "--state", str(Path(self["state"]) / name)]
        if self["server"] is not None:
            words += ["--server", self["server"]]
        options = WorkerOptions()
        options.parseOptions(words)
        return options.config

    @property
    def comes_back(self) -> bool:
        """Whether its process dies and another takes its place."""
        return self.habits.kind is Kind.FLAKY and len(self.configs) == 1 and not self.life


def _number(text: str) -> int:
    return parse_count(text, 0, 1 << 30)


def _kind(text: str) -> Kind:
    if text not in list(Kind):
        raise ValueError(f"{text!r} is not a kind of worker; there are {', '.join(Kind)}")
    return Kind(text)


def _chance(text: str) -> float:
    return parse_number(text, 1)


def _seconds(text: str) -> float:
    return parse_number(text, 86400)


def parse_number(text: str, most: float) -> float:
    """A number from 0 to ``most``."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= most:
        raise ValueError(f"{text!r} is not allowed; write a number from 0 to {most}")
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Be unruly until SIGTERM; the exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    options = Options()
    try:
        options.parseOptions(words)
    except UsageError as error:
        print(error, file=sys.stderr)
        return USAGE
    if options.comes_back:
        return Resurrection(words, options.parent_process).run()
    return _run(options)


@define
class Resurrection:
    """Starts a process again whenever it was killed, until it is told to end."""

    words: Sequence[str]
    parent: int | None
    _ends: bool = False

    def run(self) -> int:
        """Give it one life after the other; the exit status of the last."""
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._end)
        life = 0
        while not self._is_over:
            life += 1
            status = self._live(["--life", str(life), "--parent", str(os.getpid())])
            if status != -signal.SIGKILL:
                return max(0, status)
            time.sleep(AWAY_SECONDS)
        return 0

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._ends = True

    @property
    def _is_over(self) -> bool:
        return self._ends or is_orphan(self.parent)

    def _live(self, words: Sequence[str]) -> int:
        command = [sys.executable, "-m", "hagoop.demo.unruly", *self.words, *words]
        # In a session of its own: what ends it, Ctrl-C too, comes from here.
        with subprocess.Popen(command, start_new_session=True) as process:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(PARENT_SECONDS / 5)
                if self._is_over:
                    return _end_of(process)


def _end_of(process: "subprocess.Popen[bytes]") -> int:
    """Tell it to end, and see to it."""
    process.terminate()
    try:
        return process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _run(options: Options) -> int:
    from twisted.internet import reactor

    from hagoop.awake import install_awake_clock

    reactor_: Any = reactor  # The installed reactor, whose kind is not known before.
    install_awake_clock(reactor_)
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    death = _kill_this_process if len(options.configs) == 1 else None
    hosted = [
        Hosted(reactor_, config, options.habits, options["seed"], death, max(0, options.life - 1))
        for config in options.configs
    ]
    reactor_.addSystemEventTrigger("before", "shutdown", stop_all, hosted)
    for each in hosted:
        reactor_.callWhenRunning(each.start)
    if options.parent_process is not None:
        reactor_.callWhenRunning(_leave_with, options.parent_process, reactor_)
    reactor_.run()
    return 0


def _kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def is_orphan(parent: int | None) -> bool:
    """Whether the parent that was named, if one was, is gone: it may be before we have begun."""
    return parent is not None and os.getppid() != parent


def _leave_with(parent: int, reactor: IWorkerReactor) -> None:
    def look() -> None:
        if is_orphan(parent):
            looking.stop()
            # A signal may have been faster.
            with suppress(ReactorNotRunning):
                reactor.stop()

    looking = LoopingCall(look)
    looking.clock = reactor
    looking.start(PARENT_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
