"""A server writes the lives of its workers, and ``hagoop-simulate`` runs them again."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cluster import SOURCE, Cluster, running, until

pytestmark = pytest.mark.slow


def rows(cluster: Cluster) -> list[dict[str, Any]]:
    """What the server has written so far."""
    path = cluster.folder / "server" / "state" / "lives.jsonl"
    return [json.loads(each) for each in path.read_text().splitlines()] if path.exists() else []


def test_lives_of_workers_that_come_and_go_are_simulated(tmp_path: Path) -> None:
    """One is killed, one leaves with notice, one is there to the end."""
    with running(tmp_path / "it", 3) as cluster:
        (cluster.at / "input").write_bytes(b"line\n" * 200)
        assert cluster.request("run", "input", "--mapper", "cat").returncode == 0
        killed, leaves, _ = cluster.workers
        killed.kill()
        leaves.term()
        until(lambda: sum("left" in each for each in rows(cluster)) == 2, what="two ends in the log")
        cluster.server.term()
        cluster.server.wait()
        found = {each["name"]: each for each in rows(cluster) if "left" in each}
        assert [found[f"worker-{n}"]["how"] for n in (1, 2, 3)] == ["close", "notice", "running"]
        assert all(each["left"] >= each["joined"] for each in found.values())
        state = str(cluster.folder / "server" / "state")
        words = [sys.executable, "-m", "hagoop.simulate", "--from-log", state, "--json"]
        simulated = subprocess.run(words, cwd=SOURCE, capture_output=True, timeout=60)
        assert simulated.returncode == 0, simulated.stderr
        told = json.loads(simulated.stdout)
        assert (told["fleet"], told["workers"], told["finished"]) == ("log", 3, True)
