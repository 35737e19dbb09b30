"""A server's door in its state folder: key, book, and the place that its lines name."""

import os
import secrets
import socket
import sys
from pathlib import Path

from attrs import define, frozen
from twisted.logger import Logger

from hagoop.disk import why
from hagoop.door.book import RUNNING, Book, Role, Secret, digest_of
from hagoop.door.book_file import BookFile, write_private
from hagoop.door.certificate import Identity, keep_identity
from hagoop.door.join_string import NO_SECRET, JoinString, parse_join_string
from hagoop.errors import StateError

log = Logger()
WORKER_SECONDS = 7 * 86400.0
"""How long a worker's invitation is good: those who have joined by it have secrets of their own."""
PROGRAMS = {Role.WORKER: "hagoop-worker", Role.CLIENT: "hagoop-request"}


@define(eq=False)
class Doorway:
    """The folder ``door``."""

    folder: Path
    identity: Identity
    file: BookFile

    @property
    def _place(self) -> Path:
        return self.folder / "place"

    def move(self, host: str, port: int) -> None:
        """The server is reached there from now on."""
        line = JoinString(host, port, self.identity.pin, "none", NO_SECRET)
        write_private(self._place, f"{line}\n".encode())

    def line(self, id_: str, secret: str) -> JoinString:
        """The line for a secret.

        :raises StateError: no server has been here yet.
        """
        try:
            there = parse_join_string(self._place.read_text())
        except (OSError, ValueError) as problem:
            raise StateError(
                f"'{self.folder}' does not say where its server is ({why(problem)}); start it once, "
                "with a --listen beyond this machine"
            ) from problem
        return JoinString(there.host, there.port, self.identity.pin, id_, secret)


def has_doorway(state: Path) -> bool:
    """Whether a server with a door has had this state folder."""
    return (state / "door" / "server.pem").exists()


def open_doorway(state: Path) -> Doorway:
    """The door of a state folder; made if there is none.  Blocks.

    :raises StateError: it cannot be read or made.
    """
    folder = state / "door"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as problem:
        raise StateError(f"'{folder}' cannot be made ({why(problem)})") from problem
    return Doorway(folder, keep_identity(folder), BookFile(folder))


@frozen
class Worth:
    """What an invitation is worth.

    :param seconds: how long it is good; None: for ever.  For the others see ``Secret``.
    """

    seconds: float | None = None
    uses: int | None = None
    running: int = RUNNING
    spool_bytes: int | None = None

    def secret(self, id_: str, role: Role, digest: str, now: float) -> Secret:
        """As it is written down."""
        expires = None if self.seconds is None else now + self.seconds
        return Secret(
            id_,
            role,
            digest,
            now,
            expires,
            self.uses,
            running=self.running,
            spool_bytes=self.spool_bytes,
        )


def invite(doorway: Doorway, role: Role, now: float, worth: Worth) -> JoinString:
    """Write a new secret into the book; its line."""
    id_, word = doorway.file.invite(
        lambda digits, digest: worth.secret(f"{role[0]}{digits}", role, digest, now)
    )
    return doorway.line(id_, word)


def renew(doorway: Doorway, role: Role, now: float, id_: str, worth: Worth) -> JoinString:
    """Give an id a new secret: what belongs to it stays, and the line that it had opens nothing more.

    :raises StateError: there is no such id of this role, or it was revoked.
    """
    word = secrets.token_urlsafe(32)

    def again(book: Book) -> Book:
        known = book.find(id_)
        if known is None or known.role is not role or known.revoked:
            raise StateError(f"there is no good secret '{id_}' for a {role}: hagoop-server secrets")
        return book.with_secret(worth.secret(id_, role, digest_of(word), now))

    doorway.file.change(again)
    return doorway.line(id_, word)


def say(line: JoinString, role: Role) -> str:
    """What to paste for it."""
    return f"{PROGRAMS[role]} --server '{line}'" if role is Role.WORKER else f"HAGOOP_SERVER='{line}'"


def introduce(doorway: Doorway, now: float) -> None:
    """At the first start: make two secrets and print their lines, if somebody sits there to read."""
    if doorway.file.read().secrets:
        return
    if not is_terminal():
        log.warn("nobody can join yet: make lines with hagoop-server invite worker (and client)")
        return
    worker = invite(doorway, Role.WORKER, now, Worth(WORKER_SECONDS))
    client = invite(doorway, Role.CLIENT, now, Worth())
    text = (
        "To join from another machine, paste there (the first line is good for 7 days):\n\n"
        f"  {say(worker, Role.WORKER)}\n\n"
        "and to submit requests:\n\n"
        f"  export {say(client, Role.CLIENT)}\n\n"
        "More lines: hagoop-server invite worker|client\n"
    )
    # Past the log, which may be kept.
    print(text, file=sys.__stdout__, flush=True)
    log.info("made the secrets {worker} and {client}", worker=worker.id, client=client.id)


def is_terminal() -> bool:
    """Whether stdout is one."""
    return sys.__stdout__ is not None and os.isatty(sys.__stdout__.fileno())


def own_host() -> str:
    """An address by which others may reach this machine, or else its name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Sends nothing; the system chooses the interface.
            probe.connect(("192.0.2.1", 9))
            found: str = probe.getsockname()[0]
        except OSError:
            found = ""
    return found if found and not found.startswith("127.") else socket.gethostname()
