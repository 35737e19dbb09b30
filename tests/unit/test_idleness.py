"""``--idle-only``: the rule, and what is seen of a machine."""

import os
import re
from math import inf
from pathlib import Path

import pytest
from attrs import define, field

from hagoop.idleness import (
    BUSY,
    IN_USE,
    NOT_SEEN,
    Process,
    Sight,
    Usage,
    busy_ticks,
    needed_by,
    read_process,
    ticks_below,
    untouched_since,
)
from hagoop.owner import NOTHING_TO_SEE, Owner

TICKS = os.sysconf("SC_CLK_TCK")
NOW = 1_800_000_000.0
OWN = 50


@pytest.mark.parametrize(
    ("untouched", "others", "rests", "needed"),
    [
        (899.0, 0.0, False, IN_USE),
        (899.0, None, True, IN_USE),
        (900.0, None, True, NOT_SEEN),
        (900.0, 0.29, True, ""),
        (900.0, 0.3, True, BUSY),
        (900.0, 0.49, False, ""),
        (inf, 0.5, False, BUSY),
    ],
)
def test_rule(untouched: float, others: float | None, rests: bool, needed: str) -> None:
    """Nobody there for a quarter of an hour, others at rest; who works stays a bit longer."""
    assert needed_by(Sight(untouched, others), rests=rests) == needed


def test_usage_is_that_of_the_last_minute() -> None:
    """And not known before there has been some time."""
    usage = Usage()
    assert usage.processors is None
    for second in range(0, 200, 5):
        usage.add(second, 2.0 * min(second, 100))
        if second:
            expected = 2.0 * max(0, min(1.0, (100 - max(0, second - 60)) / min(second, 60)))
            assert usage.processors == pytest.approx(expected)


def test_usage_never_falls_below_nothing() -> None:
    """What is counted for us may have been others' before."""
    usage = Usage()
    usage.add(0.0, 10.0)
    usage.add(10.0, 9.0)
    assert usage.processors == 0.0


def test_counters_are_read() -> None:
    """A name may hold brackets and spaces; waiting for a disk is not work."""
    assert busy_ticks("cpu  1 2 4 1000 1000 8 16 1000 0 0\ncpu0 1 1 1 1\n") == 31
    stat = "7 (a) b (c)) S 3 7 7 0 -1 4194560 1 1 0 0 10 20 30 40 20 0 1 0"
    assert read_process(stat) == Process(3, 100)


def test_ours_is_what_is_below_us() -> None:
    """Children and theirs; not the neighbours, nor what we are below."""
    processes = {
        1: Process(0, 1000),
        2: Process(1, 10),
        3: Process(2, 5),
        4: Process(3, 2),
        5: Process(1, 500),
    }
    assert ticks_below(2, processes) == 17
    assert ticks_below(9, processes) == 0


@pytest.mark.parametrize(
    ("said", "since"),
    [
        ("IdleHint=no\nIdleSinceHint=0\n", 50.0),
        ("IdleHint=yes\nIdleSinceHint=20000000\n", 20.0),
        ("IdleHint=yes\nIdleSinceHint=20000000\n\nIdleHint=yes\nIdleSinceHint=30000000\n", 30.0),
        ("IdleHint=yes\nIdleSinceHint=20000000\n\nIdleHint=no\nIdleSinceHint=0\n", 50.0),
        ("IdleHint=yes\n", 50.0),
        ("", 50.0),
    ],
)
def test_desktop_is_idle_when_it_says_so(said: str, since: float) -> None:
    """Each of them; one that says nothing is in use."""
    assert untouched_since(said, 50.0) == since


@define
class Machine:
    """A machine of files, with its owner."""

    root: Path
    owner: Owner = field(init=False)
    seconds: float = 0.0
    said: str = ""
    asked: list[list[str]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        for each in ("dev/pts", "proc/1", f"proc/{OWN}", "run/systemd/sessions"):
            (self.root / each).mkdir(parents=True)
        self.touch("dev/tty1", 5000)
        self.count(0, 0)
        self.owner = Owner(self.root, self.wall, lambda: self.seconds, self.ask, OWN)

    def wall(self) -> float:
        return NOW + self.seconds

    def ask(self, sessions: list[str]) -> str:
        self.asked.append(sessions)
        return self.said

    def touch(self, name: str, ago: float) -> None:
        """Somebody typed there so long ago."""
        (self.root / name).touch()
        os.utime(self.root / name, (self.wall() - ago, self.wall()))

    def count(self, ours: float, others: float) -> None:
        """So many seconds have been taken."""
        (self.root / "proc/stat").write_text(f"cpu {round((ours + others) * TICKS)} 0 0 9 9 0 0 0 0 0\n")
        stat = f"{OWN} (hagoop) S 1 {'0 ' * 9}{round(ours * TICKS)} 0 0 0 20\n"
        (self.root / f"proc/{OWN}/stat").write_text(stat)
        (self.root / "proc/1/stat").write_text(f"1 (init) S 0 {'0 ' * 9}999 0 0 0 20\n")

    def desktop(self, name: str, *lines: str) -> None:
        (self.root / "run/systemd/sessions" / name).write_text("\n".join(lines))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Nobody is there."""
    return Machine(tmp_path)


def test_terminals_show_who_types(machine: Machine) -> None:
    """The last of them; one that is closed was used."""
    assert machine.owner.look().untouched_seconds == pytest.approx(5000)
    machine.touch("dev/pts/3", 12)
    assert machine.owner.look().untouched_seconds == pytest.approx(12)
    (machine.root / "dev/pts/3").unlink()
    machine.seconds += 100
    assert machine.owner.look().untouched_seconds == pytest.approx(112)


def test_terminal_of_the_future_was_used_now(machine: Machine) -> None:
    """The clock was put back."""
    machine.touch("dev/pts/3", -3600)
    assert machine.owner.look().untouched_seconds == 0
    (machine.root / "dev/pts/3").unlink()
    machine.seconds += 10
    assert machine.owner.look().untouched_seconds == pytest.approx(10)


def test_only_what_others_take_counts(machine: Machine) -> None:
    """Of the processors, since the last look but some."""
    assert machine.owner.look().others is None
    machine.seconds = 10.0
    machine.count(ours=15, others=5)
    assert machine.owner.look().others == pytest.approx(0.5)


def test_desktops_are_asked_for(machine: Machine) -> None:
    """Those of users; where there is none, nobody is asked."""
    machine.desktop("c1", "CLASS=greeter", "TYPE=wayland", "STATE=active")
    machine.desktop("2", "CLASS=user", "TYPE=tty", "STATE=active")
    machine.desktop("4", "CLASS=user", "TYPE=x11", "STATE=closing")
    machine.owner.look()
    assert machine.asked == []
    machine.desktop("3", "CLASS=user", "TYPE=wayland", "STATE=active")
    machine.said = "IdleHint=no\nIdleSinceHint=0\n"
    assert machine.owner.look().untouched_seconds == 0
    assert machine.asked == [["3"]]


def test_machine_that_shows_nothing_is_refused(machine: Machine) -> None:
    """No terminals, or no counters: in a container, or on another system."""
    machine.owner.check()
    (machine.root / "dev/tty1").unlink()
    with pytest.raises(ValueError, match=f"^{re.escape(NOTHING_TO_SEE)}$"):
        machine.owner.check()
    machine.touch("dev/pts/0", 1)
    machine.owner.check()
    (machine.root / "proc/stat").unlink()
    with pytest.raises(ValueError, match="does not show whether somebody uses it"):
        machine.owner.check()
