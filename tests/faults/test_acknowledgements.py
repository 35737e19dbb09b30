"""I6: nobody is told of anything before it is on disk, as the order of the calls of the system shows."""

from pathlib import Path

import pytest
from acknowledged import promises, too_early
from cluster import Cluster, oracle
from power import Disk
from syscalls import CALLS, TALK, needs_strace, read_calls, recording

pytestmark = [pytest.mark.slow, needs_strace]

FILES = 60
KEYS = "cut -f1 | uniq -c"
NO_SYNC = """
from hagoop.rows import SqliteStore
begin = SqliteStore.__init__
def careless(self, path):
    begin(self, path)
    self._db.execute("PRAGMA synchronous = OFF")
SqliteStore.__init__ = careless
"""
EARLY = """
from twisted.internet.defer import succeed
from hagoop.journal import Journal
enqueue = Journal._enqueue
def hasty(self, write):
    enqueue(self, write)
    return succeed(None)
Journal._enqueue = hasty
"""


def record(folder: Path, planted: str = "") -> tuple[Disk, list]:
    """What a server asks of the system for a request of many commits."""
    cluster = Cluster(folder / "it")
    # What others write into the journal would not be seen.
    cluster.is_checked = False
    cluster.server.prefix = recording(folder / "trace", [*CALLS, *TALK])
    cluster.server.words[2] = planted + cluster.server.words[2]
    (cluster.at / "input").mkdir()
    texts = [b"".join(b"k%d\tv%d\n" % (each % 7, each) for each in range(n + 1)) for n in range(FILES)]
    for number, text in enumerate(texts):
        (cluster.at / "input" / f"{number:03}").write_bytes(text)
    try:
        cluster.start_server()
        cluster.start_workers(2)
        ran = cluster.request("run", "input", "--mapper", "tr a-z A-Z", "--reducer", KEYS)
        assert ran.stdout == oracle(texts, "tr a-z A-Z", KEYS), ran.stderr
        cluster.server.kill()
    finally:
        cluster.end()
    calls = read_calls(folder / "trace")
    disk = Disk(str(cluster.server.folder / "state"))
    disk.play(calls)
    return disk, calls


def test_everything_is_on_disk_before_it_is_told(tmp_path: Path) -> None:
    """Bytes are synced, then the rows that name them, then workers and clients are told: each time."""
    disk, calls = record(tmp_path)
    told = [each.command for each in promises(calls)]
    assert told.count("Commit") >= FILES
    assert {"Submit", "Commit", "Status"} <= set(told)
    assert list(too_early(disk, calls)) == []


@pytest.mark.parametrize(
    "planted", [EARLY, pytest.param(NO_SYNC, marks=pytest.mark.full)], ids=["early", "no sync"]
)
def test_planted_early_answer_is_found(tmp_path: Path, planted: str) -> None:
    """A server that answers first, or never syncs, is found out."""
    disk, calls = record(tmp_path, planted)
    found = list(too_early(disk, calls))
    assert any(each.startswith("Commit") for each in found)
    assert any(each.startswith("Submit") for each in found)
