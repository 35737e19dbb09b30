"""The book of secrets on disk: one file, mode 0600, changed by the server and its owner's commands."""

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field, frozen

from hagoop import wire
from hagoop.disk import sync_folder, why
from hagoop.door.book import Book, Secret, digest_of
from hagoop.errors import BadMessage, StateError

ID_DIGITS = 6


@frozen
class _Stamp:
    """What tells one state of a file from another: it is replaced, never written over."""

    inode: int
    changed: int


@define(eq=False)
class BookFile:
    """The book in the folder ``door`` of a server's state."""

    folder: Path
    _stamp: _Stamp | None = None
    _book: Book = field(factory=lambda: Book(""))

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / "secrets.json"

    def read(self) -> Book:
        """The book as it is now; the file is read again only if it has changed.

        :raises StateError: it is damaged.
        """
        stamp = self._now()
        if stamp is not None and stamp != self._stamp:
            self._book, self._stamp = self._load(), stamp
        return self._book

    def _now(self) -> _Stamp | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return _Stamp(found.st_ino, found.st_mtime_ns)

    def _load(self) -> Book:
        try:
            return wire.decode(Book, self.path.read_bytes())
        except (OSError, BadMessage) as problem:
            raise StateError(
                f"'{self.path}' cannot be read ({why(problem)}); restore it, or remove it and invite all"
            ) from problem

    def change(self, change: Callable[[Book], Book]) -> Book:
        """Change the book while nobody else does; on disk when this returns.  Blocks."""
        with self._locked():
            before = self.read()
            if not before.key:
                before = Book(secrets.token_hex(32))
            after = change(before)
            if after != self._book:
                write_private(self.path, wire.encode(after))
            return self.read()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            raise StateError(f"'{self.folder}' cannot be written ({why(problem)})") from problem
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def invite(self, make: Callable[[str, str], Secret]) -> tuple[str, str]:
        """Write down a new secret: its id, and the secret itself, which is kept nowhere.

        :param make: is given a fresh id's digits and the digest.
        """
        word = secrets.token_urlsafe(32)
        made: list[Secret] = []

        def add(book: Book) -> Book:
            digits = next(each for each in _ids() if not _is_taken(book, each))
            made.append(make(digits, digest_of(word)))
            return book.with_secret(made[0])

        self.change(add)
        return made[0].id, word


def _ids() -> Iterator[str]:
    while True:
        yield secrets.token_hex(ID_DIGITS // 2)


def _is_taken(book: Book, digits: str) -> bool:
    return any(each.id[1:] == digits for each in book.secrets)


def write_private(path: Path, data: bytes) -> None:
    """Put a file of mode 0600 in its place, whole, and on disk.

    :raises StateError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(beside, path)
        for folder in (path.parent, path.parent.parent):
            sync_folder(folder)
    except OSError as problem:
        beside.unlink(missing_ok=True)
        raise StateError(f"'{path}' cannot be written ({why(problem)})") from problem
