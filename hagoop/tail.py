"""What has stalled, and what idle workers should take over or copy: soft deadlines and the tail.

A deadline never kills first: it asks for the work behind the job in hand and lets another worker copy
the rest; only the third miss closes the session, and only while a copy runs.  Of one that is mute
nothing can be asked: what lies behind its job is free when it misses a deadline or others are idle.
"""

from collections.abc import Collection, Iterable, Mapping
from operator import itemgetter

from attrs import frozen

from hagoop import policy
from hagoop.fleet import Fleet
from hagoop.jobs import AssignmentId, WorkerId
from hagoop.leases import Close, Decision, Lease, Session
from hagoop.progress import Progress, Stretch
from hagoop.requests import Request
from hagoop.splitting import Helper, Plan, Running, plan_tail


@frozen
class Tail:
    """The review of all leases at one moment.

    :param idle: sessions that wait for work and have nothing to run.
    """

    fleet: Fleet
    leases: Mapping[AssignmentId, Lease]
    now: float
    idle: Collection[Session] = ()

    # Deadlines

    def deadlines(self) -> list[Decision]:
        """What follows from those that have passed."""
        late = [each for each in self.leases.values() if self.now > each.due]
        decisions = [made for lease in late for made in self._deadline(lease)]
        # A session may have several leases that are late, and is closed once.
        return list(dict.fromkeys(decisions))

    def _deadline(self, lease: Lease) -> list[Decision]:
        if self._is_waiting(lease):
            lease.moved = lease.turn = self.now  # Its time begins when its turn comes.
            return []
        phase = lease.progress.phase
        start = self.fleet.start_seconds(lease.session, lease.request, phase)
        speed = self.fleet.speed(lease.session, lease.request, phase)
        mute = self._is_mute(lease)
        # Work that was late with others may be hard; one that is mute shows nothing of the kind.
        misses = lease.own_misses if mute else lease.misses
        limit = policy.deadline_seconds(
            lease.job_weight, speed, start, misses, len(self.fleet.sessions)
        )
        limit += policy.late_seconds(lease.session.way)
        # The runs of a large reduce would have to come to somebody else as slowly.
        limit = max(limit, lease.fetching_seconds)
        if self.now - lease.moved <= limit:
            return self._look_again(lease, limit)
        return self._missed(lease, mute=mute)

    def _look_again(self, lease: Lease, limit: float) -> list[Decision]:
        """Not before it can be late; a job's end may not be known yet, and what it is may change."""
        lease.due = min(lease.moved + limit, self.now + policy.MIN_DEADLINE_SECONDS)
        return []

    def _missed(self, lease: Lease, *, mute: bool) -> list[Decision]:
        lease.missed(self.now, travels=not mute)
        self.fleet.records[lease.session.worker].missed(self.now)
        self._cut_if_mute(lease.stretch, lease.progress)
        asked = lease.ask_back(lease.fed, self.now)
        if not self._will_shrink(lease) and self._may_have_copy(lease.stretch):
            lease.progress.want_copy(lease.stretch)
        # Only its own: a line may be heavy for everybody.
        if lease.own_misses >= policy.MISSES_TO_CLOSE and not lease.is_alone:
            self.fleet.worker_hung(lease.session, self.now)
            return [Close(lease.session.id, "it missed three deadlines and a copy runs")]
        return [*asked]

    def _will_shrink(self, lease: Lease) -> bool:
        """Whether its holder has been asked for its end, and may be about to answer.

        What it gives up needs no copy: two who both go on with the same lines would make each other's
        jobs void.
        """
        wait = policy.answer_seconds(lease.session.way)
        asked = lease.asked_back and self.now - lease.asked_at < wait
        return asked and not self._is_silent(lease)

    def _is_silent(self, lease: Lease) -> bool:
        return policy.is_silent(lease.silent_seconds(self.now), len(self.fleet.sessions))

    def _may_have_copy(self, stretch: Stretch) -> bool:
        going = sum(not self.leases[each].session.stalled for each in stretch.holders)
        return going < policy.GOING_COPIES and len(stretch.holders) < policy.MOST_COPIES

    def _is_mute(self, lease: Lease) -> bool:
        return policy.is_mute(lease.silent_seconds(self.now), len(self.fleet.sessions))

    def _is_waiting(self, lease: Lease) -> bool:
        """Whether it was asked for ahead of need: its session has begun as much as it has slots."""
        if lease.has_begun or len(lease.session.leases) <= 1:
            return False
        return len(self._begun(lease.session)) >= lease.session.slots

    def _begun(self, session: Session) -> list[Lease]:
        held = [self.leases[each] for each in session.leases]
        return [each for each in held if each.has_begun]

    # The tail

    def help(self, requests: Iterable[Request]) -> list[Decision]:
        """What idle workers should take over, and which copies are wanted: none where work is left."""
        decisions: list[Decision] = []
        for request in requests:
            progress = request.progress
            if self.idle and progress is not None and not progress.untouched:
                decisions += self._help(request, progress)
        return decisions

    def _help(self, request: Request, progress: Progress) -> list[Decision]:
        for stretch in list(progress.stretches):
            self._cut_if_mute(stretch, progress)
        if progress.untouched:
            return []
        running = [self._running(each, progress) for each in progress.stretches]
        helpers = [
            self._helper(each, request, progress)
            for each in self.idle
            if each.worker not in request.unfit
        ]
        return [made for plan in plan_tail(running, helpers) for made in self._carry_out(plan)]

    def _helper(self, session: Session, request: Request, progress: Progress) -> Helper:
        speed = self.fleet.usual_speed(session, request, progress.phase)
        start = self.fleet.start_seconds(session, request, progress.phase)
        start = self._free_in(session) + policy.help_seconds(start, session.way)
        sorting = self.fleet.sorting_each(session, request, progress.phase)
        proven = self.fleet.is_proven(session, request, progress.phase)
        return Helper(session.id, session.worker, speed, start, proven, sorting, session.is_free)

    def _free_in(self, session: Session) -> float:
        """Seconds until a slot is free: one that sorts has a processor's time for nothing else."""
        if session.is_free:
            return 0.0
        held = (self.leases[each] for each in session.leases)
        return min(self._own_seconds_left(each) for each in held if each.is_printed)

    def _carry_out(self, plan: Plan) -> list[Decision]:
        lease = self.leases[plan.running.id]
        if plan.copier is not None:
            lease.progress.want_copy(lease.stretch, plan.copier.session)
            return []
        return [*lease.divide([(helper.session, weight) for helper, weight in plan.shares], self.now)]

    def _cut_if_mute(self, stretch: Stretch, progress: Progress) -> None:
        """Free what lies behind the jobs of holders none of whom can be asked.

        All who are idle share it, where a copy would be one worker's.  What was announced still counts.
        """
        holders = [self.leases[each] for each in stretch.holders]
        if all(self._is_mute(each) for each in holders):
            progress.shorten(stretch, max(each.job_stop for each in holders))

    def _running(self, stretch: Stretch, progress: Progress) -> Running:
        """A stretch, as the one of its holders has it that will be done first."""
        holders = [self.leases[each] for each in stretch.holders]
        left, lease = min(((self._seconds_left(each), each) for each in holders), key=itemgetter(0))
        weight = lease.open_weight
        speed = self.fleet.speed(lease.session, lease.request, progress.phase)
        fixed = lease.asked_back or not lease.is_alone
        beyond = 0 if fixed else lease.movable_weight
        copied = stretch in progress.wanted or len(holders) >= policy.MOST_COPIES
        answers = any(self._will_shrink(each) for each in holders)
        return Running(
            lease.id,
            weight,
            beyond,
            self._rate(lease, speed),
            left,
            not copied and not answers and (self._is_silent(lease) or not beyond),
            sum(not each.session.stalled for each in holders),
            self._barred(stretch, progress),
            self._ease(stretch, holders),
            self._sorting_each(lease) if lease.is_in_last_job else 0.0,
        )

    def _ease(self, stretch: Stretch, holders: Iterable[Lease]) -> float:
        """How easy its lines are, as far as a holder that can be heard shows it."""
        for each in holders:
            if not self._is_silent(each):
                self.fleet.see_ease(each)
        return 1.0 if stretch.ease is None else stretch.ease

    def _barred(self, stretch: Stretch, progress: Progress) -> frozenset[WorkerId]:
        """Who is not to have a copy: those who hold it, and those who tried."""
        history = progress.histories.get(stretch.front)
        tried = history.tried_by if history else ()
        return frozenset([*(self.leases[each].session.worker for each in stretch.holders), *tried])

    def _is_likely_lost(self, lease: Lease) -> bool:
        """Whether all of a job that cannot be cut will sooner be lost with its holder than end."""
        if not lease.progress.whole_jobs:
            return False
        weight = lease.job_weight
        seconds = self._predict(lease, weight, weight)
        return self.fleet.is_likely_lost(lease.session, seconds, self.now)

    def _seconds_left(self, lease: Lease) -> float:
        before = 0.0
        if self._is_waiting(lease):
            before = min(self._own_seconds_left(each) for each in self._begun(lease.session))
        left = before + self._own_seconds_left(lease)
        return max(left, policy.LOST_SECONDS) if self._is_likely_lost(lease) else left

    def _sorting_seconds(self, lease: Lease, ends: float) -> float:
        """How long sorting lasts from the end of its last program on: jobs are sorted one by one.

        What others have to sort at their end is about as much, unless its last job is in hand.
        """
        if not lease.is_in_last_job:
            return 0.0
        each, before = self._sorting_each(lease), lease.printed_weight
        own = each * (lease.open_weight - before)
        return own + max(0.0, each * before - (ends - lease.job_since))

    def _sorting_each(self, lease: Lease) -> float:
        return self.fleet.sorting_each(lease.session, lease.request, lease.progress.phase)

    def _own_seconds_left(self, lease: Lease) -> float:
        return self._predict(lease, lease.open_weight, lease.untaken)

    def _rate(self, lease: Lease, speed: float) -> float:
        start = self.fleet.start_seconds(lease.session, lease.request, lease.progress.phase)
        return lease.rate(speed, start, self.now, len(self.fleet.sessions))

    def _predict(self, lease: Lease, uncommitted: int, untaken: int) -> float:
        speed = self.fleet.speed(lease.session, lease.request, lease.progress.phase)
        rate = self._rate(lease, speed)
        ends = self.now + untaken / rate if untaken else lease.moved
        seen = policy.Sight(
            uncommitted,
            untaken,
            speed,
            rate,
            lease.silent_seconds(self.now),
            self.now - lease.moved,
            lease.session.way,
            self._sorting_seconds(lease, ends),
        )
        return policy.predict_seconds_left(seen, len(self.fleet.sessions))
