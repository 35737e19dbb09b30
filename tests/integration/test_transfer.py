"""Bytes over real HTTP: what is cancelled ends, however it comes about."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from io import BytesIO
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from hagoop.door.audit import Audit
from hagoop.door.porch import Porch
from hagoop.errors import TransferFailed
from hagoop.grants import Grants, UploadGrant
from hagoop.interfaces import Arrived
from hagoop.manifests import Stdin
from hagoop.memory_spool import MemorySpool
from hagoop.transfer import Transfer
from hagoop.web import ByteSite

BODY = b"line\n" * 200_000


class Body(Resource):
    """Sends it, from where it is asked to."""

    def render_GET(self, request: Request) -> bytes:
        asked = request.getHeader("range")
        return BODY[int(asked.removeprefix("bytes=").removesuffix("-")) :] if asked else BODY


class Refusal(Resource):
    """Refuses, and does not come to the end of saying why."""

    def render_GET(self, request: Request) -> int:
        request.setResponseCode(503)
        request.write(b"because ")
        return NOT_DONE_YET


@pytest.fixture
def transfer() -> Iterator[Transfer]:
    """To a server that has ``/body``, and refuses ``/refusal``."""
    import pytest_twisted
    from twisted.internet import reactor

    root = Resource()
    root.putChild(b"body", Body())
    root.putChild(b"refusal", Refusal())
    port = reactor.listenTCP(0, Site(root), interface="127.0.0.1")
    made = Transfer(reactor, "127.0.0.1", port.getHost().port)
    yield made
    pytest_twisted.blockon(made.close())
    pytest_twisted.blockon(port.stopListening())


async def test_all_bytes_come(transfer: Transfer) -> None:
    """From the first, or from an offset."""
    parts: list[bytes] = []
    await transfer.get("body", "", parts.append)
    assert b"".join(parts) == BODY
    parts.clear()
    await transfer.get("body", "", parts.append, offset=999_990)
    assert b"".join(parts) == BODY[999_990:]


@pytest.mark.parametrize("turns", range(6))
async def test_cancelled_on_its_way(transfer: Transfer, turns: int) -> None:
    """While a name is looked up, a connection made, an answer awaited: it fails as all transfers do."""
    from twisted.internet import reactor

    fetching = Deferred.fromCoroutine(transfer.get("body", "", lambda _: None))
    for _ in range(turns):
        await deferLater(reactor, 0)
    fetching.cancel()
    with pytest.raises(TransferFailed):
        await fetching


async def test_cancelled_while_it_is_refused(transfer: Transfer) -> None:
    """It fails as all transfers do: ``CancelledError`` would be taken for the end of who waits."""
    from twisted.internet import reactor

    fetching = Deferred.fromCoroutine(transfer.get("refusal", "", lambda _: None))
    await deferLater(reactor, 0.05)
    fetching.cancel()
    with pytest.raises(TransferFailed, match="cancelled"):
        await fetching


class Killed(Protocol):
    """A server that is killed while a body comes."""

    def dataReceived(self, data: bytes) -> None:
        """It is gone."""
        self.transport.abortConnection()


async def test_link_that_breaks_under_an_upload(transfer: Transfer) -> None:
    """It fails as all transfers do: whoever sends it knows that it may be sent again."""
    from twisted.internet import reactor

    port = reactor.listenTCP(0, Factory.forProtocol(Killed), interface="127.0.0.1")
    gone = Transfer(reactor, "127.0.0.1", port.getHost().port)
    try:
        with pytest.raises(TransferFailed, match="does not take or give bytes"):
            await gone.put("body", "", BytesIO(BODY * 20), None)
    finally:
        await gone.close()
        await port.stopListening()


@pytest.fixture
def uploads() -> Iterator[tuple[Transfer, str, list[Arrived]]]:
    """To a server whose connections may hardly be idle; a word for an upload, and what has come."""
    import pytest_twisted
    from twisted.internet import reactor

    grants = Grants(lambda: "word", reactor.seconds)
    arrived: list[Arrived] = []
    word = grants.give(UploadGrant("u1", 1 << 20, MemorySpool(reactor).receive, arrived.append))
    porch = Porch(reactor, Audit(None, reactor.seconds))
    site = ByteSite(cast(Any, None), grants, lambda: 0, porch)
    site.timeOut = 0.1
    port = reactor.listenTCP(0, site, interface="127.0.0.1")
    made = Transfer(reactor, "127.0.0.1", port.getHost().port)
    yield made, word, arrived
    pytest_twisted.blockon(made.close())
    pytest_twisted.blockon(port.stopListening())


async def test_pipe_may_pause(uploads: tuple[Transfer, str, list[Arrived]]) -> None:
    """For longer than a connection may be idle; whoever waits for it does other things meanwhile."""
    from twisted.internet import reactor

    transfer, word, arrived = uploads
    reading, writing = os.pipe()
    went_on = threading.Event()
    reactor.callLater(0.5, went_on.set)

    def write() -> bool:
        with open(writing, "wb", buffering=0) as pipe:
            pipe.write(b"one\n")
            in_time = went_on.wait(10)
            pipe.write(b"two\n")
        return in_time

    wrote = deferToThread(write)
    with open(reading, "rb") as pipe, Stdin(pipe) as stdin:
        answer, digest = await transfer.put("uploads/u1", word, stdin.again(), None)
    assert await wrote, "nothing else was done while the pipe was empty"
    assert (answer["size"], answer["digest"]) == (8, digest)
    assert arrived[0].open().read() == b"one\ntwo\n"


class Shrunk(BytesIO):
    """A file that has become shorter."""

    def read(self, size: int | None = -1) -> bytes:
        """There is less."""
        raise TransferFailed("an input became shorter")


async def test_file_that_cannot_be_sent_says_why(transfer: Transfer) -> None:
    """In its own words."""
    with pytest.raises(TransferFailed, match=r"^an input became shorter$"):
        await transfer.put("body", "", Shrunk(), 100)


async def test_cancelled_while_it_connects(transfer: Transfer) -> None:
    """To a port whose queue is full, so that nobody ever answers."""
    from twisted.internet import reactor

    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        nobody = Transfer(reactor, "127.0.0.1", full.getsockname()[1])
        fetching = Deferred.fromCoroutine(nobody.get("body", "", lambda _: None))
        await deferLater(reactor, 0.05)
        fetching.cancel()
        with pytest.raises(TransferFailed, match="cancelled"):
            await fetching


@pytest.mark.parametrize("at", [1, 2, 3])
async def test_cancelled_by_what_its_own_bytes_led_to(transfer: Transfer, at: int) -> None:
    """No part comes after that, and what takes them may break: it is not asked again."""
    parts: list[bytes] = []

    def write(data: bytes) -> None:
        if len(parts) == at:
            raise ValueError("written to after the end")
        parts.append(data)
        if len(parts) == at:
            fetching.cancel()

    fetching = Deferred.fromCoroutine(transfer.get("body", "", write))
    with pytest.raises(TransferFailed, match="cancelled"):
        await fetching
