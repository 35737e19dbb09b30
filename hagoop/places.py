"""Places for the programs of a slot: a slot is worth one processor."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twisted.internet.defer import DeferredSemaphore

PLACES = 2
"""Two keep a processor busy, whatever they do: map, reduce, sort or combine.  More would all be late."""


def new_places() -> DeferredSemaphore:
    """Those of one slot."""
    return DeferredSemaphore(PLACES)


@asynccontextmanager
async def a_place(places: DeferredSemaphore) -> AsyncIterator[None]:
    """One of them, first come, first served."""
    await places.acquire()
    try:
        yield
    finally:
        places.release()
