"""What both ends of a connection share: AMP with bounds, and errors in their own classes.

AMP itself limits neither the keys of a box nor the calls in flight.
"""

import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import ITCPTransport
from twisted.logger import Logger
from twisted.protocols import amp

from hagoop.errors import PeerError, WorkerLost
from hagoop.tuning import tune

log = Logger()
MOST_KEYS = 64
MOST_BOX_BYTES = 256 << 10
MOST_CALLS = 64


class Link(amp.AMP):
    """An AMP connection that is dropped when its peer passes a bound."""

    def __init__(self) -> None:
        super().__init__()
        self.most_calls = MOST_CALLS
        self._strings = 0
        self._box_bytes = 0
        self._calls = 0
        self._began = False
        self._over = False
        self.greeting = ""

    def connectionMade(self) -> None:
        """It is tuned from now on."""
        super().connectionMade()
        tune(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """Bytes have come; AMP's never begin with a letter, so that a web port is told from a server."""
        if not self._began and data.startswith(b"HTTP/"):
            self.greeting = _web_port(self.peer, data)
            self.drop("it is a web port")
            return
        self._began = True
        super().dataReceived(data)

    def stringReceived(self, string: bytes) -> None:
        """Count what an unfinished box holds."""
        if self._over:
            return
        self._strings += 1
        self._box_bytes += len(string)
        # The empty string that ends a box counts too.
        if self._strings > 2 * MOST_KEYS + 1 or self._box_bytes > MOST_BOX_BYTES:
            self.drop("a box has no end")
            return
        super().stringReceived(string)

    def ampBoxReceived(self, box: amp.AmpBox) -> None:
        """A box is whole."""
        self._strings = self._box_bytes = 0
        super().ampBoxReceived(box)

    def dispatchCommand(self, box: amp.AmpBox) -> Any:
        """Count the calls that wait for their answers.  (``Any``: as AMP has it.)"""
        self._calls += 1
        if self._calls > self.most_calls:
            self.drop("too many calls wait for their answers")
            return Deferred()
        answered = super().dispatchCommand(box)
        return answered.addBoth(self._answered)

    def _answered(self, result: Any) -> Any:
        self._calls -= 1
        return result

    def drop(self, reason: str) -> None:
        """End the connection at once."""
        log.info("dropping {peer}: {reason}", peer=self.peer, reason=reason)
        self._over = True
        if self.transport is not None:
            ITCPTransport(self.transport).abortConnection()

    @property
    def peer(self) -> str:
        """Who is at the other end, for the log."""
        address = self.transport.getPeer() if self.transport is not None else None
        return str(getattr(address, "host", address))

    async def call(self, command: type[amp.Command], **arguments: Any) -> dict[str, Any]:
        """Send a command and wait for its answer.

        :raises WorkerLost: the connection ended before.
        :raises PeerError: the peer met a bug of its own.
        :raises HaGoopError: whatever the peer answered.
        """
        try:
            answer: dict[str, Any] = await self.callRemote(command, **arguments)
        except ConnectionClosed as error:
            raise WorkerLost("the connection was lost") from error
        except amp.TooLong as error:
            if error.isLocal:
                raise
            # The peer does not speak AMP at all.
            raise WorkerLost("the connection was lost") from error
        except amp.UnknownRemoteError as error:
            raise PeerError("the other side met an error of its own; its log has more") from error
        return answer

    def tell(self, command: type[amp.Command], **arguments: Any) -> None:
        """Send a command whose answer does not matter."""
        told = Deferred.fromCoroutine(self.call(command, **arguments))
        told.addErrback(lambda reason: log.debug("{command}: {reason}", command=command, reason=reason))


def _web_port(host: str, data: bytes) -> str:
    """What to say of a port that speaks HTTP: ours tells where commands are taken."""
    found = re.search(rb"x-hagoop-commands: (\d+) on (\d+)", data, re.IGNORECASE)
    if found is None:
        return f"{host} answers as a web server, not as HaGoop; commands are on 9470"
    return f"{host}:{found[2].decode()} is HaGoop's web port; commands are on {found[1].decode()}"
