"""Real text that every machine with Python has: the sources and notes of its installation."""

import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from attrs import define, frozen

from hagoop.errors import HaGoopError

SUFFIXES = frozenset([".py", ".txt", ".rst"])
PACKAGES = frozenset(["site-packages", "dist-packages"])


class NoText(HaGoopError):
    """There is nothing to count."""

    code = "NO_TEXT"


@frozen
class Text:
    """What was found.

    :ivar files: how many different ones.
    :ivar times: how often all of them were taken, in part at least.
    """

    lines: int
    size: int
    files: int
    times: int


@define
class _Filling:
    """A file that is being filled."""

    _file: BinaryIO
    _most: int
    lines: int = 0
    files: int = 0

    def add(self, path: Path) -> None:
        """Its lines, as many as are wanted; what cannot be read is no text."""
        try:
            lines = path.read_bytes().splitlines(keepends=True)
        except OSError:
            return
        taken = lines[: self._most - self.lines]
        if taken and not taken[-1].endswith(b"\n"):
            taken[-1] += b"\n"
        self._file.writelines(taken)
        self.lines += len(taken)
        self.files += bool(taken)

    @property
    def is_full(self) -> bool:
        """Whether it has all the lines that were wanted."""
        return self.lines >= self._most


def write_text(target: Path, lines: int) -> Text:
    """Fill a file with so many lines; the same text again where the machine has fewer.

    :raises NoText: it has none at all.
    """
    with open(target, "wb") as file:
        filling = _Filling(file, lines)
        _fill(filling, found_texts())
        files, times = filling.files, 1
        if not filling.lines:
            raise NoText("this Python comes without any text to count; install its standard library")
        while not filling.is_full:
            _fill(filling, found_texts())
            times += 1
        return Text(filling.lines, file.tell(), files, times)


def _fill(filling: _Filling, paths: Iterable[Path]) -> None:
    for each in paths:
        if filling.is_full:
            return
        filling.add(each)


def found_texts() -> Iterator[Path]:
    """The texts of the standard library, then those of installed packages, each in a fixed order."""
    library = Path(sysconfig.get_path("stdlib"))
    yield from (each for each in _texts_below(library) if not PACKAGES & set(each.parts))
    yield from _texts_below(Path(sysconfig.get_path("purelib")))


def _texts_below(folder: Path) -> list[Path]:
    return sorted(each for each in folder.rglob("*") if each.suffix in SUFFIXES and each.is_file())
