"""Each request its share of the workers: who has more than that gives some back.

Assignments may be long.  One that is far above its request's share is asked back behind its job in hand,
so that a small request waits for a job at most, not for an assignment, and no work is lost.
"""

from collections.abc import Iterable, Mapping

from attrs import frozen

from hagoop.fleet import Fleet
from hagoop.jobs import AssignmentId, State
from hagoop.leases import Lease, TakeBack
from hagoop.requests import Request


@frozen
class Shares:
    """The review of who holds how much at one moment."""

    fleet: Fleet
    leases: Mapping[AssignmentId, Lease]
    now: float

    def review(self, requests: Iterable[Request]) -> list[TakeBack]:
        """What should be given back now: one assignment at most for each request that lacks some."""
        running = [each for each in requests if each.state is State.RUNNING and each.progress]
        share = max(1, self.fleet.slots // max(1, len(running)))
        poor = [each for each in running if each.leases < share and self._is_waiting(each)]
        return [asked for each in poor for asked in self._for_one(each, running, share)]

    def _is_waiting(self, request: Request) -> bool:
        """Whether it has work, and nobody free to do it."""
        has_work = request.progress is not None and bool(request.progress.untouched)
        return has_work and all(each.worker in request.unfit for each in self.fleet.idle)

    def _for_one(self, poor: Request, running: list[Request], share: int) -> list[TakeBack]:
        rich = max(running, key=lambda each: each.leases)
        held = [each for each in self.leases.values() if each.request is rich]
        going_on = [each for each in held if not _is_ending(each)]
        coming = len(held) - len(going_on)
        if rich.leases <= share or poor.leases + coming >= share or not going_on:
            return []
        longest = max(going_on, key=lambda each: each.open_weight - each.job_weight)
        return longest.ask_back(longest.job_end, self.now)


def _is_ending(lease: Lease) -> bool:
    """Whether nothing follows its job in hand, or it has been asked to end there."""
    return lease.asked_back or lease.open_weight <= lease.job_weight
