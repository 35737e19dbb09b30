"""What ``hagoop-request`` does once its command line is understood."""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import LoopingCall

from hagoop import wire
from hagoop.answer_file import AnswerFile, AnswerUnwritten
from hagoop.bad_file import BadFile
from hagoop.beside import Beside
from hagoop.client import Client, Order
from hagoop.enough import ALL
from hagoop.errors import (
    HaGoopError,
    RequestCancelled,
    RequestFailed,
    ServerUnreachable,
    TransferFailed,
    UnknownRequest,
)
from hagoop.interfaces import IWorkerReactor
from hagoop.jobs import RequestId, RequestStatus, State
from hagoop.missing_file import MissingFile
from hagoop.races import first_of
from hagoop.request_options import Following
from hagoop.run_options import Running
from hagoop.showing import (
    Progress,
    Silence,
    make_progress,
    show_requests,
    show_status,
    show_workers,
    told,
)

STATUS_SECONDS = 0.5
CANCELLED, INTERRUPTED = 4, 130
WHOLE_COMES = "the whole answer is on its way"
OPEN_SERVER = "Careful: this server is open to anybody who reaches it (--insecure)"


async def run(call: Running, reactor: IWorkerReactor) -> int:
    """``run``; the exit status.

    :raises HaGoopError: what is wrong, as one sentence.
    """
    answer = AnswerFile(call.output, call.force)
    if not call.detach:
        answer.check()
        if any(each.skip_bad_lines for each in (call.program, *call.then)):
            BadFile(answer).check()
        if call.good_enough < ALL:
            MissingFile(answer).check()
    if call.servers is not None:
        return await _run_on(call, answer, Client(reactor, call.servers, call.where))
    # Only --local needs a server in this process.
    from hagoop.local import LocalCluster

    cluster = LocalCluster(reactor, call.workers)
    checked: Deferred[None] = succeed(None)
    try:
        client = Client(reactor, [cluster.start()], call.where)
        checked = Deferred.fromCoroutine(_check_beside(call, reactor))
        running = Deferred.fromCoroutine(_run_on(call, answer, client, checked))
        return await first_of(running, Deferred.fromCoroutine(cluster.all_gone()))
    finally:
        checked.addErrback(lambda reason: reason.trap(CancelledError))
        checked.cancel()
        await checked
        await cluster.stop()


async def _check_beside(call: Running, reactor: IWorkerReactor) -> None:
    # Not before the workers are on their way: it takes its time as well.
    from hagoop.check_script import check_beside

    await check_beside(call, reactor)


async def _run_on(
    call: Running, answer: AnswerFile, client: Client, checked: "Deferred[None] | None" = None
) -> int:
    try:
        order = Order(
            call.inputs,
            call.program,
            call.files,
            call.label,
            call.then,
            call.lines,
            call.good_enough,
        )
        request = await client.submit(order, sys.stdin.buffer)
        if call.detach:
            print(request, flush=True)
            return 0
        return await Follower(call, client, request, answer, checked or succeed(None)).follow()
    finally:
        await client.close()


@define(eq=False)
class Follower:
    """Follows one request to its answer, through Ctrl-C and a closed terminal.

    :ivar checked: fires when nothing is left to be said before the answer.
    """

    call: Running
    client: Client
    request: RequestId
    answer: AnswerFile
    checked: "Deferred[None]"
    _progress: Progress = field(init=False)
    _interrupts: int = 0
    _left: "Deferred[int]" = field(factory=Deferred)

    async def follow(self) -> int:
        """Show progress, fetch the answer, put it in its place; the exit status."""
        self._progress = make_progress(
            self.request,
            quiet=self.call.quiet or self.call.json,
            waits=self.call.servers is not None,
        )
        looking = LoopingCall(self._look)
        looking.clock = self.client.reactor
        looking.start(STATUS_SECONDS)
        undo = self._catch_signals()
        fetching = Deferred.fromCoroutine(self._fetch())
        try:
            return await first_of(fetching, self._left)
        finally:
            undo()
            if looking.running:
                looking.stop()
            self._progress.stop()
            self.answer.abandon()

    async def _look(self) -> None:
        try:
            status = await self.client.status(self.request)
        except HaGoopError:
            # Whoever fetches the answer will say so.
            return
        self._progress.show(status)

    async def _fetch(self) -> int:
        await self.checked
        try:
            return await self._fetch_whole()
        except AnswerUnwritten as error:
            if self.call.servers is None:
                raise
            kept = f"the server keeps the answer: hagoop-request answer {self.request} --output FILE"
            raise AnswerUnwritten(f"{error}; {kept}") from error

    async def _fetch_whole(self) -> int:
        try:
            status = await self.client.fetch(self.request, self.answer.write)
        except RequestFailed as error:
            status = await self.client.status(self.request)
            self._tell(status)
            if status.state is State.CANCELLED:
                raise RequestCancelled(f"The request {self.request} was cancelled") from error
            raise
        beside = await Beside.fetch(self.client, status)
        # Where there is an answer, there is what it leaves out.
        beside.keep(self.answer)
        self.answer.finish()
        self._tell(status, beside)
        return 0

    def _tell(self, status: RequestStatus, beside: Beside | None = None) -> None:
        self._progress.stop()
        # A status that is still on its way is no news after this.
        self._progress = Silence()
        beside = beside or Beside()
        beside.tell(self.answer, as_json=self.call.json)
        if self.call.json:
            print(json.dumps(wire.to_plain(status)), file=sys.stderr)
        elif status.state is State.DONE and not self.call.quiet:
            if not self.answer.is_stdout:
                print(f"Success! Result saved in {self.answer.name}", file=sys.stderr)
            beside.sum_up(self.answer)
            for warning in status.warnings:
                print(told(warning), file=sys.stderr)
            for each in status.counters:
                print(f"{each.group}\t{each.name}\t{each.amount}", file=sys.stderr)

    # Signals

    def _catch_signals(self) -> Callable[[], None]:
        handlers = {signal.SIGINT: self._interrupt, signal.SIGHUP: self._hang_up}
        old = {number: signal.signal(number, self._soon(each)) for number, each in handlers.items()}

        def undo() -> None:
            for number, handler in old.items():
                signal.signal(number, handler)

        return undo

    def _soon(self, act: Callable[[], None]) -> Callable[[int, Any], None]:
        return lambda number, frame: self.client.reactor.callFromThread(act)

    def _interrupt(self) -> None:
        """First Ctrl-C: cancel and wait; second: leave."""
        self._interrupts += 1
        if self._interrupts > 1:
            self._leave(INTERRUPTED)
            return
        stays = self.call.servers is not None
        later = f" {self._how_to_wait}" if stays else ""
        self._say(f"Cancelling; Ctrl-C again leaves at once.{later}")
        cancelling = Deferred.fromCoroutine(self.client.cancel(self.request))
        cancelling.addErrback(lambda _: self._leave(INTERRUPTED))

    def _hang_up(self) -> None:
        """The terminal was closed: the request lives on."""
        self._say(self._how_to_wait)
        self._leave(INTERRUPTED)

    @property
    def _how_to_wait(self) -> str:
        return f"To see what comes of it: hagoop-request wait {self.request}"

    def _say(self, sentence: str) -> None:
        try:
            print(sentence, file=sys.stderr, flush=True)
        except OSError:
            # The terminal is gone: what is still to be said, at exit too, must go somewhere.
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), sys.stderr.fileno())

    def _leave(self, status: int) -> None:
        if not self._left.called:
            self._left.callback(status)


