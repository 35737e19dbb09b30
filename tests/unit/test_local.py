"""The end of ``run --local``: nothing is left, however often it is told to end."""

from typing import Any

from attrs import define, field
from twisted.internet.error import ProcessDone
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from hagoop.local import GRACE_SECONDS, LocalCluster, _WorkerProcess


@define
class Process:
    """One that notes its signals."""

    signals: list[str] = field(factory=list)

    def signalProcess(self, signal: str) -> None:
        self.signals.append(signal)


def test_whoever_ends_it_waits_until_nothing_is_left(tmp_path):
    """The second Ctrl-C, too: the process would end before its workers, and leave their folder."""
    (tmp_path / "it").mkdir()
    clock: Any = MemoryReactorClock()
    worker, process = _WorkerProcess(), Process()
    cluster = LocalCluster(clock, 1, tmp_path / "it", processes=[(worker, process)])
    ended: list[object] = []
    for _ in range(2):
        cluster.stop().addBoth(ended.append)
    clock.advance(GRACE_SECONDS)
    assert (ended, process.signals) == ([], ["TERM", "KILL"])
    worker.processEnded(Failure(ProcessDone(0)))
    cluster.stop().addBoth(ended.append)
    assert ended == [None, None, None]
    assert not (tmp_path / "it").exists()
