"""What users get wrong: one plain sentence, the right exit status, nothing left behind."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nursery
import pytest
from cluster import REQUEST, STARTUP, Cluster, Part, can, free_ports, is_one_sentence, running, until

from hagoop import commands

pytestmark = pytest.mark.slow

DONE, FAILED, USAGE, UNREACHABLE = 0, 1, 2, 3
NOBODY = "The request failed: no connected worker can run this: "
FOREVER = f"sleep 2{os.getpid():08}"
Ran = subprocess.CompletedProcess[bytes]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers and a server with an input root."""
    top = tmp_path_factory.mktemp("bad") / "it"
    roots = tmp_path_factory.mktemp("root")
    (roots / "inside").write_bytes(b"inside\n")
    (roots / "out").symlink_to("/etc/passwd")
    with running(top, 2, options=("--input-root", str(roots))) as made:
        yield made


@pytest.fixture
def cluster(shared: Cluster) -> Iterator[Cluster]:
    """The same with an empty folder but for a small input; at the end nothing else may be there."""
    shutil.rmtree(shared.at)
    shared.at.mkdir()
    (shared.at / "input").write_bytes(b"b\na\nc\n")
    yield shared
    assert not [each.name for each in shared.at.iterdir() if each.name.startswith(".")]
    assert list((shared.folder / "tmp").iterdir()) == []


def put(cluster: Cluster, name: str, data: bytes, mode: int = 0o755) -> None:
    (cluster.at / name).write_bytes(data)
    (cluster.at / name).chmod(mode)


def said(ran: Ran, status: int) -> str:
    """The one sentence on stderr; nothing is on stdout."""
    assert ran.stdout == b""
    assert ran.returncode == status, ran.stderr.decode()
    assert is_one_sentence(ran.stderr), ran.stderr.decode()
    return ran.stderr.decode().strip()


def run(cluster: Cluster, *words: object, status: int = FAILED, mapper: str = "cat") -> str:
    """Run a request that must fail; what is said, progress aside."""
    return said(cluster.request("run", "--quiet", "--mapper", mapper, *words), status)


# Inputs


def test_unknown_input(cluster: Cluster) -> None:
    """A name that is not there."""
    assert run(cluster, "nowhere") == "'nowhere' does not exist"
    assert run(cluster, "input/inner") == "'input/inner' does not exist"


def test_inputs_that_are_no_files(cluster: Cluster) -> None:
    """A pipe, a device, a link to nothing, a folder that holds itself."""
    os.mkfifo(cluster.at / "pipe")
    (cluster.at / "link").symlink_to("nothing")
    (cluster.at / "loop").mkdir()
    (cluster.at / "loop/inner").symlink_to("../loop")
    told = "is a pipe, not a file; use - and stdin for what a program prints"
    assert run(cluster, "pipe") == f"'pipe' {told}"
    assert run(cluster, "/dev/null").startswith("'/dev/null' is a device, not a file")
    assert run(cluster, "link") == "'link' is a link to nothing"
    assert run(cluster, "loop") == "'loop/inner' is a link to a folder that it is in; remove the link"


@pytest.mark.skipif(not can("setpriv", "--version"), reason="there is no setpriv")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user who may not read")
def test_unreadable_input(cluster: Cluster) -> None:
    """A file and a folder of somebody else."""
    put(cluster, "secret", b"x\n", 0o600)
    (cluster.at / "closed").mkdir(mode=0o700)
    for name in ("secret", "closed"):
        words = ["setpriv", "--reuid=65534", "--clear-groups"]
        ran = cluster.request("run", str(cluster.at / name), "--mapper", "cat", prefix=words)
        if b"ModuleNotFoundError" in ran.stderr or b"Permission denied: '" in ran.stderr:
            pytest.skip("another user cannot read this Python, or the folders of these tests")
        assert said(ran, FAILED).endswith(f"{name}' cannot be read: permission denied")


def test_paths_on_the_server(cluster: Cluster) -> None:
    """``server:PATH`` stays below the roots, whatever links and dots say."""
    ran = cluster.request("run", "server:inside", "--mapper", "cat")
    assert (ran.returncode, ran.stdout) == (DONE, b"inside\n")
    for path in ("../at/input", "/etc/passwd", "out"):
        assert run(cluster, f"server:{path}").startswith(
            f"'server:{path}' is outside every --input-root ("
        )
    assert run(cluster, "server:nowhere") == "'server:nowhere' does not exist"


# Programs


