"""Who comes in through the door, and what he may do then: over real AMP in memory."""

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field
from test_sessions import CAT, OF_CLIENTS, OF_WORKERS, ORDER, Site, WorkerEnd

from hagoop import commands
from hagoop.commands import PROTOCOL_VERSION
from hagoop.door.audit import Audit
from hagoop.door.book import Role, Secret, digest_of
from hagoop.door.book_file import BookFile
from hagoop.door.doors import LockedDoor
from hagoop.door.porch import Porch
from hagoop.door.quotas import Quotas
from hagoop.door.threshold import MOST_DELAY_SECONDS
from hagoop.errors import (
    BadMessage,
    NotAdmitted,
    NotJoined,
    QuotaMet,
    TransferFailed,
    UnknownRequest,
    VersionMismatch,
    WorkerLost,
)
from hagoop.grants import UploadGrant
from hagoop.intake import Intake
from hagoop.jobs import Shipped, Source, State
from hagoop.links import Link
from hagoop.roles import OF_ANOTHER

SECRETS = (
    Secret("w1", Role.WORKER, digest_of("of workers"), 0.0),
    Secret("c1", Role.CLIENT, digest_of("of one"), 0.0, running=2, spool_bytes=1000),
    Secret("c2", Role.CLIENT, digest_of("of another"), 0.0),
)
OWN = evolve(ORDER, sources=(Source("server", "x"),))
WORDS = {"w1": "of workers", "c1": "of one", "c2": "of another"}


