"""``twistd hagoop-server``: its options, and how they become a service."""

import os
import sys
from pathlib import Path
from typing import ClassVar, cast

from twisted.application.service import IService
from twisted.internet.endpoints import serverFromString
from twisted.logger import Logger
from twisted.python.usage import UsageError

from hagoop.awake import install_awake_clock
from hagoop.disk import StateLock, lock_state, refuse_other
from hagoop.door.join_string import NO_SECRET, JoinString, parse_join_string
from hagoop.errors import StateError
from hagoop.interfaces import IServerReactor
from hagoop.options import (
    COMMAND_PORT,
    WEB_PORT,
    ProgramOptions,
    ServerConfig,
    brings_own_tls,
    check_endpoint,
    is_loopback,
    listening_host,
    listening_port,
    name_files,
    parse_age,
    parse_folder,
    parse_size,
    server_endpoint_string,
    state_folder,
    told,
    twistd_argv,
)

log = Logger()


class Options(ProgramOptions):
    """What ``hagoop-server`` may be told.

    :ivar config: all of it, once it is known to be sound.
    """

    program = "hagoop-server"
    longdesc = "The server of HaGoop: keeps requests and their data, and leases work to workers."
    config: ServerConfig

    optParameters: ClassVar[list[list[object]]] = [
        ["listen", None, f"127.0.0.1:{COMMAND_PORT}", "PORT, HOST:PORT or endpoint of the commands"],
        ["web", None, f"127.0.0.1:{WEB_PORT}", "PORT, HOST:PORT or endpoint of bytes and page"],
        ["state", None, None, "Folder of all that is kept [default: ~/.local/state/hagoop/server]"],
        ["keep", None, "7d", "How long answers are kept: 90s, 12h, 7d"],
        ["spool", None, None, "Most bytes to keep: 500M, 4GiB [default: half of the free disk]"],
        ["host", None, None, "By which name or address others reach --listen [default: as it is found]"],
    ]
    optFlags: ClassVar[list[list[object]]] = [
        ["insecure", None, "Listen beyond this machine to everybody, without secrets and TLS"],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["input-root"] = []

    def opt_input_root(self, folder: str) -> None:
        """Folder whose files requests may read as server:PATH (may be repeated)"""
        self["input-root"].append(told("--input-root", parse_folder, folder))

    def postOptions(self) -> None:
        """Check all that can be checked now, and name twistd's files."""
        state, _ = state_folder(self["state"], "server", os.environ)
        self.config = ServerConfig(
            listen=self._place("listen", COMMAND_PORT),
            web=self._place("web", WEB_PORT),
            state=state,
            input_roots=tuple(self["input-root"]),
            keep_seconds=self.read("keep", parse_age),
            spool_bytes=self.read_if_given("spool", parse_size),
            insecure=bool(self["insecure"]),
            host=self.read_if_given("host", _host) or "",
        )
        self._refuse_double_tls()
        self.refuse_unusable(state, _lock)
        name_files(self.twistd, self.program, 1)

    def _place(self, option: str, port: int) -> str:
        return self.read(option, lambda text: _server_endpoint(text, port))

    def _refuse_double_tls(self) -> None:
        for option, endpoint in (("listen", self.config.listen), ("web", self.config.web)):
            if self.config.has_door and brings_own_tls(endpoint):
                raise UsageError(
                    f"--{option} {self[option]}: the server has TLS of its own; write HOST:PORT"
                )


def _lock(state: Path) -> StateLock:
    refuse_other(state, "identity", "a worker")
    return lock_state(state)


def _host(text: str) -> str:
    try:
        return parse_join_string(str(JoinString(text, 1, NO_SECRET, "none", NO_SECRET))).host
    except ValueError:
        raise ValueError(f"{text!r} is not a name or an address of a machine") from None


def _server_endpoint(text: str, port: int) -> str:
    from twisted.internet import reactor

    endpoint = server_endpoint_string(text, port)
    check_endpoint(lambda it: serverFromString(reactor, it), endpoint)
    return endpoint


def makeService(options: Options, reactor: IServerReactor | None = None) -> IService:
    """Build the server.  A reactor that is passed in keeps its own clock."""
    from hagoop.server import make_server_service

    config = options.config
    for endpoint in (config.listen, config.web):
        if config.insecure and not is_loopback(endpoint):
            log.warn("--insecure: {endpoint} is open to anybody who reaches it", endpoint=endpoint)
    if config.has_door and (options.twistd or {}).get("uid") is None:
        # Now, for a daemon has no terminal.
        introduce_to_terminal(config)
    return make_server_service(reactor or _awake_reactor(), config)


def introduce_to_terminal(config: ServerConfig) -> None:
    """At a first start beyond this machine: print the lines for others."""
    from hagoop.door.doorway import introduce, is_terminal, open_doorway, own_host
    from hagoop.server import wall_seconds

    port = listening_port(config.listen)
    if not port or not is_terminal():
        return
    try:
        doorway = open_doorway(config.state)
        doorway.move(config.host or listening_host(config.listen) or own_host(), port)
        introduce(doorway, wall_seconds())
    except StateError as problem:
        raise SystemExit(f"hagoop-server: {problem}") from problem


def _awake_reactor() -> IServerReactor:
    """Twisted's reactor, whose own clock would follow every step of the wall clock."""
    from twisted.internet import reactor

    install_awake_clock(reactor)  # type: ignore[arg-type]
    return cast(IServerReactor, reactor)


def main() -> None:
    """The script ``hagoop-server``: as ``twistd hagoop-server``, and commands about its state."""
    from twisted.scripts.twistd import run

    from hagoop import backup_script
    from hagoop.door.script import COMMANDS
    from hagoop.door.script import main as about_secrets

    if sys.argv[1:2] and sys.argv[1] in COMMANDS:
        sys.exit(about_secrets(sys.argv[1:]))
    if sys.argv[1:2] == [backup_script.COMMAND]:
        sys.exit(backup_script.main(sys.argv[2:]))
    sys.argv = twistd_argv(Options.program, sys.argv[1:])
    run()
