"""The server's side of connections, over real AMP in memory: who may do what, and what comes of it."""

import hashlib
from itertools import count
from typing import Any

import pytest
from attrs import define, evolve, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from wires import Wires

from hagoop import commands, jobs, policy
from hagoop.commands import PROTOCOL_VERSION
from hagoop.docket import Docket
from hagoop.errors import (
    BadMessage,
    LimitExceeded,
    LinkBroke,
    NoSuchInput,
    NotJoined,
    SpoolFull,
    TransferFailed,
    UnknownRequest,
    VersionMismatch,
    WorkerLost,
)
from hagoop.fleet import Fleet
from hagoop.grants import AnswerGrant, AssignmentGrant, Grants, UploadGrant
from hagoop.inputs import MemoryInputs
from hagoop.intake import Intake
from hagoop.jobs import (
    Assignment,
    AssignmentId,
    Failure,
    Finished,
    Held,
    Phase,
    Program,
    RequestId,
    Seen,
    Source,
    State,
    Stop,
    Submission,
)
from hagoop.journal import MemoryJournal
from hagoop.leases import TakeBack
from hagoop.ledger import Ledger
from hagoop.links import MOST_CALLS, Link
from hagoop.machines import this_machine
from hagoop.memory_spool import MemorySpool
from hagoop.mending import Mending
from hagoop.roles import DEAD_SECONDS, MOST_ARRIVALS, Desk, one_message
from hagoop.runs import RunWriter
from hagoop.scheduler import ASKS_PER_SLOT, Scheduler
from hagoop.sessions import COUNT_SECONDS, ServerFactory
from hagoop.standing import FEW
from hagoop.survived import Survived

LINES = b"".join(b"line %d\n" % number for number in range(10))
CAT = Program("cat", None)
ORDER = Submission(CAT, (Source("upload", "lines"),), "cat")
JOB = Finished(AssignmentId("1-1"), RequestId("r1"), Phase.MAP, 0, 0, 5, "1", "d", 9, 1.0)
FAILURE = Failure(
    AssignmentId("1-1"), 0, 5, "PROGRAM_FAILED", "it ended with exit status 1", 0.5, "oh\n"
)
OF_WORKERS: list[tuple[type[commands.Command], dict[str, Any]]] = [
    (commands.Ask, {"slot": 0}),
    (commands.Beat, {"seen": ()}),
    (commands.Commit, {"job": JOB}),
    (commands.Fail, {"failure": FAILURE}),
    (commands.Leaving, {"unbegun": (), "stops": ()}),
    (commands.Back, {}),
]
OF_CLIENTS: list[tuple[type[commands.Command], dict[str, Any]]] = [
    (commands.Upload, {"digest": "", "size": 1}),
    (commands.Survey, {"manifest": "u1"}),
    (commands.Submit, {"key": "k", "submission": ORDER}),
    (commands.List, {"skip": 0}),
    (commands.Status, {"request": ""}),
    (commands.Wait, {"request": ""}),
    (commands.Answer, {"request": ""}),
    (commands.BadLines, {"request": "", "skip": 0}),
    (commands.Partial, {"key": "k", "request": ""}),
    (commands.MissingParts, {"request": "", "skip": 0}),
    (commands.CancelRequest, {"request": ""}),
    (commands.ForgetRequest, {"request": ""}),
    (commands.Workers, {"skip": 0}),
]


class Texts:
    """Inputs whose text is known, or wrong in the way that their name says."""

    def __init__(self) -> None:
        self.changed = False
        self.broken: list[Exception] = []

    async def survey(self, request, submission):
        """By the name of the source."""
        if submission.sources[0].name == "lost":
            raise TransferFailed("nothing was uploaded as 'lost'; submit it again")
        return {}, []

    def open(self, fact, grown):
        """All counted at once."""
        inputs = Fickle(self)
        return inputs, lambda: succeed(None)


class Fickle(MemoryInputs):
    """Lines that may change while the request runs."""

    def __init__(self, texts):
        super().__init__([("a.txt", LINES)])
        self.texts = texts

    def pieces(self, start, end):
        if self.texts.broken:
            raise self.texts.broken.pop()
        if self.texts.changed:
            raise NoSuchInput("'a.txt' changed while the request ran")
        return super().pieces(start, end)


