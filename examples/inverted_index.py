#!/usr/bin/env python3
"""Say of each word which files have it.

    hagoop-request run BOOKS --output index.txt \\
        --mapper 'python3 inverted_index.py map' \\
        --combiner 'python3 inverted_index.py combine' \\
        --reducer 'python3 inverted_index.py reduce'

A line of the index is a word, a TAB, and the names of its files in the order of the alphabet.
"""

import os
import re
from collections.abc import Iterator

from hagoop.app import MapReduce, Pairs

WORD = re.compile("[A-Za-z]+")


class InvertedIndex(MapReduce):
    def map(self, line: str) -> Pairs:
        for word in WORD.findall(line):
            # One run of a mapper sees lines of one file only.
            yield word.lower(), os.environ["HAGOOP_INPUT_FILE"]

    def combine(self, key: str, values: Iterator[str]) -> Pairs:
        for file in sorted(set(values)):
            yield key, file

    def reduce(self, key: str, values: Iterator[str]) -> Pairs:
        yield key, " ".join(sorted(set(values)))


if __name__ == "__main__":
    InvertedIndex.main()
