"""What being durable costs: commits a second, beside a bare loop of syncs; and a start with many.

    python benchmarks/journal.py [--seconds 5] [--jobs 100000] [--folder FOLDER]

Simulated workers each keep the bytes of a job in the spool, append the fact that names them, and go
on when it is on disk: what the server does for a commit, without the network.  The bare loop writes
4 KiB and syncs, on the same disk, before and after.  For the start, a journal gets a request with so
many committed jobs, and a real server starts on it.
"""

import argparse
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock

from hagoop import wire
from hagoop.jobs import Output, Phase, Place, RequestId
from hagoop.journal import Later, SqliteJournal
from hagoop.spool import FolderSpool

REQUEST = RequestId("r1")
RUNS = RequestId("r1.runs")
JOB = b"word\t1\n" * 40
DIGEST = hashlib.sha256(JOB).hexdigest()
PAGE = b"\0" * 4096
WORKERS = (1, 16, 64, 256)
COMMAND = "from hagoop.server_tap import main; main()"


def bare(folder: Path, seconds: float) -> float:
    """Pages written and synced one after the other: how many a second."""
    count, end = 0, time.monotonic() + seconds
    with open(folder / "bare", "wb", buffering=0) as file:
        while time.monotonic() < end:
            file.write(PAGE)
            os.fdatasync(file.fileno())
            count += 1
    return count / seconds


def committed(start: int, place: Place) -> dict[str, object]:
    """The fact of a job of one line."""
    output = Output(start, start + 1, DIGEST, place)
    where = {"phase": Phase.MAP, "round": 0, "step": 0, "lease": "1-1"}
    return {**where, "output": wire.to_plain(output), "counters": []}


async def work(journal: SqliteJournal, spool: FolderSpool, numbers: Iterator[int], end: float) -> int:
    """One worker that has a job ready whenever its last is committed; how many were."""
    count = 0
    while time.monotonic() < end:
        arriving = spool.receive(1 << 20)
        arriving.write(JOB)
        place, sync = spool.keep(RUNS, arriving.finish())
        await journal.append(RUNS, "committed", committed(next(numbers), place), [sync])
        count += 1
    return count


def commits(folder: Path, workers: int, seconds: float) -> float:
    """Durable commits a second, with as many workers at once."""
    from twisted.internet import reactor

    found: list[int] = []

    async def measure() -> None:
        journal = SqliteJournal(folder / "journal.sqlite", reactor)
        spool = FolderSpool(folder / "spool", reactor)
        numbers, end = iter(range(10**9)), time.monotonic() + seconds
        working = [Deferred.fromCoroutine(work(journal, spool, numbers, end)) for _ in range(workers)]
        found.extend(await gatherResults(working))
        await journal.close()
        reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(measure()))
    reactor.run()
    return sum(found) / seconds


def measured_apart(folder: Path, workers: int, seconds: float) -> float:
    """The same in a process of its own, for a reactor runs once."""
    words = [sys.executable, __file__, "--apart", str(workers), "--seconds", str(seconds)]
    return float(subprocess.run([*words, "--folder", str(folder)], stdout=-1, check=True).stdout)


# Starting


def ports() -> list[int]:
    """Two that are free."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    found = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return found


def start(folder: Path) -> "tuple[subprocess.Popen[bytes], int, float]":
    """A server on a folder's state, its port, and the seconds until it listens."""
    commands, web = ports()
    words = [sys.executable, "-c", COMMAND, "-n", "--pidfile=", "--state", str(folder / "state")]
    words += ["--listen", str(commands), "--web", str(web)]
    began = time.monotonic()
    with open(folder / "log", "ab") as log:
        server = subprocess.Popen(words, stdout=log, stderr=log)
    while True:
        with socket.socket() as dialled:
            if dialled.connect_ex(("127.0.0.1", commands)) == 0:
                return server, commands, time.monotonic() - began
        assert server.poll() is None, (folder / "log").read_text()
        time.sleep(0.005)


def request(port: int, *words: str) -> bytes:
    """What ``hagoop-request`` says."""
    command, *rest = words
    whole = [sys.executable, "-m", "hagoop.request_script", command, "--server", f"127.0.0.1:{port}"]
    return subprocess.run([*whole, *rest], stdout=-1, check=True).stdout


def peak(server: "subprocess.Popen[bytes]") -> int:
    """MiB of memory at most so far."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10


def fill(folder: Path, jobs: int) -> None:
    """Let a request have as many committed jobs."""
    clock = Clock()
    journal = SqliteJournal(folder / "state" / "journal.sqlite", clock, elsewhere=Later(clock))
    shelf = folder / "state" / "spool" / "requests" / RUNS
    shelf.mkdir()
    (shelf / "segment-0").write_bytes(JOB * jobs)
    for number in range(jobs):
        place = Place(f"requests/{RUNS}/segment-0", number * len(JOB), len(JOB))
        journal.append(RUNS, "committed", committed(number, place))
        if number % 1000 == 999:
            clock.advance(0)
    journal.close()
    clock.advance(0)


def starts(folder: Path, jobs: int) -> tuple[float, float, int]:
    """Seconds of a start with nothing and with all these jobs, and the memory of the latter in MiB."""
    (folder / "input").write_bytes(b"word\n" * (jobs + jobs // 10))
    server, port, empty = start(folder)
    request(port, "run", str(folder / "input"), "--mapper", "cat", "--reducer", "cat", "--detach")
    server.kill()
    server.wait()
    fill(folder, jobs)
    server, port, full = start(folder)
    try:
        assert b'"state":"running"' in request(port, "status", "--json").replace(b": ", b":")
        return empty, full, peak(server)
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--seconds", type=float, default=5.0)
    options.add_argument("--jobs", type=int, default=100_000)
    options.add_argument("--folder", type=Path, default=None)
    options.add_argument("--apart", type=int, default=0, help=argparse.SUPPRESS)
    told = options.parse_args()
    if told.apart:
        print(commits(told.folder, told.apart, told.seconds))
        return
    root = Path(tempfile.mkdtemp(prefix="journal-", dir=told.folder))
    try:
        for workers in WORKERS:
            folder = root / f"{workers}"
            folder.mkdir()
            before = bare(root, told.seconds / 5)
            rate = measured_apart(folder, workers, told.seconds)
            loop = (before + bare(root, told.seconds / 5)) / 2
            beside = f"bare loop {loop:7,.0f}/s; ratio {rate / loop:.2f}"
            print(f"{workers:4} workers: {rate:7,.0f} commits/s; {beside}")
        (root / "start").mkdir()
        empty, full, memory = starts(root / "start", told.jobs)
        print(f"start: {empty:.2f} s with nothing; {told.jobs:,} jobs: {full:.2f} s, {memory} MiB")
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