class WorkerEnd(Link):
    """A worker that notes what it is told, and answers as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[object, ...]] = []
        self.stops: dict[str, int] = {}

    @commands.Cancel.responder
    def cancel(self, assignment, reason):
        """The program is gone at once."""
        self.told.append(("cancel", assignment, reason))
        return {}

    @commands.TakeBack.responder
    def take_back(self, assignment, end):
        """The job in hand goes further."""
        self.told.append(("take back", assignment, end))
        return {"end": end + 1}

    @commands.Forget.responder
    def forget(self, request):
        """Nothing was kept."""
        self.told.append(("forget", request))
        return {}


@define(eq=False)
class Site:
    """A server in memory, and words for what workers and clients do."""

    wires: Wires = field(factory=Wires)
    texts: Texts = field(factory=Texts)
    spool: MemorySpool = field(init=False)
    scheduler: Scheduler = field(init=False)
    docket: Docket = field(init=False)
    grants: Grants = field(init=False)
    desk: Desk = field(init=False)
    factory: ServerFactory = field(init=False)

    def __attrs_post_init__(self) -> None:
        clock = self.wires.clock
        journal = MemoryJournal(clock)
        self.spool = MemorySpool(clock)
        self.scheduler = Scheduler(Ledger(epoch=journal.epoch), clock)
        self.docket = self.scheduler.docket = Docket(
            self.scheduler.ledger,
            journal,
            self.spool,
            self.texts,
            clock,
            maybeDeferred,
            clock.seconds,
            self.scheduler.enact,
            self.scheduler.forget,
        )
        words = count(1)
        self.grants = Grants(lambda: f"word-{next(words)}", clock.seconds)
        intake = Intake(self.spool, clock, maybeDeferred, self.grants, ())
        self.desk = Desk(self.scheduler, self.docket, intake, self.grants, clock, lambda: 9471)
        self.factory = ServerFactory(self.desk)

    # Connections

    def connect(self) -> WorkerEnd:
        """A connection that has not joined."""
        _, peer = self.wires.connect(self.factory.buildProtocol(None), WorkerEnd())
        return peer

    def ask_for(self, peer: Link, command: type[commands.Command], **arguments: Any) -> "Deferred[Any]":
        """A call that may take a while."""
        return self.wires.start(peer.call(command, **arguments))

    def call(self, peer: Link, command: type[commands.Command], **arguments: Any) -> Any:
        """A call that is answered now."""
        return self.wires.result(self.ask_for(peer, command, **arguments))

    def join(self, peer: Link, role: str = "worker", **arguments: Any) -> dict[str, Any]:
        """Join as somebody."""
        known: dict[str, Any] = {"identity": "", "process": "p", "name": "lab1", "slots": 1, "held": ()}
        given = {"version": PROTOCOL_VERSION, "role": role, **known, **arguments}
        answer: dict[str, Any] = self.call(peer, commands.Join, **given)
        return answer

    def worker(self, **arguments: Any) -> WorkerEnd:
        """A worker that has joined."""
        peer = self.connect()
        self.join(peer, **arguments)
        return peer

    def client(self) -> Link:
        """A client that has joined."""
        peer = self.connect()
        self.join(peer, "client")
        return peer

    # Requests and work

    def submit(self, client: Link, key: str = "k", submission: Submission = ORDER) -> str:
        """Submit; its id."""
        request: str = self.call(client, commands.Submit, key=key, submission=submission)["request"]
        return request

    def ask(self, worker: Link) -> Assignment:
        """An assignment that is there."""
        assignment: Assignment = self.call(worker, commands.Ask, slot=0)["assignment"]
        return assignment

    def await_work(self, worker: Link, *others: Link) -> Assignment:
        """An assignment that comes when others have done nothing for too long."""
        asked = self.ask_for(worker, commands.Ask, slot=0)
        for _ in range(400):
            if asked.called:
                break
            self.wires.advance(0.25)
            self.scheduler.review()
            for each in (worker, *others):
                self.call(each, commands.Beat, seen=())
        assignment: Assignment = self.wires.result(asked)["assignment"]
        return assignment

    def send(self, assignment: Assignment, data: bytes) -> str:
        """What the web endpoint does with the bytes of a job; their name."""
        grant = self.grants.find(assignment.grant)
        assert isinstance(grant, AssignmentGrant)
        arriving = grant.receive(grant.assignment.output_bytes)
        arriving.write(data)
        return grant.arrived(arriving.finish())

    def job(self, assignment: Assignment, end: int = 0, data: bytes = b"x\n") -> Finished:
        """A job from the start of an assignment, sent."""
        upload = self.send(assignment, data) if data else ""
        digest = hashlib.sha256(data).hexdigest()
        it, end = assignment, end or assignment.end
        return Finished(
            it.id, it.request, it.phase, it.round, it.start, end, upload, digest, len(data), 1.0
        )

    def commit(self, worker: Link, job: Finished) -> tuple[bool, int]:
        """Commit it."""
        answer = self.call(worker, commands.Commit, job=job)
        return answer["accepted"], answer["front"]

    def status(self, client: Link, request: str = "") -> jobs.RequestStatus:
        """One request."""
        status: jobs.RequestStatus = self.call(client, commands.Status, request=request)["status"]
        return status


@pytest.fixture
def site():
    """A server; its ledger is sound at the end."""
    made = Site()
    yield made
    made.scheduler.ledger.check()


# Joining


@pytest.mark.parametrize(("command", "arguments"), OF_WORKERS)
def test_commands_of_workers_are_for_workers_that_have_joined(site, command, arguments):
    """Neither before nor as a client."""
    for peer in (site.connect(), site.client()):
        with pytest.raises(NotJoined, match="this command is for workers that have joined"):
            site.call(peer, command, **arguments)


@pytest.mark.parametrize(("command", "arguments"), OF_CLIENTS)
def test_commands_of_clients_are_for_clients_that_have_joined(site, command, arguments):
    """Neither before nor as a worker."""
    for peer in (site.connect(), site.worker()):
        with pytest.raises(NotJoined, match="this command is for clients that have joined"):
            site.call(peer, command, **arguments)


def test_another_version_is_told_what_to_do(site):
    """With both versions."""
    with pytest.raises(VersionMismatch) as caught:
        site.join(site.connect(), version=PROTOCOL_VERSION + 1)
    assert str(caught.value) == (
        f"the server speaks version {PROTOCOL_VERSION} of the protocol, this peer "
        f"{PROTOCOL_VERSION + 1}; install the same hagoop on both"
    )


def test_connection_joins_once(site):
    """In one of two roles."""
    for role in ("worker", "client"):
        peer = site.connect()
        site.join(peer, role)
        for again in ("worker", "client"):
            with pytest.raises(NotJoined, match=f"joins once, as worker or client, not as '{again}'"):
                site.join(peer, again)
    with pytest.raises(NotJoined, match="not as 'king'"):
        site.join(site.connect(), "king")
    assert len(site.scheduler.workers) == 1


@pytest.mark.parametrize(("host", "near"), [("127.0.0.1", True), ("::1", True), ("10.0.0.2", False)])
def test_worker_is_told_the_machine_only_if_it_may_be_on_it(site, host, near):
    """Strangers elsewhere need not know it."""
    there = IPv4Address("TCP", host, 40000)
    _, peer = site.wires.connect(site.factory.buildProtocol(None), WorkerEnd(), there)
    assert site.join(peer)["machine"] == (this_machine() if near else "")


@pytest.mark.parametrize("slots", [0, -1, commands.MOST_SLOTS + 1])
def test_worker_has_a_sound_number_of_slots(site, slots):
    """Asks and calls are bounded by it."""
    with pytest.raises(BadMessage, match=f"1 to {commands.MOST_SLOTS} slots, not {slots}"):
        site.join(site.connect(), slots=slots)
    assert site.scheduler.workers == {}


def test_who_joins_learns_what_it_needs(site):
    """Where the bytes are, how often to beat, and who it is."""
    answer = site.join(site.connect())
    assert (answer["web_port"], answer["kept"]) == (9471, ())
    assert answer["beat_seconds"] > 0
    assert len(answer["identity"]) == 16
    assert site.join(site.connect(), "client")["identity"] == ""


def test_what_has_not_joined_in_time_is_dropped(site):
    """Even when it says something now and then."""
    peer = site.connect()
    site.wires.advance(9)
    peer.transport.write(b"\0\4_ask")
    site.wires.settle()
    assert not site.wires.is_closed(peer)
    site.wires.advance(1)
    assert site.wires.is_closed(peer)
    assert site.factory.links == {}


def test_silent_worker_is_dropped(site):
    """After half a minute; what it held is anybody's."""
    worker, other = site.worker(), site.worker()
    site.submit(site.client())
    assignment = site.ask(worker)
    for _ in range(3):
        site.call(other, commands.Beat, seen=())
        site.wires.advance(9)
    assert not site.wires.is_closed(worker)
    site.wires.advance(10)
    assert site.wires.is_closed(worker)
    assert not site.wires.is_closed(other)
    assert site.ask(other).start == assignment.start


def test_who_is_heard_of_no_more_gets_no_work(site):
    """It asked before its link went mute; what it would be given waits for whoever lives."""
    mute, idle = site.worker(), site.worker()
    asked, asked_too = (site.ask_for(each, commands.Ask, slot=0) for each in (mute, idle))
    site.wires.advance(5)
    site.call(idle, commands.Beat, seen=())
    site.wires.advance(4)
    site.submit(site.client())
    site.wires.settle()
    assert not asked.called
    assert asked_too.called
    # It was not mute, only late: now it may have the next.
    site.submit(site.client())
    site.call(mute, commands.Beat, seen=())
    site.wires.settle()
    assert asked.called


def test_who_spoke_last_gets_work_first(site):
    """The surest to be there, though others have waited longer."""
    before, last = site.worker(), site.worker()
    asked, asked_too = (site.ask_for(each, commands.Ask, slot=0) for each in (before, last))
    site.wires.advance(2)
    site.call(last, commands.Beat, seen=())
    site.submit(site.client())
    first, second = (site.wires.result(each)["assignment"] for each in (asked_too, asked))
    assert first.start < second.start


def test_silent_client_may_wait_for_days(site):
    """Its request takes its time."""
    client = site.client()
    site.wires.advance(600)
    assert not site.wires.is_closed(client)


# Identities


def test_identity_is_kept_over_sessions(site):
    """With what the worker has earned."""
    first = site.connect()
    identity = site.join(first)["identity"]
    first.drop("over")
    site.wires.settle()
    assert site.join(site.connect(), identity=identity)["identity"] == identity
    assert list(site.scheduler.ledger.fleet.records) == [identity]


