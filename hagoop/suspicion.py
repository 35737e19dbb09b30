"""What happened at a head, and which lines that makes suspect.

A job over the lines from a head to some end that fails says: it is one of these.  So its lines are
tried in halves until a half does well, which clears it, or one line is left.  Workers that are lost
say the same, but softly: they are lost for other reasons too, and only where several different ones
were, each against the odds, is there anything to suspect.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from math import exp, lgamma, log

from attrs import define, field, frozen

from hagoop.jobs import WorkerId
from hagoop.ranges import Range

DOUBTFUL = 0.05
"""Deaths as improbable as this by chance make their lines suspect."""
CERTAIN = 1e-3
"""As improbable as this they may be held against one line."""
MOST_LOOKS = 8
"""Chance is allowed for up to so many losses elsewhere: for more, a deadly line would hide long."""
SOME_WORKERS = 2
MANY_WORKERS = 4


@frozen
class Death:
    """A worker was lost with these lines in hand.

    :param end: of the lines that it may have had in hand, from the head on.
    :param chance: how probable it was that it was lost just then without any fault of theirs.
    :param alone: whether it had nothing else in hand.
    """

    end: int
    chance: float
    alone: bool = True


@define
class History:
    """What happened at a head: it travels with the range, whoever holds it next.

    :ivar failed_by: on whom the program failed, each time.
    :ivar end: one of the lines from the head to here makes the program fail; 0: none does.
    :ivar alone: whether ``failed_by`` counts failures on a single line only.
    :ivar deaths: the last of each worker that was lost here; ``died`` adds to them.
    :ivar losses: how many there were here; ``elsewhere``: in the same phase, by then.
    :ivar is_deadly: whether so many deaths can hardly be chance.
    """

    failed_by: list[WorkerId] = field(factory=list)
    misses: int = 0
    end: int = 0
    alone: bool = False
    deaths: dict[WorkerId, Death] = field(factory=dict)
    losses: int = 0
    elsewhere: int = 0
    is_deadly: bool = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._weigh()

    def _weigh(self) -> None:
        # Where many are lost, some are so at the same lines: whoever looks often, finds something.
        looks = min(1 + self.elsewhere, MOST_LOOKS)
        self.is_deadly = len(self.deaths) >= SOME_WORKERS and looks * _chance(self.deaths) < DOUBTFUL

    def failed(self, end: int, worker: WorkerId) -> None:
        """The program failed on a job from here to ``end``."""
        self.end = min(self.end or end, end)
        self.failed_by.append(worker)

    def failed_alone(self, end: int, worker: WorkerId) -> None:
        """It failed on a single line: from now on only such failures count."""
        if not self.alone:
            self.failed_by, self.alone = [], True
        self.failed(end, worker)

    def died(self, worker: WorkerId, death: Death, losses: int = 0) -> None:
        """A worker was lost here; of several losses of one the least surprising counts.

        :param losses: how many there were by now, here and elsewhere.
        """
        self.losses += 1
        self.elsewhere = max(self.elsewhere, losses - self.losses)
        known = self.deaths.get(worker, death)
        chance = max(known.chance, death.chance)
        self.deaths[worker] = Death(min(known.end, death.end), chance, death.alone)
        self._weigh()

    def killed(self, head: int) -> int:
        """How many workers the line at the head must have killed; 0 while that is not certain."""
        there = {who: each for who, each in self.deaths.items() if each.alone and each.end == head + 1}
        certain = len(there) >= MANY_WORKERS and _chance(there) < CERTAIN
        return len(there) if certain else 0

    @property
    def suspect_end(self) -> int:
        """Where what is suspect ends; 0: nothing is."""
        ends = [self.end] if self.end else []
        if self.is_deadly:
            ends += [each.end for each in self.deaths.values()]
        return min(ends, default=0)

    @property
    def tried_by(self) -> set[WorkerId]:
        """Who should not have these lines again as long as others have not."""
        return {*self.failed_by, *(self.deaths if self.is_deadly else ())}

    def moved(self, head: int) -> "History":
        """What is left of it now that all before a new head has done well."""
        fails = self.end > head
        deaths = {who: each for who, each in self.deaths.items() if each.end > head}
        losses, elsewhere = (self.losses, self.elsewhere) if deaths else (0, 0)
        failed_by, end = (self.failed_by, self.end) if fails else ([], 0)
        return History(failed_by, 0, end, False, deaths, losses, elsewhere)

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing."""
        return not (self.misses or self.end or self.deaths)

    def join(self, other: "History") -> None:
        """Add what is known of the same lines from elsewhere; one failure may be in both."""
        self.failed_by = max(self.failed_by, other.failed_by, key=len)
        self.end = min(filter(None, (self.end, other.end)), default=0)
        for worker, death in other.deaths.items():
            self.died(worker, death)
        self.losses += other.losses - len(other.deaths)
        self.elsewhere = max(self.elsewhere, other.elsewhere)
        self._weigh()


