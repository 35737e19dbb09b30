"""What all commands of ``hagoop-request`` share: where the server is, words between options."""

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import ClassVar, NoReturn

from twisted.python.usage import Options, UsageError

from hagoop import __version__
from hagoop.door.join_string import public_part
from hagoop.options import COMMAND_PORT, client_endpoint_strings, server_text

STDOUT = "-"
SHORT_WITH_VALUE = "omrc"


class CommonOptions(Options):
    """Options that all commands take."""

    optParameters: ClassVar[list[list[object]]] = [
        ["server", None, None, "HOST, HOST:PORT, endpoint or line of an invitation [$HAGOOP_SERVER]"],
        ["server-file", None, None, "File that holds what --server takes; - is stdin"],
    ]
    optFlags: ClassVar[list[list[object]]] = [
        ["json", None, "Print JSON"],
        ["quiet", None, "Say nothing but the answer and errors"],
    ]

    def __init__(self) -> None:
        super().__init__()
        self.words: tuple[str, ...] = ()

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Options may stand between and after INPUTs, as users of GNU tools write them."""
        long: list[str] = self.longOpt
        super().parseOptions(options_first(options or (), {each for each in long if each[-1:] == "="}))

    def parseArgs(self, *words: str) -> None:
        self.words = words

    def opt_version(self) -> None:
        """Print the version and leave."""
        print_version()

    @cached_property
    def _named(self) -> tuple[str, str]:
        """The servers as named, and by what; stdin can be read once."""
        try:
            text, named = server_text(self["server"] or None, self["server-file"], os.environ)
        except ValueError as error:
            raise UsageError(f"--server-file: {error}") from error
        return text or f"127.0.0.1:{COMMAND_PORT}", named

    @property
    def where(self) -> str:
        """The servers as named, without what is secret."""
        return public_part(self._named[0])

    @property
    def servers(self) -> tuple[str, ...]:
        """The servers as endpoint strings or lines."""
        text, named = self._named
        try:
            return client_endpoint_strings(text)
        except ValueError as error:
            shown = f"{named}{'=' if named == 'HAGOOP_SERVER' else ' '}{self.where}"
            raise UsageError(f"{shown}: {error}") from error


def print_version() -> NoReturn:
    """Print the version and leave."""
    print(f"hagoop {__version__}")
    raise SystemExit(0)


def options_first(words: Sequence[str], with_value: set[str]) -> list[str]:
    """The options with their values, then everything else: Twisted reads no option behind a word.

    :param with_value: the long options that take a value, each ending in ``=``.
    :raises UsageError: the last option has none.
    """
    options: list[str] = []
    others: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            others += rest
        elif not word.startswith("-") or word == STDOUT:
            others.append(word)
        else:
            options.append(word)
            if _takes_next(word, with_value):
                options.append(value_of(word, rest))
    return [*options, "--", *others]


def value_of(option: str, rest: Iterator[str]) -> str:
    """The word after an option that needs one."""
    for value in rest:
        return value
    raise UsageError(f"{option} needs a value")


def _takes_next(word: str, with_value: set[str]) -> bool:
    if not word.startswith("--"):
        return len(word) == 2 and word[1] in SHORT_WITH_VALUE
    return "=" not in word and any(each.startswith(word[2:]) for each in with_value)
