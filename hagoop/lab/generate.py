"""Fleets drawn by chance: any of the ten kinds, of any size, for any seed."""

from collections.abc import Iterator
from itertools import accumulate
from math import exp, inf, log
from random import Random

from attrs import define, field, frozen

from hagoop.errors import FleetError
from hagoop.lab.capacity import work_until
from hagoop.lab.habits import KINDS, Bounds, FleetKind, Habit
from hagoop.lab.lives import Life, Recording, Stay
from hagoop.lab.work import Work

HORIZON = 4
"""Lives are drawn for so many times the seconds of capacity."""
STRETCHES = 20_000
"""How many stretches of lines have a cost of their own where it differs."""
GROUPS = 8
SPAN_DEVIATIONS = 4.652
"""Standard deviations between the 1st and the 99th of a hundred."""
LEAST_SECONDS = 1e-4


@frozen
class Wanted:
    """Which fleet to draw; None is as many as its kind has.

    :param seconds: its capacity: how long a scheduler would take that knows the future.
    """

    kind: str
    seed: int
    workers: int | None = None
    seconds: float | None = None


def generate(wanted: Wanted, chance: Random) -> Recording:
    """Draw a fleet, and as much work as it can do in its seconds.

    :raises FleetError: there is no such kind, or its machines can do nothing.
    """
    if wanted.kind not in KINDS:
        raise FleetError(f"{wanted.kind!r} is no kind of fleet; there are {', '.join(KINDS)}")
    kind = KINDS[wanted.kind]
    seconds = wanted.seconds or kind.seconds
    lives = Draw(seconds, chance).lives(kind, wanted.workers or kind.workers)
    work = work_until(lives, seconds)
    if work <= 0:
        raise FleetError(
            f"no machine of this {wanted.kind} works within {seconds:g} s; take more workers"
        )
    return Recording(
        fleet=wanted.kind,
        seed=wanted.seed,
        work=Work(_cost(kind, work, chance)),
        capacity_seconds=seconds,
        commit_cost=kind.commit_cost,
        horizon=HORIZON * seconds,
        bounds={"capacity": seconds},
        lives=lives,
    )


@define
class Draw:
    """Machines for a fleet of so many seconds.

    :ivar taken: when each group of machines is taken away.
    """

    seconds: float
    chance: Random
    taken: dict[int, list[float]] = field(factory=dict)

    def lives(self, kind: FleetKind, workers: int) -> list[Life]:
        """All machines, sort by sort."""
        shares = list(accumulate(share for share, _ in kind.sorts))
        ends = [round(workers * share / shares[-1]) for share in shares]
        habits: list[Habit] = []
        for (_, habit), end in zip(kind.sorts, ends, strict=True):
            habits += [habit] * (end - len(habits))
        return [self.life(number, habit) for number, habit in enumerate(habits)]

    def life(self, number: int, habit: Habit) -> Life:
        """One machine."""
        sigma = log(habit.span) / SPAN_DEVIATIONS
        return Life(
            kind=habit.kind,
            speed=_short(self.chance.lognormvariate(0, sigma) / habit.slowness),
            round_trip=_short(self._between(habit.round_trip)),
            start=_short(self._between(habit.start)),
            transfer=self._between(habit.transfer) if habit.transfer else 0.0,
            stays=tuple(self._stays(number, habit)),
            slow=tuple(self._slow(habit)),
        )

    def _stays(self, number: int, habit: Habit) -> Iterator[Stay]:
        time = habit.joins_at + self.seconds * (habit.joins_in + self._wait(habit.late))
        scale, shape = self._between(habit.life), self._between(habit.shape)
        gap = self._between(habit.gap)
        gone = self.seconds * habit.gone_in + self.chance.random()
        names = 0
        while time < HORIZON * self.seconds and time < gone:
            ends = time + (inf if scale == inf else self.chance.weibullvariate(scale, shape))
            ends = max(min(ends, gone, self._taken_away(number, habit, time)), time + LEAST_SECONDS)
            how = (
                "silent"
                if ends == gone and self.chance.random() < habit.gone_silent
                else self._how(habit)
            )
            yield Stay(f"{number}.{names}", round(time, 4), round(ends, 4), how)
            names += self.chance.random() < habit.renewed
            time = ends + (self.chance.uniform(*habit.gap) if habit.even_gap else self._wait(gap))

    def _taken_away(self, number: int, habit: Habit, time: float) -> float:
        """When the group of a machine is taken away next, give or take a moment."""
        if habit.group_life == inf:
            return inf
        times = self.taken.setdefault(number % GROUPS, [self._wait(habit.group_life)])
        while times[-1] <= time:
            times.append(times[-1] + self._wait(habit.group_life))
        return next(each for each in times if each > time) + self.chance.random()

    def _how(self, habit: Habit) -> str:
        drawn = self.chance.random()
        if drawn < habit.silent:
            return "silent"
        return "hang" if drawn < habit.silent + habit.hang else "close"

    def _slow(self, habit: Habit) -> Iterator[tuple[float, float]]:
        time = self._wait(habit.tires)
        while time < HORIZON * self.seconds:
            yield round(time, 4), 0.05
            time += self._wait(habit.rests) + LEAST_SECONDS
            yield round(time, 4), 1.0
            time += self._wait(habit.tires) + LEAST_SECONDS

    def _between(self, bounds: Bounds) -> float:
        """Evenly in the logarithm."""
        low, high = bounds
        return low if low == high else exp(self.chance.uniform(log(low), log(high)))

    def _wait(self, mean: float) -> float:
        if mean in (0, inf):
            return mean
        return self.chance.expovariate(1 / mean)


def _cost(kind: FleetKind, work: float, chance: Random) -> list[tuple[float, float]]:
    """The curve of a work of so many reference seconds."""
    lines = max(2, round(work / kind.line_seconds))
    if not kind.even:
        return _uneven(lines, work, chance)
    if not kind.heavy_seconds:
        return [(0, 0.0), (lines, work)]
    return _with_heavy(lines, work, kind, chance)


def _uneven(lines: int, work: float, chance: Random) -> list[tuple[float, float]]:
    stretches = min(STRETCHES, lines)
    drawn = [0.0, *accumulate(chance.lognormvariate(0, 1) for _ in range(stretches))]
    each = work / drawn[-1]
    return [(lines * at // stretches, cost * each) for at, cost in enumerate(drawn)]


def _with_heavy(lines: int, work: float, kind: FleetKind, chance: Random) -> list[tuple[float, float]]:
    """Even, but for lines that take long, at most half of the work in all."""
    most = int(work / 2 / kind.heavy_seconds)
    heavy = sorted(chance.sample(range(1, lines - 1), min(most, lines // 4, round(work * kind.heavy))))
    each = (work - len(heavy) * kind.heavy_seconds) / (lines - len(heavy))
    points = [(0.0, 0.0)]
    for number, line in enumerate(heavy):
        before = (line - number) * each + number * kind.heavy_seconds
        if points[-1][0] < line:
            points.append((line, before))
        points.append((line + 1, before + kind.heavy_seconds))
    return [*points, (lines, work)] if points[-1][0] < lines else points


def _short(value: float) -> float:
    return round(value, 6)
