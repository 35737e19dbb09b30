"""What the command lines of server and worker share: values, places and names of files."""

import fcntl
import ipaddress
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar, cast

from attrs import field, frozen
from twisted.python.usage import Options, UsageError

from hagoop import __version__
from hagoop.door.join_string import is_join_string, parse_join_string
from hagoop.errors import StateError
from hagoop.hours import Hours

T = TypeVar("T")

COMMAND_PORT = 9470
WEB_PORT = 9471

_ENDPOINTS = frozenset("tcp tcp4 tcp6 ssl tls unix systemd fd stdio haproxy".split())
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgtp]?)(ib|b|)", re.IGNORECASE)
_AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhdw])")
_TWISTD_FLAGS = frozenset("-n --nodaemon -b --debug --syslog".split())
_TWISTD_VALUES = frozenset(
    "--pidfile --logfile -l --rundir -d --umask --uid -u --gid -g --reactor -r".split()
)


@frozen
class ServerConfig:
    """All that a server is told.

    :param listen: server endpoint string of the commands; ``web``: of bytes and page.
    :param host: by which others are told to reach it; empty: what ``listen`` names, or this machine's.
    :param spool_bytes: None means half of the free disk.
    """

    listen: str
    web: str
    state: Path
    input_roots: tuple[Path, ...]
    keep_seconds: float
    spool_bytes: int | None
    insecure: bool
    host: str = ""

    @property
    def is_open(self) -> bool:
        """Whether more than this machine reaches it."""
        return not (is_loopback(self.listen) and is_loopback(self.web))

    @property
    def has_door(self) -> bool:
        """Whether it takes a secret to join, and all is spoken over TLS."""
        return self.is_open and not self.insecure


@frozen
class WorkerConfig:
    """All that a worker is told.

    :param servers: client endpoint strings or join strings, tried in turn.
    :param memory_bytes: for the programs of all slots together; 0: any number.
    :param disk_bytes: likewise, for what is fetched and what is made of it.
    :param until: when it ends: a moment of the wall clock, or how long after the start.
    :param hours: when it works; None: always.
    :param notice_seconds: how long before it leaves or rests it says so, where it is known.
    :param grace_seconds: how long it then goes on with the jobs in hand.
    """

    servers: tuple[str, ...] = field(repr=False)
    slots: int
    name: str
    state: Path
    nice: int
    memory_bytes: int
    disk_bytes: int
    allow_root: bool
    leave_with_server: bool
    until: datetime | timedelta | None = None
    hours: Hours | None = None
    idle_only: bool = False
    notice_seconds: float = 120.0
    grace_seconds: float = 5.0


class Held(Protocol):
    """A state folder that is ours."""

    def release(self) -> None:
        """Let others have it."""


class ProgramOptions(Options):
    """Options of a program that twistd runs, each told in one sentence what is wrong with it.

    :cvar program: its name after ``twistd``.
    """

    program: ClassVar[str]

    def opt_version(self) -> None:
        """Display the version and exit."""
        print(f"{self.program} {__version__}")
        sys.exit(0)

    def parseArgs(self, *words: str) -> None:
        """There are only options."""
        if words:
            raise UsageError(f"{words[0]!r} is not an option; see {self.program} --help")

    def read(self, option: str, parse: Callable[[str], T], named: str = "") -> T:
        """The value of an option that was given or has a default.

        :param named: where the text came from, if not from the option.
        """
        return told(named or f"--{option}", parse, self[option])

    def read_if_given(self, option: str, parse: Callable[[str], T]) -> T | None:
        """The value of an option, or None without it."""
        return None if self[option] is None else self.read(option, parse)

    def refuse_unusable(self, folder: Path, lock: Callable[[Path], "Held"]) -> None:
        """Hold a state folder for a moment, so that one that cannot be used is told at once."""
        if (self.twistd or {}).get("uid") is not None:
            # It must belong to the user that twistd is going to become.
            return
        try:
            lock(folder).release()
        except StateError as why:
            raise UsageError(f"--state: {why}") from why

    @property
    def twistd(self) -> MutableMapping[str, object] | None:
        """The options of twistd itself, if these were given to it."""
        return cast("MutableMapping[str, object] | None", self.parent)


def told(option: str, parse: Callable[[str], T], text: str) -> T:
    """What ``parse`` makes of ``text``; a ``ValueError`` becomes a usage error that names the option."""
    try:
        return parse(text)
    except ValueError as why:
        raise UsageError(f"{option}: {why}") from why


def parse_size(text: str) -> int:
    """Bytes, as sort and dd read them: ``1k`` and ``1KiB`` are 1024, ``1kB`` is 1000."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a size; write a number, with k, M, G or T: 500M, 4GiB")
    number, unit, suffix = found.groups()
    base = 1000 if unit and suffix.lower() == "b" else 1024
    size = int(float(number) * base ** _UNITS[unit.lower()])
    if size < 1:
        raise ValueError(f"{text!r} is no room at all; write a size of one byte or more")
    return size


def parse_age(text: str) -> float:
    """Seconds, from a number with its unit: ``90s``, ``30m``, ``12h``, ``7d``, ``2w``."""
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not an age; write a number with s, m, h, d or w: 90s, 12h, 7d")
    number, unit = found.groups()
    return float(number) * _SECONDS[unit]


def parse_count(text: str, least: int, most: int) -> int:
    """A whole number within bounds."""
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or not least <= int(text) <= most:
        raise ValueError(f"{text!r} is not allowed; write a whole number from {least} to {most}")
    return int(text)


def parse_name(text: str) -> str:
    """A worker's name, safe to show anywhere."""
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a name; write 1 to 64 letters, digits, '.', '_' or '-'")
    return text


