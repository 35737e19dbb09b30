"""Real processes for tests: a server, workers and ``hagoop-request``; and the pipe that they must equal.

Everything is started in a folder of the test, with a TMPDIR of its own.  ``end`` stops all and fails
for whatever is left: processes, scratch, pid files, temporary files, tracebacks in logs; and for what
is broken of the invariants, by the journal and by what the clients were told (``tests/faults``).
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nursery
from attrs import define, field
from nursery import STARTUP, Process

sys.path.append(str(Path(__file__).parent.parent / "faults"))

from history import JOURNAL, keep_history
from invariants import Check, broken
from story import Call, Story

SOURCE = nursery.SOURCE
REQUEST = [sys.executable, "-m", "hagoop.request_script"]
END_SECONDS = 20.0
RAN = "Main loop terminated"
"""What twistd says at the end of a life that got as far as its reactor."""
REQUEST_SECONDS = 90.0
SORT = ["sort", "-s", "-t", "\t", "-k1,1"]
PROGRAM_ENV = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((host, 0))
        return [each.getsockname()[1] for each in sockets]


def until(condition: Callable[[], object], seconds: float = 30.0, what: str = "it") -> None:
    """Wait for what other processes do."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {seconds:g} s"
        time.sleep(0.02)


def can(*words: str) -> bool:
    """Whether a command works on this machine."""
    try:
        return subprocess.run(words, capture_output=True, timeout=10).returncode == 0
    except OSError:
        return False


# The oracle


def lines_of(files: Iterable[bytes]) -> bytes:
    """Files one after the other, each with its last line ended."""
    return b"".join(end_line(each) for each in files)


def end_line(data: bytes) -> bytes:
    """The same with a last newline, if there is anything."""
    return data + b"\n" if data and not data.endswith(b"\n") else data


def oracle(
    files: Iterable[bytes], mapper: str | None, reducer: str | None = None, folder: Path | None = None
) -> bytes:
    """``lines(I) | M | LC_ALL=C sort -s -t TAB -k1,1 | R``; nothing is run on nothing.

    :param folder: where the programs are run.
    """
    mapped = _pipe(mapper, lines_of(files), folder)
    if reducer is None:
        return mapped
    return _pipe(reducer, _run(SORT, mapped, folder, {**PROGRAM_ENV, "LC_ALL": "C"}), folder)


def _pipe(cmd: str | None, data: bytes, folder: Path | None) -> bytes:
    if cmd is None or not data:
        return data
    return end_line(_run(["/bin/sh", "-c", cmd], data, folder, PROGRAM_ENV))


def _run(words: Sequence[str], data: bytes, folder: Path | None, env: Mapping[str, str]) -> bytes:
    return subprocess.run(
        words, input=data, cwd=folder, env=env, stdout=subprocess.PIPE, check=True, timeout=60
    ).stdout


# Processes


def processes_of(folder: Path) -> dict[int, str]:
    """Processes, ours and our parents aside, whose words, environment or folder are below a folder."""
    mark = os.fsencode(folder)
    own = ancestors()
    found: dict[int, str] = {}
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (each / "cmdline").read_bytes()
            there = os.fsencode(os.readlink(each / "cwd"))
            if mark in words + (each / "environ").read_bytes() + there and int(each.name) not in own:
                found[int(each.name)] = words.replace(b"\0", b" ").decode("utf-8", "replace").strip()
    return found


def ancestors() -> set[int]:
    """This process and all above it."""
    found: set[int] = set()
    process = os.getpid()
    while process:
        found.add(process)
        try:
            status = Path(f"/proc/{process}/stat").read_bytes()
        except OSError:
            break
        process = int(status.rpartition(b")")[2].split()[1])
    return found


