"""One run of one program: fed, watched, bounded, and gone when it ends."""

import errno
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall, IProcessTransport, IReactorFDSet
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from hagoop.containers import Container, find_container
from hagoop.errors import (
    HaGoopError,
    JobError,
    OutOfBounds,
    ProgramFailed,
    ProgramHung,
    TransferFailed,
    WorkerUnfit,
)
from hagoop.families import size_below, usage
from hagoop.feeding import Feed, Feeder, Pipe
from hagoop.interfaces import IWorkerReactor
from hagoop.launching import GO, READY, place_argv
from hagoop.reading import place_in
from hagoop.reports import Reports
from hagoop.verdicts import (
    Ended,
    Exit,
    Run,
    end_last_line,
    out_of_bounds,
    too_full,
    too_large,
    verdict,
)

# A program that multiplies must be stopped before it has made thousands of itself.
_WATCH_SECONDS = 0.25
_FOLDER_SECONDS = 1.0
# What a machine lacks at the moment, and not for ever.
_PASSING = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
# How long stderr may stay open after the exit: a grandchild of another session may hold it.
_DRAIN_SECONDS = 0.2


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


def launch(reactor: IWorkerReactor, run: Run, waits: bool = False) -> "Running":
    """Start a run.  What prevents its start is told by ``ended`` too.

    :param waits: all is started but the program itself, which ``Running.begin`` feeds.
    """
    running = Running(reactor, run, find_container(os.environ.get("PATH", os.defpath)), waits)
    running._start()
    return running


