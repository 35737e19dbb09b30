"""The workers: who is connected, what each has earned, how fast each is believed to be."""

from collections import Counter
from collections.abc import Iterator
from math import exp, inf, log

from attrs import define, field

from hagoop import notice, policy
from hagoop.errors import LedgerError
from hagoop.experience import UNKNOWN_START_SECONDS, Pace, Prior, Record, Usual, fit_prior, usual_of
from hagoop.jobs import Finished, Phase, Program, RequestId, SessionId, WorkerId
from hagoop.leases import Lease, Session
from hagoop.progress import Progress
from hagoop.remembered import MOST_PROGRAMS
from hagoop.requests import Request
from hagoop.standing import Standing

REFIT_SECONDS = 10.0
REFIT_FACTOR = 1.25
REFIT_FAILURES = 3
"""The prior is fitted anew when failures have grown by a quarter and so many, too."""
SUPPLY_SECONDS = 0.25
"""How long a sum over all workers is good for at most."""
COMMITS_EACH = 0.25
"""After so many commits for each worker in it, what was taken over all of them is taken anew.

Speeds grow a hundredfold within a tenth of a second when a phase begins: beside an old sum one worker's
share would be all there is.
"""
REMEMBERED_START = 0.95
"""What is believed of a start each time that a program comes again: by one that is too long all jobs are
made equally long, and then none tells that it is."""
RELATIVE_SHARE = 0.1
"""How much one commit says about a worker's speed in general."""
MOST_TROUBLE = 300
"""Characters of what is shown of a worker's trouble."""
PhaseKey = tuple[RequestId, Phase, int]


