"""For all tests: how Hypothesis searches, and which files come first."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure, and an example that failed is told in a form that can be replayed.
settings.register_profile(
    "hagoop", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("hagoop")

LONG = """
    original demo survives promise_real mrjob unruly original_fleets processes_end bad_input clocks
    request_commands check clients install door blame twistd harness
""".split()
"""Files of tests/integration that take many seconds, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Processes that share the files end together if the long ones have begun first."""
    folder = Path(__file__).parent / "integration"
    files = {folder / f"test_{name}.py": rank for rank, name in enumerate(LONG)}
    gone = [each.name for each in files if not each.exists()]
    if gone:
        raise pytest.UsageError(f"tests/conftest.py: LONG names what is not there: {' '.join(gone)}")
    items.sort(key=lambda item: files.get(item.path, len(files)))
