"""The product with a part taken away, or for another server: what that part was worth."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from hagoop import policy
from hagoop.lab.contender import IContender, INetwork
from hagoop.lab.product import Product

PARTS: Mapping[str, Callable[[Product], None]] = {}
"""What takes a part away from a product that has just been made, by the part's name."""


def product_without(parts: Sequence[str]) -> Callable[[INetwork], IContender]:
    """Makes the product, without these parts."""

    def make(network: INetwork) -> IContender:
        product = Product(network)
        for each in parts:
            PARTS[each](product)
        contender: IContender = product
        return contender

    return make


@contextmanager
def messages_per_second(most: float | None) -> Iterator[None]:
    """Let the policy plan for a server that takes so many; None: as many as it does anyway."""
    kept = policy.MESSAGES_PER_SECOND
    policy.MESSAGES_PER_SECOND = kept if most is None else most
    try:
        yield
    finally:
        policy.MESSAGES_PER_SECOND = kept
