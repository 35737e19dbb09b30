"""``hagoop-server`` and ``hagoop-worker`` say in one sentence what they cannot do."""

import os
import socket
import sys
from configparser import ConfigParser
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest
from twisted.application.service import IServiceMaker
from twisted.plugin import IPlugin
from twisted.python.usage import UsageError
from twisted.scripts.twistd import ServerOptions
from zope.interface.verify import verifyObject

from hagoop import __version__, server_tap, worker_tap
from hagoop.disk import lock_state
from hagoop.hours import parse_hours
from hagoop.options import ServerConfig, WorkerConfig, twistd_argv
from hagoop.owner import Owner


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, and none of the variables that are read."""
    for name in ("HAGOOP_SERVER", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def server(*words: str) -> ServerConfig:
    """What a server makes of a command line."""
    options = server_tap.Options()
    options.parseOptions(list(words))
    return options.config


def worker(*words: str) -> WorkerConfig:
    """What a worker makes of a command line."""
    options = worker_tap.Options()
    options.parseOptions(list(words))
    return options.config


def test_server_has_defaults(home: Path) -> None:
    """Without a word it serves this machine only."""
    assert server() == ServerConfig(
        listen="tcp:9470:interface=127.0.0.1",
        web="tcp:9471:interface=127.0.0.1",
        state=home / "hagoop/server",
        input_roots=(),
        keep_seconds=7 * 86400.0,
        spool_bytes=None,
        insecure=False,
    )


def test_server_takes_its_options(home: Path) -> None:
    """All of them, input roots several times."""
    (home / "a").mkdir()
    (home / "b").mkdir()
    words = "--listen 0.0.0.0:1 --web [::1]:2 --state s --input-root a --input-root b --keep 12h"
    assert server(*words.split(), "--spool", "1k", "--insecure") == ServerConfig(
        listen="tcp:1:interface=0.0.0.0",
        web=r"tcp6:2:interface=\:\:1",
        state=home / "s",
        input_roots=(home / "a", home / "b"),
        keep_seconds=43200.0,
        spool_bytes=1024,
        insecure=True,
    )


def test_worker_has_defaults(home: Path) -> None:
    """Without a word it serves this machine with all its processors."""
    config = worker()
    assert config == WorkerConfig(
        servers=("tcp:127.0.0.1:9470",),
        slots=len(os.sched_getaffinity(0)),
        name=config.name,
        state=home / "hagoop/worker",
        nice=0,
        memory_bytes=0,
        disk_bytes=0,
        allow_root=False,
        leave_with_server=False,
        until=None,
        hours=None,
        idle_only=False,
        notice_seconds=120.0,
        grace_seconds=5.0,
    )
    assert config.name[:5] == socket.gethostname()[:5]


def test_worker_takes_its_options(home: Path) -> None:
    """All of them."""
    words = "--server a,b:1 --slots 3 --name n --state s --nice 5 --memory 2G --disk 1k"
    words += " --until +2h --hours 22-7,12-13 --notice 30 --grace 0"
    assert worker(*words.split(), "--allow-root", "--leave-with-server") == WorkerConfig(
        servers=("tcp:a:9470", "tcp:b:1"),
        slots=3,
        name="n",
        state=home / "s",
        nice=5,
        memory_bytes=2 << 30,
        disk_bytes=1024,
        allow_root=True,
        leave_with_server=True,
        until=timedelta(hours=2),
        hours=parse_hours("22-7,12-13"),
        notice_seconds=30.0,
        grace_seconds=0.0,
    )


def test_server_of_a_worker_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The option wins over the variable; what is wrong with the variable names it."""
    monkeypatch.setenv("HAGOOP_SERVER", "localhost:7")
    assert worker().servers == ("tcp:localhost:7",)
    assert worker("--server", "localhost:8").servers == ("tcp:localhost:8",)
    monkeypatch.setenv("HAGOOP_SERVER", "http://x")
    with pytest.raises(UsageError, match=r"^HAGOOP_SERVER: 'http://x' is not an address"):
        worker()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--host lab/1", "--host: 'lab/1' is not a name or an address of a machine"),
        ("--listen h:x", "--listen: 'h:x' is no place to listen; write PORT, HOST:PORT, [IPV6]:PORT or"),
        ("--listen tcp:1:x=y", "--listen: 'tcp:1:x=y' is not an endpoint that can be used: "),
        ("--input-root nowhere", "--input-root: 'nowhere' is not a folder here; "),
        ("--keep 7", "--keep: '7' is not an age; write a number with s, m, h, d or w: 90s, 12h, 7d"),
        ("--spool lots", "--spool: 'lots' is not a size; write a number, with k, M, G or T: 500M, 4GiB"),
        ("books", "'books' is not an option; see hagoop-server --help"),
        ("--lisen 1", "option --lisen not recognized"),
    ],
)
def test_server_tells_what_is_wrong(words: str, said: str) -> None:
    """The option, the value and what is allowed."""
    with pytest.raises(UsageError) as caught:
        server(*words.split())
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--slots x", "--slots: 'x' is not allowed; write a whole number from 1 to 4096"),
        ("--slots 0", "--slots: '0' is not allowed; write a whole number from 1 to 4096"),
        ("--nice 20", "--nice: '20' is not allowed; write a whole number from 0 to 19"),
        ("--name a/b", "--name: 'a/b' is not a name; write 1 to 64 letters, digits, '.', '_' or '-'"),
        ("--until noon", "--until: 'noon' is no time; write HH:MM, a date as 2026-03-01T07:30, or "),
        ("--until 2020-01-01", "--until: '2020-01-01' has passed; write a time to come"),
        ("--hours 7", "--hours: '7' are no hours; write BEGIN-END, 0 to 24, several with commas: "),
        ("--notice 2m", "--notice: '2m' is not allowed; write a whole number from 0 to 86400"),
        ("--grace -1", "--grace: '-1' is not allowed; write a whole number from 0 to 86400"),
        ("--server http://x", "--server: 'http://x' is not an address; "),
        ("--server tcp:x", "--server: 'tcp:x' is not an endpoint that can be used: "),
        ("--server tpc:x:1", "--server: 'tpc:x:1' is not an endpoint that can be used: "),
    ],
)
def test_worker_tells_what_is_wrong(words: str, said: str) -> None:
    """The option, the value and what is allowed."""
    with pytest.raises(UsageError) as caught:
        worker(*words.split())
    assert str(caught.value).startswith(said)


