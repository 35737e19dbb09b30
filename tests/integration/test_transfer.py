"""Bytes over real HTTP: what is cancelled ends, however it comes about."""

from collections.abc import Iterator

import pytest
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from hagoop.errors import TransferFailed
from hagoop.transfer import Transfer

BODY = b"line\n" * 200_000


class Body(Resource):
    """Sends it, from where it is asked to."""

    def render_GET(self, request: Request) -> bytes:
        asked = request.getHeader("range")
        return BODY[int(asked.removeprefix("bytes=").removesuffix("-")) :] if asked else BODY


@pytest.fixture
def transfer() -> Iterator[Transfer]:
    """To a server that has one thing, ``/body``."""
    import pytest_twisted
    from twisted.internet import reactor

    root = Resource()
    root.putChild(b"body", Body())
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
