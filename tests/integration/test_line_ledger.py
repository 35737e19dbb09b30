"""The line ledger finds what it is there to find."""

import pytest
from line_ledger import numbered, wrong_in_ledger

LINES = 1000
WHOLE = [b"%d\n" % each for each in range(LINES)]


def test_lines_are_numbered_and_uneven() -> None:
    """Each begins with its number."""
    lines = numbered(LINES).splitlines()
    assert [line.split(b"\t")[0] for line in lines] == [line[:-1] for line in WHOLE]
    assert len({len(line) for line in lines}) > 100


def test_whole_ledger_is_right_in_any_order() -> None:
    """Sorted as keys are, or as they come."""
    assert wrong_in_ledger(b"".join(WHOLE), LINES) == []
    assert wrong_in_ledger(b"".join(sorted(WHOLE)), LINES) == []


@pytest.mark.parametrize(
    ("ledger", "wrong"),
    [
        (WHOLE[:500] + WHOLE[501:], "1 lost: [b'500']"),
        (WHOLE[:-1], "1 lost: [b'999']"),
        ([*WHOLE, WHOLE[7]], "1 more than once: [b'7']"),
        ([*WHOLE, b"1000\n"], "1 not a number of a line: [b'1000']"),
        ([*WHOLE, b"007\n"], "1 not a number of a line: [b'007']"),
    ],
    ids=["lost", "last lost", "doubled", "one too many", "another spelling"],
)
def test_wrong_ledger_is_told(ledger: list[bytes], wrong: str) -> None:
    """With what is wrong."""
    assert wrong_in_ledger(b"".join(ledger), LINES) == [wrong]


def test_line_in_the_place_of_another_is_told() -> None:
    """The count is right, and the ledger is not."""
    told = wrong_in_ledger(b"".join([*WHOLE[:-1], WHOLE[0]]), LINES)
    assert told == ["1 lost: [b'999']", "1 more than once: [b'0']"]
