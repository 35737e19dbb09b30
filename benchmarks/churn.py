"""How much of its workers' lives a request makes use of while they are killed or frozen.

    python benchmarks/churn.py [--cases calm,life-20,life-8,frozen,...] [--runs 5] [--seed 1] [--json]

A server and four one-slot workers, all real processes on this machine, map lines that each take a fixed
time of sleep, 160 s in all.  Meanwhile a driver kills workers (SIGKILL, with their programs) after lives
drawn from an exponential distribution and starts them again a second later on the same state, or stops
one for good (SIGSTOP, with its programs), or kills a part of them once, half of the way.

From the driver's own log follows the *capacity*: how long a perfect scheduler would have taken that
loses nothing but dead workers, the pauses and the bare start of a worker, which is measured beforehand.
The fraction is capacity over makespan; the makespan is that of the command ``hagoop-request run``, its
own start and the answer's way included.  *Unavoidable* is what a scheduler would have taken that knows
when workers die, and that can only do whole lines.  Every answer is compared byte by byte.  Each run has
a new cluster, whose workers nobody knows yet.
"""

import argparse
import heapq
import json
import os
import random
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path

from attrs import asdict, define, field, frozen

SLEEPER = r"""
/* Sleeps for each line of its input, then prints it in capitals.  It reads byte by byte, so that all
   can see how far it is.  What a nap takes longer than it should, the next is shorter, so that lines
   take just what capacity is reckoned with; what it waits for its input, it does not make up for. */
#include <ctype.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define MOST_LATE 1000000LL

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

int main(void)
{
    long long end = now();
    char byte;
    while (read(0, &byte, 1) == 1) {
        putchar(toupper((unsigned char) byte));
        if (byte == '\n') {
            end = (now() - end > MOST_LATE ? now() : end) + NAP_NANOSECONDS;
            struct timespec until = {end / SECOND, end % SECOND};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
            fflush(stdout);
        }
    }
    return 0;
}
"""
KEYS = 97
PAUSE_SECONDS = 1.0
LIMIT_SECONDS = 300.0
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STARTS = 5
"""How often the bare start of a worker is measured."""


@frozen
class Case:
    """What happens to the workers.

    :ivar mean_life: seconds from a worker's start to its kill, on average.
    :ivar freeze_at: when one worker is stopped for good.
    :ivar struck: which part of the workers is killed once, half of the way.
    :ivar returns: whether those who are killed come back.
    """

    name: str
    mean_life: float | None = None
    freeze_at: float | None = None
    struck: float = 0.0
    returns: bool = True


STRUCK = 0.115
"""200 of 1,746 workers, which cost Google's sort 5 % more time (Dean and Ghemawat, OSDI 2004)."""
CASES = {
    each.name: each
    for each in (
        Case("calm"),
        Case("life-20", mean_life=20.0),
        Case("life-8", mean_life=8.0),
        Case("frozen", freeze_at=10.0),
        Case("struck", struck=STRUCK),
        Case("gone", struck=STRUCK, returns=False),
    )
}
USUAL = "calm,life-20,life-8,frozen"


@frozen
class Result:
    """One run.

    :ivar makespan: None if it was not done at the limit.
    :ivar unavoidable: as capacity, where lines are whole or nothing.
    :ivar busy: share of all processors' time that the machine was busy, whoever with.
    """

    case: str
    seed: int
    makespan: float | None
    capacity: float
    unavoidable: float
    fraction: float
    kills: int
    busy: float


# The perfect scheduler


def capacity_seconds(spans: Sequence[tuple[float, float]], work: float) -> float:
    """How long ``work`` seconds of work take workers that are there in these spans of time."""
    real = [(start, end) for start, end in spans if start < end]
    changes = sorted([*((start, 1) for start, _ in real), *((end, -1) for _, end in real)])
    workers, at = 0, 0.0
    for when, change in changes:
        if workers and work <= workers * (when - at):
            break
        work -= workers * (when - at) if workers else 0.0
        workers, at = workers + change, when
    return at + work / workers if workers else inf


def unavoidable_seconds(spans: Sequence[tuple[float, float]], lines: int, seconds: float) -> float:
    """How long so many lines take, of ``seconds`` each, none of which is begun where it cannot end."""
    coming = [(start + seconds, end) for start, end in spans if start + seconds <= end]
    heapq.heapify(coming)
    done = 0.0
    for _ in range(lines):
        if not coming:
            return inf
        done, end = coming[0]
        following = done + seconds
        heapq.heapreplace(coming, (following if following <= end else inf, end))
    return done