def test_clone_of_a_live_worker_gets_an_identity_of_its_own(site):
    """Both go on: a folder was copied with its state."""
    first = site.connect()
    identity = site.join(first, process="one")["identity"]
    other = site.join(site.connect(), identity=identity, process="two")["identity"]
    assert other not in ("", identity)
    assert not site.wires.is_closed(first)
    assert len(site.scheduler.workers) == 2


def test_silent_session_loses_its_identity_to_one_that_lives(site):
    """The machine lost its power and is back; what it left behind is a loss on its record."""
    first = site.connect()
    identity = site.join(first, process="one")["identity"]
    site.wires.advance(DEAD_SECONDS + 1)
    assert not site.wires.is_closed(first)
    assert site.join(site.connect(), identity=identity, process="two")["identity"] == identity
    site.wires.settle()
    assert site.wires.is_closed(first)
    [record] = site.scheduler.ledger.fleet.records.values()
    assert record.failures == 1


def test_idle_session_that_beats_keeps_its_identity(site):
    """However long it has had nothing to do."""
    first = site.connect()
    identity = site.join(first, process="one")["identity"]
    for _ in range(5):
        site.wires.advance(5)
        site.call(first, commands.Beat, seen=())
    assert site.join(site.connect(), identity=identity, process="two")["identity"] != identity


def test_process_that_comes_back_replaces_its_session(site):
    """Its link broke before we noticed: that is no failure of the worker."""
    first = site.connect()
    identity = site.join(first, process="one")["identity"]
    again = site.join(site.connect(), identity=identity, process="one")["identity"]
    site.wires.settle()
    assert again == identity
    assert site.wires.is_closed(first)
    assert len(site.scheduler.workers) == 1
    assert site.scheduler.ledger.fleet.records[identity].failures == 0


def test_worker_that_comes_back_keeps_what_is_open(site):
    """Under a new id and grant; what is not open any more is not its own."""
    first = site.connect()
    identity = site.join(first, process="one")["identity"]
    site.submit(site.client())
    assignment = site.ask(first)
    held = Held(assignment.id, assignment.request, Phase.MAP, 0, assignment.start, assignment.end, 1)
    strange = evolve(held, request=RequestId("r9"))
    answer = site.join(site.connect(), identity=identity, process="one", held=(held, strange))
    kept, gone = answer["kept"]
    assert gone is None
    assert kept.id != assignment.id
    assert site.grants.find(kept.grant).assignment.start == assignment.start
    assert site.grants.find(assignment.grant) is None


def joining_early(site, peer):
    """A worker that comes back to a server that has begun again, and has not counted its lines yet."""
    request = site.submit(site.client())
    ledger = site.scheduler.ledger
    ledger.phase_began(request, Phase.MAP, 0, None)
    ledger.returns_awaited(site.wires.clock.seconds())
    held = Held(jobs.AssignmentId("0-1"), request, Phase.MAP, 0, 1, 3, 2)
    given = {"identity": "", "process": "p", "name": "lab1", "slots": 1, "held": (held,)}
    known = {"version": PROTOCOL_VERSION, "role": "worker", **given}
    return site.ask_for(peer, commands.Join, **known), held


def test_worker_that_comes_back_before_its_lines_are_counted_is_answered_then(site):
    """It keeps them."""
    joining, held = joining_early(site, site.connect())
    site.wires.advance(COUNT_SECONDS)
    assert not joining.called
    site.scheduler.ledger.lines_counted(held.request, 3, 3, (0,), whole=True)
    site.wires.advance(COUNT_SECONDS)
    [kept] = site.wires.result(joining)["kept"]
    assert site.grants.find(kept.grant).assignment.start == held.front


def test_worker_that_comes_back_is_not_kept_waiting_for_long(site):
    """What is not counted by then it drops."""
    joining, _ = joining_early(site, site.connect())
    for _ in range(round(policy.COUNT_SECONDS / COUNT_SECONDS) + 1):
        site.wires.advance(COUNT_SECONDS)
    assert site.wires.result(joining)["kept"] == (None,)


def test_worker_that_waits_to_join_joins_once_and_may_go(site):
    """Neither is a bug."""
    peer = site.connect()
    _, held = joining_early(site, peer)
    with pytest.raises(NotJoined, match="joins once"):
        site.join(peer)
    peer.transport.loseConnection()
    site.wires.settle()
    site.scheduler.ledger.lines_counted(held.request, 3, 3, (0,), whole=True)
    site.wires.advance(COUNT_SECONDS)
    assert not site.scheduler.workers


def test_worker_that_holds_work_on_a_changed_input_may_join(site):
    """Its request fails by name, and has no lease any more; the session is as good as any other."""
    client, worker = site.client(), site.connect()
    identity = site.join(worker, process="one")["identity"]
    site.submit(client)
    first = site.ask(worker)
    half = Held(first.id, first.request, Phase.MAP, 0, 0, 5, 0)
    halves = half, evolve(half, front=5, end=10)
    site.texts.changed = True
    back = site.connect()
    answer = site.join(back, identity=identity, process="one", held=halves)
    assert answer["kept"] == (None, None)
    status = site.status(client)
    assert (status.state, status.message) == (State.FAILED, "'a.txt' changed while the request ran")
    assert not site.scheduler.ledger.leases
    site.texts.changed = False
    site.submit(client, "again")
    assert site.ask(back).request == "r2"


def test_worker_that_comes_back_is_told_of_what_has_ended_meanwhile(site):
    """It keeps programs for requests; of those that run it hears nothing."""
    client = site.client()
    site.submit(client)
    site.submit(client, "another")
    site.call(client, commands.CancelRequest, request="r1")
    back = site.worker(knows=(RequestId("r1"), RequestId("r2"), RequestId("r9")))
    assert back.told == [("forget", "r1"), ("forget", "r9")]


# Work


def test_ask_is_answered_when_there_is_work(site):
    """Until then it waits; what it gets can be fetched."""
    worker = site.worker()
    asked = site.ask_for(worker, commands.Ask, slot=0)
    site.wires.advance(25)
    assert not asked.called
    site.call(worker, commands.Beat, seen=())
    site.submit(site.client())
    assignment = site.wires.result(asked)["assignment"]
    assert (assignment.request, assignment.phase, assignment.start) == ("r1", Phase.MAP, 0)
    assert assignment.program == CAT
    assert site.grants.find(assignment.grant).assignment.id == assignment.id


def test_slot_may_ask_twice(site):
    """For now and for then; more is refused, and nothing is lost by it."""
    worker = site.worker(slots=2)
    asked = [site.ask_for(worker, commands.Ask, slot=0) for _ in range(4)]
    with pytest.raises(LimitExceeded, match="more than 2 asks for each slot"):
        site.call(worker, commands.Ask, slot=0)
    site.submit(site.client())
    assert asked[0].called


