"""Fifty worlds; the files run side by side."""

import pytest
from whole.scenario import draw
from whole.world import live

FIRST = 0


@pytest.mark.parametrize("seed", range(FIRST, FIRST + 50))
def test_nothing_is_lost(seed):
    """Whatever befalls server, workers, clients and their links."""
    live(draw(seed))
