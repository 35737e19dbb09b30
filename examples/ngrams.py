#!/usr/bin/env python3
"""Count rows of N words that follow each other in a line.

    hagoop-request run BOOKS --output ngrams.txt --env N=3 \\
        --mapper 'python3 ngrams.py map' \\
        --combiner 'python3 ngrams.py combine' \\
        --reducer 'python3 ngrams.py reduce'

A mapper may get any part of the lines, so a row that goes on in the next line is not seen.
"""

import os
import re
from collections.abc import Iterator

from hagoop.app import MapReduce, Pairs

WORD = re.compile("[A-Za-z]+")
N = int(os.environ.get("N", "2"))


class NGrams(MapReduce):
    def map(self, line: str) -> Pairs:
        words = WORD.findall(line)
        for start in range(len(words) - N + 1):
            yield " ".join(words[start : start + N]).lower(), 1

    def reduce(self, key: str, values: Iterator[str]) -> Pairs:
        yield key, sum(map(int, values))

    combine = reduce


if __name__ == "__main__":
    NGrams.main()
