"""For tests that need minutes: what they share with ``tests/integration``, and a short form."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "integration"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--short``: smaller fleets for a shorter time."""
    parser.addoption("--short", action="store_true", help="smaller fleets for a shorter time")


@pytest.fixture(scope="session")
def short(request: pytest.FixtureRequest) -> bool:
    """Whether time is short."""
    return bool(request.config.getoption("--short"))
