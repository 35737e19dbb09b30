"""The command line of ``hagoop-request``, checked before anything is imported or sent."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, NoReturn

from attrs import frozen
from twisted.python.usage import Options, UsageError

from hagoop import __version__
from hagoop.errors import BadProgram
from hagoop.jobs import Program
from hagoop.options import COMMAND_PORT, client_endpoint_strings, processor_count
from hagoop.shipping import check_program, files_of, find_binary, rewrite

STDOUT = "-"
COMMANDS = ("run", "list", "status", "wait", "answer", "cancel", "forget", "workers")
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
HADOOP = {
    "-output": "--output",
    "-mapper": "--mapper",
    "-reducer": "--reducer",
    "-combiner": "--combiner",
    "-file": "--file",
    "-cmdenv": "--env",
}
"""Hadoop Streaming's flags and ours; ``-input`` and ``-files`` are read apart."""
SHORT_WITH_VALUE = "omrc"
PROGRAMS = ("mapper", "combiner", "reducer")


@frozen
class Running:
    """``run``.

    :param servers: endpoint strings, tried in turn; None: on this machine, by ``workers`` workers.
    :param where: the servers as the user named them.
    """

    inputs: tuple[str, ...]
    program: Program
    files: tuple[tuple[str, Path], ...]
    output: str
    servers: tuple[str, ...] | None
    where: str
    workers: int
    detach: bool
    force: bool
    json: bool
    quiet: bool
    label: str


@frozen
class Following:
    """A command about requests that are there.

    :param request: an id; empty for the newest.
    """

    command: str
    request: str
    output: str
    servers: tuple[str, ...]
    where: str
    force: bool
    json: bool
    quiet: bool


Call = Running | Following


