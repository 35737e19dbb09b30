"""A client whose commands come through, and its bytes do not."""

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hagoop.client import Client
from hagoop.errors import LinkBroke, ServerUnreachable, TransferFailed
from hagoop.jobs import State
from hagoop.unreached import BYTES_SECONDS


@define
class Status:
    """Of a request that runs."""

    state: State = State.RUNNING


@define
class Port:
    """The port of the bytes: what comes of each try."""

    error: TransferFailed = field(factory=lambda: LinkBroke("lab1:9471 does not take or give bytes"))
    data: bytes = b""
    tries: int = 0

    async def get(self, path, grant, write, offset=0, *, patient=False):
        """Whatever the test says."""
        self.tries += 1
        if self.data:
            write(self.data)
        raise self.error


class Commanding(Client):
    """A client whose commands are answered at once, over a link that may be another each time."""

    port = Port()
    restarts = False

    async def call(self, command: Any, **arguments: Any) -> dict[str, Any]:
        """``Answer`` and ``Status``."""
        if self._link is None or self.restarts:
            self._link = object()
        return {"grant": "word", "status": Status()}

    @property
    def transfer(self) -> Any:
        return self.port


def fetch(port: Port, *, restarts: bool = False) -> tuple[Clock, "Deferred[Any]", list[Any]]:
    """Begin; the clock, what was begun, and what failed it."""
    clock: Any = Clock()
    client = Commanding(clock, ["lab1"], "lab1")
    client.port, client.restarts = port, restarts
    failed: list[Any] = []
    fetching = Deferred.fromCoroutine(client.fetch("r1", lambda _: None)).addErrback(failed.append)
    return clock, fetching, failed


def test_port_that_gives_no_bytes_is_told():
    """After a while, with what to do."""
    clock, _, failed = fetch(port := Port())
    clock.pump([1.0] * int(BYTES_SECONDS - 5))
    assert failed == []
    clock.pump([1.0] * 15)
    with pytest.raises(ServerUnreachable, match=r"^lab1:9471 .* open that port too, then: .*answer r1"):
        failed[0].raiseException()
    assert 5 < port.tries < BYTES_SECONDS


@pytest.mark.parametrize(
    ("port", "restarts"),
    [
        (Port(), True),
        (Port(data=b"x"), False),
        (Port(TransferFailed("the connection broke while bytes were coming")), False),
    ],
)
def test_server_that_restarts_or_gives_bytes_is_waited_for(port, restarts):
    """For as long as it takes: commands came through over one link after the other, or bytes came."""
    clock, _, failed = fetch(port, restarts=restarts)
    clock.pump([1.0] * int(4 * BYTES_SECONDS))
    assert failed == []
    assert clock.getDelayedCalls()
