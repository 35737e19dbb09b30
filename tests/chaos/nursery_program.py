"""The process from which workers are forked: a JSON list a line on stdin, and a JSON value for each.

``["bear", folder, words, environment, seconds]`` forks a worker and answers with its number; with
seconds it exits from within when they are over.  ``["poll", number]`` and ``["signal", number, signal]``
answer with how it has ended, null while it has not.
"""

import importlib
import json
import os
import random
import signal
import sys
from typing import Any, NoReturn

PRELOADED = (
    "hagoop.worker_tap",
    "hagoop.worker",
    "twisted.scripts.twistd",
    "twisted.plugins.hagoop_plugin",
    "twisted.internet.epollreactor",
    "twisted.web.client",
)
EXIT_STATUS = 3
living: set[int] = set()


def bear(folder: str, words: list[str], environment: dict[str, str], seconds: float) -> int:
    """Fork a worker."""
    number = os.fork()
    if not number:
        live(folder, words, environment, seconds)
    living.add(number)
    return number


def live(folder: str, words: list[str], environment: dict[str, str], seconds: float) -> NoReturn:
    """Be a worker, as if it had been started by its command line."""
    status = 1
    try:
        become(folder, environment)
        if seconds:
            signal.signal(signal.SIGALRM, lambda *_: os._exit(EXIT_STATUS))
            signal.setitimer(signal.ITIMER_REAL, seconds)
        sys.argv = words
        from hagoop.worker_tap import main

        main()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(status)


def become(folder: str, environment: dict[str, str]) -> None:
    """A session, a folder, a log and an environment of its own, and other dice."""
    os.setsid()
    os.chdir(folder)
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for opened, number in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(opened, number)
    os.close(nothing)
    os.close(log)
    os.environ.clear()
    os.environ.update(environment)
    random.seed()


def poll(number: int) -> int | None:
    """How a worker has ended."""
    if number not in living:
        return 0
    ended, status = os.waitpid(number, os.WNOHANG)
    if not ended:
        return None
    living.discard(number)
    return os.waitstatus_to_exitcode(status)


def send(number: int, which: int) -> int | None:
    """Signal a worker that has not ended."""
    ended = poll(number)
    if ended is None:
        os.kill(number, which)
    return ended


ACTS = {"bear": bear, "poll": poll, "signal": send}


def main() -> None:
    """Serve until stdin ends, then let nobody live."""
    for each in PRELOADED:
        importlib.import_module(each)
    assert "twisted.internet.reactor" not in sys.modules, "a reactor cannot be forked"
    for line in sys.stdin:
        what, *details = json.loads(line)
        answer: Any = ACTS[what](*details)
        print(json.dumps(answer), flush=True)
    for each in living:
        os.kill(each, signal.SIGKILL)


if __name__ == "__main__":
    main()
