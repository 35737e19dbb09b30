"""A hundred thousand hostile boxes, and as many requests; and some at a real server, over TLS."""

import contextlib
import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

from cluster import until

sys.path.insert(0, str(Path(__file__).parent.parent / "unit"))

from hostile import boxes, http
from test_door import Guarded, cluster  # noqa: F401
from test_hostile import events, send_boxes, send_requests, site  # noqa: F401

BOXES, BOXES_OF_ONE, REQUESTS, REAL = 100_000, 2.8, 100_000, 3000
MOST_GROWTH = 24 << 20


def test_hostile_boxes(site, events, short):  # noqa: F811
    """In memory, so that so many fit into minutes."""
    send_boxes(site, events, int(BOXES / BOXES_OF_ONE / (10 if short else 1)), Random(3))


def test_hostile_requests(events, short):  # noqa: F811
    """Likewise."""
    send_requests(events, REQUESTS // (10 if short else 1), Random(4))


@contextlib.contextmanager
def over_tls(port: int) -> Iterator[ssl.SSLSocket]:
    """A connection that looks at no key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 30) as plain:
        plain.settimeout(30)
        with context.wrap_socket(plain) as peer:
            yield peer


def resident(process: int) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * 4096


def test_strangers_at_a_real_server(cluster: Guarded, short: bool) -> None:  # noqa: F811
    """Boxes, requests and bare bytes, in turn; it serves as before, and has not grown with them."""
    chance, count = Random(5), REAL // (10 if short else 1)
    assert cluster.server.process is not None
    ours = cluster.request("run", "input", "--mapper", "cat", "--detach").stdout.decode().strip()
    assert cluster.request("wait", ours).returncode == 0
    before = 0
    for number in range(count):
        port = (cluster.commands, cluster.web)[number % 2]
        with contextlib.suppress(OSError, ssl.SSLError), over_tls(port) as peer:
            for data in [http(chance)] if number % 2 else boxes(chance, {}):
                peer.sendall(data)
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 30) as bare:
            bare.sendall(chance.randbytes(chance.randint(1, 300)))
        if number == count // 2:
            before = resident(cluster.server.process.pid)
    assert resident(cluster.server.process.pid) - before < MOST_GROWTH
    log = cluster.server.log.read_text()
    assert "Traceback" not in log
    until(lambda: cluster.ask("workers"))
    assert cluster.request("answer", ours).stdout == b"b\na\n"
