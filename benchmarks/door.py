"""What the door costs: the same requests at a server on loopback and at one with TLS, in turn.

    python benchmarks/door.py [--pairs 5] [--lines 500000]

Two servers, each with two one-slot workers of its own; runs alternate, so that what else goes on on the
machine meets both.  Prints medians of wall seconds, of CPU seconds of client, server and workers,
and of the ratios of neighbours.
"""

import argparse
import contextlib
import io
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from wordcount import free_port, make_text, seconds_of

from hagoop.door import script

MEGABYTE = 1 << 20


class Place:
    """A server and its workers."""

    def __init__(self, folder: Path, guarded: bool) -> None:
        self.folder = folder
        self.guarded = guarded
        self.port, self.web = free_port(), free_port()
        folder.mkdir()

    @contextlib.contextmanager
    def running(self) -> Iterator["Place"]:
        """While it is needed."""
        host = "0.0.0.0" if self.guarded else "127.0.0.1"
        where = ["--listen", f"{host}:{self.port}", "--web", f"{host}:{self.web}"]
        where += ["--host", "127.0.0.1"] if self.guarded else []
        processes = self.processes = [self._start("server", "hagoop.server_tap", *where)]
        try:
            _until(lambda: _listens(self.port))
            self.client = self._line("client")
            for number in (1, 2):
                words = ["--slots", "1", "--name", f"w{number}", "--server", self._line("worker")]
                processes.append(self._start(f"w{number}", "hagoop.worker_tap", *words))
            _until(lambda: self.ask("workers", "--json").stdout.count(b'"id"') == 2)
            yield self
        finally:
            for each in processes[::-1]:
                each.terminate()
            for each in processes:
                each.wait()

    def _line(self, role: str) -> str:
        if not self.guarded:
            return f"127.0.0.1:{self.port}"
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            script.main(["invite", role, "--state", str(self.folder / "server")])
        return out.getvalue().split("'")[1]

    def _start(self, name: str, module: str, *words: str) -> "subprocess.Popen[bytes]":
        state = ["-n", "--pidfile=", "--state", str(self.folder / name)]
        with open(self.folder / f"{name}.log", "wb") as log:
            code = f"from {module} import main; main()"
            return subprocess.Popen([sys.executable, "-c", code, *state, *words], stdout=log, stderr=log)

    def ask(self, *words: str) -> "subprocess.CompletedProcess[bytes]":
        """``hagoop-request``."""
        command = [sys.executable, "-m", "hagoop.request_script", *words]
        env = {**os.environ, "HAGOOP_SERVER": self.client}
        return subprocess.run(command, env=env, capture_output=True, check=True)


def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.05)


def _listens(port: int) -> bool:
    with socket.socket() as dialled:
        return dialled.connect_ex(("127.0.0.1", port)) == 0


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--lines", type=int, default=500_000)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hagoop-door-"))
    try:
        _compare(folder, given.pairs, given.lines)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _compare(folder: Path, pairs: int, lines: int) -> None:
    text, small = folder / "text", folder / "small"
    make_text(text, lines)
    small.write_text("a b\n")
    answer = ("--quiet", "--output", str(folder / "answer"), "--force")
    count = ("--mapper", "tr ' ' '\\n'", "--reducer", "uniq -c", *answer)
    copy = ("--mapper", "cat", *answer)
    cases = {
        "one line": (small, copy),
        f"{text.stat().st_size / MEGABYTE:.0f} MiB copied": (text, copy),
        "its words counted": (text, count),
    }
    with Place(folder / "plain", False).running() as plain, Place(folder / "tls", True).running() as tls:
        print(f"{'':22}{'plain':>16}{'TLS':>16}{'ratio':>14}")
        for name, (file, words) in cases.items():
            ran = [(_run(plain, file, words), _run(tls, file, words)) for _ in range(pairs)]
            for number, kind in enumerate(("wall", "CPU")):
                a, b = (statistics.median(each[side][number] for each in ran) for side in (0, 1))
                ratio = statistics.median(each[1][number] / each[0][number] for each in ran)
                print(f"{name:22}{kind:>5}{a:10.2f}s{b:15.2f}s{ratio:14.2f}", flush=True)


def _run(place: Place, file: Path, words: tuple[str, ...]) -> tuple[float, float]:
    """Wall and CPU seconds of one request."""
    command = [sys.executable, "-m", "hagoop.request_script", "run", "-", *words]
    env = {**os.environ, "HAGOOP_SERVER": place.client}

    def act() -> None:
        # By stdin: the bytes travel on loopback too, where the server could read the file in place.
        with open(file, "rb") as stdin:
            subprocess.run(command, env=env, stdin=stdin, check=True)

    before = _cpu_seconds(place)
    return seconds_of(act), _cpu_seconds(place) - before


def _cpu_seconds(place: Place) -> float:
    """Of a place's processes, their programs aside, and of all clients so far."""
    clients = resource.getrusage(resource.RUSAGE_CHILDREN)
    stats = [Path(f"/proc/{each.pid}/stat").read_text() for each in place.processes]
    ticks = sum(int(each) for stat in stats for each in stat.rpartition(")")[2].split()[11:13])
    return clients.ru_utime + clients.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
