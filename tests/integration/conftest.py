"""For tests with real sockets and processes: a deadline for each, and nothing left behind.

pytest-twisted runs the coroutines.  Alone it waits for ever for one that hangs, and does not
notice logged failures, delayed calls, open ports and living children.
"""

import contextlib
import functools
import gc
import os
import signal
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import nursery
import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.logger import LogEvent, LogLevel, globalLogPublisher
from twisted.python.failure import Failure

DEADLINE_SECONDS = 60.0
SETTLE_SECONDS = 2.0
STEP_SECONDS = 0.02


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest of our marker."""
    config.addinivalue_line("markers", "deadline(seconds): longest time that a coroutine test may take")


class DeadlineExceeded(AssertionError):
    """A test took longer than it may."""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Give the test that is about to run a deadline; others then run it."""
    marker = pyfuncitem.get_closest_marker("deadline")
    seconds = float(marker.args[0]) if marker else DEADLINE_SECONDS
    hypothesis = getattr(pyfuncitem.obj, "hypothesis", None)
    if hypothesis is None:
        pyfuncitem.obj = with_deadline(pyfuncitem.obj, seconds)
    else:
        hypothesis.inner_test = with_deadline(hypothesis.inner_test, seconds)


def with_deadline(test: Callable[..., object], seconds: float) -> Callable[..., object]:
    """A test that is cancelled, and fails, when it takes longer; only coroutines can be stopped."""

    @functools.wraps(test)
    def limited(*args: object, **kwargs: object) -> object:
        running = test(*args, **kwargs)
        if not hasattr(running, "cr_await"):
            return running
        return limit(Deferred.fromCoroutine(running), seconds)

    return limited


def limit(running: "Deferred[object]", seconds: float) -> "Deferred[object]":
    """The same Deferred, failing when it takes longer."""
    from twisted.internet import reactor

    def exceeded(_: object, __: float) -> object:
        raise DeadlineExceeded(f"the test took longer than its deadline of {seconds:g} seconds")

    return running.addTimeout(seconds, reactor, exceeded)


@define
class Guard:
    """Watches one test for what it leaves behind.

    :ivar calls: delayed calls that were there before; likewise ``readers`` and ``children``.
    """

    calls: Collection[IDelayedCall]
    readers: Collection[object]
    children: Collection[int]
    failures: list[LogEvent] = field(factory=list)

    def __call__(self, event: LogEvent) -> None:
        """Observe the log."""
        if event["log_level"] is LogLevel.critical or (
            event["log_level"] is LogLevel.error and "log_failure" in event
        ):
            self.failures.append(event)

    def flush(self, *kinds: type[BaseException]) -> list[Failure]:
        """Take back the logged failures of these kinds: the test expected them."""
        gc.collect()
        found = [each for each in self.failures if is_of(each, kinds)]
        self.failures = [each for each in self.failures if each not in found]
        return [each["log_failure"] for each in found]

    def left(self) -> list[str]:
        """What the test has left behind so far, each in words."""
        calls = [f"delayed call: {each}" for each in set(delayed_calls()) - set(self.calls)]
        readers = [f"open: {each!r}" for each in open_readers() if each not in self.readers]
        children = [f"child process: {each}" for each in child_processes() - set(self.children)]
        return calls + readers + children

    def clear(self) -> None:
        """End what was left behind, so that the next test does not suffer for it."""
        for call in set(delayed_calls()) - set(self.calls):
            call.cancel()
        for reader in open_readers():
            if reader not in self.readers:
                close(reader)
        for child in child_processes() - set(self.children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def is_of(event: LogEvent, kinds: tuple[type[BaseException], ...]) -> bool:
    """Whether a logged event holds a failure of one of these kinds."""
    failure = event.get("log_failure")
    return failure is not None and failure.check(*kinds) is not None


def delayed_calls() -> list[IDelayedCall]:
    """What the reactor is going to call."""
    from twisted.internet import reactor

    return list(reactor.getDelayedCalls())


def open_readers() -> list[object]:
    """What the reactor reads from or writes to, its own wakers aside."""
    from twisted.internet import reactor

    own = reactor._internalReaders
    return [each for each in {*reactor.getReaders(), *reactor.getWriters()} if each not in own]


def close(reader: object) -> None:
    """Close a port, a connection or whatever else the reactor reads from."""
    from twisted.internet import reactor

    if IListeningPort.providedBy(reader):
        reader.stopListening()
        return
    for name in ("abortConnection", "loseConnection"):
        if hasattr(reader, name):
            getattr(reader, name)()
            return
    reactor.removeReader(reader)
    reactor.removeWriter(reader)


def child_processes() -> set[int]:
    """Children of this process, and those of the nursery, that run or that nobody has waited for."""
    own = {int(each.name) for each in Path("/proc").glob("[0-9]*") if parent_of(each) == os.getpid()}
    return own | nursery.living()


def parent_of(process: Path) -> int:
    """The parent of a process, 0 when the process has gone."""
    try:
        # A command's name may hold spaces and parentheses; state and parent follow the last one.
        return int((process / "stat").read_bytes().rpartition(b")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def wait_a_step() -> None:
    """Let the reactor run for a moment."""
    from twisted.internet import reactor

    pytest_twisted.blockon(task.deferLater(reactor, STEP_SECONDS, lambda: None))


def settle(guard: Guard) -> list[str]:
    """What is left once connections and processes had time to close."""
    for _ in range(round(SETTLE_SECONDS / STEP_SECONDS)):
        if not guard.left():
            break
        wait_a_step()
    # An unhandled failure is logged when its Deferred is collected.
    gc.collect()
    return guard.left()


@pytest.fixture(scope="session", autouse=True)
def loaded_code_is_no_garbage() -> None:
    """Each test looks for garbage, but not among all that was there before the first."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def guard() -> Iterator[Guard]:
    """Fail a test for logged failures and for what it leaves behind."""
    watching = Guard(delayed_calls(), open_readers(), child_processes())
    globalLogPublisher.addObserver(watching)
    yield watching
    left = settle(watching)
    globalLogPublisher.removeObserver(watching)
    watching.clear()
    if left:
        settle(watching)
    left += [f"logged: {in_words(each)}" for each in watching.failures]
    if left:
        pytest.fail("the test left behind:\n" + "\n".join(left), pytrace=False)


def in_words(event: LogEvent) -> str:
    """A logged event with its failure."""
    failure = event.get("log_failure")
    return failure.getTraceback() if failure is not None else str(event.get("log_format"))
