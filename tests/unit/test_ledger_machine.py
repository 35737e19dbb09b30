"""The ledger against a model, through whatever a fleet of strangers can do to it.

Workers join, vanish, stall, lie, answer late and twice; requests come, go on and are cancelled; the
server is killed.  After each step all invariants hold and what is committed is what the model counted;
at last one good worker stays beside all that have gone silent, and everything ends.
"""

from attrs import define, evolve
from books import finished, output, submission
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hagoop import policy
from hagoop.jobs import (
    AssignmentId,
    Failure,
    Finished,
    Held,
    Output,
    Phase,
    RequestId,
    Seen,
    SessionId,
    State,
    WorkerId,
)
from hagoop.leases import (
    Cancel,
    Close,
    Decision,
    Lease,
    NobodyFit,
    PhaseEnded,
    ProgramBroken,
    Session,
    TakeBack,
)
from hagoop.ledger import Ledger
from hagoop.progress import Progress
from hagoop.requests import Request

MOST_STEPS = 2000
MOST_REQUESTS = 3
KINDS = ["PROGRAM_FAILED", "PROGRAM_HUNG", "WORKER_UNFIT", "JOB", "TRANSFER_FAILED"]
workers = st.sampled_from(["w1", "w2", "w3", "w4"])
picks = st.integers(0, 2**16)
"""A choice among what there is then."""
spans = st.integers(1, 300)
rarely = st.integers(0, 5).map(lambda drawn: drawn == 5)
seconds = st.sampled_from([0.0, 0.01, 1.0, 30.0, 1e300])


@define(eq=False)
class Storing:
    """An accepted commit that is not on disk yet."""

    request: RequestId
    progress: Progress
    output: Output