def test_missing_program(cluster: Cluster) -> None:
    """Neither here nor on a worker; all workers are named."""
    told = run(cluster, "input", mapper="nosuchprogram --x")
    assert told.startswith(f"{NOBODY}nosuchprogram is not on this machine (worker-")
    assert "worker-1" in told
    assert "worker-2" in told
    told = run(cluster, "input", mapper="cat | nosuchprogram")
    assert "nosuchprogram is not on this machine" in told


def test_program_that_is_not_executable(cluster: Cluster) -> None:
    """The sentence has the command that works."""
    put(cluster, "map.py", b"import sys\nsys.stdout.write(sys.stdin.read())\n", 0o644)
    assert run(cluster, "input", mapper="./map.py") == (
        "./map.py is not executable; try --mapper 'python3 ./map.py'"
    )
    ran = cluster.request("run", "input", "--mapper", "python3 ./map.py")
    assert (ran.returncode, ran.stdout) == (DONE, b"b\na\nc\n")
    put(cluster, "thing", b"x", 0o644)
    assert run(cluster, "input", mapper="./thing") == "./thing is not executable; try chmod +x ./thing"


def test_program_for_another_machine(cluster: Cluster) -> None:
    """An ELF header of aarch64, or of x86-64 where that is the other."""
    machine = 62 if os.uname().machine == "aarch64" else 183
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00" + bytes([machine, 0]) + bytes(44)
    put(cluster, "foreign", head)
    name = {62: "x86_64", 183: "aarch64"}[machine]
    told = run(cluster, "input", mapper="./foreign")
    assert f": foreign is a program for {name}, this machine is {os.uname().machine}" in told


def test_script_with_crlf(cluster: Cluster) -> None:
    """The first line ends in CR LF."""
    put(cluster, "map.sh", b"#!/bin/sh\r\ncat\r\n")
    assert run(cluster, "input", mapper="./map.sh") == (
        "/bin/sh\\r: the first line ends in CR LF; convert the file"
    )


def test_script_without_its_interpreter(cluster: Cluster) -> None:
    """The interpreter is on no worker."""
    put(cluster, "map.x", b"#!/usr/bin/nosuchlanguage\n")
    told = run(cluster, "input", mapper="./map.x")
    assert ": map.x wants /usr/bin/nosuchlanguage, which is not on this machine" in told


def test_failing_program(cluster: Cluster) -> None:
    """File, lines, status and its last words."""
    told = run(cluster, "input", mapper="echo 'it is no use' >&2; exit 3")
    assert told.startswith("The request failed: the mapper failed ")
    # Two workers: which line was tried often enough first, is chance.
    place = r"on input, (lines 1-2|lines 1-3|lines 2-3|line [123])"
    assert re.search(f"{place}: it ended with exit status 3; it said: it is no use$", told), told
    told = run(cluster, "input", "--reducer", "cat; exit 7")
    assert told.startswith("The request failed: the reducer failed ")
    assert "it ended with exit status 7" in told


def test_silent_failure_has_a_hint(cluster: Cluster) -> None:
    """``grep`` that finds nothing: the hint works."""
    told = run(cluster, "input", mapper="grep nothing")
    assert told.endswith("; grep, diff and cmp do so when nothing matched: --ok-status 0,1")
    ran = cluster.request("run", "input", "--mapper", "grep nothing", "--ok-status", "0,1")
    assert (ran.returncode, ran.stdout, ran.stderr) == (DONE, b"", b"")


def test_killed_program(cluster: Cluster) -> None:
    """A signal by its name."""
    assert "it was killed by signal 11 (SIGSEGV)" in run(cluster, "input", mapper="kill -SEGV $$")


def test_program_fails_at_one_line(cluster: Cluster) -> None:
    """The lines of the sentence hold the one that it cannot take; so often as ``--attempts`` says."""
    put(cluster, "numbers", b"".join(b"%d\n" % each for each in range(1, 3001)))
    mapper = "awk '$1 == 1234 { exit 9 } { print }'"
    told = run(cluster, "numbers", "--attempts", "2", "--output", "answer", mapper=mapper)
    assert told.startswith("The request failed: the mapper failed 2 times on numbers, line")
    first, _, last = told.partition("line")[2].lstrip("s ").partition(":")[0].partition("-")
    assert int(first) <= 1234 <= int(last or first)
    assert told.endswith("it ended with exit status 9")


