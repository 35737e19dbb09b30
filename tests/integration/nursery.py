"""Processes that start in no time: forked from one that has read the code.

They have their own words, folder, environment and streams, and are killed, stopped and awaited as any
other.  To read HaGoop and Twisted takes ten times as long as most commands of ``hagoop-request``.

What differs: ``/proc`` shows the words and the environment of the nursery, their parent is the
nursery, and hashes of strings are the same in all.  Who looks at those starts a program of its own.
"""

import contextlib
import functools
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from attrs import define, field

import hagoop

SOURCE = Path(hagoop.__file__).parent.parent
PROGRAM = Path(__file__).parent / "nursery_program.py"
STARTUP = {"LANG": "C.UTF-8", "PYTHONPATH": str(SOURCE), "PYTHONWARNINGS": "default::ResourceWarning"}
"""What an interpreter looks at when it starts: who wants anything else starts one."""
LOOKED_AT = ("LANG", "LC_", "LD_", "PYTHON")
MOST_BYTES = 1 << 16
Stream = int | IO[bytes]
"""An open file, ``subprocess.DEVNULL``, or for what is written ``subprocess.PIPE``."""


@define(eq=False)
class Nursery:
    """The parent of such processes: a number that it knows is never of another when it is signalled.

    It ends with whoever made it, and so do its children.

    :ivar living: its children, until somebody was told how they have ended.
    """

    living: set[int] = field(factory=set)
    _orders: socket.socket = field(init=False)
    _lock: threading.Lock = field(factory=threading.Lock)

    def __attrs_post_init__(self) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            subprocess.run(
                [sys.executable, str(PROGRAM)],
                cwd="/",
                env=STARTUP,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                check=True,
            )

    def bear(self, order: bytes, streams: Sequence[int]) -> int:
        """Start a process; its number."""
        number = self._ask(order, streams)
        self.living.add(number)
        return int(number)

    def ask(self, what: str, number: int, *details: int) -> int | None:
        """``poll`` or ``signal`` a process; how it has ended, None: it has not."""
        status: int | None = self._ask(json.dumps([what, number, *details]).encode())
        if status is not None:
            self.living.discard(number)
        return status

    def _ask(self, order: bytes, streams: Sequence[int] = ()) -> Any:
        with self._lock:
            socket.send_fds(self._orders, [order], streams)
            answer = self._orders.recv(MOST_BYTES)
        assert answer, "the nursery has ended"
        return json.loads(answer)

    def close(self) -> None:
        """Let it end."""
        self._orders.close()


@functools.cache
def nursery() -> Nursery | None:
    """The one of these tests; None where only a parent can wait for a process."""
    return Nursery() if hasattr(os, "pidfd_open") else None


def living() -> set[int]:
    """All that the nursery has borne and nobody has waited for."""
    made = nursery() if nursery.cache_info().currsize else None
    return set() if made is None else set(made.living)


@define(eq=False)
class Child:
    """One of its processes, with what we use of ``Popen``."""

    nursery: Nursery
    args: Sequence[str]
    pid: int
    stdout: IO[bytes] | None
    stderr: IO[bytes] | None
    returncode: int | None = None

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._pipes():
            each.close()
        self.wait()

    def _pipes(self) -> list[IO[bytes]]:
        return [each for each in (self.stdout, self.stderr) if each is not None and not each.closed]

    def poll(self) -> int | None:
        """How it has ended; None: it has not."""
        if self.returncode is None:
            self.returncode = self.nursery.ask("poll", self.pid)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Signal it, if it is there."""
        if self.returncode is None:
            self.returncode = self.nursery.ask("signal", self.pid, int(number))

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; its status."""
        if self.poll() is None:
            ended = os.pidfd_open(self.pid)
            try:
                with selectors.DefaultSelector() as waiting:
                    waiting.register(ended, selectors.EVENT_READ)
                    if not waiting.select(timeout):
                        raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            finally:
                os.close(ended)
        status = self.poll()
        assert status is not None
        return status

    def communicate(self, timeout: float | None = None) -> tuple[bytes | None, bytes | None]:
        """All that it says, once it has ended."""
        end = None if timeout is None else time.monotonic() + timeout
        pipes = self._pipes()
        said = read_all(pipes, end)
        if said is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        for each in pipes:
            each.close()
        self.wait(left(end))
        return said.get(self.stdout), said.get(self.stderr)