@define(eq=False)
class Guarded(Site):
    """A server beyond loopback."""

    state: Path = field(kw_only=True)
    request: str = ""
    file: BookFile = field(init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        clock = self.wires.clock
        self.file = BookFile(self.state)
        for each in SECRETS:
            self.file.change(lambda book, each=each: book.with_secret(each))
        self.desk.door = LockedDoor(self.file, clock.seconds)
        self.desk.quotas = Quotas(self.docket, self.desk.door, self.desk.intake)
        self.desk.porch = Porch(clock, Audit(self.state / "audit.log", clock.seconds))

    def join(self, peer: Link, role: str = "worker", **arguments: Any) -> dict[str, Any]:
        """Join as somebody, with the secret ``c1`` or ``w1`` unless told otherwise."""
        id_ = arguments.pop("secret_id", {"worker": "w1", "client": "c1"}[role])
        word = arguments.pop("secret", WORDS.get(id_, ""))
        answer: dict[str, Any] = super().join(peer, role, secret_id=id_, secret=word, **arguments)
        return answer

    def client_of(self, id_: str) -> Link:
        """A client that has joined."""
        peer = self.connect()
        self.join(peer, "client", secret_id=id_)
        return peer

    def refusal(self, role: str, **arguments: Any) -> str:
        """What is said to who tries to join so."""
        known = {"identity": "", "process": "p", "name": "lab1", "slots": 1, "held": ()}
        given = {"version": PROTOCOL_VERSION, "role": role, **known, **arguments}
        joining = self.ask_for(self.connect(), commands.Join, **given)
        self.wires.advance(MOST_DELAY_SECONDS)
        with pytest.raises(NotAdmitted) as caught:
            self.wires.result(joining)
        return str(caught.value)

    def audited(self, event: str = "") -> list[dict[str, Any]]:
        """Lines of the audit log."""
        path = self.state / "audit.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [each for each in map(json.loads, lines) if event in ("", each["event"])]


@pytest.fixture
def site(tmp_path):
    """A server with a door; its ledger is sound at the end."""
    made = Guarded(state=tmp_path)
    yield made
    made.scheduler.ledger.check()


# Joining

REFUSED = [
    {},
    {"secret_id": "w1"},
    {"secret_id": "w1", "secret": "of worker"},
    {"secret_id": "w1", "secret": "of workert"},
    {"secret_id": "w2", "secret": "of workers"},
    {"secret_id": "c1", "secret": "of another"},
    {"secret_id": "\0" * 300, "secret": "\0" * 300},
]


@pytest.mark.parametrize("given", REFUSED)
@pytest.mark.parametrize("role", ["worker", "client"])
def test_wrong_secrets_are_refused_alike(site, role, given):
    """None, a byte changed, another's."""
    unknown = "the server does not know this secret; ask for a line: hagoop-server invite"
    assert site.refusal(role, **given) == unknown
    assert site.scheduler.workers == {}


@pytest.mark.parametrize(("command", "arguments"), [*OF_WORKERS, *OF_CLIENTS])
def test_no_command_works_without_a_secret(site, command, arguments):
    """Before ``Join``, after one that was refused, with a revoked one, and in the other role."""
    site.file.change(lambda book: book.revoke("c2"))
    strangers = [site.connect() for _ in range(2)]
    joining = site.ask_for(
        strangers[1],
        commands.Join,
        version=PROTOCOL_VERSION,
        role="client",
        identity="",
        process="",
        name="",
        slots=0,
        held=(),
        secret_id="c2",
        secret="of another",
    )
    site.wires.advance(1)
    with pytest.raises(NotAdmitted, match="the secret c2 was revoked"):
        site.wires.result(joining)
    ours = (command, arguments) in OF_WORKERS
    other = site.client() if ours else site.worker()
    before = site.docket.ledger.requests.copy()
    for peer in (*strangers, other):
        with pytest.raises(NotJoined, match="this command is for"):
            site.call(peer, command, **arguments)
    assert site.docket.ledger.requests == before
    assert len(site.audited("refused")) == 1


def test_secret_of_the_other_role_opens_nothing(site):
    """A worker's is not for clients, and the other way round; each is told which line it takes."""
    for role, id_ in (("client", "w1"), ("worker", "c1")):
        said = site.refusal(role, secret_id=id_, secret=WORDS[id_])
        assert said.endswith(f"it takes another line: hagoop-server invite {role}")


def test_guesses_wait_longer_each_time(site):
    """Others do not wait at all."""
    for _ in range(8):
        site.refusal("client", secret_id="c1", secret="x")
    site.client()
    first = site.audited("refused")[0]
    assert (first["role"], first["secret"], first["address"]) == ("client", "c1", "10.0.0.2")
    assert 1 < len(site.audited("refused")) < 8


def test_who_leaves_while_it_waits_does_no_harm(site):
    """Nothing is sent to it, and nothing else waits."""
    peer = site.connect()
    known = {"identity": "", "process": "p", "name": "lab1", "slots": 1, "held": ()}
    joining = site.ask_for(peer, commands.Join, version=PROTOCOL_VERSION, role="worker", **known)
    again = site.ask_for(peer, commands.Join, version=PROTOCOL_VERSION, role="worker", **known)
    with pytest.raises(NotJoined, match="a connection joins once"):
        site.wires.result(again)
    peer.drop("it is tired of waiting")
    site.wires.settle()
    with pytest.raises(WorkerLost):
        site.wires.result(joining)
    site.wires.advance(60)
    assert site.wires.clock.getDelayedCalls() == []


def test_old_version_is_told_to_update(site):
    """Also one that has never heard of secrets."""
    peer = site.connect()
    box = {"version": 1, "role": "worker", "identity": "", "process": "p", "name": "n", "slots": 1}
    joining = site.ask_for(peer, commands.Join, held=(), **box)
    with pytest.raises(VersionMismatch, match="install the same hagoop on both"):
        site.wires.result(joining)
    assert site.audited("refused")[0]["reason"] == "it speaks version 1 of the protocol"


def test_worker_comes_back_with_its_token(site):
    """As who it was; with the invitation alone it is somebody new, whatever it says."""
    first = site.connect()
    given = site.join(first)
    first.drop("it goes")
    site.wires.settle()
    known = {"identity": given["identity"], "process": "q"}
    assert site.join(site.connect(), **known)["identity"] != given["identity"]
    again = site.join(site.connect(), secret=given["token"], **known)
    assert (again["identity"], again["token"]) == (given["identity"], given["token"])
    assert site.refusal("worker", secret_id="w1", secret=given["token"]).startswith(
        "the server does not"
    )
    joined = site.audited("joined")
    assert [each["identity"] for each in joined][::2] == [given["identity"]] * 2


def test_revoked_secret_ends_its_sessions(site):
    """Those of others go on."""
    worker, one, other = site.worker(), site.client_of("c1"), site.client_of("c2")
    site.factory.drop({"w1", "c1"})
    site.wires.settle()
    assert [site.wires.is_closed(each) for each in (worker, one, other)] == [True, True, False]


# What a client sees


def test_every_command_is_tried() -> None:
    """A new one has to stand in the tables too, or nobody tries it without a secret or at another's."""
    tried = {each for each, _ in (*OF_WORKERS, *OF_CLIENTS)}
    assert tried == {*commands.WORKER_TO_SERVER, *commands.CLIENT_TO_SERVER} - {commands.Join}


def test_clients_see_their_own_requests_alone(site):
    """Others' are as if they were not there, but for their line in the list."""
    one, other = site.client_of("c1"), site.client_of("c2")
    first = site.submit(one, "k", OWN)
    about_one = [(each, given) for each, given in OF_CLIENTS if "request" in given]
    assert len(about_one) >= 6
    for command, given in about_one:
        for request in (first, "r9"):
            with pytest.raises(UnknownRequest, match=f"there is no request '{request}'"):
                site.call(other, command, **{**given, "request": request})
    with pytest.raises(UnknownRequest, match="no request has been submitted"):
        site.call(other, commands.Status, request="")
    second = site.submit(other, "k2", OWN)
    assert (site.status(one).id, site.status(other).id) == (first, second)
    seen = {each.id: each.label for each in site.call(other, commands.List, skip=0)["requests"]}
    assert seen == {first: OF_ANOTHER, second: "cat"}
    assert site.call(other, commands.CancelRequest, request=second)["status"].state is State.CANCELLED
    assert site.status(one, first).state is State.RUNNING
    events = [(each["event"], each["secret"], each.get("request")) for each in site.audited()[2:]]
    assert events == [
        ("submitted", "c1", first),
        ("submitted", "c2", second),
        ("cancelled", "c2", second),
    ]


def test_same_key_of_two_clients_is_two_requests(site):
    """Nobody learns by a key what another has submitted."""
    assert [site.submit(site.client_of(each), "k", OWN) for each in ("c1", "c2", "c1")] == [
        "r1",
        "r2",
        "r1",
    ]


def send(site, client, data, digest=""):
    """Upload something; its name."""
    answer = site.call(client, commands.Upload, digest=digest, size=len(data))
    grant = site.grants.find(answer["grant"])
    assert isinstance(grant, UploadGrant)
    arriving = grant.receive(grant.limit)
    arriving.write(data)
    grant.arrived(arriving.finish())
    return answer["name"]


def test_uploads_of_others_are_not_for_a_client(site):
    """Neither as an input nor as a manifest nor by a program's digest."""
    one, other = site.client_of("c1"), site.client_of("c2")
    digest = digest_of("#!/bin/sh\n")
    name = send(site, one, b"#!/bin/sh\n", digest)
    program = evolve(CAT, files=(Shipped("x.sh", digest, 10, True),))
    for submission in (
        evolve(ORDER, sources=(Source("upload", f"{name} {name}"),)),
        evolve(ORDER, sources=(), program=program),
    ):
        with pytest.raises(TransferFailed, match=r"submit it again"):
            site.submit(other, "k", submission)
    with pytest.raises(TransferFailed):
        site.call(other, commands.Survey, manifest=name)
    assert site.call(other, commands.Upload, digest=digest, size=10)["have"] is False


def test_known_digest_is_no_key_to_the_program(site, monkeypatch):
    """Who knows what a program of another hashes to cannot have it run, and so read."""
    one, other = site.client_of("c1"), site.client_of("c2")
    digest = digest_of("#!/bin/sh\n")
    monkeypatch.setattr(Intake, "has_program", lambda self, digest: True)
    program = evolve(CAT, files=(Shipped("x.sh", digest, 10, True),))
    send(site, one, b"#!/bin/sh\n", digest)
    site.submit(one, "k", evolve(ORDER, program=program, sources=(Source("server", "x"),)))
    assert site.call(one, commands.Upload, digest=digest, size=10)["have"] is True
    assert site.call(other, commands.Upload, digest=digest, size=10)["have"] is False


def test_server_reads_no_file_in_place_for_who_joins_by_a_secret(site):
    """Size and age of a file are no proof that he may read it."""
    client = site.client_of("c1")
    name = send(site, client, b"[]")
    assert site.call(client, commands.Survey, manifest=name)["seen"] is False
    with pytest.raises(BadMessage, match="uploads its files"):
        site.submit(client, "k", evolve(ORDER, sources=(Source("seen", name),)))


# Quotas


def test_running_requests_have_a_bound(site):
    """For each client; when one has ended there is room for another."""
    one = site.client_of("c1")
    for key in ("k1", "k2"):
        site.submit(one, key, OWN)
    with pytest.raises(
        QuotaMet, match=r"^2 requests of this client run, as many as its secret c1 allows"
    ):
        site.submit(one, "k3", OWN)
    assert site.submit(one, "k2", OWN) == "r2"
    site.submit(site.client_of("c2"), "k3", OWN)
    site.call(one, commands.CancelRequest, request="r1")
    assert site.submit(one, "k3", OWN) == "r4"


def test_what_is_kept_has_a_bound(site):
    """What has been announced counts, and what has been brought; of unknown size comes what is left."""
    one = site.client_of("c1")
    first = send(site, one, b"x" * 600)
    with pytest.raises(
        QuotaMet, match=r"^401 bytes more are too many: 600 of the 1000 that the secret c1"
    ):
        site.call(one, commands.Upload, digest="", size=401)
    grant = site.grants.find(site.call(one, commands.Upload, digest="", size=-1)["grant"])
    assert (first[:3], grant.limit) == ("u1-", 400)
    one.drop("it goes")
    site.wires.settle()
    send(site, site.client_of("c1"), b"x" * 1000)


def test_what_programs_print_counts(site):
    """A request that has too much kept for it fails, with a sentence."""
    one, worker = site.client_of("c1"), site.worker()
    request = site.submit(one, "k", OWN)
    assignment = site.ask(worker)
    site.commit(worker, site.job(assignment, assignment.start + 1, b"x" * 2000))
    site.desk.quotas.enforce()
    site.wires.settle()
    status = site.status(one, request)
    assert status.state is State.FAILED
    assert status.message.startswith("what is kept for this client, 2000 bytes, is more than the 1000")


# Strangers


def test_thousand_connections_that_never_join_keep_nobody_out(site):
    """From the same address; the oldest of them go, without a line for each."""
    strangers = [site.connect() for _ in range(300)]
    worker = site.worker()
    more = [site.connect() for _ in range(300)]
    site.wires.settle()
    assert sum(not site.wires.is_closed(each) for each in [*strangers, *more]) == 128
    assert not site.wires.is_closed(worker)
    assert isinstance(worker, WorkerEnd)
    assert len(site.audited("dropped")) == 1