def test_program_that_reads_nothing(cluster: Cluster) -> None:
    """It has not failed."""
    put(cluster, "much", b"line\n" * 200_000)
    ran = cluster.request("run", "much", "--mapper", "true", "--reducer", "true")
    assert (ran.returncode, ran.stdout, ran.stderr) == (DONE, b"", b"")


def test_program_that_prints_for_ever(tmp_path: Path) -> None:
    """``yes`` meets the bound, here that of its worker's owner."""
    with running(tmp_path / "it", 0) as bounded:
        (bounded.at / "input").write_bytes(b"a\n")
        bounded.start_workers(1, "--disk", "2M")
        assert "it printed more than 1 MiB in one run" in run(bounded, "input", mapper="yes")


def test_program_that_never_ends(cluster: Cluster) -> None:
    """``--timeout`` ends it, and all that it has started."""
    told = run(
        cluster, "input", "--timeout", "2", "--attempts", "1", mapper=f"{FOREVER}.1 & {FOREVER}.2"
    )
    assert told.startswith("The request failed: the mapper failed once on input, line")
    assert "it took and printed nothing for 2 s" in told
    until(lambda: not sleepers(), 10, "the end of what the program started")


def sleepers() -> list[str]:
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [each for each in found.stdout.splitlines() if each.startswith(FOREVER)]


def test_missing_file_to_ship(cluster: Cluster) -> None:
    """``--file`` of what is not there."""
    assert run(cluster, "input", "--file", "nowhere") == "--file nowhere: there is no such file"