def test_input_that_changes_fails_its_request_and_nobody_else(site):
    """Who asked goes on waiting."""
    worker, client = site.worker(), site.client()
    asked = site.ask_for(worker, commands.Ask, slot=0)
    site.texts.changed = True
    site.submit(client)
    status = site.status(client)
    assert (status.state, status.message) == (State.FAILED, "'a.txt' changed while the request ran")
    site.texts.changed = False
    site.submit(client, "another")
    assert site.wires.result(asked)["assignment"].request == "r2"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(5, "Input/output error"), "[Errno 5] Input/output error"),
        (ZeroDivisionError("ours"), "the server could not go on: ours"),
    ],
)
def test_lease_that_cannot_be_started_fails_its_request_and_no_other(site, error, told):
    """No ask is lost, and what others were leased at the same moment begins."""
    workers, client = [site.worker() for _ in range(3)], site.client()
    for key in ("k1", "k2"):
        site.submit(client, key)
    site.texts.broken = [error]
    asks = [Deferred.fromCoroutine(each.call(commands.Ask, slot=0)) for each in workers]
    site.wires.settle()
    status = site.status(client, "r1")
    assert (status.state, status.message) == (State.FAILED, told)
    site.submit(client, "k3")
    given = [site.wires.result(each)["assignment"] for each in asks]
    assert sorted((each.request, each.start) for each in given) == [("r2", 0), ("r2", 8), ("r3", 0)]
    assert sorted(site.scheduler.ledger.leases) == sorted(each.id for each in given)


def test_lease_that_cannot_be_started_now_is_started_later(site):
    """What lacks for a moment fails nothing."""
    worker, client = site.worker(), site.client()
    asked = site.ask_for(worker, commands.Ask, slot=0)
    site.docket.unreadable = Mending(site.docket).heard
    site.texts.broken = [OSError(24, "Too many open files")]
    site.submit(client)
    assert not asked.called
    site.scheduler.review()
    assert site.wires.result(asked)["assignment"].start == 0


def do_all(site, worker, data=b"x\n"):
    """Commit until the request has ended; how many jobs there were."""
    for number in count(1):
        assignment = site.ask(worker)
        accepted, front = site.commit(worker, site.job(assignment, data=data))
        assert (accepted, front) == (True, -1)
        if assignment.end == 10:
            return number


def test_commits_make_the_answer(site):
    """Waiters are told, and the answer can be fetched."""
    worker, client = site.worker(), site.client()
    request = site.submit(client)
    waiting = site.ask_for(client, commands.Wait, request=request)
    number = do_all(site, worker)
    status = site.wires.result(waiting)["status"]
    assert (status.state, status.answer_bytes) == (State.DONE, 2 * number)
    assert status.answer_digest == hashlib.sha256(b"x\n" * number).hexdigest()
    assert site.call(client, commands.Wait, request="")["status"] == site.status(client, request)
    word = site.call(client, commands.Answer, request=request)["grant"]
    assert site.grants.find(word) == AnswerGrant(request)
    assert ("forget", "r1") in worker.told
    (shown,) = site.call(client, commands.Workers, skip=0)["workers"]
    assert (shown.name, shown.committed, shown.lost, shown.doing) == ("lab1", number, 0, "idle")


def test_answer_is_read_again_when_descriptors_were_lacking(site, monkeypatch):
    """It was whole: what lacks for a moment is no reason to throw it away."""
    worker, client = site.worker(), site.client()
    request, opened = site.submit(client), MemorySpool.open
    lacking = [TransferFailed("too many open files")] * 3

    def open_at_last(spool, place):
        if lacking:
            raise lacking.pop()
        return opened(spool, place)

    monkeypatch.setattr(MemorySpool, "open", open_at_last)
    number = do_all(site, worker)
    for _ in range(10):
        site.wires.advance(1.0)
    status = site.status(client, request)
    assert (status.state, status.answer_bytes, lacking) == (State.DONE, 2 * number, [])
    assert status.answer_digest == hashlib.sha256(b"x\n" * number).hexdigest()


def test_job_that_printed_nothing_needs_no_upload(site):
    """It counts all the same."""
    worker, client = site.worker(), site.client()
    site.submit(client)
    do_all(site, worker, b"")
    assert site.status(client).answer_bytes == 0
    assert site.spool.used_bytes == 0


def test_part_of_an_assignment_moves_its_front(site):
    """And the rest stays leased."""
    worker = site.worker()
    site.submit(site.client())
    assignment = site.ask(worker)
    assert assignment.end > 1
    assert site.commit(worker, site.job(assignment, 1)) == (True, 1)
    # The same job again: its bytes are not kept twice.
    assert site.commit(worker, site.job(assignment, 1)) == (False, 1)
    assert site.spool.used_bytes == 2


def test_commit_of_bytes_that_have_not_arrived_is_refused(site):
    """Under no name or a wrong one, or other bytes than announced."""
    worker = site.worker()
    site.submit(site.client())
    assignment = site.ask(worker)
    job = site.job(assignment)
    for bad, told in [
        (evolve(job, upload="77"), "no bytes have arrived under this name"),
        (evolve(job, upload=""), "a job's bytes have not arrived"),
        (evolve(job, digest="d"), "a job's bytes are not those that it announced"),
    ]:
        with pytest.raises(BadMessage, match=told):
            site.commit(worker, bad)
    assert site.spool.used_bytes == 0
    assert site.commit(worker, site.job(assignment)) == (True, -1)


def test_sorted_run_that_is_none_is_refused_and_not_kept(site):
    """Reducers would read it."""
    worker = site.worker()
    site.submit(site.client(), submission=evolve(ORDER, program=Program("cat", "cat")))
    with pytest.raises(BadMessage, match="not a sorted run"):
        site.commit(worker, site.job(site.ask(worker)))
    assert site.spool.used_bytes == 0


def test_commit_that_finds_no_room_leaves_nothing_and_counts_when_it_comes_again(site, monkeypatch):
    """The worker hears it, and does the job anew."""
    worker = site.worker()
    client = site.client()
    site.submit(client)
    assignment = site.ask(worker)

    def full(spool, request, arrived):
        raise SpoolFull("The server's disk is full; free some space there, then try again")

    with monkeypatch.context() as patch:
        patch.setattr(MemorySpool, "keep", full)
        with pytest.raises(SpoolFull):
            site.commit(worker, site.job(assignment))
    assert (site.spool.used_bytes, site.spool._memory.used) == (0, 0)
    assert site.commit(worker, site.job(assignment)) == (True, -1)
    assert site.status(client).state is State.DONE


def test_late_commit_changes_nothing(site):
    """Somebody else has the lines, and the bytes are dropped."""
    worker, other = site.worker(), site.worker()
    client = site.client()
    site.submit(client)
    assignment = site.ask(worker)
    job = site.job(assignment)
    site.call(worker, commands.Leaving, unbegun=(assignment.id,), stops=())
    again = site.ask(other)
    assert again.start == assignment.start
    assert site.commit(worker, job) == (False, -1)
    assert site.spool.used_bytes == 0


def run_of(data, block_bytes=1 << 16):
    """A sorted run, cut into blocks of a size."""
    made = RunWriter(block_bytes=block_bytes)
    return made.write(data) + made.finish()


def copies(site, program, first, late, end=2):
    """One range is done twice, by lab1 and by lab2, whose job comes late, and again; the status then."""
    site.submit(site.client(), submission=evolve(ORDER, program=program))
    one, two = site.worker(name="lab1"), site.worker(name="lab2")
    held = site.ask(two)
    job = site.job(held, end, late)
    site.call(two, commands.Leaving, unbegun=(held.id,), stops=())
    again = site.ask(one)
    assert again.start == held.start == 0
    assert site.commit(one, site.job(again, 2, first))[0]
    for each in (job, site.job(held, end, late)):
        assert not site.commit(two, each)[0]
    site.wires.settle()
    return site.status(site.client())


def test_copies_that_differ_are_told(site):
    """With both digests, and who gave what."""
    warnings = copies(site, CAT, b"x\n", b"y\n").warnings
    one, two = [hashlib.sha256(each).hexdigest() for each in (b"x\n", b"y\n")]
    assert warnings == (
        f"Not deterministic: a.txt, lines 1-2 gave {one} on lab1 and {two} on lab2; the first was taken",
    )
    assert site.spool.used_bytes == 2


