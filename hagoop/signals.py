"""Signals that this process takes while a service runs."""

import signal
from collections.abc import Callable
from threading import current_thread, main_thread
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IReactorFromThreads


@define(eq=False)
class Signals:
    """What was caught, and by whom before."""

    reactor: IReactorFromThreads
    # ``Any``: what Python's ``signal`` gives, and takes again.
    _before: dict[signal.Signals, Any] = field(factory=dict)

    def catch(self, number: signal.Signals, heard: Callable[[], object]) -> None:
        """From now on call ``heard``, in the reactor.  Threads other than the main one catch nothing."""
        if current_thread() is main_thread():
            before = signal.signal(number, lambda *_: self.reactor.callFromThread(heard))
            self._before.setdefault(number, before)

    def release(self) -> None:
        """Leave all to whoever had them before."""
        while self._before:
            number, before = self._before.popitem()
            signal.signal(number, signal.SIG_DFL if before is None else before)
