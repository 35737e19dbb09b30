"""Orders of lines, and bounds that keep each KEY of the original interface whole."""

from io import BytesIO
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hagoop.cells import Cells, cut_cells
from hagoop.frames import read_frames
from hagoop.keys import Order, original_key
from hagoop.runs import TRAILER_BYTES, RunIndex, RunWriter, footer_place, read_index
from hagoop.slices import cut_slice

# Few different bytes, so that commas, blanks and prefixes meet; some sort below a comma.
texts = st.lists(st.sampled_from(b"\0\t !,,  -ab\xff"), max_size=12).map(bytes)
KEYS = [b"a", b"a ", b"a!", b"a,b", b"a,", b",", b"", b"ab", b"a\0", b"a-b"]
answers = st.tuples(st.sampled_from(KEYS), texts).map(b", ".join)


def orders() -> st.SearchStrategy[Order]:
    """By line, by key, by several fields with any separator."""
    separators = st.sampled_from([b"\t", b",", b" ", b"\0"])
    return st.builds(Order, st.integers(0, 4), separators, st.booleans())


def key(line: bytes) -> bytes | None:
    """What stands before the first comma and blank; None: the contract knows no such line."""
    head, comma, _ = line.partition(b", ")
    return head if comma else None


@given(orders(), texts, st.integers(0, 15))
def test_first_bytes_decide(order: Order, line: bytes, size: int) -> None:
    """The key of a line's first bytes is the first bytes of its key; the newline is no part of it."""
    assert order.key_of(line[:size]) == order.key_of(line + b"\n")[:size]


@pytest.mark.parametrize(
    ("order", "line", "wanted"),
    [
        (Order.BY_KEY, b"a\tb\n", b"a"),
        (Order.BY_LINE, b"a\tb\n", b"a\tb"),
        (Order(2), b"a\tb\tc\n", b"a\tb"),
        (Order(2), b"a\t\n", b"a\t"),
        (Order(2), b"a\n", b"a"),
        (Order(3, b","), b",,,\n", b",,"),
        (Order(1, b","), b"a\tb,c\n", b"a\tb"),
    ],
)
def test_key_is_what_stands_before_the_last_separator_that_counts(
    order: Order, line: bytes, wanted: bytes
) -> None:
    """Or the whole line, where there are not so many."""
    assert order.key_of(line) == wanted


@given(orders(), st.lists(texts, max_size=40), texts, st.none() | texts)
def test_slice_holds_the_lines_with_keys_between_its_bounds(
    order: Order, found: list[bytes], low: bytes, high: bytes | None
) -> None:
    """In any order: keys are compared, never lines."""
    found = sorted((each + b"\n" for each in found), key=order.key_of)
    keys = [(order.key_of(each), each) for each in found]
    wanted = [each for key, each in keys if low <= key and (high is None or key < high)]
    assert slice_of(write(found, order), low, high, order) == wanted


@given(orders(), st.lists(st.lists(texts, max_size=40), min_size=1, max_size=3), st.integers(1, 60))
def test_no_key_is_in_two_cells(order: Order, runs: list[list[bytes]], cell_bytes: int) -> None:
    """Hot keys and shortest bounds, in any order; nothing is lost."""
    ordered = [sorted((each + b"\n" for each in run), key=order.key_of) for run in runs]
    made = [write(each, order) for each in ordered]
    cells = cut_cells([index_of(each) for each in made], cell_bytes)
    homes: dict[bytes, int] = {}
    count = 0
    for number, ends in enumerate(pairwise([*cells.bounds, None])):
        for line in (line for run in made for line in slice_of(run, *ends, order)):
            assert homes.setdefault(order.key_of(line), number) == number
            count += 1
    assert count == sum(map(len, runs))


