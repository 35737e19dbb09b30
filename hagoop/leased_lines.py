"""The lines of a map assignment, as they travel to its worker: where they are, and then their bytes."""

from collections.abc import Iterator, Sequence
from typing import BinaryIO

from attrs import evolve

from hagoop import wire
from hagoop.answers import CHUNK_BYTES
from hagoop.errors import NoSuchInput
from hagoop.interfaces import IInputs
from hagoop.jobs import Assignment, FileList, Phase, Piece


def files_of(inputs: IInputs, assignment: Assignment) -> FileList:
    """The files with the lines, if all are in place; else none.  Blocks."""
    is_map = assignment.phase is Phase.MAP
    pieces = tuple(inputs.pieces(assignment.start, assignment.end)) if is_map else ()
    files = tuple(each for each in map(inputs.found, pieces) if each is not None)
    return FileList(pieces, files) if len(files) == len(pieces) else FileList((), ())


def lines_of(inputs: IInputs, assignment: Assignment) -> Iterator[bytes]:
    """A line of JSON with the pieces, then the lines.  Blocks.

    :raises NoSuchInput: an input has changed.
    """
    pieces = inputs.pieces(assignment.start, assignment.end)
    if assignment.program.combine_files and len(pieces) > 1:
        yield from _combined(inputs, pieces)
        return
    yield wire.encode({"pieces": [wire.to_plain(each) for each in pieces]}) + b"\n"
    for piece in pieces:
        with inputs.open(piece) as file:
            yield from _read(file, piece)


def _combined(inputs: IInputs, pieces: Sequence[Piece]) -> Iterator[bytes]:
    """Lines of several files as one piece, which begins as the first does; all lines are ended."""
    ends = [b"" if _is_ended(inputs, each) else b"\n" for each in pieces]
    length = sum(each.length for each in pieces) + len(b"".join(ends))
    combined = evolve(pieces[0], end=pieces[-1].end, length=length)
    yield wire.encode({"pieces": [wire.to_plain(combined)]}) + b"\n"
    for piece, end in zip(pieces, ends, strict=True):
        with inputs.open(piece) as file:
            yield from _read(file, piece)
        yield end


def _is_ended(inputs: IInputs, piece: Piece) -> bool:
    with inputs.open(piece) as file:
        file.seek(piece.length - 1)
        return file.read(1) == b"\n"


def _read(file: BinaryIO, piece: Piece) -> Iterator[bytes]:
    left = piece.length
    while left:
        chunk = file.read(min(left, CHUNK_BYTES // 4))
        if not chunk:
            raise NoSuchInput(f"'{piece.name}' became shorter while the request ran")
        left -= len(chunk)
        yield chunk
