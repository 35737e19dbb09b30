"""The numbers from 1 on as lines: inputs for programs that need none, computed where they are read."""

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from attrs import frozen
from zope.interface import implementer

from hagoop.errors import BadMessage
from hagoop.interfaces import IInputs
from hagoop.jobs import Piece

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

NAME = "--lines"
"""What stands for a file's name."""
MOST_LINES = 10**15
LINES_AT_ONCE = 4096


@implementer(IInputs)
@frozen(eq=False)
class NumberInputs:
    """What ``seq LINES`` prints; nothing of it is stored."""

    lines: int
    whole = True

    @classmethod
    def parse(cls, text: str) -> "NumberInputs":
        """As it was submitted.

        :raises BadMessage: it is no number of lines.
        """
        if not re.fullmatch("[0-9]{1,16}", text) or int(text) > MOST_LINES:
            raise BadMessage(f"{text[:40]!r} is no number of lines")
        return cls(int(text))

    @property
    def estimate(self) -> int:
        return self.lines

    @property
    def size(self) -> int:
        return offset_of(self.lines)

    @property
    def breaks(self) -> Sequence[int]:
        return (0,) if self.lines else ()

    def pieces(self, start: int, end: int) -> list[Piece]:
        if not 0 <= start <= end <= self.lines:
            raise ValueError(f"lines {start} to {end} are not among the {self.lines} that there are")
        offset = offset_of(start)
        return [Piece(NAME, start, end, start, offset, offset_of(end) - offset)] if start < end else []

    def open(self, piece: Piece) -> BinaryIO:
        return io.BufferedReader(_Numbers(piece.start + 1, piece.end))

    def found(self, piece: Piece) -> None:
        """They are in no file."""

    def close(self) -> None:
        """Nothing was made."""


def offset_of(line: int) -> int:
    """The byte at which a line would begin in a file of all numbers; lines count from 0."""
    digits = len(str(line))
    # All of so many numbers have one digit, all but nine of them another, and so on; and a newline.
    return sum(line + 1 - int(10**each) for each in range(digits)) + line


class _Numbers(io.RawIOBase):
    """The numbers ``first`` to ``last`` as lines, made as they are read."""

    def __init__(self, first: int, last: int) -> None:
        self._next, self._last = first, last
        self._made = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        if not self._made:
            self._make()
        with memoryview(buffer).cast("B") as room:
            count = min(len(room), len(self._made))
            room[:count] = self._made[:count]
        self._made = self._made[count:]
        return count

    def _make(self) -> None:
        end = min(self._next + LINES_AT_ONCE, self._last + 1)
        self._made = b"".join(b"%d\n" % number for number in range(self._next, end))
        self._next = end