def parse_folder(text: str) -> Path:
    """An existing folder, absolute, since a daemon may change its directory."""
    folder = Path(text).absolute()
    if not folder.is_dir():
        raise ValueError(f"{text!r} is not a folder here; write the path of one that exists")
    return folder


def host_name() -> str:
    """This machine's name as a worker's name."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:64] or "worker"


def processor_count() -> int:
    """How many processors this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def client_endpoint_string(text: str) -> str:
    """One ADDRESS as a Twisted client endpoint string; a join string stays one."""
    text = text.strip()
    if is_join_string(text):
        return str(parse_join_string(text))
    if _is_endpoint(text):
        return text
    host, port = _host_and_port(text, COMMAND_PORT)
    if not host or not 1 <= port <= 65535:
        raise ValueError(
            f"{text!r} is not an address; write HOST, HOST:PORT, [IPV6]:PORT"
            " or a client endpoint such as tcp:HOST:PORT"
        )
    return f"tcp:{_quoted(host)}:{port}"


def client_endpoint_strings(text: str) -> tuple[str, ...]:
    """``ADDRESS[,ADDRESS]`` as client endpoint strings."""
    return tuple(client_endpoint_string(each) for each in text.split(","))


def server_endpoint_string(text: str, default_port: int) -> str:
    """WHERE as a Twisted server endpoint string; a bare PORT is on loopback."""
    text = text.strip()
    if _is_endpoint(text):
        return text
    if re.fullmatch(r"[0-9]{1,6}", text):
        host, port = "127.0.0.1", int(text)
    else:
        host, port = _host_and_port(text, default_port)
    if not host or port > 65535:
        raise ValueError(
            f"{text!r} is no place to listen; write PORT, HOST:PORT, [IPV6]:PORT"
            " or a server endpoint such as tcp:PORT"
        )
    kind = "tcp6" if ":" in host else "tcp"
    return f"{kind}:{port}:interface={_quoted(host)}"


def is_loopback(endpoint: str) -> bool:
    """Whether only this machine can be at the other end of a server or client endpoint string.

    What it does not know counts as open to the network.
    """
    if is_join_string(endpoint):
        return is_loopback_host(parse_join_string(endpoint).host)
    kind, words, named = _read_endpoint(endpoint)
    if kind == "unix":
        return True
    if kind not in ("tcp", "tcp4", "tcp6", "ssl", "tls"):
        return False
    return is_loopback_host(_host_of(kind, words, named))


def is_loopback_host(host: str) -> bool:
    """Whether only this machine can be there, by name or address."""
    return host == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)


def check_endpoint(understand: Callable[[str], object], endpoint: str) -> None:
    """Let Twisted read an endpoint string now, so that a mistake in it is told as a usage error.

    :raises ValueError: Twisted cannot use it.
    """
    if is_join_string(endpoint):
        return
    try:
        understand(endpoint)
    # Parsers of endpoints, plugins among them, raise whatever the words lead to.
    except Exception as why:
        raise ValueError(f"{endpoint!r} is not an endpoint that can be used: {why}") from why


