#!/usr/bin/env python3
"""Reckon pi without any input: throw darts at a square, and count those within the circle.

    hagoop-request run --lines 1000 --output pi.txt \\
        --mapper 'python3 pi.py map' --reducer 'python3 pi.py reduce'

--lines 1000 makes lines of the numbers from 1 to 1000.  Each is the seed of 1000 darts: the same line
gives the same darts, whoever throws them and how often, so that the answer is the same each time.
"""

import random
from collections.abc import Iterator

from hagoop.app import MapReduce, Pairs

DARTS = 1000


class Pi(MapReduce):
    def map(self, line: str) -> Pairs:
        dice = random.Random(int(line))
        yield "pi", sum(dice.random() ** 2 + dice.random() ** 2 < 1 for _ in range(DARTS))

    def reduce(self, key: str, values: Iterator[str]) -> Pairs:
        hits = list(map(int, values))
        yield key, 4 * sum(hits) / (DARTS * len(hits))


if __name__ == "__main__":
    Pi.main()