async def ask(call: Following, reactor: IWorkerReactor) -> int:
    """Any other command; the exit status."""
    client = Client(reactor, call.servers, call.where)
    try:
        await client.connect()
        status: int = await _ASKING[call.command](call, client)
        return status
    except ServerUnreachable as error:
        # These commands have no --local.
        raise ServerUnreachable(str(error).replace(", or run it here: --local", "")) from error
    finally:
        await client.close()


async def _list(call: Following, client: Client) -> int:
    show_requests(await client.requests(), as_json=call.json)
    return 0


async def _status(call: Following, client: Client) -> int:
    show_status(await client.status(call.request), as_json=call.json)
    return 0


async def _wait(call: Following, client: Client) -> int:
    request = (await client.status(call.request)).id
    status = await client.wait(request)
    if not call.quiet:
        show_status(status, as_json=call.json)
    if status.state is State.FAILED:
        raise RequestFailed(status.message)
    return CANCELLED if status.state is State.CANCELLED else 0


async def _answer(call: Following, client: Client) -> int:
    answer = AnswerFile(call.output, call.force)
    answer.check()
    known = await client.status(call.request)
    if known.bad_lines:
        BadFile(answer).check()
    if known.cover is not None or call.partial:
        MissingFile(answer).check()
    try:
        if call.partial:
            beside = await _fetch_partial(call, client, known, answer)
        else:
            beside = await _fetch_answer(client, known.id, answer)
    finally:
        answer.abandon()
    beside.tell(answer, as_json=call.json)
    if not call.quiet:
        beside.sum_up(answer)
    return 0


async def _fetch_answer(client: Client, request: RequestId, answer: AnswerFile) -> Beside:
    status = await client.fetch(request, answer.write)
    beside = await Beside.fetch(client, status)
    beside.keep(answer)
    answer.finish()
    return beside


async def _fetch_partial(
    call: Following, client: Client, known: RequestStatus, answer: AnswerFile
) -> Beside:
    request = await client.partial(known.id)
    if request == known.id:
        if known.state is State.RUNNING and not call.quiet:
            print(f"{request} has all of its input mapped: {WHOLE_COMES}", file=sys.stderr)
        return await _fetch_answer(client, request, answer)
    try:
        return await _fetch_answer(client, request, answer)
    except UnknownRequest as error:
        raise TransferFailed(f"{error}; perhaps the server has started again: ask once more") from error
    finally:
        await _forget_partial(client, request)


async def _forget_partial(client: Client, request: RequestId) -> None:
    with contextlib.suppress(HaGoopError):
        await client.forget(request)


async def _cancel(call: Following, client: Client) -> int:
    # Which is the newest must not change when this is sent again: that might mean another.
    request = (await client.status(call.request)).id
    show_status(await client.cancel(request), as_json=call.json)
    return 0


async def _forget(call: Following, client: Client) -> int:
    request = await client.forget((await client.status(call.request)).id)
    if not call.quiet:
        print(f"{request} and its answer are gone", file=sys.stderr)
    return 0


async def _workers(call: Following, client: Client) -> int:
    show_workers(await client.workers(), as_json=call.json)
    if client.insecure:
        print(OPEN_SERVER, file=sys.stderr)
    return 0


_ASKING: dict[str, Callable[[Following, Client], Any]] = {
    "list": _list,
    "status": _status,
    "wait": _wait,
    "answer": _answer,
    "cancel": _cancel,
    "forget": _forget,
    "workers": _workers,
}
