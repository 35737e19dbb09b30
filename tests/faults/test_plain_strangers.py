"""A box that has no end, at a real server: it is closed at the cap, and its memory stays what it was."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, running

pytestmark = pytest.mark.slow

KEYS = 1000
VALUE = b"\xff\xff" + bytes(65535)
MOST_GROWTH = 8 << 20


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A server."""
    with running(tmp_path / "it", 0) as made:
        yield made


def resident(process: int) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * 4096


def test_endless_boxes_are_cut_off(cluster: Cluster) -> None:
    """Keys for ever, from twenty connections."""
    assert cluster.server.process is not None
    cluster.ask("workers")
    before = resident(cluster.server.process.pid)
    sent = [endless(cluster) for _ in range(20)]
    # What is in the buffers of the system was sent as well.
    assert max(sent) < KEYS * len(VALUE) / 2
    assert resident(cluster.server.process.pid) - before < MOST_GROWTH
    assert cluster.ask("workers") == []


def endless(cluster: Cluster) -> int:
    """How many bytes of one box a connection takes."""
    sent = 0
    with socket.create_connection((cluster.host, cluster.commands), 30) as peer:
        with contextlib.suppress(OSError):
            for number in range(KEYS):
                key = b"%06d" % number
                peer.sendall(b"\0\6" + key + VALUE)
                sent += len(VALUE) + 8
    return sent
