"""What goes wrong in a world, and when."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import frozen

from whole.scenario import KINDS, NEVER, ServerEnd

if TYPE_CHECKING:
    from whole.world import World

GOOD = "worker-good"


@frozen
class Faults:
    """Those of one world."""

    world: "World"

    def plan(self) -> None:
        """All of them, at moments that chance has; until it is calm."""
        it = self.world.scenario
        for each in it.server_ends:
            self.world.clock.call_later(None, each.time, self._end_server_so, each)
        for worker in it.workers:
            self._later(worker.life_seconds, self._end_worker, worker)
        self._later(it.link_seconds, self._hurt_link)
        self._later(it.pause_seconds, self._pause)
        self._later(it.partition_seconds, self._part)
        for user in self.world.users:
            acts = [user.cancel] * user.errand.cancels + [user.look] * user.errand.looks
            for each in acts:
                self.world.clock.call_later(None, it.trouble_seconds * self.world.chance.random(), each)
        self.world.clock.call_later(None, it.trouble_seconds, self._calm_down)

    def _later(self, seconds: float, function: Callable[..., object], *arguments: Any) -> None:
        if seconds != NEVER and not self.world.calm:
            late = self.world.chance.expovariate(1 / seconds)
            self.world.clock.call_later(None, late, function, *arguments)

    def _end_server_so(self, how: ServerEnd) -> None:
        server, state = self.world.server, self.world.state
        if self.world.calm or not server.alive or server.stopping or state.countdown:
            return
        if how.gently:
            self.world.tell("server is told to end")
            stopped = server.stop()
            stopped.addCallback(self.world.start_server_in, how.down_seconds)
            return
        state.power, self.world.down_seconds = how.power, how.down_seconds
        if how.operations:
            state.countdown = how.operations
        else:
            self.world.end_server(how.down_seconds)

    def _end_worker(self, worker: Any) -> None:
        machine = self.world.workers[worker.name]
        if self.world.calm:
            return
        self._later(worker.life_seconds, self._end_worker, worker)
        if not machine.alive or machine.stopping:
            return
        how, back = self.world.chance.choice(worker.ends), 5 * self.world.chance.random()
        self.world.tell(f"{machine.name}: {how}")
        if how == "leave":
            machine.stop().addCallback(lambda _: self._later(2.0, self.world.start_worker, machine))
            return
        self.world.killed += 1
        machine.end(vanishes=how == "vanish", back_in=back)
        self.world.clock.call_later(None, back, self.world.start_worker, machine)

    def _hurt_link(self) -> None:
        if self.world.calm:
            return
        self._later(self.world.scenario.link_seconds, self._hurt_link)
        links = list(self.world.network.links.values())
        if not links:
            return
        link, kind = self.world.chance.choice(links), self.world.chance.choice(KINDS)
        self.world.tell(f"{link.name}: {kind}")
        which = (self.world.chance.randrange(2),) if kind.startswith("half") else (0, 1)
        if kind == "cut":
            link.cut()
        elif kind.endswith("stall"):
            link.stall(self.world.chance.choice([0.1, 2.0, 8.0, 20.0]), which)
        else:
            link.die(which)

    def _pause(self) -> None:
        if self.world.calm:
            return
        self._later(self.world.scenario.pause_seconds, self._pause)
        machine = self.world.chance.choice([self.world.server, *self.world.workers.values()])
        if machine.alive:
            seconds = self.world.chance.choice([0.5, 5.0, 20.0])
            self.world.tell(f"{machine.name} is stopped for {seconds} s")
            self.world.clock.pause(machine.life, seconds)

    def _part(self) -> None:
        if self.world.calm:
            return
        self._later(self.world.scenario.partition_seconds, self._part)
        seconds = self.world.chance.choice([1.0, 5.0, 5.0, 40.0])
        for machine in self.world.workers.values():
            if self.world.chance.random() < 0.5:
                self.world.tell(f"{machine.name} and server are parted for {seconds} s")
                self.world.network.partition(machine.host, self.world.server.host, seconds)

    def _calm_down(self) -> None:
        self.world.tell("all is calm")
        self.world.calm = True
        self.world.state.countdown = 0
        self.world.network.partitions.clear()
        leavers = self.world.scenario.leavers
        for machine in self.world.workers.values():
            if machine.name != GOOD and machine.alive and self.world.chance.random() < leavers:
                self.world.tell(f"{machine.name} goes for good")
                self.world.killed += 1
                machine.end(vanishes=self.world.chance.random() < 0.5)
        self.world.start_good()
