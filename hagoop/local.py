"""``run --local``: a server in this process and one-slot worker processes, for one request."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from hagoop.errors import RequestFailed
from hagoop.interfaces import IWorkerReactor
from hagoop.options import ServerConfig
from hagoop.server import ServerService

GRACE_SECONDS = 8.0


class _WorkerProcess(ProcessProtocol):
    """One worker; what it says is kept in a file for when it does not come up."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()
        self.gone: Deferred[None] = Deferred()

    def processEnded(self, reason: Failure) -> None:
        """It is gone."""
        self.ended.callback(None)
        self.gone.callback(None)


@define(eq=False)
class LocalCluster:
    """A server and its workers on this machine, gone with ``stop``."""

    reactor: IWorkerReactor
    workers: int
    folder: Path = field(factory=lambda: Path(tempfile.mkdtemp(prefix="hagoop-")))
    _service: ServerService | None = None
    _processes: list[tuple[_WorkerProcess, IProcessTransport]] = field(factory=list)
    _stopping: "Deferred[None] | None" = None

    def start(self) -> str:
        """Start all; the endpoint string of the server."""
        # Also when a signal ends this process.
        self.reactor.addSystemEventTrigger("before", "shutdown", self.stop)
        config = ServerConfig(
            listen="tcp:0:interface=127.0.0.1",
            web="tcp:0:interface=127.0.0.1",
            state=self.folder / "server",
            input_roots=(),
            keep_seconds=float("inf"),
            spool_bytes=None,
            insecure=False,
        )
        service = self._service = ServerService(self.reactor, config)
        service.privilegedStartService()
        service.startService()
        server = f"tcp:127.0.0.1:{service.command_port}"
        for name, words in self.crew(server):
            self._spawn(name, words)
        return server

    def crew(self, server: str) -> Iterator[tuple[str, list[str]]]:
        """Name and command line of each worker."""
        names = [f"local-{number}" for number in range(1, self.workers + 1)]
        return ((each, self.worker(server, each)) for each in names)

    def worker(self, server: str, name: str) -> list[str]:
        """The command line of a worker of one slot."""
        words = ["--nodaemon", "--pidfile=", "--leave-with-server", "--slots", "1"]
        words += ["--server", server, "--name", name, "--state", str(self.folder / name)]
        return [*in_own_session("hagoop.worker_tap"), *words]

    def _spawn(self, name: str, words: Sequence[str]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        log = os.open(self.folder / f"{name}.log", flags, 0o600)
        process = _WorkerProcess()
        try:
            transport = self.reactor.spawnProcess(
                process, words[0], words, dict(os.environ), childFDs={1: log, 2: log}
            )
        finally:
            os.close(log)
        self._processes.append((process, transport))

    async def all_gone(self) -> NoReturn:
        """Wait until no worker is left, which should not happen, and say why.

        :raises RequestFailed: always.
        """
        await DeferredList([process.gone for process, _ in self._processes], consumeErrors=True)
        if self._stopping is not None:
            await Deferred()
        first = next(self.folder.glob("*.log"))
        said = first.read_text(errors="replace").strip().splitlines()
        raise RequestFailed(f"all local workers have ended; one said: {said[-1] if said else ''}")

    def stop(self) -> "Deferred[None]":
        """End all and leave nothing behind; who calls it again waits for the same."""
        if self._stopping is None:
            # Known before it begins: what it ends asks.
            self._stopping = Deferred()
            Deferred.fromCoroutine(self._stop()).chainDeferred(self._stopping)
        stopped: Deferred[None] = Deferred()
        # Who called first is told if it failed.
        self._stopping.addBoth(stopped.callback)
        return stopped

    async def _stop(self) -> None:
        kills = []
        for process, transport in self._processes:
            if not process.ended.called:
                _signal(transport, "TERM")
                kills.append(self.reactor.callLater(GRACE_SECONDS, _signal, transport, "KILL"))
        await DeferredList([process.ended for process, _ in self._processes])
        for each in kills:
            if each.active():
                each.cancel()
        if self._service is not None:
            await self._service.stopService()
        shutil.rmtree(self.folder, ignore_errors=True)


def in_own_session(module: str) -> list[str]:
    """The words that run ``main`` of a module: Ctrl-C is for us, who end our workers in good order."""
    start = f"import os, sys; os.setsid(); from {module} import main; sys.exit(main())"
    return [sys.executable, "-c", start]


def _signal(transport: IProcessTransport, signal: str) -> None:
    try:
        transport.signalProcess(signal)
    except ProcessExitedAlready:
        pass
