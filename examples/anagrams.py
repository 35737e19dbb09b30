#!/usr/bin/env python3
"""Find words of the same letters: "angel, glean".

    hagoop-request run BOOKS --output anagrams.txt \\
        --mapper 'python3 anagrams.py map' \\
        --combiner 'python3 anagrams.py combine' \\
        --reducer 'python3 anagrams.py reduce'

The key of a word is its letters, sorted: all words of these letters meet in one call of reduce.
"""

import re
from collections.abc import Iterator

from hagoop.app import MapReduce, Pairs

WORD = re.compile("[A-Za-z]+")


class Anagrams(MapReduce):
    def map(self, line: str) -> Pairs:
        for word in map(str.lower, WORD.findall(line)):
            yield "".join(sorted(word)), word

    def combine(self, key: str, values: Iterator[str]) -> Pairs:
        for word in sorted(set(values)):
            yield key, word

    def reduce(self, key: str, values: Iterator[str]) -> Pairs:
        words = sorted(set(values))
        if len(words) > 1:
            yield ", ".join(words), None


if __name__ == "__main__":
    Anagrams.main()
