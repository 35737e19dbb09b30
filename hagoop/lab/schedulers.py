"""All that ``hagoop-simulate compare`` compares."""

from collections.abc import Callable, Mapping

from hagoop.lab.baselines.bayes import WholeBayes
from hagoop.lab.baselines.late import Late
from hagoop.lab.baselines.loops import Fixed, Guided
from hagoop.lab.baselines.original import Original
from hagoop.lab.contender import IContender, INetwork
from hagoop.lab.product import Product

PRODUCT = "hagoop"
SCHEDULERS: Mapping[str, Callable[[INetwork], IContender]] = {
    PRODUCT: lambda network: IContender(Product(network)),
    "fixed": lambda network: IContender(Fixed(network)),
    "guided": lambda network: IContender(Guided(network)),
    "original": lambda network: IContender(Original(network)),
    "late": lambda network: IContender(Late(network)),
    "whole bayes": lambda network: IContender(WholeBayes(network)),
}
"""The product first."""
