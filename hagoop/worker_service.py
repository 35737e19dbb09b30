"""A worker as a service: its state folder, its connection, its signals, its hours."""

import os
import shutil
import signal

from twisted.application.internet import ClientService
from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol

from hagoop.asking import FirstThatAnswers, retry_seconds
from hagoop.disk import StateLock, lock_state
from hagoop.door.dialling import dial
from hagoop.interfaces import IWorkerReactor
from hagoop.options import WorkerConfig
from hagoop.resting import Presence
from hagoop.signals import Signals
from hagoop.workbench import Share, Workbench
from hagoop.worker import Worker, WorkerLink


class _LinkFactory(Factory):
    noisy = False

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return WorkerLink(self._worker)


class WorkerService(MultiService):
    """A worker as ``twistd`` runs it."""

    def __init__(self, reactor: IWorkerReactor, config: WorkerConfig) -> None:
        super().__init__()
        self._reactor = reactor
        self._config = config
        self._lock: StateLock | None = None
        self._signals = Signals(reactor)

    def startService(self) -> None:
        """Lock the state folder, then connect."""
        self._lock = lock_state(self._config.state)
        if self._config.nice:
            os.nice(self._config.nice)
        scratch = self._config.state / "scratch"
        slots = self._config.slots
        share = Share(self._config.memory_bytes // slots, self._config.disk_bytes // slots)
        bench = Workbench(self._reactor, scratch, os.environ.get("PATH", os.defpath), share)
        bench.tell_container()
        self.worker = Worker(self._reactor, self._config, bench)
        self.worker.lost = self._server_lost
        endpoints = [dial(self._reactor, each) for each in self._config.servers]
        self._client = ClientService(
            FirstThatAnswers(endpoints),
            _LinkFactory(self.worker),
            retryPolicy=retry_seconds,
            clock=self._reactor,
        )
        self._client.setServiceParent(self)
        self._presence = Presence(self._reactor, self._config, self.worker.expect, self._end)
        self._signals.catch(signal.SIGUSR2, self._presence.give_notice)
        self._presence.start()
        self.worker.start()
        super().startService()

    def _server_lost(self) -> None:
        if self._config.leave_with_server:
            self._end()

    def _end(self) -> None:
        if self.running:
            self._reactor.stop()

    async def _stop(self) -> None:
        self._presence.stop()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._signals.catch(number, self.worker.hurry)
        await self.worker.stop()
        await super().stopService()
        shutil.rmtree(self.worker.bench.scratch, ignore_errors=True)
        if self._lock is not None:
            self._lock.release()
        self._signals.release()

    def stopService(self) -> "Deferred[None]":
        """Leave; fires when all programs are gone."""
        return Deferred.fromCoroutine(self._stop())


def make_worker_service(reactor: IWorkerReactor, config: WorkerConfig) -> IService:
    """A worker that is not started yet."""
    service: IService = WorkerService(reactor, config)
    return service

