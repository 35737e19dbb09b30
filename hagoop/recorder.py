"""Facts that must come to the disk, or go from it, and wait there for room."""

from collections.abc import Callable, Sequence

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hagoop.errors import SpoolFull
from hagoop.interfaces import IJournal, Syncable

log = Logger()
RETRY_SECONDS = 1.0
"""How soon a write is tried again that found the disk full."""
Fact = dict[str, object]


@frozen
class Recorder:
    """Writes to a journal; what finds the disk full is tried again, for as long as it is wanted."""

    journal: IJournal
    clock: IReactorTime

    async def record(
        self,
        stream: str,
        kind: str,
        fact: Fact,
        syncs: Sequence[Syncable] = (),
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Put a fact on disk, and before it what it is about.

        :raises StateError: the journal is closed, or the disk has failed: the server ends.
        """
        await self._insist(stream, lambda: self.journal.append(stream, kind, fact, syncs), is_wanted)

    async def forget(self, stream: str, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Remove a stream with all its facts.

        :raises StateError: as for ``record``.
        """
        await self._insist(stream, lambda: self.journal.forget(stream), is_wanted)

    async def _insist(
        self, stream: str, write: "Callable[[], Deferred[None]]", is_wanted: Callable[[], bool]
    ) -> None:
        is_told = False
        while is_wanted():
            try:
                return await write()
            except SpoolFull:
                if not is_told:
                    log.warn("the disk is full: {stream} waits for room", stream=stream)
                is_told = True
                await deferLater(self.clock, RETRY_SECONDS)
