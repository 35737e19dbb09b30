"""Bad links between the server and its workers and clients, made in user space: rows N1 to N7."""

import time

import pytest
from cluster import Cluster, Part, until
from ledgers import DEPARTED, Ledger
from proxied import through
from proxy import DOWN, UP, Link, Weather

pytestmark = pytest.mark.slow


JOINED = " joined as "
WEATHERS = {
    "late": Weather(delay=0.05, jitter=0.05),
    "a byte at a time": Weather(piece=1),
    "run together": Weather(gather=0.05),
}


@pytest.mark.parametrize("name", WEATHERS)
def test_weather_changes_no_answer(
    proxied: Cluster, links: list[Link], mine: Link, name: str
) -> None:
    """Boxes come late, a byte at a time, or several at once, to workers and clients."""
    for each in (*links, mine):
        each.weather = WEATHERS[name]
    departed = proxied.server.said(DEPARTED)
    Ledger(proxied, 40, 0.005, options=through(proxied, mine)).begin().end()
    assert proxied.server.said(DEPARTED) == departed


@pytest.mark.parametrize(
    "weather",
    [Weather(delay=0.5), pytest.param(Weather(delay=2.0, jitter=1.0), marks=pytest.mark.full)],
    ids=["half a second", "two seconds"],
)
def test_long_way_is_allowed_for(proxied: Cluster, links: list[Link], weather: Weather) -> None:
    """In each direction: nobody is late by it; no session ends, and who is idle helps once at most."""
    joined, closed = proxied.server.said(JOINED), proxied.server.said("closing session")
    for each in links:
        each.weather = weather
        each.reset()
    until(lambda: proxied.server.said(JOINED) >= joined + len(links), what="their return")
    departed = proxied.server.said(DEPARTED)
    made = Ledger(proxied, 8, 0.005).begin()
    made.end(300)
    assert proxied.server.said(DEPARTED) == departed
    assert proxied.server.said("closing session") == closed
    assert max(made.mapped.values()) <= 2


@pytest.mark.full
def test_two_seconds_on_the_way_change_no_answer(
    proxied: Cluster, links: list[Link], mine: Link
) -> None:
    """In each direction, and up to one more, to clients too."""
    for each in (*links, mine):
        each.weather = Weather(delay=2.0, jitter=1.0)
    Ledger(proxied, 8, 0.005, options=through(proxied, mine)).begin().end(300)


def test_slow_link_loses_nobody(proxied: Cluster, links: list[Link]) -> None:
    """56 kbit/s: while bytes move no lease ends, and no session."""
    for each in links:
        each.weather = Weather(rate=7000, piece=700)
    departed = proxied.server.said(DEPARTED)
    Ledger(proxied, 100, 0.002).begin().end()
    assert proxied.server.said(DEPARTED) == departed


@pytest.mark.parametrize("way", [UP, DOWN])
def test_reset_in_the_middle_of_bytes(proxied: Cluster, links: list[Link], way: str) -> None:
    """Of what a job has printed, or of its lines: they are sent again, and count once."""
    for each in links:
        each.cuts[way] = 300
    cut = sum(each.were_cut[way] for each in links)
    Ledger(proxied, 100, 0.005).begin().end()
    assert sum(each.were_cut[way] for each in links) > cut


def test_reset_of_all_links(proxied: Cluster, links: list[Link], mine: Link) -> None:
    """Again and again in the middle of a request: workers come back with what they hold, clients too."""
    made = Ledger(proxied, 200, 0.01, options=through(proxied, mine)).begin()
    for share in (0.1, 0.5):
        made.await_lines(share)
        for each in (*links, mine):
            each.reset()
    made.end()


@pytest.mark.parametrize(
    "ways", [(UP,), *(pytest.param(each, marks=pytest.mark.full) for each in [(DOWN,), (UP, DOWN)])]
)
def test_mute_link(proxied: Cluster, links: list[Link], ways: tuple[str, ...]) -> None:
    """A worker that hears or is heard no more holds nobody up; when it is back it goes on."""
    made = Ledger(proxied, 120, 0.01).begin()
    made.await_lines()
    links[0].mute(*ways)
    made.end()
    [mute] = [each for each in proxied.workers if link_of(proxied, each) == links[0].host]
    joined = mute.said("joined ")
    links[0].reset()
    until(lambda: mute.said("joined ") > joined, what="its return")


def link_of(cluster: Cluster, worker: Part) -> str:
    """The address by which it knows the server."""
    last = max(number for number, word in enumerate(worker.words) if word == "--server")
    return worker.words[last + 1].partition(":")[0]


@pytest.mark.parametrize(
    ("seconds", "lines"), [(1.0, 250), pytest.param(300.0, 40_000, marks=pytest.mark.full)]
)
def test_partition_and_heal(
    proxied: Cluster, links: list[Link], seconds: float, lines: int
) -> None:
    """Between the server and half of its workers, again and again: nothing counts twice."""
    pause = 5.0 if seconds > 20 else 0.5
    made = Ledger(proxied, lines, 0.01).begin()
    made.await_lines(0.02)
    partition(links[0], seconds, pause)
    made.end(seconds + 400)


def partition(link: Link, seconds: float, pause: float) -> None:
    """Hold a link and heal it, for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        link.hold()
        time.sleep(pause)
        link.heal()
        time.sleep(pause)
