"""How often a worker beats: as often as its server says now, not as it said once."""

from typing import Any

import pytest
from attrs import define, field
from test_resting import CONFIG
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from hagoop import commands
from hagoop.errors import WorkerLost
from hagoop.jobs import AssignmentId, Seen
from hagoop.worker import Worker


@define(eq=False)
class Link:
    """The end of a connection; Beats are answered when the test says so."""

    beats: "list[Deferred[dict[str, Any]]]" = field(factory=list)

    async def call(self, command: type[commands.Command], **arguments: Any) -> dict[str, Any]:
        """Nothing else is said."""
        assert (command, arguments["seen"]) == (commands.Beat, (Busy.seen,))
        self.beats.append(Deferred())
        return await self.beats[-1]


class Busy:
    """An assignment in hand."""

    seen = Seen(AssignmentId("1-1"), 1, 0, 0)


@pytest.fixture
def worker() -> Any:
    """One that has joined a small fleet, and has something to say."""
    made: Any = Worker(MemoryReactorClock(), CONFIG, None)
    made.link, made.works = Link(), {AssignmentId("1-1"): Busy()}
    made.beating.keep(0.25)
    made.reactor.advance(0.25)
    assert len(made.link.beats) == 1
    return made


def beats_in(worker: Any, seconds: float) -> int:
    """How many it says."""
    known = len(worker.link.beats)
    worker.reactor.pump([0.125] * int(seconds * 8))
    return len(worker.link.beats) - known


@pytest.mark.parametrize(("told", "beats"), [(0.25, 16), (0.29, 16), (0.5, 8), (2.0, 2), (0.125, 32)])
def test_worker_beats_as_the_fleet_is_now(worker: Any, told: float, beats: int) -> None:
    """A little more or less is left as it is: each worker that comes or goes changes it."""
    worker.link.beats[0].callback({"beat_seconds": told})
    assert beats_in(worker, 4.0) == beats


def test_answer_of_a_server_that_is_gone_says_nothing(worker: Any) -> None:
    """Another fleet may wait for it at the next one; and a Beat that fails changes nothing."""
    link, worker.link = worker.link, Link()
    link.beats[0].callback({"beat_seconds": 2.0})
    assert beats_in(worker, 4.0) == 16
    worker.link.beats[0].errback(WorkerLost("the connection was lost"))
    assert beats_in(worker, 4.0) == 16