@define(eq=False)
class Part:
    """A server or a worker as a process that can be killed and started again.

    :ivar folder: where it is started: pid file and log are there.
    :ivar prefix: words before its own: ``ip netns exec NAME``.
    """

    folder: Path
    words: list[str]
    env: dict[str, str]
    prefix: list[str] = field(factory=list)
    process: Process | None = None
    was_killed: bool = False
    _ran_before: int = 0

    def start(self) -> None:
        """Start it."""
        self._ran_before = self.said(RAN)
        self.was_killed = False
        with open(self.log, "ab") as log:
            self.process = nursery.start(
                [*self.prefix, *self.words],
                cwd=self.folder,
                env=self.env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def log(self) -> Path:
        """What it said."""
        return self.folder / "log"

    def said(self, words: str) -> int:
        """How often the log has these words."""
        return self.log.read_text(errors="replace").count(words) if self.log.exists() else 0

    @property
    def left_its_files(self) -> bool:
        """Whether it had no chance to remove them: killed, or told to stop before its reactor ran."""
        ended = self.process.poll() if self.process is not None else None
        by_signal = ended is not None and ended < 0
        return self.was_killed or (by_signal and self.said(RAN) == self._ran_before)

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """``kill -9``: its scratch and pid file stay until it starts again."""
        assert self.process is not None
        self.was_killed = True
        self.process.kill()
        self.process.wait(END_SECONDS)

    def pause(self, seconds: float) -> None:
        """SIGSTOP; it goes on after so long."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            self.process.send_signal(signal.SIGCONT)

    def term(self) -> None:
        """SIGTERM."""
        if self.is_alive:
            assert self.process is not None
            self.process.terminate()

    def wait(self) -> None:
        """Wait until it is gone."""
        assert self.process is not None
        self.process.wait(END_SECONDS)


def logs_of(part: Part) -> list[Path]:
    """All that it writes for people to read."""
    return [part.log, *part.folder.glob("*.log"), *part.folder.glob("state/*.log*")]


def secrets_of(part: Part) -> list[str]:
    """What opens the server's door to it."""
    kept = part.folder / "state/door"
    return [kept.read_text().strip().rpartition(".")[2]] if kept.exists() else []


@define(eq=False)
class Cluster:
    """A server and workers on this machine.

    :ivar story: what its clients were told, for the invariants.
    :ivar is_checked: whether they are checked at the end; not of a journal that was damaged on purpose.
    :ivar more_checks: what else must hold then.
    """

    folder: Path
    host: str = "127.0.0.1"
    server_options: Sequence[str] = ()
    commands: int = field(init=False)
    web: int = field(init=False)
    server: Part = field(init=False)
    workers: list[Part] = field(factory=list)
    clients: list[Process] = field(factory=list)
    story: Story = field(init=False)
    is_checked: bool = True
    more_checks: list[tuple[str, Check]] = field(factory=list)
    _calls: dict[Process, Call] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.story = Story(self.folder / "story")
        for each in ("tmp", "home", "at"):
            (self.folder / each).mkdir(parents=True)
        self.commands, self.web = free_ports(2, self.host)
        words = ["--listen", f"{self.host}:{self.commands}", "--web", f"{self.host}:{self.web}"]
        self.server = self._part("server", [*words, *self.server_options])

    def _part(self, name: str, options: Sequence[str]) -> Part:
        folder = self.folder / name
        folder.mkdir()
        start = f"from hagoop.{name.partition('-')[0]}_tap import main; main()"
        words = [sys.executable, "-c", start, "-n", "--state", str(folder / "state"), *options]
        return Part(folder, words, self.env)

    @property
    def env(self) -> dict[str, str]:
        """The environment of all processes: PATH, and folders of the test's own."""
        return {
            **STARTUP,
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
        }

    @property
    def address(self) -> str:
        """What ``--server`` wants."""
        return f"{self.host}:{self.commands}"

    # Starting

    def start_server(self) -> None:
        """Start it, again on the same state and ports if it was there before; wait until it listens."""
        self.server.start()
        until(lambda: self.listens or not self.server.is_alive, what="a server that listens")
        assert self.server.is_alive, self.server.log.read_text()
        if self.is_checked:
            keep_history(self.state)

    @property
    def state(self) -> Path:
        """The server's state folder: the last that it was told."""
        words = self.server.words
        last = max(number for number, word in enumerate(words) if word == "--state")
        return Path(words[last + 1])

    @property
    def listens(self) -> bool:
        """Whether the server takes connections."""
        with socket.socket() as dialled:
            return dialled.connect_ex((self.host, self.commands)) == 0

    def start_workers(self, count: int, *options: str) -> None:
        """Start so many more one-slot workers; wait until all have joined."""
        for _ in range(count):
            self.add_worker(*options)
        self.await_workers()

    def add_worker(
        self, *options: str, prefix: Sequence[str] = (), identity: str = "", **env: str
    ) -> Part:
        """Start one more; ``env`` is added to its environment, ``identity`` is in its state folder."""
        name = f"worker-{len(self.workers) + 1}"
        words = ["--server", self.address, "--name", name]
        slots = () if "--slots" in options else ("--slots", "1")
        part = self._part(name, [*words, *slots, *options])
        part.env.update(env)
        part.prefix = list(prefix)
        if identity:
            (part.folder / "state").mkdir()
            (part.folder / "state" / "identity").write_text(identity)
        part.start()
        self.workers.append(part)
        return part

    def add_unruly(self, kind: str, *options: str) -> Part:
        """Start a process with workers of a kind; ``"--count", "100"``: so many, else one."""
        name = f"{kind}-{len(self.workers) + 1}"
        folder = self.folder / name
        folder.mkdir()
        words = [sys.executable, "-m", "hagoop.demo.unruly", "--server", self.address, "--kind", kind]
        words += ["--name", name, "--state", str(folder / "state"), *options]
        part = Part(folder, words, self.env)
        part.start()
        self.workers.append(part)
        return part

    def await_workers(self) -> None:
        """Wait until all workers have joined."""
        for each in self.workers:
            until(lambda each=each: each.said("joined ") or not each.is_alive, what="a worker's Join")
            assert each.is_alive, each.log.read_text()

    # Requests

    def request_words(self, *words: object) -> list[str]:
        """The command line of ``hagoop-request`` with the server named."""
        first, *rest = [os.fspath(each) if isinstance(each, Path) else str(each) for each in words]
        return [*REQUEST, first, "--server", self.address, *rest]

    def request(
        self,
        *words: object,
        stdin: bytes | None = None,
        seconds: float = REQUEST_SECONDS,
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run ``hagoop-request`` to its end, in the folder ``at``."""
        whole = [*prefix, *self.request_words(*words)]
        wanted = {**self.env, **(env or {})}
        call = Call(tuple(map(str, words)), self.at)
        ran = nursery.run(whole, cwd=self.at, env=wanted, stdin=stdin, seconds=seconds)
        self.story.ran(call, ran.returncode, ran.stdout)
        return ran

    def begin(self, *words: object) -> Process:
        """Start ``hagoop-request`` and leave it running; its stderr is in the file ``stderr``."""
        return self.begin_client(self.folder / "stderr", *words)

    def begin_client(self, said: Path, *words: object) -> Process:
        """The same with a file of its own for stderr; whatever has not ended by then ends with all."""
        call = Call(tuple(map(str, words)), self.at)
        with open(said, "wb") as stderr:
            client = nursery.start(
                self.request_words(*words),
                cwd=self.at,
                env=self.env,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        self.clients.append(client)
        self._calls[client] = call
        return client

    @property
    def at(self) -> Path:
        """Where clients are started."""
        return self.folder / "at"

    def ask(self, *words: object) -> Any:
        """What a command says with ``--json``."""
        asked = self.request(*words, "--json")
        assert asked.returncode == 0, asked.stderr.decode()
        return json.loads(asked.stdout)

    # The end

    def forget_all(self) -> None:
        """Forget all requests, so that nothing of them may be left."""
        for each in self.ask("list"):
            assert self.request("forget", each["id"]).returncode == 0

    def end(self) -> None:
        """Stop everything by SIGTERM and fail for what is left."""
        parts = [*self.workers, self.server]
        for client in self.clients:
            self._tell(client)
            client.kill()
            client.wait()
            assert client.stdout is not None
            client.stdout.close()
        try:
            for each in parts:
                each.term()
                if each.process is not None:
                    each.wait()
            until(lambda: not processes_of(self.folder), 8, "the end of all processes")
        finally:
            for process in processes_of(self.folder):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        wrong = self.left_behind() + self.complaints() + self.broken()
        assert not wrong, "left behind: " + "\n".join(wrong)

    def _tell(self, client: Process) -> None:
        """What came of a command that was left running; what it has printed its test has read."""
        call = self._calls.get(client)
        if call is None or call.output is None:
            return
        # What one has brought, a later one may have replaced.
        last = [each for each, known in self._calls.items() if known.output == call.output][-1]
        if last is client:
            self.story.ran(call, client.poll(), b"")

    def broken(self) -> list[str]:
        """Which invariants are, now that all have ended."""
        self.story.logs += [each for part in (*self.workers, self.server) for each in logs_of(part)]
        self.story.canaries += [word for part in self.workers for word in secrets_of(part)]
        self.story.write()
        if not self.is_checked or not (self.state / JOURNAL).exists():
            return []
        return broken(self.state, self.story, self.more_checks, was_killed=self.server.was_killed)

    def left_behind(self) -> list[str]:
        """Files that should be gone."""
        ended = [each.folder for each in (*self.workers, self.server) if not each.left_its_files]
        found = [*(self.folder / "tmp").glob("*"), *self.at.glob(".*.partial")]
        for each in ended:
            for left in ("*.pid", "state/scratch", "state/spool/arriving/*"):
                found += each.glob(left)
        return [str(each.relative_to(self.folder)) for each in found]

    def complaints(self) -> list[str]:
        """What logs say that only a bug would."""
        bad = ("Traceback (most recent call last)", "#critical", "ResourceWarning")
        return [
            f"{part.folder.name}: {log[max(0, log.find(each) - 300) :][:3000]}"
            for part in [*self.workers, self.server]
            if part.log.exists() and (log := part.log.read_text(errors="replace"))
            for each in bad
            if each in log
        ]


@contextlib.contextmanager
def running(
    folder: Path, workers: int = 1, *, host: str = "127.0.0.1", options: Sequence[str] = ()
) -> Iterator[Cluster]:
    """A cluster that is there for a while, and leaves nothing behind."""
    shutil.rmtree(folder, ignore_errors=True)
    cluster = Cluster(folder, host, options)
    try:
        cluster.start_server()
        cluster.start_workers(workers)
        yield cluster
    finally:
        cluster.end()


def is_one_sentence(said: bytes) -> bool:
    """Whether stderr is one plain line, no traceback."""
    text = said.decode()
    return len(text.strip().splitlines()) == 1 and "Traceback" not in text


def differ(answer: bytes, expected: bytes) -> str:
    """Where two answers first differ, in words; empty when they do not."""
    if answer == expected:
        return ""
    pairs = zip(answer.splitlines(keepends=True), expected.splitlines(keepends=True), strict=False)
    for number, (got, wanted) in enumerate(pairs, 1):
        if got != wanted:
            return f"line {number} is {got[:80]!r}, not {wanted[:80]!r}"
    return f"{len(answer)} bytes, not {len(expected)}: {answer[-80:]!r}, not {expected[-80:]!r}"
