"""``hagoop-demo``: count the words of much text with workers that die, hang, lie idle and come late."""

import secrets
import sys
from collections.abc import Mapping, Sequence
from typing import ClassVar

from twisted.python.usage import UsageError

from hagoop.demo.kinds import SAID, Kind
from hagoop.demo.plan import Cast, Plan
from hagoop.demo.unruly import parse_number
from hagoop.options import ProgramOptions, parse_count

DONE, USAGE = 0, 2
MOST_OF_A_KIND = 100
MOST_LINES = 100_000_000
DEFAULTS: Mapping[Kind, int] = {Kind.GOOD: 4, Kind.BAD: 2, Kind.EVIL: 2, Kind.FLAKY: 3, Kind.LATE: 1}


class Options(ProgramOptions):
    """What ``hagoop-demo`` may be told."""

    program = "hagoop-demo"
    synopsis = "Usage: hagoop-demo [options]"
    longdesc = (
        "Counts the words of this Python's own library with a server and a fleet of worker processes on "
        "this machine, most of them no good, and compares the answer with that of a plain pipe."
    )
    plan: Plan

    optParameters: ClassVar[list[list[str | None]]] = [
        *[[kind, None, str(DEFAULTS.get(kind, 0)), f"Workers that {SAID[kind]}"] for kind in Kind],
        ["chance", None, "0.01", "Of death, every tenth of a second, for the flaky and the dying"],
        ["lines", None, "500000", "How much text"],
        ["pace", None, "4000", "Lines a second that each worker is held to; 0: as many as it can"],
        ["seed", None, None, "The same deaths again [default: others each time]"],
    ]
    optFlags: ClassVar[list[list[str | None]]] = [
        ["quiet", None, "Show the outcome only"],
        ["plain", None, "Show lines, not a table, on a terminal too"],
        ["tamper", None, "Change a byte of the answer, to see that the comparison can fail"],
    ]

    def postOptions(self) -> None:
        """Check all of it."""
        counts = {kind: self.read(kind, _count) for kind in Kind}
        seed = self["seed"] if self["seed"] is not None else str(secrets.randbelow(1_000_000))
        cast = Cast(counts, self.read("chance", lambda text: parse_number(text, 1)), seed)
        if not cast.can_end:
            raise UsageError("--good 1: somebody must be there who ends what he begins")
        self.plan = Plan(
            cast=cast,
            lines=self.read("lines", lambda text: parse_count(text, 1, MOST_LINES)),
            pace=self.read("pace", lambda text: parse_count(text, 0, MOST_LINES)),
            quiet=bool(self["quiet"]),
            plain=bool(self["plain"]),
            tampers=bool(self["tamper"]),
        )


def _count(text: str) -> int:
    return parse_count(text, 0, MOST_OF_A_KIND)


def main(argv: Sequence[str] | None = None) -> int:
    """The script; its exit status is 0 if the answer is that of the pipe."""
    options = Options()
    try:
        options.parseOptions(sys.argv[1:] if argv is None else list(argv))
    except UsageError as error:
        print(error, file=sys.stderr)
        return USAGE
    from hagoop.demo.stage import perform
    from hagoop.request_script import run_reactor

    return run_reactor(lambda reactor: perform(options.plan, reactor))


if __name__ == "__main__":
    sys.exit(main())
