"""Beats: what a worker says of its work in hand, how often, and what it learns from the answers."""

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from hagoop import commands, policy
from hagoop.jobs import Seen
from hagoop.links import Link
from hagoop.way import Way

log = Logger()
LEAST_CHANGE = 0.2
"""By what part the interval of Beats must change for a worker to follow."""


@define(eq=False)
class Beating:
    """Says Beats while there is a connection; with nothing in hand only now and then.

    :ivar seen: what there is to say.
    :ivar link: the connection, if there is one.
    :ivar way: learns how long a Beat and its answer take.
    """

    clock: IReactorTime
    seen: Callable[[], tuple[Seen, ...]]
    link: Callable[[], Link | None]
    way: Way
    _loop: LoopingCall = field(init=False)
    _quiet: float = 0.0

    def __attrs_post_init__(self) -> None:
        self._loop = LoopingCall(self._beat)
        self._loop.clock = self.clock

    def keep(self, seconds: float) -> None:
        """Say one each so many seconds from now on."""
        if self._loop.running and self._loop.interval == seconds:
            return
        self.stop()
        self._loop.start(seconds, now=False)

    def stop(self) -> None:
        """Say none any more."""
        if self._loop.running:
            self._loop.stop()

    def _beat(self) -> None:
        seen, link = self.seen(), self.link()
        self._quiet = 0.0 if seen else self._quiet + (self._loop.interval or 0.0)
        if link is not None and (seen or self._quiet >= policy.IDLE_BEAT_SECONDS):
            self._quiet = 0.0
            beating = Deferred.fromCoroutine(self._say(link, seen))
            beating.addErrback(lambda reason: log.debug("Beat: {reason}", reason=reason))

    async def _say(self, link: Link, seen: tuple[Seen, ...]) -> None:
        began = self.clock.seconds()
        answer = await link.call(commands.Beat, seen=seen, way=self.way.seconds)
        self.way.answered(self.clock.seconds() - began)
        if link is self.link():
            self._keep_pace(answer["beat_seconds"])

    def _keep_pace(self, seconds: float) -> None:
        """The fleet has grown or shrunk; not for each worker that comes or goes."""
        known = self._loop.interval
        if known and abs(seconds - known) > LEAST_CHANGE * known:
            self.keep(seconds)
