"""The product in the lab: the server's own ledger and policy, driven as its scheduler drives them."""

from attrs import define, field
from zope.interface import implementer

from hagoop import policy
from hagoop.jobs import (
    AssignmentId,
    Finished,
    Output,
    Phase,
    Program,
    RequestId,
    Seen,
    SessionId,
    Submission,
    WorkerId,
)
from hagoop.lab.contender import Grant, IContender, INetwork, Job, Sight
from hagoop.leases import Cancel, Close, Decision, PhaseEnded, Session, TakeBack
from hagoop.ledger import Ledger
from hagoop.way import believed

REQUEST = RequestId("r1")


@implementer(IContender)
@define(eq=False)
class Product:
    """A server without files and sockets, with one request that has a mapper only."""

    network: INetwork
    ledger: Ledger = field(factory=Ledger)
    finished: bool = False

    def begin(self, lines: int) -> None:
        """The request arrives; all of its lines are known."""
        program = Program(mapper="cat", reducer=None, combiner=None)
        self.ledger.request_submitted(REQUEST, Submission(program, ()), self.network.now())
        self.ledger.phase_began(REQUEST, Phase.MAP, 0, None)
        self._enact(self.ledger.lines_counted(REQUEST, lines, lines, [0], whole=True))

    @property
    def beat_seconds(self) -> float:
        return policy.beat_seconds(len(self.ledger.fleet.sessions))

    @property
    def review_seconds(self) -> float:
        return policy.review_seconds(len(self.ledger.fleet.sessions))

    def joined(self, session: int, identity: str) -> None:
        now = self.network.now()
        fleet = self.ledger.fleet
        live = fleet.live_session(WorkerId(identity))
        if live is not None:
            self.network.close(live.id)
        made = Session(SessionId(session), WorkerId(identity), "", identity, 1, now)
        made.way = believed(self.network.way(session))
        self.ledger.worker_joined(made, now)

    def asked(self, session: int) -> None:
        self.ledger.worker_asked(SessionId(session), self.network.now())
        self._serve()

    def beat(self, session: int, seen: Sight | None) -> None:
        now = self.network.now()
        self.ledger.fleet.sessions[SessionId(session)].heard = now
        if seen is not None:
            beat = Seen(AssignmentId(seen.id), seen.job_end, seen.done, 0, seen.done)
            self.ledger.line_seen(SessionId(session), beat, now)

    def committed(self, session: int, job: Job) -> tuple[bool, float]:
        now, id_ = self.network.now(), AssignmentId(job.id)
        finished = Finished(
            id_, REQUEST, Phase.MAP, 0, job.start, job.end, "", "", 0, job.seconds, job.overhead
        )
        progress, decisions = self.ledger.job_committed(SessionId(session), finished, now)
        if progress is None:
            return False, 0.0
        self._enact(decisions)
        output = Output(job.start, job.end, "", None)
        self._enact(self.ledger.output_stored(REQUEST, progress, output))
        self._serve()
        lease = self.ledger.leases.get(id_)
        return True, lease.commit_seconds if lease else 0.0

    def stopped(self, session: int, grant: str, end: int) -> None:
        self.ledger.end_taken_back(AssignmentId(grant), end)
        self._serve()

    def returned(self, session: int, grant: str) -> None:
        self.ledger.assignment_returned(SessionId(session), AssignmentId(grant))
        self._serve()

    def leaving(self, session: int, seconds: float) -> None:
        self.ledger.worker_leaves(SessionId(session))

    def closed(self, session: int, failed: bool) -> None:
        id_ = SessionId(session)
        if id_ in self.ledger.fleet.sessions:
            self._enact(self.ledger.session_ended(id_, self.network.now(), failed=failed))
            self._serve()

    def review(self) -> None:
        self._enact(self.ledger.review(self.network.now()))
        self._serve()

    def seconds_left(self) -> tuple[float, float] | None:
        progress = self.ledger.requests[REQUEST].progress
        return progress.seconds_left(self.network.now()) if progress else None

    def _serve(self) -> None:
        for lease in self.ledger.serve(self.network.now()):
            stretch = lease.stretch
            grant = Grant(lease.id, stretch.front, stretch.end, lease.commit_seconds)
            self.network.grant(lease.session.id, grant, copy=not lease.is_alone)

    def _enact(self, decisions: list[Decision]) -> None:
        for each in decisions:
            match each:
                case Cancel(session=session, assignment=assignment):
                    self.network.cancel(session, assignment)
                case TakeBack(session=session, assignment=assignment, end=end):
                    self.network.take_back(session, assignment, end)
                case Close(session=session):
                    self.network.close(session)
                case PhaseEnded():
                    self.finished = True
