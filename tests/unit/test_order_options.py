"""``--key-fields``, ``--separator``, ``--secondary-sort`` and Hadoop's names for them."""

from pathlib import Path

import pytest
from twisted.python.usage import UsageError

from hagoop.jobs import Program
from hagoop.keys import Order
from hagoop.request_options import parse
from hagoop.run_options import Running
from hagoop.sorting import sort_options


def program(*words: str) -> Program:
    """What ``run`` with a reducer runs."""
    found = parse(["run", "books", "--reducer", "cat", *words], Path.cwd())
    assert isinstance(found, Running)
    return found.program


def refusal(*words: str) -> str:
    """The sentence about a command line that cannot be understood."""
    with pytest.raises(UsageError) as caught:
        parse(["run", "books", *words], Path.cwd())
    return str(caught.value)


@pytest.mark.parametrize(
    ("words", "order", "flags"),
    [
        ([], Order.BY_KEY, "-s -t \t -k1,1"),
        (["--key-fields", "3"], Order(3), "-s -t \t -k1,3"),
        (["--separator", ","], Order(1, b","), "-s -t , -k1,1"),
        (["--separator", "\\t"], Order.BY_KEY, "-s -t \t -k1,1"),
        (["--separator=\\0"], Order(1, b"\0"), "-s -t \\0 -k1,1"),
        (["--secondary-sort"], Order(1, b"\t", True), "-t \t -k1,1"),
        (["-D", "stream.num.map.output.key.fields=2"], Order(2), "-s -t \t -k1,2"),
        (["-Dstream.map.output.field.separator=."], Order(1, b"."), "-s -t . -k1,1"),
        (["-jobconf", "stream.map.output.field.separator=\\t"], Order.BY_KEY, "-s -t \t -k1,1"),
    ],
)
def test_order_is_what_sort_is_told(words: list[str], order: Order, flags: str) -> None:
    """From the command line to the options of ``sort``."""
    found = program(*words)
    assert found.order == order
    assert sort_options(found.order) == tuple(flags.split(" "))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--mapper", "cat", "--secondary-sort"], "--secondary-sort needs a --reducer: without one"),
        (["--mapper", "cat", "--key-fields", "1"], "--key-fields needs a --reducer: without one"),
        (["--binary", "b", "--separator", ","], "--separator does not go with --binary: it has an"),
        (["--reducer", "cat", "--key-fields", "0"], "--key-fields 0: it must be a number from 1 on"),
        (["--reducer", "cat", "--key-fields", "x"], "--key-fields x: it must be a number from 1 on"),
        (["--reducer", "cat", "--key-fields", "1000001"], "--key-fields 1000001: it must be at most"),
        (["--reducer", "cat", "--separator", ""], "--separator '': it must be one byte of ASCII"),
        (["--reducer", "cat", "--separator", "::"], "--separator '::': it must be one byte of ASCII"),
        (["--reducer", "cat", "--separator", "é"], "--separator 'é': it must be one byte of ASCII"),
        (["--reducer", "cat", "--separator", "\n"], "--separator '\n': it must be one byte of ASCII"),
        (["--reducer", "cat", "-D", "speed"], "-D speed: it is not of the form NAME=VALUE"),
        (["--reducer", "cat", "-D", "speed=1"], "-D speed: it means nothing here; known are stream."),
        (["--reducer", "cat", "-D"], "-D needs a value"),
    ],
)
def test_what_makes_no_order_is_refused(words: list[str], said: str) -> None:
    """One sentence that names the option."""
    assert refusal(*words).startswith(said)


@pytest.mark.parametrize("separator", ["", "ab", "\n", "é"])
def test_stranger_cannot_submit_another_separator(separator: str) -> None:
    """The server checks it too."""
    with pytest.raises(ValueError, match="a separator is one ASCII character"):
        Program(None, "cat", separator=separator)


@pytest.mark.parametrize("fields", [0, -1, 10**7])
def test_stranger_cannot_submit_another_number_of_fields(fields: int) -> None:
    """As it can be no option of ``sort``."""
    with pytest.raises(ValueError, match="key_fields"):
        Program(None, "cat", key_fields=fields)
