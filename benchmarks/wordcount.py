"""Word count beside the plain pipe, with the same C programs, pair by pair.

    python benchmarks/wordcount.py [--lines 500000] [--pairs 5] [--workers 2]

Prints wall seconds of the pipe, of a request on a running cluster and of ``run --local``, and the ratios
of each pair; the time of a request of 500 lines; and the server's memory after inputs of two sizes.
Only ratios of what ran side by side mean anything on a machine that others use too.
"""

import argparse
import itertools
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
WORDS = 50_000
WORDS_PER_LINE = 10


def make_text(path: Path, lines: int, seed: int = 1) -> None:
    """Lines of ten words from a vocabulary with Zipf's frequencies."""
    chance = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(chance.choices(letters, k=chance.randint(2, 11))) for _ in range(WORDS)]
    weights = list(itertools.accumulate(1 / rank for rank in range(1, WORDS + 1)))
    with open(path, "w") as file:
        for start in range(0, lines, 10_000):
            count = min(10_000, lines - start)
            drawn = chance.choices(words, cum_weights=weights, k=count * WORDS_PER_LINE)
            for at in range(0, len(drawn), WORDS_PER_LINE):
                file.write(" ".join(drawn[at : at + WORDS_PER_LINE]) + "\n")


def seconds_of(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Programs(NamedTuple):
    """The commands that are run, in the folder of the benchmark."""

    mapper: str
    reducer: str
    combiner: str = ""


def compile_programs(folder: Path) -> Programs:
    """Those in C."""
    made = []
    for part in ("wordcount_map", "wordcount_reduce"):
        subprocess.run(["cc", "-O2", "-o", folder / part, EXAMPLES / f"{part}.c"], check=True)
        made.append(f"./{part}")
    return Programs(*made)


class Bench:
    """Programs, text and answers in one folder."""

    def __init__(self, folder: Path, workers: int, programs: Programs) -> None:
        self.folder = folder
        self.workers = workers
        self.programs = programs

    def pipe(self, text: Path) -> None:
        """The promise, run by coreutils."""
        mapper, reducer, _ = self.programs
        self.shell(f"cat {text} | {mapper} | LC_ALL=C sort -s -t '\t' -k1,1 | {reducer} > expected")

    def shell(self, script: str) -> None:
        """Run a line of shell in the folder."""
        subprocess.run(["sh", "-c", script], check=True, cwd=self.folder)

    def request(self, text: Path, *where: str) -> None:
        """The same by HaGoop; the answers must be equal."""
        words = [sys.executable, "-m", "hagoop.request_script", "run", str(text), *where]
        words += ["--mapper", self.programs.mapper, "--reducer", self.programs.reducer]
        if self.programs.combiner:
            words += ["--combiner", self.programs.combiner]
        words += ["--output", "answer", "--force", "--quiet"]
        subprocess.run(words, check=True, cwd=self.folder)
        subprocess.run(["cmp", "expected", "answer"], check=True, cwd=self.folder)

    @contextmanager
    def cluster(self) -> Iterator[tuple[str, list[int]]]:
        """A server and workers: where it is, and all the processes, the server's first."""
        commands, web = free_port(), free_port()
        started = [self._start("server", "--listen", str(commands), "--web", str(web))]
        try:
            for number in range(self.workers):
                where = ("--server", f"127.0.0.1:{commands}", "--slots", "1")
                started.append(self._start("worker", *where, number=number))
            self._await(f"127.0.0.1:{commands}")
            yield f"127.0.0.1:{commands}", [each.pid for each in started]
        finally:
            for each in reversed(started):
                each.terminate()
                each.wait()

    def _start(self, part: str, *words: str, number: int = 0) -> "subprocess.Popen[bytes]":
        start = f"from hagoop.{part}_tap import main; main()"
        state = self.folder / f"{part}-{number}"
        log = open(self.folder / f"{part}-{number}.log", "wb")
        words = ("--nodaemon", "--pidfile=", "--state", str(state), *words)
        return subprocess.Popen([sys.executable, "-c", start, *words], stdout=log, stderr=log)

    def _await(self, server: str) -> None:
        """Until all workers are there."""
        words = [sys.executable, "-m", "hagoop.request_script", "workers", "--json", "--server", server]
        for _ in range(100):
            found = subprocess.run(words, capture_output=True, text=True)
            if found.stdout.count('"id"') == self.workers:
                return
            time.sleep(0.1)
        raise SystemExit("the workers did not come")


def print_memory(pid: int) -> None:
    """Resident memory of a process now and at its peak."""
    rows = dict(each.split(":", 1) for each in Path(f"/proc/{pid}/status").read_text().splitlines())
    now, peak = (int(rows[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    print(f"{'server memory, now and peak':34} {now:7.0f} MB {peak:7.0f} MB")


def row(name: str, ours: list[float], pipe: list[float]) -> None:
    ratios = [mine / its for mine, its in zip(ours, pipe, strict=True)]
    print(f"{name:34} {statistics.median(ours):7.2f} s {statistics.median(ratios):7.2f} x the pipe")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=500_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--large", type=int, default=0, help="lines of a second input, for memory")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hagoop-benchmark-"))
    try:
        run(Bench(folder, options.workers, compile_programs(folder)), options)
    finally:
        shutil.rmtree(folder)


def run(bench: Bench, options: argparse.Namespace) -> None:
    text, small, large = (bench.folder / each for each in ("text", "small", "large"))
    make_text(text, options.lines)
    make_text(small, 500)
    pipes, clusters, locals_, smalls = [], [], [], []
    with bench.cluster() as (server, (pid, *_)):
        bench.pipe(small)
        for _ in range(options.pairs):
            smalls.append(seconds_of(lambda: bench.request(small, "--server", server)))
        for _ in range(options.pairs):
            pipes.append(seconds_of(lambda: bench.pipe(text)))
            clusters.append(seconds_of(lambda: bench.request(text, "--server", server)))
            locals_.append(
                seconds_of(lambda: bench.request(text, "--local", "--workers", str(bench.workers)))
            )
        print(f"{os.path.getsize(text) / 1e6:.0f} MB, {options.lines} lines, {bench.workers} workers")
        print(f"{'plain pipe':34} {statistics.median(pipes):7.2f} s")
        row("request on a running cluster", clusters, pipes)
        row("run --local, its start included", locals_, pipes)
        print(f"{'500 lines on a running cluster':34} {statistics.median(smalls):7.2f} s")
        print_memory(pid)
        if options.large:
            make_text(large, options.large)
            bench.pipe(large)
            took = seconds_of(lambda: bench.request(large, "--server", server))
            print(f"{os.path.getsize(large) / 1e6:.0f} MB took {took:.1f} s")
            print_memory(pid)


if __name__ == "__main__":
    main()
