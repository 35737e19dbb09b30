"""The table of faults is whole, and names tests that are there."""

import ast
from functools import cache
from pathlib import Path

import pytest
from rows import ROWS

TESTS = Path(__file__).parent.parent
SIZES = {"S": 17, "N": 13, "W": 10, "X": 10, "D": 10}
WANTED = [f"{kind}{number}" for kind, size in SIZES.items() for number in range(1, size + 1)]


@cache
def names_in(file: str) -> frozenset[str]:
    """The names of a file's tests."""
    path = TESTS / file
    if not path.exists():
        return frozenset()
    made = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(each.name for each in ast.parse(path.read_text()).body if isinstance(each, made))


def test_every_row_is_there() -> None:
    """All sixty, in their order."""
    assert list(ROWS) == WANTED


def test_every_row_has_a_test() -> None:
    """Or it says why it is skipped."""
    empty = {name for name, row in ROWS.items() if not row.tests and not row.skipped}
    assert not empty


@pytest.mark.parametrize("name", WANTED)
def test_row_names_tests_that_are_there(name: str) -> None:
    """Each by file and name; a row without any is skipped, and says why."""
    row = ROWS[name]
    named = [each.partition("::") for each in row.tests]
    assert [test for file, _, test in named if test not in names_in(file)] == []
    if row.skipped and not row.tests:
        pytest.skip(f"{name}, {row.fault}: {row.skipped}")


def test_what_is_not_there_is_missed() -> None:
    """The check above would notice."""
    assert "test_killed_worker_comes_back" in names_in("integration/test_survives.py")
    assert "test_nonsense" not in names_in("integration/test_survives.py")
    assert names_in("integration/test_nonsense.py") == frozenset()


def test_files_run_together() -> None:
    """Two files of one name are one module to pytest, and ``make faults`` would not begin."""
    names = [each.name for each in TESTS.rglob("test_*.py")]
    assert {each for each in names if names.count(each) > 1} == set()
