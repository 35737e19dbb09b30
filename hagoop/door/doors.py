"""Whether a peer may join: by its secret beyond this machine, by being here on it."""

from collections.abc import Callable
from typing import Protocol

from attrs import define, frozen
from twisted.logger import Logger

from hagoop.door.book import Book, Claim, Refused, Secret
from hagoop.door.book_file import BookFile
from hagoop.errors import StateError

log = Logger()


@frozen
class Admission:
    """Who has come in.

    :ivar secret: the id by which it did; None where none is asked for.
    :ivar identity: a worker's own, as far as it has proved it.
    """

    secret: Secret | None
    identity: str

    @property
    def owner(self) -> str | None:
        """Whose its requests are; None: there is one owner of all."""
        return None if self.secret is None else self.secret.id


class Door(Protocol):
    """What sessions ask.

    :ivar warning: whether anybody who reaches the server may come in.
    """

    warning: bool

    def admit(self, claim: Claim) -> Admission:
        """Let a peer in; raises ``Refused``."""

    def token(self, admission: Admission, identity: str) -> str:
        """What a worker comes back with; empty where none is asked for."""

    def secret(self, id_: str) -> Secret | None:
        """The secret of an id as it is now."""


@define(eq=False)
class OpenDoor:
    """Everybody is let in as whoever he says."""

    warning: bool = False

    def admit(self, claim: Claim) -> Admission:
        """Whoever it is."""
        return Admission(None, claim.identity)

    def token(self, admission: Admission, identity: str) -> str:
        """None is needed."""
        return ""

    def secret(self, id_: str) -> Secret | None:
        """There are none."""
        return None


@define(eq=False)
class LockedDoor:
    """Who has a secret of the book is let in.

    :ivar wall: seconds since 1970.
    """

    file: BookFile
    wall: Callable[[], float]
    warning: bool = False

    @property
    def book(self) -> Book:
        """As it is on disk now.  A damaged one lets nobody in."""
        try:
            return self.file.read()
        except StateError as problem:
            log.error("{problem}", problem=problem)
            return Book("00")

    def admit(self, claim: Claim) -> Admission:
        """Whose secret is good, at the time and in the role."""
        secret, enrolled = self.book.judge(claim, self.wall())
        if enrolled:
            return Admission(secret, claim.identity)
        if secret.uses is not None:
            self._use(claim)
        # An identity that another might have told it proves nothing.
        return Admission(secret, "")

    def _use(self, claim: Claim) -> None:
        """Write the use down, unless somebody else had the last one in the meantime."""

        def use(book: Book) -> Book:
            secret, _ = book.judge(claim, self.wall())
            return book.used(secret, claim)

        try:
            self.file.change(use)
        except StateError as problem:
            log.error("{problem}", problem=problem)
            raise Refused(
                "the server cannot write down that this secret is used; try again"
            ) from problem

    def token(self, admission: Admission, identity: str) -> str:
        """A secret of its own for a worker."""
        return self.book.token(admission.secret.id, identity) if admission.secret is not None else ""

    def secret(self, id_: str) -> Secret | None:
        """By its id."""
        return self.book.find(id_)
