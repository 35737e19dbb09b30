"""A base class for programs in Python.

A program is a script that ends with ``main()`` of a class of its own::

    from hagoop.app import MapReduce

    class WordCount(MapReduce):
        def map(self, line):
            for word in line.split():
                yield word, 1

        def reduce(self, key, values):
            yield key, sum(map(int, values))

    if __name__ == "__main__":
        WordCount.main()

It is run as ``python3 wordcount.py map`` and ``python3 wordcount.py reduce``.  A key ends at the first
TAB, whatever a request says of fields and separators.  Followed by FILE START END OFFSET, as
``--binary ./wordcount.py`` has it, they take so many lines of FILE, and a key ends at ``", "``.  Text is
UTF-8, and bytes that are not pass through unharmed.  This file needs nothing but Python, so
it can travel with the script.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BufferedIOBase
from itertools import chain, groupby, islice, repeat
from operator import itemgetter

Pairs = Iterable[tuple[object, object]]
"""Keys and values, printed as ``str`` makes them; a value of ``None`` is not printed."""

_BATCH_CHARACTERS = 1 << 16
_READ_BYTES = 1 << 13
_TAB, _COMMA = "\t", ", "
"""What ends a key, by interface."""


class MapReduce:
    """Map and reduce, and a combiner where it pays; what is not defined is not offered."""

    map: Callable[[str], Pairs | None]
    """Gives pairs for one line, which comes without its newline."""
    reduce: Callable[[str, Iterator[str]], Pairs | None]
    """Gives pairs for a key and its values, which may be left unread."""
    combine: Callable[[str, Iterator[str]], Pairs | None]
    """Like ``reduce``, over any part of a key's values, any number of times."""

    def count(self, group: str, name: str, amount: int = 1) -> None:
        """Add to a counter of the request; told once, when the program ends well."""
        if any(character in group + name for character in ",\n"):
            raise ValueError(f"a counter's name may hold no comma and no newline: {group!r}, {name!r}")
        sums = self._sums()
        sums[group, name] = sums.get((group, name), 0) + amount

    def status(self, text: str) -> None:
        """Say what the program does now."""
        _say(f"reporter:status:{' '.join(text.splitlines())}")

    @classmethod
    def main(cls, arguments: Sequence[str] | None = None) -> None:
        """Do what the command line says, from stdin, or lines of a file, to stdout; then leave."""
        words = sys.argv[1:] if arguments is None else list(arguments)
        offered = [name for name in ("map", "combine", "reduce") if hasattr(cls, name)]
        if not _is_call(words, offered):
            script = os.path.basename(sys.argv[0])
            _say(f"{script}: say what to do: {script} {'|'.join(offered)}")
            raise SystemExit(2)
        try:
            what, *place = words
            cls()._run(what, _lines_at(*place) if place else _lines(), _COMMA if place else _TAB)
        except BrokenPipeError:
            # Nobody reads on; what is still buffered must not complain at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(1) from None

    def _run(self, what: str, lines: Iterator[str], separator: str) -> None:
        printer = _Printer(separator)
        if what == "map":
            self._map_all(lines, printer)
        else:
            self._fold_all(getattr(self, what), lines, printer)
        printer.flush()
        for (group, name), amount in self._sums().items():
            _say(f"reporter:counter:{group},{name},{amount}")

    def _map_all(self, lines: Iterator[str], printer: "_Printer") -> None:
        take, give = printer.take, self.map
        for line in lines:
            pairs = give(line)
            if pairs is not None:
                take(pairs)

    def _fold_all(
        self,
        fold: Callable[[str, Iterator[str]], Pairs | None],
        lines: Iterator[str],
        printer: "_Printer",
    ) -> None:
        # Nothing of our own is called for a line: that would cost more than most reducers.
        take, value_of = printer.take, itemgetter(2)
        parted = map(str.partition, lines, repeat(printer.separator))
        for key, group in groupby(parted, key=itemgetter(0)):
            take(fold(key, map(value_of, group)) or ())

    def _sums(self) -> dict[tuple[str, str], int]:
        # Not made by __init__: a class may have its own and not call ours.
        sums: dict[tuple[str, str], int] = self.__dict__.setdefault("_counter_sums", {})
        return sums


class _Printer:
    """Writes pairs as lines, many at once: a call of ``write`` per line costs more than ``map``."""

    def __init__(self, separator: str) -> None:
        self.separator = separator
        self._sign = "TAB" if separator == _TAB else repr(separator)
        self._lines: list[str] = []
        self._size = 0

    def take(self, pairs: Pairs) -> None:
        add, size, separator = self._lines.append, self._size, self.separator
        for key, value in pairs:
            name = key if type(key) is str else _word(key)
            if separator in name:
                raise ValueError(f"a key may hold no {self._sign} and no newline: {name[:200]!r}")
            if type(value) is bytes:
                value = _word(value)
            line = f"{name}{separator}{value}\n" if value is not None else f"{name}\n"
            add(line)
            size += len(line)
            if size > _BATCH_CHARACTERS:
                self.flush()
                size = 0
        self._size = size

    def flush(self) -> None:
        text = "".join(self._lines)
        if text.count("\n") != len(self._lines):
            self._complain()
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()
        self._lines.clear()
        self._size = 0

    def _complain(self) -> None:
        line = next(each for each in self._lines if each.count("\n") > 1)
        name, _, value = line[:-1].partition(self.separator)
        if "\n" in name:
            raise ValueError(f"a key may hold no {self._sign} and no newline: {name[:200]!r}")
        raise ValueError(f"a value may hold no newline: {value[:200]!r}, of key {name[:200]!r}")


def _is_call(words: Sequence[str], offered: Sequence[str]) -> bool:
    """Whether that says what to do: ``map``, or ``map FILE START END OFFSET``."""
    is_known = len(words) in (1, 5) and words[0] in offered
    return is_known and all(each.isascii() and each.isdigit() for each in words[2:])


def _lines_at(path: str, start: str, end: str, offset: str) -> Iterator[str]:
    """So many lines of a file, from a byte on."""
    with open(path, "rb") as file:
        file.seek(int(offset))
        for line in islice(file, int(end) - int(start)):
            yield _text(line.removesuffix(b"\n"))


def _lines() -> Iterator[str]:
    """The lines of stdin without their newlines; all else, CR and the like, is text."""
    assert isinstance(sys.stdin.buffer, BufferedIOBase)
    return chain.from_iterable(_blocks(sys.stdin.buffer))


def _blocks(source: BufferedIOBase) -> Iterator[list[str]]:
    """Lines as they come, many at once; no more is read ahead than a pipe's reader would."""
    begun: list[bytes] = []
    while data := source.read1(_READ_BYTES):
        whole, newline, rest = data.rpartition(b"\n")
        if newline:
            yield _text(b"".join([*begun, whole])).split("\n")
            begun.clear()
        if rest:
            begun.append(rest)
    if begun:
        yield [_text(b"".join(begun))]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _word(value: object) -> str:
    return _text(value) if isinstance(value, bytes) else str(value)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
