"""The workers: who is connected, what each has earned, how fast each is believed to be."""

from collections.abc import Iterable
from math import exp, inf, log

from attrs import define, field

from hagoop import notice, policy
from hagoop.errors import LedgerError
from hagoop.experience import Pace, Prior, Record, fit_prior, typical_speed
from hagoop.jobs import Finished, Phase, RequestId, SessionId, WorkerId
from hagoop.leases import Lease, Session
from hagoop.progress import Progress
from hagoop.requests import Request
from hagoop.standing import Standing

REFIT_SECONDS = 10.0
SUPPLY_SECONDS = 0.1
SUPPLY_SECONDS_EACH = 5e-5
"""How long the sum over all workers' speeds is good for: at most, and for each worker in it.

Speeds grow a hundredfold within a tenth of a second when a phase begins: beside an old sum one worker's
share would be all there is.
"""
RELATIVE_SHARE = 0.1
"""How much one commit says about a worker's speed in general."""


@define(eq=False)
class Fleet:
    """Sessions and records; times are seconds of one monotonic clock."""

    records: dict[WorkerId, Record] = field(factory=dict)
    sessions: dict[SessionId, Session] = field(factory=dict)
    prior: Prior = field(factory=Prior)
    standings: dict[WorkerId, Standing] = field(factory=dict)
    _fitted: float = -inf
    _supplies: dict[tuple[RequestId, Phase, int], tuple[float, float]] = field(factory=dict)

    def live_session(self, worker: WorkerId) -> Session | None:
        """The session that holds an identity now."""
        return next((each for each in self.sessions.values() if each.worker == worker), None)

    def joined(self, session: Session, now: float) -> None:
        """A session begins; its identity must not have another."""
        if self.live_session(session.worker):
            raise LedgerError(f"{session.worker} has a session")
        self.sessions[session.id] = session
        self.records.setdefault(session.worker, Record()).joined(now)
        self._supplies.clear()

    def ended(self, session: Session, now: float, *, failed: bool) -> None:
        """A session is over, and its leases are released."""
        del self.sessions[session.id]
        self.records[session.worker].left(now, failed=failed)
        self._supplies.clear()

    def rested(self, session: Session, now: float) -> None:
        """A worker rests; that is no time at work."""
        session.leaving = True
        self.records[session.worker].left(now, failed=False)
        self._supplies.clear()

    def came_back(self, session: Session, now: float) -> None:
        """A worker works, for as long as it has not given notice; whatever it had said before."""
        if session.leaving:
            self.records[session.worker].joined(now)
            self._supplies.clear()
        session.leaving, session.leaves_at, session.why = False, inf, ""

    @property
    def slots(self) -> int:
        """How many programs all workers together run at a time."""
        return sum(each.slots for each in self.sessions.values() if not each.leaving)

    def standing(self, worker: WorkerId) -> Standing:
        """A worker's failures, to be added to."""
        return self.standings.setdefault(worker, Standing())

    def seconds_aside(self, session: Session, now: float) -> float:
        """How long a worker is still put aside; never while there is no other to do its work."""
        seconds = self.standing(session.worker).seconds_aside(now)
        return seconds if seconds and self._others_serve(session, now) else 0.0

    def _others_serve(self, session: Session, now: float) -> bool:
        others = (each for each in self.at_hand(now) if each != session.worker)
        return any(not self.standing(each).seconds_aside(now) for each in others)

    def is_ready(self, session: Session, now: float) -> bool:
        """Whether a worker may have more work now; one on trial gets one piece at a time."""
        if session.stalled or session.leaving or self.seconds_aside(session, now):
            return False
        if session.leaves_at - now < notice.LEAST_SECONDS:
            return False
        return not (session.leases and self.standing(session.worker).is_on_trial)

    def worker_hung(self, session: Session, now: float) -> None:
        """A worker was not waited for any longer: it fails what others do."""
        self.standing(session.worker).failed(now, others_succeed=True)

    def is_doubtful(self, session: Session) -> bool:
        """Whether a worker has missed a deadline, and has committed nothing since."""
        return self.records[session.worker].stalled_since is not None

    def program_failed(self, lease: Lease, now: float, *, again: bool) -> None:
        """A program failed on a worker, where others may have shown that it can be done.

        :param again: whether it has failed on these lines before: a program that others run well may
            fail for them, and this says nothing new of a worker.
        """
        worker, phase, paces = lease.session.worker, lease.progress.phase, lease.request.paces
        others = (each for kind, each in paces if kind is phase and each != worker)
        succeed = any(paces[phase, each].speed is not None for each in others)
        if not (again and succeed):
            self.standing(worker).failed(now, others_succeed=succeed)

    @property
    def connected(self) -> list[WorkerId]:
        """The identities of all sessions."""
        return [each.worker for each in self.sessions.values()]

    def at_hand(self, now: float) -> list[WorkerId]:
        """The identities of sessions that may be expected to take work, soon or when theirs is done."""
        quiet = policy.quiet_seconds(len(self.sessions))
        return [
            each.worker
            for each in self.sessions.values()
            if not each.stalled and not each.leaving and now - each.heard <= quiet
        ]

    @property
    def idle(self) -> list[Session]:
        """Sessions with a slot free that may be given work."""
        return [each for each in self.sessions.values() if each.is_free]

    def asking(self, session: Session, request: Request, phase: Phase, now: float) -> policy.Asking:
        """What the policy needs to know of one worker on one phase."""
        return policy.Asking(
            self.records[session.worker],
            request.pace(session.worker, phase),
            self.speed(session, request, phase),
            now - session.since,
        )

    def speed(self, session: Session, request: Request, phase: Phase) -> float:
        """Weight a second: measured, else as usual here for a worker of its relative speed."""
        pace = request.pace(session.worker, phase)
        if pace.speed is not None:
            return pace.speed
        usual = typical_speed(self._paces(request, phase), policy.GUESSED_SPEED[phase])
        return usual * exp(self.records[session.worker].relative)

    def supply(self, request: Request, progress: Progress, now: float) -> policy.Supply:
        """What the policy needs to know of a phase and of all workers together."""
        phase = request.id, progress.phase, progress.round
        good_for = min(SUPPLY_SECONDS, SUPPLY_SECONDS_EACH * len(self.sessions))
        known = self._supplies.get(phase)
        if known is None or now - known[0] > good_for:
            working = [each for each in self.sessions.values() if not each.stalled and not each.leaving]
            speeds = [each.slots * self.speed(each, request, progress.phase) for each in working]
            known = self._supplies[phase] = now, sum(speeds)
        return policy.Supply(progress.left, known[1], len(self.sessions))

    def next_lease(
        self, session: Session, request: Request, progress: Progress, now: float
    ) -> tuple[float, int]:
        """How long a worker's next lease should keep it busy, and its weight; 0: nothing fits."""
        speed = self.speed(session, request, progress.phase)
        return notice.fitted(self._next_lease(session, request, progress, now), session, speed, now)

    def _next_lease(
        self, session: Session, request: Request, progress: Progress, now: float
    ) -> tuple[float, int]:
        asking = self.asking(session, request, progress.phase, now)
        supply = self.supply(request, progress, now)
        if not progress.whole_jobs:
            return policy.lease_seconds(asking, supply), policy.lease_weight(asking, supply)
        seconds = policy.whole_lease_seconds(asking, supply, self.prior, now)
        return seconds, policy.whole_lease_weight(asking, supply, self.prior, now)

    def is_likely_lost(self, session: Session, seconds: float, now: float) -> bool:
        """Whether a worker will sooner be lost, or gone, than do what takes so long."""
        record, leaves = self.records[session.worker], now + seconds > session.leaves_at
        return leaves or policy.is_likely_lost(record, seconds, self.prior, now)

    def learn(self, lease: Lease, weight: int, job: Finished, now: float) -> None:
        """A commit shows how fast its worker is, here and in general."""
        session, phase = lease.session, lease.progress.phase
        record, pace = self.records[session.worker], lease.request.pace(session.worker, phase)
        pace.observe(weight, job.seconds, job.overhead_seconds)
        record.delivered(now)
        self.standing(session.worker).delivered()
        session.stalled = False
        rivals = self._paces(lease.request, phase)
        if len(rivals) > 1 and pace.speed:
            usual = typical_speed(rivals, pace.speed)
            record.relative += RELATIVE_SHARE * (log(pace.speed / usual) - record.relative)

    def refit(self, now: float) -> None:
        """Fit the prior to the records, now and then."""
        if now - self._fitted >= REFIT_SECONDS:
            self._fitted = now
            self.prior = fit_prior(self.records.values(), now)

    def _paces(self, request: Request, phase: Phase) -> list[tuple[Pace, Record]]:
        known: Iterable[tuple[tuple[Phase, WorkerId], Pace]] = request.paces.items()
        return [
            (pace, self.records[worker])
            for (kind, worker), pace in known
            if kind is phase and pace.speed is not None
        ]
