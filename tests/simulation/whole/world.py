"""One world: machines, what befalls them, and the reckoning."""

import gc
import os
import shutil
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from random import Random
from types import CoroutineType
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, formatEvent

from hagoop import following
from hagoop.asking import retry_seconds
from hagoop.client import Client
from hagoop.found import sees
from whole.clock import Life, WorldClock
from whole.disk import Disk
from whole.faults import GOOD, Faults
from whole.links import Weather
from whole.machines import Machine, ServerMachine, WorkerMachine
from whole.network import Network
from whole.programs import Moods
from whole.reckoning import DRAIN_SECONDS, PATIENCE_SECONDS, Reckoning
from whole.scenario import Scenario
from whole.seams import all_is_taken_away, the_world_is
from whole.state import State as ServerState
from whole.stock import Stock
from whole.users import User

WALL_SECONDS = 1_800_000_000.0
MOST_ROUNDS = 20


class Wrong(AssertionError):
    """Something must not be; with the story of its world."""


@define(eq=False)
class World:
    """All of it.

    :ivar calm: nothing goes wrong any more.
    :ivar down_seconds: how long the server will be down; ``killed``: how many processes were.
    """

    scenario: Scenario
    folder: Path
    clock: WorldClock = field(factory=WorldClock)
    story: list[str] = field(factory=list)
    calm: bool = False
    down_seconds: float = 1.0
    killed: int = 0
    lives: dict[Life, Machine] = field(factory=dict)
    workers: dict[str, WorkerMachine] = field(factory=dict)
    users: list[User] = field(factory=list)
    pids: Any = field(factory=lambda: count(1))
    chance: Random = field(init=False)
    network: Network = field(init=False)
    disk: Disk = field(init=False)
    state: ServerState = field(init=False)
    stock: Stock = field(init=False)
    moods: Moods = field(init=False)
    server: ServerMachine = field(init=False)
    _asked: int = 0
    _over: bool = False
    _problems: list[str] = field(factory=list)
    _tokens: Random = field(init=False)
    _retries: Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        it, seed = self.scenario, self.scenario.seed
        self.chance, self._tokens = Random(f"faults {seed}"), Random(f"tokens {seed}")
        self._retries = Random(f"retries {seed}")
        weather = Weather(Random(f"weather {seed}"), it.latency, it.spikes, it.piece)
        self.network = Network(self.clock, Random(f"links {seed}"), weather)
        self.server = ServerMachine(self, "server", "10.0.0.1")
        self.disk = Disk(self.folder / "server" / "spool", Random(f"disk {seed}"))
        self.state = ServerState(self, self.folder / "server", Random(f"state {seed}"))
        self.disk.doing = self.state.doing
        self.stock = Stock(self)
        self.moods = Moods(Random(f"moods {seed}"), it.failures, self.tell, lambda: self.calm)
        self.clock.ended = self._died_within

    # What the product finds in place of its machine

    def wall(self) -> float:
        """Seconds since 1970."""
        return WALL_SECONDS + self.clock.now

    def token_bytes(self, size: int = 32) -> bytes:
        """What nobody can guess but we."""
        return self._tokens.randbytes(size)

    def retry_seconds(self, failures: int) -> float:
        """When a worker looks for its server again."""
        return retry_seconds(failures, self._retries.random)

    def open_journal(self, path: Path, reactor: Any, on_broken: Any = None) -> Any:
        """The server's."""
        return self.state.open_journal(path, reactor, on_broken)

    def server_sees(self, found: Any) -> bool:
        """Whether the server has its clients' files before it."""
        return self.scenario.server_sees and sees(found)

    def signal(self, pid: int, number: int) -> None:
        """A signal for a program, wherever it runs."""
        for machine in self.lives.values():
            if machine.reactor is not None and machine.alive:
                machine.reactor.processes.signal(pid, number)

    def watched_commit(self, commit: Callable[..., Any]) -> Callable[..., Any]:
        """``Worker.commit``; what it is told must be so."""

        async def watched(worker: Any, job: Any) -> Any:
            accepted, front = await commit(worker, job)
            if accepted:
                self.stock.commit_accepted(worker.config.name, job)
            return accepted, front

        return watched

    def watched_call(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """``Client.call``, by whoever is at the keyboard."""

        async def watched(client: Client, command: Any, **arguments: Any) -> Any:
            for user in self.users:
                if user.machine.reactor is client.reactor:
                    return await user.watched_call(call, client, command, arguments)
            return await call(client, command, **arguments)

        return watched

    # The story

    def tell(self, text: str) -> None:
        """Something happened."""
        self.story.append(f"{self.clock.now:9.4f} {text}")

    def wrong(self, text: str) -> None:
        """Something must not be."""
        if not self._over:
            self.tell(f"WRONG: {text}")
            self._problems.append(text)

    def observe(self, event: Any) -> None:
        """A line of somebody's log."""
        life = self.clock.acting
        if event["log_level"] < LogLevel.critical or (life is not None and not life.acts):
            return
        trouble = event.get("log_failure")
        told = f"{formatEvent(event)} {trouble.getTraceback() if trouble is not None else ''}"
        self.wrong(f"it was logged: {told}")

    # Machines

    def _died_within(self, life: Life) -> None:
        """A life was killed in the middle of a call, which is over now."""
        assert self.lives[life] is self.server
        self.end_server(self.down_seconds)

    def start(self) -> None:
        """All begin, and what will befall them is planned."""
        self.start_server()
        for number, each in enumerate(self.scenario.workers):
            self._add_worker(each.name, 10 + number, each.slots, each.line_seconds)
        for number, errand in enumerate(self.scenario.errands):
            machine = Machine(self, f"user-{number}", f"10.0.1.{number}")
            user = User(self, number, errand, machine, Random(f"user {number} {self.scenario.seed}"))
            self.users.append(user)
            self.clock.call_later(None, errand.begins, user.begin)
        if self.scenario.steady:
            self.start_good()
        Faults(self).plan()

    def start_good(self) -> None:
        """The worker that stays."""
        if GOOD not in self.workers:
            self._add_worker(GOOD, 9, 1, 0.01)
        else:
            self.start_worker(self.workers[GOOD])

    def _add_worker(self, name: str, number: int, slots: int, line_seconds: float) -> None:
        machine = WorkerMachine(self, name, f"10.0.0.{number}", line_seconds, slots=slots)
        self.workers[name] = machine
        self.start_worker(machine)

    def start_worker(self, machine: WorkerMachine) -> None:
        """It is there, again."""
        if not machine.alive:
            self.tell(f"{machine.name} starts")
            machine.start()

    def start_server(self) -> None:
        """Likewise."""
        if self.server.alive:
            return
        self.tell("server starts")
        self.server.start()

    def end_server(self, down_seconds: float) -> None:
        """It is killed, or its power fails; it starts again after a while."""
        vanishes = self.state.power
        self.killed += 1
        self.server.end(vanishes=vanishes, back_in=down_seconds)
        self.state.thaw()
        self.tell(f"server is dead{' without power' if vanishes else ''}")
        self.start_server_in(None, down_seconds)

    def start_server_in(self, _: object, seconds: float) -> None:
        """In so many seconds."""
        self.clock.call_later(None, seconds, self.start_server)

    # Asking

    def ask(self, call: Any) -> "Deferred[Any]":
        """A command of somebody's, once; what comes of it is his."""
        return self.with_client(lambda reactor: following.ask(call, reactor))

    def with_client(self, acting: Callable[[Any], Any]) -> "Deferred[Any]":
        """Somebody's client."""
        self._asked += 1
        machine = Machine(self, f"asker-{self._asked}", f"10.0.2.{self._asked % 250}")
        machine.folder.mkdir()
        return machine.run(acting)

    def stopped_well(self, machine: Machine) -> None:
        """A process ended as it should: it has left nothing."""
        assert machine.life is not None
        assert machine.reactor is not None
        if machine.reactor.processes.running:
            left = [" ".join(each.argv) for each in machine.reactor.processes.running.values()]
            self.wrong(f"{machine.name} left programs running: {', '.join(left)}")

    # Time

    def run(self) -> None:
        """Until all is done, and nothing is left."""
        self.start()
        self.until(lambda: self.calm and all(each.done for each in self.users), PATIENCE_SECONDS)
        Reckoning(self).reckon()

    def until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Let happen what happens, for so long at most; what is wrong ends it."""
        until = self.clock.now + seconds
        while not condition():
            self.check()
            if self.clock.now > until:
                raise Wrong(f"stuck: {[(each.request, each.done) for each in self.users]}")
            if not self.clock.step():
                raise Wrong("nothing happens any more")

    def check(self) -> None:
        """Raise what was found wrong."""
        if self._problems:
            raise Wrong(self._problems[0])

    def drain(self) -> None:
        """Let come in what is on its way."""
        over: list[None] = []
        self.clock.call_later(None, DRAIN_SECONDS, over.append, None)
        self.until(lambda: bool(over), 2 * DRAIN_SECONDS)

    def end(self) -> None:
        """All of it is dead; what it has left is taken away, and nobody is there to see it."""
        self._over = True
        for life, machine in self.lives.items():
            life.dead = True
            machine.service = machine.reactor = None
        self.disk.close()
        self.network.links.clear()
        self.network.ports.clear()
        self.clock.forget()
        for each in (self.lives, self.users, self.workers):
            each.clear()
        # Whatever they have to do at last they do now, and may wait for something then.
        for _ in range(MOST_ROUNDS):
            if not close_coroutines():
                break


def close_coroutines() -> int:
    """End all that wait for something in this world; how many there were."""
    waiting = [each for each in gc.get_objects() if isinstance(each, CoroutineType) and each.cr_frame]
    for each in waiting:
        with suppress(Exception):
            each.close()
    return len(waiting)


def base_folder() -> str | None:
    """Files of worlds are in memory where that is possible."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def descriptors() -> dict[int, str]:
    """What this process has open."""
    found = {}
    for each in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found[int(each)] = os.readlink(f"/proc/self/fd/{each}")
    return found


def live(scenario: Scenario, act: Callable[[World], None] = World.run) -> list[str]:
    """Run a world; its story.

    :raises Wrong: something was not as it must be; with the story.
    """
    with all_is_taken_away():
        story, trouble = _live(scenario, act)
    if trouble:
        told = "\n".join(story)
        raise Wrong(f"seed {scenario.seed}:\n{told}\n{trouble}")
    return story


def _live(scenario: Scenario, act: Callable[[World], None]) -> tuple[list[str], str]:
    folder = Path(tempfile.mkdtemp(prefix="hagoop-world-", dir=base_folder()))
    before = set(descriptors())
    world = World(scenario, folder)
    trouble = ""
    try:
        with the_world_is(world):
            try:
                act(world)
            except Exception as error:
                trouble = "".join(traceback.format_exception(error))
            # Not before the error is forgotten, which holds all that it went through.
            world.end()
    finally:
        # A process that is killed leaves this to its system.
        for descriptor, target in descriptors().items():
            if descriptor not in before and target.startswith(("pipe:", str(folder))):
                os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)
    return world.story, trouble
