"""A ledger with short words for what happens to it, for the tests of the pure layers."""

from collections.abc import Sequence
from itertools import accumulate, count

from attrs import define, evolve, field

from hagoop.jobs import (
    AssignmentId,
    Counter,
    Failure,
    Finished,
    Held,
    Output,
    Phase,
    Program,
    RequestId,
    Seen,
    SessionId,
    Source,
    Submission,
    WorkerId,
)
from hagoop.leases import Decision, Lease, Session
from hagoop.ledger import Ledger
from hagoop.progress import Progress
from hagoop.requests import Request

MUCH = 10**6


def submission(attempts: int = 4, *, skip: int = 0, whole: bool = False) -> Submission:
    program = Program("map", "reduce", attempts=attempts, skip_bad_lines=skip, map_whole=whole)
    return Submission(program, (Source("server", "lines"),), "a label")


def finished(
    lease: Lease, start: int, end: int, seconds: float = 1.0, counters: tuple[Counter, ...] = ()
) -> Finished:
    progress = lease.progress
    return Finished(
        lease.id,
        lease.request.id,
        progress.phase,
        progress.round,
        start,
        end,
        upload="1",
        digest="d",
        size=1,
        seconds=seconds,
        counters=counters,
    )


def output(job: Finished) -> Output:
    return Output(job.start, job.end, job.digest, None)


@define(eq=False)
class Books:
    """A ledger, the time, and what is said to it in tests.

    :ivar mute: sessions that do not beat.
    """

    ledger: Ledger = field(factory=Ledger)
    now: float = 1000.0
    mute: set[SessionId] = field(factory=set)
    _sessions: "count[int]" = field(factory=lambda: count(1))

    def join(self, worker: str = "w1", slots: int = 1) -> SessionId:
        id_ = SessionId(next(self._sessions))
        session = Session(id_, WorkerId(worker), f"process of {worker}", worker, slots, self.now)
        self.ledger.worker_joined(session, self.now)
        return id_

    def submit(
        self, request: str = "r1", lines: int = 100, attempts: int = 4, skip: int = 0
    ) -> Request:
        """A request in its map phase, all of its lines counted."""
        id_ = RequestId(request)
        made = self.ledger.request_submitted(id_, submission(attempts, skip=skip), self.now)
        self.ledger.phase_began(id_, Phase.MAP, 0, None)
        self.ledger.lines_counted(id_, lines, lines, (0,), whole=True)
        return made

    def submit_files(self, *lines: int) -> Request:
        """A request that maps whole files of so many lines."""
        id_ = RequestId("r1")
        made = self.ledger.request_submitted(id_, submission(whole=True), self.now)
        self.ledger.phase_began(id_, Phase.MAP, 0, None)
        total = sum(lines)
        breaks = (0, *accumulate(lines[:-1]))
        self.ledger.lines_counted(id_, total, total, breaks, whole=True)
        return made

    def progress(self, request: str = "r1") -> Progress:
        found = self.ledger.requests[RequestId(request)].progress
        assert found is not None
        return found

    def ask(self, session: SessionId) -> Lease:
        lease = self.ledger.lease_next(session, self.now)
        assert lease is not None
        self.ledger.waiting.pop(session, None)
        return lease

    def all_ask(self) -> None:
        """Who has a slot free waits for work."""
        for session in self.ledger.fleet.sessions.values():
            if session.is_free and session.id not in self.ledger.waiting:
                self.ledger.waiting[session.id] = 1

    def wants_copy(self, lease: Lease) -> bool:
        return lease.stretch in lease.progress.wanted

    def hold(self, session: SessionId, start: int, end: int, request: str = "r1") -> Lease:
        """A lease of just this range, as of a worker that comes back and has begun its first line."""
        progress = self.progress(request)
        said = Held(
            AssignmentId("0-0"),
            RequestId(request),
            progress.phase,
            progress.round,
            start,
            end,
            start + 1,
        )
        lease = self.ledger.held_again(session, said, self.now)
        assert lease is not None
        return lease

    def refused(self, session: SessionId) -> bool:
        return self.ledger.lease_next(session, self.now) is None

    def commit(
        self, lease: Lease, end: int | None = None, seconds: float = 1.0, sorting: float = 0.0
    ) -> list[Decision]:
        """The next job of a lease is accepted and on disk."""
        job = finished(lease, lease.stretch.front, end or lease.stretch.end, seconds)
        job = evolve(job, sorting_seconds=sorting)
        progress, decisions = self.ledger.job_committed(lease.session.id, job, self.now)
        assert progress is lease.progress
        return [*decisions, *self.ledger.output_stored(job.request, progress, output(job))]

    def rejected(self, session: SessionId, job: Finished) -> bool:
        return self.ledger.job_committed(session, job, self.now) == (None, [])

    def fail(
        self,
        lease: Lease,
        kind: str = "PROGRAM_FAILED",
        seconds: float = 5.0,
        place: tuple[int, int] | None = None,
    ) -> list[Decision]:
        start, end = place or (lease.stretch.front, lease.stretch.front + 1)
        failure = Failure(lease.id, start, end, kind, "it ended", seconds, "oh")
        return self.ledger.job_failed(lease.session.id, failure, self.now)

    def beat(self, lease: Lease, job_end: int, taken: int = 0, done: int | None = None) -> None:
        """Its program was given all of the job, unless it is said how much."""
        given = lease.progress.scale.weight(lease.begin, job_end)
        seen = Seen(lease.id, job_end, taken, 0, given if done is None else done)
        self.ledger.line_seen(lease.session.id, seen, self.now)

    def end(self, session: SessionId, *, failed: bool = True) -> list[Decision]:
        return self.ledger.session_ended(session, self.now, failed=failed)

    def review_after(self, seconds: float) -> list[Decision]:
        self.now += seconds
        for session in self.ledger.fleet.sessions.values():
            if session.id not in self.mute:
                session.heard = self.now
        self.all_ask()
        return self.ledger.review(self.now)


def ids(leases: Sequence[Lease]) -> list[AssignmentId]:
    return [each.id for each in leases]
