#!/usr/bin/env python3
"""Tell a log's visits: what one user does without a pause of half an hour.

    hagoop-request run LOGS --output sessions.txt --secondary-sort --env PAUSE=1800 \\
        --mapper 'python3 sessions.py map' --reducer 'python3 sessions.py reduce'

LOGS have lines "SECOND USER ...".  Printed are user, first and last second of a visit, and how many
lines it has.  With --secondary-sort the values of a key come sorted too, so that none need be kept.
"""

import os
from collections.abc import Iterator

from hagoop.app import MapReduce, Pairs

PAUSE = int(os.environ.get("PAUSE", "1800"))


class Sessions(MapReduce):
    def map(self, line: str) -> Pairs:
        second, user, *_ = line.split()
        # Lines are sorted by their bytes: what is to be sorted as a number needs its zeros.
        yield user, f"{int(second):012}"

    def reduce(self, key: str, values: Iterator[str]) -> Pairs:
        seconds = map(int, values)
        first = last = next(seconds)
        count = 1
        for second in seconds:
            if second - last > PAUSE:
                yield key, f"{first}\t{last}\t{count}"
                first, count = second, 0
            last, count = second, count + 1
        yield key, f"{first}\t{last}\t{count}"


if __name__ == "__main__":
    Sessions.main()
