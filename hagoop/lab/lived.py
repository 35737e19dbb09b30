"""The lives that a server has written of its own workers, as a fleet to simulate."""

import json
from collections.abc import Iterable, Iterator, Sequence
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

from attrs import define, evolve, frozen

from hagoop.appending import before
from hagoop.errors import FleetError
from hagoop.lab.capacity import work_until
from hagoop.lab.generate import HORIZON
from hagoop.lab.lives import Life, Recording, Stay
from hagoop.lab.work import Work
from hagoop.lives_log import LIVES_NAME

FLEET = "log"
LINE_SECONDS = 0.001
COMMIT_COST = 0.01
USUAL_ROUND_TRIP = 0.02
USUAL_START = 0.1
RUNNING = "running"
RESTART_SECONDS = 120.0
"""Who is back so soon after the server went away was never gone."""
LEAST_SECONDS = 1.0


@frozen
class Lived:
    """One session as it was written.

    :param left: None if the server did not live to see it.
    """

    run: float
    session: int
    worker: str
    slots: int
    joined: float
    left: float | None = None
    how: str = RUNNING
    speed: float | None = None
    start: float | None = None


@define
class Span:
    """From the first that is known to the last; seconds since 1970."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """How long."""
        return max(self.end - self.begin, LEAST_SECONDS)


def read_lived(path: Path, seconds: float | None = None) -> Recording:
    """The fleet of a server's state folder, or of the file there.

    What is still connected stays; for all others the time that was logged begins again when it is over,
    so that a request that needs longer finds machines.

    :param seconds: its capacity; else as long as what was logged.
    :raises FleetError: there is nothing of use.
    """
    found = list(_whole(_sessions(path)))
    if not found:
        raise FleetError(
            f"{path} tells of no worker: a server writes {LIVES_NAME} while workers come and go"
        )
    span = Span(min(each.joined for each in found), max(each.left or each.joined for each in found))
    lives = list(_lives(found, span))
    capacity = seconds or span.seconds
    work = work_until(lives, capacity)
    if work <= 0:
        raise FleetError(f"{path}: no worker was there in the first {capacity:g} s; take more --seconds")
    return Recording(
        fleet=FLEET,
        seed=0,
        work=Work([(0, 0.0), (max(2, round(work / LINE_SECONDS)), work)]),
        capacity_seconds=capacity,
        commit_cost=COMMIT_COST,
        horizon=HORIZON * capacity,
        bounds={"capacity": capacity},
        lives=lives,
    )


def _sessions(path: Path) -> list[Lived]:
    """As they are known last."""
    file = path / LIVES_NAME if path.is_dir() else path
    known: dict[tuple[float, int], Lived] = {}
    try:
        for each in (before(file), file):
            if each == file or each.exists():
                for row in _rows(each):
                    known[row.run, row.session] = row
    except (OSError, UnicodeDecodeError) as error:
        raise FleetError(f"{file} cannot be read: {error}") from error
    return list(known.values())


def _rows(file: Path) -> Iterator[Lived]:
    """What a line tells; one that was cut off by a full disk or a kill tells nothing."""
    for line in file.read_text("ascii").splitlines():
        try:
            yield _lived(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue


def _lived(row: dict[str, Any]) -> Lived:
    return Lived(
        run=float(row["run"]),
        session=int(row["session"]),
        worker=str(row["worker"]),
        slots=max(1, int(row["slots"])),
        joined=float(row["joined"]),
        left=None if row.get("left") is None else float(row["left"]),
        how=str(row.get("how", RUNNING)),
        speed=row.get("speed"),
        start=row.get("start"),
    )


def _whole(sessions: Sequence[Lived]) -> Iterator[Lived]:
    """With the ends that killed servers did not see: the last that they are known to have seen."""
    last_run = max((each.run for each in sessions), default=0.0)
    seen: dict[float, float] = {}
    for each in sessions:
        seen[each.run] = max(seen.get(each.run, 0.0), each.left or each.joined)
    for each in sessions:
        yield (
            each if each.left is not None or each.run == last_run else evolve(each, left=seen[each.run])
        )


def _lives(sessions: Sequence[Lived], span: Span) -> Iterator[Life]:
    """One for each slot of each worker."""
    of_worker: dict[str, list[Lived]] = {}
    for each in sorted(sessions, key=lambda each: (each.joined, each.session)):
        of_worker.setdefault(each.worker, []).append(each)
    usual = median(_last(each, "speed", 1.0) for each in of_worker.values())
    for worker, lived in of_worker.items():
        for slot in range(lived[-1].slots):
            yield Life(
                kind="ok",
                speed=_last(lived, "speed", usual) / usual,
                round_trip=USUAL_ROUND_TRIP,
                start=_last(lived, "start", USUAL_START),
                transfer=0.0,
                stays=tuple(_stays(f"{worker}/{slot}", lived, span)),
            )


def _last(lived: Iterable[Lived], name: str, otherwise: float) -> float:
    """What is known last of a worker."""
    known = [getattr(each, name) for each in lived if getattr(each, name)]
    return float(known[-1]) if known else otherwise


def _stays(identity: str, lived: Sequence[Lived], span: Span) -> Iterator[Stay]:
    """In seconds of the log, and again and again until the horizon."""
    once = list(_joined(lived, span))
    for turn in range(HORIZON):
        for each in once:
            # A silence is told by when it began.
            ends = max(each.left, each.joined) if each.left is not None else inf
            shift = turn * span.seconds - span.begin
            how = "close" if each.how == RUNNING else each.how
            yield Stay(identity, each.joined + shift, ends + shift, how)
        if once[-1].left is None:
            return


def _joined(lived: Sequence[Lived], span: Span) -> Iterator[Lived]:
    """Sessions without those gaps that are the server's own, and without overlaps."""
    held = lived[0]
    for each in lived[1:]:
        left = min(each.joined if held.left is None else held.left, each.joined)
        if held.how == RUNNING and each.joined - left < RESTART_SECONDS:
            held = evolve(each, joined=held.joined)
            continue
        yield evolve(held, left=left)
        held = each
    runs_on = held.how == RUNNING and (held.left is None or held.left >= span.end)
    yield evolve(held, left=None) if runs_on else held
