"""Thousands of small fleets, each a history of its own: invariants hold, and all requests end.

    python benchmarks/seeds.py [--count 1000] [--first 0] [--each 50]

Each seed draws a fleet of one of the ten kinds, of 5 to 30 machines and 5 to 20 seconds of capacity; one
of four starts its programs for each job.  ``Ledger.check()`` runs after each so many events.  What is
found is printed with the command that repeats it; the exit status is 1 if there is anything.  A request
that does not end because too few machines work any more is counted, and no finding.
"""

import argparse
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from itertools import count
from random import Random

from attrs import define, frozen

from hagoop.errors import FleetError, HaGoopError
from hagoop.lab.capacity import work_until
from hagoop.lab.clock import HeapClock
from hagoop.lab.generate import Wanted, generate
from hagoop.lab.habits import KINDS
from hagoop.lab.lives import Recording
from hagoop.lab.product import Product
from hagoop.lab.world import World

WORKERS = 5, 30
SECONDS = 5, 20
SPAWNING = 0.25
SAID_EACH = 500


@frozen
class Case:
    """The fleet of a seed.

    :param spawns: whether its programs are started for each job.
    """

    wanted: Wanted
    spawns: bool

    @property
    def command(self) -> str:
        """What simulates it."""
        it = self.wanted
        program = " --program spawn" if self.spawns else ""
        return (
            f"hagoop-simulate {it.kind} --seed {it.seed} --workers {it.workers} --seconds {it.seconds}"
            f"{program}"
        )


@define(eq=False)
class CheckedClock(HeapClock):
    """Has something checked now and then, between two events."""

    check: Callable[[], None] = lambda: None
    each: int = 1

    def run(self, until: float, ended: Callable[[], bool]) -> None:
        """Let time pass until an end has come, or there is nothing more to happen."""
        events = count(1)

        def checked() -> bool:
            if next(events) % self.each == 0:
                self.check()
            return ended()

        super().run(until, checked)
        self.check()


def case_of(seed: int) -> Case:
    """Which fleet a seed has."""
    chance = Random(f"fleet {seed}")
    kind = sorted(KINDS)[seed % len(KINDS)]
    workers, seconds = chance.randint(*WORKERS), chance.randint(*SECONDS)
    return Case(Wanted(kind, seed, workers, float(seconds)), chance.random() < SPAWNING)


def outcome_of(case: Case, each: int) -> str:
    """How its request came out: ``ended``, or what is wrong.

    :param each: after how many events the ledger is checked.
    """
    try:
        recording = generate(case.wanted, Random(case.wanted.seed))
    except FleetError:
        return "nobody works"
    clock = CheckedClock(each=each)
    world = World(recording, Product, spawns=case.spawns, clock=clock)
    clock.check = world.contender.ledger.check  # type: ignore[attr-defined]
    world.contender.begin(recording.work.lines)
    try:
        ended = world.run().finished
    except (HaGoopError, ArithmeticError, LookupError, AssertionError, TypeError, ValueError):
        return traceback.format_exc()
    if ended:
        return "ended"
    return "did not end" if _somebody_stays(recording) else "nobody stays"


def _somebody_stays(recording: Recording) -> bool:
    """Whether so much could be done from half of the horizon on as there was to do."""
    horizon = recording.horizon
    return work_until(recording.lives, horizon) - work_until(recording.lives, horizon / 2) > (
        recording.work.seconds
    )


def main() -> int:
    """Print what is found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--each", type=int, default=50)
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    for number, seed in enumerate(range(options.first, options.first + options.count), 1):
        case = case_of(seed)
        outcome = outcome_of(case, options.each)
        known = outcome in ("ended", "nobody works", "nobody stays")
        counts[outcome if known else "found"] += 1
        if outcome not in ("ended", "nobody works"):
            print(f"{case.command}: {outcome}", flush=True)
        if number % SAID_EACH == 0 or number == options.count:
            print(f"{number}: {dict(counts)}", flush=True)
    return 1 if counts["found"] else 0


if __name__ == "__main__":
    sys.exit(main())
