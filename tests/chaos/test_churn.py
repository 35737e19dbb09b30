"""Workers that live two seconds on average, and requests all the time: every answer is right."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import frozen
from churn import WAYS, await_all, make_churn
from cluster import Cluster, differ, oracle, running
from fleets import COUNT, MAP, write_books
from idle import check_idle, watch
from line_ledger import numbered, wrong_in_ledger
from proxy import Proxy

NUMBERS = f"""#!{sys.executable}
import os, sys, time
pace = float(os.environ["PACE"])
for line in sys.stdin.buffer:
    time.sleep(pace)
    sys.stdout.buffer.write(line.split(b"\\t")[0] + b"\\n")
"""
"""Prints the number at the beginning of each line, and takes its time."""
PACE = "PACE=0.005"
MEAN_SECONDS = 2.0
LONGEST_SECONDS = 240.0


@frozen
class Case:
    """A request that is made again and again.

    :param wrong: what is wrong with an answer.
    """

    name: str
    words: tuple[str, ...]
    wrong: Callable[[bytes], list[str]]


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """The links between them and the server."""
    made = Proxy()
    yield made
    made.close()


@pytest.fixture
def cluster(tmp_path: Path, proxy: Proxy) -> Iterator[Cluster]:
    """A server, and nobody to work for it yet."""
    with running(tmp_path / "it", 0) as made:
        (made.at / "print_numbers.py").write_text(NUMBERS)
        (made.at / "print_numbers.py").chmod(0o755)
        yield made


def ledger_case(cluster: Cluster, lines: int) -> Case:
    """Every line's number, once."""
    (cluster.at / "numbered").write_bytes(numbered(lines))
    words = ("numbered", "--mapper", "./print_numbers.py", "--reducer", "cat", "--env", PACE)
    return Case("ledger", words, lambda answer: wrong_in_ledger(answer, lines))


def words_case(cluster: Cluster, lines: int) -> Case:
    """The words of uneven lines, combined and counted."""
    parts = write_books(cluster, lines)
    expected = oracle(parts, MAP, COUNT, cluster.at)
    words = ("books", "--mapper", MAP, "--combiner", COUNT, "--reducer", COUNT, "--env", PACE)
    return Case("words", words, lambda answer: [each for each in [differ(answer, expected)] if each])


def ask(cluster: Cluster, case: Case) -> list[str]:
    """Make a request; what is wrong with its answer or its status."""
    ran = cluster.request("run", *case.words, "--json", seconds=LONGEST_SECONDS)
    if ran.returncode:
        return [f"{case.name}: {ran.stderr.decode()}"]
    status = json.loads(ran.stderr.splitlines()[-1])
    wrong = [f"{case.name} {status['id']}: {each}" for each in case.wrong(ran.stdout)]
    if status["failures"]:
        wrong.append(f"{case.name} {status['id']}: {status['failures']} failures were charged to it")
    return wrong


def ask_until(cluster: Cluster, case: Case, over: threading.Event) -> list[str]:
    """One request after the other; what is wrong with each."""
    took: list[float] = []
    wrong: list[str] = []
    while not over.is_set() or not took:
        began = time.monotonic()
        wrong += ask(cluster, case)
        took.append(round(time.monotonic() - began, 1))
    print(f"{case.name}: answers took {took} s")
    return wrong


def warm_up(cluster: Cluster, case: Case) -> None:
    """Let the server open what it keeps open, for a worker that leaves."""
    cluster.start_workers(1)
    assert ask(cluster, case) == []
    cluster.workers[0].term()
    cluster.workers[0].wait()


@pytest.mark.parametrize("seed", [1])
def test_every_answer_is_right_while_workers_die(
    cluster: Cluster, proxy: Proxy, short: bool, seed: int
) -> None:
    """In five ways, each after two seconds on average; afterwards the server is as idle as before."""
    workers, seconds, lines = (8, 15.0, 200) if short else (20, 60.0, 500)
    cases = [ledger_case(cluster, lines), words_case(cluster, lines)]
    warm_up(cluster, cases[0])
    before = watch(cluster)
    churn = make_churn(cluster, proxy, workers, MEAN_SECONDS, seed)
    churn.begin()
    try:
        wrong = ask_for(cluster, cases, seconds)
    finally:
        # In the short form there is no time for the server to miss those behind mute links.
        churn.end(heal=short)
    print(dict(churn.deaths))
    assert wrong == []
    assert set(churn.deaths) == set(WAYS)
    await_all(churn)
    check_idle(cluster, before, 20 if short else 100)


def ask_for(cluster: Cluster, cases: list[Case], seconds: float) -> list[str]:
    """Make each request again and again for so long; what is wrong with the answers."""
    over = threading.Event()
    with ThreadPoolExecutor(len(cases)) as lanes:
        asked = [lanes.submit(ask_until, cluster, each, over) for each in cases]
        over.wait(seconds)
        over.set()
        return [wrong for each in asked for wrong in each.result()]
