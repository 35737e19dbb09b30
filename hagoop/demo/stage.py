"""The demonstration, from the text to the comparison."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import TypeVar

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThreadPool

from hagoop.client import Client, Order
from hagoop.demo.crew import Crew
from hagoop.demo.kinds import SAID
from hagoop.demo.pipe import (
    COUNT,
    MAPPER,
    PIPE,
    REDUCER,
    SCRIPT,
    Pipe,
    difference,
    digest_of,
    most_frequent,
    spoil,
)
from hagoop.demo.plan import Plan
from hagoop.demo.roll import Roll, counted
from hagoop.demo.text import Text, write_text
from hagoop.demo.views import View, make_view
from hagoop.errors import HaGoopError
from hagoop.interfaces import IWorkerReactor
from hagoop.jobs import Program
from hagoop.races import first_of
from hagoop.showing import duration

T = TypeVar("T")
LOOK_SECONDS = 0.25
JOIN_SECONDS = 20.0
CANCEL_SECONDS = 2.0
TOP = 10
EQUAL, DIFFERENT, INTERRUPTED = 0, 1, 130


async def perform(plan: Plan, reactor: IWorkerReactor) -> int:
    """Show it; the exit status.  Whatever was started is gone at the end.

    :raises HaGoopError: it could not be shown.
    """
    stage = Stage(plan, reactor)
    left: Deferred[int] = Deferred()
    with _signals(reactor, left):
        try:
            return await first_of(Deferred.fromCoroutine(stage.play()), left)
        finally:
            await stage.clear()


@contextmanager
def _signals(reactor: IWorkerReactor, left: "Deferred[int]") -> Iterator[None]:
    """Ctrl-C and the like end it in good order, once."""

    def leave() -> None:
        if not left.called:
            print("Interrupted: ending all workers.", flush=True)
            left.callback(INTERRUPTED)

    def caught(number: int, frame: object) -> None:
        reactor.callFromThread(leave)

    old = {each: signal.signal(each, caught) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@define(eq=False)
class Stage:
    """One showing."""

    plan: Plan
    reactor: IWorkerReactor
    crew: Crew = field(init=False)
    _view: View = field(init=False)
    _roll: Roll = field(init=False)
    _pipe: Pipe = field(init=False)
    _client: Client | None = None
    _looking: LoopingCall | None = None
    _request: str = ""

    def __attrs_post_init__(self) -> None:
        self.crew = Crew(self.reactor, cast=self.plan.cast)
        self._view = make_view(quiet=self.plan.quiet, plain=self.plan.plain)
        self._pipe = Pipe(self.reactor, self._folder, os.environ.get("PATH", os.defpath))

    @property
    def _folder(self) -> Path:
        return self.crew.folder

    async def play(self) -> int:
        """All of it; whether the answer was that of the pipe."""
        text = await self._in_thread(write_text, self._folder / "text", self.plan.lines)
        self._say(self._prologue(text))
        client = self._client = Client(self.reactor, [self.crew.start()], "this machine")
        self._roll = Roll.of(self.plan.cast.names, self.crew.survived)
        await self._gather(client)
        counting = Deferred.fromCoroutine(self._count(client))
        self._tell(await first_of(counting, Deferred.fromCoroutine(self.crew.all_gone())))
        return await self._compare()

    async def clear(self) -> None:
        """End everything that was started."""
        self._stop_looking()
        await self._pipe.stop()
        if self._client is not None:
            await self._cancel(self._client)
            await self._client.close()
        await self.crew.stop()

    async def _cancel(self, client: Client) -> None:
        """End the request, if it has not ended: workers that leave see their jobs through."""
        if not self._request:
            return
        cancelling = Deferred.fromCoroutine(client.cancel(self._request))
        with suppress(HaGoopError, CancelledError, TimeoutError):
            await cancelling.addTimeout(CANCEL_SECONDS, self.reactor)

    # Counting

    async def _gather(self, client: Client) -> None:
        """Wait until all workers are there, within reason: the bad should get their share."""
        end = self.reactor.seconds() + JOIN_SECONDS
        while self.reactor.seconds() < end and not self._roll.all_there:
            self._roll.look(await client.workers(), None)
            await deferLater(self.reactor, LOOK_SECONDS)

    async def _count(self, client: Client) -> float:
        """The seconds that it took."""
        program = Program(
            mapper=MAPPER,
            reducer=REDUCER,
            combiner=REDUCER,
            env=(("LINES_A_SECOND", str(self.plan.pace)),),
        )
        order = Order((str(self._folder / "text"),), program, ((COUNT, SCRIPT),), "words")
        began = self.reactor.seconds()
        self._request = await client.submit(order, BytesIO())
        self._start_looking(began)
        with open(self._folder / "answer", "wb") as file:
            await client.fetch(self._request, file.write)
        self._stop_looking()
        return self.reactor.seconds() - began

    def _start_looking(self, began: float) -> None:
        self._looking = LoopingCall(self._look, began)
        self._looking.clock = self.reactor
        self._looking.start(LOOK_SECONDS)

    def _stop_looking(self) -> None:
        if self._looking is not None and self._looking.running:
            self._looking.stop()
        self._view.stop()

    async def _look(self, began: float) -> None:
        client = self._client
        if client is None:
            return
        try:
            request = await client.status(self._request)
            found = await client.workers()
        except HaGoopError:
            # Whoever waits for the answer will say so.
            return
        if self._looking is not None and self._looking.running:
            self._roll.look(found, request)
            self._roll.seconds = self.reactor.seconds() - began
            self._view.show(self._roll)

    # Comparing

    async def _compare(self) -> int:
        answer, expected = self._folder / "answer", self._folder / "expected"
        os.link(SCRIPT, self._folder / COUNT)
        seconds = await self._pipe.run(expected)
        if self.plan.tampers:
            spoil(answer)
        differs = await self._in_thread(difference, answer, expected)
        print(f"The same by a plain pipe, at full speed, in {duration(seconds)}:\n    {PIPE}")
        if differs:
            print(f"DIFFERENT: {differs}.", flush=True)
            return DIFFERENT
        lines, size = answer.read_bytes().count(b"\n"), answer.stat().st_size
        print(f"Equal, byte for byte: {lines:,} lines, {size:,} bytes, SHA-256 {digest_of(answer)}.")
        return EQUAL

    # Saying

    def _say(self, text: str) -> None:
        if not self.plan.quiet:
            print(text, flush=True)

    def _prologue(self, text: Text) -> str:
        times = f", taken {text.times} times" if text.times > 1 else ""
        files = counted(text.files, "file", "files")
        who = [f"    {n:3} {kind:<8}{SAID[kind]}" for kind, n in self.plan.cast.counts.items() if n]
        pace = self.plan.pace
        slow = f"held to {pace:,} lines a second, as if its machine were slow"
        return "\n".join(
            [
                f"Counting the words of Python's own library: {text.lines:,} lines, "
                f"{text.size / 1e6:.1f} MB, {files}{times}.",
                f"The workers, each a process, {slow if pace else 'at full speed'}:",
                *who,
                f"They start.  The same deaths again: --seed {self.plan.cast.seed}",
            ]
        )

    def _tell(self, seconds: float) -> None:
        print(f"Counted in {duration(seconds)}.  Survived: {self._roll.losses}.")
        print(f"The {TOP} most frequent words:")
        for word, count in most_frequent(self._folder / "answer", TOP):
            print(f"    {word:<12}{count:>10,}")

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        called: Deferred[T] = deferToThreadPool(
            self.reactor, self.reactor.getThreadPool(), function, *arguments
        )
        return await called
