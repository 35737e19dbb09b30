"""Where an answer goes: stdout, a file that is complete or absent, or a folder of parts."""

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from attrs import define, field

from hagoop.disk import sync_folder, why
from hagoop.errors import RequestError

PART = "part-00000"
SUCCESS = "_SUCCESS"


class AnswerExists(RequestError):
    """The answer's place is taken, or cannot be written."""

    code = "ANSWER_EXISTS"


class AnswerUnwritten(RequestError):
    """The answer's place was good when the request was submitted, and takes no more now."""

    code = "ANSWER_UNWRITTEN"


@contextmanager
def writing(name: object) -> Iterator[None]:
    """What the system says of a place becomes a sentence."""
    try:
        yield
    except OSError as problem:
        raise AnswerUnwritten(f"{name} cannot be written: {why(problem)}") from problem


def beside(target: Path) -> Path:
    """Where it is written until it is whole; its name may be as long as names can be."""
    short = os.fsdecode(os.fsencode(target.name)[:200])
    return target.with_name(f".{short}.{secrets.token_hex(4)}.partial")


@define(eq=False)
class AnswerFile:
    """An answer under way.

    :ivar name: as the user gave it; ``-`` is stdout, a trailing ``/`` makes it a folder.
    """

    name: str
    force: bool
    _file: BinaryIO | None = None
    _beside: Path | None = None
    _made_folder: bool = field(default=False)

    @property
    def is_stdout(self) -> bool:
        """Whether it goes to stdout."""
        return self.name == "-"

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of parts, as Hadoop makes them."""
        return self.name.endswith("/")

    @property
    def is_stream(self) -> bool:
        """Whether it is there and neither file nor folder: a device or a pipe is written to as it is."""
        place = Path(self.name)
        return not self.is_stdout and place.exists() and not place.is_file() and not place.is_dir()

    @property
    def target(self) -> Path:
        """The file, or the part."""
        return Path(self.name) / PART if self.is_folder else Path(self.name)

    def check(self) -> None:
        """Refuse now what could not be written later.

        :raises AnswerExists: it is there already, or its folder is not.
        """
        with writing(self._shown):
            self._check()

    @property
    def _shown(self) -> str:
        return "stdout" if self.is_stdout else f"'{self.name}'"

    def _check(self) -> None:
        if self.is_stdout or self.is_stream:
            return
        place = Path(self.name)
        if place.exists() and not self.force:
            raise AnswerExists(f"'{self.name}' exists; choose another --output, or add --force")
        if place.is_dir() and not self.is_folder:
            raise AnswerExists(f"'{self.name}' is a folder; write '{self.name}/' for a folder of parts")
        if place.exists() and not place.is_dir() and self.is_folder:
            raise AnswerExists(f"'{place}' is a file; write '{place}' without the '/' to replace it")
        folder = place.absolute().parent
        if not folder.is_dir():
            raise AnswerExists(f"'{self.name}' cannot be written: '{folder}' is not a folder")
        if not os.access(folder, os.W_OK):
            raise AnswerExists(f"'{self.name}' cannot be written: '{folder}' is not yours to write in")

    def write(self, data: bytes) -> None:
        """More of the answer.

        :raises AnswerUnwritten: there is no room for it.
        """
        with writing(self._shown):
            if self._file is None:
                self._open()
            assert self._file is not None
            self._file.write(data)

    def _open(self) -> None:
        if self.is_stdout:
            self._file = sys.stdout.buffer
            return
        if self.is_stream:
            self._file = open(self.name, "wb")
            return
        if self.is_folder and not Path(self.name).is_dir():
            Path(self.name).mkdir()
            self._made_folder = True
        self._beside = beside(self.target)
        self._file = open(self._beside, "xb")

    def finish(self) -> None:
        """It is whole: put it in its place.

        :raises AnswerUnwritten: there is no room for it.
        """
        with writing(self._shown):
            self._finish()

    def _finish(self) -> None:
        if self._file is None:
            self._open()
        assert self._file is not None
        self._file.flush()
        if self._beside is None:
            self._close_stream()
            return
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._beside, self.target)
        self._beside = None
        self._sync_names()
        if self.is_folder:
            (Path(self.name) / SUCCESS).write_bytes(b"")
            self._sync_names()

    def _sync_names(self) -> None:
        """What is named after this must not outlive a power cut that this does not."""
        # Some file systems of other machines cannot.
        with contextlib.suppress(OSError):
            sync_folder(self.target.parent)

    def abandon(self) -> None:
        """There will be none: leave nothing behind."""
        if self._beside is not None and self._file is not None:
            # What is still to be written may find no room either.
            with suppress(OSError):
                self._file.close()
            self._beside.unlink(missing_ok=True)
        else:
            self._close_stream()
        if self._made_folder:
            try:
                Path(self.name).rmdir()
            except OSError:
                # Somebody has put something into it.
                return

    def _close_stream(self) -> None:
        if self._file is not None and not self.is_stdout:
            self._file.close()
