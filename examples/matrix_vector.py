#!/usr/bin/env python3
"""Multiply a large matrix by a vector that fits into memory.

    hagoop-request run MATRIX --output product.txt --file VECTOR \\
        --mapper 'python3 matrix_vector.py map' --reducer 'python3 matrix_vector.py reduce'

MATRIX has lines "ROW COLUMN NUMBER", in any order, and VECTOR has "COLUMN NUMBER"; what is zero may be
left out.  VECTOR travels with the programs and lies beside them.
"""

import math
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from hagoop.app import MapReduce, Pairs


class MatrixTimesVector(MapReduce):
    @cached_property
    def vector(self) -> dict[str, float]:
        lines = map(str.split, Path("VECTOR").read_text().splitlines())
        return {column: float(number) for column, number in lines}

    def map(self, line: str) -> Pairs:
        row, column, number = line.split()
        yield row, float(number) * self.vector.get(column, 0.0)

    def reduce(self, key: str, values: Iterator[str]) -> Pairs:
        # Unlike sum, fsum does not depend on the order: a combiner could not be so exact.
        yield key, math.fsum(map(float, values))


if __name__ == "__main__":
    MatrixTimesVector.main()