class Running(ProcessProtocol):
    """A run under way.

    :ivar ready: of a run that waits: fires when it can begin, or as ``ended`` if it has ended.
    :ivar ended: fires once, with ``Ended``; or with ``ProgramFailed`` and its kinds,
        ``WorkerUnfit``, ``TransferFailed`` when its input ended early, or ``JobError`` with
        the reason of ``stop``.
    """

    def __init__(
        self, reactor: IWorkerReactor, run: Run, container: Container, waits: bool = False
    ) -> None:
        self.ended: Deferred[Ended] = Deferred(lambda _: self._halt(JobError("it was cancelled")))
        self.ready: Deferred[None] = Deferred(lambda _: self._halt(JobError("it was cancelled")))
        self._reactor = reactor
        self._run = run
        self._container = container
        self._began = reactor.seconds()
        self._reports = Reports(run.stderr_limit)
        self._interval = min(_WATCH_SECONDS, (run.timeout_seconds or _WATCH_SECONDS) / 4)
        self._stillness = Stillness(self._interval)
        self._watch = LoopingCall(self._look)
        self._watch.clock = reactor
        self._measured = self._began
        self._feeder: Feeder | None = None
        self._waits = waits
        self._pipe: Pipe | None = None
        self._closing = ExitStack()
        self._stdin = self._stdout = -1
        self._bytes_out = 0
        self._read = 0
        self._pid = 0
        self._stderr_open = True
        self._error: HaGoopError | None = None
        self._exit: tuple[int | None, int | None] | None = None
        self._seconds = 0.0
        self._timer: IDelayedCall | None = None
        self._finished = False
        self._waiting: list[Deferred[None]] = []

    @property
    def taken(self) -> int:
        """How many bytes of its input the program has taken."""
        feed, reads = self._run.stdin, self._run.reads
        if self._feeder and isinstance(feed, Feed):
            return max(0, self._feeder.taken - feed.offset)
        if reads and self._pid and not self._exit:
            # Beyond its lines it reads for nothing.
            place = min(self._stdin_place() or place_in(reads.path, self._pid), reads.end)
            self._read = max(self._read, place - reads.offset)
        return self._read

    def _stdin_place(self) -> int:
        """How far a file that is stdin itself has been read; 0 also if the program opens it again."""
        return os.lseek(self._stdin, 0, os.SEEK_CUR) if isinstance(self._run.stdin, Path) else 0

    @property
    def feeder(self) -> Feeder | None:
        """What feeds its stdin, if anything does."""
        return self._feeder

    @property
    def bytes_out(self) -> int:
        """How much it has printed."""
        if self._stdout >= 0:
            self._bytes_out = os.fstat(self._stdout).st_size
        return self._bytes_out

    @property
    def waits(self) -> bool:
        """Whether its program can begin now."""
        return self._pipe is not None and self.ready.called

    def begin(self, feed: Feed) -> None:
        """Let the program begin of a run that waits."""
        assert self._pipe is not None
        self._run, self._began = evolve(self._run, stdin=feed), self._reactor.seconds()
        try:
            self._feeder = self._new_feeder(feed, self._pipe)
        except OSError as error:
            self._input_failed(error)
            return
        os.write(self._pipe.write_end, GO)
        self._pipe = None
        self._go_on()

    def stop(self, reason: str) -> Deferred[None]:
        """End the program and all that it has started; fires when it is gone."""
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
            passes = isinstance(error, OSError) and error.errno in _PASSING
            kind = JobError if passes else WorkerUnfit
            self._rest()
            self._end(kind(f"{self._run.argv[0]} cannot be started on this machine: {what}"))

    def _spawn(self) -> None:
        run = self._run
        argv = (*self._container.words, *place_argv(run.argv, run.folder, run.bounds, self._waits))
        self._stdout = os.open(run.stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        self._closing.callback(os.close, self._stdout)
        env = {os.fsencode(name): os.fsencode(value) for name, value in run.env.items()}
        words = [os.fsencode(word) for word in argv]
        fds: dict[int, int | str] = {0: self._open_stdin(), 1: self._stdout, 2: "r"}
        # No path, uid or gid: with any of them Twisted forks, which blocks for long in a large process.
        self._reactor.spawnProcess(self, words[0], words, env, childFDs=fds)
        # A program may have ended by now.
        if not self._exit and not self._waits:
            self._go_on()

    def _open_stdin(self) -> int:
        if self._waits:
            self._pipe = Pipe.new()
            return self._pipe.read_end
        if not isinstance(self._run.stdin, Feed):
            self._stdin = os.open(self._run.stdin or os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            self._closing.callback(os.close, self._stdin)
            return self._stdin
        self._feeder = self._new_feeder(self._run.stdin)
        return self._feeder.read_end

    def _new_feeder(self, feed: Feed, pipe: Pipe | None = None) -> Feeder:
        fds = IReactorFDSet(self._reactor)
        feeder = Feeder.of(fds, self._reactor, feed, self._input_failed, pipe)
        self._closing.callback(feeder.close)
        return feeder

    def _go_on(self) -> None:
        """It is fed and watched from now on."""
        if self._feeder:
            self._feeder.start()
        self._watch.start(self._interval, now=False)

    def _input_failed(self, error: OSError) -> None:
        self._halt(TransferFailed(f"its input cannot be read: {error.strerror}"))

    # What Twisted tells.

    def connectionMade(self) -> None:
        assert IProcessTransport.providedBy(self.transport)
        self._pid = self.transport.pid

    def errReceived(self, data: bytes) -> None:
        if self._waits and not self.ready.called and data.startswith(READY):
            data = data.removeprefix(READY)
            self.ready.callback(None)
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
        self._container.sweep(self._pid)
        self._rest()
        self._set_timer(_DRAIN_SECONDS if self._stderr_open else 0.0, self._finish)

    # Watching and stopping.

    def _look(self) -> None:
        run, now = self._run, self._reactor.seconds()
        still = self._stillness.look(self.taken, self.bytes_out, now)
        wrong = out_of_bounds(run, usage(self._pid, run.most_processes + 1))
        if run.stdout_limit and self._bytes_out > run.stdout_limit:
            self._halt(too_large(run, self._bytes_out))
        elif wrong:
            self._halt(wrong)
        elif run.timeout_seconds and still >= run.timeout_seconds:
            self._halt(ProgramHung(f"it took and printed nothing for {run.timeout_seconds:g} s"))
        elif run.folder_limit and now - self._measured >= _FOLDER_SECONDS:
            self._measure_folder()

    def _measure_folder(self) -> None:
        self._measured = float("inf")
        pool = self._reactor.getThreadPool()
        deferToThreadPool(self._reactor, pool, size_below, self._run.folder).addCallback(self._weigh)

    def _weigh(self, size: int) -> None:
        self._measured = self._reactor.seconds()
        if size > self._run.folder_limit:
            self._halt(too_full(self._run))

    def _halt(self, error: HaGoopError) -> None:
        if self._error or self._exit or self._finished:
            return
        self._error = error
        self._rest()
        # What multiplies, or eats all memory, would go on within the grace.
        grace = 0.0 if isinstance(error, OutOfBounds) else self._run.grace_seconds
        if grace:
            self._signal(signal.SIGTERM)
        self._set_timer(grace, lambda: self._signal(signal.SIGKILL))

    def _signal(self, number: signal.Signals) -> None:
        self._container.signal(self._pid, number)

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
        if self._pipe:
            self._pipe.close()
            self._pipe = None

    # The end.

    def _finish(self) -> None:
        if self._finished:
            return
        if self._timer and self._timer.active():
            self._timer.cancel()
        assert self.transport is not None
        self.transport.closeStderr()
        self._reports.close()
        error = self._error or verdict(self._run, self._outcome, self._container.program)
        if isinstance(error, ProgramFailed) and self._is_unbegun:
            error = JobError("it was killed before its program had begun")
        self._end(error)

    @property
    def _is_unbegun(self) -> bool:
        """What waits may be killed as any process is; a program that it never became is not to blame."""
        feed, feeder = self._run.stdin, self._feeder
        begun = isinstance(feed, Feed) and feeder is not None and feeder.taken >= feed.offset
        return self._waits and not begun

    @property
    def _outcome(self) -> Exit:
        """How the program ended, by itself or because it was told to."""
        status, number = self._exit or (None, None)
        if status not in self._run.ok_status:
            status, number = self._container.outcome(status, number)
        return Exit(status, number, self.bytes_out, self._reports.log)

    def _end(self, error: HaGoopError | None) -> None:
        """Let go of everything and tell everyone."""
        self._finished = True
        self._bytes_out = self.bytes_out
        self._closing.close()
        self._stdout = -1
        # It has been called by now if somebody cancelled it.
        if not self.ended.called:
            self._tell(error)
        if self._waits and not self.ready.called:
            self.ready.errback(error or JobError("it has ended before its program had begun"))
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    def _tell(self, error: HaGoopError | None) -> None:
        if error:
            self._add_log(error)
            self.ended.errback(error)
        else:
            self.ended.callback(self._ended_well())

    def _add_log(self, error: HaGoopError) -> None:
        if isinstance(error, ProgramFailed):
            ended = self._outcome
            error.status, error.signal, error.stderr = ended.status, ended.signal, ended.log.encode()

    def _ended_well(self) -> Ended:
        assert self._exit
        assert self._exit[0] is not None
        self._bytes_out += end_last_line(self._run.stdout)
        told = self._reports
        return Ended(
            self._exit[0], self._seconds, self._bytes_out, told.counters, told.status, told.log
        )
