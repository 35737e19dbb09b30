"""Boxes and requests of strangers: only their own connection ends, and nothing else changes."""

import gc
import hashlib
import sys
from random import Random

import pytest
from hostile import KEYS, VALUES, box, boxes, http
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_door_sessions import OWN, Guarded
from test_web import Door
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from hagoop import wire
from hagoop.jobs import State

CONNECTIONS = 1800
"""Each sends between one and five boxes: 5,000 together."""
REQUESTS = 5000
SERIOUS = (LogLevel.critical, LogLevel.error)
MOST_GROWTH = 15
"""Pieces of memory that one more connection may leave behind: an attempt of its own leaves hundreds."""
SECRETS = (
    {},
    {b"secret_id": b"c2", b"secret": b"of another"},
    {b"secret_id": b"w1", b"secret": b"of workers"},
    {b"secret_id": b"c2", b"secret": b"of anothes"},
)
"""``c2`` is a stranger with a client's secret: what is another's it must not touch."""


@pytest.fixture
def events():
    """What was logged of strangers, and what only a bug would log."""
    seen = []

    def observe(event):
        if event["log_level"] in SERIOUS or event["log_namespace"] == "hagoop.door.porch":
            seen.append(event)

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


def state_of(site: Guarded) -> str:
    """A digest of what ledger, docket and journal have of the request that was there before."""
    request = site.request
    account = site.docket.ledger.requests[request]
    facts = [
        wire.to_plain(account.submission),
        account.state,
        account.counters,
        account.failures,
        account.commits,
        sorted((str(phase), wire.to_plain(kept)) for phase, kept in account.outputs.items()),
        site.docket.owners[request],
        [row for row in site.docket.journal.replay() if row[0].split(".")[0] == request],
    ]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


@implementer(ITCPTransport)
class Line(StringTransport):
    """A connection to a stranger; as with a real one, what is written and who is told comes later."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """It is none."""

    def unregisterProducer(self) -> None:
        """There need be none."""
        self.producer = None

    def abortConnection(self) -> None:
        """End it at once."""
        self.disconnecting = self.disconnected = True


def meet(protocol, transport: Line, chunks) -> None:
    """A connection that sends these, as far as it is let; after that it is gone."""
    protocol.makeConnection(transport)
    for each in chunks:
        if not transport.disconnected:
            protocol.dataReceived(each)
    protocol.connectionLost(Failure(ConnectionDone()))


def line() -> Line:
    """A transport between two machines."""
    there, here = IPv4Address("TCP", "10.0.0.9", 40000), IPv4Address("TCP", "10.0.0.1", 9470)
    return Line(hostAddress=here, peerAddress=there)


def serious(events) -> list[str]:
    """What only a bug would log."""
    return [str(each.get("log_failure") or each) for each in events if each["log_level"] in SERIOUS]


def blocks() -> int:
    """Pieces of memory in use."""
    gc.collect()
    return sys.getallocatedblocks()


@pytest.fixture
def site(tmp_path):
    """A server with a client's request that runs, and a worker that has committed a part of it."""
    made = Guarded(state=tmp_path)
    made.request = made.submit(made.client_of("c1"), "k", OWN)
    worker = made.worker()
    made.commit(worker, made.job(made.ask(worker), 1))
    yield made
    made.scheduler.ledger.check()


def test_hostile_boxes_change_nothing(site, events):
    """Some are of strangers, some of who has a secret of his own; memory does not grow with them."""
    send_boxes(site, events, CONNECTIONS, Random(1))


def send_boxes(site, events, connections: int, chance: Random) -> None:
    """So many connections, one after the other; then all is as it was."""
    before, halfway = state_of(site), 0
    for number in range(connections):
        secret = SECRETS[number % len(SECRETS)]
        meet(site.factory.buildProtocol(None), line(), boxes(chance, secret))
        if number % 20 == 0:
            site.wires.advance(1)
        if number == connections // 2:
            halfway = blocks()
    site.wires.advance(60)
    grown = blocks() - halfway
    assert serious(events) == []
    assert state_of(site) == before
    assert site.docket.ledger.requests[site.request].state is State.RUNNING
    assert site.scheduler.workers == {}
    assert grown < MOST_GROWTH * connections / 2
    assert lines_about_strangers(events) <= connections / 20
    assert site.desk.porch.threshold.waiting == 0


def lines_about_strangers(events) -> int:
    """How many lines of the log are about who was refused or dropped."""
    return sum(each["log_namespace"] == "hagoop.door.porch" for each in events)


names, values = st.sampled_from(KEYS) | st.binary(min_size=1, max_size=20), st.sampled_from(VALUES)
anything = st.dictionaries(names, values | st.binary(max_size=50), max_size=8).map(box)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(anything | st.binary(max_size=200), max_size=4), max_size=3))
def test_boxes_of_any_form_change_nothing(site, events, connections):
    """By a grammar that shrinks what it finds, cut anywhere."""
    before = state_of(site)
    for chunks in connections:
        data = b"".join(chunks)
        meet(site.factory.buildProtocol(None), line(), [data[:7], data[7:]])
    site.wires.settle()
    assert serious(events) == []
    assert state_of(site) == before


def test_endless_box_ends_at_the_cap(site, events):
    """Keys for ever; also before ``Join``."""
    sent = []

    def keys():
        for number in range(10_000):
            sent.append(number)
            key = b"%05d" % number
            yield len(key).to_bytes(2, "big") + key + (4000).to_bytes(2, "big") + bytes(4000)

    meet(site.factory.buildProtocol(None), line(), keys())
    assert serious(events) == []
    transports = [line() for _ in range(3)]
    for each, chunk in zip(transports, (b"\0\x01a\xff\xff", b"\0\xff", b"\0"), strict=True):
        meet(site.factory.buildProtocol(None), each, [chunk * 9])
    assert serious(events) == []


def test_hostile_requests_change_nothing(events):
    """Nothing is kept of them, and nobody's grant is touched."""
    send_requests(events, REQUESTS, Random(2))


def send_requests(events, requests: int, chance: Random) -> None:
    """So many, each on a connection of its own; then all is as it was."""
    door, halfway = Door(), 0
    for number in range(requests):
        meet(door.site.buildProtocol(IPv4Address("TCP", "10.0.0.9", 40000)), line(), [http(chance)])
        if number % 100 == 0:
            door.clock.advance(1)
        if number == requests // 2:
            halfway = blocks()
    word = door.give_upload("u7")
    door.clock.advance(120)
    grown = blocks() - halfway
    assert serious(events) == []
    assert grown < MOST_GROWTH * requests / 2
    assert (door.arrived, door.spool.used_bytes, door.site.channels) == ([], 0, {})
    assert lines_about_strangers(events) <= 2 * requests / 100
    assert door.ask("PUT", "uploads/u7", word, body=b"mine\n").code == 200


def test_body_that_nobody_wants_is_cut(events):
    """Without a grant no more is listened to than a little."""
    door, transport = Door(), line()
    head = b"PUT /uploads/u1 HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n"
    meet(door.site.buildProtocol(transport.getPeer()), transport, [head, *[b"x" * 10_000] * 10])
    assert (transport.disconnected, serious(events)) == (True, [])
