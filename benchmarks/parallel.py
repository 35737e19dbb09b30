"""Word count in Python beside GNU parallel, with the same programs, pair by pair.

    python benchmarks/parallel.py [--lines 500000] [--pairs 15] [--workers 2]

GNU parallel runs as its users would have it: one block of the file for each job slot; mapper, sort and
combiner in a pipe over each block; what comes of them sorted and reduced.  HaGoop runs mapper, combiner
and reducer on a running cluster.  Prints wall and processor seconds of both and the ratios of each pair;
answers are compared byte by byte.  Only ratios of what ran side by side mean anything on a machine that
others use too.
"""

import argparse
import ctypes
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from wordcount import EXAMPLES, Bench, Programs, make_text

PROGRAMS = Programs(*(f"python3 wordcount.py {each}" for each in ("map", "reduce", "combine")))
TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_CHILD_SUBREAPER = 36
REAP_SECONDS = 0.05


class Cost(NamedTuple):
    """Seconds of one run: on the wall, and of processors."""

    wall: float
    cpu: float


def parallel(bench: Bench, text: Path) -> None:
    """The answer by GNU parallel."""
    mapper, reducer, combiner = bench.programs
    sort = "LC_ALL=C sort"
    each = f"{mapper} | {sort} | {combiner}"
    jobs = f"parallel --will-cite --pipe-part -a {text} --block -1 -j {bench.workers} '{each}'"
    bench.shell(f"{jobs} | {sort} | {reducer} > answer && cmp expected answer")


def cpu_of(pid: int) -> float:
    """Processor seconds of a process and of all its children that have ended."""
    rows = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, rows[11:15])) / TICKS


def adopt_orphans() -> None:
    """What bubblewrap holds together outlives it for a moment: let its time be counted here."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def cpu_of_children() -> float:
    """Of all that have ended, the adopted too."""
    time.sleep(REAP_SECONDS)
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cost_of(act: Callable[[], object], pids: Sequence[int] = ()) -> Cost:
    """What an act costs: its processes, and those of ``pids`` meanwhile."""

    def cpu() -> float:
        return cpu_of_children() + sum(map(cpu_of, pids))

    used, began = cpu(), time.perf_counter()
    act()
    return Cost(time.perf_counter() - began, cpu() - used)


def row(name: str, costs: Sequence[Cost]) -> None:
    wall, cpu = (statistics.median(each) for each in zip(*costs, strict=True))
    print(f"{name:34} {wall:7.2f} s {cpu:7.2f} s of processors")


def print_ratios(ours: Sequence[Cost], theirs: Sequence[Cost]) -> None:
    pairs = list(zip(ours, theirs, strict=True))
    walls = sorted(mine.wall / its.wall for mine, its in pairs)
    cpus = [mine.cpu / its.cpu for mine, its in pairs]
    told = f"{statistics.median(walls):7.2f} x ({walls[0]:.2f} to {walls[-1]:.2f})"
    print(f"{'ratio':34} {told}, {statistics.median(cpus):.2f} x of processors")


def run(bench: Bench, options: argparse.Namespace) -> None:
    text = bench.folder / "text"
    make_text(text, options.lines)
    bench.pipe(text)
    theirs: list[Cost] = []
    ours: list[Cost] = []
    with bench.cluster() as (server, pids):
        for _ in range(options.pairs):
            theirs.append(cost_of(lambda: parallel(bench, text)))
            ours.append(cost_of(lambda: bench.request(text, "--server", server), pids))
    print(f"{os.path.getsize(text) / 1e6:.0f} MB, {options.lines} lines, {bench.workers} workers")
    row("GNU parallel", theirs)
    row("request on a running cluster", ours)
    print_ratios(ours, theirs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=500_000)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if shutil.which("parallel") is None:
        sys.exit("GNU parallel is not installed here; on Debian: apt-get install parallel")
    # The same python3 for everyone, and one that finds hagoop.
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    adopt_orphans()
    folder = Path(tempfile.mkdtemp(prefix="hagoop-benchmark-"))
    try:
        shutil.copy(EXAMPLES / "wordcount.py", folder)
        run(Bench(folder, options.workers, PROGRAMS), options)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
