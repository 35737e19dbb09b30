"""Real programs, run and watched."""

import contextlib
import errno
import os
import signal
import sys
from pathlib import Path

import pytest
from attrs import evolve

from hagoop import process
from hagoop.containers import find_container
from hagoop.errors import (
    JobError,
    OutOfBounds,
    OutputTooLarge,
    ProgramFailed,
    ProgramHung,
    TransferFailed,
    WorkerUnfit,
)
from hagoop.feeding import Feed
from hagoop.jobs import Counter
from hagoop.process import Running, launch
from hagoop.verdicts import Exit, Run, verdict

ENV = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}


@pytest.fixture
def run(tmp_path):
    """A run of a shell command over lines, with short limits."""
    (tmp_path / "folder").mkdir()

    def make(command: str, data: bytes | None = None, **changes: object) -> Run:
        feed = None
        if data is not None:
            (tmp_path / "in").write_bytes(data)
            feed = Feed(tmp_path / "in", 0, len(data))
        argv = ("/bin/sh", "-c", command)
        plain = Run(argv, tmp_path / "folder", ENV, feed, tmp_path / "out", grace_seconds=0.3)
        return evolve(plain, **changes)

    return make


IN_ITS_STDIN = "while read -r line; do sleep 0.15; done"


def start(run: Run) -> Running:
    from twisted.internet import reactor

    return launch(reactor, run)


async def until(condition) -> None:
    """Turn by turn of the reactor; a test's own deadline ends what never comes."""
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    while not condition():
        await deferLater(reactor, 0.005)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


FOREVER = f"sleep 4{os.getpid():08}"
"""A program that ends with the tests at the latest, known by its words among all others."""


def processes_with(words: str) -> list[int]:
    """Processes whose command line holds these words."""
    mark = words.replace(" ", "\0").encode(), words.encode()
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (each / "cmdline").read_bytes()
            if any(word in line for word in mark):
                found.append(int(each.name))
    return found


async def failure(run: Run, kind: type[Exception]) -> Exception:
    with pytest.raises(kind) as caught:
        await start(run).ended
    assert type(caught.value) is kind
    return caught.value


async def test_program_maps_its_lines(run, tmp_path):
    """Input through a pipe, output in the file, both with their last newline."""
    ended = await start(run("cat; printf end", b"a\0b\r\n\n\xffc")).ended
    assert (tmp_path / "out").read_bytes() == b"a\0b\r\n\n\xffc\nend\n"
    assert (ended.status, ended.bytes_out, ended.log, ended.counters) == (0, 13, "", ())
    assert ended.seconds >= 0


async def test_part_of_a_file_is_fed(run, tmp_path):
    """From an offset to an end; taken tells how far."""
    whole = run("cat", b"one\ntwo\nthree\n")
    running = start(evolve(whole, stdin=Feed(tmp_path / "in", 4, 8)))
    await running.ended
    assert (tmp_path / "out").read_bytes() == b"two\n"
    assert (running.taken, running.bytes_out) == (4, 4)


async def test_much_passes_through_a_pipe(run, tmp_path):
    """More than pipes hold, in both directions, byte for byte."""
    data = os.urandom(5_000_000)
    await start(run("test -p /dev/stdin && cat", data)).ended
    assert (tmp_path / "out").read_bytes().removesuffix(b"\n") == data.removesuffix(b"\n")


@pytest.mark.parametrize("command", ["sleep 0.05; cat", "sleep 0.05; cat /dev/stdin"])
async def test_file_may_be_stdin_itself(run, tmp_path, command):
    """All of it is read, by whatever way; how far is told."""
    data = os.urandom(300_000) + b"\n"
    (tmp_path / "in").write_bytes(data)
    reads = Feed(tmp_path / "in", 0, len(data))
    running = start(run(f"test -f /dev/stdin && {command}", stdin=tmp_path / "in", reads=reads))
    assert running.taken == 0
    await running.ended
    assert (tmp_path / "out").read_bytes() == data
    assert running.taken <= len(data)


