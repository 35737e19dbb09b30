"""``hagoop-server invite``, ``secrets`` and ``revoke``: about the secrets of a server's state folder."""

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar

from twisted.python.usage import Options, UsageError

from hagoop.door.book import RUNNING, Book, Role, Secret
from hagoop.door.doorway import (
    PROGRAMS,
    WORKER_SECONDS,
    Doorway,
    Worth,
    has_doorway,
    invite,
    open_doorway,
    renew,
)
from hagoop.errors import StateError
from hagoop.options import parse_age, parse_count, parse_size, state_folder, told

COMMANDS = ("invite", "secrets", "revoke")
DONE, FAILED, USAGE = 0, 1, 2
MOST = 1_000_000
NEVER = "never"


class _StateOptions(Options):
    """What all of them take."""

    optParameters: ClassVar[list[list[object]]] = [
        ["state", None, None, "The server's state folder [default: as hagoop-server has it]"],
    ]
    words: tuple[str, ...] = ()

    def parseArgs(self, *words: str) -> None:
        self.words = words

    def doorway(self) -> Doorway:
        """The door of the folder.

        :raises UsageError: no server with a door has had it.
        """
        state, _ = state_folder(self["state"], "server", os.environ)
        if not has_doorway(state):
            raise UsageError(
                f"'{state}' is of no server that listens beyond its machine: start one, or name its "
                "folder with --state"
            )
        return open_doorway(state)


class InviteOptions(_StateOptions):
    """``invite``."""

    synopsis = "Usage: hagoop-server invite worker|client [options]"
    optParameters: ClassVar[list[list[object]]] = [
        ["uses", None, None, "How many workers may join by it [default: any number]"],
        [
            "ttl",
            None,
            None,
            "How long it is good: 90s, 12h, 7d, never [worker 7d, client never]",
        ],
        ["again", None, None, "ID of a secret: a new line for it, in place of the one that it had"],
        ["running", None, None, f"Of a client: requests that may run at a time [default: {RUNNING}]"],
        ["spool", None, None, "Of a client: most bytes to keep for it [default: half of the server's]"],
    ]

    def postOptions(self) -> None:
        if len(self.words) != 1 or self.words[0] not in list(Role):
            raise UsageError("invite whom? write: hagoop-server invite worker, or client")
        only = {Role.WORKER: ("uses",), Role.CLIENT: ("running", "spool")}
        for role, names in only.items():
            for name in names:
                if self[name] is not None and role is not self.role:
                    raise UsageError(
                        f"--{name} is for a {role}; a {self.role}'s line is bounded by --ttl"
                    )

    @property
    def role(self) -> Role:
        """Whom to invite."""
        return Role(self.words[0])

    @property
    def seconds(self) -> float | None:
        """How long; None: for ever."""
        if self["ttl"] is None:
            return WORKER_SECONDS if self.role is Role.WORKER else None
        return None if self["ttl"] == NEVER else told("--ttl", parse_age, self["ttl"])

    def count(self, name: str) -> int | None:
        """A whole number from 1 on, if it was given."""
        text = self[name]
        return None if text is None else told(f"--{name}", lambda it: parse_count(it, 1, MOST), text)


class SecretsOptions(_StateOptions):
    """``secrets``."""

    synopsis = "Usage: hagoop-server secrets [options]"

    def postOptions(self) -> None:
        if self.words:
            raise UsageError(f"{self.words[0]!r} is one word too many")


class RevokeOptions(_StateOptions):
    """``revoke``."""

    synopsis = "Usage: hagoop-server revoke ID... [options]"

    def postOptions(self) -> None:
        if not self.words:
            raise UsageError("revoke what? write an ID of: hagoop-server secrets")


class _AllOptions(Options):
    subCommands: ClassVar[list[tuple[str, None, type[Options], str]]] = [
        ("invite", None, InviteOptions, "Print a line by which a worker or a client joins"),
        (
            "secrets",
            None,
            SecretsOptions,
            "List the secrets: not what they are but what they are worth",
        ),
        ("revoke", None, RevokeOptions, "End secrets, and whatever came by them"),
    ]


def main(words: Sequence[str]) -> int:
    """Do it; the exit status."""
    options = _AllOptions()
    try:
        # Twisted reads no option behind a word.
        options.parseOptions(_options_first(words))
        return _act(options.subOptions)
    except UsageError as error:
        print(error, file=sys.stderr)
        return USAGE
    except StateError as error:
        print(error, file=sys.stderr)
        return FAILED


def _options_first(words: Sequence[str]) -> list[str]:
    command, *rest = words
    named: list[str] = []
    others: list[str] = []
    following = iter(rest)
    for word in following:
        if not word.startswith("--"):
            others.append(word)
            continue
        named.append(word)
        if "=" not in word and word not in ("--help", "--version"):
            named += [each for each in [next(following, None)] if each is not None]
    return [command, *named, *others]


def _act(options: Options) -> int:
    if isinstance(options, InviteOptions):
        return _invite(options)
    if isinstance(options, RevokeOptions):
        return _revoke(options)
    assert isinstance(options, SecretsOptions)
    return _list(options.doorway().file.read())


def _invite(options: InviteOptions) -> int:
    doorway, now = options.doorway(), _now()
    spool = None if options["spool"] is None else told("--spool", parse_size, options["spool"])
    running = options.count("running") or RUNNING
    worth = Worth(options.seconds, options.count("uses"), running, spool)
    if options["again"] is not None:
        line = renew(doorway, options.role, now, options["again"], worth)
    else:
        line = invite(doorway, options.role, now, worth)
    print(f"{PROGRAMS[options.role]} --server '{line}'")
    return DONE


def _revoke(options: RevokeOptions) -> int:
    def revoke(book: Book) -> Book:
        for id_ in options.words:
            try:
                book = book.revoke(id_)
            except KeyError:
                raise UsageError(
                    f"there is no secret {id_!r}: hagoop-server secrets lists all"
                ) from None
        return book

    options.doorway().file.change(revoke)
    return DONE


def _list(book: Book) -> int:
    now = _now()
    rows: list[tuple[str, ...]] = [("ID", "for", "made", "expires", "uses left", "state")]
    rows += (_row(each, now) for each in book.secrets)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    return DONE


def _row(secret: Secret, now: float) -> tuple[str, ...]:
    left = "any" if secret.uses_left is None else str(secret.uses_left)
    expires = NEVER if secret.expires is None else _date(secret.expires)
    state = "revoked" if secret.revoked else "over" if secret.is_over(now) else "good"
    return secret.id, str(secret.role), _date(secret.created), expires, left, state


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def _now() -> float:
    return datetime.now(UTC).timestamp()
