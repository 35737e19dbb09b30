"""What is known of the blocks of very many files, in little memory: a few numbers for each."""

from array import array
from bisect import bisect_left
from typing import Protocol

from attrs import define, field, frozen


class Sums(Protocol):
    """The checksums of one file's blocks."""

    def __getitem__(self, number: int, /) -> int:
        """That of the block of this number."""


@frozen
class FileSums:
    """Those of a file whose first block is the index's block of this number."""

    sums: "array[int]"
    first: int

    def __getitem__(self, number: int, /) -> int:
        return self.sums[self.first + number]


@define(eq=False)
class BlockIndex:
    """Blocks in the order of files and in these; threads may look things up while it grows."""

    _firsts: "array[int]" = field(factory=lambda: array("Q"), init=False)
    """For each file that has begun, how many blocks are before it."""
    _newlines: "array[int]" = field(factory=lambda: array("Q"), init=False)
    """All newlines of a file up to each block's end."""
    _sums: "array[int]" = field(factory=lambda: array("I"), init=False)

    def begin(self, file: int) -> None:
        """The next blocks are of this file; a second time does nothing."""
        if file == len(self._firsts):
            self._firsts.append(len(self._newlines))

    def add(self, newlines: int, checksum: int | None) -> None:
        """One more block.

        :param checksum: None: there is none, and nobody will ask for it.
        """
        self._sums.append(checksum or 0)
        self._newlines.append(newlines)

    def find(self, file: int, line: int) -> tuple[int, int]:
        """Which block of a file holds the newline of this number, from 1, and how many are before it."""
        first = self._firsts[file]
        last = self._firsts[file + 1] if file + 1 < len(self._firsts) else len(self._newlines)
        block = bisect_left(self._newlines, line, first, last)
        return block - first, self._newlines[block - 1] if block > first else 0

    def sums(self, file: int) -> Sums:
        """The checksums of a file's blocks."""
        return FileSums(self._sums, self._firsts[file])


@define(eq=False)
class TextIndex:
    """Where the texts of packed files are: base and size, by the numbers of files, which rise."""

    _files: "array[int]" = field(factory=lambda: array("I"), init=False)
    _bases: "array[int]" = field(factory=lambda: array("Q"), init=False)
    _sizes: "array[int]" = field(factory=lambda: array("Q"), init=False)

    def put(self, file: int, base: int, size: int) -> None:
        """Of the newest file there is so much."""
        if self._files and self._files[-1] == file:
            self._sizes[-1] = size
            return
        self._bases.append(base)
        self._sizes.append(size)
        # Last, for threads look for it.
        self._files.append(file)

    def find(self, file: int) -> tuple[int, int] | None:
        """Base and size of a file's text; None: it is not packed."""
        at = bisect_left(self._files, file)
        found = at < len(self._files) and self._files[at] == file
        return (self._bases[at], self._sizes[at]) if found else None
