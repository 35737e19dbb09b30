"""One phase of one request: which positions are untouched, leased, committed.

All weight is in exactly one of the three.  A *stretch* is a leased range with its committed front;
copies of it are further holders of the same stretch, so their fronts are one.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

from attrs import define, field, frozen

from hagoop.errors import LedgerError
from hagoop.forecast import Forecast
from hagoop.jobs import AssignmentId, Output, Phase, SessionId
from hagoop.ranges import Range, RangeSet
from hagoop.suspicion import Histories, History, Suspicion

MOST_PIECES = 256
"""How many files one assignment may touch: each is a run of the program of its own."""
MOST_COMBINED_PIECES = 4096
"""The same where one run may see lines of several: all are looked at when they are leased."""


@frozen
class Scale:
    """How heavy positions are: one each, or by cumulative weights."""

    cumulative: Sequence[int] | None = None

    def weight(self, start: int, end: int) -> int:
        """Weight of the positions ``start`` to ``end - 1``."""
        if self.cumulative is None:
            return end - start
        return self.cumulative[end] - self.cumulative[start]

    def advance(self, start: int, weight: int) -> int:
        """The first position behind ``start`` that has at least ``weight`` before it."""
        if self.cumulative is None:
            return start + max(1, weight)
        found = bisect_left(self.cumulative, self.cumulative[start] + weight, start + 1)
        return min(found, len(self.cumulative) - 1)


@define(eq=False)
class Stretch:
    """A leased range: committed up to ``front``, held by one worker and at most a few copies.

    :ivar ease: how fast its lines are done beside usual ones; None while that is not known.
    """

    front: int
    end: int
    holders: list[AssignmentId] = field(factory=list)
    ease: float | None = None

    @property
    def open(self) -> Range:
        """What is not committed yet."""
        return Range(self.front, self.end)


@define
class Progress:
    """The state of one phase.

    :ivar total: positions known so far; more may come until ``whole``.
    :ivar estimate: how many there will be, as far as can be told.
    :ivar breaks: positions at which a file begins.
    :ivar most_pieces: how many files one assignment may touch.
    :ivar whole_jobs: whether a job cannot be cut: in map it is a whole file, in reduce all keys.
    :ivar stretches: what is leased, oldest first.
    :ivar wanted: of which of them a copy is wanted, and by whom it should be made, if that is known.
    :ivar fixed_jobs: whether a job ends where it was announced; else its program may be given less.
    :ivar pending: commits accepted whose bytes are not on disk yet.
    :ivar left_out: positions that nobody will work on.
    """

    phase: Phase
    round: int = 0
    scale: Scale = field(factory=Scale)
    total: int = 0
    estimate: int = 0
    whole: bool = False
    breaks: Sequence[int] = ()
    most_pieces: int = MOST_PIECES
    whole_jobs: bool = False
    fixed_jobs: bool = False
    wanted: dict[Stretch, SessionId | None] = field(factory=dict)
    pending: int = 0
    untouched: RangeSet = field(factory=RangeSet)
    committed: RangeSet = field(factory=RangeSet)
    left_out: RangeSet = field(factory=RangeSet)
    stretches: dict[Stretch, None] = field(factory=dict)
    outputs: dict[int, Output] = field(factory=dict)
    histories: Histories = field(factory=Histories)
    forecast: Forecast = field(factory=Forecast)

    def grow(self, total: int, estimate: int, breaks: Sequence[int], *, whole: bool) -> None:
        """More positions are known; those that a recovery found committed stay so."""
        at = self.total
        for done in self.committed:
            if done.end > at:
                if min(done.start, total) > at:
                    self.untouched.add(Range(at, min(done.start, total)))
                at = max(at, done.end)
        if at < total:
            self.untouched.add(Range(at, total))
        self.total, self.estimate = max(self.total, total), max(estimate, total)
        self.breaks, self.whole = breaks, whole

    @property
    def finished(self) -> bool:
        """Whether everything is committed, and on disk; or else left out."""
        done = self.committed.size + self.left_out.size
        return self.whole and not self.pending and done == self.total

    def close(self) -> None:
        """Leave out what is not committed: nobody holds any of it any more, or will."""
        for each in [*self.untouched, *(stretch.open for stretch in self.stretches)]:
            self.left_out.add(each)
        self.untouched = RangeSet()
        self.stretches.clear()
        self.wanted.clear()

    @property
    def left(self) -> int:
        """Weight not leased; what is not counted yet is estimated."""
        return self._weight_of(self.untouched) + self.estimate - self.total

    def _weight_of(self, ranges: RangeSet) -> int:
        if self.scale.cumulative is None:
            return ranges.size
        return sum(self.scale.weight(each.start, each.end) for each in ranges)

    @property
    def weight(self) -> int:
        """Weight of the whole phase, as far as can be told."""
        return self.scale.weight(0, self.total) + self.estimate - self.total

    @property
    def weight_committed(self) -> int:
        """Weight that is done."""
        return self._weight_of(self.committed)

    @property
    def weight_to_do(self) -> int:
        """Weight that is not committed, leased or not."""
        return self.weight - self.weight_committed

    def seconds_left(self, now: float) -> tuple[float, float] | None:
        """The middle guess for the rest of the phase, and the most in nine cases of ten."""
        return self.forecast.seconds_left(self.weight_to_do, now)

    def cut(self, weight: int, allows: Callable[[Suspicion], bool]) -> Range | None:
        """An untouched range of about ``weight``, lowest first, its head one that is allowed.

        A head with a history is never buried inside a range: the cut ends before it; and of what is
        suspect it takes half.
        """
        for free in self.untouched:
            start = free.start
            while start < free.end:
                after = self.histories.after(start)
                end = free.end if after is None else min(free.end, after)
                known = self.histories.concerning(start)
                if known is not None and not allows(known):
                    start = known.behind(start, end)
                    continue
                limit = self._limit(start, end, weight, known)
                if limit > start:
                    return Range(start, limit)
                start = end
        return None

    def _limit(self, start: int, end: int, weight: int, known: Suspicion | None) -> int:
        """Where a range ends; at ``start`` when there is no end yet that it may have."""
        if self.phase is Phase.MERGE:
            return start + 1  # One group of runs is one merge.
        first = self.edge_from(start + 1)
        if first is None or first > end:
            return start
        most = known.limit(start, end) if known is not None else end
        end = max(first, self.edge_to(min(most, self.scale.advance(start, weight))))
        far = bisect_right(self.breaks, start) + self.most_pieces - 1
        return min(end, self.breaks[far]) if far < len(self.breaks) else end

    # Edges: where jobs may begin and end

    @property
    def _files_are_whole(self) -> bool:
        return self.whole_jobs and self.phase is Phase.MAP

    def edge_from(self, position: int) -> int | None:
        """The first edge at or behind a position; None while it is not known."""
        if not self._files_are_whole:
            return position
        found = bisect_left(self.breaks, position)
        if found < len(self.breaks):
            return self.breaks[found]
        return self.total if self.whole and position <= self.total else None

    def edge_to(self, position: int) -> int:
        """The last edge at or before a position."""
        if not self._files_are_whole:
            return position
        if self.whole and position >= self.total:
            return self.total
        return self.breaks[bisect_right(self.breaks, position) - 1] if self.breaks else 0

    def edges_around(self, wanted: Range, held: Range) -> Range:
        """A part of what is held, made as large as jobs must be."""
        end = self.edge_from(wanted.end)
        return Range(self.edge_to(wanted.start), held.end if end is None else min(end, held.end))

    def may_be_job(self, wanted: Range) -> bool:
        """Whether a range begins and ends at edges."""
        return self.edge_to(wanted.start) == wanted.start and self.edge_to(wanted.end) == wanted.end

    def is_open(self, wanted: Range) -> bool:
        """Whether nobody holds any of a range that may be a job, or several."""
        return wanted in self.untouched and self.may_be_job(wanted)

    def not_committed(self, claimed: Range) -> Range | None:
        """What lies behind the commits with which a range begins, if anything does."""
        start = self.committed.past(claimed.start)
        return Range(start, claimed.end) if start < claimed.end else None

    def begun_at(self, wanted: Range) -> Stretch | None:
        """The stretch that begins where a range does, if all of that is in it or free behind it."""
        for each in self.stretches:
            beyond = Range(min(each.end, wanted.end), wanted.end)
            if each.front == wanted.start and beyond in self.untouched:
                return each
        return None

    def extend(self, stretch: Stretch, end: int) -> None:
        """A further holder of it has more, which is free."""
        self.untouched.take(Range(stretch.end, end))
        stretch.end = end

    def lease(self, wanted: Range, holder: AssignmentId, ease: float | None = None) -> Stretch:
        """Take a range out of the pool; how easy it is may be known from where it was cut off."""
        self.untouched.take(wanted)
        stretch = Stretch(wanted.start, wanted.end, [holder], ease)
        self.stretches[stretch] = None
        return stretch

    def copy(self, stretch: Stretch, holder: AssignmentId) -> None:
        """Lease a stretch once more."""
        stretch.holders.append(holder)
        self.wanted.pop(stretch, None)

    def want_copy(self, stretch: Stretch, of: SessionId | None = None) -> None:
        """A stretch should be leased once more."""
        self.wanted[stretch] = of

    def release(self, stretch: Stretch, holder: AssignmentId) -> None:
        """A holder is gone; the last one's open part goes back to the pool."""
        stretch.holders.remove(holder)
        if not stretch.holders and stretch in self.stretches:
            self._drop(stretch)
            self.untouched.add(stretch.open)

    def shorten(self, stretch: Stretch, end: int) -> None:
        """A holder has given up everything from ``end`` on."""
        if stretch.front <= end < stretch.end and stretch in self.stretches:
            self.untouched.add(Range(end, stretch.end))
            stretch.end = end
            self._close(stretch)

    def commit(self, stretch: Stretch, done: Range) -> None:
        """The front moves; the caller has checked that ``done`` begins at it."""
        self.committed.add(done)
        self._clear(done)
        stretch.front = done.end
        self.pending += 1
        self._close(stretch)

    def commit_untouched(self, done: Range) -> None:
        """Take a range that no one holds, for a worker whose lease is forgotten."""
        self.untouched.take(done)
        self.committed.add(done)
        self._clear(done)
        self.pending += 1

    def _clear(self, done: Range) -> None:
        """Lines that have done well are not suspect; what was, is so behind them only."""
        for each in self.histories.take(done):
            self.histories.move(each, self.committed.past(done.start))

    def restore(self, output: Output) -> None:
        """At recovery: this was committed, and is on disk."""
        done = Range(output.start, output.end)
        self.committed.add(done)
        if done.end <= self.total:
            self.untouched.take(done)
        self.outputs[output.start] = output

    def stored(self, output: Output) -> None:
        """An accepted commit is on disk."""
        self.pending -= 1
        self.outputs[output.start] = output

    def history(self, head: int) -> History:
        """What happened at a head, to be added to."""
        return self.histories.at(head)

    def misses(self, head: int) -> int:
        """How many deadlines this head has seen pass."""
        known = self.histories.get(head)
        return known.misses if known else 0

    def in_order(self) -> list[Output]:
        """What is on disk, by position."""
        return [self.outputs[start] for start in sorted(self.outputs)]

    def _close(self, stretch: Stretch) -> None:
        if stretch.front == stretch.end:
            self._drop(stretch)

    def _drop(self, stretch: Stretch) -> None:
        del self.stretches[stretch]
        self.wanted.pop(stretch, None)

    def check(self) -> None:
        """Raise ``LedgerError`` unless every position is in exactly one place."""
        everything = RangeSet()
        parts = [*self.untouched, *self.left_out, *(each.open for each in self.stretches)]
        parts += [each for each in self.committed if each.end <= self.total]
        try:
            for each in parts:
                everything.add(each)
        except ValueError as error:
            raise LedgerError(f"{self.phase}: {error}") from error
        if everything.size != self.total and all(each.end <= self.total for each in self.committed):
            raise LedgerError(f"{self.phase}: {everything.size} of {self.total} positions accounted for")
        if any(not each.holders or each.front >= each.end for each in self.stretches):
            raise LedgerError(f"{self.phase}: a stretch without a holder or without work")
