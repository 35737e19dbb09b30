"""For tests that inject faults: what they share with ``tests/integration``, and which need time.

``--full`` runs those that are marked ``full`` too: minutes of kills, partitions and floods.  What a
machine has no tool for is skipped by name; the last line of a run counts what was skipped, and why.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "integration"))

from cluster import Cluster, until
from proxied import WORKERS, running_proxied
from proxy import Link, Proxy, Weather


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--full``: whatever it takes."""
    parser.addoption("--full", action="store_true", help="faults that take minutes too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without ``--full`` there is no time for some."""
    if config.getoption("--full"):
        return
    for each in items:
        if each.get_closest_marker("full"):
            each.add_marker(pytest.mark.skip(reason="it takes minutes: make faults"))


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether there is time."""
    return bool(request.config.getoption("--full"))


@pytest.fixture(scope="session")
def short(full: bool) -> bool:
    """The same for tests of ``tests/chaos``."""
    return not full


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count what was skipped, by reason."""
    skipped = [each for each in terminalreporter.stats.get("skipped", []) if is_ours(each.nodeid)]
    reasons = Counter(str(each.longrepr[2]).removeprefix("Skipped: ") for each in skipped)
    terminalreporter.write_line(f"faults: {len(skipped)} skipped")
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"faults: {count} because {reason}")


def is_ours(nodeid: str) -> bool:
    """Whether a test is one of these."""
    return nodeid.startswith("tests/faults/")


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    """The links of ``proxied``."""
    made = Proxy()
    yield made
    made.close()


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory, proxy: Proxy) -> Iterator[Cluster]:
    """A server and two workers, each behind a link of its own."""
    with running_proxied(tmp_path_factory.mktemp("proxied") / "it", proxy) as made:
        yield made


@pytest.fixture
def links(proxied: Cluster, proxy: Proxy) -> Iterator[list[Link]]:
    """Those of its workers, clear again afterwards, as is that of clients."""
    until(lambda: len(proxied.ask("workers")) == WORKERS, what="all workers")
    yield proxy.links[:WORKERS]
    for each in proxy.links:
        each.weather = Weather()


@pytest.fixture
def mine(proxied: Cluster, proxy: Proxy) -> Link:
    """That of clients."""
    return proxy.links[-1]
