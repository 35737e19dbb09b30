"""Worlds in which something was found once."""

import pytest
from whole.scenario import draw
from whole.world import live

FOUND = {
    100279: "an empty file between two uploads was taken for damage",
    100299: "a request that ended as the server did was called stuck",
    201499: "the world lost the end of a link whose machine died after it",
    201795: "what ended at a worker while it joined was waited for for ever",
    307045: "what a killed client had sent came when the world had been reckoned with",
    700996: "a machine that was stopped twice at a time went back in time",
    822244: "what was cancelled as the server died was held when it came again",
    204725: "of three who had the same lines one was let go of twice",
}


@pytest.mark.parametrize("seed", FOUND)
def test_it_is_not_found_again(seed):
    """Each was a story that could not end well."""
    live(draw(seed))
