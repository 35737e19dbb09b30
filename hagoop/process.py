"""One run of one program: fed, watched, bounded, and gone when it ends."""

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall, IProcessTransport, IReactorFDSet
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from hagoop.errors import (
    HaGoopError,
    JobError,
    OutputTooLarge,
    ProgramFailed,
    ProgramHung,
    TransferFailed,
    WorkerUnfit,
)
from hagoop.feeding import Feed, Feeder
from hagoop.interfaces import IWorkerReactor
from hagoop.jobs import Counter
from hagoop.launching import place_argv
from hagoop.programs import why_unfit
from hagoop.reading import place_in
from hagoop.reports import Reports

_WATCH_SECONDS = 1.0
# How long stderr may stay open after the exit: a grandchild of another session may hold it.
_DRAIN_SECONDS = 0.2
# A disk with less room than this has none.
_FULL_BYTES = 64 << 10


@frozen
class Run:
    """What is run, and within which bounds.

    :param folder: the current directory of the program.
    :param env: its whole environment.
    :param stdin: what it reads; ``None``: nothing.
    :param reads: a file that it opens itself; how far it is, is seen where the system tells.
    :param stdout: the file that takes what it prints, made new.
    :param stdout_limit: bytes that it may print; 0: any number.
    :param stderr_limit: bytes of log that are kept.
    :param timeout_seconds: without a byte read or printed for so long it is killed; 0: never.
    :param grace_seconds: time between TERM and KILL.
    """

    argv: tuple[str, ...]
    folder: Path
    env: dict[str, str]
    stdin: Feed | None
    stdout: Path
    stdout_limit: int = 4 << 30
    stderr_limit: int = 64 << 10
    timeout_seconds: float = 600.0
    grace_seconds: float = 5.0
    ok_status: tuple[int, ...] = (0,)
    reads: Path | None = None


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


@define
class Stillness:
    """How long a run has neither read nor printed.

    A gap between two looks counts as two intervals at most: a worker that was itself
    stopped or suspended does not blame the program.
    """

    _interval_seconds: float
    _seen: tuple[int, int] = field(init=False, default=(-1, -1))
    _last: float = field(init=False, default=0.0)
    _seconds: float = field(init=False, default=0.0)

    def look(self, taken: int, bytes_out: int, now: float) -> float:
        """The seconds without progress, up to ``now``."""
        gap, self._last = now - self._last, now
        if (taken, bytes_out) != self._seen:
            self._seen, self._seconds = (taken, bytes_out), 0.0
        else:
            self._seconds += min(gap, 2 * self._interval_seconds)
        return self._seconds


def launch(reactor: IWorkerReactor, run: Run) -> "Running":
    """Start a run.  What prevents its start is told by ``ended`` too."""
    running = Running(reactor, run)
    running._start()
    return running


