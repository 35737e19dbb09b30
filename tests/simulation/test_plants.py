"""Worlds find what is wrong: bugs are planted in the product, and its stories tell of them."""

import pytest
from plants import PLANTS, Plant
from whole.scenario import draw
from whole.world import Wrong, live

MOST_SEEDS = 300
"""How many worlds are tried where the one that found a bug goes another way by now."""


def found_by(seed: int) -> bool:
    """Whether a world goes wrong."""
    try:
        live(draw(seed))
    except Wrong as wrong:
        return str(wrong).startswith(f"seed {seed}:\n")
    return False


@pytest.mark.parametrize(("plant", "seed"), PLANTS.items(), ids=[each.__name__ for each in PLANTS])
def test_planted_bug_is_found(plant: Plant, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the seed that is known to find it; failing that, by one of some hundreds."""
    plant(monkeypatch)
    assert any(found_by(each) for each in (seed, *range(MOST_SEEDS)))
