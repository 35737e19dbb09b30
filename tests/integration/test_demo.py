"""The demonstration, small: it says what it should, can fail, and leaves nothing."""

import os
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import PROGRAM_ENV, SOURCE, processes_of, until
from test_examples import expected, make_text

from hagoop.demo.pipe import SCRIPT

pytestmark = pytest.mark.slow

DEMO = [sys.executable, "-m", "hagoop.demo.script"]
FEW = ["--good", "2", "--bad", "1", "--evil", "1", "--flaky", "1"]
SMALL = [*FEW, "--late", "0", "--lines", "20000"]
GOOD = ["--good", "2", "--bad", "0", "--evil", "0", "--flaky", "0", "--late", "0", "--lines", "20000"]
LONG = [*FEW, "--late", "1", "--lines", "200000"]
"""At the pace of so few this takes half a minute."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where the demonstration has its TMPDIR; it must be empty at the end, and nobody there."""
    (tmp_path / "tmp").mkdir()
    yield tmp_path
    until(lambda: not processes_of(tmp_path), 5, "the end of all processes")
    assert list((tmp_path / "tmp").iterdir()) == []


def start(folder: Path, *words: str) -> "subprocess.Popen[str]":
    """Start it."""
    env = {"PATH": os.environ["PATH"], "TMPDIR": str(folder / "tmp"), "HOME": str(folder)}
    return subprocess.Popen(
        [*DEMO, *words],
        cwd=folder,
        env={**env, "PYTHONPATH": str(SOURCE), "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(folder: Path, *words: str) -> tuple[int, str]:
    """Run it to its end; exit status, and what it said."""
    process = start(folder, *words)
    said, _ = process.communicate(timeout=100)
    return process.returncode, said


def test_demo_survives_and_proves_it(folder: Path) -> None:
    """Workers, words, losses, and the comparison with a pipe."""
    status, said = run(folder, *SMALL, "--seed", "7", "--chance", "0.05")
    assert status == 0, said
    assert "20,000 lines" in said
    assert "1 evil    take work, never begin it, and never answer" in said
    assert "--seed 7" in said
    assert re.search(r"^ +\d+ s  map .*good 2 of 2, .*evil 1 of 1", said, re.MULTILINE), said
    assert re.search(r"^ *bad-1 +gone", said, re.MULTILINE), said
    assert re.search(r"^ *evil-1 +connected", said, re.MULTILINE), said
    assert re.search(r"Counted in .* s\.  Survived: \d+ deaths?, \d+ hangs?", said), said
    words = re.findall(r"^    ([a-z]+) +([\d,]+)$", said, re.MULTILINE)
    assert len(words) == 10
    counts = [int(count.replace(",", "")) for _, count in words]
    assert counts == sorted(counts, reverse=True)
    assert "Equal, byte for byte: " in said
    assert "Traceback" not in said


def test_wrong_answer_is_found_out(folder: Path) -> None:
    """The comparison can fail."""
    status, said = run(folder, *GOOD, "--quiet", "--tamper")
    assert status == 1, said
    assert "DIFFERENT: line " in said
    assert "Equal" not in said
    assert " s  map" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_demo_leaves_nothing(folder: Path, number: signal.Signals) -> None:
    """In the middle, when workers hold work and programs run."""
    process = start(folder, *LONG, "--seed", "1")
    assert process.stdout is not None
    said = ""
    while " s  map" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    process.send_signal(number)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Interrupted: ending all workers." in said
    assert "Traceback" not in said


def test_killed_demo_takes_its_workers_along(folder: Path) -> None:
    """Nothing could be ended in good order: all notice that their server or parent is gone."""
    process = start(folder, *LONG)
    assert process.stdout is not None
    while " s  map" not in process.stdout.readline():
        assert process.poll() is None
    process.kill()
    process.communicate()
    until(lambda: not processes_of(folder), 20, "the end of all workers")
    for each in (folder / "tmp").iterdir():
        subprocess.run(["rm", "-rf", each], check=True)


def test_demo_says_what_it_may_be_told(folder: Path) -> None:
    """With its defaults."""
    status, said = run(folder, "--help")
    assert status == 0
    for each in ("--good=", "--evil=", "--seed=", "--tamper", "[default: 500000]"):
        assert each in said


def test_wrong_option_is_told_in_a_sentence(folder: Path) -> None:
    """And nothing is started."""
    status, said = run(folder, "--good", "-1")
    assert (status, said.count("\n")) == (2, 1)
    assert said.startswith("--good: '-1' is not allowed")


@pytest.mark.parametrize("pace", ["0", "40000"])
def test_words_are_counted_right(pace: str) -> None:
    """At any pace."""
    env = {**PROGRAM_ENV, "LINES_A_SECOND": pace}
    script = f"sh {SCRIPT} map | LC_ALL=C sort -s -t '\t' -k1,1 | sh {SCRIPT} reduce"
    counted = subprocess.run(["sh", "-c", script], input=make_text(), env=env, capture_output=True)
    assert counted.stdout == expected(make_text())
    assert counted.stderr == b""


def test_script_is_where_it_is_installed() -> None:
    """``hagoop-demo``, as the README has it."""
    assert (Path(sysconfig.get_path("scripts")) / "hagoop-demo").exists()
