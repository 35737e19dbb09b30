"""A spool in memory, for the simulator and for tests."""

import io
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from hagoop.arriving import ArrivedBytes, Arriving, Quota, Room, as_quota
from hagoop.errors import Damaged
from hagoop.interfaces import Arrived, ISpool, Syncable
from hagoop.jobs import Place, RequestId


@define(eq=False)
class Nothing:
    """Bytes in memory are as safe as they will be."""

    def sync(self) -> None:
        """Nothing to do."""


@implementer(ISpool)
@define(eq=False)
class MemorySpool:
    """The same in dicts.

    :ivar quota_bytes: the most that it may hold.
    """

    _clock: IReactorTime
    quota_bytes: Quota = 1 << 40
    _kept: dict[RequestId, dict[str, bytes]] = field(factory=dict, init=False)
    _blobs: dict[str, bytes] = field(factory=dict, init=False)
    _number: Iterator[int] = field(factory=itertools.count, init=False)
    _room: Room = field(init=False)
    _memory: Room = field(factory=lambda: Room(as_quota(1 << 40)), init=False)

    def __attrs_post_init__(self) -> None:
        self._room = Room(as_quota(self.quota_bytes))

    @property
    def used_bytes(self) -> int:
        """How much is kept or arriving."""
        return self._room.used

    @property
    def most_bytes(self) -> int:
        """How much may be kept."""
        return self._room.quota(self._room.used)

    def receive(self, limit: int) -> Arriving:
        return Arriving(limit, self._room, lambda path: None, None, self._memory)

    def keep(self, request: RequestId, arrived: Arrived) -> tuple[Place, Syncable]:
        path = f"requests/{request}/run-{next(self._number)}"
        self._kept.setdefault(request, {})[path] = _take(arrived)
        return Place(path, 0, arrived.size), Nothing()

    def open(self, place: Place) -> BinaryIO:
        for each in self._kept.values():
            if place.path in each:
                return io.BytesIO(each[place.path][place.offset : place.offset + place.size])
        raise Damaged(f"{place.path!r} is no place in the spool")

    def size_of(self, request: RequestId) -> int:
        return sum(map(len, self._kept.get(request, {}).values()))

    def drop(self, request: RequestId, places: Sequence[Place]) -> None:
        for each in places:
            self._room.give(len(self._kept.get(request, {}).pop(each.path, b"")))

    def forget(self, request: RequestId) -> "Deferred[None]":
        self.drop(request, [Place(path, 0, 0) for path in self._kept.get(request, {})])
        self._kept.pop(request, None)
        done: Deferred[None] = Deferred()
        self._clock.callLater(0, done.callback, None)
        return done

    def sweep(
        self,
        requests: Iterable[RequestId],
        places: Iterable[Place],
        *,
        blobs: Iterable[str] = (),
        names: Iterable[str] = (),
    ) -> None:
        kept, named, wanted = set(requests), {each.path for each in places}, set(blobs)
        live = {name: shelf for name, shelf in self._kept.items() if name in kept}
        self._kept = {
            name: {path: data for path, data in files.items() if path in named}
            for name, files in live.items()
        }
        self._blobs = {digest: data for digest, data in self._blobs.items() if digest in wanted}
        self._room.used = sum(len(data) for files in self._all() for data in files.values())

    def _all(self) -> list[dict[str, bytes]]:
        return [self._blobs, *self._kept.values()]

    def keep_blob(self, arrived: Arrived) -> Syncable:
        if arrived.digest in self._blobs:
            arrived.discard()
        else:
            self._blobs[arrived.digest] = _take(arrived)
        return Nothing()

    def hold_blob(self, digest: str) -> Syncable:
        self.open_blob(digest)
        return Nothing()

    def lose_blob(self, digest: str) -> None:
        self._room.give(len(self._blobs.pop(digest, b"")))

    def drop_blobs(self, wanted: Iterable[str]) -> None:
        kept = set(wanted)
        for digest in [each for each in self._blobs if each not in kept]:
            self._room.give(len(self._blobs.pop(digest)))

    def has_blob(self, digest: str) -> bool:
        return digest in self._blobs

    def blob_size(self, digest: str) -> int:
        with self.open_blob(digest) as file:
            return file.seek(0, os.SEEK_END)

    def open_blob(self, digest: str) -> BinaryIO:
        if digest not in self._blobs:
            raise Damaged(f"No program with digest {digest} is here")
        return io.BytesIO(self._blobs[digest])


def _take(arrived: Arrived) -> bytes:
    if not isinstance(arrived, ArrivedBytes) or arrived.kept:
        raise ValueError(f"{arrived!r} is kept already or another spool's")
    arrived.keep()
    return arrived.data