@pytest.mark.skipif(not Path("/proc/self/fdinfo").is_dir(), reason="nothing tells where a program reads")
@pytest.mark.parametrize("path", ["/dev/fd/0", "/dev/stdin"])
async def test_program_that_reads_stdin_as_a_file_slowly_is_not_hung(run, tmp_path, path):
    """Whether it takes it as it is or opens it again."""
    (tmp_path / "in").write_bytes(b"line\n" * 6)
    reads = Feed(tmp_path / "in", 0, 30)
    for slow in (f"exec 3< {path}; while read -r line <&3; do sleep 0.15; done", IN_ITS_STDIN):
        await start(run(slow, stdin=tmp_path / "in", reads=reads, timeout_seconds=0.5)).ended
    stuck = run("read -r line; sleep 60", stdin=tmp_path / "in", reads=reads, timeout_seconds=0.3)
    assert "it took and printed nothing" in str(await failure(stuck, ProgramHung))


async def test_how_far_stdin_has_been_read_is_seen_everywhere(run, tmp_path, monkeypatch):
    """Also where the system tells nothing of other processes' files."""
    monkeypatch.setattr(process, "place_in", lambda file, pid: 0)
    (tmp_path / "in").write_bytes(b"line\n" * 6)
    reads = Feed(tmp_path / "in", 0, 30)
    await start(run(IN_ITS_STDIN, stdin=tmp_path / "in", reads=reads, timeout_seconds=0.5)).ended


async def test_no_input_is_the_null_device(run):
    """A program without a feed reads nothing."""
    assert (await start(run("cat")).ended).bytes_out == 0


async def test_folder_and_environment_are_the_runs_own(run, tmp_path):
    """Nothing of the worker's environment is seen."""
    env = {**ENV, "GREETING": "h\udcffllo"}
    await start(run('pwd; printf \'%s\\n\' "$GREETING" "${HOME-none}"', env=env)).ended
    assert (tmp_path / "out").read_bytes() == os.fsencode(tmp_path / "folder") + b"\nh\xffllo\nnone\n"


async def test_program_that_reads_little_has_not_failed(run, tmp_path):
    """It may close its input, go on, and print."""
    await start(run("head -n 1; exec <&-; echo more", b"line\n" * 200_000)).ended
    assert (tmp_path / "out").read_bytes() == b"line\nmore\n"


async def test_stderr_is_log_and_reports(run):
    """Counters, status and the rest."""
    said = "echo hi; echo reporter:counter:a,b,2; echo reporter:status:s"
    ended = await start(run(f"({said}) >&2")).ended
    assert (ended.log, ended.counters, ended.status_text) == ("hi\n", (Counter("a", "b", 2),), "s")


async def test_exit_status_is_told(run):
    """With the end of what was said."""
    error = await failure(run("echo oh no >&2; exit 3"), ProgramFailed)
    assert str(error) == "it ended with exit status 3"
    assert (error.status, error.signal, error.stderr) == (3, None, b"oh no\n")


async def test_silent_status_one_gets_a_hint(run):
    """As grep gives it when nothing matched; not when it said anything."""
    error = await failure(run("grep nothing", b"a\n"), ProgramFailed)
    hint = "grep, diff and cmp do so when nothing matched: --ok-status 0,1"
    assert str(error) == f"it ended with exit status 1; {hint}"
    assert str(await failure(run("echo a; exit 1"), ProgramFailed)) == "it ended with exit status 1"
    assert str(await failure(run("echo a >&2; exit 1"), ProgramFailed)) == "it ended with exit status 1"


async def test_status_that_is_allowed_is_success(run):
    """Even those that mean a missing program otherwise."""
    assert (await start(run("exit 127", ok_status=(0, 127))).ended).status == 127


