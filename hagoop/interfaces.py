"""The seams that have, or surely will have, more than one implementation."""

from collections.abc import Iterable, Sequence
from typing import BinaryIO, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IReactorCore,
    IReactorProcess,
    IReactorTCP,
    IReactorThreads,
    IReactorTime,
)
from zope.interface import Attribute, Interface

from hagoop.jobs import Assignment, AssignmentId, Found, Piece, Place, RequestId


class Syncable(Protocol):
    """Bytes that the journal's thread puts on disk before the rows that name them."""

    def sync(self) -> None:
        """Return when the bytes are on disk; runs in the journal's thread."""


class Arrived(Protocol):
    """Bytes that have come whole, and are nobody's yet.

    :ivar size: how many.
    :ivar digest: their SHA-256, in hex.
    """

    size: int
    digest: str

    def open(self) -> BinaryIO:
        """The bytes, from the first, to read and seek in."""

    def discard(self) -> None:
        """Forget them; once kept, this does nothing."""


class Arriving(Protocol):
    """Bytes on their way in."""

    def write(self, data: bytes) -> None:
        """Take some; raises ``LimitExceeded`` past the bound, ``SpoolFull`` without room."""

    def finish(self) -> Arrived:
        """All have come."""

    def abandon(self) -> None:
        """No more will come: leave nothing behind."""


class IWorker(Interface):
    """A worker as the scheduler sees it: a session, a simulated one, a fake."""

    name = Attribute("What people call it.")

    def cancel(assignment: AssignmentId, reason: str) -> None:
        """End the assignment's program within five seconds and forget it."""

    def take_back(assignment: AssignmentId, end: int) -> "Deferred[int]":
        """Ask it to stop at ``end``; fires with the end that it keeps, at or after."""

    def forget(request: RequestId) -> None:
        """The request has ended: drop what was kept for it."""

    def close(reason: str) -> None:
        """End the session."""


class IInputs(Interface):
    """The ordered lines of one request's inputs."""

    whole = Attribute("Whether every line has been counted: bool.")
    lines = Attribute("How many lines have been counted so far: int.")
    estimate = Attribute("How many lines there will be: int; equal to lines once whole.")
    size = Attribute("Bytes of all lines, once whole: int.")
    breaks = Attribute("Sorted numbers of the lines that begin a counted file: Sequence[int].")

    def pieces(start: int, end: int) -> Sequence[Piece]:
        """The parts of files that hold the lines ``start`` to ``end - 1``.

        :raises NoSuchInput: a file has changed or gone since the request was submitted.
        """

    def open(piece: Piece) -> BinaryIO:
        """The bytes of a piece: a window that begins at 0.  Blocks shortly.

        :raises NoSuchInput: as for ``pieces``.
        """

    def found(piece: Piece) -> "Found | None":
        """The user's file that holds a piece, as it is now: a worker may see it too.  Blocks shortly.

        None: its lines are in none, or not as they stand there.

        :raises NoSuchInput: as for ``pieces``.
        """

    def close() -> None:
        """The request has ended: remove what was made to read them."""


class ISpool(Interface):
    """Bytes of requests: uploads, runs and parts of answers; and the programs that they use."""

    used_bytes = Attribute("How much is kept or arriving, roughly: int.")
    most_bytes = Attribute("How much may be kept: int.")

    def receive(limit: int) -> Arriving:
        """Room for at most ``limit`` bytes."""

    def keep(request: RequestId, arrived: Arrived) -> "tuple[Place, Syncable]":
        """Give bytes a place under a request.  They may be read from it at once; they are
        safe when the journal has called ``sync``."""

    def open(place: Place) -> BinaryIO:
        """The bytes at a place: a window that begins at 0.  Blocks; use it in threads.

        :raises TransferFailed: they are not there.
        """

    def size_of(request: RequestId) -> int:
        """How much it keeps for a request."""

    def drop(request: RequestId, places: Sequence[Place]) -> None:
        """These are no longer named (their runs were merged)."""

    def forget(request: RequestId) -> "Deferred[None]":
        """Remove all that a request keeps."""

    def sweep(
        requests: Iterable[RequestId],
        places: Iterable[Place],
        *,
        blobs: Iterable[str] = (),
        names: Iterable[str] = (),
    ) -> None:
        """At start: remove whatever these do not name.  Blocks.

        :param blobs: digests of the programs of live requests.
        :param names: paths that were given once and are not given again.
        """

    def keep_blob(arrived: Arrived) -> Syncable:
        """Keep a program under its digest; one that is there already is not kept twice."""

    def hold_blob(digest: str) -> Syncable:
        """What syncs a program that is kept already: whoever brought it may not have come to that.

        :raises TransferFailed: it is not kept.
        """

    def lose_blob(digest: str) -> None:
        """A program is not what it was: whoever names it next must bring it again."""

    def drop_blobs(wanted: Iterable[str]) -> None:
        """Remove the programs that these digests do not name."""

    def has_blob(digest: str) -> bool:
        """Whether a program with this digest is kept; also for what is no digest."""

    def blob_size(digest: str) -> int:
        """Its bytes.

        :raises TransferFailed: it is not kept.
        """

    def open_blob(digest: str) -> BinaryIO:
        """Its bytes, to read.

        :raises Damaged: it is not kept.
        """


class IJournal(Interface):
    """Facts, in order, on disk before anyone is told."""

    epoch = Attribute("How often this journal has been opened: int.")

    def replay() -> "Iterable[tuple[str, str, dict[str, object]]]":
        """``(stream, kind, body)`` of all facts, oldest first.  Blocks.

        :raises StateError: a row does not check.
        """

    def append(
        stream: str, kind: str, body: "dict[str, object]", syncs: "Sequence[Syncable]" = ()
    ) -> "Deferred[None]":
        """Add a fact; fires when it, and all of ``syncs`` before it, are on disk."""

    def put(key: str, body: "dict[str, object]") -> "Deferred[None]":
        """Set a value that replaces its older one (a worker's record)."""

    def values() -> "dict[str, dict[str, object]]":
        """All values by key.  Blocks."""

    def forget(stream: str) -> "Deferred[None]":
        """Remove a stream with all its facts."""

    def close() -> "Deferred[None]":
        """Write what is queued, then close."""


class IServerReactor(IReactorCore, IReactorTime, IReactorTCP, IReactorThreads):
    """What a server needs of its reactor."""


class IWorkerReactor(IServerReactor, IReactorProcess):
    """What a worker needs of its reactor: only workers spawn."""


__all__ = [
    "Arrived",
    "Arriving",
    "Assignment",
    "IInputs",
    "IJournal",
    "IServerReactor",
    "ISpool",
    "IWorker",
    "IWorkerReactor",
    "Syncable",
]
