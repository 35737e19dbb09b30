"""All that is promised of answers and of programs: by 1, 2 and 8 workers, undisturbed and killed.

``contract_cases.py`` has the sentences and the requests that show them, which are all under way at once.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from attrs import define, field
from cluster import Cluster, Part, running, until
from contract_cases import CASES, SENTENCES, Outcome
from contract_inputs import write_all
from many_clients import ManyClients

pytestmark = pytest.mark.slow
END_SECONDS = 150.0
KILLS = 4
APART = 4
"""So many more answers should be there at the next kill."""


@define(eq=False)
class Shown:
    """A fleet that only grows, and the answers that it must give.

    :ivar starts: how often each worker was started.
    """

    cluster: Cluster
    wanted: dict[str, bytes]
    starts: Counter[str] = field(factory=Counter)
    dice: Random = field(factory=lambda: Random(4))

    def grow(self, count: int) -> None:
        """So many workers."""
        self.cluster.start_workers(count - len(self.cluster.workers))

    def begin(self, folder: Path) -> ManyClients:
        """Submit all requests; their answers go to a new folder."""
        places = {"{at}": str(self.cluster.at), "{gate}": str(folder / "gate")}
        calls = {name: [placed(word, places) for word in case.words] for name, case in CASES.items()}
        return ManyClients(self.cluster, folder, calls)

    def wrong(self, clients: ManyClients) -> dict[str, str]:
        """Wait for the end; what is wrong, by name."""
        ended = clients.end(END_SECONDS)
        outcomes = {name: outcome(clients.folder / name, status) for name, status in ended.items()}
        told = {name: case.wrong(outcomes[name], self.wanted[name]) for name, case in CASES.items()}
        return {name: each for name, each in told.items() if each}

    def kill_one(self) -> None:
        """``kill -9`` of a worker at work, which starts again."""
        at_work: list[Part] = []
        until(lambda: at_work.extend(self.at_work) or at_work, 60, "work")
        for worker in self.dice.sample(at_work, 1):
            worker.kill()
            worker.start()
            self.starts[worker.folder.name] += 1

    @property
    def at_work(self) -> list[Part]:
        """Workers that run a program; once they have joined again, not what they ran before a kill."""
        return [each for each in self.cluster.workers if self.is_there(each) and runs(each)]

    def is_there(self, worker: Part) -> bool:
        """Whether it has joined since it was started last."""
        return worker.said("joined ") > self.starts[worker.folder.name]

    def lost(self) -> int:
        """How many leases workers have lost so far, when all of them are back."""
        until(lambda: all(map(self.is_there, self.cluster.workers)), 60, "the return of all workers")
        return sum(each["lost"] for each in self.cluster.ask("workers"))


def outcome(answer: Path, exit_status: int) -> Outcome:
    said = Path(f"{answer}.said").read_text()
    if exit_status:
        return Outcome(exit_status, b"", said, {})
    return Outcome(exit_status, answer.read_bytes(), said, json.loads(said.splitlines()[-1]))


def placed(word: str, places: dict[str, str]) -> str:
    for mark, place in places.items():
        word = word.replace(mark, place)
    return word


def runs(worker: Part) -> bool:
    return any(worker.folder.glob("state/scratch/run-*"))


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """No workers yet."""
    with running(tmp_path_factory.mktemp("contract") / "it", 0) as cluster:
        write_all(cluster.at)
        yield Shown(cluster, {name: each.wanted(cluster.at) for name, each in CASES.items()})


def test_each_sentence_has_a_request_that_shows_it() -> None:
    """And no request shows nothing."""
    assert set(itertools.chain.from_iterable(SENTENCES.values())) == set(CASES)


@pytest.fixture(
    scope="module",
    params=list(itertools.product([1, 2, 8], [False, True])),
    ids=lambda param: f"{param[0]}-{'killed' if param[1] else 'undisturbed'}",
)
def wrong(request: pytest.FixtureRequest, shown: Shown) -> dict[str, str]:
    """What is wrong with the answers of so many workers; workers outlive a test, so it is done here."""
    count, killed = request.param
    shown.grow(count)
    clients = shown.begin(shown.cluster.folder / f"answers-{count}-{killed}")
    if killed:
        kill_some(shown, clients)
    (clients.folder / "gate").touch()
    return shown.wrong(clients)


def test_answers_are_those_of_the_pipes(wrong: dict[str, str]) -> None:
    """Whoever dies with whatever in hand."""
    assert wrong == {}


def kill_some(shown: Shown, clients: ManyClients) -> None:
    """Kill as answers come, or while one request waits for the end of this, until it has cost enough."""
    enough = shown.lost() + KILLS
    for kills in itertools.count(1):
        until(lambda least=APART * (kills - 1): is_time(clients, least), 120, "answers")
        shown.kill_one()
        if kills >= KILLS and shown.lost() >= enough:
            return


def is_time(clients: ManyClients, answers: int) -> bool:
    return clients.answers >= answers or (clients.folder / "gate-reached").exists()


def test_all_workers_took_part(shown: Shown) -> None:
    """After all of that none has been idle."""
    assert all(each["committed"] for each in shown.cluster.ask("workers"))
