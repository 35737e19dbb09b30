"""How much computing lines are: a curve over their numbers, as fleet files write it."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from attrs import define, field

from hagoop.errors import FleetError


@define(frozen=True)
class Work:
    """Cumulative reference seconds by line, linear between the points of the curve.

    :param points: ``(line, seconds)``, both growing, the first ``(0, 0)``.
    """

    points: Sequence[tuple[float, float]]
    _lines: list[float] = field(init=False)
    _seconds: list[float] = field(init=False)

    def __attrs_post_init__(self) -> None:
        lines = [float(line) for line, _ in self.points]
        seconds = [float(cost) for _, cost in self.points]
        if len(lines) < 2 or (lines[0], seconds[0]) != (0, 0) or not _grow(lines) or not _grow(seconds):
            raise FleetError("cost must begin at [0, 0], and grow in lines and in seconds")
        object.__setattr__(self, "_lines", lines)
        object.__setattr__(self, "_seconds", seconds)

    @property
    def lines(self) -> int:
        """How many lines there are."""
        return int(self._lines[-1])

    @property
    def seconds(self) -> float:
        """What all of them take at speed 1."""
        return self._seconds[-1]

    def seconds_before(self, line: float) -> float:
        """What the lines before this one take at speed 1."""
        return _interpolate(self._lines, self._seconds, line)

    def line_at(self, seconds: float) -> float:
        """How far one comes in so many reference seconds from the first line."""
        return _interpolate(self._seconds, self._lines, seconds)


def _grow(values: list[float]) -> bool:
    return all(a < b for a, b in pairwise(values))


def _interpolate(xs: list[float], ys: list[float], x: float) -> float:
    at = min(max(bisect_right(xs, x), 1), len(xs) - 1)
    x0, y0 = xs[at - 1], ys[at - 1]
    return y0 + (x - x0) * (ys[at] - y0) / (xs[at] - x0)
