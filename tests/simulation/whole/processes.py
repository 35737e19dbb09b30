"""Users' programs, and ``sort``, as simulated processes on real pipes and files.

A program reads what its pipe holds, takes its time for each line, and prints at its end.  It fails,
hangs or ignores TERM as its world's chance has it.
"""

import os
import select
import signal
from collections.abc import Callable, Iterator
from typing import Any

from attrs import define, field, frozen
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.interfaces import IProcessTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from hagoop.launching import GO, READY

READ_BYTES = 1 << 16

Program = Callable[[list[bytes]], tuple[bytes, bytes]]
"""What a program prints for its lines: stdout, stderr."""


@frozen
class Mood:
    """How one run of a program goes.

    :param fails_at: the line at which it ends badly; None: it ends well.
    :param how: ``exit``, ``kill`` or ``hang``.
    """

    start_seconds: float
    line_seconds: float
    fails_at: int | None = None
    how: str = "exit"
    stubborn: bool = False
    slow_to_close: float = 0.0


@implementer(IProcessTransport)
class Process:
    """One run."""

    def __init__(
        self, processes: "Processes", reactor: Any, protocol: Any, pid: int, mood: Mood
    ) -> None:
        self.processes, self.reactor, self.protocol = processes, reactor, protocol
        self.pid, self.mood = pid, mood
        self.argv: list[str] = []
        self.stdin = self.stdout = -1
        self.program: Program | None = None
        self.over = False
        self._data = b""
        self._lines: list[bytes] = []
        self._worked = 0
        self._stderr_open = True
        self._waits = False

    def begin(self, fds: dict[int, Any], program: Program, waits: bool) -> None:
        """As a fork does: it has descriptors of its own.

        :param waits: its shell says that it is ready, and is told to go.
        """
        self.stdin, self.stdout, self.program = os.dup(fds[0]), os.dup(fds[1]), program
        self._waits = waits
        self.protocol.makeConnection(self)
        self._later(self.mood.start_seconds, self._get_ready if waits else self._read)

    def _get_ready(self) -> None:
        self._later(0.0, self._read)
        self.protocol.errReceived(READY)

    def _go(self) -> None:
        self._waits = False
        if os.read(self.stdin, len(GO)) == GO:
            self._later(self.mood.start_seconds, self._read)
        else:
            self.end(1, None)

    def _later(self, seconds: float, function: Callable[..., object], *arguments: Any) -> None:
        self.reactor.callLater(seconds, self._if_alive, function, arguments)

    def _if_alive(self, function: Callable[..., object], arguments: Any) -> None:
        if not self.over:
            function(*arguments)

    def _read(self) -> None:
        if not self._waits and self._fails():
            return
        poll = select.poll()
        poll.register(self.stdin, select.POLLIN)
        events = poll.poll(0)
        if not events:
            self.processes.reading.append(self)
            return
        if self._waits:
            self._go()
            return
        data = os.read(self.stdin, READ_BYTES)
        self.reactor.look_soon()
        if not data:
            self._work_on([self._data] if self._data else [], self._finish)
            return
        *lines, self._data = (self._data + data).split(b"\n")
        self._work_on(lines, self._read)

    def _work_on(self, lines: list[bytes], then: Callable[[], None]) -> None:
        self._lines += [each + b"\n" for each in lines]
        self._later(len(lines) * self.mood.line_seconds, then)

    def _fails(self) -> bool:
        if self.mood.fails_at is None or len(self._lines) < self.mood.fails_at:
            return False
        if self.mood.how == "hang":
            return True
        if self.mood.how == "kill":
            self.end(None, signal.SIGSEGV)
        else:
            self.end(3, None)
        return True

    def _finish(self) -> None:
        if self._fails():
            return
        assert self.program is not None
        out, err = self.program(self._lines)
        half = len(out) // 2
        os.write(self.stdout, out[:half])
        if err:
            self.protocol.errReceived(err)
        self._later(self.mood.line_seconds, self._finish_printing, out[half:])

    def _finish_printing(self, rest: bytes) -> None:
        os.write(self.stdout, rest)
        self.end(0, None)

    def hear(self, number: int) -> None:
        """A signal."""
        if number == signal.SIGTERM and self.mood.stubborn and not self._waits:
            return
        self.end(None, number)

    def end(self, status: int | None, number: int | None) -> None:
        """It is over; its parent learns of it."""
        if self.over:
            return
        self.over = True
        self.release()
        reason = ProcessDone(0) if status == 0 else ProcessTerminated(status, number, 0)
        self.reactor.callLater(0.0, self.protocol.processExited, Failure(reason))
        self.reactor.callLater(self.mood.slow_to_close, self._close_stderr)

    def _close_stderr(self) -> None:
        if self._stderr_open:
            self._stderr_open = False
            self.protocol.errConnectionLost()

    def release(self) -> None:
        """Its descriptors are closed."""
        os.close(self.stdin)
        os.close(self.stdout)
        self.processes.running.pop(self.pid, None)
        if self in self.processes.reading:
            self.processes.reading.remove(self)

    # As of ``IProcessTransport``

    def closeStderr(self) -> None:
        if self._stderr_open:
            self._stderr_open = False
            self.reactor.callLater(0.0, self.protocol.errConnectionLost)

    def closeStdin(self) -> None:
        raise NotImplementedError

    closeStdout = closeChildFD = writeToChild = loseConnection = signalProcess = closeStdin


@define(eq=False)
class Processes:
    """All that runs on one machine, in one life.

    :ivar find: the program that an ``argv`` means.
    :ivar mood: how its next run will go.
    :ivar reading: those that wait for input.
    """

    find: Callable[[list[str]], Program]
    mood: Callable[[list[str], dict[str, str]], Mood]
    pids: Iterator[int]
    running: dict[int, Process] = field(factory=dict)
    reading: list[Process] = field(factory=list)

    def spawn(self, reactor: Any, protocol: Any, argv: Any, env: Any, fds: dict[int, Any]) -> Process:
        """Start a program."""
        pid = next(self.pids)
        # Behind the words that give it a folder and bounds.
        _, _, script, _, _, *words = map(os.fsdecode, argv)
        around = {os.fsdecode(name): os.fsdecode(value) for name, value in env.items()}
        process = Process(self, reactor, protocol, pid, self.mood(words, around))
        self.running[pid], process.argv = process, words
        process.begin(fds, self.find(words), "read" in script)
        return process

    def has_room(self, descriptor: int) -> bool:
        """Whether a pipe takes more; who reads from it may go on then."""
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        return bool(poll.poll(0))

    def wake(self) -> None:
        """Those who wait for input may find some."""
        reading, self.reading = self.reading, []
        for each in reading:
            each._later(0.0, each._read)

    def signal(self, pid: int, number: int) -> None:
        """Send one to a program, if it still is."""
        if pid in self.running:
            self.running[pid].hear(number)

    def die(self) -> None:
        """Their machine's process is gone, and they with it."""
        for each in list(self.running.values()):
            each.over = True
            each.release()
