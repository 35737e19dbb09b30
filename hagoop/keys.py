"""How lines are sorted, and which lines a cut must keep together."""

from typing import ClassVar

from attrs import field, frozen
from attrs.validators import ge, le

MOST_FIELDS = 1_000_000
"""The most fields that a key may have."""


@frozen
class Order:
    """How a program's lines are sorted, and so what bounds are compared with.

    The key of a line's first bytes is the first bytes of its key, so a bound of n bytes can be
    compared with the key of n + 1 bytes of a line.

    :param fields: of how many fields the key is, the separators between them included; 0: it is the
        whole line.
    :param separator: the byte that ends a field.
    :param by_value: whether lines of one key are sorted too; else they stay as they came.
    """

    BY_KEY: ClassVar["Order"]
    """``LC_ALL=C sort -s -t TAB -k1,1``: by what stands before the first TAB."""
    BY_LINE: ClassVar["Order"]
    """``LC_ALL=C sort``: by all bytes of the line."""

    fields: int = field(default=1, validator=[ge(0), le(MOST_FIELDS)])
    separator: bytes = b"\t"
    by_value: bool = False

    def key_of(self, line: bytes) -> bytes:
        """What a line, or the beginning of one, is sorted by; the newline is no part of it."""
        return self.key_in(line.split(b"\n", 1)[0])

    def key_in(self, text: bytes) -> bytes:
        """The same of a line without its newline: what stands before the last separator that counts."""
        if self.fields == 0:
            return text
        if self.fields == 1:
            return text.partition(self.separator)[0]
        return self.separator.join(text.split(self.separator, self.fields)[: self.fields])


Order.BY_KEY = Order()
Order.BY_LINE = Order(fields=0)


def key_of(line: bytes) -> bytes:
    """What a line is sorted by in streaming, unless the program says more."""
    return Order.BY_KEY.key_of(line)


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
