"""Which runs to merge when there are too many to read at once."""

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from itertools import accumulate, pairwise

from hagoop.ranges import Range

MERGE_RUNS = 128
"""How many runs one merge or one reduce reads at once."""


def merge_groups(sizes: Sequence[int], most: int = MERGE_RUNS) -> list[Range]:
    """Which adjacent runs to merge, so that at most ``most`` are left after this round, or as
    few as one round can reach.

    To rewrite few bytes, stretches are chosen by the lowest price per run saved at which
    enough are saved; then what is saved beyond need is given back from the ends of
    stretches, largest run first.  One stretch of the needed length is taken where it is
    cheaper.

    :param sizes: bytes of each run, in input order.
    :param most: how many one merge reads at once; at least 2.
    """
    whole = Range(0, len(sizes))
    need = min(len(sizes) - most, _saved(whole, most))
    if need <= 0:
        return []
    if len(sizes) > most * most:
        plans = [[whole]]
    else:
        plans = [[_best_window(sizes, need, most)], _worthwhile(sizes, _price(sizes, need, most))]
    peeled = [_peel(each, sizes, most, need) for each in plans]
    best = min(peeled, key=lambda plan: sum(sum(sizes[each.start : each.end]) for each in plan))
    return [group for stretch in best for group in _divide(stretch, most)]


def _saved(stretch: Range, most: int) -> int:
    """How many runs fewer there are when a stretch is merged, at most ``most`` at once."""
    return len(stretch) + -len(stretch) // most


def _price(sizes: Sequence[int], need: int, most: int) -> int:
    """The lowest price per run saved at which enough are saved."""
    low, high = 0, sum(sizes) + 1
    while low < high:
        middle = (low + high) // 2
        if sum(_saved(each, most) for each in _worthwhile(sizes, middle)) >= need:
            high = middle
        else:
            low = middle + 1
    return low


def _worthwhile(sizes: Sequence[int], price: int) -> list[Range]:
    """The stretches that earn most, when a run saved earns ``price`` and a byte costs one.

    A stretch saves one run less than it has: as with trades that each cost a fee, it begins
    at a low of the running sum, ends at a high, and is worth it when they differ by more
    than the fee.
    """
    found: list[Range] = []
    level = low = high = start = end = 0
    for at, size in enumerate(sizes, 1):
        level += price - size
        if level >= high:
            high, end = level, at
        risen = high - low > price
        if risen and high - level >= price:
            found.append(Range(start, end))
        if level < low or (risen and high - level >= price):
            low, high, start, end = level, level, at, at
    return [*found, Range(start, end)] if high - low > price else found


def _peel(stretches: Sequence[Range], sizes: Sequence[int], most: int, need: int) -> list[Range]:
    """Take runs off the ends of stretches, the largest first, as long as enough are saved."""
    excess = sum(_saved(each, most) for each in stretches) - need
    queue = [_largest_end(each, sizes) for each in stretches]
    heapify(queue)
    kept: list[Range] = []
    while queue:
        _, stretch, shorter = heappop(queue)
        lost = _saved(stretch, most) - _saved(shorter, most)
        if lost > excess:
            kept.append(stretch)
            continue
        excess -= lost
        if len(shorter) > 1:
            heappush(queue, _largest_end(shorter, sizes))
    return sorted(kept)


def _largest_end(stretch: Range, sizes: Sequence[int]) -> tuple[int, Range, Range]:
    """The larger run at an end of a stretch, negated; the stretch; the stretch without it."""
    first, last = sizes[stretch.start], sizes[stretch.end - 1]
    if first >= last:
        return -first, stretch, Range(stretch.start + 1, stretch.end)
    return -last, stretch, Range(stretch.start, stretch.end - 1)


def _best_window(sizes: Sequence[int], need: int, most: int) -> Range:
    """The single stretch with the fewest bytes that saves enough."""
    lengths = range(need + 1, len(sizes) + 1)
    length = next(each for each in lengths if _saved(Range(0, each), most) == need)
    before = list(accumulate(sizes, initial=0))
    start = min(range(len(sizes) - length + 1), key=lambda at: before[at + length] - before[at])
    return Range(start, start + length)


def _divide(stretch: Range, most: int) -> Iterator[Range]:
    """Equal groups of at most ``most``: they are merged at the same time, elsewhere."""
    count = -(-len(stretch) // most)
    edges = [stretch.start + len(stretch) * each // count for each in range(count + 1)]
    return (Range(*ends) for ends in pairwise(edges))
