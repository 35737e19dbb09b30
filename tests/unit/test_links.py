"""What both ends of a connection share: bounds on a peer, and errors in their own classes."""

import struct
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.logger import capturedLogs, formatEvent
from twisted.protocols import amp
from twisted.python.failure import Failure
from wires import Wires
from zope.interface import alsoProvides

from hagoop import commands
from hagoop.errors import BadMessage, PeerError, UnknownRequest, WorkerLost
from hagoop.links import MORE_CALL_BYTES, MOST_BOX_BYTES, MOST_CALLS, MOST_KEYS, Link

STATUS = {"request": ""}


class Answering(Link):
    """A link that answers, now, later or never."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Deferred[dict[str, Any]]] = []
        self.forgotten: list[str] = []

    @commands.ForgetRequest.responder
    def forget(self, request: str) -> "Deferred[dict[str, Any]]":
        """Whatever the test says, and when."""
        self.calls.append(Deferred())
        return self.calls[-1]

    @commands.CancelRequest.responder
    def cancel(self, request: str) -> None:
        """Fail as told."""
        raise {"unknown": UnknownRequest, "bad": BadMessage}.get(request, ZeroDivisionError)("told")


def alone() -> "tuple[Link, StringTransportWithDisconnection]":
    """A link whose peer is the test."""
    link = Answering()
    transport = StringTransportWithDisconnection(peerAddress=IPv4Address("TCP", "lab1", 9471))
    transport.protocol = link
    alsoProvides(transport, ITCPTransport)
    link.makeConnection(transport)
    return link, transport


def string(data: bytes) -> bytes:
    """As AMP writes keys and values."""
    return struct.pack("!H", len(data)) + data


def box(**values: bytes) -> bytes:
    """A whole box."""
    return amp.AmpBox({key.encode(): value for key, value in values.items()}).serialize()


def forget(number: int) -> bytes:
    """A call."""
    return box(_ask=b"%d" % number, _command=b"ForgetRequest", request=b"r1")


def test_answers_and_errors_arrive_as_what_they_are():
    """Declared errors in their own classes, with their sentence."""
    wires = Wires()
    server, client = wires.connect(Answering(), Link())
    forgotten = wires.start(client.call(commands.ForgetRequest, request="r1"))
    server.calls[0].callback({"request": "r1"})
    assert wires.result(forgotten) == {"request": "r1"}
    for request, cls in [("unknown", UnknownRequest), ("bad", BadMessage)]:
        with pytest.raises(cls, match="told"):
            wires.result(wires.start(client.call(commands.CancelRequest, request=request)))


def test_bug_of_the_peer_is_told_as_that():
    """It drops the connection, after saying so."""
    wires = Wires()
    _, client = wires.connect(Answering(), Link())
    with pytest.raises(PeerError, match="the other side met an error of its own"):
        wires.result(wires.start(client.call(commands.CancelRequest, request="r1")))
    assert wires.is_closed(client)


def test_broken_connection_is_a_lost_worker():
    """For calls under way and for those that come after."""
    wires = Wires()
    server, client = wires.connect(Answering(), Link())
    before = wires.start(client.call(commands.ForgetRequest, request="r1"))
    server.drop("it was told to")
    wires.settle()
    after = wires.start(client.call(commands.ForgetRequest, request="r1"))
    for each in (before, after):
        with pytest.raises(WorkerLost, match="the connection was lost"):
            wires.result(each)


def test_answer_that_nobody_waits_for_may_fail():
    """Whatever comes of it: one line for the log, and the connection stays."""
    wires = Wires()
    _, client = wires.connect(Answering(), Link())
    with capturedLogs() as said:
        client.tell(commands.CancelRequest, request="bad")
        wires.settle()
    assert not wires.is_closed(client)
    lines = [formatEvent(each) for each in said if each["log_namespace"] == "hagoop.links"]
    assert lines == ["no answer to CancelRequest: told"]


def test_box_with_as_many_keys_as_allowed_is_taken():
    """Also when it comes byte by byte."""
    link, transport = alone()
    more = {f"k{number}": b"" for number in range(MOST_KEYS - 3)}
    data = box(_ask=b"1", _command=b"ForgetRequest", request=b"r1", **more)
    for byte in data + data:
        link.dataReceived(bytes([byte]))
    assert transport.connected
    assert len(link.calls) == 2


def test_box_with_too_many_keys_is_dropped():
    """Before it is whole: AMP would keep them all."""
    link, transport = alone()
    link.dataReceived(b"".join(string(b"k%d" % number) + string(b"") for number in range(MOST_KEYS)))
    assert transport.connected
    link.dataReceived(string(b"one more") + string(b"") + string(b"and more"))
    assert not transport.connected


def test_box_without_an_end_is_dropped():
    """At its bound in bytes."""
    link, transport = alone()
    value = string(b"x" * 60_000)
    for number in range(MOST_BOX_BYTES // 60_000):
        link.dataReceived(string(b"k%d" % number) + value)
        assert transport.connected
    link.dataReceived(string(b"last") + value)
    assert not transport.connected


def test_nothing_is_read_from_a_dropped_link():
    """It may all be there already."""
    link, transport = alone()
    many = b"".join(string(b"k%d" % number) + string(b"") for number in range(MOST_KEYS + 1))
    link.dataReceived(many + string(b"") + forget(1))
    assert not transport.connected
    assert link.calls == []


def test_too_many_calls_in_flight_are_dropped():
    """The one too many is not begun."""
    link, transport = alone()
    link.dataReceived(b"".join(map(forget, range(MOST_CALLS))))
    assert transport.connected
    link.dataReceived(forget(MOST_CALLS) + forget(MOST_CALLS + 1))
    assert not transport.connected
    assert len(link.calls) == MOST_CALLS


def test_calls_that_hold_too_much_are_dropped():
    """However many are allowed: each is kept as it came until it is answered."""
    link, transport = alone()
    link.most_calls += 1000
    large = {f"k{number}": bytes(60_000) for number in range(4)}
    sent = 0
    while transport.connected:
        sent += 1
        link.dataReceived(box(_ask=b"%d" % sent, _command=b"ForgetRequest", request=b"r1", **large))
    most = MOST_CALLS * MOST_BOX_BYTES + 1000 * MORE_CALL_BYTES
    assert most - 250_000 < len(link.calls) * 240_000 < most


def test_more_calls_may_be_allowed():
    """As many, if they are of the usual size."""
    link, transport = alone()
    link.most_calls += 1000
    link.dataReceived(b"".join(map(forget, range(MOST_CALLS + 1000))))
    assert transport.connected
    link.dataReceived(forget(1))
    assert not transport.connected


def test_answered_calls_make_room():
    """Only those that wait are counted."""
    link, transport = alone()
    large = {f"k{number}": bytes(60_000) for number in range(4)}
    for number in range(3 * MOST_CALLS):
        link.dataReceived(box(_ask=b"%d" % number, _command=b"ForgetRequest", request=b"r1", **large))
        link.calls.pop().callback({"request": "r1"})
    assert transport.connected


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            b"HTTP/1.1 400 Bad Request\r\nx-hagoop-commands: 9470 on 9471\r\n\r\n",
            "lab1:9471 is HaGoop's web port; commands are on 9470",
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "lab1 answers as a web server, not as HaGoop; commands are on 9470",
        ),
    ],
)
def test_web_port_is_told_from_a_server(answer, told):
    """Ours names the right one."""
    link, transport = alone()
    link.dataReceived(answer)
    assert link.greeting == told
    assert not transport.connected


def test_link_that_is_not_connected_can_be_dropped():
    """There is nothing to end."""
    link = Link()
    link.drop("it is not needed")
    assert link.peer == "None"


def test_lost_link_fails_what_waits():
    """At once."""
    link, _ = alone()
    failed: list[Failure] = []
    Deferred.fromCoroutine(link.call(commands.Status, **STATUS)).addErrback(failed.append)
    link.connectionLost(Failure(ConnectionDone()))
    assert failed[0].check(WorkerLost)


def test_peer_that_speaks_something_else_is_a_lost_worker():
    """Whatever it is."""
    link, transport = alone()
    failed: list[Failure] = []
    Deferred.fromCoroutine(link.call(commands.Status, **STATUS)).addErrback(failed.append)
    link.dataReceived(b"SSH-2.0-OpenSSH_9.2\r\n")
    assert not transport.connected
    assert failed[0].check(WorkerLost)


def test_argument_that_is_too_long_is_our_own_fault():
    """Nothing is sent, and the connection stays."""
    link, transport = alone()
    failed: list[Failure] = []
    called = Deferred.fromCoroutine(link.call(commands.Status, request="x" * 70_000))
    called.addErrback(failed.append)
    assert failed[0].check(amp.TooLong)
    assert transport.connected
