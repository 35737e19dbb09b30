"""A cluster whose workers and clients reach the server through links that tests can spoil."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster import Cluster, running
from invariants import all_ended
from proxy import Link, Proxy

WORKERS = 2


def through(cluster: Cluster, link: Link) -> tuple[str, ...]:
    """What a worker or a client is told to go that way."""
    return ("--server", f"{link.host}:{cluster.commands}")


@contextmanager
def running_proxied(folder: Path, proxy: Proxy, workers: int = WORKERS) -> Iterator[Cluster]:
    """A server and workers, each behind a link of its own; the last link is that of clients."""
    with running(folder, 0) as made:
        made.more_checks.append(("I1", all_ended))
        for _ in range(workers + 1):
            proxy.add(made.commands, made.web)
        for link in proxy.links[:workers]:
            made.add_worker(*through(made, link))
        made.await_workers()
        yield made
