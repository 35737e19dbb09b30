#!/usr/bin/env python3
"""Count words, in Python.

    hagoop-request run BOOKS --output counts.txt \\
        --mapper 'python3 wordcount.py map' \\
        --combiner 'python3 wordcount.py combine' \\
        --reducer 'python3 wordcount.py reduce'

A word is a row of letters A to Z, in small letters.  The same as a plain pipe:

    cat BOOKS/* | python3 wordcount.py map | LC_ALL=C sort | python3 wordcount.py reduce
"""

import re
from collections.abc import Iterator

from hagoop.app import MapReduce, Pairs

_WORD = re.compile("[A-Za-z]+")


class WordCount(MapReduce):
    def map(self, line: str) -> Pairs:
        for word in _WORD.findall(line):
            yield word.lower(), 1

    def reduce(self, key: str, values: Iterator[str]) -> Pairs:
        yield key, sum(map(int, values))

    combine = reduce


if __name__ == "__main__":
    WordCount.main()
