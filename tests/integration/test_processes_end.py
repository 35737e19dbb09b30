"""Programs that do not want to end, take too much, or use their streams oddly: the worker stays well."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster, can, differ, oracle, running, until

pytestmark = pytest.mark.slow

KEYS = "cut -f1 | uniq -c"
FOREVER = f"sleep 3{os.getpid():08}"
"""A program by which its processes are known, and no others."""
GONE_SECONDS = 10.0
"""Within the grace and two seconds a program is promised to be gone; twice that for a busy machine."""
TEXT = b"".join(b"k%d\t%d\n" % (number % 13, number) for number in range(3000))
DOUBLE_FORK = f"""#!{sys.executable}
import os, sys
if not os.fork():
    os.setsid()
    if not os.fork():
        os.closerange(0, 3)
        os.execvp("sleep", {FOREVER.split()})
    os._exit(0)
os.wait()
sys.stdout.buffer.write(sys.stdin.buffer.read())
"""
LEFT_BEHIND = {
    "in the background": f"{FOREVER} & cat",
    "of a session of its own": f"setsid {FOREVER} & cat",
    "that holds stderr": f"setsid {FOREVER} < /dev/null > /dev/null & cat",
    "a daemon": "./daemon.py",
}
"""Programs that end well and leave another."""
STUBBORN = {
    "ignores TERM": (1, f"trap '' TERM HUP INT; while :; do {FOREVER}; done"),
    "of a session of its own": (2, f"trap '' TERM; setsid {FOREVER} & {FOREVER}"),
    "a daemon and its parent": (2, f"./daemon.py && {FOREVER}"),
}
"""Programs that do not end; how many processes of each."""
BOMB = """#!/bin/sh
# More than it may be; but not so many that others on this machine can start none.
number=0
while [ $number -lt 700 ]; do
    sleep 60 &
    number=$((number + 1))
done
wait
"""
THREADS = f"""#!{sys.executable}
import sys, threading
lines = sys.stdin.buffer.readlines()
all_there = threading.Barrier(100)
threads = [threading.Thread(target=all_there.wait, daemon=True) for _ in range(100)]
for each in threads: each.start()
for each in threads: each.join()
sys.stdout.buffer.writelines(lines)
"""
EATER = f"""#!{sys.executable}
import os, sys, time
children, mebibytes = map(int, sys.argv[1:])
while children and os.fork():
    children -= 1
eaten = []
for _ in range(mebibytes):
    eaten.append(b"x" * (1 << 20))
time.sleep(60)
"""
FILLER = f"""#!{sys.executable}
import time
for number in range(40):
    with open(f"file-{{number}}", "wb") as file:
        file.write(bytes(4 << 20))
time.sleep(60)
"""
CHATTER = f"""#!{sys.executable}
import sys
def chat():
    for number in range(10_000):
        print("a line of chatter,", number, file=sys.stderr)
chat()
for number, line in enumerate(sys.stdin.buffer):
    if not number:
        chat()
    sys.stdout.buffer.write(line)
chat()
"""
PROGRAMS = {
    "daemon.py": DOUBLE_FORK,
    "bomb.sh": BOMB,
    "threads.py": THREADS,
    "eater.py": EATER,
    "filler.py": FILLER,
    "chatter.py": CHATTER,
}


def can_contain() -> bool:
    """Whether programs can be held in a PID namespace here; without one they may escape."""
    bubble = "bwrap", "--dev-bind", "/", "/", "--proc", "/proc", "--unshare-pid", "true"
    unshare = "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"
    user = "--user", "--map-current-user"
    return can(*bubble) or can(*unshare, "true") or can(*unshare, *user, "true")


contained = pytest.mark.skipif(not can_contain(), reason="no PID namespace can be made here")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One worker of one slot, with bounds for memory and disk."""
    with running(tmp_path_factory.mktemp("processes") / "it", 0) as made:
        made.start_workers(1, "--memory", "300M", "--disk", "60M")
        write_programs(made)
        yield made
        check_work(made)


