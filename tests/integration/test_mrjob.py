"""The text examples of mrjob, as they come, against its own runners.

mrjob has a runner that takes the steps of a job and runs them in one process.  Here the same scripts
are plain streaming programs, ``python3 JOB --step-num=0 --mapper`` and so on.  Answers are compared as
sorted lines: mrjob deals keys out to several reducers and prints what one gave after the other.

Not run: examples for Spark, for jars and for archives of the web; ``mr_log_sampler``, which draws lots;
``mr_text_classifier``, whose last digits depend on the order of values, for which mrjob has no rule.
"""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen
from cluster import Cluster, running

pytestmark = pytest.mark.slow

LINES = 40
SECONDS = 300.0
"""Each start of a program imports mrjob: on a busy machine it may take its time."""
WORDS = "the roses are red Violets your blue caf\u00e9 you're The sugar is sweet and so are you".split()
GREP = "sh -c 'grep -e Violets || RC=$?; if [ $RC -ne 1 ]; then (exit $RC); fi'"
"""What mrjob itself makes of ``mr_grep --expression Violets``."""


@frozen
class Job:
    """An example, and how it is run.

    :ivar steps: what ``hagoop-request run`` is told in each.
    :ivar options: of the script itself, for mrjob.
    :ivar runner: ``inline`` starts no commands, and says so; ``local`` does.
    """

    steps: tuple[tuple[str, ...], ...]
    options: tuple[str, ...] = ()
    runner: str = "inline"
    inputs: tuple[str, ...] = ("a.txt",)

    @property
    def words(self) -> list[str]:
        """All steps, as one request."""
        first, *others = self.steps
        return [*first, *(word for each in others for word in ("--then", *each))]


def step(script: str, number: int, roles: str, before: str = "") -> tuple[str, ...]:
    """A step's programs.

    :param before: put before each command.
    """
    run = f"{before}python3 {script}.py --step-num={number}"
    return tuple(word for role in roles.split() for word in (f"--{role}", f"{run} --{role}"))


JOBS = {
    "mr_word_freq_count": Job((step("mr_word_freq_count", 0, "mapper combiner reducer"),)),
    "mr_words_containing_u_freq_count": Job(
        (
            step("mr_words_containing_u_freq_count", 0, "mapper", "grep -i u | ")
            + step("mr_words_containing_u_freq_count", 0, "reducer"),
        ),
        runner="local",
    ),
    "mr_wc": Job((step("mr_wc", 0, "mapper reducer"),)),
    "mr_count_lines_by_file": Job(
        (step("mr_count_lines_by_file", 0, "mapper reducer"),), inputs=("a.txt", "b.txt")
    ),
    "mr_grep": Job((("--mapper", GREP),), ("--expression", "Violets"), "local"),
    "mr_most_used_word": Job(
        (
            (*step("mr_most_used_word", 0, "mapper reducer"), "--file", "stop_words.txt"),
            step("mr_most_used_word", 1, "reducer"),
        ),
    ),
    "mr_next_word_stats": Job(
        (
            step("mr_next_word_stats", 0, "mapper reducer"),
            # What mrjob calls SORT_VALUES.
            (*step("mr_next_word_stats", 1, "reducer"), "--secondary-sort"),
        ),
    ),
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers whose ``python3`` is this one, which has mrjob; its examples, and some text."""
    with running(tmp_path_factory.mktemp("mrjob") / "it", 0) as made:
        for _ in range(2):
            made.add_worker(PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        made.await_workers()
        shutil.copytree(examples(), made.at, dirs_exist_ok=True)
        dice = random.Random(3)
        for name in ("a.txt", "b.txt"):
            lines = (" ".join(dice.choices(WORDS, k=dice.randrange(12))) for _ in range(LINES))
            (made.at / name).write_text("\n".join(lines))
        yield made


def examples() -> Path:
    """The folder where mrjob's examples are installed."""
    words = [sys.executable, "-c", "import mrjob.examples as it; print(it.__path__[0])"]
    return Path(subprocess.run(words, capture_output=True, check=True, text=True).stdout.strip())


def by_mrjob(cluster: Cluster, name: str, job: Job) -> bytes:
    """What its own runner gives."""
    words = [f"{name}.py", "-r", job.runner, "--no-conf", "--quiet", *job.options]
    return subprocess.run(
        [sys.executable, *words, *job.inputs],
        cwd=cluster.at,
        env=cluster.env,
        capture_output=True,
        check=True,
    ).stdout


def by_hagoop(cluster: Cluster, job: Job) -> bytes:
    """What we give."""
    ran = cluster.request("run", *job.inputs, *job.words, seconds=SECONDS)
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout


@pytest.mark.parametrize("name", JOBS)
def test_example_of_mrjob_gives_what_its_runner_gives(cluster: Cluster, name: str) -> None:
    """The same lines."""
    # mrjob writes the names of files as addresses.
    expected = by_mrjob(cluster, name, JOBS[name]).replace(b"file://", b"")
    assert expected.strip()
    assert sorted(by_hagoop(cluster, JOBS[name]).splitlines()) == sorted(expected.splitlines())
