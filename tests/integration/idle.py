"""The end check: afterwards a server is as idle as it was before, whatever has happened."""

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

from attrs import frozen
from cluster import Cluster, processes_of, until

KEPT = "lives.jsonl"
"""A log that a server opens with its first session, and keeps open."""
DESCRIPTORS = {"socket": "socket:", "pipe": "pipe:", "event": "anon_inode:"}


@frozen
class Idle:
    """What a server has open while nothing happens.

    :param descriptors: how many of each kind.
    """

    descriptors: Counter[str]


def kept_files(cluster: Cluster) -> list[str]:
    """What the spool holds."""
    spool = cluster.server.folder / "state/spool"
    return [str(each.relative_to(spool)) for each in spool.rglob("*") if each.is_file()]


def descriptors(pid: int) -> Counter[str]:
    """What a process has open, by kind; a file by its path."""
    found: Counter[str] = Counter()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            name = os.readlink(each)
            if name.endswith(KEPT):
                continue
            found[next((kind for kind, mark in DESCRIPTORS.items() if name.startswith(mark)), name)] += 1
    return found


def watch(cluster: Cluster) -> Idle:
    """Look at a server that has served before, and to which no worker is connected."""
    assert cluster.server.process is not None
    assert cluster.ask("workers") == []
    return Idle(descriptors(cluster.server.process.pid))


def check_idle(cluster: Cluster, before: Idle, seconds: float = 30.0) -> None:
    """No lease, file, process or descriptor is left: all workers are stopped, all requests forgotten.

    :param seconds: how long connections and what waits for them may take to end.
    """
    until(lambda: not leases(cluster), seconds, "the end of all leases")
    cluster.forget_all()
    for each in cluster.workers:
        each.term()
    for each in cluster.workers:
        each.wait()
    until(lambda: not cluster.ask("workers"), seconds, "the end of all sessions")
    until(lambda: not kept_files(cluster), seconds, f"the end of {kept_files(cluster)}")
    own = cluster.server.process
    assert own is not None
    until(lambda: set(processes_of(cluster.folder)) <= {own.pid}, seconds, "the end of all processes")
    until(lambda: not more(own.pid, before), seconds, f"the end of {more(own.pid, before)}")


def leases(cluster: Cluster) -> list[str]:
    """Who has something in hand, and what."""
    found = cluster.ask("workers")
    return [f"{each['name']}: {each['doing']}" for each in found if each["doing"] != "idle"]


def more(pid: int, before: Idle) -> Counter[str]:
    """Descriptors that were not there before."""
    return descriptors(pid) - before.descriptors
