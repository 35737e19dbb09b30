"""``ANSWER.bad``: the lines of the input that a request passed over, beside its answer."""

from collections.abc import Sequence
from typing import ClassVar

from attrs import frozen

from hagoop.jobs import BadLine
from hagoop.side_file import SideFile, row_of


def row(line: BadLine) -> str:
    """``FILE LINE OFFSET HOW LAST-WORDS``, with tabs between and controls escaped."""
    return row_of((line.file, line.line, line.offset, line.how, line.last_words))


@frozen
class BadFile(SideFile):
    """Where the list of bad lines goes."""

    suffix: ClassVar[str] = ".bad"

    def keep(self, lines: Sequence[BadLine]) -> None:
        """Put the list in its place, or take an older one away."""
        self.put([row(each) for each in lines])

    def tell(self, lines: Sequence[BadLine], *, as_json: bool) -> None:
        """Say what belongs on stderr."""
        self.say([row(each) for each in lines], lines, as_json=as_json)


def how_many(count: int) -> str:
    """``1 bad line was passed over``"""
    return f"{count} bad line{' was' if count == 1 else 's were'} passed over"