def test_program_on_some_workers(tmp_path: Path) -> None:
    """Who lacks it is not blamed, others do the work; when they are gone, who is left is named."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "shout").write_text("#!/bin/sh\nexec tr a-z A-Z\n")
    (tools / "shout").chmod(0o755)
    with running(tmp_path / "it", 1) as cluster:
        having = cluster.add_worker()
        cluster.await_workers()
        having.term()
        having.wait()
        having.env = {**having.env, "PATH": f"{tools}:{having.env['PATH']}"}
        having.start()
        until(lambda: having.said("joined ") == 2)
        (cluster.at / "input").write_bytes(b"a\n" * 1000)
        ran = cluster.request("run", "input", "--mapper", "shout")
        assert (ran.returncode, ran.stdout, ran.stderr) == (DONE, b"A\n" * 1000, b"")
        assert cluster.ask("status")["failures"] == 0
        having.term()
        having.wait()
        assert run(cluster, "input", mapper="shout") == (
            f"{NOBODY}shout is not on this machine (worker-1)"
        )


# Answers


def test_answer_exists(cluster: Cluster) -> None:
    """Refused before anything is submitted; ``--force`` replaces it, and only by a whole answer."""
    put(cluster, "answer", b"precious")
    before = len(cluster.ask("list"))
    told = "'answer' exists; choose another --output, or add --force"
    assert run(cluster, "input", "--output", "answer") == told
    assert len(cluster.ask("list")) == before
    told = run(cluster, "input", "--output", "answer", "--force", mapper="exit 5")
    assert "exit status 5" in told
    assert (cluster.at / "answer").read_bytes() == b"precious"
    ran = cluster.request("run", "input", "--mapper", "cat", "--output", "answer", "--force")
    assert ran.returncode == DONE
    assert (cluster.at / "answer").read_bytes() == b"b\na\nc\n"


def test_answer_without_a_place(cluster: Cluster) -> None:
    """A folder that is missing, one that is a file, an answer that is a folder."""
    there = cluster.at
    told = run(cluster, "input", "--output", "no/answer")
    assert told == f"'no/answer' cannot be written: '{there}/no' is not a folder"
    told = run(cluster, "input", "--output", "input/answer")
    assert told == f"'input/answer' cannot be written: '{there}/input' is not a folder"
    (there / "folder").mkdir()
    assert "'folder' exists" in run(cluster, "input", "--output", "folder")
    told = run(cluster, "input", "--output", "folder", "--force")
    assert told == "'folder' is a folder; write 'folder/' for a folder of parts"


def test_no_answer_after_a_failure(cluster: Cluster) -> None:
    """No file, no part of one, no folder; and ``answer`` says why there is none."""
    for name in ("answer", "parts/"):
        run(cluster, "input", "--output", name, mapper="exit 5")
        assert not (cluster.at / name).exists()
    told = said(cluster.request("answer"), FAILED)
    assert told.startswith("The request failed: the mapper failed ")


def test_unknown_request(cluster: Cluster) -> None:
    """What to do to find the right one."""
    told = "there is no request 'r9999'; hagoop-request list shows all"
    for command in ("status", "answer", "forget"):
        assert said(cluster.request(command, "r9999"), FAILED) == told


# Servers


def test_no_server(cluster: Cluster) -> None:
    """How to get one; only ``run`` has ``--local``."""
    [port] = free_ports(1)
    name = f"No server at 127.0.0.1:{port}. Name one (--server HOST), start one (twistd hagoop-server)"
    ran = cluster.request("run", "input", "--mapper", "cat", "--server", f"127.0.0.1:{port}")
    assert said(ran, UNREACHABLE) == f"{name}, or run it here: --local"
    for command in ("list", "answer"):
        assert said(cluster.request(command, "--server", f"127.0.0.1:{port}"), UNREACHABLE) == name


def test_web_port_instead_of_commands(cluster: Cluster, tmp_path: Path) -> None:
    """Client and worker are told where commands are."""
    told = f"127.0.0.1:{cluster.web} is HaGoop's web port; commands are on {cluster.commands}"
    for words in (("list",), ("run", "input", "--mapper", "cat")):
        ran = cluster.request(*words, "--server", f"127.0.0.1:{cluster.web}")
        assert said(ran, UNREACHABLE) == told
    with lost_worker(cluster, tmp_path, cluster.web) as worker:
        until(lambda: worker.said(told))


class lost_worker:
    """A worker that is sent to some port; it ends without a traceback."""

    def __init__(self, cluster: Cluster, folder: Path, port: int) -> None:
        start = "from hagoop.worker_tap import main; main()"
        words = [sys.executable, "-c", start, "-n", "--pidfile=", "--state", str(folder / "state")]
        self.part = Part(folder, [*words, "--server", f"127.0.0.1:{port}", "--slots", "1"], cluster.env)

    def __enter__(self) -> Part:
        self.part.start()
        return self.part

    def __exit__(self, *_: object) -> None:
        self.part.term()
        self.part.wait()
        assert not self.part.said("Traceback")


class Listener:
    """Accepts connections and gives each the same answer."""

    def __init__(self, answer: bytes) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._answer = answer
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            # It may hang up at once.
            with peer, contextlib.suppress(OSError):
                peer.recv(65536)
                peer.sendall(self._answer)
                peer.recv(65536)

    def __enter__(self) -> "Listener":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)


def box(values: dict[bytes, bytes]) -> bytes:
    """An AMP box."""
    parts = [part for pair in values.items() for part in pair]
    return b"".join(len(each).to_bytes(2, "big") + each for each in parts) + b"\0\0"


NEWER = b"the server speaks version 99 of the protocol, this peer 1; install the same hagoop on both"


def test_newer_server(cluster: Cluster, tmp_path: Path) -> None:
    """Client and worker repeat what it says of versions."""
    values = {b"_error": b"1", b"_error_code": b"VERSION_MISMATCH", b"_error_description": NEWER}
    with Listener(box(values)) as newer:
        ran = cluster.request("list", "--server", f"127.0.0.1:{newer.port}")
        assert said(ran, UNREACHABLE) == NEWER.decode()
        with lost_worker(cluster, tmp_path, newer.port) as worker:
            until(lambda: worker.said(NEWER.decode()))


def test_newer_client(cluster: Cluster) -> None:
    """The server says which version it speaks, and goes on."""
    values = {b"_ask": b"1", b"_command": b"Join", b"version": b"99", b"role": b"client", b"slots": b"0"}
    values |= dict.fromkeys((b"identity", b"process", b"name"), b"") | {b"held": b"[]"}
    with socket.create_connection(("127.0.0.1", cluster.commands), 10) as peer:
        peer.sendall(box(values))
        answer = peer.recv(65536)
    version = commands.PROTOCOL_VERSION
    assert b"VERSION_MISMATCH" in answer
    assert b"the server speaks version %d of the protocol, this peer 99" % version in answer
    assert len(cluster.ask("workers")) == 2


ANSWERS = [b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.0 400 no\r\n\r\n", b"\0", b""]


def test_strangers_instead_of_a_server(cluster: Cluster) -> None:
    """Whatever listens there, it is no HaGoop; who says nothing more is given up, here all at a time."""
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(len(ANSWERS)) as at_a_time:
        listeners = [stack.enter_context(Listener(each)) for each in ANSWERS]
        places = [f"127.0.0.1:{each.port}" for each in listeners]
        asked = list(at_a_time.map(lambda place: cluster.request("list", "--server", place), places))
    for answer, place, ran in zip(ANSWERS, places, asked, strict=True):
        ours = (
            f"{place} does not answer as a HaGoop server; if it is one, it takes a line: "
            "hagoop-server invite client, there"
        )
        web = "127.0.0.1 answers as a web server, not as HaGoop; commands are on 9470"
        assert said(ran, UNREACHABLE) == (web if answer.startswith(b"HTTP") else ours)


# Usage


USAGES = [
    (
        ["books", "--mapper", "cat"],
        "'books' is not a command; did you mean: hagoop-request run books ...",
    ),
    (["run"], "run needs an INPUT"),
    (["run", "", "--mapper", "cat"], "an INPUT is empty: perhaps a variable of the shell is not set"),
    (["run", "input"], "run needs a --mapper or a --reducer"),
    (["run", "input", "--mapper", "cat", "--combiner", "cat"], "--combiner needs a --reducer"),
    (["run", "input", "--mapper", "cat", "--attempts", "0"], "--attempts 0: it must be a number"),
    (["run", "input", "--mapper", "cat", "--timeout", "soon"], "--timeout soon: it must be a number"),
    (["run", "input", "--mapper", "cat", "--ok-status", "x"], "--ok-status x: it must be numbers"),
    (["run", "input", "--mapper", "cat", "--env", "1=2"], "--env 1=2: it is not of the form NAME=VALUE"),
    (["run", "input", "--mapper", "cat", "--workers", "2"], "--workers needs --local"),
    (["run", "input", "--mapper", "cat", "--local", "--detach"], "--detach needs a server that stays"),
    (["run", "-", "-", "--mapper", "cat"], "stdin can be read only once"),
    (["run", "input", "--mapper", "cat", "--nonsense"], "option --nonsense not recognized"),
    (["run", "input", "--mapper"], "--mapper needs a value"),
    (["status", "r1", "r2"], "'r2' is one word too many"),
    (["list", "r1"], "'r1' is one word too many"),
    (["list", "--server", "a:b:c:d"], "--server a:b:c:d: "),
    ([], "hagoop-request needs a command"),
]


@pytest.mark.parametrize(("words", "told"), USAGES, ids=lambda value: " ".join(value)[:40])
def test_usage(tmp_path: Path, words: list[str], told: str) -> None:
    """Exit status 2 and a sentence, nothing else."""
    env = {**STARTUP, "PATH": os.environ["PATH"]}
    ran = nursery.run([*REQUEST, *words], cwd=tmp_path, env=env, seconds=30)
    assert said(ran, USAGE).startswith(told)
    assert list(tmp_path.iterdir()) == []


# Full disks


def mounted(folder: Path, size: str) -> bool:
    folder.mkdir(parents=True)
    return can("mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "none", str(folder))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 4 MiB."""
    place = tmp_path / "small"
    if os.geteuid() != 0 or not mounted(place, "4m"):
        pytest.skip("only root can mount a small disk")
    yield place
    assert can("umount", str(place))


