"""The number of the last commit that anybody was told of, in a file beside the journal.

It is written after each commit was synced and before it is told, and is not synced itself: it may be
behind, after a power cut, but never ahead.  A journal that holds less has lost what it had.
"""

import os
from hashlib import blake2b
from pathlib import Path

from hagoop.disk import is_full

DIGITS = 20


class Told:
    """That file, open for writing from the first time on."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}-told")
        self._descriptor = -1

    def read(self) -> int:
        """The number; 0 where none is known: it only helps to find damage, and holds no fact."""
        try:
            found = self.path.read_bytes()
        except FileNotFoundError:
            return 0
        digits = found[:DIGITS]
        return int(digits) if digits.isdigit() and found == _encode(int(digits)) else 0

    def write(self, number: int) -> None:
        """So many commits may be told of.

        :raises OSError: the disk cannot be trusted.
        """
        try:
            if self._descriptor < 0:
                self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.pwrite(self._descriptor, _encode(number), 0)
        except OSError as problem:
            # What is there is behind then, as after a power cut.
            if not is_full(problem):
                raise

    def close(self) -> None:
        """No more will come."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _encode(number: int) -> bytes:
    digits = b"%0*d" % (DIGITS, number)
    return digits + b" " + blake2b(digits, digest_size=8).hexdigest().encode() + b"\n"
