"""How lines are sorted, and which lines a cut must keep together."""

from enum import Enum


class Order(Enum):
    """How a request's lines are sorted, and so what bounds are compared with.

    The key of a line's first bytes is the first bytes of its key, so a bound of n bytes can be
    compared with the key of n + 1 bytes of a line.
    """

    BY_KEY = "by key"
    """``LC_ALL=C sort -s -t TAB -k1,1``: by what stands before the first TAB."""
    BY_LINE = "by line"
    """``LC_ALL=C sort``: by all bytes of the line."""

    def key_of(self, line: bytes) -> bytes:
        """What a line, or the beginning of one, is sorted by; the newline is no part of it."""
        return key_of(line) if self is Order.BY_KEY else line.split(b"\n", 1)[0]


def key_of(line: bytes) -> bytes:
    """What a line is sorted by in streaming."""
    return line.split(b"\n", 1)[0].split(b"\t", 1)[0]


def original_key(text: bytes) -> bytes:
    """The start of a line up to its first ``", "``, that included; all of it when there is none.

    Made a bound, it has all lines of any one KEY of the original interface on the same side in the
    order of whole lines, for these all begin with KEY and ``", "``, which decides unless the bound
    goes on after the same bytes, and then its own first ``", "`` would be there.  Of two texts the
    lesser never gets the greater key: neither key begins like the other and goes on, unless it is
    all of its text.
    """
    key, comma, _ = text.partition(b", ")
    return key + comma