async def test_signal_is_named(run):
    """By number and name."""
    error = await failure(run("kill -SEGV $$"), ProgramFailed)
    assert str(error) == "it was killed by signal 11 (SIGSEGV)"
    assert (error.status, error.signal) == (None, 11)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("nosuch",), "nosuch is not on this machine"),
        (("./plain",), "plain is not executable"),
        (("./crlf",), "/usr/bin/python3\\r: the first line ends in CR LF; convert the file"),
        (("./envcrlf",), "/usr/bin/env python3\\r: the first line ends in CR LF; convert the file"),
        (("./lost",), "lost wants /usr/bin/nosuch, which is not on this machine"),
        (("./envlost",), "nosuch is not on this machine"),
        (("/bin/sh", "-c", "cat | nosuch"), "nosuch is not on this machine"),
        (("/bin/sh", "-c", "exec ./plain"), "plain is not executable"),
        (
            ("/bin/sh", "-c", "./crlf"),
            "/usr/bin/python3\\r: the first line ends in CR LF; convert the file",
        ),
        (("a=b",), "a=b is not on this machine"),
        (("cat", "a\0b"), "cat cannot be started on this machine: embedded null byte"),
    ],
)
async def test_missing_program_is_this_machines_lack(run, tmp_path, argv, said):
    """One sentence, taken from the real words of env and the shell."""
    texts = {
        "plain": "#!/bin/sh\n",
        "crlf": "#!/usr/bin/python3\r\n",
        "envcrlf": "#!/usr/bin/env python3\r\n",
        "lost": "#!/usr/bin/nosuch\n",
        "envlost": "#!/usr/bin/env nosuch\n",
    }
    for name, text in texts.items():
        (tmp_path / "folder" / name).write_bytes(text.encode())
        (tmp_path / "folder" / name).chmod(0o644 if name == "plain" else 0o755)
    assert str(await failure(run("", argv=argv), WorkerUnfit)) == said


@pytest.mark.skipif(sys.platform != "linux", reason="reads ELF")
@pytest.mark.parametrize("argv", [("./map",), ("/bin/sh", "-c", "./map")])
async def test_program_for_another_machine_is_told(run, tmp_path, argv):
    """Directly, where libc gives it to a shell, and from a shell."""
    head = bytearray(Path("/bin/cat").read_bytes())
    head[18:20] = (2, 0)
    (tmp_path / "folder" / "map").write_bytes(head)
    (tmp_path / "folder" / "map").chmod(0o755)
    error = await failure(run("", argv=argv), WorkerUnfit)
    assert str(error).startswith("map is a program for machine 2, this machine is ")


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
async def test_machine_that_can_start_nothing_just_now_is_not_unfit(run, monkeypatch, number):
    """Too many processes, whoever's they are: later it may run this program."""
    from twisted.internet import reactor

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(reactor, "spawnProcess", refuse)
    error = await failure(run("true"), JobError)
    assert str(error) == f"/bin/sh cannot be started on this machine: {os.strerror(number)}"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (f"Creating new namespace failed: {os.strerror(errno.EAGAIN)}", JobError),
        (
            "Can't bind mount /oldroot/ on /newroot/: Unable to apply mount flags: "
            f'remount "/newroot/run/netns/a": {os.strerror(errno.ENOENT)}',
            JobError,
        ),
        ("No permissions to create new namespace", WorkerUnfit),
        (f"Can't find source path /a: {os.strerror(errno.ENOENT)}", WorkerUnfit),
    ],
)
async def test_container_that_fails_for_a_moment_is_no_reason_to_be_unfit(run, said, kind):
    """Too many processes, or another's file system unmounted meanwhile; as bubblewrap says it."""
    name = find_container(os.environ["PATH"]).program or "bwrap"
    assert type(verdict(run("true"), Exit(1, None, 0, f"{name}: {said}\n"), name)) is kind


async def test_output_file_that_cannot_be_made(run, tmp_path):
    """Told by ``ended``, as all else."""
    error = await failure(run("true", stdout=tmp_path / "none" / "out"), WorkerUnfit)
    assert str(error) == "/bin/sh cannot be started on this machine: No such file or directory"


async def test_too_much_output_is_stopped(run):
    """By the signal, or, where a program ignores it, by the size."""
    said = "it printed more than 64 KiB in one run"
    for command in ("yes", "trap '' XFSZ; yes || sleep 60", "exec yes"):
        error = await failure(run(command, stdout_limit=65536, grace_seconds=0.1), OutputTooLarge)
        assert str(error) == said


