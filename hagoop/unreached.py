"""How long a client waits for bytes of a server whose commands come through."""

from attrs import define
from twisted.internet.interfaces import IReactorTime

from hagoop.errors import LinkBroke, ServerUnreachable, TransferFailed

RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Pauses before something that broke is tried again."""
BYTES_SECONDS = 30.0
"""A server that starts again, or is out of descriptors, needs less."""


def open_port(error: TransferFailed, then: str = "") -> ServerUnreachable:
    """What to say when it takes longer.

    :param then: what can be done once it is mended.
    """
    return ServerUnreachable(f"{error}; commands come through: open that port too{then}")


@define
class BytesTried:
    """Tries to fetch an answer.

    :ivar then: as for ``open_port``.
    """

    clock: IReactorTime
    then: str
    _known: object = None
    _since: float = 0.0
    _count: int = 0

    def failed(self, error: TransferFailed, known: object) -> float:
        """One more has failed: seconds until the next.

        :param known: over which link commands come, and how many bytes have: while both stay the same
            there is no other way but that these cannot come.
        :raises ServerUnreachable: they had time enough.
        """
        now = self.clock.seconds()
        if known != self._known or not isinstance(error, LinkBroke):
            self._known, self._since, self._count = known, now, 0
        elif now - self._since >= BYTES_SECONDS:
            raise open_port(error, self.then) from error
        self._count += 1
        return RETRY_SECONDS[min(self._count, len(RETRY_SECONDS)) - 1]
