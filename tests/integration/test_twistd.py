"""``twistd`` with real daemons: files side by side, a signal, a second start."""

import contextlib
import os
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROGRAMS = Path(sysconfig.get_path("scripts"))


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for what another process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended but was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def obeys(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal yet.

    twistd lets go of the terminal a moment before its reactor has any.
    """
    status = Path(f"/proc/{pid}/status").read_text()
    [caught] = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(int(caught, 16) >> (number - 1) & 1)


class Folder:
    """The folder that twistd is started from, as a user sees it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.commands, self.web = free_ports(2)

    def twistd(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run twistd to its end, which for a daemon is the moment when it is up."""
        env = {**os.environ, "XDG_STATE_HOME": str(self.path / "state"), "COLUMNS": "200"}
        for name in ("STATE_DIRECTORY", "HAGOOP_SERVER"):
            env.pop(name, None)
        command = [str(PROGRAMS / "twistd"), *words]
        return subprocess.run(
            command, cwd=self.path, env=env, timeout=40, capture_output=True, text=True
        )

    def start_server(self) -> "subprocess.CompletedProcess[str]":
        """Start the server as a daemon."""
        return self.twistd("hagoop-server", "--listen", str(self.commands), "--web", str(self.web))

    def start_worker(self) -> "subprocess.CompletedProcess[str]":
        """Start a worker as a daemon."""
        return self.twistd("hagoop-worker", "--server", f"127.0.0.1:{self.commands}", "--slots", "1")

    def files(self) -> set[str]:
        """Names of the files, folders aside."""
        return {each.name for each in self.path.iterdir() if each.is_file()}

    def pid(self, program: str) -> int:
        """Whose pid file it is."""
        return int((self.path / f"{program}.pid").read_text())

    def end(self, program: str) -> None:
        """Send SIGTERM, as init does, and wait until it is obeyed."""
        pid = self.pid(program)
        until(lambda: obeys(pid, signal.SIGTERM))
        os.kill(pid, signal.SIGTERM)
        until(lambda: not is_alive(pid))

    def answers(self) -> bool:
        """Whether somebody listens for commands."""
        with socket.socket() as dialled:
            return dialled.connect_ex(("127.0.0.1", self.commands)) == 0


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    """An empty folder; whatever still runs from it is killed at the end."""
    made = Folder(tmp_path)
    yield made
    for pid_file in tmp_path.glob("*.pid"):
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(pid_file.read_text()), signal.SIGKILL)


BOTH = {"hagoop-server.pid", "hagoop-server.log", "hagoop-worker.pid", "hagoop-worker.log"}


def start_both(folder: Folder) -> None:
    """Server and worker as daemons, both up."""
    for started in (folder.start_server(), folder.start_worker()):
        assert (started.returncode, started.stdout, started.stderr) == (0, "", "")
    until(folder.answers)


def test_server_and_worker_live_in_one_folder(folder: Folder) -> None:
    """Pid and log files side by side; SIGTERM ends both and leaves the logs; then all over again."""
    for _ in range(2):
        start_both(folder)
        assert folder.files() == BOTH
        assert is_alive(folder.pid("hagoop-server"))
        assert is_alive(folder.pid("hagoop-worker"))
        folder.end("hagoop-worker")
        folder.end("hagoop-server")
        assert folder.files() == {"hagoop-server.log", "hagoop-worker.log"}
        assert not folder.answers()
    for program in ("hagoop-server", "hagoop-worker"):
        log = (folder.path / f"{program}.log").read_text()
        assert log.count("Server Shut Down") == 2
        assert "Traceback (most recent call last)" not in log
        assert "#critical" not in log


def test_restart_after_a_crash(folder: Folder) -> None:
    """A pid file that a killed server left, and its lock, are no obstacle."""
    assert folder.start_server().returncode == 0
    killed = folder.pid("hagoop-server")
    os.kill(killed, signal.SIGKILL)
    until(lambda: not is_alive(killed))
    assert folder.start_server().returncode == 0
    until(folder.answers)
    # Where init leaves the killed one a zombie its pid is still taken, and so is its file.
    [stem] = [each.stem for each in folder.path.glob("*.pid") if is_alive(folder.pid(each.stem))]
    folder.end(stem)


def test_second_worker_has_files_of_its_own(folder: Folder) -> None:
    """State folder, pid and log of the second worker have the same number."""
    assert [folder.start_worker().returncode for _ in range(2)] == [0, 0]
    stems = ("hagoop-worker", "hagoop-worker-2")
    assert folder.files() == {f"{stem}.{kind}" for stem in stems for kind in ("pid", "log")}
    assert {each.name for each in (folder.path / "state/hagoop").iterdir()} == {"worker", "worker-2"}
    for stem in stems:
        folder.end(stem)


def test_second_server_is_refused_in_a_sentence(folder: Folder) -> None:
    """Two servers cannot keep one state."""
    assert folder.start_server().returncode == 0
    refused = folder.start_server()
    assert refused.returncode == 1
    said = refused.stdout.splitlines()[-1]
    assert f"--state: '{folder.path}/state/hagoop/server' is in use by process" in said
    assert folder.files() == {"hagoop-server.pid", "hagoop-server.log"}
    folder.end("hagoop-server")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("hagoop-worker --slots x", "--slots: 'x' is not allowed; write a whole number from 1 to 4096"),
        ("hagoop-server --host a/b", "--host: 'a/b' is not a name or an address of a machine"),
        ("hagoop-server --nonsense", "option --nonsense not recognized"),
    ],
)
def test_mistakes_print_usage(folder: Folder, words: str, said: str) -> None:
    """Usage, one sentence and an exit status, never a traceback; and nothing is left."""
    ended = folder.twistd("-n", *words.split())
    assert ended.returncode in (1, 2)
    assert ended.stdout.startswith("Usage: twistd [options]")
    assert "--state=" in ended.stdout
    assert ended.stdout.rstrip().endswith(said)
    assert "Traceback" not in ended.stdout + ended.stderr
    assert list(folder.path.iterdir()) == []
