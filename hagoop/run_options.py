"""``hagoop-request run``: its options, and what they ask for."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from attrs import frozen
from twisted.python.usage import UsageError

from hagoop.common_options import STDOUT, CommonOptions
from hagoop.enough import ALL
from hagoop.errors import BadProgram
from hagoop.jobs import MOST_BAD_LINES, Program
from hagoop.options import processor_count
from hagoop.order_options import check_order, key_fields, separator
from hagoop.shipping import check_program, files_of, find_binary, kind_of, rewrite, shipped_name

ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MOST_LINES = 10**15
NO_FILE = "there is no such file"
PROGRAMS = ("mapper", "combiner", "reducer")


@frozen
class Running:
    """``run``.

    :param then: the programs of the steps after the first.
    :param servers: endpoint strings, tried in turn; None: on this machine, by ``workers`` workers.
    :param where: the servers as the user named them.
    :param lines: in place of inputs: so many numbers.
    :param good_enough: the share of the lines that suffices, in parts of a million.
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
    then: tuple[Program, ...] = ()
    lines: int | None = None
    good_enough: int = ALL


class RunOptions(CommonOptions):
    """``run``."""

    before_program: ClassVar[str] = "run"
    synopsis = (
        "Usage: hagoop-request run INPUT... (--mapper CMD [--reducer CMD] | --binary PATH) [options]\n"
        "                [--then (--mapper CMD [--reducer CMD] | --binary PATH) [options]]...\n"
        "       hagoop-request HOST:PORT DIRECTORY ANSWER BINARY"
    )
    longdesc = (
        "INPUT is a file or folder, server:PATH below an --input-root of the server, or - for stdin. "
        "CMD is any program that reads lines and prints lines; the key of a line is what stands before "
        "its first TAB, or --key-fields N and --separator C say what else. What stands after --then "
        "reads what is printed before it."
    )
    optParameters: ClassVar[list[list[object]]] = [
        ["output", "o", STDOUT, "File for the answer; - is stdout"],
        ["mapper", "m", None, "Program run on lines of the input"],
        ["reducer", "r", None, "Program run on sorted lines"],
        ["combiner", "c", None, "Program run on sorted lines of one job"],
        ["binary", None, None, "Program run as PATH map|reduce FILE START END OFFSET"],
        ["lines", None, None, "In place of INPUT: the numbers from 1 to so many as lines"],
        ["workers", None, None, "With --local: how many workers [one per processor]"],
        ["ok-status", None, "0", "Exit statuses that mean success: 0,1"],
        ["timeout", None, "600", "Seconds without a line read or printed until a run is killed"],
        ["attempts", None, "4", "How often a program may fail on the same lines"],
        ["key-fields", None, None, "Of how many fields a line's key is [1]"],
        ["separator", None, None, "The byte that ends a field [TAB]"],
        ["reduce-tasks", None, None, "0: no reducer; 1: --reduce-whole; any other number means nothing"],
        ["good-enough", None, None, "End when such a share of the lines is mapped: 99.5% [100%]"],
        ["skip-bad-lines", None, "0", "How many lines on which the map fails may be passed over"],
    ]
    optFlags: ClassVar[list[list[object]]] = [
        ["local", None, "Run it on this machine, with a server of its own"],
        ["detach", None, "Print the id and leave"],
        ["force", None, "Replace an existing answer"],
        ["secondary-sort", None, "Sort the lines of one key too"],
        ["combine-files", None, "One run of the mapper may see lines of several files"],
        ["map-whole", None, "Run the mapper once per file"],
        ["reduce-whole", None, "Run the reducer once, over all keys"],
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
        if self.words and self["lines"] is not None:
            raise UsageError("--lines stands in place of INPUT: leave one of the two out")
        if not self.words and self["lines"] is None:
            kinds = "a file, a folder, server:PATH, or - for stdin"
            raise UsageError(f"{self.before_program} needs an INPUT: {kinds}")
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
        self._count_reduce_tasks()
        streaming = [each for each in PROGRAMS if self[each] is not None]
        if self["binary"] is not None and streaming:
            raise UsageError(f"--binary is the whole program: leave --{streaming[0]} out")
        if self["binary"] is None and not {"mapper", "reducer"}.intersection(streaming):
            needy = self.before_program
            raise UsageError(f"{needy} needs a --mapper or a --reducer, or both, or a --binary")
        if self["combiner"] is not None and self["reducer"] is None:
            raise UsageError("--combiner needs a --reducer: without one nothing is sorted")
        check_order(self)
        self._check_runs()
        self._check_bad_lines()

    def _check_runs(self) -> None:
        """What one run of a program is to see."""
        if self["map-whole"] and self["mapper"] is None:
            raise UsageError("--map-whole needs a --mapper, which it runs once per file")
        if self["map-whole"] and self["combine-files"]:
            raise UsageError(
                "--map-whole runs the mapper on each file, --combine-files on several at once: choose"
            )
        if self["combine-files"] and self["binary"] is not None:
            raise UsageError("--combine-files does not go with --binary, which gets lines of one file")
        if self["reduce-whole"] and self["reducer"] is None:
            raise UsageError("--reduce-whole needs a --reducer, which it runs once over all keys")

    def _check_bad_lines(self) -> None:
        if self["skip-bad-lines"] == "0":
            return
        if self["mapper"] is self["binary"] is None:
            raise UsageError("--skip-bad-lines needs a --mapper or a --binary: lines are bad for these")
        if self["map-whole"]:
            raise UsageError("--skip-bad-lines tries lines alone, --map-whole never does: choose")

    def _count_reduce_tasks(self) -> None:
        """As Hadoop does: without reduce tasks the reducer is left out, with one it sees all keys."""
        if self["reduce-tasks"] is None:
            return
        count = self.number("reduce-tasks", int, 0)
        if count == 0 and self["reduce-whole"]:
            raise UsageError("--reduce-whole runs a reducer, and --reduce-tasks 0 leaves it out: choose")
        if count == 0:
            self["reducer"] = self["combiner"] = None
        elif count == 1 and self["reducer"] is not None:
            self["reduce-whole"] = 1

    @property
    def lines(self) -> int | None:
        """How many numbers are the input, if no INPUT is."""
        given = self["lines"]
        if given is None:
            return None
        if not re.fullmatch("[0-9]{1,16}", given) or int(given) > MOST_LINES:
            raise UsageError(f"--lines {given}: it must be a whole number from 0 to {MOST_LINES}")
        return int(given)

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
    def skip_bad_lines(self) -> int:
        """How many lines may be passed over."""
        most = int(self.number("skip-bad-lines", int, 0))
        if most > MOST_BAD_LINES:
            raise UsageError(f"--skip-bad-lines {most}: it may be at most {MOST_BAD_LINES}")
        return most

    @property
    def good_enough(self) -> int:
        """The share of the lines that suffices, in parts of a million."""
        given = self["good-enough"]
        if given is None:
            return ALL
        found = re.fullmatch(r"([0-9]{1,3})(?:\.([0-9]{1,4}))? ?%?", given)
        parts = int(found[1] + (found[2] or "").ljust(4, "0")) if found else 0
        if not 1 <= parts <= ALL:
            raise UsageError(
                f"--good-enough {given}: it must be a percentage above 0 and up to 100, "
                "with at most 4 decimals: 99.5%"
            )
        return parts

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


def program_of(given: RunOptions, folder: Path) -> tuple[Program, dict[str, Path]]:
    """A program, and the files to ship with it."""
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
        key_fields=key_fields(given),
        separator=separator(given),
        secondary_sort=bool(given["secondary-sort"]),
        combine_files=bool(given["combine-files"]),
        map_whole=bool(given["map-whole"]),
        reduce_whole=bool(given["reduce-whole"]),
        skip_bad_lines=given.skip_bad_lines,
    )
    return program, files | _files(given, folder)


