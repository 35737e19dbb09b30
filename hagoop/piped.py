"""What comes through a pipe or from a terminal, as a body: as it comes, and nobody waits for it."""

import hashlib

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IReactorFDSet,
    IReactorTime,
    IReadDescriptor,
)
from twisted.python.failure import Failure
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from hagoop.disk import why
from hagoop.errors import TransferFailed
from hagoop.manifests import Stdin

PIECE_BYTES = 1 << 17


@implementer(IBodyProducer, IReadDescriptor)
@define(eq=False)
class Piped:
    """Sends what comes by a stdin, and hashes it.

    Its descriptor is read when there is something, and stays blocking: it may be others' too, to whom
    that matters.  A thread that waits for it would keep the process from ending.
    """

    _reactor: IReactorFDSet
    _clock: IReactorTime
    _stdin: Stdin
    _fd: int
    digest: "hashlib._Hash" = field(factory=hashlib.sha256)
    length: str = UNKNOWN_LENGTH
    _consumer: IConsumer | None = None
    _sent: "Deferred[None]" = field(factory=Deferred)
    _next: IDelayedCall | None = None

    def startProducing(self, consumer: IConsumer) -> "Deferred[None]":
        """Send all that comes."""
        self._consumer = consumer
        self.resumeProducing()
        return self._sent

    def pauseProducing(self) -> None:
        """The peer is slower than we."""
        self._reactor.removeReader(self)
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._next = None

    def resumeProducing(self) -> None:
        """The peer takes more."""
        self.pauseProducing()
        if self._stdin.waits:
            self._reactor.addReader(self)
        else:
            # A copy of what came before, or the end.
            self._next = self._clock.callLater(0, self._go_on)

    def stopProducing(self) -> None:
        """The peer is gone."""
        self.pauseProducing()

    def _go_on(self) -> None:
        begun = self._next
        self.doRead()
        if self._next is begun:
            # The peer has not enough, and there was no end.
            self.resumeProducing()

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "piped"

    def doRead(self) -> None:
        """There is something, or it ends."""
        try:
            data = self._stdin.read(PIECE_BYTES)
        except BlockingIOError:
            # Whoever has it too was faster.
            return
        except OSError as problem:
            self._end(Failure(TransferFailed(f"stdin cannot be read: {why(problem)}")))
            return
        if data and self._consumer is not None:
            self.digest.update(data)
            self._consumer.write(data)
        else:
            self._end(None)

    def connectionLost(self, reason: Failure) -> None:
        """Nobody writes to the pipe any more; or the reactor ends, and what came is not all."""
        self._end(None if reason.check(ConnectionDone) else reason)

    def _end(self, result: Failure | None) -> None:
        self.pauseProducing()
        if not self._sent.called:
            self._sent.callback(result)
