"""The line ledger: a mapper prints the number of each line, and every number comes out exactly once.

It tells loss and doubling apart, which a comparison of answers does not.
"""

from collections import Counter

MOST_SHOWN = 10


def numbered(lines: int, padding: int = 200) -> bytes:
    """Lines that begin with their numbers, and differ in length."""
    return b"".join(b"%d\t%b\n" % (each, b"x" * (each * 7919 % padding)) for each in range(lines))


def wrong_in_ledger(answer: bytes, lines: int) -> list[str]:
    """What is wrong with an answer that should hold each number from 0 to ``lines`` - 1 once."""
    found = Counter(answer.splitlines())
    wanted = {b"%d" % each for each in range(lines)}
    lost = sorted(wanted - found.keys(), key=int)
    doubled = sorted(each for each in wanted if found[each] > 1)
    strange = sorted(found.keys() - wanted)
    named = {"lost": lost, "more than once": doubled, "not a number of a line": strange}
    return [f"{len(each)} {what}: {each[:MOST_SHOWN]}" for what, each in named.items() if each]
