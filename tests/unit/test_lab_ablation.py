"""``hagoop-simulate --without``: each part makes a difference, and comes back."""

from collections.abc import Mapping

import pytest

from hagoop.lab.ablation import PARTS, without
from hagoop.lab.finding import Drawing, find
from hagoop.lab.schedulers import PRODUCT, SCHEDULERS
from hagoop.lab.scores import as_object
from hagoop.lab.trial import try_out

USUAL = "hostile", Drawing(seed=3, workers=25, seconds=8)
VARIED = "home-volunteers", Drawing(seed=1, workers=20, seconds=10)
OTHERS: Mapping[str, tuple[str, Drawing]] = {
    "cut-short": VARIED,
    "earned-time": ("home-volunteers", Drawing(seed=7, workers=20, seconds=20)),
    "last-jobs": VARIED,
    "miss-counts": ("hostile", Drawing(seed=5, workers=25, seconds=8)),
    "promises": ("half-die", Drawing(seed=1, workers=20, seconds=20)),
}
"""Where a part makes a difference that makes none on the usual fleet."""


def outcome(fleet: tuple[str, Drawing]) -> dict[str, object]:
    """What the product makes of a fleet."""
    return as_object(try_out(find(*fleet), SCHEDULERS[PRODUCT]))


@pytest.mark.parametrize("part", PARTS)
def test_each_part_makes_a_difference_while_it_is_away(part: str) -> None:
    """And none any more when it is back."""
    fleet = OTHERS.get(part, USUAL)
    usual = outcome(fleet)
    with without([part]):
        assert outcome(fleet) != usual
    assert outcome(fleet) == usual


def test_several_parts_may_be_away() -> None:
    """Each comes back, whichever was taken first, and whatever is raised meanwhile."""
    before = {id(each): vars(each.owner)[each.name] for made in PARTS.values() for each in made}
    with pytest.raises(RuntimeError, match="stop"), without(["take-back", "copies", "tail"]):
        raise RuntimeError("stop")
    assert before == {id(each): vars(each.owner)[each.name] for made in PARTS.values() for each in made}