@pytest.fixture
def cluster(shared: Cluster) -> Iterator[Cluster]:
    """The same; afterwards its worker has never been away, and nothing runs."""
    before = shared.server.said(" joined as ")
    yield shared
    shared.forget_all()
    until(lambda: not sleepers(), GONE_SECONDS, "the end of all programs")
    assert (len(shared.ask("workers")), shared.server.said(" joined as ")) == (1, before)


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Cluster]:
    """One worker that may be ended."""
    with running(tmp_path / "it", 1) as made:
        write_programs(made)
        yield made


def write_programs(cluster: Cluster) -> None:
    for name, text in PROGRAMS.items():
        (cluster.at / name).write_text(text)
        (cluster.at / name).chmod(0o755)
    (cluster.at / "input").write_bytes(TEXT)
    (cluster.at / "short").write_bytes(b"a line\n")


def check_work(cluster: Cluster) -> None:
    """An ordinary request is served."""
    ran = cluster.request("run", "input", "--mapper", "cat", "--reducer", KEYS)
    assert ran.returncode == 0, ran.stderr.decode()
    assert differ(ran.stdout, oracle([TEXT], "cat", KEYS)) == ""


def sleepers() -> list[int]:
    """Processes of the program that runs for ever."""
    found = subprocess.run(["pgrep", "-f", f"^{FOREVER}$"], capture_output=True, text=True)
    return [int(each) for each in found.stdout.split()]


def submit(cluster: Cluster, mapper: str) -> str:
    """A request of one line whose program runs for ever; its id, once it runs."""
    ran = cluster.request("run", "short", "--mapper", mapper, "--detach")
    assert ran.returncode == 0, ran.stderr.decode()
    until(sleepers, what="the program")
    return ran.stdout.decode().strip()


# Programs that do not want to end


@contained
@pytest.mark.parametrize("mapper", LEFT_BEHIND.values(), ids=LEFT_BEHIND)
def test_nothing_outlives_a_program_that_ends_well(cluster: Cluster, mapper: str) -> None:
    """Not what it has left in the background either; and nobody waits for that."""
    ran = cluster.request("run", "input", "--mapper", mapper, "--reducer", KEYS)
    assert ran.returncode == 0, ran.stderr.decode()
    assert differ(ran.stdout, oracle([TEXT], "cat", KEYS)) == ""
    until(lambda: not sleepers(), GONE_SECONDS, "the end of what was left")


@contained
def test_stubborn_programs_are_gone_soon_after_they_are_cancelled(tmp_path: Path) -> None:
    """First TERM, which they do not mind, then KILL; with all that they have started."""
    with running(tmp_path / "it", 0) as wide:
        wide.start_workers(1, "--slots", str(len(STUBBORN)))
        write_programs(wide)
        for count, mapper in STUBBORN.values():
            before = len(sleepers())
            submit(wide, mapper)
            until(lambda before=before, count=count: len(sleepers()) == before + count)
        for each in wide.ask("list"):
            assert wide.request("cancel", each["id"]).returncode == 0
        until(lambda: not sleepers(), GONE_SECONDS, "the end of the programs")
        check_work(wide)


@contained
@pytest.mark.parametrize("name", STUBBORN)
def test_no_program_outlives_a_worker_that_is_killed(mortal: Cluster, name: str) -> None:
    """``kill -9``: nobody is left who could end it."""
    submit(mortal, STUBBORN[name][1])
    mortal.workers[0].kill()
    until(lambda: not sleepers(), GONE_SECONDS, "the end of the program")


def test_stopped_worker_ends_its_programs(mortal: Cluster) -> None:
    """SIGTERM of the worker, whose program does not mind it."""
    submit(mortal, STUBBORN["ignores TERM"][1])
    mortal.workers[0].term()
    mortal.workers[0].wait()
    assert not sleepers()


