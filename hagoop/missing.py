"""What an answer does not cover: which lines of which files, or which keys."""

from collections.abc import Iterable, Sequence

from attrs import evolve

from hagoop.cells import Cells
from hagoop.interfaces import IInputs
from hagoop.jobs import Cover, Keys, Missing, Output, Piece
from hagoop.ranges import Range


def gaps(outputs: Sequence[Output], total: int) -> tuple[Range, ...]:
    """The positions below ``total`` of which there is no output; these are in order."""
    edges = [0, *(edge for each in outputs for edge in (each.start, each.end)), total]
    found = [Range(*ends) for ends in zip(edges[::2], edges[1::2], strict=True) if ends[0] < ends[1]]
    return tuple(found)


def missing_lines(inputs: IInputs, ranges: Iterable[Range]) -> tuple[Missing, ...]:
    """Lines of the input, by file.  Blocks.

    :raises NoSuchInput: a file with some of them has changed.
    """
    return tuple(Missing(piece) for each in ranges for piece in inputs.pieces(each.start, each.end))


def missing_keys(cells: Cells, ranges: Iterable[Range]) -> tuple[Missing, ...]:
    """The keys of cells."""
    found = [cells.keys(each) for each in ranges]
    return tuple(
        Missing(None, Keys(low.decode("latin-1"), None if high is None else high.decode("latin-1")))
        for low, high in found
    )


def cover_of(inputs: IInputs, missing: Sequence[Missing]) -> Cover:
    """How much is left of an input, all of whose lines are counted, without these."""
    pieces = pieces_of(missing)
    lines, size = inputs.lines, inputs.size
    left_lines = lines - sum(each.end - each.start for each in pieces)
    left_bytes = size - sum(each.length for each in pieces)
    return Cover(len(missing), left_lines, lines, left_bytes, size)


def later_without(cover: Cover | None, missing: Sequence[Missing]) -> Cover:
    """How much is left when these are missing of what came of the input, covered so far."""
    known = cover or Cover(0)
    return evolve(known, missing=known.missing + len(missing), later=True)


def pieces_of(missing: Iterable[Missing]) -> list[Piece]:
    """Those that are lines."""
    return [each.piece for each in missing if each.piece is not None]


def ranges_of(missing: Iterable[Missing]) -> list[Range]:
    """Where the lines are in the ordered input."""
    return [Range(each.start, each.end) for each in pieces_of(missing)]
