"""``make simulate``: worlds by their seeds, as many as one likes; one that fails tells its story."""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from multiprocessing import Pool
from pathlib import Path

from twisted.logger import globalLogBeginner

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "unit")]

from whole.scenario import draw  # noqa: E402  (behind the path that finds it)
from whole.world import Wrong, live  # noqa: E402

BLOCK = 50
PROCESS_BLOCKS = 10
"""So much is asked of one process."""


def try_seeds(seeds: Sequence[int]) -> list[str]:
    """The stories of those that fail."""
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    told = []
    for seed in seeds:
        try:
            live(draw(seed))
        except Wrong as wrong:
            told.append(str(wrong))
    return told


def blocks(first: int, count: int) -> Iterator[range]:
    """So many seeds, some at a time."""
    for start in range(first, first + count, BLOCK):
        yield range(start, min(start + BLOCK, first + count))


def replay(seed: int) -> int:
    """One world, and its story."""
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    try:
        print("\n".join(live(draw(seed))))
    except Wrong as wrong:
        print(wrong)
        return 1
    return 0


def run(first: int, count: int, jobs: int) -> int:
    """Many worlds; the number of those that fail, bounded for an exit status."""
    began, failed = time.monotonic(), 0
    with Pool(jobs, maxtasksperchild=PROCESS_BLOCKS) as pool:
        for stories in pool.imap(try_seeds, blocks(first, count)):
            failed += len(stories)
            for each in stories:
                print(each, flush=True)
    seconds = time.monotonic() - began
    print(f"{count} seeds from {first} on, {failed} failed, {count / seconds:.1f} a second")
    return min(failed, 100)


def main() -> int:
    """By the command line; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="tell the story of this one")
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    given = parser.parse_args()
    if given.seed is not None:
        return replay(given.seed)
    return run(given.first, given.seeds, given.jobs)


if __name__ == "__main__":
    sys.exit(main())
