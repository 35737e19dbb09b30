"""Peers that ask for much and take nothing, or bring much and use nothing: memory stays bounded."""

import pytest
from hostile import box
from test_hostile import Line, line
from test_sessions import Site, site  # noqa: F401

from hagoop import commands
from hagoop.commands import PROTOCOL_VERSION
from hagoop.errors import LimitExceeded

BUFFER_BYTES = 1 << 16
CALLS = 2000


class Slow(Line):
    """What the peer has not read yet lies in a buffer that tells when it is full, as Twisted's does."""

    def write(self, data: bytes) -> None:
        """Take it; it may be the last for a while."""
        super().write(data)
        if self.producer is not None and len(self.value()) > BUFFER_BYTES:
            self.producer.pauseProducing()

    def take(self) -> bytes:
        """The peer reads all of it."""
        taken = self.value()
        self.clear()
        if self.producerState == "paused":
            self.producer.resumeProducing()
        return taken


def call(number: int, command: bytes, **arguments: bytes) -> bytes:
    """A call as it travels."""
    given = {name.encode(): value for name, value in arguments.items()}
    return box({b"_ask": b"%x" % number, b"_command": command, **given})


def joined(site: Site):  # noqa: F811
    """A client's link that has joined."""
    link, transport = site.factory.buildProtocol(None), Slow()
    plain = line()
    transport.hostAddr, transport.peerAddr = plain.hostAddr, plain.peerAddr
    link.makeConnection(transport)
    version, nothing = b"%d" % PROTOCOL_VERSION, dict.fromkeys(("identity", "process", "name"), b"")
    rest = {"version": version, "role": b"client", "slots": b"0", "held": b"[]"}
    link.dataReceived(call(1, b"Join", **rest, **nothing))
    assert b"_answer" in transport.take()
    return link, transport


def test_who_reads_no_answers_is_not_read(site):  # noqa: F811
    """Calls come faster than their answers are taken; once these are, the other calls are answered."""
    site.submit(site.client())
    link, transport = joined(site)
    link.dataReceived(b"".join(call(number, b"List", skip=b"0") for number in range(2, CALLS + 2)))
    waiting = transport.value()
    assert transport.producerState == "paused"
    assert len(waiting) < 2 * BUFFER_BYTES
    assert waiting.count(b"_answer") < CALLS
    answered = 0
    while taken := transport.take():
        assert len(taken) < 2 * BUFFER_BYTES
        answered += taken.count(b"_answer")
    assert answered == CALLS


def test_client_brings_no_more_than_so_many(site, monkeypatch):  # noqa: F811
    """Each would be remembered until it leaves."""
    monkeypatch.setattr("hagoop.roles.MOST_UPLOADS", 20)
    client = site.client()
    for _ in range(20):
        assert site.call(client, commands.Upload, digest="", size=1)["grant"]
    with pytest.raises(LimitExceeded, match=r"^20 files were brought over one connection"):
        site.call(client, commands.Upload, digest="", size=1)


def test_words_that_open_answers_end(site, monkeypatch):  # noqa: F811
    """The oldest, when it has asked for many more; the newest open what they are for."""
    monkeypatch.setattr("hagoop.roles.MOST_WORDS", 20)
    client = site.client()
    site.submit(client)
    words = [site.call(client, commands.Answer, request="")["grant"] for _ in range(21)]
    assert site.grants.find(words[0]) is None
    assert None not in [site.grants.find(each) for each in words[1:]]
