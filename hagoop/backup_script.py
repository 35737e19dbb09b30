"""``hagoop-server backup DIR``: a copy of a server's state, while the server runs or not."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from twisted.python.usage import Options, UsageError

from hagoop.common_options import options_first
from hagoop.errors import StateError
from hagoop.options import state_folder
from hagoop.verdicts import in_units

COMMAND = "backup"
DONE, FAILED, USAGE = 0, 1, 2


class BackupOptions(Options):
    """What it may be told.

    :ivar target: DIR.
    """

    synopsis = "Usage: hagoop-server backup DIR [options]"
    optParameters: ClassVar[list[list[object]]] = [
        ["state", None, None, "The server's state folder [default: as hagoop-server has it]"],
    ]
    target: Path

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Options may stand behind DIR too."""
        super().parseOptions(options_first(options or (), {"state="}))

    def parseArgs(self, *words: str) -> None:
        if len(words) != 1 or not words[0]:
            raise UsageError("backup where to? write: hagoop-server backup DIR")
        self.target = Path(os.path.abspath(words[0]))

    @property
    def state(self) -> Path:
        """What is copied."""
        folder, _ = state_folder(self["state"], "server", os.environ)
        return folder


def main(words: Sequence[str]) -> int:
    """Do it; the exit status."""
    from hagoop.backup import back_up

    options = BackupOptions()
    # Whoever ends it must not leave half of a copy.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(FAILED))
    try:
        options.parseOptions(words)
        copied = back_up(options.state, options.target)
    except UsageError as error:
        print(error, file=sys.stderr)
        return USAGE
    except StateError as error:
        print(error, file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    held = f"{copied.requests} requests, {copied.running} of them running, {in_units(copied.size)}"
    start = f"hagoop-server --state {options.target}"
    print(f"Backed up {held}; to start from it: {start}", file=sys.stderr)
    return DONE
