#!/usr/bin/env python3
"""Join two files on the first field of their lines.

    hagoop-request run CUSTOMERS ORDERS --output joined.txt \\
        --mapper 'python3 join.py map' --reducer 'python3 join.py reduce'

CUSTOMERS has lines "NUMBER, TAB, NAME", and ORDERS has "NUMBER, TAB, ARTICLE".  Printed is each order
with the name of its customer; orders without a customer and customers without an order are not.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from itertools import product

from hagoop.app import MapReduce, Pairs


class Join(MapReduce):
    def map(self, line: str) -> Pairs:
        number, _, rest = line.partition("\t")
        file = os.path.basename(os.environ["HAGOOP_INPUT_FILE"])
        yield number, f"{file}\t{rest}"

    def reduce(self, key: str, values: Iterator[str]) -> Pairs:
        found = defaultdict(list)
        for value in values:
            file, _, rest = value.partition("\t")
            found[file].append(rest)
        for name, article in product(found["CUSTOMERS"], found["ORDERS"]):
            yield key, f"{name}\t{article}"


if __name__ == "__main__":
    Join.main()
