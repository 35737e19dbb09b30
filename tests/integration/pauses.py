"""A request under way, and what must not have happened to it when all is over."""

import sys
from pathlib import Path

from attrs import define, field
from cluster import Cluster, differ, oracle, until

SLOWLY = f"""#!{sys.executable}
import sys, time
for line in sys.stdin.buffer:
    time.sleep(0.01)
    sys.stdout.buffer.write(line.upper())
"""
"""Takes 10 ms for each line."""
KEYS = "cut -f1 | uniq -c"
DEPARTED = "left, failed: True"


@define(eq=False)
class UnderWay:
    """A slow request, submitted and in the middle of its lines.

    :ivar joined: how often a worker had joined by then.
    """

    cluster: Cluster
    lines: int
    text: bytes = field(init=False)
    request: str = field(init=False)
    joined: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.text = b"".join(b"k%d\t%d\n" % (each % 37, each) for each in range(self.lines))
        at: Path = self.cluster.at
        (at / "input").write_bytes(self.text)
        (at / "slowly.py").write_text(SLOWLY)
        (at / "slowly.py").chmod(0o755)
        words = ("run", "input", "--mapper", "./slowly.py", "--reducer", KEYS, "--detach")
        self.request = self.cluster.request(*words).stdout.decode().strip()
        until(lambda: self.done > 0.1, what="the first lines")
        self.joined = self.cluster.server.said(" joined as ")

    @property
    def done(self) -> float:
        """The share of its lines."""
        status = self.cluster.ask("status", self.request)
        return float(status["done"]) if status["phase"] == "map" else 1.0

    def check(self) -> None:
        """It ends right, nobody has left or joined, and nothing is charged to the program."""
        waited = self.cluster.request("wait", self.request)
        assert waited.returncode == 0, waited.stderr.decode()
        answer = self.cluster.request("answer", self.request).stdout
        assert differ(answer, oracle([self.text], "tr a-z A-Z", KEYS)) == ""
        assert self.cluster.ask("status", self.request)["failures"] == 0
        server = self.cluster.server
        assert (server.said(DEPARTED), server.said(" joined as ")) == (0, self.joined)
