"""Grants: what opens one thing at the web endpoint, for one direction, within a bound."""

from collections.abc import Callable

from attrs import define, field, frozen

from hagoop.interfaces import Arrived, Arriving
from hagoop.jobs import Assignment, RequestId


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


@define
class Grants:
    """All grants that are good now.

    :ivar draw: draws a word that cannot be guessed.
    """

    draw: Callable[[], str]
    _grants: dict[str, Grant] = field(factory=dict)

    def give(self, grant: Grant) -> str:
        """Make a grant good; the word that opens it."""
        word = self.draw()
        self._grants[word] = grant
        return word

    def find(self, word: str) -> Grant | None:
        """What a word opens, if anything."""
        return self._grants.get(word)

    def end(self, word: str) -> None:
        """It is good no more."""
        self._grants.pop(word, None)
