"""What the server's ledger and policy cost: processor seconds by event, memory by worker and lease.

    python benchmarks/policy.py [FLEET] [--workers 1000] [--seconds 30] [--profile EVENT]

A drawn fleet is simulated, and each call of the ledger that follows from an event is measured in
processor time of its thread, so that other programs do not count: ``ask`` with serving all who
wait, ``beat``, ``commit``, the end of a session, and ``review``, which looks at all leases and is called
less often the more workers there are.  Memory is that of a ledger of its own, by ``tracemalloc``.
"""

import argparse
import cProfile
import pstats
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import thread_time_ns
from typing import Any

from hagoop import policy
from hagoop.jobs import AssignmentId, Phase, Program, RequestId, Seen, SessionId, Submission, WorkerId
from hagoop.lab.finding import Drawing, find
from hagoop.lab.product import Product
from hagoop.lab.world import World
from hagoop.leases import MARKS, Session
from hagoop.ledger import Ledger

EVENTS = {
    "ask": "asked",
    "beat": "beat",
    "commit": "committed",
    "taken back": "stopped",
    "join": "joined",
    "session's end": "closed",
    "review": "review",
}
"""Names of a product's methods by that of what happened."""
MICRO = 1000
LINES = 10_000_000
REQUEST = RequestId("r1")


class Measured:
    """A product whose methods are measured.

    :ivar spent: nanoseconds of each call, by event.
    """

    def __init__(self, product: Product, profiled: str | None) -> None:
        self.spent: dict[str, list[int]] = defaultdict(list)
        self.profile = cProfile.Profile()
        self._product = product
        for event, method in EVENTS.items():
            profile = self.profile if event == profiled else None
            setattr(self, method, self._measured(event, getattr(product, method), profile))

    def _measured(
        self, event: str, call: Callable[..., object], profile: cProfile.Profile | None
    ) -> Callable[..., object]:
        spent = self.spent[event]

        def measured(*args: object) -> object:
            began = thread_time_ns()
            result = call(*args) if profile is None else profile.runcall(call, *args)
            spent.append(thread_time_ns() - began)
            return result

        return measured

    def __getattr__(self, name: str) -> Any:  # What is not measured is the product's.
        return getattr(self._product, name)


def measure(name: str, drawing: Drawing, profiled: str | None) -> Measured:
    """One run of a fleet."""
    recording = find(name, drawing)
    made: list[Measured] = []

    def make(network: World) -> Any:  # It stands for a contender.
        made.append(Measured(Product(network), profiled))
        return made[0]

    world = World(recording, make)
    world.contender.begin(recording.work.lines)
    world.run()
    return made[0]


def percentile(values: Sequence[int], share: float) -> float:
    """Microseconds that so many do not exceed."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)] / MICRO


@contextmanager
def traced(found: dict[str, int], what: str, count: int) -> Iterator[None]:
    """Count bytes for each of so many."""
    before = tracemalloc.get_traced_memory()[0]
    yield
    found[what] = (tracemalloc.get_traced_memory()[0] - before) // count


def memory(workers: int) -> dict[str, int]:
    """Bytes of each worker, and of each lease that has had all Beats that are kept."""
    found: dict[str, int] = {}
    ledger = Ledger()
    submission = Submission(Program(mapper="cat", reducer=None, combiner=None), ())
    request = ledger.request_submitted(REQUEST, submission, 0.0)
    ledger.phase_began(REQUEST, Phase.MAP, 0, None)
    ledger.lines_counted(REQUEST, LINES, LINES, [0], whole=True)
    tracemalloc.start()
    with traced(found, "worker", workers):
        for number in range(workers):
            join(ledger, number)
            request.pace(WorkerId(f"worker {number}"), Phase.MAP).observe(1.0, 1.0, 0.1)
    with traced(found, "lease", workers):
        for number in range(workers):
            lease(ledger, SessionId(number))
    tracemalloc.stop()
    return found


def join(ledger: Ledger, number: int) -> None:
    """A worker, with all that is kept of one."""
    name = f"worker {number}"
    ledger.worker_joined(Session(SessionId(number), WorkerId(name), name, name, 1, 0.0), 0.0)
    ledger.fleet.standing(WorkerId(name))


def lease(ledger: Ledger, session: SessionId) -> None:
    """Work for one, and what it tells of it."""
    ledger.worker_asked(session, 0.0)
    (given,) = ledger.serve(0.0)
    for beat in range(MARKS):
        seen = Seen(AssignmentId(given.id), given.stretch.front + 1, beat, 0, beat)
        ledger.line_seen(session, seen, float(beat))


def main() -> None:
    """Print a table of both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fleet", nargs="?", default="wild-churn")
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--profile", choices=EVENTS, help="print where the time of one event goes")
    options = parser.parse_args()
    drawing = Drawing(seed=1, workers=options.workers, seconds=options.seconds)
    found = measure(options.fleet, drawing, options.profile)
    print(f"{'event':<16}{'count':>10}{'median us':>12}{'99 % us':>12}{'most us':>12}{'all s':>10}")
    for event, spent in found.spent.items():
        if spent:
            shown = "".join(f"{percentile(spent, share):>12.0f}" for share in (0.5, 0.99, 1.0))
            print(f"{event:<16}{len(spent):>10,}{shown}{sum(spent) / 1e9:>10.1f}")
    print(f"reviewed each {policy.review_seconds(options.workers):g} s")
    for what, size in memory(options.workers).items():
        print(f"{size} bytes a {what}")
    if options.profile:
        pstats.Stats(found.profile).sort_stats("tottime").print_stats(16)


if __name__ == "__main__":
    main()
