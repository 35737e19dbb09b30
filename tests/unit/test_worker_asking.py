"""How a worker finds a server and asks for work."""

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock

from hagoop.asking import ROUND_TRIP_SECONDS, AskAhead, FirstThatAnswers, retry_seconds
from hagoop.way import Way


@define(eq=False)
class Endpoint:
    """A place that connects as the test wants."""

    outcome: "Deferred[Protocol]"
    tried: list[object] = field(factory=list)

    def connect(self, factory: Factory) -> "Deferred[Protocol]":
        """Connect, or not."""
        self.tried.append(factory)
        return self.outcome


def refused() -> Endpoint:
    """Nobody listens there."""
    return Endpoint(fail(ConnectionRefusedError()))


def result(waited: "Deferred[Any]") -> Any:
    """What has come of it."""
    results: list[Any] = []
    waited.addBoth(results.append)
    return results[0]


def test_first_server_that_answers_is_taken():
    """Those after it are not tried."""
    factory, protocol = Factory(), Protocol()
    places = [refused(), Endpoint(succeed(protocol)), Endpoint(succeed(Protocol()))]
    assert result(FirstThatAnswers(places).connect(factory)) is protocol
    assert [each.tried for each in places] == [[factory], [factory], []]


def test_servers_are_tried_again_from_the_first():
    """It may be back."""
    places = [refused(), Endpoint(succeed(Protocol()))]
    found = FirstThatAnswers(places)
    for _ in range(2):
        places[0].outcome = fail(ConnectionRefusedError())
        places[1].outcome = succeed(Protocol())
        result(found.connect(Factory()))
    assert [len(each.tried) for each in places] == [2, 2]


def test_error_is_that_of_the_last_server():
    """Whatever was wrong with the others."""
    last = Endpoint(fail(OSError("no route")))
    assert result(FirstThatAnswers([refused(), last]).connect(Factory())).check(OSError)
    assert result(FirstThatAnswers([refused()]).connect(Factory())).check(ConnectionRefusedError)


def test_stopping_ends_the_attempt_and_begins_no_other():
    """A worker that leaves must not connect once more."""
    first, second = Endpoint(Deferred()), Endpoint(Deferred())
    connecting = FirstThatAnswers([first, second]).connect(Factory())
    connecting.cancel()
    assert result(connecting).check(CancelledError)
    assert second.tried == []


@define(eq=False)
class Asking:
    """Counts asks and keeps their answers."""

    clock: Clock = field(factory=Clock)
    way: Way = field(factory=Way)
    asked: "list[Deferred[str]]" = field(factory=list)
    ahead: AskAhead = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.ahead = AskAhead(self.clock, self._ask, self.way)

    def _ask(self) -> "Deferred[str]":
        self.asked.append(Deferred())
        return self.asked[-1]


@pytest.fixture
def asking():
    """Nothing is asked yet."""
    return Asking()


def test_next_assignment_is_asked_for_shortly_before_it_is_needed(asking):
    """So that the slot does not wait for the way there and back."""
    asking.ahead.ask_in(3.0)
    asking.clock.advance(3.0 - ROUND_TRIP_SECONDS - 0.001)
    assert asking.asked == []
    asking.clock.advance(0.001)
    assert len(asking.asked) == 1
    asking.clock.advance(10)
    assert len(asking.asked) == 1


def test_far_server_is_asked_so_much_sooner(asking):
    """The answer should be there when the slot is free."""
    asking.way.answered(2.0)
    asking.ahead.ask_in(3.0)
    asking.clock.advance(0.999)
    assert asking.asked == []
    asking.clock.advance(0.001)
    assert len(asking.asked) == 1


def test_what_was_asked_ahead_is_what_the_slot_gets(asking):
    """One ask, whenever its answer comes."""
    asking.ahead.ask_in(0.0)
    asking.clock.advance(0)
    asked = asking.ahead.ask()
    asking.asked[0].callback("work")
    assert result(asked) == "work"
    assert len(asking.asked) == 1


def test_slot_that_is_done_sooner_asks_at_once(asking):
    """And the ask that was planned is not sent."""
    asking.ahead.ask_in(5.0)
    asking.ahead.ask()
    assert len(asking.asked) == 1
    assert asking.clock.getDelayedCalls() == []


def test_slot_that_has_asked_asks_no_more(asking):
    """Also when the last job begins after that."""
    asking.ahead.ask()
    asking.ahead.ask_in(1.0)
    asking.ahead.ask()
    asking.clock.advance(5)
    assert len(asking.asked) == 1


def test_job_that_is_nearly_done_has_its_next_asked_for_at_once(asking):
    """There is no time before now."""
    asking.ahead.ask_in(ROUND_TRIP_SECONDS / 2)
    asking.clock.advance(0)
    assert len(asking.asked) == 1


# Trying again


def test_pauses_grow_and_are_spread() -> None:
    """Up to half a minute; of many that wait none waits for as long as another."""
    shortest = [retry_seconds(failures, lambda: 0.0) for failures in (1, 2, 5, 10, 1_000_000)]
    assert shortest == sorted(shortest)
    assert (shortest[0], shortest[-1]) == (0.375, 10.0)
    assert retry_seconds(1, lambda: 1.0) == 1.125
    assert retry_seconds(1_000_000, lambda: 1.0) == 30.0
    assert len({retry_seconds(3) for _ in range(10)}) == 10
