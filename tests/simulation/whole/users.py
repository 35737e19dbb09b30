"""Users: each runs one request, whatever becomes of his client, and compares what he gets."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.defer import Deferred

from hagoop import commands, following
from hagoop.client import Client
from hagoop.errors import HaGoopError, RequestCancelled, RequestFailed, UnknownRequest
from hagoop.jobs import State
from hagoop.request_options import Following
from hagoop.run_options import Running
from whole.machines import SERVER, Machine
from whole.programs import counters, submitted
from whole.scenario import Errand

if TYPE_CHECKING:
    from whole.world import World

RETRY_SECONDS = 2.0


def a_command(command: str, request: str = "", output: str = "-") -> Following:
    """``hagoop-request COMMAND``."""
    return Following(command, request, output, (SERVER,), SERVER, force=True, json=False, quiet=True)


@define(eq=False)
class User:
    """One of them.

    :ivar request: what his client was told.
    :ivar done: whether he has what he wanted.
    """

    world: "World"
    number: int
    errand: Errand
    machine: Machine
    random: Random
    request: str = ""
    done: bool = False
    cancelled: bool = False
    outcome: str = ""
    _kills: int = 0
    _waited: bool = False
    _expected: bytes = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._expected = self.errand.task.play(()).answer
        self.folder.mkdir(parents=True)
        for name, data in self.errand.task.files:
            (self.folder / name).write_bytes(data)
        (self.folder / "extra.txt").write_bytes(b"extra %d\n" % (self.number // 2))

    @property
    def folder(self) -> Path:
        """His files."""
        return self.machine.folder

    @property
    def answer(self) -> Path:
        """Where he wants it."""
        return self.folder / "answer"

    def tell(self, text: str) -> None:
        """For the story."""
        self.world.tell(f"{self.machine.name}: {text}")

    def begin(self) -> None:
        """Start a client, unless all is done."""
        if self.done or self.machine.alive:
            return
        if not self.request:
            command, acting = "run", self._run
        elif self.errand.detaches and not self._waited:
            command, acting = "wait", self._wait
        else:
            command, acting = "answer", self._answer
        self.tell(f"hagoop-request {command} {self.request}".rstrip())
        self.machine.run(acting).addBoth(self._ended, command)
        self._plan_a_kill()

    def _plan_a_kill(self) -> None:
        if self._kills < self.errand.kills and not self.world.calm:
            self._kills += 1
            late = self.random.expovariate(0.3)
            self.world.clock.call_later(None, late, self._kill, self.machine.life)

    def _kill(self, life: Any) -> None:
        if not life.dead and not self.world.calm:
            vanishes = self.random.random() < 0.3
            self.tell("vanishes" if vanishes else "is killed")
            self.world.killed += 1
            self.machine.end(vanishes=vanishes)
            self.world.clock.call_later(None, RETRY_SECONDS, self.begin)

    async def _run(self, reactor: Any) -> int:
        first, *then = [submitted(each) for each in self.errand.task.steps]
        call = Running(
            inputs=tuple(str(self.folder / name) for name, _ in self.errand.task.files),
            program=first,
            files=(("extra.txt", self.folder / "extra.txt"),) if self.errand.ships else (),
            output=str(self.answer), servers=(SERVER,), where=SERVER, workers=0,
            detach=self.errand.detaches,
            force=True, json=False, quiet=True, label=f"errand {self.number}", then=tuple(then),
        )  # fmt: skip
        return await following.run(call, reactor)

    async def _wait(self, reactor: Any) -> int:
        return await following.ask(a_command("wait", self.request), reactor)

    async def _answer(self, reactor: Any) -> int:
        return await following.ask(a_command("answer", self.request, str(self.answer)), reactor)

    # What his client is told

    async def watched_call(
        self, call: Callable[..., Awaitable[Any]], client: Client, command: Any, arguments: Any
    ) -> Any:
        """What it sends and hears; at times it sends the same again."""
        if command is commands.Submit and self.errand.again:
            return await self._submit_twice(call, client, arguments)
        result = await call(client, command, **arguments)
        if command is commands.Submit:
            self._submitted(arguments, result["request"])
        elif command is commands.Status and result["status"].state is not State.RUNNING:
            self.world.stock.end_told(result["status"].id, result["status"].state)
        return result

    async def _submit_twice(
        self, call: Callable[..., Awaitable[Any]], client: Client, arguments: Any
    ) -> Any:
        """Both are under way at once."""
        other = Deferred.fromCoroutine(call(client, commands.Submit, **arguments))
        other.addCallback(lambda result: self._submitted(arguments, result["request"]))
        other.addErrback(lambda reason: reason.trap(HaGoopError))
        result = await call(client, commands.Submit, **arguments)
        self._submitted(arguments, result["request"])
        await other
        return result

    def _submitted(self, arguments: Any, request: str) -> None:
        self.request = request
        self.tell(f"is told that it is {request}")
        self.world.stock.submit_answered(arguments["key"], request)

    def _ended(self, result: Any, command: str) -> None:
        """His client has ended, by itself."""
        error = getattr(result, "value", None)
        self.tell(f"ended: {error.__class__.__name__}: {error}" if error else f"ended: {result}")
        if error is None and result == 0:
            self._goes_on(command)
        elif self._is_cancelled(result, error):
            self.done, self.outcome = True, "cancelled"
        elif isinstance(error, RequestFailed | UnknownRequest) or not isinstance(error, HaGoopError):
            self.world.wrong(f"{self.machine.name}: {result.getTraceback() if error else result}")
        else:
            self.world.clock.call_later(None, RETRY_SECONDS, self.begin)

    def _is_cancelled(self, result: Any, error: Any) -> bool:
        told = result == following.CANCELLED or isinstance(error, RequestCancelled | RequestFailed)
        return self.cancelled and told

    def _goes_on(self, command: str) -> None:
        """It was done; what follows?"""
        if command == "answer" or (command == "run" and not self.errand.detaches):
            self._got_it()
            return
        self._waited = command == "wait"
        self.world.clock.call_later(None, self.random.random(), self.begin)

    def _got_it(self) -> None:
        self.done, self.outcome = True, "done"
        answer = self.answer.read_bytes()
        if answer != self._expected:
            self.world.wrong(
                f"{self.request}: the answer is {answer!r}, and a pipe prints {self._expected!r}"
            )

    def check(self, status: Any) -> None:
        """What the server says at last."""
        if self.outcome == "done":
            counted = {(each.group, each.name): each.amount for each in status.counters}
            assert status.state is State.DONE, status
            assert counted == counters(self.errand.task), (counted, counters(self.errand.task))
            assert not status.warnings, status.warnings

    def look(self) -> None:
        """Somebody asks how it stands."""
        command = self.random.choice(["status", "list", "workers", "wait"])
        request = self.request if command in ("status", "wait") else ""
        asked = self.world.ask(a_command(command, request))
        asked.addErrback(lambda reason: reason.trap(HaGoopError))

    def cancel(self) -> None:
        """He gives up."""
        if self.request and not self.done:
            self.cancelled = True
            self.tell("gives up")
            asked = self.world.ask(a_command("cancel", self.request))
            asked.addErrback(lambda reason: reason.trap(HaGoopError))
