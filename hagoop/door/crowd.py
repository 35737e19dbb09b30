"""All connections at both ports: past what descriptors are for, no more are accepted for a while."""

import resource
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.logger import Logger

log = Logger()
OWN_DESCRIPTORS = 40
"""What a server needs for its own files, whoever is connected; and a sixteenth of all."""
TELL_SECONDS = 60.0


MOST_DESCRIPTORS = 65_536


def raise_limit() -> None:
    """Take as many descriptors as this process may have: shells give few, each worker needs some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_connections() -> int:
    """How many connections this process has descriptors for."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return 1 << 30
    return max(8, most - most // 16 - OWN_DESCRIPTORS)


@define(eq=False)
class Crowd:
    """Who waits before a port that is not read from comes in when others have left.

    :ivar most: how many there is room for.
    """

    clock: IReactorTime
    most: int
    _ports: Sequence[IListeningPort] = ()
    _here: set[object] = field(factory=set)
    _is_full: bool = False
    _told: float | None = None

    def watch(self, ports: Sequence[IListeningPort]) -> None:
        """These are not read from while there is no room."""
        self._ports = ports
        for each in ports:
            self._narrow(each)

    def leave(self) -> None:
        """The ports are closed."""
        self._ports = ()

    # ``Any``: how many a port accepts at once, up to a hundred, is Twisted's own business.
    def _narrow(self, port: Any) -> None:
        """Let it accept no more at once than there is room for."""
        accept = getattr(port, "doRead", None)
        if accept is None:
            return

        def accept_few() -> object:
            port.numberAccepts = max(1, min(port.numberAccepts, self.most - len(self._here)))
            return accept()

        port.doRead = accept_few

    def came(self, who: object) -> None:
        """A connection was made."""
        self._here.add(who)
        if not self._is_full and len(self._here) >= self.most:
            self._is_full = True
            self._tell()
            self._each("stopReading")

    def gone(self, who: object) -> None:
        """It is over."""
        self._here.discard(who)
        if self._is_full and len(self._here) <= self.most - max(1, self.most // 8):
            self._is_full = False
            self._each("startReading")

    def _each(self, method: str) -> None:
        for port in self._ports:
            if getattr(port, "connected", False):
                getattr(port, method)()

    def _tell(self) -> None:
        now = self.clock.seconds()
        if self._told is None or now - self._told >= TELL_SECONDS:
            self._told = now
            log.warn(
                "{most} connections are all that this process has descriptors for: others wait; "
                "raise its limit (ulimit -n, LimitNOFILE)",
                most=self.most,
            )
