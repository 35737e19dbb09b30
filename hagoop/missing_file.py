"""``ANSWER.missing``: what an answer does not cover of its input, beside it."""

from collections.abc import Sequence
from typing import ClassVar

from attrs import frozen

from hagoop.jobs import Cover, Missing
from hagoop.side_file import SideFile, row_of


def row(missing: Missing) -> str:
    """``FILE LINE LINES OFFSET BYTES``, or ``keys LOW HIGH``; tabs between, and controls escaped."""
    piece, keys = missing.piece, missing.keys
    if piece is not None:
        lines = piece.end - piece.start
        return row_of((piece.name, piece.file_line + 1, lines, piece.offset, piece.length))
    bounds = (keys.low, keys.high or "") if keys is not None else ()
    return row_of(("keys", *map(_text, bounds)))


def _text(key: str) -> str:
    return key.encode("latin-1").decode("utf-8", "surrogateescape")


def share(part: int, whole: int) -> str:
    """``99.5 %``, never more than it is."""
    tenths = 1000 * part // whole if whole else 0
    return f"{tenths // 10}.{tenths % 10} %"


def how_much(cover: Cover) -> str:
    """``199 of 200 lines (99.5 %) and 1990 of 2000 bytes of the input are covered``"""
    said = "all lines of the input are covered"
    if cover.all_lines:
        lines = f"{cover.lines} of {cover.all_lines} lines ({share(cover.lines, cover.all_lines)})"
        said = f"{lines} and {cover.bytes} of {cover.all_bytes} bytes of the input are covered"
    return f"{said}, but not all that came of them" if cover.later else said


def in_short(cover: Cover) -> str:
    """``99.5 % of the lines``"""
    if not cover.all_lines:
        return "in part"
    return f"{share(cover.lines, cover.all_lines)} of the lines{', in part' if cover.later else ''}"


@frozen
class MissingFile(SideFile):
    """Where the list of what is missing goes; its first line says how much is there."""

    suffix: ClassVar[str] = ".missing"

    def keep(self, cover: Cover | None, missing: Sequence[Missing]) -> None:
        """Put the list in its place, or take an older one away."""
        self.put(_rows(cover, missing))

    def tell(self, cover: Cover | None, missing: Sequence[Missing], *, as_json: bool) -> None:
        """Say what belongs on stderr."""
        self.say(_rows(cover, missing)[1:], missing, as_json=as_json)

    def sentence(self, cover: Cover) -> str:
        """What is said of an answer that does not cover all."""
        listed = f"; what is missing is listed in {self.target}" if self.target is not None else ""
        return f"{how_much(cover)}{listed}"


def _rows(cover: Cover | None, missing: Sequence[Missing]) -> list[str]:
    return [f"# {how_much(cover)}", *map(row, missing)] if cover is not None else []
