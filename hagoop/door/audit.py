"""Who joined, submitted, cancelled, forgot and was refused: a line of JSON each, in ``audit.log``."""

import json
from collections.abc import Callable
from pathlib import Path

from attrs import define
from twisted.logger import Logger

from hagoop.appending import Appended

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
    _file: Appended | None = None

    def note(self, event: str, **facts: object) -> None:
        """Add a line.  What cannot be written is told in the log: work goes on."""
        if self.path is None:
            return
        if self._file is None:
            self._file = Appended(self.path)
        known = {name: _short(fact) for name, fact in facts.items() if fact not in ("", None)}
        line = json.dumps({"time": round(self.wall(), 3), "event": event, **known}) + "\n"
        try:
            self._file.write(line.encode("ascii"), MOST_BYTES)
        except OSError as problem:
            log.warn("audit: {problem}: {line}", problem=problem, line=line.strip())

    def close(self) -> None:
        """No more will be noted."""
        if self._file is not None:
            self._file.close()


def _short(fact: object) -> object:
    return fact[:MOST_TEXT] if isinstance(fact, str) else fact