def running_of(given: RunOptions, folder: Path) -> Running:
    """What a command line asks for."""
    program, files = program_of(given, folder)
    workers = int(given.number("workers", int, 1)) if given["workers"] else processor_count()
    return Running(
        inputs=given.words,
        program=program,
        files=tuple(files.items()),
        output=given["output"],
        servers=None if given["local"] else given.servers,
        where="this machine" if given["local"] else given.where,
        workers=workers,
        detach=bool(given["detach"]),
        force=bool(given["force"]),
        json=bool(given["json"]),
        quiet=bool(given["quiet"]),
        label=label_of(given),
        lines=given.lines,
        good_enough=given.good_enough,
    )


def label_of(*steps: RunOptions) -> str:
    """What a request's programs are called in lists."""
    words = [each[name] for each in steps for name in ("mapper", "reducer", "binary")]
    return " | ".join(filter(None, words))[:200]


def _command(given: RunOptions, name: str, folder: Path) -> str | None:
    cmd = given[name]
    if cmd is None:
        return None
    check_program(cmd, folder, f"--{name}")
    return rewrite(cmd, folder)


def _files(given: RunOptions, folder: Path) -> dict[str, Path]:
    """Everything to ship: what commands name, and what ``--file`` names."""
    found: dict[str, Path] = {}
    for name in PROGRAMS:
        if given[name] is not None:
            found.update(files_of(given[name], folder))
    for path in given.shipped:
        file = folder / path
        if not file.is_file():
            kind = kind_of(file)
            raise BadProgram(f"--file {path}: {f'it is {kind}, not a file' if kind else NO_FILE}")
        found[shipped_name(path)] = file
    return found