def test_machine_that_shows_nothing_has_no_idle_only(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that never worked would be a riddle."""
    monkeypatch.setattr(worker_tap, "Owner", lambda: Owner(home))
    with pytest.raises(UsageError, match=r"^--idle-only: this machine does not show whether somebody"):
        worker("--idle-only")
    (home / "proc").mkdir()
    (home / "proc/stat").touch()
    (home / "dev").mkdir()
    (home / "dev/tty1").touch()
    assert worker("--idle-only").idle_only


def test_state_in_use_is_told(home: Path) -> None:
    """A folder that somebody chose is not replaced by another one."""
    held = lock_state(home / "s")
    try:
        for start in (server, worker):
            with pytest.raises(UsageError, match=f"^--state: '.*' is in use by process {os.getpid()};"):
                start("--state", "s")
    finally:
        held.release()
    assert worker("--state", "s").state == home / "s"


def test_second_worker_takes_the_next_folder(home: Path) -> None:
    """Nobody has to think of a name for it."""
    held = lock_state(home / "hagoop/worker")
    try:
        assert worker().state == home / "hagoop/worker-2"
    finally:
        held.release()
    assert worker().state == home / "hagoop/worker"


def test_folder_of_systemd_is_nobody_elses(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sets STATE_DIRECTORY has chosen, as with the option."""
    monkeypatch.setenv("STATE_DIRECTORY", str(home / "s"))
    assert worker().state == home / "s"
    held = lock_state(home / "s")
    try:
        with pytest.raises(UsageError, match="is in use by process"):
            worker()
    finally:
        held.release()


def test_root_serves_this_machine_only() -> None:
    """Programs of another machine do not run as root."""
    with pytest.raises(UsageError, match=r"^--server: tcp:lab1:1 is not on this machine, and its"):
        worker_tap.refuse_root(("tcp:localhost:1", "tcp:lab1:1"), 0)
    worker_tap.refuse_root(("tcp:localhost:1", "tcp:lab1:1"), 1000)
    worker_tap.refuse_root(("tcp:localhost:1", "unix:/run/x"), 0)


@pytest.mark.parametrize("program", ["hagoop-server", "hagoop-worker"])
def test_plugin_describes_both_programs(program: str) -> None:
    """The plugin names modules that have options and a service."""
    from twisted.plugins import hagoop_plugin

    found = [each for each in vars(hagoop_plugin).values() if getattr(each, "tapname", "") == program]
    [made] = found
    assert verifyObject(IPlugin, made)
    assert verifyObject(IServiceMaker, made)
    assert made.options().program == program
    assert callable(made.makeService)


@pytest.mark.parametrize("tap", [server_tap, worker_tap])
def test_script_is_twistd(
    tap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``hagoop-server -n --version`` is ``twistd -n hagoop-server --version``."""
    program = tap.Options.program
    monkeypatch.setattr(sys, "argv", [f"/somewhere/{program}", "-n", "--version"])
    with pytest.raises(SystemExit) as ended:
        tap.main()
    assert (ended.value.code, capsys.readouterr().out) == (0, f"{program} {__version__}\n")


@pytest.mark.parametrize(
    ("tap", "part", "restart"),
    [(server_tap, "server", "always"), (worker_tap, "worker", "on-failure")],
)
def test_unit_of_systemd_starts_what_there_is(tap: ModuleType, part: str, restart: str) -> None:
    """The command in ``etc/`` has options that exist, and twistd leaves daemonizing to systemd."""
    unit = ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(Path(__file__).parents[2] / f"etc/hagoop-{part}.service")
    program, *words = unit["Service"]["ExecStart"].split()
    assert (unit["Service"]["Type"], unit["Service"]["Restart"]) == ("simple", restart)
    assert Path(program).name == tap.Options.program
    assert unit["Service"]["StateDirectory"] == f"hagoop/{part}"
    options = ServerOptions()
    options.parseOptions(twistd_argv(tap.Options.program, words)[1:])
    assert (options["nodaemon"], options["pidfile"], options["logfile"]) == (1, "", None)