def state_folder(given: str | None, part: str, environ: Mapping[str, str]) -> tuple[Path, bool]:
    """Where ``part`` (server, worker) keeps its state, and whether somebody chose it."""
    # systemd separates several folders by colons.
    chosen = given or environ.get("STATE_DIRECTORY", "").split(":")[0]
    if chosen:
        return Path(chosen).absolute(), True
    base = environ.get("XDG_STATE_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path.home() / ".local" / "state"
    return root / "hagoop" / part, False


def is_locked(folder: Path) -> bool:
    """Whether a living process holds the lock of a state folder."""
    try:
        held = os.open(folder / "lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(held)
    return False


def free_state_folder(first: Path) -> tuple[Path, int]:
    """``first``, or the first of ``first-2``, ``first-3``... that nobody holds, and its number."""
    for number in count(1):
        folder = first if number == 1 else first.with_name(f"{first.name}-{number}")
        if not is_locked(folder):
            break
    return folder, number


def name_files(twistd: MutableMapping[str, object] | None, program: str, number: int) -> None:
    """Give twistd a pid file and a log file of the program's own, where its user chose none.

    :param number: begins the search for a pid file that no living process holds.
    """
    if twistd is None or twistd.get("pidfile") != "twistd.pid":
        stem = _numbered(program, number)
    else:
        stem = next(each for each in _stems(program, number) if not _is_alive(f"{each}.pid"))
        twistd["pidfile"] = f"{stem}.pid"
    if twistd is not None and is_daemon(twistd) and twistd.get("logfile") is None:
        twistd["logfile"] = f"{stem}.log"


def is_daemon(twistd: Mapping[str, object]) -> bool:
    """Whether twistd is going to leave the terminal."""
    return not (twistd.get("nodaemon") or twistd.get("debug"))


def twistd_argv(program: str, arguments: Sequence[str]) -> list[str]:
    """``hagoop-server -n --listen 1`` as ``twistd -n hagoop-server --listen 1``."""
    for_twistd: list[str] = []
    ours: list[str] = []
    words = iter(arguments)
    for word in words:
        if word in _TWISTD_FLAGS or ("=" in word and word.partition("=")[0] in _TWISTD_VALUES):
            for_twistd.append(word)
        elif word in _TWISTD_VALUES:
            for_twistd += [word, *_next(words)]
        else:
            ours.append(word)
    return ["twistd", *for_twistd, program, *ours]


def _next(words: Iterator[str]) -> list[str]:
    following = next(words, None)
    return [] if following is None else [following]


def _is_endpoint(text: str) -> bool:
    kind, colon, rest = text.partition(":")
    if kind in _ENDPOINTS and colon:
        return True
    if "//" in rest or _is_ip(text):
        return False
    # Endpoints of plugins have names of their own.
    return ":" in rest and re.fullmatch(r"[a-z][a-z0-9]+", kind) is not None


def _host_and_port(text: str, default_port: int) -> tuple[str, int]:
    """Host and port; the host is empty where the text has no such form."""
    if _is_ip(text):
        return text, default_port
    found = re.fullmatch(r"(?:\[([^\[\]]+)\]|([A-Za-z0-9_][A-Za-z0-9._-]*))(?::([0-9]{1,6}))?", text)
    if found is None or (found[1] and not _is_ip(found[1])) or (found[2] or "").isdigit():
        return "", 0
    return found[1] or found[2], int(found[3] or default_port)


def _read_endpoint(endpoint: str) -> tuple[str, list[str], dict[str, str]]:
    """Kind, positional and named arguments of an endpoint string."""
    kind, *parts = re.findall(r"((?:[^:\\]|\\.)*)(?::|$)", endpoint)
    words: list[str] = []
    named: dict[str, str] = {}
    for part in parts:
        name, equals, value = re.sub(r"\\(.)", r"\1", part).partition("=")
        if equals:
            named[name] = value
        else:
            words.append(name)
    return kind, words, named


def _host_of(kind: str, words: list[str], named: dict[str, str]) -> str:
    """The host or interface of a TCP-like endpoint; empty where it names none."""
    if "interface" in named or "host" in named:
        return named.get("interface", named.get("host", ""))
    if kind == "tls":
        # As a server's, the first word is a folder of certificates.
        return words[0] if len(words) > 1 and words[1].isdigit() else ""
    if words and not words[0].isdigit():
        return words[0]
    # tcp6 has the backlog in this place.
    return words[1] if len(words) > 1 and kind != "tcp6" else ""


def _quoted(host: str) -> str:
    # As quoteStringArgument of Twisted, which would load half of it before a command is understood.
    return host.replace("\\", "\\\\").replace(":", "\\:")


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _stems(program: str, first: int) -> Iterator[str]:
    return (_numbered(program, number) for number in count(first))


def _numbered(program: str, number: int) -> str:
    return program if number == 1 else f"{program}-{number}"


def _is_alive(pid_file: str) -> bool:
    """Whether a pid file is in the way: of a living process, or none that twistd can read."""
    try:
        os.kill(int(Path(pid_file).read_text()), 0)
    except (FileNotFoundError, ProcessLookupError):
        return False
    except (OSError, ValueError):
        return True
    return True



def listening_host(endpoint: str) -> str:
    """The address that a server endpoint string names; empty where it names none or any."""
    host = _host_of(*_read_endpoint(endpoint))
    return "" if host in ("0.0.0.0", "::") else host


def listening_port(endpoint: str) -> int:
    """The port that a server endpoint string names; 0 where it names none."""
    _, words, named = _read_endpoint(endpoint)
    port = named.get("port", words[0] if words else "")
    return int(port) if port.isdigit() else 0


def brings_own_tls(endpoint: str) -> bool:
    """Whether a server endpoint string is of a kind that speaks TLS by itself."""
    return _read_endpoint(endpoint)[0] in ("ssl", "tls")


def server_text(option: str | None, file: str | None, environ: Mapping[str, str]) -> tuple[str, str]:
    """Which servers are named, and by what: an option, a file (``-``: stdin), or the environment.

    :raises ValueError: the file cannot be read.
    """
    if option is not None:
        return option, "--server"
    if file is not None:
        return _read_words(file), "--server-file"
    return environ.get("HAGOOP_SERVER", ""), "HAGOOP_SERVER"


def _read_words(file: str) -> str:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as problem:
        raise ValueError(f"{file!r} cannot be read ({problem})") from problem
    if not text.strip():
        raise ValueError(f"{file!r} is empty; it should hold the line of hagoop-server invite")
    return text.strip()