def _chance(deaths: dict[WorkerId, Death]) -> float:
    """How probable it is that losses which have nothing to do with these lines look so bad together.

    Fisher's method.  The product alone would not do: each factor is spread evenly between 0 and 1
    when a worker goes by chance, so that a long line in a fleet that comes and goes looked deadly in
    the end.
    """
    chances = [each.chance for each in deaths.values()]
    if min(chances, default=1.0) <= 0:
        return 0.0
    surprise = -sum(map(log, chances))
    if surprise <= 0:
        return 1.0
    # In logarithms: powers and factorials of some hundred losses are no floats.
    return sum(exp(k * log(surprise) - surprise - lgamma(k + 1)) for k in range(len(chances)))


@frozen
class Suspicion:
    """A history as it concerns a range that begins at ``start``, at its head or behind it."""

    head: int
    history: History

    @property
    def danger(self) -> int:
        """What is dangerous comes last: 0 for what is not, 2 for a line that cannot be narrowed."""
        if not self.history.is_deadly:
            return 0
        return 2 if self.history.suspect_end == self.head + 1 else 1

    def concerns(self, start: int) -> bool:
        """Whether lines from ``start`` on are meant."""
        return start == self.head or start < self.history.suspect_end

    def limit(self, start: int, end: int) -> int:
        """How far a lease of what lies before ``end`` should go: half of what is suspect, or all."""
        suspect = self.history.suspect_end
        if suspect <= start:
            return end
        return min(end, start + (suspect - start + 1) // 2 if start == self.head else suspect)

    def behind(self, start: int, end: int) -> int:
        """Where, up to ``end``, begins what may be had by those who may not have this."""
        suspect = self.history.suspect_end
        return min(end, suspect) if suspect > start else end


MOST_DANGER = 2


@define
class Histories:
    """The histories of one phase, by their heads.

    :ivar losses: of workers, at all of them.
    """

    losses: int = 0
    _heads: list[int] = field(factory=list)
    _known: dict[int, History] = field(factory=dict)

    def __len__(self) -> int:
        return len(self._heads)

    def __iter__(self) -> Iterator[int]:
        return iter(self._heads)

    def get(self, head: int) -> History | None:
        """What happened at a head, if anything did."""
        return self._known.get(head)

    def at(self, head: int) -> History:
        """What happened at a head, to be added to."""
        if head not in self._known:
            insort(self._heads, head)
            self._known[head] = History()
        return self._known[head]

    def after(self, position: int) -> int | None:
        """The next head behind a position."""
        found = bisect_right(self._heads, position)
        return self._heads[found] if found < len(self._heads) else None

    def concerning(self, position: int) -> Suspicion | None:
        """The nearest history that has to do with a position."""
        found = bisect_right(self._heads, position)
        if not found:
            return None
        head = self._heads[found - 1]
        suspicion = Suspicion(head, self._known[head])
        return suspicion if suspicion.concerns(position) else None

    def suspect(self, start: int) -> History:
        """The history of lines that failed; what was suspect around them was meant for them."""
        known = self.concerning(start)
        if known is not None and known.head < start:
            self.take(Range(known.head, known.head + 1))
            self.move(known.history, start)
        return self.at(start)

    def take(self, gone: Range) -> list[History]:
        """Remove the histories whose heads are in a range."""
        low, high = bisect_left(self._heads, gone.start), bisect_left(self._heads, gone.end)
        heads = self._heads[low:high]
        del self._heads[low:high]
        return [self._known.pop(each) for each in heads]

    def move(self, history: History, head: int) -> None:
        """Keep what a history still says when all before ``head`` has done well."""
        moved = history.moved(head)
        if not moved.is_empty:
            self.at(head).join(moved)
