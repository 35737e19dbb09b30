"""Faults X: programs that print for ever, fail in every way, vanish, or go for their worker.

What ends, bounds and streams of programs are, is in ``tests/integration/test_processes_end.py``.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, can, differ, is_one_sentence, oracle, running, until
from memory import grows_no_more_than

pytestmark = pytest.mark.slow

WORKERS = 4
KEYS = "cut -f1 | uniq -c"
TEXT = b"".join(b"k%d\t%d\n" % (number % 13, number) for number in range(400))
HEADER_OF_AARCH64 = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00" + b"\xb7\0" + bytes(44)
RAW = f"""#!{sys.executable}
import sys
made = [b"\\0", b"\\xff\\xfe\\t", b"\\r\\t1\\r", b"\\t", b"\\t\\t\\t", b"", b"\\t\\0\\xff"]
made += [b"a\\0\\tb", b"\\xc3\\t\\x28"]
for line in sys.stdin.buffer:
    for each in made:
        sys.stdout.buffer.write(each + b"\\n")
        sys.stdout.buffer.write(each + line)
"""
MURDERER = """#!/bin/sh
# Whoever has the words of its worker; and its parent, whoever it may be.
for each in /proc/[0-9]*; do
    if tr '\\0' ' ' < $each/cmdline | grep -q -e "$FOLDER"; then
        kill -KILL ${each#/proc/}
    fi
done
test $PPID -gt 1 && kill -KILL $PPID
cat
"""
POISONED = """
while read -r line; do
    echo "$line"
    test "$line" != poison || { echo "$HOME" >> "$TRIED"; exit 9; }
done
"""
FAILURES = {
    "exit 3": "it ended with exit status 3",
    "kill -SEGV $$": "it was killed by signal 11 (SIGSEGV)",
    "sleep 60": "it took and printed nothing for 1 s",
    "./plain": "./plain is not executable; try chmod +x ./plain",
    "./lost": "lost wants /usr/bin/nosuch, which is not on this machine",
    "./foreign": "foreign is a program for aarch64, this machine is",
    "nosuch": "nosuch is not on this machine",
    "cat | nosuch": "nosuch is not on this machine",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, full: bool) -> Iterator[Cluster]:
    """Workers that stay, with programs of all kinds; to fetch one of 2 GiB may take them too long."""
    with running(tmp_path_factory.mktemp("programs") / "it", WORKERS) as made:
        write_programs(made.at)
        joined = made.server.said(" joined as ")
        yield made
        assert joined == WORKERS
        assert full or made.server.said(" joined as ") == joined
        check_work(made)


def write_programs(at: Path) -> None:
    (at / "input").write_bytes(TEXT)
    (at / "short").write_bytes(b"a line\n")
    texts = {"raw.py": RAW, "murderer.sh": MURDERER, "plain": "", "lost": "#!/usr/bin/nosuch\n"}
    for name, text in texts.items():
        (at / name).write_text(text)
        (at / name).chmod(0o644 if name == "plain" else 0o755)
    (at / "foreign").write_bytes(HEADER_OF_AARCH64)
    (at / "foreign").chmod(0o755)


def check_work(cluster: Cluster, *more: str) -> None:
    """An ordinary request is served."""
    ran = cluster.request("run", "input", "--mapper", "cat", "--reducer", KEYS, *more)
    assert ran.returncode == 0, ran.stderr.decode()
    assert differ(ran.stdout, oracle([TEXT], "cat", KEYS)) == ""


def fail(cluster: Cluster, mapper: str, *words: object) -> str:
    """The one sentence about a request that fails."""
    ran = cluster.request("run", "short", "--quiet", "--mapper", mapper, *words)
    assert (ran.returncode, ran.stdout) == (1, b""), ran.stderr.decode()
    assert is_one_sentence(ran.stderr), ran.stderr.decode()
    return ran.stderr.decode().strip()


def test_stderr_for_ever_is_no_progress_and_no_memory(cluster: Cluster) -> None:
    """X3: ``yes`` on stderr; head and tail of it are kept, and no more."""
    with grows_no_more_than(24 << 20, *cluster.workers, cluster.server):
        said = fail(cluster, "yes complaint >&2", "--timeout", "2", "--attempts", "1")
    assert "it took and printed nothing for 2 s" in said
    assert len(said) < 10_000


@pytest.mark.parametrize("mapper", FAILURES)
def test_each_failure_is_told_as_what_it_is(cluster: Cluster, mapper: str) -> None:
    """X6: statuses, signals, timeouts, and all the ways in which a program cannot be started."""
    assert FAILURES[mapper] in fail(cluster, mapper, "--timeout", "1", "--attempts", "1")


def test_poisoned_line_stops_after_so_many_workers(cluster: Cluster) -> None:
    """X6: it is tried elsewhere while others are at hand; then the request fails, and says where."""
    lines = TEXT.splitlines(keepends=True)
    (cluster.at / "poisoned").write_bytes(b"".join([*lines[:99], b"poison\n", *lines[99:]]))
    tried = cluster.folder / "tried"
    words = ("--env", f"TRIED={tried}", "--attempts", str(WORKERS))
    ran = cluster.request("run", "poisoned", "--quiet", "--mapper", POISONED, *words)
    assert ran.returncode == 1
    assert f"the mapper failed {WORKERS} times on poisoned, line" in ran.stderr.decode()
    assert "it ended with exit status 9" in ran.stderr.decode()
    # A run's folder is below its worker's.
    homes = [Path(each).relative_to(cluster.folder).parts[0] for each in tried.read_text().split()]
    # Who has not been heard for a moment is not at hand, so not always all of them.
    assert len(homes) == WORKERS
    assert len(set(homes)) > 1
    assert cluster.ask("status")["failures"] == WORKERS


def test_program_that_is_never_the_same_is_nobodys_lie(cluster: Cluster) -> None:
    """X7: nobody is blamed for it; that copies differ is told where there were any."""
    ran = cluster.request("run", "input", "--mapper", "od -An -N8 -tx8 /dev/urandom", "--reducer", "cat")
    assert ran.returncode == 0, ran.stderr.decode()
    assert len(ran.stdout.split()) >= 1
    assert cluster.ask("status")["failures"] == 0


def test_bytes_of_all_kinds_pass_through(cluster: Cluster) -> None:
    """X8: NUL, 0xFF, CR, invalid UTF-8; keys that are empty, and lines that are nothing but tabs."""
    for reducer in (None, "cat", "./raw.py"):
        words = () if reducer is None else ("--reducer", reducer)
        ran = cluster.request("run", "input", "--mapper", "./raw.py", *words)
        assert ran.returncode == 0, ran.stderr.decode()
        assert differ(ran.stdout, oracle([TEXT], "./raw.py", reducer, cluster.at)) == ""


@pytest.mark.skipif(
    not can("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "true"),
    reason="no PID namespace can be made here",
)
def test_program_does_not_reach_its_worker(cluster: Cluster) -> None:
    """X9: neither by looking for it nor as its parent."""
    words = ("--env", f"FOLDER={cluster.folder}", "--reducer", KEYS)
    ran = cluster.request("run", "input", "--mapper", "./murderer.sh", *words)
    assert ran.returncode == 0, ran.stderr.decode()
    assert differ(ran.stdout, oracle([TEXT], "cat", KEYS)) == ""
    assert all(each.is_alive for each in cluster.workers)


# Programs that are odd files


def test_program_that_is_a_link_is_what_it_leads_to(cluster: Cluster) -> None:
    """X10: its bytes travel; a link to nothing is on no worker either."""
    (cluster.at / "link.py").symlink_to("raw.py")
    ran = cluster.request("run", "short", "--mapper", "./link.py")
    assert differ(ran.stdout, oracle([b"a line\n"], "./raw.py", None, cluster.at)) == ""
    (cluster.at / "dangling").symlink_to("nowhere")
    assert "dangling is not on this machine" in fail(cluster, "./dangling")


def test_program_that_is_no_file_is_refused(cluster: Cluster) -> None:
    """X10: as it is submitted; nobody waits for what a pipe might bring."""
    os.mkfifo(cluster.at / "pipe")
    before = len(cluster.ask("list"))
    assert fail(cluster, "./pipe") == "./pipe is a pipe, not a program"
    assert fail(cluster, "/dev/zero") == "/dev/zero is a device, not a program"
    assert fail(cluster, "cat", "--file", "pipe") == "--file pipe: it is a pipe, not a file"
    assert len(cluster.ask("list")) == before


def test_program_is_what_it_was_when_it_was_submitted(tmp_path: Path) -> None:
    """X10: it is replaced, and another vanishes, before any worker is there."""
    with running(tmp_path / "it", 0) as late:
        write_programs(late.at)
        wanted = oracle([TEXT], "./raw.py", None, late.at)
        (late.at / "gone.py").write_bytes((late.at / "raw.py").read_bytes())
        (late.at / "gone.py").chmod(0o755)
        found = []
        for name in ("raw.py", "gone.py"):
            ran = late.request("run", "input", "--mapper", f"./{name}", "--detach")
            found.append(ran.stdout.decode().strip())
        (late.at / "raw.py").write_text("#!/bin/sh\nexit 9\n")
        (late.at / "gone.py").unlink()
        late.start_workers(1)
        for each in found:
            assert late.request("wait", each).returncode == 0
            assert differ(late.request("answer", each).stdout, wanted) == ""


def test_huge_program_costs_no_memory(cluster: Cluster, full: bool) -> None:
    """X10: mostly a hole; it travels once, cannot be run, and is gone with its request."""
    huge = cluster.at / "huge"
    with open(huge, "wb") as file:
        file.write(HEADER_OF_AARCH64)
        file.truncate(2 << 30 if full else 96 << 20)
    huge.chmod(0o755)
    limited = ["prlimit", f"--data={80 << 20}"] if can("prlimit", "--version") else []
    with grows_no_more_than(48 << 20, cluster.server, *cluster.workers):
        words = ("run", "short", "--quiet", "--mapper", "./huge")
        ran = cluster.request(*words, prefix=limited, seconds=240)
    said = ran.stderr.decode()
    assert ran.returncode == 1, said
    assert "huge is a program for aarch64, this machine is" in said
    cluster.forget_all()
    spool = cluster.server.folder / "state/spool"
    until(lambda: not [each for each in spool.rglob("*") if each.is_file()], what="an empty spool")
    huge.unlink()
