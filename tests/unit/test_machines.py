"""Who is on one machine with whom."""

from pathlib import Path

import pytest

from hagoop import machines
from hagoop.machines import is_this_machine, this_machine


@pytest.fixture
def tell(monkeypatch, tmp_path):
    """Lets the system tell something else; None: nothing."""

    def change(told: str | None) -> str:
        (tmp_path / "boot_id").unlink(missing_ok=True)
        if told is not None:
            (tmp_path / "boot_id").write_text(told)
        monkeypatch.setattr(machines, "_BOOT_ID", tmp_path / "boot_id")
        this_machine.cache_clear()
        return this_machine()

    yield change
    this_machine.cache_clear()


def test_machine_knows_itself_by_what_nobody_can_read_the_boot_from(tell):
    """The same for all that ask, another after a boot, and not the number itself."""
    first = tell("one\n")
    assert (is_this_machine(first), len(first)) == (True, 64)
    assert "one" not in first
    second = tell("two\n")
    assert second != first
    assert not is_this_machine(first)


def test_where_nothing_is_told_nobody_is_near(tell):
    """Two that know nothing are not the same; nor is who says nothing."""
    assert tell(None) == ""
    assert not is_this_machine("")
    assert tell("one") != ""
    assert not is_this_machine("")
    assert not is_this_machine(None)


@pytest.mark.skipif(not Path("/proc/sys/kernel/random/boot_id").exists(), reason="nothing tells")
def test_linux_tells():
    """Or nothing would ever be read in place."""
    this_machine.cache_clear()
    assert is_this_machine(this_machine())
