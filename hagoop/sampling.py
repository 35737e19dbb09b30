"""The first lines of INPUTs, for a check."""

from collections.abc import Sequence
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from hagoop.disk import why
from hagoop.errors import NoSuchInput
from hagoop.found import walk
from hagoop.jobs import Found
from hagoop.number_inputs import NAME
from hagoop.purity import Part
from hagoop.source_files import SourceFile
from hagoop.unpacking import check_packing, packing_of, unpacked

STDIN = "-"
MOST_BYTES = 1 << 20
"""What a check may look at."""


def sample(inputs: Sequence[str], stdin: BinaryIO, most: tuple[int, int, int]) -> list[Part]:
    """The first lines of INPUTs; none for empty ones.  Blocks.

    :param most: how many lines, bytes and files.
    :raises NoSuchInput: one is missing or cannot be read.
    """
    parts: list[Part] = []
    lines, size, files = most
    for name in inputs:
        left = lines - sum(len(each.lines) for each in parts)
        room = size - sum(len(each.data) for each in parts)
        if left <= 0 or room <= 0 or len(parts) >= files:
            break
        if name == STDIN:
            parts.append(Part.of_file("stdin", first_lines(stdin, left, room)))
        else:
            parts += _of_files(list(walk([Path(name)])), (left, room, files - len(parts)))
    return [each for each in parts if each.lines]


def _of_files(found: Sequence[Found], most: tuple[int, int, int]) -> list[Part]:
    parts: list[Part] = []
    left, room, files = most
    for each in found:
        if left <= 0 or room <= 0 or len(parts) >= files:
            break
        lines = _of_file(each, left, room)
        left, room = left - len(lines), room - sum(map(len, lines))
        if lines:
            parts.append(Part.of_file(each.name, lines))
    return parts


def _of_file(found: Found, most_lines: int, most_bytes: int) -> list[bytes]:
    try:
        with open_input(found) as file:
            return first_lines(file, most_lines, most_bytes)
    except OSError as problem:
        raise NoSuchInput(f"'{found.name}' cannot be read: {why(problem)}") from problem


def open_input(found: Found) -> BinaryIO:
    """The text of an input file, from its beginning."""
    if packing_of(found.name) is None:
        return open(found.path, "rb")
    check_packing(found.name)
    file = SourceFile(found.name, found.path, 0, found.size, found.mtime_ns, found.inode)
    with closing(unpacked(file, MOST_BYTES)) as blocks:
        return BytesIO(next(blocks, (b"", 0))[0])


def numbers(count: int, most: int) -> list[Part]:
    """The first of so many numbers as lines."""
    lines = [b"%d\n" % number for number in range(1, min(count, most) + 1)]
    return [Part.of_file(NAME, lines)] if lines else []


def first_lines(file: BinaryIO, most_lines: int, most_bytes: int) -> list[bytes]:
    """The first lines, each with its newline.

    A line that does not fit is left out with all behind it; if it is the first one, it is cut.
    """
    lines: list[bytes] = []
    while len(lines) < most_lines and most_bytes > 0 and (line := file.readline(most_bytes)):
        is_cut = len(line) == most_bytes and not line.endswith(b"\n")
        if lines and is_cut:
            break
        lines.append(line if line.endswith(b"\n") else line + b"\n")
        most_bytes -= len(line)
    return lines
