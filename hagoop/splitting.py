"""The tail: how idle workers share what is still held by others, so that all end together.

The end of what would take longest is taken by the fastest idle worker, so much that both end at the
same time; then the same again with what is then the longest, the halves included: hundreds can share
one stretch in one pass.  What cannot be cut is copied, where a copy would end sooner.
"""

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush

from attrs import define, field, frozen

from hagoop import policy
from hagoop.jobs import AssignmentId, SessionId, WorkerId


@frozen
class Helper:
    """An idle worker.

    :param speed: weight a second; ``start_seconds``: until it has begun.
    :param proven: whether it has committed anything of the kind.
    :param sorting_each: seconds that it sorts for each unit of weight.
    :param may_copy: whether it could begin at once; one that still sorts could not.
    """

    session: SessionId
    worker: WorkerId
    speed: float
    start_seconds: float
    proven: bool = True
    sorting_each: float = 0.0
    may_copy: bool = True


@frozen
class Running:
    """A lease as the tail sees it.

    :param uncommitted: weight from the committed front to the end.
    :param beyond: weight behind the job in hand: what could be taken back.
    :param speed: weight a second that is expected of its holder.
    :param seconds_left: predicted, until all of it is committed.
    :param may_be_copied: whether it may have one more holder.
    :param holders: how many there are that have not stalled.
    :param barred: who is not to have a copy.
    :param ease: how fast its lines are done, beside usual ones.
    :param sorting_each: seconds that its holder sorts for each unit of weight, if its last job is in
        hand: else jobs are sorted while others run.
    """

    id: AssignmentId
    uncommitted: float
    beyond: float
    speed: float
    seconds_left: float
    may_be_copied: bool = True
    holders: int = 1
    barred: frozenset[WorkerId] = frozenset()
    ease: float = 1.0
    sorting_each: float = 0.0

    def sorted_speed_of(self, helper: Helper, ease: float = 1.0) -> float:
        """Weight a second that a helper should do of it, and sort where nothing runs meanwhile."""
        sorting = helper.sorting_each if self.sorting_each else 0.0
        return policy.speed_with_sorting(helper.speed * ease, sorting)


@define
class Part:
    """A part of a lease in a plan: what its holder keeps, or what a helper is to have."""

    helper: Helper | None
    weight: float
    movable: float
    speed: float
    seconds_left: float

    def split(self, helper: Helper, weight: float, speed: float) -> "Part":
        """Give the end away, to one who should do it at this speed."""
        self.weight -= weight
        self.movable -= weight
        self.seconds_left -= weight / self.speed
        seconds = helper.start_seconds + weight / speed
        return Part(helper, weight, weight, speed, seconds)


@define(eq=False)
class Plan:
    """What is to be done for one lease.

    :ivar parts: in the order of the range, the holder's own first.
    :ivar copier: who is to do all of it once more.
    """

    running: Running
    parts: list[Part] = field(init=False)
    copier: Helper | None = None

    def __attrs_post_init__(self) -> None:
        it = self.running
        speed = policy.speed_with_sorting(it.speed, it.sorting_each)
        self.parts = [Part(None, it.uncommitted, it.beyond, speed, it.seconds_left)]

    @property
    def shares(self) -> list[tuple[Helper, float]]:
        """What each helper is to have of the end, in the order of the range."""
        return [(each.helper, each.weight) for each in self.parts if each.helper is not None]


def plan_tail(running: Iterable[Running], idle: Sequence[Helper]) -> list[Plan]:
    """Who should take over what, and who should copy what.

    :param idle: each helps at most once.
    """
    plans = [Plan(each) for each in running]
    heap = [(-plan.running.seconds_left, number) for number, plan in enumerate(plans)]
    parts = [(plan, plan.parts[0]) for plan in plans]
    heapify(heap)
    helpers = sorted(idle, key=lambda each: (each.proven, each.speed, each.session))
    while heap and helpers:
        left, number = heappop(heap)
        plan, part = parts[number]
        helper = helpers[-1]
        if -left <= helper.start_seconds + policy.least_gain(helper.start_seconds):
            break
        # Lines that are hard for one are so for others: else one would get what hundreds could share.
        speed = plan.running.sorted_speed_of(helper, plan.running.ease)
        taken = policy.weight_to_take_back(part, speed, helper.start_seconds)
        if taken and plan.copier is None:
            helpers.pop()
            made = part.split(helper, taken, speed)
            plan.parts.insert(plan.parts.index(part) + 1, made)
            parts.append((plan, made))
            heappush(heap, (-part.seconds_left, number))
            heappush(heap, (-made.seconds_left, len(parts) - 1))
        elif part.helper is None and len(plan.parts) == 1:
            _copy(plan, helpers)
    return [each for each in plans if each.copier or len(each.parts) > 1]


def _copy(plan: Plan, helpers: list[Helper]) -> None:
    """Let the fastest who may have it copy a lease, if that ends sooner."""
    it = plan.running
    if not it.may_be_copied:
        return
    for helper in reversed(helpers):
        if helper.may_copy and helper.worker not in it.barred:
            left, speed = it.seconds_left / max(1, it.holders), it.sorted_speed_of(helper)
            if policy.is_worth_copying(it.uncommitted, left, speed, helper.start_seconds):
                plan.copier = helper
                helpers.remove(helper)
            return
