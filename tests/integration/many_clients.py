"""Many ``hagoop-request`` at once, each a process of its own, at the price of one start of Python.

Run as a script it reads command lines from stdin, a JSON list of lists, and prints their exit statuses.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import define, field
from cluster import Cluster


@define(eq=False)
class ManyClients:
    """``run``, of several requests: each one's answer is in the file of its name, all else beside it."""

    cluster: Cluster
    folder: Path
    calls: Mapping[str, Sequence[str]]
    process: "subprocess.Popen[bytes]" = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.folder.mkdir()
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            cwd=self.cluster.at,
            env=self.cluster.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.cluster.clients.append(self.process)
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([self._words(each) for each in self.calls]).encode())
        self.process.stdin.close()
        self.process.stdin = None

    def _words(self, name: str) -> list[str]:
        output = str(self.folder / name)
        return ["run", "--server", self.cluster.address, *self.calls[name], "--output", output, "--json"]

    @property
    def answers(self) -> int:
        """How many are there."""
        return sum((self.folder / each).exists() for each in self.calls)

    def end(self, seconds: float) -> dict[str, int]:
        """Wait for all; their exit statuses."""
        out, _ = self.process.communicate(timeout=seconds)
        return dict(zip(self.calls, json.loads(out), strict=True))


def _begin(words: Sequence[str]) -> int:
    """One client in a process of its own, which says all on stderr into a file beside its answer."""
    process = os.fork()
    if process:
        return process
    status = 70
    try:
        output = words[words.index("--output") + 1]
        os.dup2(os.open(f"{output}.said", os.O_WRONLY | os.O_CREAT | os.O_EXCL), 2)
        status = request_script.main(words)
        sys.stderr.flush()
    finally:
        os._exit(status)


def _status_of(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


if __name__ == "__main__":
    # No reactor is among them: each process makes its own.
    from hagoop import client, following, request_script  # noqa: F401

    assert "twisted.internet.reactor" not in sys.modules
    processes = [_begin(each) for each in json.load(sys.stdin)]
    print(json.dumps([_status_of(each) for each in processes]))
