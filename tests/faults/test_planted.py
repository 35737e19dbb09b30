"""The whole chain notices bugs of a real server: trigger, story and checkers, as after every test."""

import re
from pathlib import Path

import pytest
from cluster import Cluster

pytestmark = pytest.mark.slow

CANARY = "canary-in-a-mine"
NOTICED = {
    1: "I1: r1 was acknowledged, and the journal does not know it",
    2: "I1: r2 ended 2 times",
    3: "I2: run .* brought what no request has answered",
    4: "I4: r4 map 0: committed twice",
    5: "I4: r5 map 0: nobody has committed 0-",
    6: "I5: r6 map 0: of an older epoch, and not open",
    7: "I7: r7 .* has digest",
    8: "I8: nobody knows requests/r8",
    9: "I9: .*log holds a secret",
}


def test_bugs_of_a_server_are_noticed(tmp_path: Path) -> None:
    """Each request meets another one."""
    cluster = Cluster(tmp_path / "it")
    where = str(Path(__file__).parent)
    cluster.server.words[2] = (
        f"import sys; sys.path.append({where!r}); import planted_server; " + cluster.server.words[2]
    )
    cluster.start_server()
    cluster.start_workers(1)
    for number in NOTICED:
        (cluster.at / f"input-{number}").write_bytes(b"1\n2\n%d\n" % number)
        output = () if number == 3 else ("--detach",)
        words = ("run", f"input-{number}", "--mapper", "cat", "--env", f"PASSWORD={CANARY}", *output)
        assert cluster.request(*words).returncode == 0
        assert cluster.request("wait", f"r{number}").returncode == 0
    assert cluster.request("forget", "r8").returncode == 0
    cluster.story.canaries.append(CANARY)
    with pytest.raises(AssertionError) as noticed:
        cluster.end()
    said = str(noticed.value).splitlines()
    missed = {words for words in NOTICED.values() if not any(re.search(words, each) for each in said)}
    assert missed == set(), said
