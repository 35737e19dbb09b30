"""A file that only grows, and not for ever: past a bound it becomes ``NAME.1``, and that one is gone."""

import os
from pathlib import Path

from attrs import define


@define(eq=False)
class Appended:
    """The file; it is opened when the first bytes are written, for its owner alone."""

    path: Path
    _descriptor: int = -1
    _size: int = 0

    def write(self, data: bytes, most_bytes: int) -> None:
        """Add bytes, in another file if this one would have more than so many.

        :raises OSError: they cannot be written.
        """
        if self._descriptor >= 0 and self._size + len(data) > most_bytes:
            self.close()
            os.replace(self.path, before(self.path))
        if self._descriptor < 0:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o600)
            self._size = os.fstat(self._descriptor).st_size
        self._size += os.write(self._descriptor, data)

    def close(self) -> None:
        """Let go of it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def before(path: Path) -> Path:
    """Where what was written before is."""
    return path.with_name(f"{path.name}.1")
