"""Grants: what opens one thing at the web endpoint, for one direction, within a bound."""

from collections.abc import Callable

from attrs import define, evolve, field, frozen

from hagoop.interfaces import Arrived, Arriving
from hagoop.jobs import Assignment, RequestId

GRANT_SECONDS = 3600.0
"""How long a word opens anything; while a worker works on an assignment its word is renewed."""


@frozen
class UploadGrant:
    """A client may send one thing, once.

    :param arrived: takes it.
    """

    name: str
    limit: int
    receive: Callable[[int], Arriving]
    arrived: Callable[[Arrived], None]


@frozen
class AssignmentGrant:
    """A worker may read an assignment's bytes and programs, and send what its jobs print.

    :param arrived: takes what a job printed and names it.
    """

    assignment: Assignment
    receive: Callable[[int], Arriving]
    arrived: Callable[[Arrived], str]


@frozen
class AnswerGrant:
    """A client may read an answer."""

    request: RequestId


Grant = UploadGrant | AssignmentGrant | AnswerGrant


@frozen
class Given:
    """A grant that is good.

    :param secret: the id by which its holder joined; None where none is asked for.
    :param expires: when nothing more can be begun with it; what is under way then goes on.
    """

    grant: Grant
    secret: str | None
    expires: float


@define
class Grants:
    """All grants that are good now.

    :ivar draw: draws a word that cannot be guessed.
    :ivar seconds: a clock.
    """

    draw: Callable[[], str]
    seconds: Callable[[], float]
    _given: dict[str, Given] = field(factory=dict)

    def give(self, grant: Grant, secret: str | None = None) -> str:
        """Make a grant good for a while; the word that opens it."""
        self._end_expired()
        word = self.draw()
        self._given[word] = Given(grant, secret, self.seconds() + GRANT_SECONDS)
        return word

    def _end_expired(self) -> None:
        """The first was given, or renewed, before all others."""
        while self._given:
            word, first = next(iter(self._given.items()))
            if first.expires > self.seconds():
                return
            del self._given[word]

    def renew(self, word: str) -> None:
        """It is good for a while longer."""
        given = self._given.pop(word, None)
        if given is not None:
            self._given[word] = evolve(given, expires=self.seconds() + GRANT_SECONDS)

    def find(self, word: str) -> Grant | None:
        """What a word opens, if anything."""
        given = self.given(word)
        return None if given is None else given.grant

    def given(self, word: str) -> Given | None:
        """The same with whose it is."""
        given = self._given.get(word)
        return given if given is not None and given.expires > self.seconds() else None

    def end(self, word: str) -> None:
        """It is good no more."""
        self._given.pop(word, None)
