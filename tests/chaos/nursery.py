"""Real workers that start in no time: processes of their own, forked from one that has read the code.

A worker that lives two seconds must not spend one of them on reading Python.
"""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from attrs import define, field
from cluster import SOURCE, Cluster, Part, until

PROGRAM = Path(__file__).parent / "nursery_program.py"


@define(eq=False)
class Nursery:
    """The parent of workers: a number that it knows is never of another process when it is signalled."""

    process: "subprocess.Popen[str]" = field(init=False)
    _lock: threading.Lock = field(factory=threading.Lock)

    def __attrs_post_init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM)],
            cwd="/",
            env={"PYTHONPATH": str(SOURCE), "PYTHONWARNINGS": "default::ResourceWarning"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, what: str, *details: Any) -> Any:
        """Let it do something; the answer."""
        with self._lock:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            print(json.dumps([what, *details]), file=self.process.stdin, flush=True)
            return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        """No more; whoever still lives is killed."""
        self.process.communicate(timeout=20)


@define(eq=False)
class Child:
    """One of its processes, with what we use of ``Popen``."""

    nursery: Nursery
    pid: int
    returncode: int | None = None

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

    def wait(self, timeout: float) -> int:
        """Wait for its end; its status."""
        until(lambda: self.poll() is not None, timeout, f"the end of process {self.pid}")
        assert self.returncode is not None
        return self.returncode


@define(eq=False)
class NurseryPart(Part):
    """A worker that the nursery starts.

    :ivar seconds: after which its next life exits from within; 0: never.
    """

    nursery: Nursery = field(kw_only=True)
    seconds: float = 0.0

    def start(self) -> None:
        """Begin a life."""
        self.was_killed = False
        for each in self.folder.glob("*.pid"):
            # Of a life that was killed; by now another process may have its number.
            each.unlink()
        born = self.nursery.ask("bear", str(self.folder), self.words, self.env, self.seconds)
        # ``Popen`` in all that a part needs.
        self.process = Child(self.nursery, born)  # type: ignore[assignment]


def add_worker(cluster: Cluster, nursery: Nursery, server: str) -> NurseryPart:
    """One more worker, not started yet, which will know the server by this address."""
    name = f"worker-{len(cluster.workers) + 1}"
    folder = cluster.folder / name
    folder.mkdir()
    words = ["hagoop-worker", "-n", "--server", server, "--name", name, "--slots", "1"]
    part = NurseryPart(folder, [*words, "--state", str(folder / "state")], cluster.env, nursery=nursery)
    cluster.workers.append(part)
    return part