def test_copy_that_gave_nothing_differs_too(site):
    """The digest of nothing."""
    [warning] = copies(site, CAT, b"x\n", b"").warnings
    assert f"and {hashlib.sha256().hexdigest()} on lab2" in warning


@pytest.mark.parametrize(("late", "end"), [(b"x\n", 2), (b"x\ny\n", 3)])
def test_copies_that_agree_or_are_of_other_lines_are_not(site, late, end):
    """Only what came for exactly the same lines says something."""
    assert copies(site, CAT, b"x\n", late, end).warnings == ()


def test_runs_are_compared_by_their_lines(site):
    """Not by their bytes: not every machine compresses alike."""
    lines = b"".join(b"key %04d\t1\n" % number for number in range(1000))
    first, late = run_of(lines, 1 << 11), run_of(lines)
    assert first != late
    assert copies(site, Program("cat", "cat"), first, late).warnings == ()


def test_runs_of_other_lines_are_told_by_the_digests_of_these(site):
    """So that whoever has such a run can find it."""
    [warning] = copies(site, Program("cat", "cat"), run_of(b"x\n"), run_of(b"y\n")).warnings
    one, two = [hashlib.sha256(each).hexdigest() for each in (b"x\n", b"y\n")]
    assert f"gave {one} on lab1 and {two} on lab2" in warning


def test_late_run_that_is_none_says_nothing(site):
    """It is a stranger's."""
    assert copies(site, Program("cat", "cat"), run_of(b"x\n"), b"y\n").warnings == ()
    assert site.scheduler.survived.late == 2


def test_uploads_that_are_never_committed_are_bounded(site):
    """The oldest goes first."""
    worker = site.worker()
    site.submit(site.client())
    assignment = site.ask(worker)
    jobs_ = [site.job(assignment) for _ in range(65)]
    assert site.spool.used_bytes == 2 * 64
    with pytest.raises(BadMessage, match="no bytes have arrived"):
        site.commit(worker, jobs_[0])
    assert site.commit(worker, jobs_[-1])[0]


def test_many_commits_of_many_slots_may_wait(site):
    """The disk is slow for a while: all that its programs have done by then, sent before or not."""
    worker, client = site.worker(slots=40), site.client()
    for number in range(40):
        site.submit(client, key=f"k{number}")
    wanted = [lines for each in range(40) for lines in one_by_one(site, site.ask(worker))]
    assert len(wanted) > MOST_ARRIVALS + MOST_CALLS + ASKS_PER_SLOT * 40
    append, stalled = site.docket.journal.append, []

    def stall(*fact: Any) -> "Deferred[None]":
        stalled.append((Deferred(), fact))
        return stalled[-1][0]

    site.docket.journal.append = stall
    waiting = [site.ask_for(worker, commands.Commit, job=each) for each in wanted]
    assert not site.wires.is_closed(worker)
    site.docket.journal.append = append
    for synced, fact in stalled:
        append(*fact).chainDeferred(synced)
    assert all(site.wires.result(each)["accepted"] for each in waiting)


def one_by_one(site, assignment):
    """A job for each line of it, sent."""
    whole = range(assignment.start, assignment.end)
    return [site.job(evolve(assignment, start=each), each + 1) for each in whole]


def test_failure_gives_the_work_to_another(site):
    """Until the request has failed too often; then its client knows why."""
    workers, client = [site.worker(name=f"lab{number}") for number in range(4)], site.client()
    request = site.submit(client)
    for number, worker in enumerate(workers, 1):
        assignment = site.ask(worker)
        assert assignment.attempt == number - 1
        failure = evolve(FAILURE, id=assignment.id, start=0, end=1, seconds=5.0)
        assert site.call(worker, commands.Fail, failure=failure) == {}
        assert site.status(client, request).failures == number
    assert site.status(client, request).message == (
        "the mapper failed 4 times on a.txt, line 1: it ended with exit status 1; it said: oh"
    )


def test_worker_that_gets_no_bytes_is_shown(site):
    """In the status of what runs, and with what it does; nothing is blamed."""
    worker, client = site.worker(), site.client()
    request = site.submit(client)
    told = "lab9:9471 does not take or give bytes: refused"
    for _ in range(FEW):
        failure = Failure(site.ask(worker).id, 0, 0, LinkBroke.code, told, 0.0)
        site.call(worker, commands.Fail, failure=failure)
        site.wires.advance(1)
    status = site.status(client, request)
    assert (status.state, status.failures) == (State.RUNNING, 0)
    assert status.warnings == (f"lab1: {told}; open that port too",)
    (shown,) = site.call(client, commands.Workers, skip=0)["workers"]
    assert shown.doing == f"{told}; open that port too"
    do_all(site, worker)
    assert site.status(client, request).warnings == ()


def fail_on_lines(site, worker, client, bad, order):
    """Do a request, and fail on some lines; its status at the end.  Nothing is printed."""
    request = site.submit(client, submission=order)
    while site.status(client, request).state is State.RUNNING:
        it = site.ask(worker)
        if bad & set(range(it.start, it.end)):
            failure = Failure(it.id, it.start, it.end, "PROGRAM_FAILED", "it ended\x01", 5.0, "a\noh\n")
            site.call(worker, commands.Fail, failure=failure)
        else:
            site.commit(worker, site.job(it, data=b""))
    return site.status(client, request)


@pytest.mark.parametrize("reducer", [None, "cat"])
def test_bad_lines_are_passed_over_and_listed(site, reducer):
    """In the order of the input, with their places in their files; the answer has all others."""
    worker, client = site.worker(), site.client()
    program = Program("cat", reducer, skip_bad_lines=2)
    order = evolve(ORDER, program=program)
    status = fail_on_lines(site, worker, client, {7, 2}, order)
    assert (status.state, status.bad_lines) == (State.DONE, 2)
    lines = site.call(client, commands.BadLines, request=status.id, skip=0)["lines"]
    assert lines == (
        jobs.BadLine(2, "a.txt", 3, 14, "it ended\x01", "oh"),
        jobs.BadLine(7, "a.txt", 8, 49, "it ended\x01", "oh"),
    )
    assert site.call(client, commands.BadLines, request=status.id, skip=1)["lines"] == lines[1:]
    assert site.call(client, commands.BadLines, request=status.id, skip=2)["lines"] == ()


def answer_of(site, request):
    """The bytes of an answer that are there."""
    answer = site.docket.data[request].answer
    return b"".join(site.spool.open(each).read() for each in answer.parts)


def take_partial(site, client, key="p"):
    """The request that answers for what is committed of the newest but these."""
    return site.call(client, commands.Partial, key=key, request="r1")["request"]