@define(eq=False)
class Fleet:
    """Sessions and records; times are seconds of one monotonic clock.

    What is usual for a program is known of each request, and of as many programs as workers remember
    from one request to the next: those of which something was committed last.
    """

    records: dict[WorkerId, Record] = field(factory=dict)
    sessions: dict[SessionId, Session] = field(factory=dict)
    prior: Prior = field(factory=Prior)
    standings: dict[WorkerId, Standing] = field(factory=dict)
    failures: int = 0
    _live: dict[WorkerId, Session] = field(factory=dict)
    _fitted: float = -inf
    _refit_at: float = REFIT_FAILURES
    _supplies: dict[PhaseKey, tuple[float, int, float, float]] = field(factory=dict)
    _commits: int = 0
    _usual: dict[tuple[RequestId, Phase], Usual] = field(factory=dict)
    _learned: Counter[tuple[RequestId, Phase]] = field(factory=Counter)
    _remembered: dict[tuple[Program, Phase], Usual] = field(factory=dict)

    def live_session(self, worker: WorkerId) -> Session | None:
        """The session that holds an identity now."""
        return self._live.get(worker)

    def joined(self, session: Session, now: float) -> None:
        """A session begins; its identity must not have another."""
        if session.worker in self._live:
            raise LedgerError(f"{session.worker} has a session")
        self.sessions[session.id] = self._live[session.worker] = session
        self.records.setdefault(session.worker, Record()).joined(now)
        self._supplies.clear()

    def ended(self, session: Session, now: float, *, failed: bool) -> None:
        """A session is over, and its leases are released."""
        del self.sessions[session.id], self._live[session.worker]
        self.records[session.worker].left(now, failed=failed)
        self.failures += failed
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

    def bytes_failed(self, lease: Lease, told: str, now: float) -> None:
        """A worker got or sent no bytes, where others may have: perhaps it does not reach their port.

        :param told: what it says of that.
        """
        # Not for long: it may be mended at any moment, and costs others little.
        standing = self.standing(lease.session.worker)
        standing.failed(now, others_succeed=False)
        if standing.is_on_trial:
            lease.session.trouble = f"{told[:MOST_TROUBLE]}; open that port too"

    @property
    def connected(self) -> list[WorkerId]:
        """The identities of all sessions."""
        return [each.worker for each in self.sessions.values()]

    def is_quiet(self, session: Session, now: float) -> bool:
        """Whether what it would be given might wait for its end: it may be gone without a word."""
        return now - session.heard > policy.quiet_seconds(len(self.sessions)) + session.way

    def at_hand(self, now: float) -> Iterator[WorkerId]:
        """The identities of sessions that may be expected to take work, soon or when theirs is done."""
        for each in self.sessions.values():
            if not each.stalled and not each.leaving and not self.is_quiet(each, now):
                yield each.worker

    @property
    def idle(self) -> list[Session]:
        """Sessions with a slot free that may be given work."""
        return [each for each in self.sessions.values() if each.is_free]

    def asking(
        self, session: Session, request: Request, phase: Phase, now: float, held: int = 0
    ) -> policy.Asking:
        """What the policy needs to know of one worker on one phase.

        :param held: weight of the phase that it holds already.
        """
        pace, known = request.pace(session.worker, phase), self._hoped(request, phase)
        return policy.Asking(
            self.records[session.worker],
            pace,
            self._speed(session, request, phase, known),
            now - session.since,
            session.way,
            is_guess=pace.speed is None and (known is None or not known.known),
            start_seconds=self.start_seconds(session, request, phase),
            slots=session.slots,
            held=held,
        )

    def speed(self, session: Session, request: Request, phase: Phase) -> float:
        """Weight a second: measured, else as usual here for a worker of its relative speed."""
        return self._speed(session, request, phase, self._usual.get((request.id, phase)))

    def hoped_speed(self, session: Session, request: Request, phase: Phase) -> float:
        """The same; before anything is known here, by how fast the program was in an earlier request.

        Its lines may be others now: this is good enough to share out work by, which can be taken back,
        but nobody is late by it.
        """
        return self._speed(session, request, phase, self._hoped(request, phase))

    def _hoped(self, request: Request, phase: Phase) -> Usual | None:
        """What is usual for the program here; before that is known, in an earlier request."""
        known = self._usual.get((request.id, phase))
        if known is None or not known.known:
            known = self._remembered.get((request.program, phase))
        return known

    def _speed(
        self, session: Session, request: Request, phase: Phase, known: Usual | None
    ) -> float:
        pace = request.pace(session.worker, phase)
        if pace.speed is not None:
            return pace.speed
        record = self.records[session.worker]
        if known is None or not known.known:
            return policy.GUESSED_SPEED[phase] * exp(record.relative)
        return known.speed * exp(record.relative) if record.committed else known.low

    def usual_speed(self, session: Session, request: Request, phase: Phase) -> float:
        """Weight a second on average lines, however hard its last ones were."""
        known = self._usual.get((request.id, phase))
        if known is None or not known.known:
            return self.speed(session, request, phase)
        return known.speed * exp(self.records[session.worker].relative)

    def see_ease(self, lease: Lease) -> None:
        """Remember how easy a lease's lines are, if its Beats show how fast they are done.

        Not by its first second, much of which may be starts.
        """
        rate = lease.seen_rate if lease.is_under_way else None
        if rate is not None:
            usual = self.usual_speed(lease.session, lease.request, lease.progress.phase)
            lease.stretch.ease = rate / usual

    def is_proven(self, session: Session, request: Request, phase: Phase) -> bool:
        """Whether it has committed anything of a phase, and is not doubtful since."""
        return request.pace(session.worker, phase).speed is not None and not self.is_doubtful(session)

    def start_seconds(self, session: Session, request: Request, phase: Phase) -> float:
        """What starting the program takes there: measured, else as usual, here or when it ran last."""
        pace = request.pace(session.worker, phase)
        return pace.start.estimate(self._usual_start(request, phase))

    def sorting_each(self, session: Session, request: Request, phase: Phase) -> float:
        """Seconds that it sorts for each unit of weight: before anything is known, as usual."""
        pace, known = request.pace(session.worker, phase), self._usual.get((request.id, phase))
        return known.sorting_each if pace.speed is None and known is not None else pace.sorting_each

    def _usual_start(self, request: Request, phase: Phase) -> float:
        known = self._usual.get((request.id, phase))
        if known is not None and known.known:
            return known.start_seconds
        earlier = self._remembered.get((request.program, phase))
        return REMEMBERED_START * earlier.start_seconds if earlier is not None else UNKNOWN_START_SECONDS

    def supply(self, request: Request, progress: Progress, now: float) -> policy.Supply:
        """What the policy needs to know of a phase and of all workers together."""
        phase = request.id, progress.phase, progress.round
        known = self._supplies.get(phase)
        if known is None or now > known[0] or self._commits >= known[1]:
            working = [each for each in self.sessions.values() if not each.stalled and not each.leaving]
            speed = sum(each.slots * self.hoped_speed(each, request, progress.phase) for each in working)
            until = now + SUPPLY_SECONDS, self._commits + max(1, int(COMMITS_EACH * len(working)))
            known = self._supplies[phase] = *until, speed, progress.weight_to_do
        left = progress.left
        return policy.Supply(left, known[2], len(self.sessions), known[3] - left)

    def next_lease(
        self, session: Session, request: Request, progress: Progress, now: float, held: int = 0
    ) -> tuple[float, int]:
        """How long a worker's next lease should keep it busy, and its weight; 0: nothing fits.

        :param held: weight that it will still hold then.
        """
        asking = self.asking(session, request, progress.phase, now, held)
        speed = self.hoped_speed(session, request, progress.phase)
        return notice.fitted(self._next_lease(asking, request, progress, now), session, speed, now)

    def _next_lease(
        self, asking: policy.Asking, request: Request, progress: Progress, now: float
    ) -> tuple[float, int]:
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
        pace.observe(weight, job.seconds, job.overhead_seconds, job.sorting_seconds)
        record.delivered(now)
        self.standing(session.worker).delivered()
        session.trouble = ""
        session.stalled = False
        self._commits += 1
        usual = self._usual_now(lease.request, phase)
        if usual.known > 1 and pace.speed:
            record.relative += RELATIVE_SHARE * (log(pace.speed / usual.speed) - record.relative)

    def _usual_now(self, request: Request, phase: Phase) -> Usual:
        key = request.id, phase
        known = self._usual.get(key)
        self._learned[key] += 1
        if known is None or self._learned[key] >= COMMITS_EACH * known.known:
            start = self._usual_start(request, phase)
            known = self._usual[key] = usual_of(self._paces(request, phase), start)
            self._learned[key] = 0
            self._remember(request.program, phase, known)
        return known

    def _remember(self, program: Program, phase: Phase, known: Usual) -> None:
        if not known.known:
            return  # Cells without keys show no speed.
        self._remembered.pop((program, phase), None)
        self._remembered[program, phase] = known
        if len(self._remembered) > MOST_PROGRAMS:
            del self._remembered[next(iter(self._remembered))]

    def _paces(self, request: Request, phase: Phase) -> Iterator[tuple[Pace, Record]]:
        return (
            (pace, self.records[worker])
            for (kind, worker), pace in request.paces.items()
            if kind is phase
        )

    def forget(self, request: RequestId) -> None:
        """What is known of a request's program is not needed any more."""
        self._usual = {key: each for key, each in self._usual.items() if key[0] != request}
        for key in [each for each in self._learned if each[0] == request]:
            del self._learned[key]
        self._supplies = {key: each for key, each in self._supplies.items() if key[0] != request}

    def refit(self, now: float) -> None:
        """Fit the prior to the records, now and then, and when many more were lost."""
        if now - self._fitted >= REFIT_SECONDS or self.failures >= self._refit_at:
            self._fitted = now
            self._refit_at = REFIT_FACTOR * self.failures + REFIT_FAILURES
            self.prior = fit_prior(self.records.values(), now)
