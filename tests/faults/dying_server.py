"""A server that kills itself, as ``kill -9`` does, at one of its writes: imported before it starts."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hagoop import arriving, rows, spool
from hagoop.docket import Docket
from hagoop.server import Server
from hagoop.told import Told

CALLS = ("pwrite", "fsync", "fdatasync", "rename", "unlink", "mkdir", "ftruncate")
FEW_RUNS = 4


class Death:
    """Counts writes, and comes before one of them.

    :param point: its number; :param diary: where it is told; :param at_start: whether the start counts.
    """

    def __init__(self, point: int, diary: Path, at_start: bool) -> None:
        self.left = point
        self.diary = diary
        self.is_near = at_start

    def at(self, what: str) -> None:
        """About to do this."""
        if not self.is_near:
            return
        self.left -= 1
        if self.left == 0:
            with open(self.diary, "a") as diary:
                diary.write(f"{what}\n")
            os.kill(os.getpid(), signal.SIGKILL)

    def before(self, what: str, act: Callable[..., Any]) -> Callable[..., Any]:
        """The same act, with death before it."""

        def mortal(*words: Any, **more: Any) -> Any:
            self.at(what)
            return act(*words, **more)

        return mortal


def die_at(point: int, diary: str, at_start: bool = False) -> None:
    """Let the process die at that write; and let it merge more than a few runs."""
    death = Death(point, Path(diary), at_start)
    for name in CALLS:
        setattr(os, name, death.before(name, getattr(os, name)))
    for module in (arriving, spool):
        module.write_whole = death.before("write", arriving.write_whole)
    Told.write = death.before("told", Told.write)  # type: ignore[method-assign]
    rows._transaction = mortal_transaction(death, rows._transaction)
    begin, make = Server.start, Docket.__init__

    def start(self: Server) -> None:
        begin(self)
        death.is_near = True

    def few(self: Docket, *words: Any, **more: Any) -> None:
        make(self, *words, **{**more, "most_runs": FEW_RUNS})

    Server.start = start  # type: ignore[method-assign]
    Docket.__init__ = few  # type: ignore[method-assign]


def die_at_submit() -> None:
    """Let the process die when all that a request needs has come, and the request itself comes."""

    async def submit(self: Docket, *words: Any, **more: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    Docket.submit = submit  # type: ignore[method-assign]


def mortal_transaction(death: Death, transaction: Any) -> Any:
    """A transaction with death before its commit and after it."""

    @contextmanager
    def mortal(db: Any) -> Iterator[None]:
        with transaction(db):
            yield
            death.at("commit")
        death.at("committed")

    return mortal