@given(texts, texts)
def test_order_of_keys_is_that_of_lines(one: bytes, other: bytes) -> None:
    """Sorted by whole lines, lines are sorted by what stands before their first comma and blank."""
    low, high = sorted([one, other])
    assert original_key(low) <= original_key(high)


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        (b"a, 1", b"a, "),
        (b"a, 1, 2", b"a, "),
        (b"a,b, 1", b"a,b, "),
        (b"a,", b"a,"),
        (b", 1", b", "),
        (b"", b""),
    ],
)
def test_bound_begins_with_its_key(text: bytes, bound: bytes) -> None:
    """And ends with the first comma and blank."""
    assert original_key(text) == bound


@given(st.sampled_from(KEYS) | texts, texts, texts, texts | answers)
def test_no_bound_parts_a_key(name: bytes, one: bytes, other: bytes, bound: bytes) -> None:
    """All lines of one KEY are on the same side."""
    first, second = name + b", " + one, name + b", " + other
    assert key(first) == key(second)
    assert (first >= original_key(bound)) == (second >= original_key(bound))


def write(lines: list[bytes], order: Order = Order.BY_LINE) -> bytes:
    """A run in small blocks."""
    writer = RunWriter(order=order, block_bytes=16, bound_bytes=8)
    return writer.write(b"".join(lines)) + writer.finish()


def index_of(run: bytes) -> RunIndex:
    trailer = run[-TRAILER_BYTES:]
    offset, length = footer_place(trailer)
    return read_index(run[offset : offset + length], trailer)


def slice_of(
    run: bytes, low: bytes, high: bytes | None, order: Order = Order.BY_LINE
) -> list[bytes]:
    """The lines of a part of a run."""
    data = b"".join(cut_slice(BytesIO(run), index_of(run), low, high, order))
    text = b"".join(each.unpack() for each in read_frames(BytesIO(data).read, len(data)))
    return BytesIO(text).readlines()


lines = st.lists(answers | texts, max_size=40).map(lambda found: sorted(each + b"\n" for each in found))


def ordered(found: list[bytes]) -> list[bytes]:
    return sorted(found, key=Order.BY_LINE.key_of)


@given(lines, texts, st.none() | texts)
def test_slice_by_line_holds_the_lines_between_its_bounds(
    found: list[bytes], low: bytes, high: bytes | None
) -> None:
    """Compared as a whole, without the newline."""
    found = ordered(found)
    wanted = [each for each in found if low <= each[:-1] and (high is None or each[:-1] < high)]
    assert slice_of(write(found), low, high) == wanted


@given(st.lists(lines, min_size=1, max_size=4), st.integers(1, 200))
def test_cells_at_keys_hold_whole_keys(runs: list[list[bytes]], cell_bytes: int) -> None:
    """Nothing is lost, all is in order, and no KEY is in two cells."""
    made = [write(ordered(each)) for each in runs]
    cut = cut_cells([index_of(each) for each in made], cell_bytes)
    cells = cut.at_original_keys()
    assert list(cells.bounds) == sorted(set(cells.bounds))
    assert cells.weights[-1:] == cut.weights[-1:]
    assert all(low < high for low, high in pairwise(cells.weights))
    parts = [
        ordered([line for run in made for line in slice_of(run, *ends)])
        for ends in pairwise([*cells.bounds, None])
    ]
    assert [line for part in parts for line in part] == ordered([line for run in runs for line in run])
    homes = [(key(line[:-1]), number) for number, part in enumerate(parts) for line in part]
    known = {each for each in homes if each[0] is not None}
    assert len({name for name, _ in known}) == len(known)


def test_cells_of_one_key_are_one() -> None:
    """Their weights are added; what is not cut stays."""
    cells = Cells((b"", b"a", b"a, 1", b"a, 2", b"b, 1", b"b, 1\0"), (0, 5, 6, 8, 9, 20, 21))
    assert cells.at_original_keys() == Cells((b"", b"a", b"a, ", b"b, "), (0, 5, 6, 9, 21))
    assert Cells((), (0,)).at_original_keys() == Cells((), (0,))
