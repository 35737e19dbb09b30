"""``--key-fields``, ``--separator``, ``--secondary-sort``: how lines are sorted before a reducer."""

from collections.abc import Callable
from typing import Any, Protocol

from twisted.python.usage import UsageError

from hagoop.jobs import is_separator
from hagoop.keys import MOST_FIELDS

ESCAPES = {"\\t": "\t", "\\0": "\0"}
"""What shells make hard to type, and what cannot be an argument."""
ORDERING = ("key-fields", "separator", "secondary-sort")


class Given(Protocol):
    """A parsed command line."""

    def __getitem__(self, name: str) -> Any:
        """An option's value, whatever its kind; None, or 0 for a flag, if it was not given."""

    def number(self, name: str, kind: Callable[[str], float], least: float) -> float:
        """A number that was given, at least so large."""


def check_order(given: Given) -> None:
    """Whether these options go with the programs.

    :raises UsageError: they do not.
    """
    for name in ORDERING:
        if given[name] and given["binary"] is not None:
            raise UsageError(f"--{name} does not go with --binary: it has an order of its own")
        if given[name] and given["reducer"] is None:
            raise UsageError(f"--{name} needs a --reducer: without one nothing is sorted")


def key_fields(given: Given) -> int:
    """Of how many fields a key is."""
    if given["key-fields"] is None:
        return 1
    count = int(given.number("key-fields", int, 1))
    if count > MOST_FIELDS:
        raise UsageError(f"--key-fields {count}: it must be at most {MOST_FIELDS}")
    return count


def separator(given: Given) -> str:
    """The byte that ends a field."""
    if given["separator"] is None:
        return "\t"
    text: str = ESCAPES.get(given["separator"], given["separator"])
    if not is_separator(text):
        raise UsageError(f"--separator '{text}': it must be one byte of ASCII, or \\t, and no newline")
    return text
