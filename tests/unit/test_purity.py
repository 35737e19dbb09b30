"""How input is cut for a check, and what is concluded from what was printed for the pieces."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hagoop.jobs import Program
from hagoop.keys import Order
from hagoop.purity import (
    Cause,
    Part,
    Printed,
    cut,
    first_difference,
    group_of,
    sort_lines,
    split_lines,
)

LINES = st.lists(st.binary(max_size=3).map(lambda each: each.replace(b"\n", b"\t") + b"\n"), max_size=30)


def lines(text: str) -> list[bytes]:
    """Words as lines."""
    return [each.encode() + b"\n" for each in text.split()]


@given(st.lists(LINES.filter(bool), min_size=1, max_size=3), st.integers(1, 20), st.integers(0, 99))
def test_pieces_are_the_whole(files, pieces, seed):
    """In order, none empty, each with the lines and numbers that it has."""
    parts = [Part.of_file(f"f{number}", each) for number, each in enumerate(files)]
    cuts = cut(parts, pieces, random.Random(seed).randrange)
    for part, made in zip(parts, cuts, strict=True):
        assert b"".join(each.data for each in made) == part.data
        assert [each.start for each in made] == [
            sum(len(one.lines) for one in made[:at]) for at in range(len(made))
        ]
        for each in made:
            assert each.lines
            assert each.lease_start <= each.start
            assert each.start + len(each.lines) <= each.lease_start + each.lease_lines
            assert each.within(part).before + each.data + each.within(part).behind == part.data
    assert sum(map(len, cuts)) <= len(parts) + max(pieces - 1, 3)


@given(LINES.filter(bool), st.integers(0, 99))
def test_keys_are_not_parted(given_lines, seed):
    """All lines of a key are in one piece."""
    ordered = sort_lines(given_lines, Order.BY_KEY)
    part = Part.of_keys(ordered, Order.BY_KEY.key_of)
    [pieces] = cut([part], 8, random.Random(seed).randrange)
    keys = [{Order.BY_KEY.key_of(line) for line in each.lines} for each in pieces]
    assert sum(map(len, keys)) == len(set.union(*keys))


def test_cuts_are_those_of_the_seed():
    """The same seed cuts in the same places, another one in others; the first line is alone."""
    part = Part.of_file("f", lines(" ".join(map(str, range(100)))))
    one, same, other = (cut([part], 9, random.Random(seed).randrange)[0] for seed in (1, 1, 2))
    assert one == same != other
    assert [len(one[0].lines), len(other[0].lines), len(one)] == [1, 1, 9]


def test_first_lines_of_a_part_are_a_part():
    """They may be cut as well."""
    assert Part.of_file("f", lines("a b c d")).first(3) == Part.of_file("f", lines("a b c"))


def test_lines_end_in_newlines_only():
    """CR is a byte like any other."""
    assert split_lines(b"a\r\nb\rc\n") == [b"a\r\n", b"b\rc\n"]
    assert split_lines(b"a\n\nb\n") == [b"a\n", b"\n", b"b\n"]
    assert split_lines(b"") == []


@given(LINES, st.sampled_from([Order.BY_KEY, Order.BY_LINE, Order(2), Order(1, b"\t", by_value=True)]))
def test_lines_are_sorted_as_between_map_and_reduce(given_lines, order):
    """By key, and those of one key as they came or, where that is asked for, by line."""
    ordered = sort_lines(given_lines, order)
    keys = [order.key_of(each) for each in ordered]
    assert keys == sorted(keys)
    for key in keys:
        ours = [each for each in given_lines if order.key_of(each) == key]
        by_line = sorted(ours, key=lambda each: each[:-1])
        found = [each for each in ordered if order.key_of(each) == key]
        assert found == (by_line if order.by_value else ours)


def test_key_of_the_original_ends_at_comma_and_blank():
    """Lines of one key are adjacent in the order of lines."""
    original = group_of(Program(None, None, binary="x"))
    assert original(b"a, 1\n") == original(b"a, 2\n") != original(b"a b, 2\n")
    assert group_of(Program("cat", "cat"))(b"a, 1\tx\n") == b"a, 1"


@pytest.mark.parametrize(
    ("cause", "whole", "pieces"),
    [
        (Cause.IGNORES, "hello", ["hello", "hello"]),
        (Cause.SORTS, "a b c d", ["b d", "a c"]),
        (Cause.REPEATS, "a b c", ["a", "a b", "c a"]),
        (Cause.FIRST, "a b", ["a b", "c d", "e"]),
        (Cause.LAST, "d e", ["a b", "d e"]),
        (Cause.HEADING, "size 1 2 3", ["size 1", "size 2 3"]),
        (Cause.ENDING, "1 2 3 n=3", ["1 n=1", "2 3 n=2"]),
        (Cause.LOSES, "2 3 4", ["", "3", ""]),
        (Cause.NEIGHBOURS, "1:a 2:b 3:c", ["1:a", "1:b 2:c"]),
        (Cause.TOTALS, "9", ["4", "5"]),
        (Cause.TOTALS, "the:3 cat:2", ["the:1 cat:1", "the:2", "cat:1"]),
        (Cause.OTHER, "ab bc cd", ["ab", "xy"]),
    ],
)
def test_cause_is_seen_in_what_is_printed(cause, whole, pieces):
    """As ordinary wrong programs print it."""
    assert Printed(lines(whole), [lines(each) for each in pieces]).cause is cause


@pytest.mark.parametrize(
    ("cause", "whole", "pieces"),
    [
        (Cause.LOSES_FIRST, "b c d e", ["b", "d e"]),
        (Cause.LOSES_LAST, "a b c d", ["a", "c d"]),
        (Cause.LOSES, "b d", [""]),
    ],
)
def test_lost_line_is_the_first_or_the_last_of_a_piece(cause, whole, pieces):
    """Pieces were ``a b`` and ``c d e``, but for the last case."""
    firsts, lasts = frozenset({b"a", b"c"}), frozenset({b"b", b"e"})
    assert Printed(lines(whole), [lines(each) for each in pieces], firsts, lasts).cause is cause


def test_first_difference_is_that_of_the_shorter_too():
    """Its number is counted from 1."""
    assert first_difference(lines("a b"), lines("a c")) == (2, b"b\n", b"c\n")
    assert first_difference(lines("a"), lines("a c")) == (2, b"", b"c\n")
    assert first_difference(lines("a"), lines("a")) == (2, b"", b"")
