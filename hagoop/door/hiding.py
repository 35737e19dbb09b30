"""A line that was given on a command line is moved to the environment, which only its user can read."""

import os
import sys
from collections.abc import Mapping, Sequence

from hagoop.door.join_string import is_join_string

VARIABLE = "HAGOOP_SERVER"
OPTION = "--server"


def without_line(words: Sequence[str]) -> tuple[list[str], str]:
    """A command line without its servers, and the line that the last of these is; else as it was."""
    left: list[str] = []
    last = ""
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name == OPTION:
            last = value if equals else next(rest, "")
        else:
            left.append(word)
    return (left, last) if is_join_string(last) else (list(words), "")


def hide_line(words: Sequence[str], environ: Mapping[str, str]) -> None:
    """Begin this process again without a line among its words, if one is: everybody may read those."""
    left, line = without_line(words)
    if line:
        os.execve(sys.executable, left, {**environ, VARIABLE: line})
