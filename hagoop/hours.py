"""The hours of the day at which a worker may work (``--hours``), and when it ends (``--until``)."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from math import inf

from attrs import frozen

from hagoop.outlook import HERE, Outlook

MINUTE = 60
DAY = 86400
_SPAN = re.compile(r"([0-9]{1,2})(?::([0-5][0-9]))?-([0-9]{1,2})(?::([0-5][0-9]))?")
_CLOCK = re.compile(r"([0-9]{1,2}):([0-5][0-9])")
_AFTER = re.compile(r"\+([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd])")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@frozen
class Hours:
    """Spans of each day, in seconds after midnight by the clock on the wall.

    :param spans: begin and end of each; the end of one that goes over midnight lies behind ``DAY``.
    """

    spans: tuple[tuple[int, int], ...]

    def outlook(self, second: float) -> Outlook:
        """How things stand so many seconds after midnight."""
        left = self._seconds_left(second)
        if left == inf:
            return HERE
        if left > 0:
            return Outlook(left, f"resting from {_clock(second + left)}")
        begin = min((each for each, _ in self.spans), key=lambda each: (each - second) % DAY)
        return Outlook(0.0, f"resting until {_clock(begin)}")

    def _seconds_left(self, second: float) -> float:
        """How long it is open; spans that touch are one."""
        end = second
        while (further := self._end_at(end)) > end:
            end = further
            if end - second >= DAY:
                return inf
        return end - second

    def _end_at(self, second: float) -> float:
        """Where the last of the spans ends that are open then; the same where none is."""
        return max((end for begin, end in self._around() if begin <= second < end), default=second)

    def _around(self) -> Iterator[tuple[int, int]]:
        """All spans of yesterday, today and the two days to come."""
        for day in range(-DAY, 3 * DAY, DAY):
            yield from ((begin + day, end + day) for begin, end in self.spans)


def parse_hours(text: str) -> Hours:
    """``22-7``, ``12:30-13:30``, or several with commas.

    :raises ValueError: it is none of these.
    """
    return Hours(tuple(_span(each.strip()) for each in text.split(",")))


def _span(text: str) -> tuple[int, int]:
    found = _SPAN.fullmatch(text)
    begin, end = (_second(*found.group(1, 2)), _second(*found.group(3, 4))) if found else (-1, -1)
    if not (0 <= begin < DAY and 0 <= end <= DAY):
        raise ValueError(
            f"{text!r} are no hours; write BEGIN-END, 0 to 24, several with commas: 22-7,12:30-13:30"
        )
    if begin == end:
        raise ValueError(f"{text!r} is no time at all; the whole day is 0-24")
    return begin, end if end > begin else end + DAY


def _second(hour: str, minute: str | None) -> int:
    return (int(hour) * 60 + int(minute or 0)) * MINUTE


def _clock(second: float) -> str:
    minute = round(second) % DAY // MINUTE
    return f"{minute // 60:02}:{minute % 60:02}"


def parse_until(text: str, now: datetime) -> datetime | timedelta:
    """When a worker ends: ``7:30``, ``2026-03-01T07:30`` with a zone or without, ``+90m``.

    :param now: by the clock on the wall, without a zone.
    :returns: a moment of that clock (without a zone) or of its own zone; or how long from the start.
    :raises ValueError: it is none of these, or has passed.
    """
    if found := _AFTER.fullmatch(text):
        return timedelta(seconds=float(found[1]) * _UNITS[found[2]])
    if found := _CLOCK.fullmatch(text):
        return _next(text, int(found[1]), int(found[2]), now)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _no_time(text) from None
    if moment <= (now if moment.tzinfo is None else now.astimezone()):
        raise ValueError(f"{text!r} has passed; write a time to come")
    return moment


def _next(text: str, hour: int, minute: int, now: datetime) -> datetime:
    """Today at that time, or tomorrow."""
    if hour > 23:
        raise _no_time(text)
    moment = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return moment if moment > now else moment + timedelta(days=1)


def _no_time(text: str) -> ValueError:
    return ValueError(f"{text!r} is no time; write HH:MM, a date as 2026-03-01T07:30, or +90s, +2h")
