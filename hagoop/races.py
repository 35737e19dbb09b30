"""Waiting for one of two things."""

from typing import Any, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


async def first_of(wanted: "Deferred[T]", other: "Deferred[T]") -> T:
    """What happens first; both are cancelled then."""
    first: Deferred[T] = Deferred()

    def fired(result: Any) -> None:
        if not first.called:
            first.callback(result)

    for each in (wanted, other):
        each.addBoth(fired)
    try:
        return await first
    finally:
        wanted.cancel()
        other.cancel()