async def test_output_at_the_limit_is_well(run):
    """The bound itself may be reached."""
    ended = await start(run("head -c 65536 /dev/zero | tr '\\0' '\\n'", stdout_limit=65536)).ended
    assert ended.bytes_out == 65536


async def test_other_file_too_large_is_told(run):
    """The bound holds for every file that it writes."""
    error = await failure(run("exec head -c 100000 /dev/zero > big", stdout_limit=65536), OutputTooLarge)
    assert str(error) == "it wrote a file of more than 64 KiB in one run"


async def test_hung_program_is_killed(run):
    """Even if it burns CPU and writes to stderr, even if it ignores TERM."""
    busy = "trap '' TERM; while :; do echo busy >&2; done"
    error = await failure(run(busy, b"a\n", timeout_seconds=0.2), ProgramHung)
    assert str(error) == "it took and printed nothing for 0.2 s"
    assert b"busy\n" in error.stderr
    assert b"bytes left out" in error.stderr


async def test_slow_program_is_not_hung(run):
    """Reading from the pipe is progress, even when the pipe has swallowed all."""
    slow = "while read -r line; do sleep 0.15; done"
    await start(run(slow, b"line\n" * 6, timeout_seconds=0.4)).ended


IN_A_CHILD = "(while read -r line; do sleep 0.15; done) < %s; exit 0"
BY_ITSELF = "exec 3< %s; while read -r line <&3; do sleep 0.15; done"


@pytest.mark.skipif(not Path("/proc/self/fdinfo").is_dir(), reason="nothing tells where a program reads")
@pytest.mark.parametrize("slow", [BY_ITSELF, IN_A_CHILD], ids=["itself", "child"])
async def test_program_that_reads_a_file_slowly_is_not_hung(run, tmp_path, slow):
    """Reading its lines of a file is progress, whoever of its processes does it."""
    (tmp_path / "file").write_bytes(b"line\n" * 6)
    reads = Feed(tmp_path / "file", 5, 25)
    running = start(run(slow % "../file", timeout_seconds=0.5, reads=reads))
    assert running.taken == 0
    await until(lambda: running.taken > 5)
    await running.ended
    assert 5 < running.taken <= 20


async def test_program_that_reads_its_file_no_more_is_hung(run, tmp_path):
    """It is killed like any other; so is one whose reading is not seen."""
    (tmp_path / "file").write_bytes(b"line\n")
    for name in ("file", "none"):
        reads = Feed(tmp_path / name, 0, 5)
        still = run("exec 3< ../file; read -r line <&3; sleep 60", timeout_seconds=0.3, reads=reads)
        error = await failure(still, ProgramHung)
        assert str(error) == "it took and printed nothing for 0.3 s"


async def test_printing_program_is_not_hung(run):
    """So is printing."""
    slow = "for i in 1 2 3 4 5 6; do sleep 0.15; echo $i; done"
    await start(run(slow, timeout_seconds=0.4)).ended


async def test_stop_takes_the_whole_tree(run):
    """Children in the background, of subshells, and those that ignore TERM."""
    child = f"sh -c 'while :; do {FOREVER}; done'"
    running = start(run(f"trap '' TERM; ({child} &); {child} & {child}"))
    await until(lambda: len(processes_with(FOREVER)) >= 6)
    gone = running.stop("the request was cancelled")
    with pytest.raises(JobError, match=r"^the request was cancelled$"):
        await running.ended
    await gone
    await until(lambda: not processes_with(FOREVER))
    await running.stop("again")


async def test_stop_at_once_after_the_start(run):
    """Before there is a session, the process itself is stopped."""
    for _ in range(20):
        running = start(run("sleep 60"))
        gone = running.stop("no")
        with pytest.raises(JobError, match=r"^no$"):
            await running.ended
        await gone
        assert not alive(running._pid)


