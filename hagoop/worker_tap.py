"""``twistd hagoop-worker``: its options, and how they become a service."""

import os
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar, cast

from twisted.application.service import IService
from twisted.internet.endpoints import clientFromString
from twisted.logger import Logger
from twisted.python.usage import UsageError

from hagoop.awake import install_awake_clock
from hagoop.disk import lock_state
from hagoop.door.hiding import hide_line
from hagoop.door.join_string import public_part
from hagoop.door.kept import KeptLine
from hagoop.hours import parse_hours, parse_until
from hagoop.interfaces import IWorkerReactor
from hagoop.options import (
    COMMAND_PORT,
    ProgramOptions,
    WorkerConfig,
    check_endpoint,
    client_endpoint_strings,
    free_state_folder,
    host_name,
    is_loopback,
    name_files,
    parse_count,
    parse_name,
    parse_size,
    processor_count,
    server_text,
    state_folder,
    told,
    twistd_argv,
)
from hagoop.owner import Owner

log = Logger()


class Options(ProgramOptions):
    """What ``hagoop-worker`` may be told.

    :ivar config: all of it, once it is known to be sound.
    """

    program = "hagoop-worker"
    longdesc = "A worker of HaGoop: runs the programs of requests on lines that a server leases to it."
    config: WorkerConfig

    optParameters: ClassVar[list[list[object]]] = [
        ["server", None, None, "ADDRESS[,ADDRESS] or the line of hagoop-server invite [$HAGOOP_SERVER]"],
        ["server-file", None, None, "File that holds what --server takes; - is stdin"],
        ["slots", None, None, "Programs to run at a time [default: one per processor]"],
        ["name", None, None, "What people see [default: this machine's name]"],
        ["state", None, None, "Folder of identity and scratch [default: ~/.local/state/hagoop/worker]"],
        ["nice", None, "0", "How far programs stand back for others: 0 to 19"],
        ["memory", None, None, "Most memory for programs: 500M, 4GiB [default: any]"],
        ["disk", None, None, "Most disk for work in hand: 500M, 4GiB [default: any]"],
        ["until", None, None, "End at HH:MM, at a date as 2026-03-01T07:30, or after +2h"],
        ["hours", None, None, "Work only at these hours: 22-7,12:30-13:30 [default: always]"],
        ["notice", None, "120", "Seconds to the end after SIGUSR2, and what is said before other ends"],
        ["grace", None, "5", "Seconds for the jobs in hand when it leaves or rests"],
    ]
    optFlags: ClassVar[list[list[object]]] = [
        ["allow-root", None, "As root, serve a server on another machine too"],
        ["leave-with-server", None, "End when the server goes away"],
        ["idle-only", None, "Work only while nobody else needs this machine (Linux)"],
    ]

    def postOptions(self) -> None:
        """Check all that can be checked now, choose a free state folder, and name twistd's files."""
        state, number = self._state()
        servers = self._servers(state)
        if not self["allow-root"]:
            become = (self.twistd or {}).get("uid")
            refuse_root(servers, os.geteuid() if become is None else become)
        self.config = WorkerConfig(
            servers=servers,
            slots=self.read_if_given("slots", _slots) or processor_count(),
            name=self.read_if_given("name", parse_name) or host_name(),
            state=state,
            nice=self.read("nice", _niceness),
            memory_bytes=self.read_if_given("memory", parse_size) or 0,
            disk_bytes=self.read_if_given("disk", parse_size) or 0,
            allow_root=bool(self["allow-root"]),
            leave_with_server=bool(self["leave-with-server"]),
            until=self.read_if_given("until", _until),
            hours=self.read_if_given("hours", parse_hours),
            idle_only=self._idle_only(),
            notice_seconds=float(self.read("notice", _seconds)),
            grace_seconds=float(self.read("grace", _seconds)),
        )
        self.refuse_unusable(state, lock_state)
        name_files(self.twistd, self.program, number)

    def _servers(self, state: Path) -> tuple[str, ...]:
        """As named now, else as kept from the first Join, else on this machine."""
        try:
            text, named = server_text(self["server"], self["server-file"], os.environ)
        except ValueError as why:
            raise UsageError(f"--server-file: {why}") from why
        text = text or str(KeptLine(state).read() or f"127.0.0.1:{COMMAND_PORT}")
        return told(named, _client_endpoints, text)

    def _idle_only(self) -> bool:
        if self["idle-only"]:
            told("--idle-only", lambda _: Owner().check(), "")
        return bool(self["idle-only"])

    def _state(self) -> tuple[Path, int]:
        folder, chosen = state_folder(self["state"], "worker", os.environ)
        return (folder, 1) if chosen else free_state_folder(folder)


def refuse_root(servers: tuple[str, ...], user: object) -> None:
    """Raise ``UsageError`` if the programs of another machine would run as root."""
    strange = [each for each in servers if not is_loopback(each)]
    if strange and user == 0:
        raise UsageError(
            f"--server: {public_part(strange[0])} is not on this machine, and its programs would run as "
            "root here; start the worker as another user, or add --allow-root"
        )


def _slots(text: str) -> int:
    return parse_count(text, 1, 4096)


def _niceness(text: str) -> int:
    return parse_count(text, 0, 19)


def _seconds(text: str) -> int:
    return parse_count(text, 0, 86400)


def _until(text: str) -> datetime | timedelta:
    return parse_until(text, datetime.now())


def _client_endpoints(text: str) -> tuple[str, ...]:
    from twisted.internet import reactor

    endpoints = client_endpoint_strings(text)
    for endpoint in endpoints:
        check_endpoint(lambda it: clientFromString(reactor, it), endpoint)
    return endpoints


def makeService(options: Options, reactor: IWorkerReactor | None = None) -> IService:
    """Build the worker.  A reactor that is passed in keeps its own clock."""
    from hagoop.worker_service import make_worker_service

    if os.geteuid() == 0:
        log.warn("this worker runs the programs of requests as root")
    return make_worker_service(reactor or _awake_reactor(), options.config)


def _awake_reactor() -> IWorkerReactor:
    """Twisted's reactor, whose own clock would follow every step of the wall clock."""
    from twisted.internet import reactor

    install_awake_clock(reactor)  # type: ignore[arg-type]
    return cast(IWorkerReactor, reactor)


def main() -> None:
    """The script ``hagoop-worker``: the same as ``twistd hagoop-worker``."""
    hide_line(sys.orig_argv, os.environ)
    from twisted.scripts.twistd import run

    sys.argv = twistd_argv(Options.program, sys.argv[1:])
    run()
