"""How the key space of a request is cut into cells by the indexes of all its runs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, groupby
from operator import itemgetter

from attrs import define, frozen

from hagoop.frames import BLOCK_BYTES
from hagoop.keys import original_key
from hagoop.ranges import Range
from hagoop.runs import BOUND_BYTES, Entry, RunIndex

CELL_BYTES = BLOCK_BYTES * 3 // 4
"""What a cell of the key space holds at least: one block, which is rarely quite full."""


@frozen
class Cells:
    """The key space, cut as finely as the indexes of all runs allow.

    Cell i is the keys from ``bounds[i]`` to before ``bounds[i + 1]``; the last has no end.

    :param weights: estimated bytes before each cell, and at last before the end.
    """

    bounds: tuple[bytes, ...]
    weights: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.bounds)

    def keys(self, cells: Range) -> tuple[bytes, bytes | None]:
        """The first key of a range of cells, not empty, and the first key after it."""
        end = self.bounds[cells.end] if cells.end < len(self.bounds) else None
        return self.bounds[cells.start], end

    def at_original_keys(self) -> "Cells":
        """The same with each bound moved down to where its KEY of the original interface begins;
        cells that begin in the same KEY become one."""
        known = zip(map(original_key, self.bounds), self.weights, strict=False)
        firsts = [next(same) for _, same in groupby(known, itemgetter(0))]
        bounds = tuple(bound for bound, _ in firsts)
        return Cells(bounds, (*(before for _, before in firsts), self.weights[-1]))


def one_cell(indexes: Sequence[RunIndex]) -> Cells:
    """The key space in one piece; in none when there are no keys."""
    size = sum(each.raw_bytes for each in indexes)
    return Cells((b"",), (0, max(1, size))) if indexes else Cells((), (0,))


@define
class _Cell:
    bound: bytes
    weight: int
    hot: bool


def cut_cells(indexes: Sequence[RunIndex], cell_bytes: int = CELL_BYTES) -> Cells:
    """Cut the key space into cells of about ``cell_bytes`` or more, by the bounds of all runs.

    A hot key, one that fills much of the runs, gets a cell of its own.  Same runs, same cells.
    """
    hot = _hot_keys(indexes, cell_bytes)
    sampled = {entry.bound for index in indexes for entry in index.entries}
    bounds = sorted(sampled.union(key + b"\0" for key in hot))
    shares = _share_out(indexes, {bound: at for at, bound in enumerate(bounds)}, hot)
    cells = _join_cells(zip(bounds, shares, strict=True), hot, cell_bytes)
    weights = accumulate((max(1, each.weight) for each in cells), initial=0)
    return Cells(tuple(each.bound for each in cells), tuple(weights))


def _pairs(indexes: Iterable[RunIndex]) -> Iterator[tuple[Entry, Entry | None]]:
    """Every entry with the one after it."""
    for index in indexes:
        yield from zip(index.entries, chain(index.entries[1:], [None]), strict=False)


def _claims(entry: Entry, after: Entry | None) -> Sequence[tuple[bytes, int, int]]:
    """Keys that are known to touch an entry's edges, how many halves of it they get, and
    the bytes of these.

    The edges sample the run's bytes evenly, so a key with n edges inside has about n
    entries' worth of bytes: half an entry on either side of each edge.
    """
    ends_hot = after is not None and not after.strict
    if entry.strict and not ends_hot:
        return ()
    if after and after.bound == entry.bound:
        return ((entry.bound, 2, entry.raw_bytes),)
    touching = (entry if not entry.strict else None, after if ends_hot else None)
    return [(each.bound, 1, entry.raw_bytes // 2) for each in touching if each]


def _hot_keys(indexes: Sequence[RunIndex], cell_bytes: int) -> set[bytes]:
    """The keys worth a cell of their own.

    One edge is two halves, and chance: where keys have a few lines each, most edges fall
    between equal keys.  More than that is a key that is everywhere, or fills an entry.
    """
    halves: dict[bytes, int] = {}
    sizes: dict[bytes, int] = {}
    for entry, after in _pairs(indexes):
        for key, count, size in _claims(entry, after):
            halves[key] = halves.get(key, 0) + count
            sizes[key] = sizes.get(key, 0) + size
    heavy = {key for key, size in sizes.items() if size >= cell_bytes and halves[key] > 2}
    # The cell ends at the key and a NUL, which must be a bound too.
    return {key for key in heavy if len(key) < BOUND_BYTES}


def _share_out(
    indexes: Sequence[RunIndex], places: Mapping[bytes, int], hot: set[bytes]
) -> Iterable[int]:
    """Bytes between each bound and the next: hot keys get what they claim, the rest of an
    entry is spread evenly over the bounds that other runs have inside it."""
    shares = [0] * len(places)
    steps = [0] * (len(places) + 1)
    for entry, after in _pairs(indexes):
        left = entry.raw_bytes
        for key, _, size in _claims(entry, after):
            if key in hot:
                shares[places[key]] += size
                left -= size
        start = places[entry.bound]
        end = max(start + 1, places[after.bound] if after else len(places))
        if not entry.strict and entry.bound in hot:
            start = min(start + 1, end - 1)
        each, odd = divmod(left, end - start)
        shares[start] += odd
        steps[start] += each
        steps[end] -= each
    return map(sum, zip(shares, accumulate(steps), strict=False))


def _join_cells(shares: Iterable[tuple[bytes, int]], hot: set[bytes], cell_bytes: int) -> list[_Cell]:
    """Join neighbours until each has ``cell_bytes``, except hot keys and what is between two."""
    cells: list[_Cell] = []
    for bound, share in shares:
        if bound in hot:
            _settle(cells, cell_bytes)
        if not cells or cells[-1].hot or bound in hot or cells[-1].weight >= cell_bytes:
            cells.append(_Cell(bound, share, bound in hot))
        else:
            cells[-1].weight += share
    _settle(cells, cell_bytes)
    return cells


def _settle(cells: list[_Cell], cell_bytes: int) -> None:
    """The last cell will not grow: if it is too small, join it with the one before."""
    if len(cells) < 2 or cells[-1].hot or cells[-2].hot or cells[-1].weight >= cell_bytes:
        return
    cells[-2].weight += cells.pop().weight
