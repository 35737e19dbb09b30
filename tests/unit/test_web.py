"""The web endpoint, over connections in memory: what grants open, and how bytes come and go."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from http.client import HTTPResponse, IncompleteRead, RemoteDisconnected
from io import BytesIO
from typing import Any, BinaryIO

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from wires import Wires
from zope.interface import implementer

from hagoop import commands
from hagoop.answers import Answer
from hagoop.channels import IDLE_SECONDS
from hagoop.door.audit import Audit
from hagoop.door.porch import Porch
from hagoop.errors import BadProgram, Damaged, NoSuchInput, TransferFailed, WorkerLost
from hagoop.grants import GRANT_SECONDS, AnswerGrant, AssignmentGrant, Grant, Grants, UploadGrant
from hagoop.interfaces import Arrived
from hagoop.jobs import (
    Assignment,
    AssignmentId,
    Output,
    Phase,
    Place,
    Program,
    RequestId,
    Shipped,
)
from hagoop.links import Link
from hagoop.memory_spool import MemorySpool
from hagoop.web import ByteSite

R1 = RequestId("r1")
PROGRAM = Program("./map", None, files=(Shipped("map", "d1", 4, True), Shipped("words", "d2", 4, False)))
ASSIGNMENT = Assignment(AssignmentId("1-7"), R1, Phase.MAP, 0, 0, 9, 9, 1.0, 0, PROGRAM, "", 10)


@define
class Reply:
    """What came back.

    :ivar whole: whether it was not cut off.
    """

    code: int
    headers: dict[str, str]
    body: bytes
    whole: bool


class Socket:
    """What ``http.client`` reads a response from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> BytesIO:
        return BytesIO(self._data)


class SlowTransport(StringTransportWithDisconnection):
    """Has enough after each write, as a transport whose peer does not read."""

    def writeSequence(self, data: Iterable[bytes]) -> None:
        super().writeSequence(data)
        if self.producer is not None:
            self.producer.pauseProducing()


def read(data: bytes) -> Reply:
    """The first response in what was sent."""
    response = HTTPResponse(Socket(data), method="GET")
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    try:
        return Reply(response.status, headers, response.read(), True)
    except IncompleteRead as error:
        return Reply(response.status, headers, error.partial, False)