def test_partial_answer_is_what_is_committed_and_the_request_goes_on(site):
    """It is a request of its own, which names what it lacks; in the end the first has all."""
    worker, client = site.worker(), site.client()
    site.submit(client, submission=evolve(ORDER, program=Program("cat", None)))
    it = site.ask(worker)
    site.commit(worker, site.job(it, end=2, data=b"first\n"))
    taken = take_partial(site, client)
    assert take_partial(site, client) == taken != "r1"
    status = site.status(client, taken)
    assert (status.state, status.label) == (State.DONE, "partial of r1: cat")
    assert (status.partial_of, status.cover) == ("r1", jobs.Cover(1, 2, 10, 14, 70))
    parts = site.call(client, commands.MissingParts, request=taken, skip=0)["parts"]
    assert parts == (jobs.Missing(jobs.Piece("a.txt", 2, 10, 2, 14, 56)),)
    assert site.call(client, commands.MissingParts, request=taken, skip=1)["parts"] == ()
    assert answer_of(site, taken) == b"first\n"
    assert site.call(client, commands.ForgetRequest, request=taken)["request"] == taken
    site.commit(worker, site.job(evolve(it, start=2), data=b"second\n"))
    while site.status(client, "r1").state is State.RUNNING:
        site.commit(worker, site.job(site.ask(worker), data=b"more\n"))
    assert site.status(client, "r1").cover is None
    assert answer_of(site, "r1").startswith(b"first\nsecond\n")
    assert take_partial(site, client, "q") == "r1"


def test_what_a_partial_answer_reads_stays_when_its_request_ends(site):
    """Until it has ended too."""
    worker, client = site.worker(), site.client()
    cat = Program("cat", None)
    site.submit(client, submission=evolve(ORDER, program=cat, then=(cat,)))
    it = site.ask(worker)
    site.commit(worker, site.job(it, end=2, data=b"first\n"))
    assert take_partial(site, client) == "r2"
    site.call(client, commands.CancelRequest, request="r1")
    assert site.spool.size_of("r1.runs") == 6
    it = site.ask(worker)
    assert (it.request, it.round, it.start, it.end) == ("r2", 1, 0, 1)
    assert b"".join(site.docket.data["r2"].stream(it)).endswith(b"}\nfirst\n")
    site.commit(worker, site.job(it, data=b"again\n"))
    assert (site.status(client, "r2").state, answer_of(site, "r2")) == (State.DONE, b"again\n")
    assert site.spool.size_of("r1.runs") == 0


def test_partial_answer_goes_with_the_request_that_it_is_of(site):
    """What it reads would be gone."""
    client = site.client()
    site.submit(client, submission=evolve(ORDER, program=Program("cat", None)))
    assert take_partial(site, client) == "r2"
    assert take_partial(site, client, "q") == "r3"
    site.call(client, commands.ForgetRequest, request="r1")
    assert site.call(client, commands.List, skip=0)["requests"] == ()


def test_partial_answer_over_a_file_that_changed_is_refused(site):
    """What is missing could not be named; the request itself is not touched by that."""
    client = site.client()
    site.submit(client, submission=evolve(ORDER, program=Program("cat", None)))
    site.texts.changed = True
    with pytest.raises(NoSuchInput, match=r"'a\.txt' changed while the request ran"):
        take_partial(site, client)
    assert site.status(client, "r1").state is State.RUNNING
    assert not site.docket.data["r1"].borrowers


def test_request_that_leaves_out_lines_of_a_file_that_changed_fails(site):
    """It could not say which."""
    worker, client = site.worker(), site.client()
    order = evolve(ORDER, program=Program("cat", None), good_enough=1)
    site.submit(client, submission=order)
    it = site.ask(worker)
    site.texts.changed = True
    site.commit(worker, site.job(it, end=3))
    status = site.status(client)
    assert (status.state, status.message) == (State.FAILED, "'a.txt' changed while the request ran")


def test_more_bad_lines_than_may_be_end_the_request(site):
    """The sentence says how many, and where the last one is."""
    worker, client = site.worker(), site.client()
    order = evolve(ORDER, program=Program("cat", None, skip_bad_lines=1))
    status = fail_on_lines(site, worker, client, {4, 6}, order)
    assert status.state is State.FAILED
    assert status.message == (
        "the mapper fails on more than 1 line, at last on a.txt, line 7: it ended\x01; it said: oh"
    )


def test_program_that_fails_on_every_line_is_not_helped_by_skipping(site):
    """Three lines are enough to see it, however many may be passed over."""
    worker, client = site.worker(), site.client()
    order = evolve(ORDER, program=Program("cat", None, skip_bad_lines=1000))
    status = fail_on_lines(site, worker, client, set(range(10)), order)
    assert status.message.startswith(
        "the mapper fails on each of the first 4 lines tried, at last on a.txt, line 4: it ended"
    )


def test_bad_line_that_cannot_be_named_fails_the_request(site):
    """Whatever the reason, and whatever else is decided at the same moment is done."""
    worker, client = site.worker(), site.client()
    program = Program("cat", None, attempts=1, skip_bad_lines=9)
    site.submit(client, submission=evolve(ORDER, program=program))
    it = site.ask(worker)
    site.texts.broken = [ZeroDivisionError("ours")]
    failure = evolve(FAILURE, id=it.id, start=it.start, end=it.start + 1)
    site.call(worker, commands.Fail, failure=failure)
    assert site.status(client).message == "the server could not go on: ours"


def test_bad_line_in_a_file_that_changed_fails_the_request(site):
    """It could not be named any more."""
    worker, client = site.worker(), site.client()
    program = Program("cat", None, attempts=1, skip_bad_lines=9)
    site.submit(client, submission=evolve(ORDER, program=program))
    it = site.ask(worker)
    site.texts.changed = True
    failure = evolve(FAILURE, id=it.id, start=it.start, end=it.start + 1)
    site.call(worker, commands.Fail, failure=failure)
    assert site.status(client).message == "'a.txt' changed while the request ran"


def test_words_of_a_stranger_are_bounded_in_a_status(site):
    """A status must fit into one message, whatever a worker says."""
    worker, client = site.worker(), site.client()
    order = evolve(ORDER, program=Program("cat", None, attempts=1), label="\x01" * 5000)
    site.submit(client, submission=order)
    failure = evolve(FAILURE, id=site.ask(worker).id, message="\x01" * 9000, log="\x01" * 1000)
    site.call(worker, commands.Fail, failure=failure)
    status = site.status(client)
    assert (status.state, len(status.label), len(status.message)) == (State.FAILED, 2000, 2000)


def test_beats_say_how_far_jobs_are(site):
    """The server answers how often it wants them."""
    worker = site.worker()
    site.submit(site.client())
    assignment = site.ask(worker)
    seen = (Seen(assignment.id, 2, 7, 0), Seen(AssignmentId("9-9"), 2, 7, 0))
    assert site.call(worker, commands.Beat, seen=seen)["beat_seconds"] > 0
    lease = site.scheduler.ledger.leases[assignment.id]
    assert (lease.job_end, lease.taken) == (2, 7)


def test_worker_is_asked_to_stop_early(site):
    """What it does not keep is another's."""
    worker, other = site.worker(), site.worker()
    site.submit(site.client())
    assignment = site.ask(worker)
    lease = site.scheduler.ledger.leases[assignment.id]
    site.scheduler.enact([TakeBack(lease.session.id, assignment.id, 1)])
    site.wires.settle()
    assert worker.told == [("take back", assignment.id, 1)]
    assert site.ask(other).start == 2
    assert site.commit(worker, site.job(assignment, 2)) == (True, -1)


def test_question_to_a_worker_that_goes_is_forgotten(site):
    """Nobody answers it any more, and all of its work is free."""
    worker, other = site.worker(), site.worker()
    site.submit(site.client())
    assignment = site.ask(worker)
    lease = site.scheduler.ledger.leases[assignment.id]
    site.scheduler.enact([TakeBack(lease.session.id, assignment.id, 1)])
    worker.drop("gone")
    site.wires.settle()
    assert site.ask(other).start == 0


