"""The process from which others are forked: it has read the code, which is most of what a start costs.

On stdin, a socket, comes a JSON list at a time, and an answer goes back for each.  ``["bear", words,
folder, environment, session]``, with three descriptors, forks a process that goes on as ``python WORDS``
would, and answers with its number.  ``["poll", number]`` and ``["signal", number, signal]`` answer
with how it has ended, null while it has not.
"""

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import time
from io import TextIOWrapper
from types import ModuleType
from typing import Any

from attrs import frozen

PRELOADED = """
    hagoop.demo.unruly hagoop.following hagoop.request_script hagoop.server hagoop.server_tap
    hagoop.worker hagoop.worker_service hagoop.worker_tap twisted.internet.epollreactor
    twisted.plugins.hagoop_plugin twisted.scripts.twistd twisted.web.client
""".split()
MOST_BYTES = 1 << 16
"""An order is one packet of at most so many."""
born: dict[int, int | None] = {}
"""How each process has ended; None: it has not, or nobody has asked."""


@frozen
class Birth:
    """What a child is to become.

    :param words: ``-c CODE WORD...`` or ``-m MODULE WORD...``.
    :param session: whether it has a session of its own.
    :param streams: its stdin, stdout and stderr.
    :param ready: is closed when it has become that.
    """

    words: list[str]
    folder: str
    environment: dict[str, str]
    session: bool
    streams: list[int]
    ready: int


def serve(orders: socket.socket) -> Birth | None:
    """Do what is told until nobody is there to tell; in a child return at once."""
    while True:
        told, streams, _, _ = socket.recv_fds(orders, MOST_BYTES, 3)
        if not told:
            return None
        what, *details = json.loads(told)
        answer = bear(details, streams) if what == "bear" else ACTS[what](*details)
        if isinstance(answer, Birth):
            return answer
        orders.send(json.dumps(answer).encode())


def bear(details: list[Any], streams: list[int]) -> int | Birth:
    """Fork a child: its number, once it has become what it is to be; in the child that."""
    waiting, ready = os.pipe()
    number = os.fork()
    if not number:
        os.close(waiting)
        return Birth(*details, streams, ready)
    born[number] = None
    for each in (ready, *streams):
        os.close(each)
    # Its group may be signalled and its folder be looked for at once, as after an exec.
    os.read(waiting, 1)
    os.close(waiting)
    return number


def poll(number: int) -> int | None:
    """How a process has ended, as often as it is asked."""
    if born[number] is None:
        ended, status = os.waitpid(number, os.WNOHANG)
        if ended:
            born[number] = os.waitstatus_to_exitcode(status)
    return born[number]


def send(number: int, which: int) -> int | None:
    """Signal a process that has not ended: until it is waited for its number is of no other."""
    ended = poll(number)
    if ended is None:
        os.kill(number, which)
    return ended


ACTS = {"poll": poll, "signal": send}


def become(birth: Birth) -> None:
    """Take over all by which the system tells processes apart."""
    if birth.session:
        os.setsid()
    os.chdir(birth.folder)
    for number, each in enumerate(birth.streams):
        os.dup2(each, number)
        os.close(each)
    os.environ.clear()
    os.environ.update(birth.environment)
    time.tzset()
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        renew_stream(number, name)
    os.close(birth.ready)


def renew_stream(number: int, name: str) -> None:
    """Open it as the interpreter did: it remembers of a file whether it is a terminal, or can seek."""
    old = getattr(sys, name)
    data: Any = open(number, f"{old.mode}b", closefd=False)
    data.raw.name = old.name
    by_line = number == 2 or data.isatty()
    made: Any = TextIOWrapper(data, old.encoding, old.errors, newline="\n", line_buffering=by_line)
    made.mode = old.mode
    setattr(sys, name, made)
    setattr(sys, f"__{name}__", made)


def live(words: list[str]) -> None:
    """Do what the words say."""
    option, what, *rest = words
    sys.orig_argv[:] = [sys.executable, *words]
    sys.argv = [option, *rest]
    sys.path.insert(0, "" if option == "-c" else os.getcwd())
    if option == "-m":
        # Else it is said that it was imported before it is run.
        sys.modules.pop(what, None)
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        main_module = sys.modules["__main__"] = ModuleType("__main__")
        exec(compile(what, "<string>", "exec"), main_module.__dict__)


def main() -> None:
    """Serve, then let nobody live; or, in a child, live and end as any interpreter does."""
    if os.fork():
        # Nobody's child: tests look for children that were left behind.
        return
    # The folder of this file, which is on nobody else's path.
    del sys.path[0]
    for each in PRELOADED:
        importlib.import_module(each)
    assert "twisted.internet.reactor" not in sys.modules, "a reactor cannot be forked"
    # What is frozen is not looked at, so that its pages stay shared.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=os.dup(0)) as orders:
        birth = serve(orders)
    if birth is not None:
        become(birth)
        live(birth.words)
        return
    for each in born:
        send(each, signal.SIGKILL)


if __name__ == "__main__":
    main()
