"""The job in hand, which ends sooner than planned when it takes too long or its end is taken back.

Its program is fed less, and ends by itself with what it was given: nothing that it has done is lost.
"""

import os
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import Protocol

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from hagoop.feeding import Feed, Feeder
from hagoop.found import open_regular
from hagoop.in_place import InThread
from hagoop.incoming import SCAN_BYTES, skip_lines
from hagoop.process import Running

log = Logger()
LATE = 1.25
"""After so many commit intervals a job takes too long, if much of it is left."""
MUCH = 0.5
"""How many commit intervals what is left must take to be worth a start of the program of its own."""
WINDOW = 0.5
"""The present rate is that of the last so many commit intervals."""
LOOK = 0.25
"""How many commit intervals lie between two looks."""
LEAST_LOOK_SECONDS = 0.02
MOST_LOOKS = 8


@frozen
class Place:
    """Where a job may end.

    :param end: number after the last position.
    :param byte: of the file that its program is fed from.
    :param weight: of the job that ends there.
    """

    end: int
    byte: int
    weight: int


class Places(Protocol):
    """Where in its feed a job may end."""

    async def find(self, feed: Feed, byte: int, end: int) -> Place | None:
        """The first at or behind both a byte of the file and a position; None: only the feed's end."""


@frozen
class Lines:
    """Lines in a file, of which ``start`` is the job's first: a job may end behind each."""

    start: int
    in_thread: InThread

    async def find(self, feed: Feed, byte: int, end: int) -> Place | None:
        """See ``Places``; lines are counted in a thread, for there may be many."""
        found: tuple[int, int] | None = await self.in_thread(find_line_end, feed, byte, end - self.start)
        if found is None:
            return None
        lines, stop = found
        return Place(self.start + lines, stop, lines)


@frozen
class Cells:
    """Cells of keys in a file, the first of which is number ``first``: a job may end at each bound.

    :param offsets: where the cells begin, and at last the end.
    """

    first: int
    offsets: Sequence[int]

    async def find(self, feed: Feed, byte: int, end: int) -> Place | None:
        """See ``Places``."""
        # No program is run on nothing.
        behind = bisect_left(self.offsets, max(byte, feed.offset + 1))
        cell = max(behind, end - self.first)
        stop = self.offsets[cell]
        return Place(self.first + cell, stop, stop - feed.offset) if stop < feed.end else None


def find_line_end(feed: Feed, byte: int, least: int) -> tuple[int, int] | None:
    """The first end of a line at or behind ``byte`` with at least so many lines of the feed before it.

    Blocks.  Returns how many lines there are before it, one at least, and its byte; None: only the
    feed's end is such a place.
    """
    with open_regular(feed.path) as file:
        at, lines = feed.offset, 0
        while at < byte - 1:
            chunk = os.pread(file.fileno(), min(SCAN_BYTES, byte - 1 - at), at)
            if not chunk:
                return None
            at, lines = at + len(chunk), lines + chunk.count(b"\n")
        wanted = max(lines + 1, least)
        stop = _skip(file.fileno(), at, feed.end, wanted - lines)
    return (wanted, stop) if stop is not None and stop < feed.end else None


def _skip(descriptor: int, at: int, end: int, lines: int) -> int | None:
    """Where so many lines have ended."""
    while lines and at < end:
        chunk = os.pread(descriptor, min(SCAN_BYTES, end - at), at)
        if not chunk:
            return None
        size, lines = skip_lines(chunk, lines)
        at += size
    return None if lines else at


@frozen
class Job:
    """A job as it is planned, or as it was cut since.

    :param places: where it may end besides; None: nowhere, or it has no program.
    """

    start: int
    end: int
    weight: int
    feed: Feed
    places: Places | None = None

    def paced(self, seconds: float) -> "Job":
        """The same, fed in small batches if it can be cut; it should take so long, 0: nobody knows."""
        if self.places is None:
            return self
        return evolve(self, feed=evolve(self.feed, pace=self.feed.size / seconds if seconds else 0.0))

    def cut_at(self, place: Place) -> "Job":
        """The same up to there."""
        feed = evolve(self.feed, end=place.byte)
        return evolve(self, end=place.end, weight=place.weight, feed=feed)

    def weight_of(self, taken: int) -> int:
        """The weight of so many bytes."""
        return self.weight * min(taken, self.feed.size) // self.feed.size if self.feed.size else 0