def request(method: str, path: str, word: str | None, *more: str, body: bytes | None = None) -> bytes:
    """A request as it goes over the wire."""
    lines = [f"{method} /{path} HTTP/1.1", "Host: lab1", *more]
    lines += [] if word is None else [f"Authorization: Bearer {word}"]
    lines += [] if body is None else [f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


@implementer(ITCPTransport)
class Abortable(StringTransportWithDisconnection):
    """One that can end at once."""

    def setTcpNoDelay(self, enabled):
        """It is none."""

    def abortConnection(self):
        """As it says."""
        self.loseConnection()


@define(eq=False)
class Door:
    """A web endpoint, and where its bytes come from and go to."""

    clock: Clock = field(factory=Clock)
    spool: MemorySpool = field(init=False)
    grants: Grants = field(init=False)
    answers: dict[str, Answer] = field(factory=dict)
    arrived: list[Arrived] = field(factory=list)
    chunks: list[bytes | Exception] = field(factory=list)
    call: Callable[..., "Deferred[object]"] = maybeDeferred
    sent: int = 0
    problems: list[tuple[Grant | None, type]] = field(factory=list)
    forgotten: bool = False
    site: ByteSite = field(init=False)
    _end: int = 0

    def __attrs_post_init__(self) -> None:
        self.spool = MemorySpool(self.clock, 100)
        words = iter(f"word-{number}" for number in range(1000))
        self.grants = Grants(lambda: next(words), self.clock.seconds)
        porch = Porch(self.clock, Audit(None, self.clock.seconds))
        self.site = ByteSite(self, self.grants, lambda: 9470, porch)

    # As of ``ByteSource``

    def in_thread(self, function, *arguments):
        return self.call(function, *arguments).addCallback(lambda _: None)

    def program(self, shipped: Shipped) -> Iterator[bytes]:
        if shipped.digest == "d2":
            raise BadProgram("words was lost")
        yield b"#!/bin/sh\n"

    def assignment(self, assignment: Assignment) -> Iterator[bytes]:
        if self.forgotten:
            raise TransferFailed("the request r1 was forgotten")
        return self._send()

    def _send(self) -> Iterator[bytes]:
        for each in self.chunks:
            if isinstance(each, Exception):
                raise each
            self.sent += 1
            yield each

    def files(self, assignment: Assignment) -> Iterator[bytes]:
        yield b"files of " + assignment.id.encode()

    def answer(self, request: RequestId) -> Answer | None:
        return self.answers.get(request)

    def answer_part(self, answer: Answer, number: int) -> BinaryIO:
        return self.spool.open(answer.parts[number])

    def unreadable(self, grant: Grant | None, problem: BaseException | None) -> None:
        self.problems.append((grant, type(problem)))

    # Words for tests

    def connect(
        self, transport_class: type[StringTransportWithDisconnection] = StringTransportWithDisconnection
    ) -> "tuple[Any, StringTransportWithDisconnection]":
        """A connection to it."""
        channel = self.site.buildProtocol(IPv4Address("TCP", "10.0.0.2", 40000))
        transport = transport_class(hostAddress=IPv4Address("TCP", "10.0.0.1", 9471))
        transport.protocol = channel
        channel.makeConnection(transport)
        return channel, transport

    def ask(
        self, method: str, path: str, word: str | None, *more: str, body: bytes | None = None
    ) -> Reply:
        """What is answered at once."""
        channel, transport = self.connect()
        channel.dataReceived(request(method, path, word, *more, body=body))
        return read(transport.value())

    def give(self, grant: Grant) -> str:
        """A word that opens something."""
        return self.grants.give(grant)

    def give_upload(self, name: str = "u1", limit: int = 10) -> str:
        """A word for an upload."""
        return self.give(UploadGrant(name, limit, self.spool.receive, self.arrived.append))

    def give_assignment(self) -> str:
        """A word for an assignment."""
        return self.give(AssignmentGrant(ASSIGNMENT, self.spool.receive, self._take))

    def _take(self, arrived: Arrived) -> str:
        self.arrived.append(arrived)
        return str(len(self.arrived))

    def give_answer(self) -> "tuple[str, Answer]":
        """A word for an answer, and the answer, still empty."""
        answer = self.answers[R1] = Answer(self.spool, self.in_thread)
        return self.give(AnswerGrant(R1)), answer

    def add(self, answer: Answer, data: bytes) -> None:
        """The answer grows."""
        place: Place | None = None
        if data:
            arriving = self.spool.receive(len(data))
            arriving.write(data)
            place, _ = self.spool.keep(R1, arriving.finish())
        answer.add(Output(self._end, self._end + 1, hashlib.sha256(data).hexdigest(), place))
        self._end += 1

    @property
    def contents(self) -> list[bytes]:
        """What has arrived."""
        return [each.open().read() for each in self.arrived]


@pytest.fixture
def door():
    """An endpoint; every connection's limit of time can be called off."""
    return Door()


def test_assignment_of_a_forgotten_request_is_refused(door):
    """A worker whose link was away may not have heard of it."""
    door.forgotten = True
    reply = door.ask("GET", "assignments/1-7", door.give_assignment())
    assert (reply.code, reply.body) == (404, b"the request r1 was forgotten\n")


def test_grant_is_good_until_it_ends():
    """The word is all that one needs; ending it twice does no harm."""
    grants = Grants(lambda: "word", Clock().seconds)
    grant = AnswerGrant(R1)
    assert grants.find("word") is None
    assert grants.give(grant) == "word"
    assert grants.find("word") is grant
    grants.end("word")
    grants.end("word")
    assert grants.find("word") is None


def test_grant_expires_unless_it_is_renewed():
    """After an hour; a word that was not used leaves nothing behind."""
    clock, words = Clock(), iter("abc")
    grants = Grants(lambda: next(words), clock.seconds)
    for _ in range(2):
        grants.give(AnswerGrant(R1), "c1")
    clock.advance(GRANT_SECONDS - 1)
    grants.renew("a")
    grants.renew("nothing")
    clock.advance(1)
    assert (grants.find("a"), grants.find("b")) == (AnswerGrant(R1), None)
    assert grants.given("a").secret == "c1"
    grants.give(AnswerGrant(R1))
    assert list(grants._given) == ["a", "c"]


def test_what_has_begun_goes_on_when_its_grant_expires(door):
    """Nothing new can be begun with it; when its secret is revoked it ends."""
    answer = door.answers[R1] = Answer(door.spool, door.in_thread)
    word = door.grants.give(AnswerGrant(R1), "c1")
    channel, transport = door.connect(Abortable)
    channel.dataReceived(request("GET", "answers/r1", word))
    door.clock.advance(GRANT_SECONDS)
    door.add(answer, b"one\n")
    assert b"one" in transport.value()
    assert door.ask("GET", "answers/r1", word).code == 403
    door.site.drop({"c2"})
    assert transport.connected
    door.site.drop({"c1"})
    assert not transport.connected


# Uploads


def test_upload_with_its_grant_arrives(door):
    """The answer tells what has come."""
    reply = door.ask("PUT", "uploads/u1", door.give_upload(), body=b"one\ntwo\n")
    assert reply.code == 200
    assert json.loads(reply.body) == {"size": 8, "digest": hashlib.sha256(b"one\ntwo\n").hexdigest()}
    assert door.contents == [b"one\ntwo\n"]


@pytest.mark.parametrize("body", [b"", b"0123456789"])
def test_upload_may_be_empty_and_as_large_as_its_bound(door, body):
    """Both are whole."""
    assert door.ask("PUT", "uploads/u1", door.give_upload(), body=body).code == 200
    assert door.contents == [body]


def test_upload_in_chunks_needs_no_length(door):
    """As stdin comes."""
    channel, transport = door.connect()
    head = request("PUT", "uploads/u1", door.give_upload(), "Transfer-Encoding: chunked")
    for byte in head + b"4\r\none\n\r\n4\r\ntwo\n\r\n0\r\n\r\n":
        channel.dataReceived(bytes([byte]))
    assert read(transport.value()).code == 200
    assert door.contents == [b"one\ntwo\n"]


def test_upload_may_pause_for_as_long_as_it_likes(door):
    """What comes through a pipe comes when it comes; between requests a connection is as idle as any."""
    channel, transport = door.connect(Abortable)
    channel.dataReceived(request("PUT", "uploads/u1", door.give_upload(), body=b"one\ntwo\n")[:-4])
    door.clock.advance(GRANT_SECONDS)
    channel.dataReceived(b"two\n")
    assert read(transport.value()).code == 200
    assert door.contents == [b"one\ntwo\n"]
    door.clock.advance(IDLE_SECONDS)
    assert not transport.connected


@pytest.mark.parametrize("word", ["word-999", None])
def test_upload_that_nobody_has_granted_may_not_pause(door, word):
    """It ends as an idle connection does."""
    channel, transport = door.connect(Abortable)
    channel.dataReceived(request("PUT", "uploads/u1", word, body=b"one\ntwo\n")[:-4])
    door.clock.advance(IDLE_SECONDS)
    assert not transport.connected


def test_upload_without_its_own_grant_is_refused_and_not_kept(door):
    """No word, a wrong one, another's, one for something else, another header."""
    words = [None, "word-999", door.give_upload("u2"), door.give_assignment(), door.give_answer()[0]]
    replies = [door.ask("PUT", "uploads/u1", word, body=b"one\n") for word in words]
    basic = f"Authorization: Basic {door.give_upload()}"
    replies.append(door.ask("PUT", "uploads/u1", None, basic, body=b"one\n"))
    assert {(each.code, each.body) for each in replies} == {(403, b"this upload was not granted\n")}
    assert door.arrived == []
    assert door.spool.used_bytes == 0


def test_upload_past_its_bound_is_refused_and_not_kept(door):
    """However much more comes."""
    reply = door.ask("PUT", "uploads/u1", door.give_upload(), body=b"x" * 50)
    assert reply.code == 413
    assert b"10" in reply.body
    assert door.arrived == []
    assert door.spool.used_bytes == 0


def test_upload_without_room_is_refused_and_not_kept(door):
    """The sentence is the spool's."""
    reply = door.ask("PUT", "uploads/u1", door.give_upload(limit=1000), body=b"x" * 500)
    assert reply.code == 413
    assert reply.body.startswith(b"The server's spool cannot take 500 bytes")
    assert door.spool.used_bytes == 0


def test_upload_that_breaks_off_is_not_kept(door):
    """Half of it is nothing."""
    channel, transport = door.connect()
    channel.dataReceived(request("PUT", "uploads/u1", door.give_upload(), body=b"01234567")[:-4])
    assert door.spool.used_bytes == 4
    transport.loseConnection()
    assert door.arrived == []
    assert door.spool.used_bytes == 0


def test_ended_grant_opens_nothing(door):
    """Its client is gone."""
    word = door.give_upload()
    door.grants.end(word)
    assert door.ask("PUT", "uploads/u1", word, body=b"one\n").code == 403


def test_connection_serves_one_request_after_the_other(door):
    """Each with its own grant."""
    channel, transport = door.connect()
    for name in ("u1", "u2"):
        transport.clear()
        channel.dataReceived(request("PUT", f"uploads/{name}", door.give_upload(name), body=b"one\n"))
        assert read(transport.value()).code == 200
    assert len(door.arrived) == 2


@pytest.mark.parametrize("path", ["", "uploads", "uploads/u1/more", "nothing", "../uploads/u1"])
def test_what_is_not_there_is_refused(door, path):
    """Without a word about what is."""
    assert door.ask("PUT", path, door.give_upload(), body=b"one\n").code in (400, 403, 404, 405)
    assert door.spool.used_bytes == 0


# Assignments and programs


def test_assignment_is_sent_with_its_grant(door):
    """All chunks, as bytes that no browser takes for something else."""
    door.chunks = [b'{"pieces": []}\n', b"one\n", b"two\n"]
    reply = door.ask("GET", "assignments/1-7", door.give_assignment())
    assert (reply.code, reply.body, reply.whole) == (200, b"".join(door.chunks), True)
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_assignment_whose_input_fails_is_cut_off(door):
    """The worker sees that it is not whole."""
    door.chunks = [b"x" * (1 << 18), NoSuchInput("'a' became shorter while the request ran")]
    reply = door.ask("GET", "assignments/1-7", door.give_assignment())
    assert (reply.code, reply.body, reply.whole) == (200, door.chunks[0], False)


def test_assignment_is_read_no_faster_than_it_is_taken(door):
    """A slow peer costs no memory."""
    door.chunks = [b"x" * (1 << 18)] * 5
    channel, transport = door.connect(SlowTransport)
    channel.dataReceived(request("GET", "assignments/1-7", door.give_assignment()))
    sent = [door.sent]
    while sent[-1] < 5:
        transport.producer.resumeProducing()
        sent.append(door.sent)
    assert sent == [1, 2, 3, 4, 5]
    transport.producer.resumeProducing()
    reply = read(transport.value())
    assert (reply.body, reply.whole) == (b"".join(door.chunks), True)


def test_nothing_more_is_read_for_a_peer_that_is_gone(door):
    """It had been slow."""
    started: list[Deferred[None]] = []

    def later(function, *arguments):
        started.append(Deferred())
        return started[-1].addCallback(lambda _: function(*arguments))

    door.call = later
    door.chunks = [b"x" * (1 << 18)] * 5
    channel, transport = door.connect()
    channel.dataReceived(request("GET", "assignments/1-7", door.give_assignment()))
    started[0].callback(None)
    assert len(started) == 2
    transport.loseConnection()
    started[1].callback(None)
    assert len(started) == 2
    assert door.sent == 2


def test_files_of_an_assignment_are_told_with_its_grant(door):
    """And with no other."""
    word = door.give_assignment()
    assert door.ask("GET", "files/1-7", word).body == b"files of 1-7"
    for path, other in (("1-8", word), ("1-7", door.give_upload("1-7")), ("1-7", None)):
        reply = door.ask("GET", f"files/{path}", other)
        assert (reply.code, reply.body) == (403, b"these files were not granted\n")


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_assignment_without_its_own_grant_is_refused(door, method):
    """Neither read nor written."""
    other = AssignmentGrant(ASSIGNMENT, door.spool.receive, door._take)
    for path, word in [
        ("1-7", None),
        ("1-7", door.give_upload("1-7")),
        ("1-8", door.give(other)),
    ]:
        reply = door.ask(method, f"assignments/{path}", word, body=b"x")
        assert (reply.code, reply.body) == (403, b"this assignment was not granted\n")
    assert door.arrived == []
    assert door.spool.used_bytes == 0


def test_what_a_job_printed_arrives_under_a_name(door):
    """Which goes into ``Commit``; the grant is good for the next job too."""
    word = door.give_assignment()
    for number in ("1", "2"):
        reply = door.ask("PUT", "assignments/1-7", word, body=b"one\n")
        assert (reply.code, json.loads(reply.body)) == (200, {"upload": number})
    assert door.contents == [b"one\n", b"one\n"]


def test_what_a_job_printed_is_bounded(door):
    """By its assignment."""
    reply = door.ask("PUT", "assignments/1-7", door.give_assignment(), body=b"x" * 11)
    assert reply.code == 413
    assert door.spool.used_bytes == 0


def test_programs_of_an_assignment_are_sent(door):
    """Only its own, and only to who works on it."""
    word = door.give_assignment()
    assert door.ask("GET", "programs/d1", word).body == b"#!/bin/sh\n"
    with pytest.raises(RemoteDisconnected):
        door.ask("GET", "programs/d2", word)
    assert door.problems == [(door.grants.find(word), BadProgram)]
    for digest, other in [("d3", word), ("d1", None), ("d1", door.give_upload("d1"))]:
        reply = door.ask("GET", f"programs/{digest}", other)
        assert (reply.code, reply.body) == (403, b"this program was not granted\n")


# Answers


def test_answer_is_sent_as_it_grows(door):
    """Each part at once, and its end when the request has ended."""
    word, answer = door.give_answer()
    channel, transport = door.connect()
    channel.dataReceived(request("GET", "answers/r1", word))
    for part, known in [(b"one\n", b"one\n"), (b"", b"one\n"), (b"two\n", b"one\ntwo\n")]:
        door.add(answer, part)
        reply = read(transport.value())
        assert (reply.code, reply.body, reply.whole) == (200, known, False)
    answer.close(failed=False)
    assert read(transport.value()) == Reply(200, reply.headers, b"one\ntwo\n", True)


def test_answer_that_is_whole_is_sent_at_once(door):
    """An empty one too."""
    word, answer = door.give_answer()
    door.add(answer, b"one\n")
    answer.close(failed=False)
    assert door.ask("GET", "answers/r1", word).body == b"one\n"
    word, answer = door.give_answer()
    answer.close(failed=False)
    reply = door.ask("GET", "answers/r1", word)
    assert (reply.body, reply.whole) == (b"", True)


def test_answer_of_a_request_that_fails_is_cut_off(door):
    """What came before is not the answer."""
    word, answer = door.give_answer()
    channel, transport = door.connect()
    channel.dataReceived(request("GET", "answers/r1", word))
    door.add(answer, b"one\n")
    answer.close(failed=True)
    reply = read(transport.value())
    assert (reply.body, reply.whole) == (b"one\n", False)
    assert not transport.connected


def test_answer_whose_bytes_are_gone_is_cut_off(door):
    """The request was forgotten meanwhile."""
    word, answer = door.give_answer()
    door.add(answer, b"one\n")
    door.add(answer, b"two\n")
    door.spool.drop(R1, answer.parts[1:])
    reply = door.ask("GET", "answers/r1", word)
    assert (reply.body, reply.whole) == (b"one\n", False)
    assert door.problems == [(AnswerGrant(R1), Damaged)]


def test_no_byte_of_a_part_is_sent_that_is_not_as_it_was(door):
    """Who reads from a pipe could not give it back; from any byte on."""
    word, answer = door.give_answer()
    door.add(answer, b"one\n")
    door.add(answer, b"two\n")
    door.spool._kept[R1][answer.parts[1].path] = b"tvo\n"
    assert door.ask("GET", "answers/r1", word).body == b"one\n"
    with pytest.raises(RemoteDisconnected):
        door.ask("GET", "answers/r1", word, "Range: bytes=7-")
    assert door.problems == [(AnswerGrant(R1), Damaged)] * 2


@given(
    st.lists(st.binary(max_size=4), max_size=5),
    st.lists(st.binary(max_size=4), max_size=5),
    st.integers(0, 30),
)
def test_answer_goes_on_from_any_byte(before, after, offset):
    """Of what is there, and of what is still to come."""
    door = Door()
    word, answer = door.give_answer()
    for each in before:
        door.add(answer, each)
    channel, transport = door.connect()
    channel.dataReceived(request("GET", "answers/r1", word, f"Range: bytes={offset}-"))
    for each in after:
        door.add(answer, each)
    answer.close(failed=False)
    reply = read(transport.value())
    assert (reply.code, reply.whole) == (206, True)
    assert reply.headers["content-range"] == f"bytes {offset}-/*"
    assert reply.body == b"".join([*before, *after])[offset:]


@pytest.mark.parametrize("value", ["bytes=-5", "bytes=0-3", "lines=1-", "bytes=99999999999999999999-"])
def test_other_ranges_are_not_understood(door, value):
    """Then all of it comes."""
    word, answer = door.give_answer()
    door.add(answer, b"one\n")
    answer.close(failed=False)
    reply = door.ask("GET", "answers/r1", word, f"Range: {value}")
    assert (reply.code, reply.body) == (200, b"one\n")


def test_answer_without_its_own_grant_is_refused(door):
    """And one that was forgotten is not there."""
    word, _ = door.give_answer()
    for path, other in [("r1", None), ("r2", word), ("r1", door.give_upload("r1"))]:
        reply = door.ask("GET", f"answers/{path}", other)
        assert (reply.code, reply.body) == (403, b"this answer was not granted\n")
    door.answers.clear()
    reply = door.ask("GET", "answers/r1", word)
    assert (reply.code, reply.body) == (404, b"this request was forgotten\n")


def test_reader_that_goes_is_done_with(door):
    """The answer grows on without it."""
    word, answer = door.give_answer()
    channel, transport = door.connect()
    channel.dataReceived(request("GET", "answers/r1", word))
    transport.loseConnection()
    sent = len(transport.value())
    door.add(answer, b"one\n")
    door.add(answer, b"two\n")
    answer.close(failed=True)
    assert len(transport.value()) == sent


# The wrong door


def test_hagoop_peer_at_the_web_port_is_told_the_right_one(door):
    """A real link reads it."""
    wires = Wires()
    channel = door.site.buildProtocol(None)
    _, link = wires.connect(channel, Link())
    called = wires.start(link.call(commands.Status, request=""))
    with pytest.raises(WorkerLost):
        wires.result(called)
    assert link.greeting == "10.0.0.1:9470 is HaGoop's web port; commands are on 9470"
    assert wires.is_closed(channel)


def test_browser_is_not_turned_away(door):
    """It speaks HTTP, whatever it sends later."""
    channel, transport = door.connect()
    channel.dataReceived(b"GET / HT")
    channel.dataReceived(b"TP/1.1\r\nHost: lab1\r\n\r\n")
    assert b"x-hagoop-commands" not in transport.value()
