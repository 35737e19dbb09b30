"""Keys of submissions: the same key of the same client twice is one request."""

from collections.abc import Awaitable, Callable

from attrs import define, field
from twisted.internet.defer import Deferred

from hagoop.jobs import RequestId

Named = tuple[str, str]
"""A client's owner, and a key of its own."""


@define(eq=False)
class SubmitKeys:
    """Which requests keys stand for, and which are still being submitted."""

    _known: dict[Named, RequestId] = field(factory=dict)
    _waiting: dict[Named, list["Deferred[RequestId]"]] = field(factory=dict)

    async def once(self, named: Named, submit: Callable[[], Awaitable[RequestId]]) -> RequestId:
        """The request of a key; without one ``submit`` makes it, or fails for all who wait for it."""
        if named in self._known:
            return self._known[named]
        if named in self._waiting:
            waiting: Deferred[RequestId] = Deferred()
            self._waiting[named].append(waiting)
            return await waiting
        self._waiting[named] = []
        try:
            request = await submit()
        except Exception as error:
            # Whatever it was: who sends the key again must not wait for ever.
            for each in self._waiting.pop(named):
                each.errback(error)
            raise
        for each in self._waiting.pop(named):
            each.callback(request)
        return request

    def keep(self, named: Named, request: RequestId) -> None:
        """The key stands for this request."""
        self._known[named] = request

    def forget(self, request: RequestId) -> None:
        """No key stands for it any more."""
        self._known = {named: known for named, known in self._known.items() if known != request}

    def knows(self, named: Named) -> bool:
        """Whether a request was, or is being, submitted under a key."""
        return named in self._known or named in self._waiting

    def under_way(self, owner: str | None) -> int:
        """How many requests of an owner are being submitted; None: of all."""
        return sum(owner in (None, each) for each, _ in self._waiting)
