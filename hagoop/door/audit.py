"""Who joined, submitted, cancelled, forgot and was refused: a line of JSON each, in ``audit.log``."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from attrs import define
from twisted.logger import Logger

log = Logger()
MOST_BYTES = 16 << 20
MOST_TEXT = 300


@define(eq=False)
class Audit:
    """The file, or nothing; past ``MOST_BYTES`` it becomes ``audit.log.1``, and that one is gone.

    :ivar wall: seconds since 1970.
    """

    path: Path | None
    wall: Callable[[], float]
    _descriptor: int = -1
    _size: int = 0

    def note(self, event: str, **facts: object) -> None:
        """Add a line.  What cannot be written is told in the log: work goes on."""
        if self.path is None:
            return
        known = {name: _short(fact) for name, fact in facts.items() if fact not in ("", None)}
        line = json.dumps({"time": round(self.wall(), 3), "event": event, **known}) + "\n"
        try:
            self._write(self.path, line.encode("ascii"))
        except OSError as problem:
            log.warn("audit: {problem}: {line}", problem=problem, line=line.strip())

    def _write(self, path: Path, line: bytes) -> None:
        if self._descriptor >= 0 and self._size + len(line) > MOST_BYTES:
            self.close()
            os.replace(path, path.with_name(f"{path.name}.1"))
        if self._descriptor < 0:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o600)
            self._size = os.fstat(self._descriptor).st_size
        self._size += os.write(self._descriptor, line)

    def close(self) -> None:
        """No more will be noted."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _short(fact: object) -> object:
    return fact[:MOST_TEXT] if isinstance(fact, str) else fact
