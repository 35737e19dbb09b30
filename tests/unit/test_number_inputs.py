"""Numbers as lines: what ``seq`` prints, cut anywhere, and nothing stored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from hagoop.errors import BadMessage
from hagoop.interfaces import IInputs
from hagoop.number_inputs import MOST_LINES, NAME, NumberInputs, offset_of


def seq(first: int, last: int) -> bytes:
    return b"".join(b"%d\n" % number for number in range(first, last + 1))


def test_provides_the_interface():
    """All lines are known from the start."""
    inputs = NumberInputs(12)
    assert verifyObject(IInputs, inputs)
    assert (inputs.whole, inputs.lines, inputs.estimate, list(inputs.breaks)) == (True, 12, 12, [0])
    inputs.close()


def test_no_numbers_at_all():
    """As ``seq 0``."""
    inputs = NumberInputs(0)
    assert (list(inputs.breaks), inputs.pieces(0, 0)) == ([], [])


@given(st.integers(0, 10**14), st.integers(1, 9000))
def test_any_cut_gives_its_numbers(start, count):
    """However far from the first."""
    inputs = NumberInputs(MOST_LINES)
    [piece] = inputs.pieces(start, start + count)
    assert (piece.name, piece.file_line) == (NAME, start)
    with inputs.open(piece) as file:
        read = file.read(1000) + file.read()
    assert read == seq(start + 1, start + count)
    assert piece.length == len(read)


@given(st.integers(0, 12_000))
def test_offsets_are_those_of_a_file(line):
    """As if all numbers before it had been written."""
    assert offset_of(line) == len(seq(1, line))


def test_lines_that_there_are_not_are_refused():
    """A bug of the caller."""
    with pytest.raises(ValueError, match="lines 0 to 4 are not among the 3 that there are"):
        NumberInputs(3).pieces(0, 4)


def test_what_is_no_number_of_lines_is_refused():
    """A stranger has sent it."""
    assert NumberInputs.parse("1000").lines == 1000
    for bad in ("", "-1", "1.5", "x", "²", "9" * 5000, "0" * 5000, str(MOST_LINES + 1)):
        with pytest.raises(BadMessage, match="is no number of lines"):
            NumberInputs.parse(bad)
