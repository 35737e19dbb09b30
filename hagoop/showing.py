"""What people see of requests and workers: progress, tables, JSON.

``rich`` is imported only where something is drawn: starting must not wait for it.
"""

import json
import re
import sys
from collections.abc import Sequence
from typing import Any, Protocol

from attrs import define

from hagoop import wire
from hagoop.bad_file import how_many
from hagoop.jobs import Phase, RequestStatus, State, WorkerStatus
from hagoop.missing_file import how_much, in_short

LINE_SECONDS = 5.0
NO_WORKERS = "No worker is connected: start one with twistd hagoop-worker"
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
SECOND_WORDS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


def clean(text: str) -> str:
    """What a stranger said, without anything that steers a terminal."""
    # Half a character, as a file name that is not UTF-8 has them, cannot be printed at all.
    return CONTROL.sub(" ", text).encode("utf-8", "replace").decode()


def told(warning: str) -> str:
    """A warning for people: the heads of digests are enough for them."""
    return DIGEST.sub(lambda found: f"{found[0][:12]}...", clean(warning))


def duration(seconds: float) -> str:
    """``42 s``, ``3.5 h``."""
    for size, name in SECOND_WORDS:
        if seconds >= size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


class Progress(Protocol):
    """Shows how a request comes on."""

    def show(self, status: RequestStatus) -> None:
        """It stands so."""

    def stop(self) -> None:
        """Show no more."""


class Silence:
    """Shows nothing."""

    def show(self, status: RequestStatus) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing."""


@define
class Lines:
    """A line when something has changed, and not too often: for logs and pipes."""

    request: str
    waits: bool
    _told: tuple[object, ...] = ()
    _next: float = 0.0
    _warned: bool = False

    def show(self, status: RequestStatus) -> None:
        """Print a line, if it is time."""
        if self.waits and not status.workers and status.state is State.RUNNING and not self._warned:
            self._warned = True
            _print(f"{self.request}: {NO_WORKERS}")
        told = status.step, status.phase, status.workers, status.failures
        if told == self._told and status.age_seconds < self._next:
            return
        first, self._told = not self._told, told
        self._next = status.age_seconds + LINE_SECONDS
        # A request that ends at once needs no line.
        if not first or status.age_seconds >= LINE_SECONDS:
            _print(_line(self.request, status))

    def stop(self) -> None:
        """Nothing to undo."""


class Bar:
    """A bar on a terminal."""

    def __init__(self, request: str, waits: bool) -> None:
        self._request = request
        self._waits = waits
        self._bar: Any = None  # rich's, imported when the first is drawn.
        self._task: Any = None

    def show(self, status: RequestStatus) -> None:
        """Draw it."""
        if self._bar is None:
            self._start()
        text = _details(status) if status.workers or not self._waits else NO_WORKERS
        self._bar.update(self._task, completed=_overall(status), description=text)

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        console = Console(stderr=True)
        columns = TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn()
        self._bar = RichProgress(*columns, TimeElapsedColumn(), console=console, transient=True)
        self._task = self._bar.add_task(self._request, total=1.0)
        self._bar.start()

    def stop(self) -> None:
        """Wipe it."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def make_progress(request: str, *, quiet: bool, waits: bool) -> Progress:
    """A bar on a terminal, lines elsewhere, nothing for who wants nothing.

    :param waits: whether workers come by themselves, so that none is worth a word.
    """
    if quiet:
        return Silence()
    return Bar(request, waits) if sys.stderr.isatty() else Lines(request, waits)


def _overall(status: RequestStatus) -> float:
    """Of each step map is the first half, reduce the second; merges and sorts are neither."""
    if status.state is State.DONE:
        return 1.0
    begun = {Phase.MAP: 0.0, Phase.MERGE: 0.5, Phase.REDUCE: 0.5, Phase.SORT: 1.0}[status.phase]
    within = begun + 0.5 * status.done * (status.phase in (Phase.MAP, Phase.REDUCE))
    return (status.step - 1 + within) / status.steps


def _details(status: RequestStatus) -> str:
    failures = f", {status.failures} failures" if status.failures else ""
    left = _time_left(status)
    said = f", {clean(status.status)}" if status.status else ""
    bad = f", {status.bad_lines} bad lines" if status.bad_lines else ""
    workers = f"{status.working} of {status.workers} workers"
    step = f"step {status.step} of {status.steps}, " if status.steps > 1 else ""
    return f"{status.id} {step}{status.phase}, {workers}{failures}{bad}{left}{said}"


def _time_left(status: RequestStatus) -> str:
    """The middle guess, and what it is in the worst of ten cases but one."""
    if status.seconds_left is None or status.most_seconds_left is None:
        return ""
    return f", {duration(status.seconds_left)} left (P90 {duration(status.most_seconds_left)})"


def _line(request: str, status: RequestStatus) -> str:
    return f"{request}: {_details(status).removeprefix(request + ' ')}, {100 * status.done:.0f} %"


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def show_status(status: RequestStatus, *, as_json: bool) -> None:
    """One request."""
    if as_json:
        print(json.dumps(wire.to_plain(status)))
        return
    print(f"{status.id} {_state(status)}: {clean(status.label)}")
    if status.state is State.RUNNING:
        print(f"  {_details(status)}, {100 * status.done:.0f} % of {status.phase}")
        if not status.workers:
            print(f"  {NO_WORKERS}")
    if status.state is State.DONE:
        print(f"  {status.answer_bytes} bytes: hagoop-request answer {status.id} --output FILE")
    elif status.message:
        print(f"  {clean(status.message)}")
    for said in _reservations(status):
        print(f"  {said}")
    for each in status.counters:
        print(f"  {clean(each.group)}: {clean(each.name)} {each.amount}")


def _state(status: RequestStatus) -> str:
    """Where it stands, and how much it covers: ``done, 99.6 % of the lines``."""
    return f"{status.state}, {in_short(status.cover)}" if status.cover is not None else status.state


def _reservations(status: RequestStatus) -> list[str]:
    """What should be known of an answer."""
    said = [told(each) for each in status.warnings]
    if status.cover is not None:
        said.insert(0, f"{how_much(status.cover)}; FILE.missing will list what is not")
    if status.state is State.DONE and status.bad_lines:
        said.insert(0, f"{how_many(status.bad_lines)}; FILE.bad will list them")
    return said


def show_requests(found: Sequence[RequestStatus], *, as_json: bool) -> None:
    """All requests as a table."""
    if as_json:
        print(json.dumps(wire.to_plain(list(found))))
        return
    rows = [
        (each.id, _state(each), duration(each.age_seconds), f"{100 * _overall(each):.0f} %", each.label)
        for each in found
    ]
    _table(("request", "state", "age", "done", "programs"), rows, "No requests")


def show_workers(found: Sequence[WorkerStatus], *, as_json: bool) -> None:
    """All workers as a table."""
    if as_json:
        print(json.dumps(wire.to_plain(list(found))))
        return
    rows = [
        (
            each.name,
            duration(each.connected_seconds),
            f"{each.committed}",
            f"{each.lost}",
            duration(each.experience_seconds),
            duration(each.next_seconds),
            each.doing,
        )
        for each in found
    ]
    heads = ("worker", "connected", "jobs done", "lost", "experience", "next piece", "doing")
    _table(heads, rows, NO_WORKERS)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], none: str) -> None:
    if not rows:
        print(none)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*heads, box=box.SIMPLE)
    for row in rows:
        table.add_row(*(Text(clean(each)) for each in row))
    Console(width=None if sys.stdout.isatty() else 200).print(table)