class _Common(Options):
    """Options that all commands take."""

    optParameters: ClassVar[list[list[object]]] = [
        ["server", None, None, "HOST, HOST:PORT or endpoint, or several with commas [$HAGOOP_SERVER]"],
    ]
    optFlags: ClassVar[list[list[object]]] = [
        ["json", None, "Print JSON"],
        ["quiet", None, "Say nothing but the answer and errors"],
    ]

    def __init__(self) -> None:
        super().__init__()
        self.words: tuple[str, ...] = ()

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Options may stand between and after INPUTs, as users of GNU tools write them."""
        long: list[str] = self.longOpt
        super().parseOptions(options_first(options or (), {each for each in long if each[-1:] == "="}))

    def parseArgs(self, *words: str) -> None:
        self.words = words

    def opt_version(self) -> None:
        """Print the version and leave."""
        print_version()

    @property
    def where(self) -> str:
        """The servers as named."""
        named = self["server"] or os.environ.get("HAGOOP_SERVER") or f"127.0.0.1:{COMMAND_PORT}"
        return str(named)

    @property
    def servers(self) -> tuple[str, ...]:
        """The servers as endpoint strings."""
        try:
            return tuple(client_endpoint_strings(self.where))
        except ValueError as error:
            named = f"--server {self.where}" if self["server"] else f"HAGOOP_SERVER={self.where}"
            raise UsageError(f"{named}: {error}") from error


class _RequestOptions(_Common):
    """``status``, ``wait``, ``cancel``, ``forget``, ``list``, ``workers``."""

    takes_request: ClassVar[bool] = True

    def postOptions(self) -> None:
        most = 1 if self.takes_request else 0
        if len(self.words) > most:
            raise UsageError(f"{self.words[most]!r} is one word too many")

    @property
    def request(self) -> str:
        """An id, or the newest."""
        return self.words[0] if self.words else ""


class _NoRequestOptions(_RequestOptions):
    takes_request: ClassVar[bool] = False


class _AnswerOptions(_RequestOptions):
    """``answer``."""

    optParameters: ClassVar[list[list[object]]] = [
        ["output", "o", STDOUT, "File for the answer; - is stdout"],
    ]
    optFlags: ClassVar[list[list[object]]] = [["force", None, "Replace an existing answer"]]


class _RunOptions(_Common):
    """``run``."""

    synopsis = (
        "Usage: hagoop-request run INPUT... (--mapper CMD [--reducer CMD] | --binary PATH) [options]\n"
        "       hagoop-request HOST:PORT DIRECTORY ANSWER BINARY"
    )
    longdesc = (
        "INPUT is a file or folder, server:PATH below an --input-root of the server, or - for stdin. "
        "CMD is any program that reads lines and prints lines; the key of a line is what stands before "
        "its first TAB."
    )
    optParameters: ClassVar[list[list[object]]] = [
        ["output", "o", STDOUT, "File for the answer; - is stdout"],
        ["mapper", "m", None, "Program run on lines of the input"],
        ["reducer", "r", None, "Program run on sorted lines"],
        ["combiner", "c", None, "Program run on sorted lines of one job"],
        ["binary", None, None, "Program run as PATH map|reduce FILE START END OFFSET"],
        ["workers", None, None, "With --local: how many workers [one per processor]"],
        ["ok-status", None, "0", "Exit statuses that mean success: 0,1"],
        ["timeout", None, "600", "Seconds without a line read or printed until a run is killed"],
        ["attempts", None, "4", "How often a program may fail on the same lines"],
    ]
    optFlags: ClassVar[list[list[object]]] = [
        ["local", None, "Run it on this machine, with a server of its own"],
        ["detach", None, "Print the id and leave"],
        ["force", None, "Replace an existing answer"],
    ]

    def __init__(self) -> None:
        super().__init__()
        self.shipped: list[str] = []
        self.env: list[tuple[str, str]] = []
        self.more_inputs: list[str] = []

    def opt_file(self, path: str) -> None:
        """A file to ship, found by the programs under its base name."""
        self.shipped.append(path)

    def opt_env(self, setting: str) -> None:
        """NAME=VALUE for the programs' environment."""
        name, equals, value = setting.partition("=")
        if not equals or not ENV_NAME.fullmatch(name):
            raise UsageError(f"--env {setting}: it is not of the form NAME=VALUE")
        self.env.append((name, value))

    def postOptions(self) -> None:
        if not self.words:
            raise UsageError("run needs an INPUT: a file, a folder, server:PATH, or - for stdin")
        if "" in self.words:
            raise UsageError("an INPUT is empty: perhaps a variable of the shell is not set")
        self._check_programs()
        if self["workers"] is not None and not self["local"]:
            raise UsageError("--workers needs --local; elsewhere workers join by themselves")
        if self["local"] and self["detach"]:
            raise UsageError("--detach needs a server that stays; --local has none")
        if self.words.count(STDOUT) > 1:
            raise UsageError("stdin can be read only once: give - once")

    def _check_programs(self) -> None:
        streaming = [each for each in PROGRAMS if self[each] is not None]
        if self["binary"] is not None and streaming:
            raise UsageError(f"--binary is the whole program: leave --{streaming[0]} out")
        if self["binary"] is None and not {"mapper", "reducer"}.intersection(streaming):
            raise UsageError("run needs a --mapper or a --reducer, or both, or a --binary")
        if self["combiner"] is not None and self["reducer"] is None:
            raise UsageError("--combiner needs a --reducer: without one nothing is sorted")

    def number(self, name: str, kind: Callable[[str], float], least: float) -> float:
        """A number that was given, at least so large."""
        try:
            value = kind(self[name])
        except ValueError:
            value = -1
        if not least <= value < 1e9:
            raise UsageError(f"--{name} {self[name]}: it must be a number from {least:g} on")
        return value

    @property
    def ok_status(self) -> tuple[int, ...]:
        """Exit statuses that mean success."""
        try:
            found = tuple(int(each) for each in self["ok-status"].split(","))
        except ValueError:
            found = (-1,)
        if not all(0 <= each <= 255 for each in found):
            raise UsageError(f"--ok-status {self['ok-status']}: it must be numbers from 0 to 255: 0,1")
        return found


class _AllOptions(Options):
    """``hagoop-request`` itself."""

    synopsis = "Usage: hagoop-request COMMAND ..."
    subCommands: ClassVar[list[tuple[str, None, type[Options], str]]] = [
        ("run", None, _RunOptions, "Submit a request, wait, and fetch its answer"),
        ("list", None, _NoRequestOptions, "All requests, newest first"),
        ("status", None, _RequestOptions, "One request"),
        ("wait", None, _RequestOptions, "Wait until a request has ended"),
        ("answer", None, _AnswerOptions, "Fetch an answer"),
        ("cancel", None, _RequestOptions, "Stop a request"),
        ("forget", None, _RequestOptions, "Drop a request and its answer"),
        ("workers", None, _NoRequestOptions, "The workers, and what they have earned"),
    ]

    def opt_version(self) -> None:
        """Print the version and leave."""
        print_version()


def print_version() -> NoReturn:
    """Print the version and leave."""
    print(f"hagoop {__version__}")
    raise SystemExit(0)


def parse(words: Sequence[str], folder: Path) -> Call:
    """What a command line asks for.

    :param folder: where relative paths begin.
    :raises UsageError: it cannot be understood; one sentence.
    :raises BadProgram: a program cannot be run as it was given.
    """
    words = _original_call(words, folder) or list(words)
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        raise UsageError(
            f"'{words[0]}' is not a command; did you mean: hagoop-request run {words[0]} ..."
        )
    options = _AllOptions()
    options.parseOptions(_translate(words))
    # Twisted sets the second only where the first is given.
    command, given = options.subCommand, getattr(options, "subOptions", None)
    if isinstance(given, _RunOptions):
        return _running(given, folder)
    if not isinstance(given, _RequestOptions):
        raise UsageError(f"hagoop-request needs a command: {', '.join(COMMANDS)}")
    return _following(str(command), given)


