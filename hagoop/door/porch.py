"""Before the door: connections that have not come in, and what is told of them."""

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hagoop.door.audit import Audit
from hagoop.door.crowd import Crowd, most_connections
from hagoop.door.threshold import Strangers, Threshold

log = Logger()


@define(eq=False)
class Porch:
    """Bounds what strangers cost at both ports together, and keeps the audit log.

    :ivar bounded: whether connections that have not joined are; on loopback there are no strangers.
    """

    clock: IReactorTime
    audit: Audit
    bounded: bool = True
    threshold: Threshold = field(factory=Threshold)
    strangers: Strangers = field(init=False)
    crowd: Crowd = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.crowd = Crowd(self.clock, most_connections())
        self.strangers = Strangers(self.clock.seconds)
        if not self.bounded:
            self.threshold.most_of_one = self.threshold.most_of_all = 1 << 30
        # Whoever has come in before must find room for more.
        half = self.crowd.most // 2
        self.threshold.most_of_one = min(self.threshold.most_of_one, half)
        self.threshold.most_of_all = min(self.threshold.most_of_all, half)

    def came(self, who: object, host: str, close: Callable[[], None]) -> None:
        """A connection was made; ``close`` ends it when others need its place."""
        self.crowd.came(who)
        self.threshold.came(who, host, close)

    def passed(self, who: object) -> None:
        """It has come in."""
        self.threshold.passed(who)

    def gone(self, who: object) -> None:
        """It is over."""
        self.threshold.passed(who)
        self.crowd.gone(who)

    def turned_away(self, host: str, reason: str) -> None:
        """A stranger's connection ends: a line in the log, if the address has not had one just now."""
        self._tell(host, "dropped", reason)

    def refused(self, host: str, reason: str, **facts: object) -> None:
        """A peer was refused something: a line in the log and one in the audit, likewise."""
        self._tell(host, "refused", reason, **facts)

    def _tell(self, host: str, event: str, reason: str, **facts: object) -> None:
        untold = self.strangers.tells(host, event)
        if untold is None:
            return
        more = f" ({untold} more since its last line)" if untold else ""
        log.info("{host} {event}: {reason}{more}", host=host, event=event, reason=reason, more=more)
        self.audit.note(event, address=host, reason=reason, untold=untold or None, **facts)

    def note(self, event: str, host: str, **facts: object) -> None:
        """Something that is always audited."""
        self.audit.note(event, address=host, **facts)

    def delay(self, host: str) -> float:
        """How long a refusal waits."""
        return self.strangers.delay(host)
