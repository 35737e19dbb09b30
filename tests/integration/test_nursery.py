"""A process of the nursery is as one that was started by its command line, in all that tests look at."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import nursery
import pytest
from cluster import REQUEST, Cluster, until
from nursery import PROGRAM, SOURCE, STARTUP, Process

from hagoop.door.join_string import JoinString

ENV = {**STARTUP, "PATH": os.environ["PATH"], "TZ": "Asia/Kathmandu", "ODD": "\udcff"}
PROBE = """
import gc, json, locale, os, resource, signal, sys, time, threading, warnings
at_first = [each for each in ("twisted.internet.reactor", "nursery_program") if each in sys.modules]
names = "stdin", "stdout", "stderr"
def look_at(stream):
    return [stream.name, stream.mode, stream.encoding, stream.errors, stream.newlines,
            stream.line_buffering, stream.isatty(), stream.seekable(), stream.fileno()]
print(json.dumps({
    "argv": sys.argv, "orig_argv": sys.orig_argv, "executable": sys.executable, "path": sys.path,
    "flags": repr(sys.flags), "warnoptions": sys.warnoptions, "loaded at first": at_first,
    "filters": [repr(each) for each in warnings.filters],
    "name": __name__, "main": vars(sys.modules["__main__"]) is globals(), "package": __package__,
    "environment": dict(os.environ), "folder": os.getcwd(), "zone": time.tzname,
    "descriptors": os.listdir("/proc/self/fd"), "umask": os.umask(0), "nice": os.nice(0),
    "links": [os.readlink(f"/proc/self/fd/{each}") for each in (0, 1, 2)],
    "streams": [look_at(getattr(sys, each)) for each in names],
    "originals": [getattr(sys, f"__{each}__") is getattr(sys, each) for each in names],
    "limits": [resource.getrlimit(each) for each in range(16)],
    "signals": [str(signal.getsignal(each)) for each in range(1, 65) if each not in (32, 33)],
    "mask": [int(each) for each in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
    "leads": [os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid()],
    "threads": threading.active_count(), "gc": [gc.isenabled(), *gc.get_threshold()],
    "locale": locale.setlocale(locale.LC_ALL), "recursion": sys.getrecursionlimit(),
    "switch": sys.getswitchinterval(), "hooks": [sys.excepthook is sys.__excepthook__, sys.gettrace()],
    "stdin": sys.stdin.read(),
}), flush=True)
"""
MORTAL = """
import signal, time
# Who started the tests may have had these ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
print("there", flush=True)
time.sleep(100)
"""
Start = Callable[..., Process]


def bear(words: list[str], **details: object) -> Process:
    """Start it, and not by the way that there is for other words."""
    born = nursery.start(words, **details)  # type: ignore[arg-type]
    assert isinstance(born, nursery.Child)
    return born


def execute(words: list[str], **details: object) -> Process:
    """Start it as everybody does."""
    return subprocess.Popen(words, **details)  # type: ignore[call-overload, no-any-return]


pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="no nursery here")
either = pytest.mark.parametrize("start", [bear, execute])


def python(code: str, *words: str) -> list[str]:
    """An interpreter that runs this."""
    return [sys.executable, "-c", code, *words]


def look(start: Start, folder: Path, words: list[str], session: bool) -> object:
    """What a process sees of itself."""
    (folder / "given").write_text("gr\u00fc\u00df\udcff\r\ndich", errors="surrogateescape")
    with (
        open(folder / "given", "rb") as given,
        open(folder / "out", "wb") as out,
        open(folder / "log", "ab") as log,
    ):
        streams = {"stdin": given, "stdout": out, "stderr": log}
        started = start(words, cwd=folder, env=ENV, start_new_session=session, **streams)
    with started:
        assert started.wait(30) == 0, (folder / "log").read_text()
    return json.loads((folder / "out").read_text())


@pytest.mark.parametrize("kind", ["-c", "-m"])
@pytest.mark.parametrize("session", [True, False])
def test_process_sees_no_difference(tmp_path: Path, kind: str, session: bool) -> None:
    """Words, environment, folder, streams, signals, limits, groups, descriptors, modules."""
    (tmp_path / "probe.py").write_text(PROBE)
    words = [sys.executable, kind, {"-c": PROBE, "-m": "probe"}[kind], "--a", "b c", "\udcff"]
    assert look(bear, tmp_path, words, session) == look(execute, tmp_path, words, session)


@either
@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        ("pass", 0, ""),
        ("import sys; sys.exit(7)", 7, ""),
        ("import sys; sys.exit('why')", 1, "why\n"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("import os; os._exit(3)", 3, ""),
        ("import os; os.abort()", -signal.SIGABRT, ""),
        ("import atexit, sys; atexit.register(print, 'end', file=sys.stderr)", 0, "end\n"),
        ("import threading, time; threading.Thread(target=lambda: 1 / 0).start()", 0, "by zero\n"),
        ("open('/dev/null')", 0, "ResourceWarning: unclosed file"),
    ],
)
def test_end(tmp_path: Path, start: Start, code: str, status: int, told: str) -> None:
    """Its status, and what it says in the end."""
    pipe = subprocess.PIPE
    with start(python(code), cwd=tmp_path, env=ENV, stdout=pipe, stderr=pipe) as ran:
        out, err = ran.communicate(timeout=30)
        assert (ran.returncode, out) == (status, b"")
    assert err is not None
    assert told in err.decode()
    assert bool(err) == bool(told)


@either
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_signal_ends_it(tmp_path: Path, start: Start, number: signal.Signals) -> None:
    """Whichever; it is told to the one who waits, and alone he is told."""
    with start(python(MORTAL), cwd=tmp_path, env=ENV, stdout=subprocess.PIPE) as ran:
        assert ran.stdout is not None
        assert ran.stdout.readline() == b"there\n"
        assert ran.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            ran.wait(0.01)
        with pytest.raises(subprocess.TimeoutExpired):
            ran.communicate(timeout=0.01)
        ran.send_signal(number)
        assert ran.wait(30) == ran.poll() == ran.returncode == -number
        # Its number may be another's by now.
        ran.kill()


def test_two_may_wait_for_one(tmp_path: Path) -> None:
    """Whoever comes second is told the same."""
    ran = bear(python("import sys; sys.stdin.read()"), cwd=tmp_path, env=ENV)
    told: list[int] = []
    waiting = [threading.Thread(target=lambda: told.append(ran.wait(30))) for _ in range(4)]
    for each in waiting:
        each.start()
    for each in waiting:
        each.join()
    assert told == [0] * 4


def test_run_gives_and_takes_more_than_a_pipe_holds(tmp_path: Path) -> None:
    """And is no longer than a bound."""
    data = bytes(range(256)) * 4096
    echo = python("import sys, shutil; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)")
    ran = nursery.run(echo, cwd=tmp_path, env=ENV, stdin=data, seconds=30)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, data, b"")
    ran = nursery.run(python("pass"), cwd=tmp_path, env=ENV, stdin=data, seconds=30)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
    with pytest.raises(subprocess.TimeoutExpired):
        nursery.run(python("import time; time.sleep(100)"), cwd=tmp_path, env=ENV, seconds=0.01)


@pytest.mark.parametrize(
    ("words", "env"),
    [
        (["env", *python("pass")], {}),
        (python("pass", "x" * (1 << 16)), {}),
        ([sys.executable, "--version"], {}),
        (python("pass"), {"PYTHONHASHSEED": "0"}),
        (python("pass"), {"LC_ALL": "C"}),
        (python("pass"), {"LD_PRELOAD": ""}),
    ],
    ids=["a prefix", "long", "no code", "seed", "locale", "preload"],
)
def test_what_an_interpreter_reads_at_its_start_starts_one(
    tmp_path: Path, words: list[str], env: dict[str, str]
) -> None:
    """Nobody who is forked could still heed it."""
    with nursery.start(words, cwd=tmp_path, env=ENV | env) as started:
        assert isinstance(started, subprocess.Popen)
        assert started.wait(30) == 0


def test_children_end_with_who_made_the_nursery(tmp_path: Path) -> None:
    """Though that is killed and cannot end them."""
    code = f"""
import sys, os, time
sys.path.insert(0, {str(PROGRAM.parent)!r})
import nursery
words = [sys.executable, "-c", "import time; time.sleep(100)"]
print(nursery.start(words, cwd={str(tmp_path)!r}, env=dict(nursery.STARTUP)).pid, flush=True)
time.sleep(100)
"""
    with subprocess.Popen(python(code), env=ENV, stdout=subprocess.PIPE) as maker:
        assert maker.stdout is not None
        born = Path("/proc") / maker.stdout.readline().decode().strip()
        assert os.readlink(born / "cwd") == str(tmp_path)
        maker.kill()
    until(lambda: not born.exists() or not (born / "cmdline").read_bytes(), what="the child's end")


def test_words_that_nobody_may_read_are_hidden(tmp_path: Path) -> None:
    """A client begins again without its line, which ``sys.orig_argv`` had."""
    line = str(JoinString("127.0.0.1", 1, "x" * 43, "c1", "s" * 43))
    code = f"""
import os, sys
from pathlib import Path
from hagoop.door.hiding import hide_line
hide_line(sys.orig_argv, os.environ)
words = Path("/proc/self/cmdline").read_text()
print(sys.argv, os.environ["HAGOOP_SERVER"] == {line!r}, {line!r} in words)
"""
    # In a file, or the code would have the line among the words that are looked at.
    (tmp_path / "hides.py").write_text(code)
    words = [sys.executable, "-m", "hides", "--x", "--server", line, "y"]
    pipe = subprocess.PIPE
    with bear(words, cwd=tmp_path, env=ENV, stdout=pipe, stderr=pipe) as ran:
        out, err = ran.communicate(timeout=30)
    assert (out, err) == (f"{[str(tmp_path / 'hides.py'), '--x', 'y']} True False\n".encode(), b"")


def test_deferred_imports_come_from_where_they_would(tmp_path: Path) -> None:
    """The reactor is installed in the child, and a folder's own modules are found."""
    (tmp_path / "later.py").write_text("where = __file__\n")
    code = """
import later
from twisted.internet import reactor
print(later.where, type(reactor).__name__)
reactor.callLater(0, reactor.stop)
reactor.run()
"""
    for start in (bear, execute):
        with start(python(code), cwd=tmp_path, env=ENV, stdout=subprocess.PIPE) as ran:
            out, _ = ran.communicate(timeout=30)
        assert (ran.returncode, out) == (0, f"{tmp_path}/later.py EPollReactor\n".encode())


def test_twistd_has_its_files(tmp_path: Path) -> None:
    """The number of the child is in its pid file, its log where it is told, and both in its folder."""
    made = Cluster(tmp_path / "it")
    made.server.words += ["--keep", "1h"]
    made.server.words.insert(4, "--logfile=own.log")
    folder = made.server.folder
    try:
        made.start_server()
        assert isinstance(made.server.process, nursery.Child)
        [pid_file] = folder.glob("*.pid")
        assert int(pid_file.read_text()) == made.server.process.pid
        assert "Starting factory" in (folder / "own.log").read_text()
        assert stat.S_IMODE((folder / "state").stat().st_mode) == 0o700
        assert made.ask("list") == []
    finally:
        made.end()


@pytest.mark.parametrize(
    "words",
    [
        python("from hagoop.server_tap import main; main()", "--help"),
        python("from hagoop.worker_tap import main; main()", "--help"),
        [*REQUEST, "--help"],
        [sys.executable, "-m", "hagoop.demo.unruly", "--help"],
    ],
    ids=["server", "worker", "request", "unruly"],
)
def test_each_way_in_loads_all_that_it_needs(tmp_path: Path, words: list[str]) -> None:
    """In the nursery another may have loaded it: here it says the same by itself."""
    pipe = subprocess.PIPE
    said = []
    for start in (bear, execute):
        with start(words, cwd=tmp_path, env=ENV, stdout=pipe, stderr=pipe) as ran:
            said.append((ran.communicate(timeout=30), ran.returncode))
    assert said[0] == said[1]
    assert said[0][1] == 0


def test_nothing_of_the_tests_is_loaded(tmp_path: Path) -> None:
    """What a child can import, users can."""
    code = "import sys; print([each for each in sys.path if 'tests' in each])"
    ran = nursery.run(python(code), cwd=tmp_path, env=ENV, seconds=30)
    assert ran.stdout == b"[]\n", SOURCE