# Programs that take too much


def fail(cluster: Cluster, mapper: str) -> tuple[str, dict[str, Any]]:
    """A request that fails: what is said of it, and its status."""
    ran = cluster.request("run", "short", "--mapper", mapper, "--quiet", seconds=60)
    assert ran.returncode == 1, ran.stderr.decode()
    return ran.stderr.decode(), cluster.ask("status")


@contained
def test_program_that_multiplies_is_stopped(cluster: Cluster) -> None:
    """It is told which bound it met, and all of it is gone."""
    said, status = fail(cluster, "./bomb.sh")
    assert "processes" in said
    assert status["failures"]
    until(lambda: not processes_named("bomb.sh"), GONE_SECONDS, "the end of all of them")


def processes_named(name: str) -> list[str]:
    """Processes, defunct ones aside, whose command line has this name in it."""
    return subprocess.run(["pgrep", "-f", name], capture_output=True, text=True).stdout.split()


def test_hundred_threads_are_no_crime(cluster: Cluster) -> None:
    """They are not taken for a program that multiplies."""
    ran = cluster.request("run", "input", "--mapper", "./threads.py", "--reducer", KEYS)
    assert ran.returncode == 0, ran.stderr.decode()
    assert differ(ran.stdout, oracle([TEXT], "cat", KEYS)) == ""


@pytest.mark.parametrize("words", ["0 1000", "4 150"], ids=["alone", "shared out"])
def test_program_that_eats_memory_is_stopped(cluster: Cluster, words: str) -> None:
    """Whether one of its processes does, or all together."""
    said, status = fail(cluster, f"./eater.py {words}")
    assert "memory" in said
    assert status["failures"]


def test_program_that_fills_the_disk_is_stopped(cluster: Cluster) -> None:
    """In many files, none of them large; and they are gone."""
    said, status = fail(cluster, "./filler.py")
    assert "disk" in said
    assert status["failures"]
    scratch = cluster.workers[0].folder / "state/scratch"
    until(lambda: not list(scratch.rglob("file-*")), GONE_SECONDS, "the end of what it wrote")


# Programs and their streams


@pytest.mark.parametrize(
    ("cmd", "times"),
    [
        ("true", 100),
        ("exec <&-; true", 100),
        ("exec >&-; cat >&2", 100),
        ("head -n 1 > /dev/null", 100),
        ("./chatter.py > /dev/null", 10),
    ],
    ids=["reads nothing", "closes stdin", "closes stdout", "stops reading", "prints nothing"],
)
def test_streams_that_nobody_wants_are_no_failure(cluster: Cluster, cmd: str, times: int) -> None:
    """Of a mapper and of a reducer, with more input than a pipe holds."""
    (cluster.at / "long").write_bytes(TEXT * times)
    for words in (("--mapper", cmd, "--reducer", "cat"), ("--mapper", "cat", "--reducer", cmd)):
        ran = cluster.request("run", "long", *words)
        assert (ran.returncode, ran.stdout) == (0, b""), ran.stderr.decode()
        assert cluster.ask("status")["failures"] == 0


def test_ten_thousand_lines_of_stderr_change_nothing(cluster: Cluster) -> None:
    """Before, during and after the data, of mapper and reducer; head and tail are kept."""
    lines = TEXT[: len(TEXT) // 10].rpartition(b"\n")[0]
    (cluster.at / "few").write_bytes(lines)
    ran = cluster.request("run", "few", "--mapper", "./chatter.py", "--reducer", "./chatter.py")
    assert ran.returncode == 0, ran.stderr.decode()
    assert differ(ran.stdout, oracle([lines], "cat", "cat")) == ""
    status = cluster.ask("status")
    assert status["failures"] == 0
    assert "a line of chatter, 0\n" in status["log"]
    assert status["log"].endswith("a line of chatter, 9999\n")
    assert len(status["log"]) < 1 << 18
