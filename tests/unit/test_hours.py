"""``--hours`` and ``--until``: what is read, and how things stand."""

import re
from datetime import UTC, datetime, timedelta
from math import inf

import pytest

from hagoop.hours import parse_hours, parse_until
from hagoop.outlook import HERE, Outlook, nearest

HOUR = 3600
NOW = datetime(2026, 3, 1, 12, 0)
WRONG = "write BEGIN-END, 0 to 24, several with commas: 22-7,12:30-13:30"


def exactly(sentence: str) -> str:
    """A pattern that nothing else matches."""
    return f"^{re.escape(sentence)}$"


@pytest.mark.parametrize(
    ("text", "hour", "left", "why"),
    [
        ("22-7", 21.5, 0, "resting until 22:00"),
        ("22-7", 22, 9 * HOUR, "resting from 07:00"),
        ("22-7", 23.5, 7.5 * HOUR, "resting from 07:00"),
        ("22-7", 0, 7 * HOUR, "resting from 07:00"),
        ("22-7", 7, 0, "resting until 22:00"),
        ("22-7,12:30-13:30", 7.5, 0, "resting until 12:30"),
        ("22-7, 12:30-13:30", 13, HOUR / 2, "resting from 13:30"),
        ("8-12,12-18", 10, 8 * HOUR, "resting from 18:00"),
        ("22-24,0-7", 23, 8 * HOUR, "resting from 07:00"),
        ("9-24", 8, 0, "resting until 09:00"),
        ("9-24", 23, HOUR, "resting from 00:00"),
        ("0-24", 23, inf, ""),
        ("7-19,19-7", 12, inf, ""),
    ],
)
def test_hours_say_how_things_stand(text: str, hour: float, left: float, why: str) -> None:
    """Over midnight too; hours that touch are one."""
    assert parse_hours(text).outlook(hour * HOUR) == Outlook(left, why)


@pytest.mark.parametrize("text", ["", "7", "22-", "22-25", "24-7", "7:60-8", "22..7", "1-2-3", "-1-3"])
def test_what_are_no_hours_is_told(text: str) -> None:
    """With what they should look like."""
    with pytest.raises(ValueError, match=exactly(f"{text!r} are no hours; {WRONG}")):
        parse_hours(text)


def test_the_wrong_one_of_several_hours_is_named() -> None:
    """Not all of them."""
    with pytest.raises(ValueError, match=r"^'x' are no hours; "):
        parse_hours("22-7,x")


def test_no_time_at_all_is_told() -> None:
    """It could mean always or never."""
    with pytest.raises(ValueError, match=exactly("'7-7:00' is no time at all; the whole day is 0-24")):
        parse_hours("7-7:00")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("12:01", datetime(2026, 3, 1, 12, 1)),
        ("7:30", datetime(2026, 3, 2, 7, 30)),
        ("12:00", datetime(2026, 3, 2, 12, 0)),
        ("2026-03-01T23:15", datetime(2026, 3, 1, 23, 15)),
        ("2026-03-05 08:00", datetime(2026, 3, 5, 8, 0)),
        ("2027-01-01T00:00Z", datetime(2027, 1, 1, tzinfo=UTC)),
        ("+90s", timedelta(seconds=90)),
        ("+2h", timedelta(hours=2)),
        ("+1.5d", timedelta(hours=36)),
    ],
)
def test_end_is_a_time_or_a_while(text: str, found: datetime | timedelta) -> None:
    """The next such time of day, a date with or without a zone, or so long from the start."""
    assert parse_until(text, NOW) == found


@pytest.mark.parametrize("text", ["", "noon", "24:00", "7:3", "+2", "2h", "+h", "2026-13-01"])
def test_what_is_no_time_is_told(text: str) -> None:
    """With what it should look like."""
    said = "is no time; write HH:MM, a date as 2026-03-01T07:30, or +90s, +2h"
    with pytest.raises(ValueError, match=exactly(f"{text!r} {said}")):
        parse_until(text, NOW)


@pytest.mark.parametrize("text", ["2026-03-01T12:00", "2025-01-01T00:00Z"])
def test_time_that_has_passed_is_told(text: str) -> None:
    """A worker that ended at once would be a riddle."""
    with pytest.raises(ValueError, match=exactly(f"{text!r} has passed; write a time to come")):
        parse_until(text, NOW)


def test_nearest_outlook_counts() -> None:
    """Of several; and an end for good before a rest."""
    rest, end = Outlook(0.0, "resting"), Outlook(-3.0, "leaving", ends=True)
    later = Outlook(5.0, "leaving", ends=True)
    assert nearest([]) is HERE
    assert nearest([HERE, later]) is later
    assert nearest([later, rest]) is rest
    assert nearest([rest, end]) is nearest([end, rest]) is end
