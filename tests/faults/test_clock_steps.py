"""A server's clock steps by a day, or past 2038: no lease moves.  An hour is in ``test_clocks``."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cluster import Cluster, running, until
from test_clocks import SLOW, TEXT, check_undisturbed, clock, faked, is_half_done, step  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.full]

OVER = datetime(2038, 1, 19, 3, 14, 0, tzinfo=UTC)
"""Seven seconds before the seconds since 1970 need more than 31 bits."""


@pytest.fixture
def cluster(tmp_path: Path, clock: Path) -> Iterator[Cluster]:  # noqa: F811
    """A server with that clock, and two workers, one of them with it too."""
    with running(tmp_path / "it", 0) as made:
        (made.at / "input").write_bytes(TEXT * 4)
        made.server.term()
        made.server.wait()
        made.server.env.update(faked(clock))
        made.start_server()
        made.add_worker(**faked(clock))
        made.add_worker()
        made.await_workers()
        yield made


def set_to(file: Path, words: str) -> None:
    """Let it jump."""
    beside = file.with_suffix(".new")
    beside.write_text(f"{words}\n")
    os.replace(beside, file)


@pytest.mark.parametrize("words", ["+1d", "-1d", f"@{OVER:%Y-%m-%d %H:%M:%S}"])
def test_clock_that_steps_far_moves_no_lease(cluster: Cluster, clock: Path, words: str) -> None:  # noqa: F811
    """In the middle of a request; the answer is right, nobody is missed."""
    client = cluster.begin("run", "input", "--mapper", SLOW)
    until(lambda: is_half_done(cluster))
    age = cluster.ask("status")["age_seconds"]
    day = 86_400.0
    years = (OVER - datetime.now(UTC)).total_seconds()
    expected = {"+1d": age + day, "-1d": 0.0}.get(words, age + years)
    set_to(clock, words)
    until(lambda: abs(cluster.ask("status")["age_seconds"] - expected) < 100)
    check_undisturbed(cluster, client, TEXT * 4)
