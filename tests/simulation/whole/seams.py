"""Where the product reaches for its machine, the world is there instead, while it runs."""

import gc
import io
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

from attrs import frozen
from twisted.logger import globalLogPublisher

import hagoop.arriving
import hagoop.client
import hagoop.counting
import hagoop.disk
import hagoop.following
import hagoop.intake
import hagoop.process
import hagoop.server
import hagoop.sorting
import hagoop.spool
import hagoop.stored
import hagoop.verdicts
import hagoop.workbench
import hagoop.worker
import hagoop.worker_service
from hagoop.containers import Container
from hagoop.docket import Docket
from hagoop.families import Usage


@frozen
class WorldContainer(Container):
    """Programs are held together by the world."""

    world: Any = None

    def signal(self, pid: int, number: Any) -> None:
        self.world.signal(pid, number)

    def sweep(self, pid: int) -> None:
        """They start nothing."""


class NoSignals:
    """Signals are for processes of their own."""

    def __init__(self, *_: Any) -> None:
        """There is nothing to know."""

    def catch(self, *_: Any) -> None:
        """None comes."""

    def release(self) -> None:
        """None was caught."""


class Proxy:
    """A module, but for some names."""

    def __init__(self, module: Any, **others: Any) -> None:
        self.__dict__.update(others)
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def replacements(world: Any) -> list[tuple[Any, str, Any]]:
    """What stands in for what."""
    container = WorldContainer("world", world=world)
    disk = world.disk
    synced = Proxy(os, fsync=disk.fsync, fdatasync=disk.fdatasync, pwrite=disk.pwrite)
    return [
        (hagoop.counting, "time", SimpleNamespace(monotonic=world.clock.seconds)),
        (hagoop.server, "wall_seconds", world.wall),
        (hagoop.server, "SqliteJournal", world.open_journal),
        (hagoop.stored, "os", synced),
        (hagoop.stored, "sync_folder", disk.sync_folder),
        (hagoop.spool, "sync_folder", disk.sync_folder),
        (hagoop.spool, "os", Proxy(os, rename=disk.rename)),
        (hagoop.intake, "sees", world.server_sees),
        (hagoop.process, "find_container", lambda _: container),
        (hagoop.process, "usage", lambda *_: Usage(1, 0)),
        (hagoop.workbench, "find_container", lambda _: container),
        (hagoop.verdicts, "others_of_user", lambda: 0),
        (hagoop.sorting, "_known", lambda options: options),
        (hagoop.sorting, "_SMALL_BYTES", world.scenario.small_bytes),
        (hagoop.worker_service, "Signals", NoSignals),
        (hagoop.worker_service, "retry_seconds", world.retry_seconds),
        (hagoop.worker.Worker, "commit", world.watched_commit(hagoop.worker.Worker.commit)),
        (hagoop.client.Client, "call", world.watched_call(hagoop.client.Client.call)),
        (hagoop.arriving, "SMALL_BYTES", world.scenario.spill_bytes),
        (hagoop.spool, "SEGMENT_BYTES", world.scenario.segment_bytes),
        (hagoop.server, "Docket", partial(Docket, most_runs=world.scenario.most_runs)),
        (hagoop.following, "signal", SimpleNamespace(SIGINT=2, SIGHUP=1, signal=lambda *_: None)),
        (secrets, "token_bytes", world.token_bytes),
        # Others might keep what they are told, and with it all that was ever in a world.
        (globalLogPublisher, "_observers", [world.observe]),
        (sys, "stdout", io.TextIOWrapper(io.BytesIO())),
        (sys, "stderr", io.StringIO()),
    ]


@contextmanager
def all_is_taken_away() -> Iterator[None]:
    """What the dead have left goes at the end, and not whenever it pleases the collector.

    Coroutines that go run what they have to do at last, some wait for something then that will not come,
    and files of the killed were never closed: of all that nobody is told, in this test or a later one.
    """
    with ExitStack() as undo:
        gc.disable()
        undo.callback(gc.enable)
        gc.freeze()
        undo.callback(gc.unfreeze)
        undo.callback(setattr, sys, "unraisablehook", sys.unraisablehook)
        sys.unraisablehook = lambda _: None
        undo.callback(gc.collect)
        yield


@contextmanager
def the_world_is(world: Any) -> Iterator[None]:
    """The product lives in this world meanwhile."""
    with ExitStack() as undo:
        for place, name, other in replacements(world):
            undo.callback(setattr, place, name, getattr(place, name))
            setattr(place, name, other)
        yield