class LedgerMachine(RuleBasedStateMachine):
    """What may happen, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.now = 1000.0
        self.numbers = 0
        self.jobs: list[Finished] = []
        self.remembered: list[Held] = []
        self.storing: list[Storing] = []
        self.cancelled: list[Cancel] = []
        self.asked_back: list[TakeBack] = []
        self.between: list[RequestId] = []
        self.counted: dict[RequestId, set[int]] = {}
        self.lines: dict[RequestId, int] = {}

    # What there is

    @property
    def sessions(self) -> list[Session]:
        return list(self.ledger.fleet.sessions.values())

    @property
    def leases(self) -> list[Lease]:
        return list(self.ledger.leases.values())

    @property
    def running(self) -> list[Request]:
        return [each for each in self.ledger.requests.values() if each.state is State.RUNNING]

    @property
    def counting(self) -> list[Progress]:
        found = [each.progress for each in self.running if each.progress is not None]
        return [each for each in found if each.phase is Phase.MAP and not each.whole]

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    # What follows from decisions

    def enact(self, decisions: list[Decision]) -> None:
        for each in decisions:
            if isinstance(each, Cancel):
                self.cancelled.append(each)
            elif isinstance(each, TakeBack):
                self.asked_back.append(each)
            elif isinstance(each, Close):
                self.end_session(self.ledger.fleet.sessions[each.session], failed=True)
            elif isinstance(each, PhaseEnded):
                self.between.append(each.request)
            else:
                assert isinstance(each, ProgramBroken | NobodyFit)
                self.end_request(each.request, State.FAILED)

    def end_session(self, session: Session, *, failed: bool) -> None:
        self.remembered += [self.held(self.ledger.leases[each]) for each in sorted(session.leases)]
        decisions = self.ledger.session_ended(session.id, self.now, failed=failed)
        assert decisions == []
        self.cancelled = [each for each in self.cancelled if each.session != session.id]
        self.asked_back = [each for each in self.asked_back if each.session != session.id]

    def held(self, lease: Lease) -> Held:
        front, progress = lease.stretch.front, lease.progress
        return Held(
            lease.id,
            lease.request.id,
            progress.phase,
            progress.round,
            front,
            lease.stretch.end,
            front + 1,
        )

    def end_request(self, request: RequestId, state: State) -> None:
        if self.ledger.requests[request].state is State.RUNNING:
            self.enact(self.ledger.request_ended(request, state, "it ended"))
            self.between = [each for each in self.between if each != request]

    def begin(
        self, request: RequestId, phase: Phase, round_: int, cumulative: tuple[int, ...] | None
    ) -> None:
        self.counted[request] = set()
        self.ledger.phase_began(request, phase, round_, cumulative)

    def commit(self, session: SessionId, job: Finished) -> bool:
        """Whether a job was accepted; what is accepted was counted by nobody before."""
        self.jobs.append(job)
        accepts = self.ledger.accepts(session, job)
        progress, decisions = self.ledger.job_committed(session, job, self.now)
        assert accepts == (progress is not None)
        if progress is None:
            assert decisions == []
            return False
        positions = set(range(job.start, job.end))
        assert positions
        assert not positions & self.counted[job.request]
        self.counted[job.request] |= positions
        self.storing.append(Storing(job.request, progress, output(job)))
        self.enact(decisions)
        return True

    @initialize(lines=st.integers(1, 1000), slots=st.integers(1, 2))
    def fleet_is_there(self, lines: int, slots: int) -> None:
        """A request and two workers to begin with."""
        for worker in ("w1", "w2"):
            self.worker_joins(worker, slots)
        self.request_is_submitted(4)
        self.count_lines(self.counting[0], lines, 0, lines % 2 == 0)
        self.everybody_asks()

    # Workers

    @precondition(lambda self: self.sessions)
    @rule()
    def everybody_asks(self) -> None:
        for each in range(len(self.sessions)):
            self.worker_asks(each)

    @rule(worker=workers, slots=st.integers(1, 2))
    def worker_joins(self, worker: str, slots: int) -> None:
        if self.ledger.fleet.live_session(WorkerId(worker)) is None:
            id_ = SessionId(self.number())
            self.ledger.worker_joined(
                Session(id_, WorkerId(worker), "process", worker, slots, self.now), self.now
            )

    @precondition(lambda self: self.sessions)
    @rule(pick=picks, failed=st.booleans(), rare=rarely)
    def worker_is_lost(self, pick: int, failed: bool, rare: bool) -> None:
        if not rare:
            return
        self.end_session(self.sessions[pick % len(self.sessions)], failed=failed)

    @precondition(lambda self: self.sessions)
    @rule(pick=picks, rare=rarely)
    def worker_gives_notice(self, pick: int, rare: bool) -> None:
        if not rare:
            return
        self.ledger.worker_leaves(self.sessions[pick % len(self.sessions)].id)

    @precondition(lambda self: self.sessions)
    @rule(pick=picks, left=seconds, rare=rarely)
    def worker_leaves_in(self, pick: int, left: float, rare: bool) -> None:
        if not rare:
            return
        session = self.sessions[pick % len(self.sessions)]
        self.enact(self.ledger.worker_leaves_in(session.id, left, self.now))

    @precondition(lambda self: self.sessions)
    @rule(pick=picks)
    def worker_rests(self, pick: int) -> None:
        session = self.sessions[pick % len(self.sessions)]
        self.ledger.worker_rests(session.id, self.now)
        assert self.ledger.lease_next(session.id, self.now) is None

    @precondition(lambda self: any(each.leaving for each in self.sessions))
    @rule(pick=picks)
    def worker_is_back(self, pick: int) -> None:
        resting = [each for each in self.sessions if each.leaving]
        self.ledger.worker_is_back(resting[pick % len(resting)].id, self.now)

    @precondition(lambda self: self.sessions)
    @rule(pick=picks)
    def worker_asks(self, pick: int) -> None:
        session = self.sessions[pick % len(self.sessions)]
        lease = self.ledger.lease_next(session.id, self.now)
        if lease is not None:
            workers_of = [self.ledger.leases[each].session.worker for each in lease.stretch.holders]
            assert len(set(workers_of)) == len(workers_of) <= policy.MOST_COPIES
            assert session.worker not in lease.request.unfit

    @precondition(lambda self: self.sessions and self.remembered)
    @rule(pick=picks, which=picks)
    def worker_says_what_it_holds(self, pick: int, which: int) -> None:
        session = self.sessions[pick % len(self.sessions)]
        said = self.remembered[which % len(self.remembered)]
        self.ledger.room_made(session.id, said, self.now)
        lease = self.ledger.held_again(session.id, said, self.now)
        if lease is not None:
            assert said.front <= lease.stretch.front < said.end <= lease.stretch.end
            assert not set(range(lease.stretch.front, said.end)) & self.counted[said.request]

    @precondition(lambda self: self.leases)
    @rule(pick=picks, span=spans, taken=st.integers(0, 3))
    def worker_beats(self, pick: int, span: int, taken: int) -> None:
        lease = self.leases[pick % len(self.leases)]
        seen = Seen(lease.id, lease.stretch.front + span, lease.taken + taken, 0)
        self.ledger.line_seen(lease.session.id, seen, self.now)

    @precondition(lambda self: self.leases)
    @rule(pick=picks, span=spans, took=seconds)
    def worker_commits(self, pick: int, span: int, took: float) -> None:
        lease = self.leases[pick % len(self.leases)]
        front, end = lease.stretch.front, lease.stretch.end
        assert self.commit(lease.session.id, finished(lease, front, min(front + span, end), took))

    @precondition(lambda self: self.leases)
    @rule(pick=picks, shift=st.integers(-3, 3), span=st.integers(-2, 300))
    def worker_commits_some_range(self, pick: int, shift: int, span: int) -> None:
        lease = self.leases[pick % len(self.leases)]
        start = lease.stretch.front + shift
        sound = shift == 0 and 0 < span <= lease.stretch.end - start
        assert self.commit(lease.session.id, finished(lease, start, start + span)) == sound

    @precondition(lambda self: self.sessions and self.jobs)
    @rule(pick=picks, which=picks)
    def worker_commits_again(self, pick: int, which: int) -> None:
        self.commit(self.sessions[pick % len(self.sessions)].id, self.jobs[which % len(self.jobs)])

    @precondition(lambda self: self.sessions and self.remembered)
    @rule(pick=picks, which=picks, span=spans)
    def worker_commits_what_it_held(self, pick: int, which: int, span: int) -> None:
        said = self.remembered[which % len(self.remembered)]
        end = min(said.front + span, said.end)
        job = Finished(
            said.id, said.request, said.phase, said.round, said.front, end, "1", "d", 1, seconds=1.0
        )
        self.commit(self.sessions[pick % len(self.sessions)].id, job)

    @precondition(lambda self: self.leases)
    @rule(pick=picks, kind=st.sampled_from(KINDS), took=seconds)
    def worker_fails(self, pick: int, kind: str, took: float) -> None:
        lease = self.leases[pick % len(self.leases)]
        front = lease.stretch.front
        failure = Failure(lease.id, front, front + 1, kind, "it ended", took)
        self.enact(self.ledger.job_failed(lease.session.id, failure, self.now))
        assert lease.id not in self.ledger.leases

    @precondition(lambda self: self.leases)
    @rule(pick=picks)
    def worker_gives_back(self, pick: int) -> None:
        lease = self.leases[pick % len(self.leases)]
        self.ledger.assignment_returned(lease.session.id, lease.id)

    @precondition(lambda self: self.asked_back)
    @rule(pick=picks, more=st.integers(0, 3))
    def worker_answers_what_end_it_keeps(self, pick: int, more: int) -> None:
        asked = self.asked_back.pop(pick % len(self.asked_back))
        self.ledger.end_taken_back(asked.assignment, asked.end + more)

    @precondition(lambda self: self.leases and self.sessions)
    @rule(pick=picks, by=picks)
    def worker_copies(self, pick: int, by: int) -> None:
        """The policy has seldom more than two; the ledger must keep its books with any number."""
        lease = self.leases[pick % len(self.leases)]
        session = self.sessions[by % len(self.sessions)]
        holders = {self.ledger.leases[each].session.worker for each in lease.stretch.holders}
        if session.worker not in holders and len(holders) < policy.MOST_COPIES:
            self.ledger.leasing.copy(session, lease.request, lease.progress, lease.stretch, self.now)

    @precondition(lambda self: self.leases)
    @rule(pick=picks, span=spans)
    def worker_stops_early(self, pick: int, span: int) -> None:
        lease = self.leases[pick % len(self.leases)]
        self.ledger.end_taken_back(lease.id, lease.stretch.front + span - 1)

    @precondition(lambda self: self.cancelled)
    @rule(pick=picks)
    def worker_answers_a_cancel(self, pick: int) -> None:
        told = self.cancelled.pop(pick % len(self.cancelled))
        self.ledger.assignment_returned(told.session, told.assignment)

    # Time

    @rule(passed=st.sampled_from([0.1, 0.5, 3.0, 60.0, 4000.0]))
    def time_passes(self, passed: float) -> None:
        self.now += passed
        self.enact(self.ledger.review(self.now))

    # Requests

    @precondition(lambda self: len(self.running) < MOST_REQUESTS)
    @rule(attempts=st.integers(1, 5))
    def request_is_submitted(self, attempts: int) -> None:
        request = RequestId(f"r{self.number()}")
        self.ledger.request_submitted(request, submission(attempts), self.now)
        self.begin(request, Phase.MAP, 0, None)

    @precondition(lambda self: self.counting)
    @rule(pick=picks, lines=st.integers(0, 1000), estimate=st.integers(0, 5000), whole=st.booleans())
    def lines_are_counted(self, pick: int, lines: int, estimate: int, whole: bool) -> None:
        progress = self.counting[pick % len(self.counting)]
        self.count_lines(progress, progress.total + lines, estimate, whole)

    def count_lines(self, progress: Progress, total: int, estimate: int, whole: bool) -> None:
        request = next(each.id for each in self.running if each.progress is progress)
        if whole:
            # An input has at least the lines that it had before the server was killed.
            total = max(total, self.lines.get(request, 0))
        self.lines[request] = max(total, self.lines.get(request, 0))
        breaks = tuple(range(0, total, 7))
        self.enact(self.ledger.lines_counted(request, total, estimate, breaks, whole=whole))

    @precondition(lambda self: self.storing)
    @rule(pick=picks)
    def output_is_stored(self, pick: int) -> None:
        self.store(self.storing.pop(pick % len(self.storing)))

    def store(self, it: Storing) -> None:
        self.enact(self.ledger.output_stored(it.request, it.progress, it.output))

    @precondition(lambda self: self.between)
    @rule(
        phase=st.sampled_from([Phase.MERGE, Phase.REDUCE, None]),
        weights=st.lists(st.integers(1, 10**6), min_size=1, max_size=9),
    )
    def next_phase_begins(self, phase: Phase | None, weights: list[int]) -> None:
        request = self.between.pop(0)
        if phase is None:
            self.end_request(request, State.DONE)
            return
        cumulative = tuple(sum(weights[:each]) for each in range(len(weights) + 1))
        self.begin(request, phase, self.number(), cumulative)

    @precondition(lambda self: self.running)
    @rule(pick=picks, rare=rarely)
    def request_is_cancelled(self, pick: int, rare: bool) -> None:
        if not rare:
            return
        self.end_request(self.running[pick % len(self.running)].id, State.CANCELLED)

    @precondition(lambda self: len(self.ledger.requests) > len(self.running))
    @rule()
    def request_is_forgotten(self) -> None:
        ended = [each for each in self.ledger.requests.values() if each.state is not State.RUNNING]
        self.ledger.request_forgotten(ended[0].id)

    # The server

    @rule(rare=rarely)
    def server_is_killed(self, rare: bool) -> None:
        """All that is not on disk is gone; the normal start finds the rest."""
        if not rare:
            return
        for each in self.sessions:
            self.end_session(each, failed=False)
        before, self.ledger = self.ledger, Ledger(self.ledger.epoch + 1)
        self.storing.clear()
        for known in before.requests.values():
            if known.state is State.RUNNING:
                self.restore(known)

    def restore(self, known: Request) -> None:
        request, progress = known.id, known.progress
        self.ledger.request_submitted(request, known.submission, known.submitted)
        if progress is None:
            return
        cumulative = progress.scale.cumulative
        self.begin(request, progress.phase, progress.round, tuple(cumulative) if cumulative else None)
        again = self.ledger.requests[request].progress
        assert again is not None
        for each in progress.in_order():
            again.restore(each)
            self.counted[request] |= set(range(each.start, each.end))
        self.enact(self.ledger.phase_checked(request))

    # What always holds

    @invariant()
    def ledger_is_sound(self) -> None:
        self.ledger.check()

    @invariant()
    def what_is_committed_was_counted_once(self) -> None:
        for each in self.running:
            if each.progress is not None:
                committed = [set(range(one.start, one.end)) for one in each.progress.committed]
                assert set().union(*committed) == self.counted[each.id]

    @invariant()
    def whoever_is_stalled_can_come_out_of_it(self) -> None:
        """It works on something, or has a cancel to answer."""
        owing = {each.session for each in self.cancelled}
        assert all(each.leases or each.id in owing for each in self.sessions if each.stalled)

    @invariant()
    def storing_outputs_are_waited_for(self) -> None:
        for each in self.running:
            waited = [one for one in self.storing if one.progress is each.progress]
            assert each.progress is None or each.progress.pending == len(waited)

    # The end

    def teardown(self) -> None:
        """One good worker stays beside those that are silent from now on."""
        good = Session(SessionId(self.number()), WorkerId("good"), "process", "good", 1, self.now)
        self.ledger.worker_joined(good, self.now)
        pause = 0.25
        for _ in range(MOST_STEPS):
            self.go_on()
            if not self.running:
                break
            pause = 0.25 if self.work(good) else min(2 * pause, 1e12)
            self.now += pause
            self.enact(self.ledger.review(self.now))
            self.answer(good)
            self.ledger.check()
        assert not self.running
        assert not self.ledger.leases

    def go_on(self) -> None:
        """Counting, storing and the steps between phases come to their ends."""
        for progress in self.counting:
            self.count_lines(progress, progress.total, 0, True)
        while self.storing:
            self.store(self.storing.pop())
        while self.between:
            self.end_request(self.between[0], State.DONE)

    def work(self, good: Session) -> bool:
        """Whether the good worker had something to do; it does it at a thousand lines a second."""
        held = sorted(good.leases)
        lease = self.ledger.leases[held[0]] if held else self.ledger.lease_next(good.id, self.now)
        if lease is None:
            return False
        stretch = lease.stretch
        took = lease.open_weight / 1000
        self.ledger.line_seen(good.id, Seen(lease.id, stretch.end, 1, 0), self.now)
        self.now += min(took, 1e3)
        assert self.commit(good.id, evolve(finished(lease, stretch.front, stretch.end), seconds=took))
        return True

    def answer(self, good: Session) -> None:
        """The good worker answers at once; the others have stopped to."""
        for told in [each for each in self.cancelled if each.session == good.id]:
            self.cancelled.remove(told)
            self.ledger.assignment_returned(good.id, told.assignment)
        for asked in [each for each in self.asked_back if each.session == good.id]:
            self.asked_back.remove(asked)
            self.ledger.end_taken_back(AssignmentId(asked.assignment), asked.end)


def test_ledger_follows_the_model_and_everything_ends() -> None:
    """A hundred stories of fifty steps."""
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(max_examples=100, stateful_step_count=50),
    )
