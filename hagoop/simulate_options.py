"""The command line of ``hagoop-simulate``."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from attrs import field, frozen
from twisted.python.usage import UsageError

from hagoop.common_options import options_first
from hagoop.lab.ablation import PARTS
from hagoop.lab.finding import Drawing, is_file, names_of
from hagoop.lab.habits import KINDS
from hagoop.options import ProgramOptions, parse_count

COMPARE = "compare"
PROGRAMS = ("warm", "spawn")
PICTURES = (".svg", ".png")
MOST_WORKERS = 1_000_000
MOST_SEED = 2**53
MOST_SECONDS = 1e7
MOST_MESSAGES = 1e9


@frozen
class Simulation:
    """What to simulate.

    :param fleets: names and paths.
    :param log: a server's lives; None for none.
    :param without: parts that the product is to do without.
    """

    fleets: tuple[str, ...]
    log: Path | None = None
    drawing: Drawing = field(factory=Drawing)
    compares: bool = False
    spawns: bool = False
    messages: float | None = None
    without: tuple[str, ...] = ()
    json: bool = False
    quiet: bool = False
    plot: Path | None = None
    write: Path | None = None


class Options(ProgramOptions):
    """What ``hagoop-simulate`` may be told."""

    program = "hagoop-simulate"
    synopsis = "Usage: hagoop-simulate [compare] FLEET... [options]"
    longdesc = (
        "Drives the server's own scheduler in virtual time against fleets of machines that come and go. "
        f"FLEET is {', '.join(KINDS)}; all: these ten; real: two recorded from life; NAME-SEED: drawn "
        "from that seed; or the path of a fleet file. With compare, other schedulers on the same lives."
    )
    simulation: Simulation

    optParameters: ClassVar[list[list[object]]] = [
        ["program", None, "warm", "warm: a program is started once in a session; spawn: for each job"],
        ["seed", None, None, "Draw the fleets from this seed [default: the recorded ones]"],
        ["workers", None, None, "Draw them with so many machines"],
        ["seconds", None, None, "Draw them with work for so many seconds"],
        ["messages", None, None, "Messages a second that the server is to take of each kind"],
        ["from-log", None, None, "Lives that a server has written: its state folder, or the file"],
        ["plot", None, None, "Picture of the run, FILE.svg or FILE.png; for one fleet"],
        ["write", None, None, "Write the fleet to a file, FILE.jsonl or FILE.jsonl.gz; for one fleet"],
    ]
    optFlags: ClassVar[list[list[object]]] = [
        ["json", None, "Print JSON: an object for one fleet, an array for several"],
        ["quiet", None, "Say nothing but the outcome and errors"],
    ]

    def __init__(self) -> None:
        super().__init__()
        self.words: tuple[str, ...] = ()
        self._without: list[str] = []

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Options may stand between and after FLEETs."""
        long: list[str] = self.longOpt
        super().parseOptions(options_first(options or (), {each for each in long if each[-1:] == "="}))

    def parseArgs(self, *words: str) -> None:
        """The fleets."""
        self.words = words

    def opt_without(self, part: str) -> None:
        """Take a part of the scheduler away, to see what it is worth; may be given several times"""
        if part not in PARTS:
            known = ", ".join(sorted(PARTS)) or "none"
            raise UsageError(f"--without: {part!r} is no part that can be taken away; there are {known}")
        self._without.append(part)

    def postOptions(self) -> None:
        """Check all of it."""
        compares = self.words[:1] == (COMPARE,)
        fleets = tuple(names_of(self.words[compares:]))
        if self["program"] not in PROGRAMS:
            raise UsageError(f"--program: {self['program']!r} is not allowed; write warm or spawn")
        self.simulation = Simulation(
            fleets=fleets,
            log=None if self["from-log"] is None else Path(self["from-log"]),
            drawing=self._drawing(),
            compares=compares,
            spawns=self["program"] == "spawn",
            messages=self.read_if_given("messages", lambda text: _number(text, MOST_MESSAGES)),
            without=tuple(self._without),
            json=bool(self["json"]),
            quiet=bool(self["quiet"]),
            plot=self.read_if_given("plot", _picture),
            write=None if self["write"] is None else Path(self["write"]),
        )
        _check(self.simulation)

    def _drawing(self) -> Drawing:
        return Drawing(
            seed=self.read_if_given("seed", lambda text: parse_count(text, 0, MOST_SEED)),
            workers=self.read_if_given("workers", lambda text: parse_count(text, 1, MOST_WORKERS)),
            seconds=self.read_if_given("seconds", lambda text: _number(text, MOST_SECONDS)),
        )


def _check(simulation: Simulation) -> None:
    """Refuse what does not go together."""
    count = len(simulation.fleets) + (simulation.log is not None)
    if not count:
        raise UsageError("name a fleet: hagoop-simulate calm; all are ten, and --help has their names")
    for option, value in (("--plot", simulation.plot), ("--write", simulation.write)):
        if value is not None and (count > 1 or simulation.compares):
            raise UsageError(f"{option} is for one fleet, and no comparison: name one")
    drawing = simulation.drawing
    if not simulation.fleets and (drawing.seed, drawing.workers) != (None, None):
        raise UsageError("--from-log: lives are as they were; --seed and --workers are for drawn fleets")
    files = [each for each in simulation.fleets if is_file(each)]
    if files and (drawing.workers is not None or drawing.seconds is not None):
        raise UsageError(
            f"{files[0]} is a recording: --workers and --seconds are for fleets that are drawn"
        )


def _number(text: str, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= most:
        raise ValueError(f"{text!r} is not allowed; write a number above 0, at most {most:g}")
    return value


def _picture(text: str) -> Path:
    path = Path(text)
    if path.suffix not in PICTURES:
        raise ValueError(f"{text!r} is no name for a picture; write one that ends in .svg or .png")
    return path
