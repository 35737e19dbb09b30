"""What comes through pipes, as a body."""

import hashlib
import os
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from hagoop.errors import TransferFailed
from hagoop.manifests import Stdin
from hagoop.piped import PIECE_BYTES, Piped


@define
class Sent:
    """A body on its way, and how it ended."""

    stdin: Stdin
    reactor: Any = field(factory=MemoryReactorClock)
    peer: Any = field(factory=StringTransport)
    ended: list[Any] = field(factory=list)
    piped: Piped = field(init=False)

    def __attrs_post_init__(self) -> None:
        assert self.stdin.again() is self.stdin
        assert self.stdin.descriptor is not None
        self.piped = Piped(self.reactor, self.reactor, self.stdin, self.stdin.descriptor)
        self.piped.startProducing(self.peer).addBoth(self.ended.append)

    @property
    def watched(self) -> bool:
        """Whether it goes on when something comes."""
        return self.reactor.getReaders() == [self.piped]


@pytest.fixture
def ends() -> Iterator[tuple[Any, Any]]:
    """Both ends of a pipe."""
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as theirs, open(writing, "wb", buffering=0) as ours:
        yield theirs, ours


@pytest.fixture
def stdin(ends) -> Iterator[Stdin]:
    """What comes through it."""
    with Stdin(ends[0]) as made:
        yield made


def test_what_comes_is_sent_until_the_pipe_ends(ends, stdin):
    """Piece by piece, and hashed."""
    sent = Sent(stdin)
    for each in (b"one\n", b"two\n"):
        ends[1].write(each)
        sent.piped.doRead()
    assert (sent.peer.value(), sent.ended, sent.watched) == (b"one\ntwo\n", [], True)
    ends[1].close()
    sent.piped.doRead()
    assert (sent.ended, sent.watched) == ([None], False)
    assert sent.piped.digest.digest() == hashlib.sha256(b"one\ntwo\n").digest()


@pytest.mark.parametrize("is_whole", [False, True])
def test_what_was_sent_is_sent_again_before_more_comes(ends, stdin, is_whole):
    """As fast as the peer takes it."""
    first, text = Sent(stdin), b"line\n" * (PIECE_BYTES // 5 + 1)
    while stdin._copied < len(text):
        ends[1].write(text[stdin._copied :][:4096])
        first.piped.doRead()
    first.piped.stopProducing()
    if is_whole:
        ends[1].close()
        first.piped.doRead()
    sent = Sent(stdin)
    sent.piped.pauseProducing()
    sent.reactor.advance(0)
    assert (sent.peer.value(), sent.watched) == (b"", False)
    sent.piped.resumeProducing()
    sent.reactor.pump([0] * 5)
    assert sent.peer.value() == text
    assert (sent.ended, sent.watched) == ([None] if is_whole else [], not is_whole)
    assert sent.reactor.getDelayedCalls() == []


def test_peer_that_has_enough_is_waited_for(stdin):
    """And nothing is watched for one that is gone."""
    sent = Sent(stdin)
    sent.piped.pauseProducing()
    assert not sent.watched
    sent.piped.resumeProducing()
    assert sent.watched
    sent.piped.stopProducing()
    assert (sent.watched, sent.ended) == (False, [])


def test_end_that_the_reactor_sees_is_one(stdin):
    """The other end is closed; when the reactor itself ends, what came is not all."""
    for reason, is_end in [(ConnectionDone(), True), (ConnectionLost(), False)]:
        sent = Sent(stdin)
        sent.piped.connectionLost(Failure(reason))
        assert (sent.ended == [None]) is is_end
        assert (len(sent.ended), sent.watched) == (1, False)


def test_another_reader_may_be_faster(ends, stdin):
    """That is no end."""
    os.set_blocking(ends[0].fileno(), False)
    sent = Sent(stdin)
    sent.piped.doRead()
    assert (sent.ended, sent.watched) == ([], True)


def test_what_cannot_be_read_says_why(ends):
    """In one sentence: this is the end to write to."""
    with Stdin(ends[1]) as stdin:
        sent = Sent(stdin)
        sent.piped.doRead()
    with pytest.raises(TransferFailed, match="stdin cannot be read: bad file descriptor"):
        sent.ended[0].raiseException()
    assert not sent.watched


def test_only_what_may_keep_us_waiting_is_watched(tmp_path):
    """A file always has something, and cannot be watched; nor can what is in memory."""
    (tmp_path / "file").touch()
    for each in (open(tmp_path / "file", "rb"), open(os.devnull, "rb"), BytesIO()):
        with each, Stdin(each) as stdin:
            assert stdin.descriptor is None
            assert stdin.again() is not stdin