def _original_call(words: Sequence[str], folder: Path) -> list[str]:
    """The original's ``HOST:PORT DIRECTORY ANSWER BINARY`` as a ``run``; empty for anything else."""
    has_option = any(each.startswith("-") and each != STDOUT for each in words)
    if len(words) != 4 or words[0] in COMMANDS or has_option:
        return []
    server, inputs, answer, binary = words
    # A host without a port could be a folder, or a command with a slip in it.
    is_host = ":" in server or (not (folder / server).exists() and (folder / binary).is_file())
    if not is_host:
        return []
    return ["run", f"--server={server}", f"--output={answer}", f"--binary={binary}", "--", inputs]


def options_first(words: Sequence[str], with_value: set[str]) -> list[str]:
    """The options with their values, then everything else: Twisted reads no option behind a word.

    :param with_value: the long options that take a value, each ending in ``=``.
    :raises UsageError: the last option has none.
    """
    options: list[str] = []
    others: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            others += rest
        elif not word.startswith("-") or word == STDOUT:
            others.append(word)
        else:
            options.append(word)
            if _takes_next(word, with_value):
                options.append(_value(word, rest))
    return [*options, "--", *others]


def _value(option: str, rest: Iterator[str]) -> str:
    """The word after an option that needs one."""
    for value in rest:
        return value
    raise UsageError(f"{option} needs a value")


def _takes_next(word: str, with_value: set[str]) -> bool:
    if not word.startswith("--"):
        return len(word) == 2 and word[1] in SHORT_WITH_VALUE
    return "=" not in word and any(each.startswith(word[2:]) for each in with_value)


def _translate(words: Sequence[str]) -> list[str]:
    """Hadoop Streaming's flags as ours."""
    if not words or words[0] != "run":
        return list(words)
    made: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "-input":
            made.append(_value(word, rest))
        elif word == "-files":
            made += [part for each in _value(word, rest).split(",") for part in ("--file", each)]
        else:
            made.append(HADOOP.get(word, word))
    return made


def _following(command: str, given: _RequestOptions) -> Following:
    return Following(
        command=command,
        request=given.request,
        output=given.get("output", STDOUT),
        servers=given.servers,
        where=given.where,
        force=bool(given.get("force")),
        json=bool(given["json"]),
        quiet=bool(given["quiet"]),
    )


def _running(given: _RunOptions, folder: Path) -> Running:
    binary: str | None = None
    files: dict[str, Path] = {}
    if given["binary"] is not None:
        binary, files = find_binary(given["binary"], folder)
    program = Program(
        mapper=_command(given, "mapper", folder),
        reducer=_command(given, "reducer", folder),
        combiner=_command(given, "combiner", folder),
        binary=binary,
        env=tuple(given.env),
        ok_status=given.ok_status,
        timeout_seconds=given.number("timeout", float, 0),
        attempts=int(given.number("attempts", int, 1)),
    )
    workers = int(given.number("workers", int, 1)) if given["workers"] else processor_count()
    return Running(
        inputs=given.words,
        program=program,
        files=tuple((files | _files(given, folder)).items()),
        output=given["output"],
        servers=None if given["local"] else given.servers,
        where="this machine" if given["local"] else given.where,
        workers=workers,
        detach=bool(given["detach"]),
        force=bool(given["force"]),
        json=bool(given["json"]),
        quiet=bool(given["quiet"]),
        label=" | ".join(filter(None, map(given.get, ("mapper", "reducer", "binary"))))[:200],
    )


def _command(given: _RunOptions, name: str, folder: Path) -> str | None:
    cmd = given[name]
    if cmd is None:
        return None
    check_program(cmd, folder, f"--{name}")
    return rewrite(cmd, folder)


def _files(given: _RunOptions, folder: Path) -> dict[str, Path]:
    """Everything to ship: what commands name, and what ``--file`` names."""
    found: dict[str, Path] = {}
    for name in PROGRAMS:
        if given[name] is not None:
            found.update(files_of(given[name], folder))
    for path in given.shipped:
        file = folder / path
        if not file.is_file():
            raise BadProgram(f"--file {path}: there is no such file")
        found[_shipped_name(path)] = file
    return found


def _shipped_name(path: str) -> str:
    """A relative path stays; any other is found under its base name."""
    name = os.path.normpath(path)
    return os.path.basename(name) if os.path.isabs(name) or name.startswith("..") else name

