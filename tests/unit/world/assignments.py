"""What a simulated worker makes of an assignment's bytes."""

import json
from bisect import bisect_left
from heapq import merge

from attrs import frozen

from hagoop import wire
from hagoop.jobs import Assignment, Counter, Phase, Piece
from hagoop.slices import SliceDecoder
from world.programs import (
    count_keys,
    fails_on,
    lines_of,
    run_combiner,
    run_mapper,
    run_reducer,
    sort_key,
)


class Failed(Exception):
    """A job failed here; ``always``: it does so everywhere."""

    def __init__(self, kind: str, *, always: bool = False) -> None:
        super().__init__(kind)
        self.kind = kind
        self.always = always


@frozen
class Result:
    """What one job printed."""

    lines: list[bytes]
    counters: tuple[Counter, ...]


@frozen
class LineWork:
    """A map assignment: pieces and their lines."""

    assignment: Assignment
    pieces: tuple[tuple[Piece, list[bytes]], ...]

    def limit(self, start: int, end: int) -> int:
        """One run sees lines of one file, or all of them."""
        file_end = next(piece.end for piece, _ in self.pieces if start < piece.end)
        return file_end if self.assignment.program.map_whole else min(end, file_end)

    def run(self, start: int, end: int) -> Result:
        """Map, sort, combine."""
        piece, lines = next(each for each in self.pieces if start < each[0].end)
        mine = lines[start - piece.start : end - piece.start]
        program = self.assignment.program
        if any(fails_on(program.mapper, each) for each in mine):
            raise Failed("PROGRAM_FAILED", always=True)
        printed = run_mapper(program.mapper, mine)
        if program.sorts:
            printed.sort(key=sort_key(program.order))
        if program.combiner is not None:
            combined = run_combiner(program.combiner, printed)
            printed = sorted(combined, key=sort_key(program.order))
        return Result(printed, (Counter("world", "lines", len(mine)),))


@frozen
class MergeWork:
    """A merge assignment: one group of runs."""

    assignment: Assignment
    slices: tuple[list[bytes], ...]

    def limit(self, start: int, end: int) -> int:
        """A group is merged in one job."""
        return start + 1

    def run(self, start: int, end: int) -> Result:
        """Merge, ties in the order of the runs."""
        return Result(list(merge(*self.slices, key=sort_key(self.assignment.program.order))), ())


@frozen
class KeyWork:
    """A reduce assignment: cells of the key space."""

    assignment: Assignment
    bounds: tuple[bytes | None, ...]
    lines: list[bytes]

    def limit(self, start: int, end: int) -> int:
        """Any number of cells."""
        return end

    def _find(self, position: int) -> int:
        at = position - self.assignment.start
        bound = self.bounds[at]
        if at == 0 or bound is None or at == len(self.bounds) - 1:
            return len(self.lines) if at else 0
        return bisect_left(self.lines, bound, key=self.assignment.program.order.key_of)

    def run(self, start: int, end: int) -> Result:
        """Reduce."""
        mine = self.lines[self._find(start) : self._find(end)]
        program = self.assignment.program
        keys = count_keys(mine, program.order)
        counters = (Counter("world", "keys", keys),) if keys else ()
        return Result(run_reducer(program.reducer, mine, program.order), counters)


def read_work(assignment: Assignment, data: bytes) -> LineWork | MergeWork | KeyWork:
    """What the web endpoint sends for an assignment, understood."""
    head, _, body = data.partition(b"\n")
    header = json.loads(head)
    if assignment.phase is Phase.MAP:
        return LineWork(assignment, tuple(_read_pieces(header, body)))
    slices = _read_slices(header["slices"], body)
    if assignment.phase is Phase.MERGE:
        return MergeWork(assignment, slices)
    bounds = tuple(each if each is None else each.encode("latin-1") for each in header["bounds"])
    lines = list(merge(*slices, key=sort_key(assignment.program.order)))
    return KeyWork(assignment, bounds, lines)


def _read_pieces(header, body):
    for plain in header["pieces"]:
        piece = wire.from_plain(Piece, plain)
        data, body = body[: piece.length], body[piece.length :]
        lines = lines_of(data)
        assert len(lines) == piece.end - piece.start
        yield piece, lines
    assert not body


def _read_slices(count, body):
    decoder = SliceDecoder()
    slices: list[list[bytes]] = [[] for _ in range(count)]
    for number, lines in decoder.feed(body):
        slices[number].append(lines)
    if not decoder.clean or decoder.ended != count:
        raise Failed("TRANSFER_FAILED")
    return tuple(lines_of(b"".join(each)) if each else [] for each in slices)
