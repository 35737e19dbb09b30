"""The reckoning of a world: what has come of all, and that nothing is left of it."""

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.python.failure import Failure

from hagoop.client import Client
from hagoop.errors import ServerUnreachable
from whole.machines import SERVER

if TYPE_CHECKING:
    from whole.world import World

PATIENCE_SECONDS = 1000.0
"""How long a good worker may take once all is calm."""
DRAIN_SECONDS = 45.0
"""Links that died without a word are given up by then."""


@frozen
class Reckoning:
    """That of one world."""

    world: "World"

    def _get(self, acting: Callable[[Client], Any]) -> Any:
        """What a client is told, now that all is calm."""
        got: list[Any] = []

        async def act(reactor: Any) -> Any:
            client = Client(reactor, [SERVER], "there")
            try:
                return await acting(client)
            finally:
                await client.close()

        while True:
            self.world.with_client(act).addBoth(got.append)
            self.world.until(lambda: bool(got), PATIENCE_SECONDS)
            if not isinstance(got[0], Failure):
                return got[0]
            # The server may be on its way back.
            got.pop().trap(ServerUnreachable)

    def reckon(self) -> None:
        """Every request has ended, and is as it was; then it is forgotten, and nothing is left."""
        # A client that was killed may have submitted something that comes late.
        self.world.until(lambda: self.world.network.is_settled, PATIENCE_SECONDS)
        self.world.drain()
        for each in self._get(lambda client: client.requests()):
            self._get(lambda client, known=each.id: client.wait(known))
        for user in self.world.users:
            user.check(self._get(lambda client, known=user.request: client.status(known)))
        self.world.stock.check_rows()
        for each in self._get(lambda client: client.requests()):
            self._get(lambda client, known=each.id: client.forget(known))
        self.world.drain()
        self._check_nothing_is_left()
        machines = (*self.world.workers.values(), self.world.server)
        stopping = [each.stop() for each in machines if each.alive and not each.stopping]
        self.world.until(lambda: all(each.called for each in stopping), 60.0)
        self.world.drain()
        self._check_all_is_over()
        if not self.world.killed:
            # What nobody was waiting for must not have failed; the killed leave much of that.
            gc.collect()
            self.world.check()

    def _check_nothing_is_left(self) -> None:
        scheduler = self.world.server.server.scheduler
        scheduler.ledger.check()
        assert not scheduler.ledger.leases, scheduler.ledger.leases
        assert not self.world.server.server.docket.data
        spool = self.world.folder / "server" / "spool"
        left = [str(each) for each in spool.rglob("*") if each.is_file()]
        assert not left, left
        kinds = {kind for _, kind, _ in self.world.state.read()}
        assert kinds <= {"forgotten"}, kinds
        for machine in self.world.workers.values():
            if machine.alive:
                assert not machine.worker.works, machine.worker.works
                assert not machine.reactor.processes.running
                scratch = [each for each in machine.worker.bench.scratch.rglob("*") if each.is_file()]
                assert not scratch, scratch

    def _check_all_is_over(self) -> None:
        assert not self.world.network.links, [each.name for each in self.world.network.links.values()]
        assert not self.world.network.ports, list(self.world.network.ports)
