"""Recorded lives of fleets, and the files that hold them.

A file is JSON lines, packed by gzip or not: a header (``fleet``, ``seed``, ``lines``, ``cost``,
``capacity_seconds``, ``commit_cost``, ``horizon``, ``bounds``), then one line for each machine
(``kind``, ``speed``, ``round_trip``, ``start``, ``transfer``, ``sessions``, ``slow``).
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from json import JSONDecodeError, loads
from math import inf
from typing import Any

from attrs import field, frozen

from hagoop.errors import FleetError
from hagoop.lab.work import Work

KINDS = ("ok", "bad", "evil")
ENDS = ("close", "silent", "hang", "notice")


@frozen
class Stay:
    """One session of a machine; times are seconds.

    :param ends: infinite where the record knows no end.
    :param how: ``close``; ``silent``: seen only by what does not come; ``hang``: the connection stays
        and nothing moves; ``notice``: it says that it leaves.
    """

    identity: str
    joins: float
    ends: float
    how: str


@frozen
class Life:
    """One machine.

    :param kind: ``ok``; ``bad``: closes 20 ms after it was given work; ``evil``: takes it and is silent.
    :param speed: reference seconds a second.
    :param round_trip: seconds to the server and back.
    :param start: seconds to start the program.
    :param transfer: seconds for a line over its link, beside the computing.
    :param slow: ``(time, factor)``: from then on it is so much as fast as ``speed``.
    """

    kind: str
    speed: float
    round_trip: float
    start: float
    transfer: float
    stays: tuple[Stay, ...]
    slow: tuple[tuple[float, float], ...] = ()
    _times: tuple[float, ...] = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_times", tuple(time for time, _ in self.slow))

    def work_done(self, begin: float, end: float) -> float:
        """Reference seconds that it computes from one time to another."""
        if not self.slow:  # As most, and it is asked for each Beat.
            return max(0.0, end - begin) * self.speed
        done = 0.0
        while begin < end:
            rate, until = self._rate_at(begin)
            done += (min(until, end) - begin) * rate
            begin = until
        return done

    def time_of(self, begin: float, work: float) -> float:
        """When it has computed so many reference seconds."""
        if not self.slow:
            return begin + work / self.speed
        while True:
            rate, until = self._rate_at(begin)
            if begin + work / rate <= until:
                return begin + work / rate
            work -= (until - begin) * rate
            begin = until

    def _rate_at(self, time: float) -> tuple[float, float]:
        at = bisect_right(self._times, time)
        factor = self.slow[at - 1][1] if at else 1.0
        return self.speed * factor, self._times[at] if at < len(self._times) else inf


@frozen
class Recording:
    """A fleet's history, and the work that it was given.

    :param capacity_seconds: makespan of a scheduler that knows the future and pays nothing.
    :param commit_cost: seconds that a job costs beside computing.
    :param horizon: until when lives are recorded; a request that has not ended by then has failed.
    :param bounds: other makespans that were computed for it, by name.
    """

    fleet: str
    seed: int
    work: Work
    capacity_seconds: float
    commit_cost: float
    horizon: float
    bounds: Mapping[str, float]
    lives: Sequence[Life]


def read_recording(lines: Iterable[str]) -> Recording:
    """The recording in a file's lines.

    :raises FleetError: it is none; says which line, and what is wrong.
    """
    rows = iter(lines)
    header = _row(1, next(rows, ""))
    numbered = [(number, row) for number, row in enumerate(rows, 2) if row.strip()]
    lives = [_told(number, _life, _row(number, row)) for number, row in numbered]
    if not lives:
        raise FleetError("it has no machines")
    recording: Recording = _told(1, lambda row: _recording(row, lives), header)
    return recording


def _row(number: int, text: str) -> Any:
    try:
        return loads(text)
    except JSONDecodeError as error:
        raise FleetError(f"line {number} is not JSON: {error}") from error


def _told(number: int, read: Any, row: Any) -> Any:
    try:
        return read(row)
    except KeyError as error:
        raise FleetError(f"line {number} lacks {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise FleetError(f"line {number}: {error}") from error


def _recording(row: Any, lives: list[Life]) -> Recording:
    return Recording(
        fleet=str(row["fleet"]),
        seed=int(row["seed"]),
        work=Work([(line, seconds) for line, seconds in row["cost"]]),
        capacity_seconds=_positive("capacity_seconds", row),
        commit_cost=_positive("commit_cost", row),
        horizon=_positive("horizon", row),
        bounds={str(name): float(value) for name, value in row.get("bounds", {}).items()},
        lives=lives,
    )


def _life(row: Any) -> Life:
    if row["kind"] not in KINDS:
        raise ValueError(f"kind is {row['kind']!r}, and not one of {', '.join(KINDS)}")
    slow = tuple((float(time), float(factor)) for time, factor in row.get("slow", ()))
    if any(factor <= 0 for _, factor in slow):
        raise ValueError("a factor of slow is not above 0")
    return Life(
        kind=row["kind"],
        speed=_positive("speed", row),
        round_trip=float(row["round_trip"]),
        start=float(row["start"]),
        transfer=float(row.get("transfer", 0.0)),
        stays=tuple(_stay(each) for each in row["sessions"]),
        slow=slow,
    )


def _stay(row: Any) -> Stay:
    identity, joins, ends, how = row
    if how not in ENDS:
        raise ValueError(f"a session ends by {how!r}, and not by one of {', '.join(ENDS)}")
    until = inf if ends is None else float(ends)
    if until < float(joins):
        raise ValueError(f"a session ends at {until}, before it begins at {joins}")
    return Stay(str(identity), float(joins), until, how)


def _positive(name: str, row: Any) -> float:
    value = float(row[name])
    if not 0 < value < inf:
        raise ValueError(f"{name} is {value}, and not above 0")
    return value