def test_cancelled_request_ends_its_work(site):
    """Workers are told, and can ask again."""
    worker, client = site.worker(), site.client()
    request = site.submit(client)
    assignment = site.ask(worker)
    job = site.job(assignment)
    status = site.call(client, commands.CancelRequest, request=request)["status"]
    assert (status.state, status.message) == (State.CANCELLED, "it was cancelled")
    assert [each[:2] for each in worker.told] == [("cancel", assignment.id), ("forget", request)]
    assert site.spool.used_bytes == 0
    assert site.commit(worker, job) == (False, -1)
    site.submit(client, "another")
    assert site.ask(worker).request == "r2"


def test_forgotten_request_is_gone(site):
    """With its answer and its bytes; the next has a new number."""
    worker, client = site.worker(), site.client()
    request = site.submit(client)
    assert site.call(client, commands.ForgetRequest, request="")["request"] == request
    with pytest.raises(UnknownRequest, match="no request has been submitted"):
        site.status(client)
    assert site.submit(client) == "r2"
    told = "there is no request 'r1'; hagoop-request list shows all"
    for command in (commands.Status, commands.Wait, commands.Answer, commands.CancelRequest):
        with pytest.raises(UnknownRequest, match=told):
            site.call(client, command, request="r1")
    assert site.ask(worker).request == "r2"


def test_worker_over_which_leasing_breaks_is_dropped_and_nobody_else(site, monkeypatch):
    """What was leased to others before is theirs, and those after it get their own."""
    known, workers = Fleet.next_lease, [site.worker() for _ in range(3)]

    def next_lease(fleet, session, *rest):
        if session.id == 2:
            raise OverflowError("cannot convert float infinity to integer")
        return known(fleet, session, *rest)

    monkeypatch.setattr(Fleet, "next_lease", next_lease)
    asks = []
    for each in reversed(workers):
        # Who spoke last is served first.
        site.wires.advance(0.1)
        asks.insert(0, site.ask_for(each, commands.Ask, slot=0))
    site.submit(site.client())
    assert [site.wires.is_closed(each) for each in workers] == [False, True, False]
    ranges = [site.wires.result(asks[each])["assignment"] for each in (0, 2)]
    assert [(each.start, each.end) for each in ranges] == [(0, 8), (8, 10)]
    asks[1].addErrback(lambda _: None)


def test_worker_that_leaves_in_an_age_keeps_nobody_waiting(site):
    """Whatever number it says."""
    workers = [site.worker(), site.worker()]
    for each in workers:
        site.call(each, commands.Leaving, unbegun=(), stops=(), seconds=1e308)
    asks = [site.ask_for(each, commands.Ask, slot=0) for each in workers]
    site.submit(site.client())
    assert sorted(site.wires.result(each)["assignment"].start for each in asks) == [0, 8]


# Leaving


def test_worker_that_leaves_gets_nothing_more(site):
    """What it has not begun is another's; what it has, it finishes; and it has not failed."""
    worker, other = site.worker(slots=2), site.worker()
    client = site.client()
    site.submit(client)
    begun, unbegun = site.ask(worker), site.ask(worker)
    assert site.call(worker, commands.Leaving, unbegun=(unbegun.id,), stops=()) == {}
    assert not site.ask_for(worker, commands.Ask, slot=0).called
    assert site.ask(other).start == unbegun.start
    assert site.commit(worker, site.job(begun))[0]
    worker.drop("it has left")
    site.wires.settle()
    records = site.scheduler.ledger.fleet.records.values()
    assert [each.lost for each in records] == [0, 0]
    assert len(site.call(client, commands.Workers, skip=0)["workers"]) == 1


def test_worker_that_leaves_gives_back_what_is_behind_its_job(site):
    """The job in hand is still its own, and counts."""
    worker, other = site.worker(), site.worker()
    site.submit(site.client())
    begun = site.ask(worker)
    stop = Stop(begun.id, begun.start + 1)
    site.call(worker, commands.Leaving, unbegun=(), stops=(stop,))
    assert site.ask(other).start == begun.start + 1
    assert site.commit(worker, site.job(begun, end=begun.start + 1)) == (True, -1)


def test_worker_that_rests_is_shown_and_comes_again(site):
    """Its connection stays, and its asks wait; its end in between is no loss, one after it is."""
    worker, client = site.worker(), site.client()
    waiting = site.ask_for(worker, commands.Ask, slot=0)
    leaving = {"unbegun": (), "stops": ()}
    site.call(worker, commands.Leaving, **leaving, seconds=0.0, why="resting until 22:00" + "!" * 99)
    site.submit(client)
    site.wires.advance(20)
    assert not waiting.called
    shown = site.call(client, commands.Workers, skip=0)["workers"][0]
    assert shown.doing == "resting until 22:00" + "!" * 45
    assert (shown.next_seconds, shown.next_weight) == (0.0, 0)
    site.call(worker, commands.Back)
    assert site.wires.result(waiting)["assignment"].start == 0
    assert "resting" not in site.call(client, commands.Workers, skip=0)["workers"][0].doing
    worker.drop("its machine was switched off")
    site.wires.settle()
    assert [each.lost for each in site.scheduler.ledger.fleet.records.values()] == [1]


def test_worker_that_gave_notice_is_asked_for_what_it_cannot_do(site):
    """What does not fit into the time is another's; and no end of it is a loss."""
    worker, client = site.worker(), site.client()
    site.submit(client)
    begun = site.ask(worker)
    assert len(range(begun.start, begun.end)) > 1
    site.call(worker, commands.Leaving, unbegun=(), stops=(), seconds=0.001, why="leaving")
    assert worker.told == [("take back", begun.id, 1)]
    assert "; for another 0 s" in site.call(client, commands.Workers, skip=0)["workers"][0].doing
    assert not site.ask_for(worker, commands.Ask, slot=0).called
    worker.drop("it has left")
    site.wires.settle()
    records = site.scheduler.ledger.fleet.records.values()
    assert [(each.lost, each.failures) for each in records] == [(0, 0)]


def test_nobody_gives_back_what_another_holds(site):
    """An assignment is its holder's."""
    worker, other = site.worker(), site.worker()
    site.submit(site.client())
    assignment = site.ask(worker)
    stop = Stop(assignment.id, assignment.start + 1)
    site.call(other, commands.Leaving, unbegun=(assignment.id,), stops=(stop,))
    site.call(other, commands.Fail, failure=evolve(FAILURE, id=assignment.id))
    assert site.commit(worker, site.job(assignment)) == (True, -1)


def test_lost_worker_loses_its_work_its_grants_and_its_uploads(site):
    """And that is counted."""
    worker, other = site.worker(), site.worker()
    site.submit(site.client())
    assignment = site.ask(worker)
    site.send(assignment, b"half")
    worker.drop("its machine was switched off")
    site.wires.settle()
    assert site.grants.find(assignment.grant) is None
    assert site.spool.used_bytes == 0
    assert site.ask(other).start == 0
    assert sum(each.lost for each in site.scheduler.ledger.fleet.records.values()) == 1


def test_grants_of_finished_work_end_with_the_next_ask(site):
    """Acknowledged bytes need no way any more."""
    worker = site.worker()
    site.submit(site.client())
    assignment = site.ask(worker)
    site.commit(worker, site.job(assignment))
    site.ask_for(worker, commands.Ask, slot=0)
    assert site.grants.find(assignment.grant) is None


