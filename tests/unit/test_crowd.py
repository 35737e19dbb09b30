"""No more connections are accepted than there are descriptors for."""

import resource

import pytest
from attrs import define, field
from twisted.internet.task import Clock

from hagoop.door import crowd
from hagoop.door.audit import Audit
from hagoop.door.crowd import Crowd, most_connections, raise_limit
from hagoop.door.porch import Porch


@define(eq=False, slots=False)
class Port:
    """A port that notes what is done to it."""

    connected: bool = True
    numberAccepts: int = 100
    story: list[object] = field(factory=list)

    def doRead(self) -> None:
        self.story.append(self.numberAccepts)

    def stopReading(self) -> None:
        self.story.append("stop")

    def startReading(self) -> None:
        self.story.append("start")


def test_accepts_pause_until_some_have_left() -> None:
    """Not until one has: it would begin and end with each."""
    port, full = Port(), Crowd(Clock(), 16)
    full.watch([port])
    for each in range(17):
        full.came(each)
    assert port.story == ["stop"]
    full.gone(0)
    full.gone(0)
    full.gone(1)
    assert port.story == ["stop"]
    full.gone(2)
    assert port.story == ["stop", "start"]


def test_no_more_are_accepted_at_once_than_there_is_room_for() -> None:
    """Twisted takes up to a hundred."""
    port, full = Port(), Crowd(Clock(), 16)
    full.watch([port])
    for count in (0, 10, 15):
        while len(full._here) < count:
            full.came(object())
        port.doRead()
    assert port.story == [16, 6, 1]


def test_log_has_one_line_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it fills up."""
    lines: list[int] = []
    monkeypatch.setattr(crowd.log, "warn", lambda *_, most: lines.append(most))
    clock = Clock()
    full = Crowd(clock, 2)
    for _ in range(5):
        for each in range(2):
            full.came(each)
        for each in range(2):
            full.gone(each)
    assert lines == [2]
    clock.advance(60)
    full.came(1)
    full.came(2)
    assert lines == [2, 2]


def test_closed_ports_are_left_alone() -> None:
    """At the end connections go after them."""
    port, full = Port(), Crowd(Clock(), 1)
    full.watch([port])
    full.came(1)
    port.connected = False
    full.gone(1)
    full.came(1)
    port.connected = True
    full.leave()
    full.gone(1)
    assert port.story == ["stop"]


def test_strangers_have_half_of_the_room() -> None:
    """Also on loopback, where all may come as they are: who has come in needs room for more."""
    porch = Porch(Clock(), Audit(None, lambda: 0.0), bounded=False)
    porch.threshold.most_of_one = 2
    closed: list[int] = []
    for each in range(4):
        porch.came(each, "127.0.0.1", lambda each=each: closed.append(each))
    assert closed == [0, 1]
    assert porch.threshold.most_of_all == most_connections() // 2


def test_room_is_what_the_system_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it is taken, less what the server's own files need."""
    limits = [(1024, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: limits.append(wanted))
    raise_limit()
    assert (limits[-1], most_connections()) == ((4096, 4096), 3800)
    limits.append((64, 64))
    raise_limit()
    assert (limits[-1], most_connections()) == ((64, 64), 20)
    limits.append((100, resource.RLIM_INFINITY))
    raise_limit()
    assert limits[-1] == (65_536, resource.RLIM_INFINITY)
