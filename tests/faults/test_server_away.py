"""A server that is not there, comes back elsewhere, or sees all of its workers return at once."""

import socket
import threading
import time
from pathlib import Path

import pytest
from cluster import Cluster, free_ports, running, until
from ledgers import Ledger
from proxied import through
from proxy import Proxy

pytestmark = pytest.mark.slow

WATCHED_SECONDS = 2.5
MOST_TRIES = 8
HERD = 500
TEXT = b"".join(b"%d\n" % each for each in range(20))


def test_worker_knocks_softly(tmp_path: Path) -> None:
    """At a port where nobody stays to talk it tries again and again, at most about twice a second."""
    cluster = Cluster(tmp_path / "it")
    with socket.create_server((cluster.host, cluster.commands)) as port:
        knocks: list[float] = []
        over = threading.Thread(target=count_knocks, args=(port, knocks))
        over.start()
        worker = cluster.add_worker()
        over.join()
    # Now the server begins, and it finds it by itself.
    cluster.start_server()
    until(lambda: worker.said("joined "), what="its Join")
    cluster.end()
    assert 2 <= len(knocks) <= MOST_TRIES, knocks


def count_knocks(port: socket.socket, knocks: list[float]) -> None:
    """Take connections and close them, for a while after the first."""
    port.settimeout(30)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            peer, _ = port.accept()
        except TimeoutError:
            return
        peer.close()
        if not knocks:
            end = time.monotonic() + WATCHED_SECONDS
            port.settimeout(WATCHED_SECONDS)
        knocks.append(time.monotonic())


def test_server_that_comes_back_elsewhere(tmp_path: Path) -> None:
    """Workers and clients that know several addresses find it."""
    with running(tmp_path / "it", 0) as cluster:
        old = cluster.address
        commands, web = free_ports(2)
        both = ("--server", f"{old},{cluster.host}:{commands}")
        cluster.add_worker(*both)
        cluster.await_workers()
        made = Ledger(cluster, 100, 0.01, options=both).begin()
        made.await_lines()
        cluster.server.kill()
        words = cluster.server.words
        for old_port, port in ((cluster.commands, commands), (cluster.web, web)):
            words[words.index(f"{cluster.host}:{old_port}")] = f"{cluster.host}:{port}"
        cluster.commands, cluster.web = commands, web
        cluster.start_server()
        made.end()


@pytest.mark.full
def test_herd(tmp_path: Path) -> None:
    """Five hundred workers lose the server at once: they come back spread over time, and all do."""
    proxy = Proxy()
    try:
        with running(tmp_path / "it", 0) as cluster:
            link = proxy.add(cluster.commands, cluster.web)
            cluster.add_unruly("good", "--count", str(HERD), *through(cluster, link))
            until(lambda: len(cluster.ask("workers")) == HERD, 120, "all workers")
            for _ in range(2):
                come_back(cluster, link.accepted)
            (cluster.at / "input").write_bytes(TEXT)
            ran = cluster.request("run", "input", "--mapper", "cat", seconds=200)
            assert ran.stdout == TEXT
            # It would take its time to let so many leave one by one.
            cluster.workers[0].kill()
    finally:
        proxy.close()


def come_back(cluster: Cluster, accepted: list[float]) -> None:
    """Kill the server, start it again, and see all return."""
    accepted.clear()
    cluster.server.kill()
    began = time.monotonic()
    cluster.start_server()
    until(lambda: len(cluster.ask("workers")) == HERD, 120, "the return of all")
    times = sorted(accepted)
    busiest = max(sum(start <= each < start + 0.1 for each in times) for start in times)
    print(f"{HERD} were back after {time.monotonic() - began:.1f} s; {busiest} of them within 0.1 s")
    # All at once would be five hundred; as soon as they can, spread evenly, seventy.
    assert busiest < HERD / 2
