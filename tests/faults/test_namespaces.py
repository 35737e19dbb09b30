"""Packets that get lost on their way to a machine behind a real network: N1 to N4 and N7, for root."""

import os
import random
import subprocess
import time
from collections.abc import Iterator, Sequence

import pytest
from cluster import Cluster, can, running, until
from invariants import all_ended
from ledgers import Ledger

pytestmark = [pytest.mark.slow, pytest.mark.full]

NUMBER = os.getpid()
NAME = f"hgn{NUMBER}"
NET = f"10.{150 + NUMBER % 50}.{NUMBER // 50 % 250}"
SEED = 5


def in_space(*words: str) -> None:
    """Run something on the other machine."""
    whole = ["ip", "netns", "exec", NAME, *words]
    subprocess.run(whole, check=True, capture_output=True, timeout=20)


def rule(act: str, chain: str, *words: str) -> None:
    """Add (``-A``) or take away (``-D``) a rule of the other machine's."""
    in_space("iptables", "-w", act, chain, *words)


@pytest.fixture(scope="module")
def machine() -> Iterator[str]:
    """A network namespace at the other end of a cable of ours."""
    if os.geteuid() or not can("ip", "netns", "list"):
        pytest.skip("only root can make network namespaces")
    if not can("iptables", "--version"):
        pytest.skip("iptables is not installed")
    try:
        for words in (
            f"netns add {NAME}",
            f"link add {NAME} type veth peer name eth0 netns {NAME}",
            f"addr add {NET}.1/24 dev {NAME}",
            f"link set {NAME} up",
            f"-n {NAME} addr add {NET}.2/24 dev eth0",
            f"-n {NAME} link set eth0 up",
        ):
            assert can("ip", *words.split()), words
        yield NAME
    finally:
        can("ip", "netns", "del", NAME)


@pytest.fixture(scope="module")
def cluster(machine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server and a worker here, and a worker there."""
    folder = tmp_path_factory.mktemp("space") / "it"
    with running(folder, 0, host=f"{NET}.1", options=("--insecure",)) as made:
        made.more_checks.append(("I1", all_ended))
        made.add_worker("--allow-root")
        made.add_worker("--allow-root", prefix=["ip", "netns", "exec", machine])
        made.await_workers()
        yield made


@pytest.fixture
def clear(cluster: Cluster) -> Iterator[None]:
    """Afterwards everything passes again, and both workers are there."""
    yield
    for each in ("INPUT", "OUTPUT"):
        in_space("iptables", "-w", "-F", each)
    until(lambda: len(cluster.ask("workers")) == 2, 90, "the return of the worker there")


DROP = ("-j", "DROP")
RESET = ("-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset")
LOSS = ("-m", "statistic", "--mode", "random", "--probability", "0.2", "-j", "DROP")
FAULTS = {
    "nothing passes": (("INPUT", *DROP), ("OUTPUT", *DROP)),
    "it hears and cannot answer": (("OUTPUT", *DROP),),
    "it is heard and hears nothing": (("INPUT", *DROP),),
    "resets": (("OUTPUT", *RESET),),
}


@pytest.mark.parametrize("name", FAULTS)
def test_link_that_breaks_in_the_middle(cluster: Cluster, clear: None, name: str) -> None:
    """For longer than the server waits for a silent worker; the answer is right all the same."""
    made = Ledger(cluster, 1500, 0.01).begin()
    made.await_lines()
    closed = cluster.server.said("left, failed: True")
    for each in FAULTS[name]:
        rule("-A", *each)
    until(lambda: cluster.server.said("left, failed: True") > closed, 60, "the end of its session")
    made.end()


@pytest.mark.parametrize("chains", [("INPUT",), ("INPUT", "OUTPUT")])
def test_packets_that_get_lost(cluster: Cluster, clear: None, chains: Sequence[str]) -> None:
    """One of five, in one direction or both: slower, and not wrong."""
    for each in chains:
        rule("-A", each, *LOSS)
    Ledger(cluster, 1000, 0.01).begin().end(200)


@pytest.mark.parametrize("seconds", [300.0])
def test_partition_and_heal(cluster: Cluster, clear: None, seconds: float) -> None:
    """Every five seconds for five minutes, in one direction, the other, or both."""
    dice = random.Random(SEED)
    made = Ledger(cluster, int(seconds * 120), 0.01).begin()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        chains = dice.choice([("INPUT",), ("OUTPUT",), ("INPUT", "OUTPUT")])
        for each in chains:
            rule("-A", each, *DROP)
        time.sleep(5)
        for each in chains:
            rule("-D", each, *DROP)
        time.sleep(5)
    made.end(seconds + 200)


