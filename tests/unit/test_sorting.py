"""Finding keys in sorted files, and packing these."""

import hashlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hagoop.errors import WorkerUnfit
from hagoop.keys import Order
from hagoop.runs import RunWriter
from hagoop.sorting import find_bound, pack, sorts_by_line

KEYS = st.lists(st.sampled_from(b"\0\x08ab\xff\r"), max_size=5).map(bytes)
VALUES = st.sampled_from([b"", b"\t", b"\t1", b"\tlong\tvalue\0"])
ORDERS = st.builds(Order, st.integers(0, 3), st.sampled_from([b"\t", b"a", b"\0"]), st.booleans())


def slow_find(data: bytes, bound: bytes, order: Order, low: int) -> int:
    """The same by looking at every line."""
    place = low
    for line in BytesIO(data[low:]):
        if order.key_of(line) >= bound:
            return place
        place += len(line)
    return len(data)


@given(st.lists(st.tuples(KEYS, VALUES)), KEYS, st.booleans(), ORDERS, st.data())
def test_bound_is_found_as_by_looking_at_every_line(pairs, bound, ended, order, data):
    """For any keys, from any line on, with or without a last newline."""
    lines = sorted((key + value + b"\n" for key, value in pairs), key=order.key_of)
    text = b"".join(lines)
    text = text if ended else text.removesuffix(b"\n")
    low = sum(map(len, lines[: data.draw(st.integers(0, max(0, len(lines) - 1)))]))
    assert find_bound(BytesIO(text), bound, order, low) == slow_find(text, bound, order, low)


COUNTED = st.lists(st.sampled_from([b"a", b"ab", b"a\tb", b"b!", b"", b"a1", b"a\x08", b"a\0", b"\xff"]))


@given(COUNTED, st.sampled_from([b"\t1", b"\t\x08", b",1", b"\t", b"\0x"]), ORDERS, st.booleans())
def test_lines_that_sort_as_a_whole_sort_so_by_key(tmp_path_factory, keys, value, order, ended):
    """Whatever stands in keys and values: where it is said to be the same, it is."""
    file = tmp_path_factory.getbasetemp() / "counted"
    text = b"".join(key + value + b"\n" for key in keys)
    file.write_bytes(text if ended else text.removesuffix(b"\n"))
    lines = text.splitlines()
    if sorts_by_line(file, order):
        assert ended or not text
        assert sorted(lines) == sorted(lines, key=order.key_of)


@pytest.mark.parametrize(
    ("lines", "is_so"),
    [
        (b"b\t1\na\t1\nab\t1\n", True),
        (b"b1\t1\n1\t1\n", True),
        (b"b;1\n", False),
        (b"b\x08\t\x08\na\t\x08\n", False),
        (b"b\t1\na\t2\n", False),
        (b"b\t1\na\t11\n", False),
        (b"b\t1\na\n", False),
        (b"b\t1\nb\ta\t1\n", False),
        (b"b\t1\na\x08\t1\n", False),
        (b"b\t1\na\t1", False),
        (b"b\t1\n" + b"a" * 600_000 + b"\t1\n", False),
        (b"b\t1\n" * 200_000, True),
        (b"b\t1\n" * 200_000 + b"b\t2\n", False),
    ],
)
def test_lines_of_programs_that_count_are_known(tmp_path, lines, is_so):
    """All of them must have one value and keys without bytes below the separator."""
    (tmp_path / "lines").write_bytes(lines)
    assert sorts_by_line(tmp_path / "lines", Order.BY_KEY) is is_so
    for other in (Order.BY_LINE, Order(2), Order(by_value=True)):
        assert not sorts_by_line(tmp_path / "lines", other)


class Counted(BytesIO):
    """Counts what is read of it."""

    total = 0
    largest = 0

    def read(self, size=-1, /):
        data = super().read(size)
        self.total += len(data)
        self.largest = max(self.largest, len(data))
        return data


def test_long_lines_are_never_held():
    """Lines of many megabytes cost one pass over them, in pieces."""
    parts = [b"a" * 20_000_000, b"b\t" + b"x" * 20_000_000, b"c" * 2000 + b"1", b"c" * 2000 + b"2"]
    data = b"".join(part + b"\n" for part in parts)
    file = Counted(data)
    assert find_bound(file, b"b", Order.BY_KEY) == 20_000_001
    assert file.largest <= 1 << 18
    assert file.total < 3 * len(data)
    assert find_bound(file, b"c" * 1024, Order.BY_KEY) == 40_000_004
    assert find_bound(file, b"d", Order.BY_KEY) == len(data)


def test_short_lines_cost_little():
    """A large file of short lines is hardly read."""
    data = b"".join(b"%08d\t1\n" % number for number in range(200_000))
    file = Counted(data)
    assert find_bound(file, b"00123456", Order.BY_KEY) == 123456 * 11
    assert file.total < 200_000


def test_packed_run_is_what_the_writer_makes(tmp_path):
    """Size and digest are those of the bytes written; a small run is indexed finely."""
    lines = b"".join(b"key%05d\tvalue\n" % number for number in range(50_000))
    (tmp_path / "sorted").write_bytes(lines)
    packed = pack(tmp_path / "sorted", tmp_path / "run", Order.BY_KEY)
    written = (tmp_path / "run").read_bytes()
    assert (packed.size, packed.digest) == (len(written), hashlib.sha256(written).hexdigest())
    writer = RunWriter(block_bytes=len(lines) // 64)
    assert written == writer.write(lines) + writer.finish()


def test_full_disk_is_the_workers_lack(tmp_path):
    """The device that is always full stands for a disk."""
    (tmp_path / "sorted").write_bytes(b"a\n")
    (tmp_path / "run").symlink_to("/dev/full")
    with pytest.raises(WorkerUnfit) as caught:
        pack(tmp_path / "sorted", tmp_path / "run", Order.BY_KEY)
    assert str(caught.value) == "no room left on this worker's disk"
    with pytest.raises(FileNotFoundError):
        pack(tmp_path / "none", tmp_path / "other", Order.BY_KEY)


def test_bounds_that_lie_close_together_cost_little():
    """Each is looked for where the one before was found, first; one that is far off costs little too."""
    data = b"".join(b"%08d\t1\n" % number for number in range(400_000))
    file, low = Counted(data), 0
    for number in range(0, 400_000, 1000):
        low = find_bound(file, b"%08d" % number, Order.BY_KEY, low)
        assert low == number * 11
    assert file.total < 3 * len(data)
    file = Counted(data)
    assert find_bound(file, b"00399999", Order.BY_KEY) == 399_999 * 11
    assert file.total < 100_000
