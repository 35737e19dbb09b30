"""The book of secrets: who may join in which role, until when, how often; only hashes are in it.

A worker that joins by an invitation is given a *token*: a secret of its own, made of the book's key,
the invitation's id and the worker's identity.  It needs no row, works when the invitation has expired
or is used up, and ends when the invitation is revoked.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from enum import StrEnum

from attrs import evolve, field, frozen

RUNNING = 100
"""How many requests of one client may run at a time, unless its invitation says otherwise."""


class Role(StrEnum):
    """What a secret is for."""

    WORKER = "worker"
    CLIENT = "client"


class Refused(Exception):
    """A claim that the book does not bear out; one sentence for who made it."""


@frozen
class Secret:
    """What an invitation is worth.

    :param digest: SHA-256 of the secret, in hex.
    :param created: seconds since 1970; ``expires`` too; None: never.
    :param uses: how many workers may join by it; None: any number.
    :param used_by: those that have, hashed, where uses are counted.
    :param running: of a client: how many of its requests may run at a time.
    :param spool_bytes: of a client: the most that may be kept for it; None: what the server holds.
    """

    id: str
    role: Role
    digest: str
    created: float
    expires: float | None = None
    uses: int | None = None
    used_by: tuple[str, ...] = ()
    running: int = RUNNING
    spool_bytes: int | None = None
    revoked: bool = False

    @property
    def uses_left(self) -> int | None:
        """How many may still join by it; None: any number."""
        return None if self.uses is None else max(0, self.uses - len(self.used_by))

    def is_over(self, now: float) -> bool:
        """Whether nobody new can join by it."""
        expired = self.expires is not None and now >= self.expires
        return self.revoked or expired or self.uses_left == 0


@frozen
class Claim:
    """What a peer says of itself at ``Join``.

    :param process: drawn anew by each process of a worker.
    """

    role: str
    id: str = ""
    secret: str = field(default="", repr=False)
    identity: str = ""
    process: str = ""


_NOBODY = Secret("", Role.WORKER, "0" * 64, 0.0, revoked=True)


@frozen
class Book:
    """All secrets, and the key of the tokens.

    :param key: random, in hex.
    """

    key: str = field(repr=False)
    secrets: tuple[Secret, ...] = ()

    def find(self, id_: str) -> Secret | None:
        """The secret of this id."""
        return next((each for each in self.secrets if each.id == id_), None)

    def with_secret(self, secret: Secret) -> "Book":
        """The book with a secret, in place of the one that had its id."""
        others = tuple(each for each in self.secrets if each.id != secret.id)
        return evolve(self, secrets=(*others, secret))

    def revoke(self, id_: str) -> "Book":
        """The book without a secret's power.

        :raises KeyError: it has no such secret.
        """
        found = self.find(id_)
        if found is None:
            raise KeyError(id_)
        return self.with_secret(evolve(found, revoked=True))

    def token(self, id_: str, identity: str) -> str:
        """The secret of one worker that has joined."""
        made = hmac.digest(bytes.fromhex(self.key), f"{id_} {identity}".encode(), "sha256")
        return urlsafe_b64encode(made).rstrip(b"=").decode()

    def judge(self, claim: Claim, now: float) -> tuple[Secret, bool]:
        """The secret that bears a claim out, and whether it is by the worker's own token.

        Wrong ids and wrong secrets are told alike and take alike; why a right one does not open the
        door is told, for only who has it can learn it.

        :raises Refused: the door stays shut.
        """
        known = self.find(claim.id)
        secret = known or _NOBODY
        invited = hmac.compare_digest(digest_of(claim.secret), secret.digest)
        token = self.token(claim.id, claim.identity)
        enrolled = hmac.compare_digest(claim.secret.encode(), token.encode())
        enrolled = enrolled and secret.role is Role.WORKER and bool(claim.identity)
        if known is None or not (invited or enrolled):
            raise Refused("the server does not know this secret; ask for a line: hagoop-server invite")
        self._check(secret, claim, now, enrolled)
        return secret, enrolled

    def _check(self, secret: Secret, claim: Claim, now: float, enrolled: bool) -> None:
        another = f"another line: hagoop-server invite {secret.role}"
        if secret.revoked:
            raise Refused(f"the secret {secret.id} was revoked; it takes {another}")
        if claim.role != secret.role:
            raise Refused(
                f"the secret {secret.id} is for a {secret.role}, not for a {claim.role}; it takes "
                f"another line: hagoop-server invite {claim.role}"
            )
        if enrolled:
            return
        if secret.expires is not None and now >= secret.expires:
            raise Refused(f"the secret {secret.id} has expired; it takes {another}")
        if secret.uses_left == 0 and _user(claim) not in secret.used_by:
            raise Refused(f"the secret {secret.id} was used as often as it may be; it takes {another}")

    def used(self, secret: Secret, claim: Claim) -> "Book":
        """The book after a worker has joined by an invitation; a process that comes back counts once."""
        user = _user(claim)
        if secret.uses is None or user in secret.used_by:
            return self
        return self.with_secret(evolve(secret, used_by=(*secret.used_by, user)))


def digest_of(secret: str) -> str:
    """How the book keeps a secret: it is random and long, so that no salt is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _user(claim: Claim) -> str:
    return hashlib.sha256(claim.process.encode()).hexdigest()[:32]