class Running(ProcessProtocol):
    """A run under way.

    :ivar ended: fires once, with ``Ended``; or with ``ProgramFailed`` and its kinds,
        ``WorkerUnfit``, ``TransferFailed`` when its input ended early, or ``JobError`` with
        the reason of ``stop``.
    """

    def __init__(self, reactor: IWorkerReactor, run: Run) -> None:
        self.ended: Deferred[Ended] = Deferred(lambda _: self._halt(JobError("it was cancelled")))
        self._reactor = reactor
        self._run = run
        self._began = reactor.seconds()
        self._reports = Reports(run.stderr_limit)
        self._interval = min(_WATCH_SECONDS, (run.timeout_seconds or _WATCH_SECONDS) / 4)
        self._stillness = Stillness(self._interval)
        self._watch = LoopingCall(self._look)
        self._watch.clock = reactor
        self._feeder: Feeder | None = None
        self._closing = ExitStack()
        self._stdout = -1
        self._bytes_out = 0
        self._read_to = 0
        self._pid = 0
        self._own_session = False
        self._stderr_open = True
        self._error: HaGoopError | None = None
        self._exit: tuple[int | None, int | None] | None = None
        self._seconds = 0.0
        self._timer: IDelayedCall | None = None
        self._finished = False
        self._waiting: list[Deferred[None]] = []

    @property
    def taken(self) -> int:
        """The byte of the input's file up to which the program has read."""
        if self._feeder:
            return self._feeder.taken
        if self._run.reads and self._pid and not self._exit:
            self._read_to = max(self._read_to, place_in(self._run.reads, self._pid))
        return self._read_to

    @property
    def bytes_out(self) -> int:
        """How much it has printed."""
        if self._stdout >= 0:
            self._bytes_out = os.fstat(self._stdout).st_size
        return self._bytes_out

    def stop(self, reason: str) -> Deferred[None]:
        """End the program and all of its session; fires when it is gone."""
        if self._finished:
            return succeed(None)
        self._halt(JobError(reason))
        gone: Deferred[None] = Deferred()
        self._waiting.append(gone)
        return gone

    def _start(self) -> None:
        try:
            self._spawn()
        except (OSError, ValueError, TypeError) as error:
            # Twisted and posix_spawn refuse NUL bytes by TypeError and ValueError.
            what = error.strerror if isinstance(error, OSError) else str(error)
            self._end(WorkerUnfit(f"{self._run.argv[0]} cannot be started on this machine: {what}"))

    def _spawn(self) -> None:
        run = self._run
        argv, self._own_session = place_argv(run.argv, run.folder, run.stdout_limit)
        self._stdout = os.open(run.stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        self._closing.callback(os.close, self._stdout)
        env = {os.fsencode(name): os.fsencode(value) for name, value in run.env.items()}
        words = [os.fsencode(word) for word in argv]
        fds: dict[int, int | str] = {0: self._open_stdin(), 1: self._stdout, 2: "r"}
        # No path, uid or gid: with any of them Twisted forks, which blocks for long in a large process.
        self._reactor.spawnProcess(self, words[0], words, env, childFDs=fds)
        # A program may have ended by now.
        if not self._exit:
            if self._feeder:
                self._feeder.start()
            self._watch.start(self._interval, now=True)

    def _open_stdin(self) -> int:
        if self._run.stdin is None:
            nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            self._closing.callback(os.close, nothing)
            return nothing
        self._feeder = Feeder.of(IReactorFDSet(self._reactor), self._run.stdin, self._input_failed)
        self._closing.callback(self._feeder.close)
        return self._feeder.read_end

    def _input_failed(self, error: OSError) -> None:
        self._halt(TransferFailed(f"its input cannot be read: {error.strerror}"))

    # What Twisted tells.

    def connectionMade(self) -> None:
        assert IProcessTransport.providedBy(self.transport)
        self._pid = self.transport.pid

    def errReceived(self, data: bytes) -> None:
        self._reports.feed(data)

    def errConnectionLost(self) -> None:
        self._stderr_open = False
        if self._exit:
            self._finish()

    def processExited(self, reason: Failure) -> None:
        if isinstance(reason.value, ProcessTerminated):
            self._exit = reason.value.exitCode, reason.value.signal
        else:
            assert isinstance(reason.value, ProcessDone)
            self._exit = 0, None
        self._seconds = self._reactor.seconds() - self._began
        self._signal_session(signal.SIGKILL)
        self._rest()
        self._set_timer(_DRAIN_SECONDS if self._stderr_open else 0.0, self._finish)

    # Watching and stopping.

    def _look(self) -> None:
        still = self._stillness.look(self.taken, self.bytes_out, self._reactor.seconds())
        limit, timeout = self._run.stdout_limit, self._run.timeout_seconds
        if limit and self._bytes_out > limit:
            self._halt(self._too_large())
        elif timeout and still >= timeout:
            self._halt(ProgramHung(f"it took and printed nothing for {timeout:g} s"))

    def _halt(self, error: HaGoopError) -> None:
        if self._error or self._exit or self._finished:
            return
        self._error = error
        self._rest()
        self._signal(signal.SIGTERM)
        self._set_timer(self._run.grace_seconds, lambda: self._signal(signal.SIGKILL))

    def _signal(self, number: signal.Signals) -> None:
        # Before setsid has run there is no session yet, and the program is one process.
        if not self._signal_session(number):
            with suppress(ProcessLookupError):
                os.kill(self._pid, number)

    def _signal_session(self, number: signal.Signals) -> bool:
        if not self._own_session:
            return False
        try:
            os.killpg(self._pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def _set_timer(self, seconds: float, call: Callable[[], object]) -> None:
        if self._timer and self._timer.active():
            self._timer.cancel()
        self._timer = self._reactor.callLater(seconds, call)

    def _rest(self) -> None:
        """No more is fed or watched."""
        if self._watch.running:
            self._watch.stop()
        if self._feeder:
            self._feeder.close()

    # The end.

    def _finish(self) -> None:
        if self._finished:
            return
        if self._timer and self._timer.active():
            self._timer.cancel()
        assert self.transport is not None
        self.transport.closeStderr()
        self._reports.close()
        self._end(self._error or self._verdict())

    def _end(self, error: HaGoopError | None) -> None:
        """Let go of everything and tell everyone."""
        self._finished = True
        self._bytes_out = self.bytes_out
        self._closing.close()
        self._stdout = -1
        # It has been called by now if somebody cancelled it.
        if not self.ended.called:
            self._tell(error)
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    def _tell(self, error: HaGoopError | None) -> None:
        if error:
            self._add_log(error)
            self.ended.errback(error)
        else:
            self.ended.callback(self._outcome())

    def _add_log(self, error: HaGoopError) -> None:
        if isinstance(error, ProgramFailed):
            error.status, error.signal = self._exit or (None, None)
            error.stderr = self._reports.log.encode()

    def _outcome(self) -> Ended:
        assert self._exit
        assert self._exit[0] is not None
        self._bytes_out += end_last_line(self._run.stdout)
        told = self._reports
        return Ended(
            self._exit[0], self._seconds, self._bytes_out, told.counters, told.status, told.log
        )

    def _verdict(self) -> HaGoopError | None:
        """What was wrong with a run that ended by itself."""
        assert self._exit
        status, number = self._exit
        limit = self._run.stdout_limit
        if limit and (self.bytes_out > limit or number == signal.SIGXFSZ):
            return self._too_large()
        if status in self._run.ok_status:
            return None
        if number is not None:
            return ProgramFailed(f"it was killed by signal {number}{_name_of(number)}")
        assert status is not None
        return self._no_room() or self._unfit(status) or ProgramFailed(self._status_sentence(status))

    def _no_room(self) -> WorkerUnfit | None:
        """A program that finds this worker's disk full is not to blame."""
        disk = os.fstatvfs(self._stdout)
        full = disk.f_blocks and disk.f_bavail * disk.f_frsize < _FULL_BYTES
        return WorkerUnfit("no room left on this worker's disk") if full else None

    def _too_large(self) -> OutputTooLarge:
        limit = self._run.stdout_limit
        did = "printed" if self.bytes_out > limit else "wrote a file of"
        return OutputTooLarge(f"it {did} more than {in_units(limit)} in one run")

    def _unfit(self, status: int) -> WorkerUnfit | None:
        run = self._run
        why = why_unfit(run.argv, run.folder, run.env.get("PATH", ""), status, self._reports.log)
        return WorkerUnfit(why) if why else None

    def _status_sentence(self, status: int) -> str:
        silent = not self.bytes_out and not self._reports.log
        hint = "; grep, diff and cmp do so when nothing matched: --ok-status 0,1"
        return f"it ended with exit status {status}{hint if status == 1 and silent else ''}"


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