TEXT = b"".join(
    b"%d\tsome words that fill a disk\n" % (each * 7919 % 100_003) for each in range(100_003)
)


def test_full_disk_of_a_server(tmp_path: Path, small_disk: Path) -> None:
    """What does not fit is refused, or waits until there is room; then the server works as before."""
    with running(tmp_path / "it", 1, options=("--state", str(small_disk / "state"))) as cluster:
        (cluster.at / "input").write_bytes(TEXT)
        ran = cluster.request("run", "-", "--mapper", "cat", stdin=TEXT * 3)
        told = said(ran, FAILED)
        assert "spool" in told or "disk is full" in told
        assert cluster.ask("list") == []
        ran = cluster.request("run", "-", "--mapper", "cat", stdin=b"small\n")
        assert (ran.returncode, ran.stdout) == (DONE, b"small\n")


def test_full_disk_of_a_worker(tmp_path: Path, small_disk: Path) -> None:
    """It is unfit for what does not fit; another worker does it; alone it is named."""
    with running(tmp_path / "it", 0) as cluster:
        cluster.add_worker("--state", str(small_disk / "state"))
        cluster.await_workers()
        (cluster.at / "input").write_bytes(TEXT)
        told = run(cluster, "input", "--reducer", "cat", mapper="sed p; head -c 9000000 /dev/zero")
        assert told == (f"{NOBODY}no room left on this worker's disk (worker-1)")
        cluster.start_workers(1)
        ran = cluster.request("run", "input", "--mapper", "cat", "--reducer", "uniq | wc -l")
        assert ran.returncode == DONE, ran.stderr.decode()
