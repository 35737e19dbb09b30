"""What strangers may cost: connections that have shown no secret yet, lines in logs, guesses."""

from collections.abc import Callable
from ipaddress import ip_address

from attrs import define, field

MOST_OF_ONE = 128
"""Connections of one address that have shown no secret."""
MOST_OF_ALL = 16_384
QUIET_SECONDS = 10.0
"""How often one address gets a line in the log for what it was refused."""
FIRST_DELAY_SECONDS = 0.1
MOST_DELAY_SECONDS = 5.0
FORGIVEN_SECONDS = 60.0
MOST_ADDRESSES = 4096


def address_group(host: str) -> str:
    """Who counts as one: an IPv4 address, or the /64 of an IPv6 address, of which anybody has plenty."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 4:
        return host
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped) if mapped is not None else f"{address.exploded[:19]}::/64"


@define(eq=False)
class Threshold:
    """Connections that have shown no secret: when there are too many the oldest has to go.

    Not the newest: whoever holds a thousand open keeps nobody else out.
    """

    most_of_one: int = MOST_OF_ONE
    most_of_all: int = MOST_OF_ALL
    _waiting: dict[object, tuple[str, Callable[[], None]]] = field(factory=dict)
    _of_one: dict[str, dict[object, None]] = field(factory=dict)

    def came(self, who: object, host: str, close: Callable[[], None]) -> None:
        """A connection was made; ``close`` ends it."""
        group = address_group(host)
        self._waiting[who] = group, close
        of_one = self._of_one.setdefault(group, {})
        of_one[who] = None
        if len(of_one) > self.most_of_one:
            self._drop(next(iter(of_one)))
        elif len(self._waiting) > self.most_of_all:
            self._drop(next(iter(self._waiting)))

    def _drop(self, who: object) -> None:
        _, close = self._waiting[who]
        self.passed(who)
        close()

    def passed(self, who: object) -> None:
        """It has shown a secret, or is gone; a second time does nothing."""
        group, _ = self._waiting.pop(who, ("", None))
        of_one = self._of_one.get(group, {})
        of_one.pop(who, None)
        if not of_one:
            self._of_one.pop(group, None)

    @property
    def waiting(self) -> int:
        """How many have not."""
        return len(self._waiting)


@define
class _Visits:
    """What one address was refused.

    :ivar untold: since the last line in the log.
    """

    told: float
    last: float
    untold: int = 0
    failures: int = 0


@define(eq=False)
class Strangers:
    """How often which address was refused something, so that logs and guesses stay few.

    :ivar seconds: a clock.
    """

    seconds: Callable[[], float]
    _visits: dict[str, _Visits] = field(factory=dict)

    def tells(self, host: str, kind: str) -> int | None:
        """Whether a refusal gets a line: how many before it got none.  None: nor does this one.

        :param kind: what it is: of one kind none hides those of another.
        """
        visits, now = self._visit(f"{kind} {address_group(host)}"), self.seconds()
        if now - visits.told < QUIET_SECONDS:
            visits.untold += 1
            return None
        untold, visits.untold, visits.told = visits.untold, 0, now
        return untold

    def delay(self, host: str) -> float:
        """Seconds to wait before an address is told that its secret is wrong: more each time."""
        visits, now = self._visit(address_group(host)), self.seconds()
        if now - visits.last > FORGIVEN_SECONDS:
            visits.failures = 0
        visits.failures, visits.last = visits.failures + 1, now
        return min(MOST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(16, visits.failures - 1))

    def _visit(self, name: str) -> _Visits:
        visits = self._visits.pop(name, None) or _Visits(-QUIET_SECONDS + self.seconds(), 0.0)
        # Those that came last are last; the first is forgotten.
        self._visits[name] = visits
        if len(self._visits) > MOST_ADDRESSES:
            self._visits.pop(next(iter(self._visits)))
        return visits
