"""``hagoop-request``: submit requests, follow them, fetch answers."""

import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.python.usage import UsageError

from hagoop.check_options import Checking
from hagoop.door.hiding import hide_line
from hagoop.errors import (
    HaGoopError,
    NotAdmitted,
    RequestCancelled,
    RequestFailed,
    ServerUnreachable,
    VersionMismatch,
)
from hagoop.request_options import Call, parse
from hagoop.run_options import Running

PLAIN = ("tcp:", "tcp4:", "tcp6:", "unix:")
"""Endpoints without TLS."""
DONE, FAILED, USAGE, UNREACHABLE, CANCELLED, INTERRUPTED = 0, 1, 2, 3, 4, 130


def script() -> None:
    """The script, as a process of its own."""
    # What is imported is no garbage, and to look for some in it takes its time.
    gc.disable()
    status = main(loading=_without_tls)
    try:
        sys.stdout.flush()
    except OSError as error:
        status = status or _say(f"not all could be printed: {error.strerror}", FAILED)
    # Python would first take apart all that it has loaded, longer than many a command takes.
    os._exit(status)


def _without_tls(call: Call) -> None:
    """Where no server is reached over TLS, let Twisted do as if OpenSSL were not installed.

    It would import it whatever it is used for, a fifth of all that a short command does.
    """
    servers = () if isinstance(call, Checking) else call.servers or ()
    if servers and all(each.startswith(PLAIN) for each in servers):
        sys.modules.setdefault("OpenSSL", None)  # type: ignore[arg-type]


def main(
    argv: Sequence[str] | None = None, loading: Callable[[Call], None] = lambda call: None
) -> int:
    """What the script does; returns its exit status.

    :param loading: told what is to be done, before a reactor is imported.
    """
    if argv is None:
        hide_line(sys.orig_argv, os.environ)
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        call = parse(words, Path.cwd())
    except UsageError as error:
        print(error, file=sys.stderr)
        return USAGE
    except HaGoopError as error:
        print(error, file=sys.stderr)
        return FAILED
    if call is None:
        return DONE
    loading(call)
    return run_reactor(lambda reactor: _act(call, reactor))


def run_reactor(act: Callable[[Any], Coroutine[Any, Any, int]]) -> int:
    """Do something that ends, with a reactor; its exit status, or that of what it raised.

    :param act: is given the reactor, whose kind is not known before.
    """
    # Not before the command line is known to be sound: importing a reactor takes its time.
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred
    from twisted.internet.error import ReactorNotRunning

    from hagoop.awake import install_awake_clock

    reactor_: Any = reactor
    install_awake_clock(reactor_)
    # Nothing but a signal ends the reactor before the request has come to its end.
    status = [INTERRUPTED]
    ending: list[bool] = []

    def end() -> None:
        ending.append(True)
        _heed_no_signals()

    reactor_.addSystemEventTrigger("before", "shutdown", end)

    async def act_unless_interrupted() -> int:
        try:
            return await act(reactor_)
        except HaGoopError as error:
            if ending:
                # It is only that our own connections end.
                raise KeyboardInterrupt from error
            raise

    async def to_the_end() -> None:
        status[0] = await _status_of(act_unless_interrupted())

    def begin() -> None:
        acted = Deferred.fromCoroutine(to_the_end())
        acted.addErrback(_broken)
        acted.addBoth(lambda _: stop())

    def stop() -> None:
        # A signal may have been faster.
        with suppress(ReactorNotRunning):
            reactor_.stop()

    reactor_.callWhenRunning(begin)
    reactor_.run(installSignalHandlers=True)
    return status[0]


def _heed_no_signals() -> None:
    """It ends already, and what it has begun is still to be tidied up."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: None)


def _broken(reason: Any) -> None:
    reason.printTraceback(file=sys.stderr)


async def _act(call: Call, reactor: Any) -> int:
    if isinstance(call, Checking):
        from hagoop import check_script

        gc.enable()
        return await check_script.check(call, reactor)
    from hagoop import following

    gc.enable()
    if isinstance(call, Running):
        return await following.run(call, reactor)
    return await following.ask(call, reactor)


async def _status_of(acting: Coroutine[Any, Any, int]) -> int:
    """The exit status that an outcome stands for, its sentence said."""
    try:
        return await acting
    except RequestCancelled as error:
        return _say(error, CANCELLED)
    except (ServerUnreachable, VersionMismatch, NotAdmitted) as error:
        return _say(error, UNREACHABLE)
    except RequestFailed as error:
        return _say(f"The request failed: {error}", FAILED)
    except (HaGoopError, OSError) as error:
        return _say(error, FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED


def _say(sentence: object, status: int) -> int:
    print(sentence, file=sys.stderr)
    return status


if __name__ == "__main__":
    script()
