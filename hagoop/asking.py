"""How a worker finds a server, and asks it for work shortly before it needs some."""

from collections.abc import Callable, Sequence
from random import random

from attrs import define
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from hagoop.interfaces import IWorkerReactor
from hagoop.jobs import Assignment
from hagoop.way import Way

FIRST_RETRY_SECONDS = 0.5
MOST_RETRY_SECONDS = 30.0
RETRY_FACTOR = 1.5
MOST_TRIES_COUNTED = 50
ROUND_TRIP_SECONDS = 0.05
"""How long before the end of an assignment the next is asked for, where the way is short."""


@implementer(IStreamClientEndpoint)
@define
class FirstThatAnswers:
    """Several servers, tried in turn at each attempt to connect."""

    endpoints: Sequence[IStreamClientEndpoint]

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[IProtocol]":
        """Connect to the first that takes a connection."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        for endpoint in self.endpoints[:-1]:
            try:
                return await endpoint.connect(factory)
            except CancelledError:
                raise
            except Exception:
                # Whatever was wrong with it, the next may do.
                continue
        return await self.endpoints[-1].connect(factory)


def retry_seconds(failures: int, chance: Callable[[], float] = random) -> float:
    """How long to wait before a server is tried again, after so many failures.

    Of hundreds that have lost it at the same moment each waits for another time, all the longer the
    longer the pauses are: or they would come back as one.
    """
    seconds = FIRST_RETRY_SECONDS * RETRY_FACTOR ** min(failures, MOST_TRIES_COUNTED)
    return min(seconds, MOST_RETRY_SECONDS / 1.5) * (0.5 + chance())


@define(eq=False)
class AskAhead:
    """Asks for a slot's next assignment shortly before the present one ends, or then.

    :ivar way: what is known of the way that ask and answer take.
    """

    reactor: IWorkerReactor
    asking: "Callable[[], Deferred[Assignment]]"
    way: Way
    _asked: "Deferred[Assignment] | None" = None
    _call: IDelayedCall | None = None

    def ask_in(self, seconds: float) -> None:
        """The last job has begun and should take so long."""
        if self._asked is None:
            before = max(ROUND_TRIP_SECONDS, self.way.seconds)
            self._call = self.reactor.callLater(max(0.0, seconds - before), self.ask)

    def ask(self) -> "Deferred[Assignment]":
        """Ask, once."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        if self._asked is None:
            self._asked = self.asking()
        return self._asked
