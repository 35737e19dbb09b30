"""Workers outlive the server and the link: they go on, keep what is finished, deliver, are credited.

One works alone here: of several the first to be back may begin with what another still holds.
"""

from collections.abc import Iterator

import pytest
from cluster import Cluster, until
from ledgers import Ledger
from proxied import through
from proxy import Link

pytestmark = pytest.mark.slow

LINES, PACE, MEANWHILE = 200, 0.01, 50
WHOLE = ("--map-whole",)
"""One run for all lines: else it might end just then.  What else is finished waits for the server."""


@pytest.fixture
def link(proxied: Cluster, links: list[Link]) -> Iterator[Link]:
    """That of the only worker."""
    other = proxied.workers[1]
    other.term()
    other.wait()
    yield links[0]
    other.start()


def check_counted(made: Ledger, since: int, until_: int) -> None:
    """What was run meanwhile is what counts, and nothing is run again."""
    meanwhile = set(made.ran[since:until_])
    made.end()
    assert meanwhile - set(made.answer.read_bytes().splitlines()) == set()
    assert len(made.ran) == LINES


def test_work_goes_on_without_the_server(proxied: Cluster, link: Link, mine: Link) -> None:
    """It is killed, away for a while, and back; the client goes on by itself as well."""
    made = Ledger(proxied, LINES, PACE, options=(*through(proxied, mine), *WHOLE)).begin()
    made.await_lines(0.1)
    proxied.server.kill()
    before = len(made.ran)
    until(lambda: len(made.ran) > before + MEANWHILE, what="work without a server")
    now = len(made.ran)
    proxied.start_server()
    check_counted(made, before, now)


def test_work_goes_on_without_the_link(proxied: Cluster, link: Link) -> None:
    """It breaks, and the server gives the work to nobody else, for there is nobody."""
    made = Ledger(proxied, LINES, PACE, options=WHOLE).begin()
    made.await_lines(0.1)
    before = len(made.ran)
    link.reset()
    until(lambda: len(made.ran) > before + MEANWHILE, what="work without a link")
    check_counted(made, before, len(made.ran))