async def test_program_may_end_within_the_grace(run, tmp_path):
    """TERM comes first, and what it prints then is kept nowhere but does no harm."""
    running = start(run("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done"))
    await until(lambda: running.bytes_out)
    gone = running.stop("enough")
    with pytest.raises(JobError, match=r"^enough$"):
        await running.ended
    await gone
    assert (tmp_path / "out").read_text() == "ready\nbye\n"


async def test_cancelling_ended_stops(run):
    """As a timeout of the caller would."""
    from twisted.internet.defer import CancelledError

    running = start(run("sleep 60"))
    running.ended.cancel()
    with pytest.raises(CancelledError):
        await running.ended
    await running.stop("again")
    assert not alive(running._pid)


async def test_background_children_do_not_survive_a_good_end(run):
    """And do not delay it, though they hold stderr."""
    ended = await start(run(f"{FOREVER} & true")).ended
    assert ended.seconds < 30
    await until(lambda: not processes_with(FOREVER))


async def test_child_of_another_session_delays_no_end(run):
    """Not even when it holds stderr for ever."""
    ended = await start(run(f"setsid {FOREVER} & true")).ended
    assert ended.seconds < 30
    for each in processes_with(FOREVER):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


async def test_shorter_input_is_nobodys_program_error(run, tmp_path):
    """The bytes that were to be fed are not there."""
    whole = run("cat", b"abc\n")
    error = await failure(evolve(whole, stdin=Feed(tmp_path / "in", 0, 100)), TransferFailed)
    assert str(error) == "its input cannot be read: the file has become shorter"


async def test_many_at_once_leave_nothing(run, tmp_path):
    """No descriptor and no process is left."""
    before = len(os.listdir("/proc/self/fd"))
    plain = run("cat; echo x >&2", b"a\n")
    running = [start(evolve(plain, stdout=tmp_path / f"out{number}")) for number in range(40)]
    for each in running:
        assert (await each.ended).bytes_out == 2
    await until(lambda: len(os.listdir("/proc/self/fd")) <= before)
    assert not any(alive(each._pid) for each in running)


async def test_program_that_multiplies_is_stopped(run):
    """Soon, and all of it."""
    bomb = f"while :; do {FOREVER} & sleep 0.002; done"
    error = await failure(run(bomb, most_processes=100), OutOfBounds)
    assert str(error) == "it started more than 100 processes"
    await until(lambda: not processes_with(FOREVER))


async def test_many_threads_are_one_process(run):
    """Only processes count."""
    thread = "t.Thread(target=t.Event().wait, args=(1,))"
    threads = f"import threading as t; [{thread}.start() for _ in range(99)]"
    run = evolve(run(""), argv=(sys.executable, "-c", threads), most_processes=20)
    await start(run).ended


async def test_memory_of_a_process_is_bounded(run):
    """By the system, before it has eaten what others need."""
    eater = "held = []\nwhile True: held.append(bytearray(b'x' * 1_000_000))"
    run = evolve(run(""), argv=(sys.executable, "-c", eater), memory_limit=200 << 20)
    error = await failure(run, OutOfBounds)
    assert str(error) == "it needs more memory than the 200 MiB that a worker gives it"


async def test_memory_of_all_processes_counts(run):
    """Each keeps within the bound, together they do not."""
    hold = f"{sys.executable} -c 'import time; held = b\"x\" * 90_000_000; time.sleep(60)'"
    error = await failure(run(f"{hold} & {hold} & {hold}", memory_limit=200 << 20), OutOfBounds)
    assert str(error) == "it needs more memory than the 200 MiB that a worker gives it"


async def test_folder_is_bounded(run):
    """However many files it takes."""
    filler = "n=0; while :; do n=$((n + 1)); head -c 100000 /dev/zero > file$n; sleep 0.02; done"
    error = await failure(run(filler, folder_limit=1_000_000), OutOfBounds)
    assert str(error) == "it stored more than the 977 KiB of disk that a worker gives it"


def test_verdict_needs_no_folder(run, tmp_path):
    """A worker that ends may have removed it."""
    gone = evolve(run("x"), stdout=tmp_path / "gone" / "out")
    assert isinstance(verdict(gone, Exit(3, None, 0, ""), ""), ProgramFailed)
