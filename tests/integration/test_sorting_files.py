"""Sorting and merging by the system's sort and in a thread: one order."""

import os
import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hagoop.errors import WorkerUnfit
from hagoop.keys import Order
from hagoop.sorting import KeySorter, _sort_in_memory

SORT = {
    Order.BY_KEY: ("sort", "-s", "-t", "\t", "-k1,1"),
    Order.BY_LINE: ("sort",),
    Order(2): ("sort", "-s", "-t", "\t", "-k1,2"),
    Order(3, b"0"): ("sort", "-s", "-t", "0", "-k1,3"),
    Order(1, b"."): ("sort", "-s", "-t", ".", "-k1,1"),
    Order(2, b"."): ("sort", "-s", "-t", ".", "-k1,2"),
    Order(1, b"\0"): ("sort", "-s", "-t", "\\0", "-k1,1"),
    Order(1, b"\\"): ("sort", "-s", "-t", "\\", "-k1,1"),
    Order(1, b"\t", by_value=True): ("sort", "-t", "\t", "-k1,1"),
    Order(2, b"b", by_value=True): ("sort", "-t", "b", "-k1,2"),
}
ORDERS = pytest.mark.parametrize("order", SORT, ids=lambda order: " ".join(SORT[order]))
BYTES = st.sampled_from(b"\0\x01\x08\t\t\x0b\r Aab.0\\\xc3\xff")
LINES = st.lists(st.lists(BYTES, max_size=8).map(bytes))


@pytest.fixture
def sorter(tmp_path):
    """A sorter with a folder for its temporary files."""
    from twisted.internet import reactor

    (tmp_path / "scratch").mkdir()
    return KeySorter(reactor, tmp_path / "scratch")


def by_system(data: bytes, order: Order = Order.BY_KEY) -> bytes:
    """What the contract says."""
    env = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(SORT[order], input=data, env=env, capture_output=True, check=True).stdout


def make_lines(count: int, seed: int) -> bytes:
    """Lines with many equal keys, whose values tell where they stood."""
    chance = random.Random(seed)
    return b"".join(b"key%d\t%d.%d\n" % (chance.randrange(100), seed, number) for number in range(count))


@given(LINES, st.booleans(), st.booleans(), st.sampled_from(list(SORT)))
@settings(max_examples=300, deadline=None)
def test_order_in_memory_is_that_of_the_system(tmp_path_factory, lines, in_order, ended, order):
    """Byte for byte: NUL, bytes below TAB, empty lines, no last newline; in order before or not."""
    folder = tmp_path_factory.mktemp("sort")
    data = b"\n".join(sorted(lines) if in_order else lines) + b"\n" * (ended and bool(lines))
    (folder / "raw").write_bytes(data)
    _sort_in_memory([folder / "raw"], folder / "sorted", order)
    assert (folder / "sorted").read_bytes() == by_system(data, order)


@ORDERS
@pytest.mark.parametrize("count", [0, 1000, 20_000, 200_000])
async def test_sorts(sorter, tmp_path, count, order):
    """In a thread or in a process, the file is the same."""
    data = make_lines(count, 1)
    (tmp_path / "raw").write_bytes(data)
    for sort in (sorter.sort, sorter.sort_again):
        await sort(tmp_path / "raw", tmp_path / "sorted", order)
        assert (tmp_path / "sorted").read_bytes() == by_system(data, order)
    assert os.listdir(tmp_path / "scratch") == []


@pytest.mark.parametrize("order", [Order.BY_KEY, Order.BY_LINE, Order(2, b"."), Order(1, by_value=True)])
@pytest.mark.parametrize("number", [1, 2, 17, 128])
@pytest.mark.parametrize("total", [2000, 200_000])
async def test_merge_keeps_the_order_of_the_parts(sorter, tmp_path, number, total, order):
    """Lines of one key come in the order of the parts and within each as they were, or sorted too."""
    parts, every = [], b""
    for seed in range(number):
        data = make_lines(total // number, seed)
        every += data
        parts.append(tmp_path / f"part{number - seed}")
        parts[-1].write_bytes(by_system(data, order))
    await sorter.merge(parts, tmp_path / "merged", order)
    assert (tmp_path / "merged").read_bytes() == by_system(every, order)


async def test_cancelled_sort_leaves_no_process(sorter, tmp_path):
    """Cancelling ends the child, and waits for its end."""
    from twisted.internet import reactor
    from twisted.internet.defer import CancelledError
    from twisted.internet.process import reapProcessHandlers
    from twisted.internet.task import deferLater

    (tmp_path / "raw").write_bytes(make_lines(1_000_000, 1))
    before = set(reapProcessHandlers)
    sorting = sorter.sort(tmp_path / "raw", tmp_path / "sorted", Order.BY_KEY)
    while not (children := set(reapProcessHandlers) - before):
        await deferLater(reactor, 0.005)
    (child,) = children
    sorting.cancel()
    with pytest.raises(CancelledError):
        await sorting
    assert child not in reapProcessHandlers
    assert not Path(f"/proc/{child}").exists()


async def test_sort_that_is_cancelled_at_once_starts_no_process(sorter, tmp_path):
    """While it is looked at what to sort by."""
    from twisted.internet.defer import CancelledError
    from twisted.internet.process import reapProcessHandlers

    (tmp_path / "raw").write_bytes(make_lines(100_000, 1))
    before = set(reapProcessHandlers)
    sorting = sorter.sort(tmp_path / "raw", tmp_path / "sorted", Order.BY_KEY)
    sorting.cancel()
    with pytest.raises(CancelledError):
        await sorting
    assert set(reapProcessHandlers) == before


async def test_disk_full_is_the_workers_lack(sorter, tmp_path):
    """In a thread and in a process; the device that is always full stands for a disk."""
    (tmp_path / "full").symlink_to("/dev/full")
    for count in (1000, 200_000):
        (tmp_path / "raw").write_bytes(make_lines(count, 1))
        with pytest.raises(WorkerUnfit) as caught:
            await sorter.sort(tmp_path / "raw", tmp_path / "full", Order.BY_KEY)
        assert str(caught.value) == "no room left on this worker's disk"


async def test_machine_without_sort_is_unfit(sorter, tmp_path, monkeypatch):
    """It says so in a sentence."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "env").symlink_to("/usr/bin/env")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "raw").write_bytes(make_lines(200_000, 1))
    with pytest.raises(WorkerUnfit) as caught:
        await sorter.sort(tmp_path / "raw", tmp_path / "sorted", Order.BY_KEY)
    assert str(caught.value) == "sort is not on this machine"


async def test_what_sort_says_is_told(sorter, tmp_path):
    """Its last line, for instance of a part that is no file."""
    (tmp_path / "raw").write_bytes(make_lines(200_000, 1))
    (tmp_path / "folder").mkdir()
    parts = [tmp_path / "raw", tmp_path / "folder"]
    with pytest.raises(WorkerUnfit, match=r"^sort failed on this machine: sort: .*directory"):
        await sorter.merge(parts, tmp_path / "merged", Order.BY_KEY)
