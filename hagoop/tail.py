"""What has stalled, and what idle workers should take over or copy: soft deadlines and the tail.

A deadline never kills first: it asks for the work behind the job in hand and lets another worker copy
the rest; only the third miss closes the session, and only while a copy runs.  Of one that is mute
nothing can be asked: what lies behind its job is free when it misses a deadline or others are idle.
"""

from collections.abc import Iterable, Mapping

from attrs import frozen

from hagoop import policy
from hagoop.fleet import Fleet
from hagoop.jobs import AssignmentId
from hagoop.leases import Close, Decision, Lease, Session
from hagoop.progress import Progress, Stretch
from hagoop.requests import Request


@frozen
class Tail:
    """The review of all leases at one moment."""

    fleet: Fleet
    leases: Mapping[AssignmentId, Lease]
    now: float

    def review(self, requests: Iterable[Request]) -> list[Decision]:
        """All decisions that are due."""
        decisions = [made for lease in list(self.leases.values()) for made in self._deadline(lease)]
        for request in requests:
            if request.progress is not None and not request.progress.untouched:
                decisions += self._help_one(request, request.progress)
        # A session may have several leases that are late, and is closed once.
        return list(dict.fromkeys(decisions))

    def _deadline(self, lease: Lease) -> list[Decision]:
        if self._is_waiting(lease):
            lease.moved = self.now  # Its time begins when its turn comes.
            return []
        phase = lease.progress.phase
        pace = lease.request.pace(lease.session.worker, phase)
        speed = self.fleet.speed(lease.session, lease.request, phase)
        mute = policy.is_mute(lease.silent_seconds(self.now), len(self.fleet.sessions))
        # Work that was late with others may be hard; one that is mute shows nothing of the kind.
        misses = lease.own_misses if mute else lease.misses
        limit = policy.deadline_seconds(lease.job_weight, speed, pace, misses)
        if self.now - lease.moved <= limit:
            return []
        lease.missed(self.now, travels=not mute)
        self.fleet.records[lease.session.worker].missed(self.now)
        self._cut_if_mute(lease)
        lease.stretch.wants_copy = self._may_have_copy(lease.stretch)
        # Only its own: a line may be heavy for everybody.
        if lease.own_misses >= policy.MISSES_TO_CLOSE and not lease.is_alone:
            self.fleet.worker_hung(lease.session, self.now)
            return [Close(lease.session.id, "it missed three deadlines and a copy runs")]
        return [*lease.ask_back(lease.job_end)]

    def _may_have_copy(self, stretch: Stretch) -> bool:
        going = sum(not self.leases[each].session.stalled for each in stretch.holders)
        return going < policy.GOING_COPIES and len(stretch.holders) < policy.MOST_COPIES

    def _is_waiting(self, lease: Lease) -> bool:
        """Whether it was asked for ahead of need: its session has begun as much as it has slots."""
        if lease.job_end:
            return False
        begun = [each for each in lease.session.leases if self.leases[each].job_end]
        return len(begun) >= lease.session.slots

    def _help_one(self, request: Request, progress: Progress) -> list[Decision]:
        """Give the fastest idle worker the end, or a copy, of the lease that will end last."""
        idle = [each for each in self.fleet.idle if each.worker not in request.unfit]
        alone = [self.leases[each.holders[0]] for each in progress.stretches if len(each.holders) == 1]
        if not idle or not alone:
            return []
        for each in alone:
            self._cut_if_mute(each)
        helper = max(idle, key=lambda each: self.fleet.speed(each, request, progress.phase))
        running = [(self._running(each), each) for each in alone]
        for seen, lease in sorted(running, key=lambda pair: -pair[0].seconds_left):
            decisions = self._help(seen, lease, helper)
            if decisions or lease.stretch.wants_copy:
                return decisions
        return []

    def _cut_if_mute(self, lease: Lease) -> None:
        """Free what lies behind the job of a holder that cannot be asked.

        All who are idle share it, where a copy would be one worker's.  The job announced still counts.
        """
        end = lease.job_stop
        mute = policy.is_mute(lease.silent_seconds(self.now), len(self.fleet.sessions))
        if mute and lease.is_alone and end < lease.stretch.end:
            lease.progress.shorten(lease.stretch, end)

    def _help(self, seen: policy.Running, lease: Lease, helper: Session) -> list[Decision]:
        phase, progress = lease.progress.phase, lease.progress
        speed = self.fleet.speed(helper, lease.request, phase)
        start = lease.request.pace(helper.worker, phase).start_seconds
        taken = int(policy.weight_to_take_back(seen, speed, start))
        if taken:
            end = progress.scale.advance(lease.stretch.front, lease.open_weight - taken)
            if decisions := lease.ask_back(end):
                return [*decisions]
        other = helper.worker != lease.session.worker
        if other and (policy.is_worth_copying(seen, speed, start) or self._is_likely_lost(lease)):
            lease.stretch.wants_copy = True
        return []

    def _is_likely_lost(self, lease: Lease) -> bool:
        """Whether all of a job that cannot be cut will sooner be lost with its holder than end."""
        if not lease.progress.whole_jobs:
            return False
        seconds = self._seconds_left(lease, lease.job_weight)
        return self.fleet.is_likely_lost(lease.session, seconds, self.now)

    def _running(self, lease: Lease) -> policy.Running:
        speed = self.fleet.speed(lease.session, lease.request, lease.progress.phase)
        weight = lease.open_weight
        left = self._seconds_left(lease, weight)
        return policy.Running(weight, weight - lease.job_weight, speed, left)

    def _seconds_left(self, lease: Lease, weight: int) -> float:
        speed = self.fleet.speed(lease.session, lease.request, lease.progress.phase)
        silent = lease.silent_seconds(self.now)
        return policy.predict_seconds_left(weight, speed, self.now - lease.committed, silent)
