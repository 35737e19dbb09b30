"""What a worker was given at its first Join, in its state folder: the line is needed no more."""

from pathlib import Path

from attrs import define, evolve
from twisted.logger import Logger

from hagoop.door.book_file import write_private
from hagoop.door.join_string import JoinString, parse_join_string
from hagoop.errors import StateError

log = Logger()


@define(eq=False)
class KeptLine:
    """A line whose secret is the worker's own, in the file ``door`` of its state folder."""

    folder: Path
    _spurned: bool = False

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / "door"

    def read(self) -> JoinString | None:
        """What is kept; None if there is nothing sound."""
        try:
            return parse_join_string(self.path.read_text())
        except (OSError, ValueError):
            return None

    def best(self, line: JoinString | None) -> JoinString | None:
        """What to join with: what is kept, if it is of the same server and invitation as ``line``."""
        kept = None if self._spurned or line is None else self.read()
        if line is None or kept is None or (kept.pin, kept.id) != (line.pin, line.id):
            return line
        return evolve(line, secret=kept.secret)

    def keep(self, line: JoinString | None, token: str) -> None:
        """Keep what the server gave.  What cannot be written is told in the log."""
        if line is None or not token:
            return
        given = evolve(line, secret=token)
        self._spurned = False
        if given == self.read():
            return
        try:
            write_private(self.path, f"{given}\n".encode())
        except StateError as problem:
            log.error("{problem}; the line will be needed again", problem=problem)

    def refused(self) -> None:
        """What is kept does not open the door; the line that was given may."""
        self._spurned = True
