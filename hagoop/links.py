"""What both ends of a connection share: AMP with bounds, and errors in their own classes.

AMP itself limits neither the keys of a box nor the calls in flight.
"""

import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed, ConnectionLost
from twisted.internet.interfaces import IHandshakeListener, ITCPTransport, ITransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure
from zope.interface import implementer

from hagoop.door import greetings
from hagoop.door.join_string import JoinString
from hagoop.errors import PeerError, WorkerLost
from hagoop.tuning import tune

log = Logger()
MOST_KEYS = 64
MOST_BOX_BYTES = 256 << 10
MOST_CALLS = 64
MORE_CALL_BYTES = 4 << 10
"""What a call may hold until it is answered, where more than ``MOST_CALLS`` are allowed."""
MOST_SENTENCE = 4000


@implementer(IHandshakeListener)
class Link(amp.AMP):
    """An AMP connection that is dropped when its peer passes a bound.

    :ivar most_calls: how many of the peer's calls may wait for their answers.
    :ivar greeting: what is at the other end, once that is known and it is no HaGoop of ours.
    :ivar line: the line by which a server was found; None: without TLS.
    :ivar trouble: what broke the TLS, in a few words.
    """

    def __init__(self) -> None:
        super().__init__()
        self.most_calls = MOST_CALLS
        self._strings = 0
        self._box_bytes = 0
        self._calls = 0
        self._call_bytes = 0
        self._began = False
        self._over = False
        self.greeting = ""
        self.line: JoinString | None = None
        self.trouble = ""
        self._shaken = False

    def makeConnection(self, transport: ITransport) -> None:
        """Begin.  AMP itself writes a line into the log for whoever connects, and one at the end."""
        amp.BinaryBoxProtocol.makeConnection(self, transport)

    def connectionMade(self) -> None:
        """It is tuned from now on."""
        super().connectionMade()
        self.line = getattr(self.transport, "line", self.line)
        tune(self.transport)

    def handshakeCompleted(self) -> None:
        """TLS stands, and the server has the key that the line names."""
        self._shaken = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is over; what TLS says of it is put into words."""
        if not reason.check(ConnectionClosed):
            self.trouble = greetings.trouble_of(reason.value or ConnectionLost())
            reason = Failure(ConnectionLost(self.trouble))
        if self.line is not None and not self._shaken and not self.greeting:
            self.greeting = greetings.not_the_server(self.line.place, self.trouble)
        amp.BinaryBoxProtocol.connectionLost(self, reason)
        self.transport = None

    def dataReceived(self, data: bytes) -> None:
        """Bytes have come; AMP's begin with a zero, so that others are told from a server."""
        if not self._began and not data.startswith(b"\0"):
            self.greeting = _web_port(self.peer, data) if data.startswith(b"HTTP/") else ""
            self.drop(greetings.what_speaks(data))
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

    def lengthLimitExceeded(self, length: int) -> None:
        """No key of ours is so long."""
        if not self._over:
            self.drop("a key has more than 255 bytes")

    def ampBoxReceived(self, box: amp.AmpBox) -> None:
        """A box is whole."""
        self._strings = self._box_bytes = 0
        wrong = self._wrong_with(box)
        if wrong:
            self.drop(wrong)
        else:
            super().ampBoxReceived(box)

    def _wrong_with(self, box: amp.AmpBox) -> str:
        """What AMP itself would raise an error for, in the middle of the reactor."""
        answered = box.get(amp.ANSWER, box.get(amp.ERROR))
        if answered is not None and answered not in self._outstandingRequests:
            return "it answers what nobody has asked"
        if amp.ANSWER in box:
            return ""
        if amp.ERROR in box:
            whole = amp.ERROR_CODE in box and amp.ERROR_DESCRIPTION in box
            return "" if whole else "it sent an error that says nothing"
        return "" if amp.COMMAND in box and amp.ASK in box else "it sent a box that asks nothing"

    def locateResponder(self, name: bytes) -> Any:
        """What answers a command: one of ours, and not AMP's own, which begins TLS in the middle."""
        if name == amp.StartTLS.commandName:
            return None
        return amp.CommandLocator.locateResponder(self, name)

    def dispatchCommand(self, box: amp.AmpBox) -> Any:
        """Count the calls that wait for their answers.  (``Any``: as AMP has it.)

        AMP keeps the box of each until then.
        """
        size = sum(map(len, box.values()))
        self._calls += 1
        self._call_bytes += size
        if self._calls > self.most_calls or self._call_bytes > self._most_call_bytes:
            self.drop("too many calls wait for their answers")
            return Deferred()
        answered = super().dispatchCommand(box)
        return answered.addBoth(self._answered, size)

    @property
    def _most_call_bytes(self) -> int:
        more = self.most_calls - MOST_CALLS
        return MOST_CALLS * MOST_BOX_BYTES + more * MORE_CALL_BYTES

    def _answered(self, result: Any, size: int) -> Any:
        self._calls -= 1
        self._call_bytes -= size
        if isinstance(result, Failure) and isinstance(result.value, amp.RemoteAmpError):
            # It may repeat what the peer sent, and more than a box holds.
            result.value.description = result.value.description[:MOST_SENTENCE]
        return result

    def drop(self, reason: str) -> None:
        """End the connection at once."""
        log.info("dropping {peer}: {reason}", peer=self.peer, reason=reason)
        self.end()

    def end(self) -> None:
        """The same without a word."""
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
        # In one line: a connection that ends is nothing to look for a bug in.
        told.addErrback(
            lambda failure: log.debug(
                "no answer to {command}: {reason}",
                command=command.__name__,
                reason=failure.getErrorMessage(),
            )
        )


def _web_port(host: str, data: bytes) -> str:
    """What to say of a port that speaks HTTP: ours tells where commands are taken."""
    found = re.search(rb"x-hagoop-commands: (\d+) on (\d+)", data, re.IGNORECASE)
    if found is None:
        return f"{host} answers as a web server, not as HaGoop; commands are on 9470"
    return f"{host}:{found[2].decode()} is HaGoop's web port; commands are on {found[1].decode()}"
