"""What a server keeps, and for how long."""

from pathlib import Path

import pytest
from cluster import Cluster, is_one_sentence, running, until

pytestmark = pytest.mark.slow


def spool_bytes(cluster: Cluster) -> int:
    """What the spool holds."""
    spool = cluster.server.folder / "state" / "spool"
    return sum(each.stat().st_size for each in spool.rglob("*") if each.is_file())


def test_answers_are_kept_for_a_while(tmp_path: Path) -> None:
    """Then they are forgotten, with all that the spool held for them."""
    with running(tmp_path / "it", 1, options=("--keep", "2s")) as cluster:
        (cluster.at / "input").write_bytes(b"line\n" * 1000)
        ran = cluster.request("run", "input", "--mapper", "cat")
        assert ran.stdout == b"line\n" * 1000
        assert cluster.request("answer").stdout == ran.stdout
        until(lambda: cluster.ask("list") == [])
        until(lambda: spool_bytes(cluster) == 0)
        asked = cluster.request("answer")
        assert (asked.returncode, asked.stderr) == (1, b"no request has been submitted\n")


def test_spool_has_a_bound(tmp_path: Path) -> None:
    """What does not fit is refused with a sentence; there is room again when something is forgotten."""
    with running(tmp_path / "it", 1, options=("--spool", "100k")) as cluster:
        large = b"x" * 99 + b"\n"
        refused = cluster.request("run", "-", "--quiet", "--mapper", "cat", stdin=large * 2000)
        assert refused.returncode == 1
        assert is_one_sentence(refused.stderr)
        assert b"spool" in refused.stderr or b"room" in refused.stderr
        until(lambda: spool_bytes(cluster) == 0)
        ran = cluster.request("run", "-", "--quiet", "--mapper", "wc -l", stdin=large * 400)
        assert ran.returncode == 0, ran.stderr
        cluster.forget_all()
        again = cluster.request("run", "-", "--quiet", "--mapper", "wc -l", stdin=large * 600)
        assert again.returncode == 0, again.stderr
