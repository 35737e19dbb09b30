"""Programs held together in every way that this machine knows: status, signals, and what is left."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import define, field

from hagoop.containers import SHELL, Container, _known, _works, find_container

KNOWN = {f"{number} {each.name}": each for number, each in enumerate(_known(os.environ["PATH"]))}
NUMBERS = itertools.count()


@define
class Sleepers:
    """Programs that one test lets sleep for ever, known by their words from those of all others."""

    words: str = field(factory=lambda: f"sleep 5{os.getpid():07}{next(NUMBERS):03}")

    @property
    def tree(self) -> str:
        """Three children: in the background, of another session with one of its own, a stubborn one."""
        stubborn = f"sh -c 'trap \"\" TERM; {self.words}'"
        return f"{self.words} & setsid sh -c '{self.words} & {self.words}' & {stubborn}"

    def alive(self) -> list[int]:
        """Those that sleep now."""
        mark = self.words.replace(" ", "\0").encode()
        found = []
        for each in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (each / "cmdline").read_bytes().startswith(mark):
                    found.append(int(each.name))
        return found


@pytest.fixture(params=KNOWN)
def container(request: pytest.FixtureRequest) -> Container:
    """Each way that works here."""
    found = KNOWN[request.param]
    if not _works(found):
        pytest.skip(f"{found.name} does not work on this machine")
    return found


@pytest.fixture
def sleepers() -> Iterator[Sleepers]:
    """Nobody sleeps yet; nobody is left asleep."""
    made = Sleepers()
    yield made
    for each in made.alive():
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def begin(container: Container, script: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([*container.words, SHELL, "-c", script], stdin=subprocess.DEVNULL)


def outcome(container: Container, process: "subprocess.Popen[bytes]") -> tuple[int | None, int | None]:
    """As the container tells it."""
    code = process.wait(20)
    return container.outcome(code, None) if code >= 0 else container.outcome(None, -code)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 0", (0, None)),
        ("exit 3", (3, None)),
        ("kill -SEGV $$", (None, signal.SIGSEGV)),
        ("kill -KILL $$", (None, signal.SIGKILL)),
    ],
)
def test_outcome_is_the_programs(container: Container, script: str, told: tuple[object, object]) -> None:
    """Its status or the signal that ended it."""
    assert outcome(container, begin(container, script)) == told


def test_term_can_be_answered(container: Container, sleepers: Sleepers) -> None:
    """A program may end in good order."""
    process = begin(container, f"trap 'exit 5' TERM; {sleepers.words} & wait")
    until(sleepers.alive)
    container.signal(process.pid, signal.SIGTERM)
    assert outcome(container, process) == (5, None)


def test_kill_ends_all_that_can_be_reached(container: Container, sleepers: Sleepers) -> None:
    """In a namespace nothing survives; of a session, only what began another."""
    process = begin(container, sleepers.tree)
    until(lambda: len(sleepers.alive()) == 4)
    container.signal(process.pid, signal.SIGKILL)
    process.wait(20)
    container.sweep(process.pid)
    left = 0 if container.is_namespace else 2 if container.is_session else 4
    until(lambda: len(sleepers.alive()) == left)


def test_namespace_ends_with_its_program(container: Container, sleepers: Sleepers) -> None:
    """Children in the background go when the program has ended."""
    process = begin(container, f"setsid {sleepers.words} & {sleepers.words} & exit 0")
    assert outcome(container, process) == (0, None)
    container.sweep(process.pid)
    if container.is_namespace:
        until(lambda: not sleepers.alive())


def test_namespace_ends_with_its_worker(container: Container, sleepers: Sleepers) -> None:
    """``kill -9`` of who began it."""
    if not container.is_namespace:
        pytest.skip("only a namespace holds so much")
    words = [*container.words, SHELL, "-c", sleepers.tree]
    worker = subprocess.Popen([sys.executable, "-c", f"import subprocess; subprocess.run({words!r})"])
    until(lambda: len(sleepers.alive()) == 4)
    worker.kill()
    worker.wait(20)
    until(lambda: not sleepers.alive())


def test_the_best_is_found(tmp_path: Path) -> None:
    """The first that works; on a path that has nothing, nothing."""
    assert find_container(os.environ["PATH"]) == next(each for each in KNOWN.values() if _works(each))
    assert find_container(str(tmp_path)) == Container("nothing")


def test_what_does_not_work_is_not_taken(tmp_path: Path) -> None:
    """A bubblewrap that may make no namespaces, as in many containers."""
    for name in ("bwrap", "setsid"):
        (tmp_path / name).write_text('#!/bin/sh\n[ "${0##*/}" = setsid ] && exec "$@"\nexit 1\n')
        (tmp_path / name).chmod(0o755)
    assert find_container(str(tmp_path)).name == "session"
