"""Ranges and sets of ranges, against sets of ints."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hagoop.ranges import Range, RangeSet

MOST = 30


@st.composite
def ranges(draw: st.DrawFn) -> Range:
    start = draw(st.integers(0, MOST))
    return Range(start, draw(st.integers(start, MOST)))


def positions(each: Range) -> set[int]:
    return set(range(each.start, each.end))


def make(model: set[int]) -> RangeSet:
    return RangeSet.of(Range(each, each + 1) for each in sorted(model))


sets = st.sets(st.integers(0, MOST - 1))


def contents(held: RangeSet) -> set[int]:
    return {position for each in held for position in range(each.start, each.end)}


def check_form(held: RangeSet) -> None:
    """Ranges of a set are sorted, not empty, and neither overlap nor touch."""
    kept = list(held)
    assert all(len(each) for each in kept)
    assert all(one.end < two.start for one, two in pairwise(kept))


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (3, 2)])
def test_range_with_wrong_ends_is_refused(start: int, end: int) -> None:
    """A range begins at 0 or later and does not end before it begins."""
    with pytest.raises(ValueError, match=f"not a range: {start} to {end}"):
        Range(start, end)


@given(ranges())
def test_range_is_as_long_as_its_positions_are_many(one: Range) -> None:
    """The length counts positions."""
    assert len(one) == len(positions(one))


@given(ranges(), ranges())
def test_ranges_meet_when_they_share_a_position(one: Range, two: Range) -> None:
    """An empty range meets nothing."""
    assert one.meets(two) == bool(positions(one) & positions(two))


@given(ranges(), ranges())
def test_range_that_contains_another_holds_its_positions(one: Range, two: Range) -> None:
    """For ranges that are not empty the two say the same."""
    if two in one:
        assert positions(two) <= positions(one)
    elif len(two):
        assert not positions(two) <= positions(one)


@given(sets)
def test_set_holds_what_was_added(model: set[int]) -> None:
    """Single positions join to ranges; size, truth and first range are those of the model."""
    held = make(model)
    check_form(held)
    assert contents(held) == model
    assert held.size == len(model)
    assert bool(held) == bool(model)
    if model:
        assert held.first.start == min(model)


def test_empty_set_has_no_first_range() -> None:
    """There is nothing to give."""
    with pytest.raises(IndexError):
        _ = RangeSet().first


@given(sets, ranges())
def test_set_meets_and_contains_as_the_model_does(model: set[int], asked: Range) -> None:
    """A range is in a set when all of its positions are."""
    held = make(model)
    assert held.meets(asked) == bool(model & positions(asked))
    assert (asked in held) == (positions(asked) <= model)


@given(sets, ranges())
def test_adding_joins_or_is_refused(model: set[int], new: Range) -> None:
    """A position has one owner: what is there already cannot be added, and nothing changes."""
    held = make(model)
    if model & positions(new):
        with pytest.raises(ValueError, match="is in the set already"):
            held.add(new)
        assert contents(held) == model
    else:
        held.add(new)
        assert contents(held) == model | positions(new)
    check_form(held)


@given(sets, ranges())
def test_taking_splits_or_is_refused(model: set[int], gone: Range) -> None:
    """What is not there cannot be taken, and nothing changes."""
    held = make(model)
    if positions(gone) <= model:
        held.take(gone)
        assert contents(held) == model - positions(gone)
    else:
        with pytest.raises(ValueError, match="is not in the set"):
            held.take(gone)
        assert contents(held) == model
    check_form(held)


@given(sets, st.lists(ranges()))
def test_set_follows_the_model_through_many_changes(model: set[int], changes: list[Range]) -> None:
    """Take what is there, add what is not, again and again."""
    held = make(model)
    expected = set(model)
    for each in changes:
        if each in held:
            held.take(each)
            expected -= positions(each)
        elif not held.meets(each):
            held.add(each)
            expected |= positions(each)
        check_form(held)
    assert contents(held) == expected