def left(end: float | None) -> float | None:
    """Seconds until then."""
    return None if end is None else max(0.0, end - time.monotonic())


def read_all(pipes: Iterable[IO[bytes]], end: float | None) -> dict[IO[bytes] | None, bytes] | None:
    """What comes through each until it is closed; None: that was not in time."""
    said: dict[IO[bytes] | None, list[bytes]] = {each: [] for each in pipes}
    with selectors.DefaultSelector() as waiting:
        for each in said:
            waiting.register(each, selectors.EVENT_READ, said[each])  # type: ignore[arg-type]
        while waiting.get_map():
            ready = waiting.select(left(end))
            if not ready:
                return None
            for key, _ in ready:
                data = os.read(key.fd, 1 << 16)
                key.data.append(data)
                if not data:
                    waiting.unregister(key.fileobj)
    return {each: b"".join(parts) for each, parts in said.items()}


Process = subprocess.Popen[bytes] | Child


def start(
    words: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream = subprocess.DEVNULL,
    stderr: Stream = subprocess.DEVNULL,
    start_new_session: bool = False,
) -> Process:
    """``Popen``, from the nursery if the words are ``python -c`` or ``python -m`` and it can."""
    order = json.dumps(["bear", list(words[1:]), str(cwd), dict(env), start_new_session]).encode()
    bearing = nursery() if can_be_born(words, env) and len(order) <= MOST_BYTES else None
    if bearing is None:
        return subprocess.Popen(
            words,
            cwd=cwd,
            env=env,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=start_new_session,
        )
    with contextlib.ExitStack() as theirs:
        ends = [ends_of(each, theirs) for each in (stdin, stdout, stderr)]
        pid = bearing.bear(order, [end for _, end in ends])
    return Child(bearing, words, pid, stdout=ends[1][0], stderr=ends[2][0])


def can_be_born(words: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether a fork of the nursery would be the same as such an interpreter."""
    looked_at = {name: value for name, value in env.items() if name.startswith(LOOKED_AT)}
    return words[0] == sys.executable and words[1] in ("-c", "-m") and looked_at == STARTUP


def ends_of(stream: Stream, theirs: contextlib.ExitStack) -> tuple[IO[bytes] | None, int]:
    """Our end of what they write, if it is a pipe, and theirs."""
    if not isinstance(stream, int):
        return None, stream.fileno()
    if stream == subprocess.DEVNULL:
        return None, theirs.enter_context(open(os.devnull, "r+b", buffering=0)).fileno()
    assert stream == subprocess.PIPE, f"{stream} is no stream that the nursery knows"
    reading, writing = os.pipe()
    theirs.callback(os.close, writing)
    return open(reading, "rb"), writing


def run(
    words: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: bytes | None = None,
    seconds: float,
) -> "subprocess.CompletedProcess[bytes]":
    """Start it, and wait until it has ended; what it said.

    :param stdin: what comes to it through a pipe.
    """
    with contextlib.ExitStack() as reading:
        given = subprocess.DEVNULL if stdin is None else reading.enter_context(pipe_with(stdin))
        ran = start(words, cwd=cwd, env=env, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with ran:
        try:
            out, err = ran.communicate(timeout=seconds)
        except BaseException:
            ran.kill()
            raise
    return subprocess.CompletedProcess(words, ran.wait(), out, err)


def pipe_with(data: bytes) -> IO[bytes]:
    """The end of a pipe from which these bytes come."""
    reading, writing = os.pipe()

    def write() -> None:
        # Who reads it may end before.
        with contextlib.suppress(BrokenPipeError), open(writing, "wb", buffering=0) as file:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]

    threading.Thread(target=write, daemon=True).start()
    return open(reading, "rb", buffering=0)