@frozen
class Look:
    """How many bytes of a job its program had taken after so many seconds."""

    seconds: float
    taken: int


def is_too_long(looks: Sequence[Look], size: int, commit_seconds: float) -> bool:
    """Whether a job of so many bytes has lasted too long, and much of it is left, at its present rate.

    While the program has taken nothing it starts up, and a shorter job would not help.
    """
    now = looks[-1]
    if now.seconds < LATE * commit_seconds:
        return False
    since = now.seconds - WINDOW * commit_seconds
    # At least one look lies before the window's beginning, or the rate is of too short a time.
    before = [each for each in looks if each.taken and each.seconds <= since]
    return bool(before) and seconds_left(before[-1], now, size) > MUCH * commit_seconds


def seconds_left(before: Look, now: Look, size: int) -> float:
    """How long the rest takes at the rate between two looks."""
    left, taken = size - now.taken, now.taken - before.taken
    if left <= 0:
        return 0.0
    return left * (now.seconds - before.seconds) / taken if taken > 0 else inf


@define(eq=False)
class InHand:
    """One run of a program on a job, which is watched, and cut where it may be.

    :ivar job: as it is by now.
    :ivar was_cut: told the job's new end.
    """

    job: Job
    clock: IReactorTime
    commit_seconds: float
    was_cut: Callable[[int], None]
    _running: Running | None = None
    _began: float = 0.0
    _looks: deque[Look] = field(factory=lambda: deque(maxlen=MOST_LOOKS))
    _looking: IDelayedCall | None = None
    _turn: DeferredLock = field(factory=DeferredLock)

    def __attrs_post_init__(self) -> None:
        # Whoever wants to cut it sooner, waits for the start.
        self._turn.acquire()

    def began(self, running: Running) -> None:
        """Its program has started."""
        self._running, self._began = running, self.clock.seconds()
        self._turn.release()
        if self._feeder is not None:
            self._look_in((LATE - WINDOW) * self.commit_seconds)

    def over(self) -> None:
        """Its program has ended, or was never started."""
        if self._looking is not None and self._looking.active():
            self._looking.cancel()
        if self._running is None:
            self._turn.release()
        self._running = None

    @property
    def done(self) -> int:
        """The weight that its program has taken."""
        return self.job.weight_of(self._taken)

    @property
    def seconds_left(self) -> float:
        """How long it should still take, by all that is known; 0 if nothing is."""
        now = Look(self.clock.seconds() - self._began, self._taken)
        if now.taken:
            return seconds_left(Look(0.0, 0), now, self.job.feed.size)
        pace = self.job.feed.pace
        return self.job.feed.size / pace if pace else 0.0

    async def cut(self, end: int) -> None:
        """End it at a position, or as soon after it as what was fed allows."""
        if self.job.places is not None:
            await self._turn.run(self._cut, end)

    @property
    def _taken(self) -> int:
        return self._running.taken if self._running is not None else 0

    @property
    def _feeder(self) -> Feeder | None:
        """What feeds it, if that may end sooner."""
        cuttable = self._running is not None and self.job.places is not None
        return self._running.feeder if cuttable and self._running is not None else None

    async def _cut(self, end: int) -> None:
        feeder, places = self._feeder, self.job.places
        if feeder is None or places is None or feeder.accepted == feeder.end:
            return
        feeder.hold()
        try:
            place = await places.find(self.job.feed, feeder.accepted, end)
        except OSError as error:
            log.debug("a job is not cut: {error}", error=error)
            return
        finally:
            feeder.resume()
        # It may have ended meanwhile: then all of it is accepted.
        if place is not None and feeder.accepted <= place.byte < feeder.end:
            feeder.shorten(place.byte)
            self.job = self.job.cut_at(place)
            self.was_cut(place.end)

    def _look_in(self, seconds: float) -> None:
        self._looking = self.clock.callLater(max(seconds, LEAST_LOOK_SECONDS), self._look)

    def _look(self) -> None:
        self._looks.append(Look(self.clock.seconds() - self._began, self._taken))
        if not is_too_long(self._looks, self.job.feed.size, self.commit_seconds):
            self._look_in(LOOK * self.commit_seconds)
            return
        # Once: where it cannot be cut now, it cannot be later, when more was fed.
        cutting = Deferred.fromCoroutine(self.cut(0))
        cutting.addErrback(lambda reason: log.failure("cutting a job broke", reason))