# Processes


def processes_of(folder: Path) -> list[int]:
    """Processes whose environment or current directory is in our folder."""
    mark, found = os.fsencode(folder), []
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            there = os.fsencode(os.readlink(each / "cwd"))
            if mark in (each / "environ").read_bytes() + there and int(each.name) != os.getpid():
                found.append(int(each.name))
    return found


def descendants(process: int) -> list[int]:
    """A process's children and theirs."""
    children: dict[int, list[int]] = defaultdict(list)
    for each in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(each.read_bytes().rpartition(b")")[2].split()[1])
            children[parent].append(int(each.parent.name))
    found = list(children[process])
    for child in found:
        found += children[child]
    return found


def send(number: signal.Signals, processes: Sequence[int]) -> None:
    for each in processes:
        with suppress(ProcessLookupError):
            os.kill(each, number)


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 30
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"{what} did not happen within 30 s")
        time.sleep(0.005)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def has_ended(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Wait so long for its end."""
    descriptor = os.pidfd_open(process.pid)
    try:
        return bool(select.select([descriptor], [], [], max(0.0, seconds))[0])
    finally:
        os.close(descriptor)


@define(eq=False)
class Part:
    """A server or worker that can be killed and started again on its state."""

    folder: Path
    words: list[str]
    process: "subprocess.Popen[bytes]" = field(init=False)

    def start(self) -> None:
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                self.words,
                cwd=self.folder,
                env={**os.environ, "TMPDIR": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def has_joined(self) -> bool:
        """Whether it has reached its server."""
        return b"joined " in (self.folder / "log").read_bytes()

    def kill(self) -> None:
        """End it and its programs as a power cut would."""
        tree = [self.process.pid, *descendants(self.process.pid)]
        send(signal.SIGKILL, tree)
        self.process.wait()

    def freeze(self) -> None:
        """Stop it and its programs; all connections stay."""
        send(signal.SIGSTOP, [self.process.pid])
        send(signal.SIGSTOP, descendants(self.process.pid))


@define(eq=False)
class Cluster:
    """A server and workers in a folder of their own."""

    folder: Path
    port: int = field(init=False)
    server: Part = field(init=False)
    workers: list[Part] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.port, web = free_ports(2)
        where = ["--listen", f"127.0.0.1:{self.port}", "--web", f"127.0.0.1:{web}"]
        self.server = self._part("server", where)

    def _part(self, name: str, options: Sequence[str]) -> Part:
        folder = self.folder / name
        folder.mkdir(parents=True)
        start = f"from hagoop.{name.partition('-')[0]}_tap import main; main()"
        words = [sys.executable, "-c", start, "--nodaemon", "--pidfile="]
        return Part(folder, [*words, "--state", str(folder / "state"), *options])

    def start(self, workers: int) -> None:
        """Start all; return when all workers have joined."""
        self.server.start()
        until(self._listens, "the server's start")
        for number in range(workers):
            name = f"worker-{number + 1}"
            where = ["--server", f"127.0.0.1:{self.port}"]
            self.workers.append(self._part(name, [*where, "--slots", "1", "--name", name]))
            self.workers[-1].start()
        until(lambda: all(each.has_joined for each in self.workers), "a worker's start")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def request(self, *words: str) -> "subprocess.Popen[bytes]":
        """Begin ``hagoop-request run``; its answer goes to the file ``answer``."""
        command = [sys.executable, "-m", "hagoop.request_script", "run", *words]
        command += ["--server", f"127.0.0.1:{self.port}", "--quiet", "--output", "answer"]
        return subprocess.Popen(command, cwd=self.folder, start_new_session=True)

    def end(self) -> None:
        """End everything that was started here, programs of killed workers too."""
        for each in (*self.workers, self.server):
            if hasattr(each, "process"):
                each.kill()
        while left := processes_of(self.folder):
            send(signal.SIGKILL, left)
            time.sleep(0.02)


@contextmanager
def cluster_in(folder: Path, workers: int) -> Iterator[Cluster]:
    cluster = Cluster(folder)
    try:
        cluster.start(workers)
        yield cluster
    finally:
        cluster.end()


def measure_start(folder: Path) -> float:
    """Seconds from a worker's exec, on a state that it has used before, until it has joined."""
    took = []
    with cluster_in(folder, 1) as cluster:
        worker = cluster.workers[0]
        for _ in range(STARTS):
            worker.kill()
            (worker.folder / "log").unlink()
            began = time.monotonic()
            worker.start()
            until(lambda: worker.has_joined, "a worker's start")
            took.append(time.monotonic() - began)
    return statistics.median(took)


# The driver


@define(eq=False)
class Driver:
    """Does to the workers of one run what the case says, and logs when each of them was of use.

    :ivar starting: the bare start of a worker.
    :ivar middle: when half of the work should be done.
    :ivar spans: when workers were there, in seconds since the request.
    """

    case: Case
    cluster: Cluster
    chance: random.Random
    starting: float
    middle: float
    spans: list[tuple[float, float]] = field(factory=list)
    kills: int = 0
    _began: float = field(factory=time.monotonic)
    _since: dict[int, float] = field(factory=dict)
    _plan: list[tuple[float, int, str]] = field(factory=list)

    def run(self, client: "subprocess.Popen[bytes]") -> float | None:
        """Until the client ends; the makespan, or None at the limit."""
        for number in range(len(self.cluster.workers)):
            self._since[number] = 0.0
            self._plan_kill(number)
        if self.case.freeze_at is not None:
            victim = self.chance.randrange(len(self.cluster.workers))
            self._plan_act(self.case.freeze_at, victim, "freeze")
        self._plan_strike()
        while not has_ended(client, self._next() - self._now):
            if self._now >= LIMIT_SECONDS:
                return None
            if self._plan and self._plan[0][0] <= self._now:
                _, number, act = heapq.heappop(self._plan)
                getattr(self, f"_{act}")(number)
        return self._now

    @property
    def _now(self) -> float:
        return time.monotonic() - self._began

    def _next(self) -> float:
        return min(LIMIT_SECONDS, self._plan[0][0] if self._plan else inf)

    def _plan_act(self, when: float, number: int, act: str) -> None:
        heapq.heappush(self._plan, (when, number, act))

    def _plan_kill(self, number: int) -> None:
        if self.case.mean_life is not None:
            life = self.chance.expovariate(1 / self.case.mean_life)
            self._plan_act(self._now + life, number, "kill")

    def _plan_strike(self) -> None:
        workers = range(len(self.cluster.workers))
        for number in self.chance.sample(workers, round(self.case.struck * len(workers))):
            self._plan_act(self.middle, number, "kill")

    def _kill(self, number: int) -> None:
        self._gone(number)
        self.cluster.workers[number].kill()
        self.kills += 1
        if self.case.returns:
            self._plan_act(self._now + PAUSE_SECONDS, number, "start")

    def _freeze(self, number: int) -> None:
        self._gone(number)
        self.cluster.workers[number].freeze()

    def _gone(self, number: int) -> None:
        self.spans.append((self._since.pop(number), self._now))

    def _start(self, number: int) -> None:
        self._since[number] = self._now + self.starting
        self.cluster.workers[number].start()
        self._plan_kill(number)

    @property
    def all_spans(self) -> list[tuple[float, float]]:
        """As if those who live now lived on."""
        return [*self.spans, *((since, inf) for since in self._since.values())]


def busy_and_idle() -> tuple[int, int]:
    """The machine's processor time so far, in ticks."""
    ticks = [int(each) for each in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], ticks[3] + ticks[4]


@define(eq=False)
class Bench:
    """Input, program and expected answer in one folder."""

    folder: Path
    options: argparse.Namespace
    expected: bytes = field(init=False)
    starting: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        nap = round(self.options.line_seconds * 1e9)
        (self.folder / "sleeper.c").write_text(SLEEPER)
        compile_it = ["cc", "-O2", f"-DNAP_NANOSECONDS={nap}L", "-o", "sleeper", "sleeper.c"]
        subprocess.run(compile_it, check=True, cwd=self.folder)
        count = round(self.options.work / self.options.line_seconds)
        lines = [b"k%d\tv%d\n" % (number * 7919 % KEYS, number) for number in range(count)]
        (self.folder / "input").write_bytes(b"".join(lines))
        mapped = [each.upper() for each in lines]
        if self.options.reduce:
            mapped.sort(key=lambda line: line.partition(b"\t")[0])
        self.expected = b"".join(mapped)
        self.starting = measure_start(self.folder / "start")

    def run(self, case: Case, seed: int) -> Result:
        """One run of one case."""
        folder = self.folder / f"{case.name}-{seed}"
        words = [str(self.folder / "input"), "--mapper", str(self.folder / "sleeper")]
        words += ["--reducer", "cat"] if self.options.reduce else []
        before = busy_and_idle()
        with cluster_in(folder, self.options.workers) as cluster:
            middle = self.options.work / self.options.workers / 2
            driver = Driver(case, cluster, random.Random(f"{case.name} {seed}"), self.starting, middle)
            client = cluster.request(*words)
            try:
                makespan = driver.run(client)
            finally:
                client.kill()
                client.wait()
            if makespan is not None:
                self._check(folder, client)
        busy, idle = (now - then for now, then in zip(busy_and_idle(), before, strict=True))
        capacity = capacity_seconds(driver.all_spans, self.options.work)
        lines = self.expected.count(b"\n")
        unavoidable = unavoidable_seconds(driver.all_spans, lines, self.options.line_seconds)
        fraction = capacity / makespan if makespan else 0.0
        share = busy / (busy + idle)
        return Result(case.name, seed, makespan, capacity, unavoidable, fraction, driver.kills, share)

    def _check(self, folder: Path, client: "subprocess.Popen[bytes]") -> None:
        if client.returncode != 0:
            raise SystemExit(f"hagoop-request ended with exit status {client.returncode}")
        if (folder / "answer").read_bytes() != self.expected:
            raise SystemExit(f"{folder.name}: the answer is wrong")


# What is said


HEADS = "case         makespan   capacity  unavoidable  fraction  worst  kills   busy"


def row(results: Sequence[Result]) -> str:
    """Medians of the runs of one case; one that was not done counts as endless."""
    makespan = statistics.median(inf if each.makespan is None else each.makespan for each in results)
    capacity, unavoidable, fraction, kills, busy = (
        statistics.median(getattr(each, name) for each in results)
        for name in ("capacity", "unavoidable", "fraction", "kills", "busy")
    )
    worst = min(each.fraction for each in results)
    times = f"{makespan:8.1f} s {capacity:8.1f} s {unavoidable:10.1f} s"
    return f"{results[0].case:10} {times} {fraction:9.3f} {worst:6.3f} {kills:6g} {100 * busy:4.0f} %"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default=USUAL, help=f"of: {','.join(CASES)}")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1, help="of the first run; the next has the next")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--work", type=float, default=160.0, help="seconds of sleep in all")
    parser.add_argument("--line-seconds", type=float, default=0.05, help="seconds of sleep for a line")
    parser.add_argument("--reduce", action="store_true", help="sort and reduce too, by cat")
    parser.add_argument("--json", action="store_true", help="all runs as JSON, one a line")
    parser.add_argument("--keep", action="store_true", help="leave the folder with its logs")
    options = parser.parse_args()
    unknown = [each for each in options.cases.split(",") if each not in CASES]
    if unknown:
        parser.error(f"there is no case {unknown[0]}; choose of {', '.join(CASES)}")
    return options


def stop(number: int, frame: object) -> None:
    """Leave by way of all that ends what was started, which no second Ctrl-C may cut short."""
    for each in STOPS:
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> None:
    options = parse()
    for each in STOPS:
        signal.signal(each, stop)
    folder = Path(tempfile.mkdtemp(prefix="hagoop-churn-"))
    try:
        run(Bench(folder, options), options)
    finally:
        if options.keep:
            print(f"logs are in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def run(bench: Bench, options: argparse.Namespace) -> None:
    if not options.json:
        print(f"{options.work:g} s of sleep, {options.workers} workers")
        print(f"bare start of a worker: {bench.starting:.2f} s")
        print(HEADS)
    for name in options.cases.split(","):
        results = []
        for seed in range(options.seed, options.seed + options.runs):
            results.append(bench.run(CASES[name], seed))
            if options.json:
                print(json.dumps(asdict(results[-1])), flush=True)
        if not options.json:
            print(row(results), flush=True)


if __name__ == "__main__":
    main()
