"""How a server ends that cannot go on: with a sentence, and an exit status other than 0."""

import atexit
import os
import sys
from types import TracebackType


def tell_plainly(program: str, problem: Exception) -> None:
    """twistd lets what stops a start end the process: as a sentence, not as where it came from."""

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if error is problem:
            print(f"{program}: {problem}", file=sys.stderr)
        else:
            sys.__excepthook__(kind, error, trace)

    sys.excepthook = tell


def fail_at_exit() -> None:
    """Let the process end with 1: twistd would end with 0."""
    atexit.register(_leave)


def _leave() -> None:
    for each in (sys.stdout, sys.stderr):
        each.flush()
    os._exit(1)
