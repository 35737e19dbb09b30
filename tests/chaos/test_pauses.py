"""A server that is stopped for longer than any limit: nobody is taken for dead when it goes on."""

from pathlib import Path

import pytest
from cluster import running
from pauses import UnderWay

STOPPED_SECONDS = 60.0


def test_server_that_is_stopped_for_a_minute_loses_nobody(tmp_path: Path, short: bool) -> None:
    """Twice as long as it waits for a silent worker: the answer is right, and no lease has moved."""
    if short:
        pytest.skip("it takes more than a minute; a shorter pause is in tests/integration")
    with running(tmp_path / "it", 5) as cluster:
        under_way = UnderWay(cluster, 2000)
        cluster.server.pause(STOPPED_SECONDS)
        under_way.check()