def test_stopping_server_drops_all_and_waits(site):
    """Then nobody is connected."""
    peers = [site.worker(), site.client(), site.connect()]
    asked = site.ask_for(peers[0], commands.Ask, slot=0)
    closed = site.wires.start(site.factory.close())
    assert site.wires.result(closed) is None
    assert all(map(site.wires.is_closed, peers))
    with pytest.raises(WorkerLost):
        site.wires.result(asked)
    assert site.wires.result(site.wires.start(site.factory.close())) is None


def test_stopped_scheduler_answers_no_ask(site):
    """Who waits is told that its session is over."""
    site.scheduler.start()
    asked = site.ask_for(site.worker(), commands.Ask, slot=0)
    site.wires.advance(3)
    site.scheduler.stop()
    with pytest.raises(WorkerLost, match="the session has ended"):
        site.wires.result(asked)


# Clients


def test_same_key_twice_is_one_request(site):
    """The client's link broke before the acknowledgement."""
    client = site.client()
    at_once = [site.ask_for(client, commands.Submit, key="k", submission=ORDER) for _ in range(2)]
    later = site.submit(site.client(), "k")
    assert [site.wires.result(each)["request"] for each in at_once] == [later, later]


def test_submission_that_failed_can_be_sent_again(site):
    """Whatever was wrong with it."""
    client = site.client()
    lost = evolve(ORDER, sources=(Source("upload", "lost"),))
    for _ in range(2):
        with pytest.raises(TransferFailed, match="nothing was uploaded as 'lost'"):
            site.submit(client, "k", lost)
    assert site.submit(client, "k").startswith("r")


def test_program_is_uploaded_once(site):
    """Who has it need not send it; grants end with the client."""
    client = site.client()
    digest = hashlib.sha256(b"#!").hexdigest()
    first = site.call(client, commands.Upload, digest=digest, size=2)
    grant = site.grants.find(first["grant"])
    assert isinstance(grant, UploadGrant)
    assert (first["have"], grant.name, grant.limit) == (False, first["name"], 2)
    arriving = grant.receive(grant.limit)
    arriving.write(b"#!")
    arrived = arriving.finish()
    grant.arrived(arrived)
    site.spool.keep_blob(arrived)
    assert site.call(client, commands.Upload, digest=digest, size=2) == {
        "have": True,
        "name": "",
        "grant": "",
    }
    client.drop("it is done")
    site.wires.settle()
    assert site.grants.find(first["grant"]) is None


def test_upload_of_a_client_that_goes_is_dropped(site):
    """Nobody will submit it; without a size it is bounded by the spool alone."""
    client = site.client()
    answer = site.call(client, commands.Upload, digest="", size=-1)
    grant = site.grants.find(answer["grant"])
    arriving = grant.receive(grant.limit)
    arriving.write(b"lines\n")
    grant.arrived(arriving.finish())
    assert site.spool.used_bytes == 6
    client.drop("it is gone")
    site.wires.settle()
    assert site.spool.used_bytes == 0


def test_survey_reads_what_was_uploaded(site):
    """And fails in words where nothing was."""
    with pytest.raises(TransferFailed, match="nothing was uploaded as 'u9'; submit it again"):
        site.call(site.client(), commands.Survey, manifest="u9")


def test_list_comes_in_pages_newest_first(site):
    """Without logs and counters; a strange page is empty."""
    client = site.client()
    for number in range(45):
        site.submit(client, f"k{number}")
    pages = []
    while page := site.call(client, commands.List, skip=sum(map(len, pages)))["requests"]:
        pages.append(page)
    assert [len(each) for each in pages] == [20, 20, 5]
    assert [each.id for page in pages for each in page] == [f"r{number}" for number in range(45, 0, -1)]
    assert site.call(client, commands.List, skip=-5)["requests"][0].id == "r45"


def test_list_of_long_labels_comes_in_smaller_pages(site):
    """A page is one message."""
    client = site.client()
    for number in range(20):
        site.submit(client, f"k{number}", evolve(ORDER, label="\x01" * 2000))
    found = []
    while page := site.call(client, commands.List, skip=len(found))["requests"]:
        found += page
    assert len({each.id for each in found}) == 20


def test_workers_come_in_pages(site):
    """Whatever they are called."""
    client = site.client()
    for number in range(130):
        site.worker(name=f"lab{number:03}" + "\x01" * 58)
    found = []
    while page := site.call(client, commands.Workers, skip=len(found))["workers"]:
        found += page
    assert [each.name[:6] for each in found] == [f"lab{number:03}" for number in range(130)]


def test_worker_with_much_work_is_shown_in_short(site):
    """A machine may have very many slots."""
    worker, client = site.worker(slots=8), site.client()
    for number in range(6):
        site.submit(client, f"k{number}")
        site.ask(worker)
    (shown,) = site.call(client, commands.Workers, skip=0)["workers"]
    assert shown.doing.startswith("r1 map 0-")
    assert shown.doing.count(" map 0-") == 4
    assert shown.doing.endswith(" and 2 more")


def test_page_holds_what_one_message_does():
    """At least one, however large."""
    assert one_message([]) == ()
    assert one_message(["x" * 70_000, "y"]) == ("x" * 70_000,)
    assert one_message(["x" * 50_000, "y", "z" * 50_000]) == ("x" * 50_000, "y")


# What was survived


def test_deaths_are_counted_with_the_lines_in_hand(site):
    """Not those that were committed; who leaves in good order has not died."""
    worker, polite = site.worker(), site.worker()
    site.submit(site.client())
    assignment = site.ask(worker)
    site.commit(worker, site.job(assignment, assignment.start + 1))
    seen = Seen(assignment.id, assignment.start + 3, 1, 0)
    site.call(worker, commands.Beat, seen=(seen,))
    worker.drop("it dies")
    site.call(polite, commands.Leaving, unbegun=(), stops=())
    polite.drop("it leaves")
    site.wires.settle()
    assert site.scheduler.survived == Survived(deaths=1, lines=2)


def test_hangs_are_counted(site):
    """Who comes no further is not waited for, and gets nothing more."""
    slow = site.worker(name="slow")
    site.submit(site.client())
    site.ask(slow)
    for _ in range(100):
        site.wires.advance(0.25)
        site.call(slow, commands.Beat, seen=())
        site.scheduler.review()
    [shown] = site.scheduler.statuses()
    assert (shown.next_seconds, shown.next_weight) == (0.0, 0)
    assert site.scheduler.survived == Survived(hangs=1)


def test_copies_and_late_jobs_are_counted(site):
    """One of each: who comes no further is copied, and is late when it goes on."""
    slow, client = site.worker(name="slow"), site.client()
    site.submit(client)
    held = site.ask(slow)
    quick = site.worker(name="quick")
    while (assignment := site.await_work(quick, slow)).start != held.start:
        site.commit(quick, site.job(assignment))
    shown = {each.name: each for each in site.scheduler.statuses()}
    assert shown["quick"].next_weight > 0
    job = site.job(held, held.start + 1)
    site.commit(quick, site.job(assignment))
    assert site.commit(slow, job) == (False, -1)
    assert site.scheduler.survived == Survived(copies=1, late=1, lines=1)


def test_bytes_that_arrive_after_their_session_are_dropped(site):
    """They were on their way when it ended; nobody would commit them, and nobody else drop them."""
    site.submit(site.client())
    worker = site.worker()
    assignment = site.ask(worker)
    grant = site.grants.find(assignment.grant)
    arriving = grant.receive(grant.assignment.output_bytes)
    arriving.write(b"half of ")
    worker.drop("its link breaks")
    site.wires.settle()
    arriving.write(b"it\n")
    grant.arrived(arriving.finish())
    assert site.spool.used_bytes == 0
