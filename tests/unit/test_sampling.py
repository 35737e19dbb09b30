"""The first lines of INPUTs."""

from io import BytesIO

import pytest

from hagoop.errors import NoSuchInput
from hagoop.purity import Part
from hagoop.sampling import first_lines, sample


@pytest.mark.parametrize(
    ("data", "most_lines", "most_bytes", "expected"),
    [
        (b"", 9, 99, []),
        (b"a\nb\nc\n", 2, 99, [b"a\n", b"b\n"]),
        (b"a\nb", 9, 99, [b"a\n", b"b\n"]),
        (b"a\nbcd\ne\n", 9, 4, [b"a\n"]),
        (b"a\nbcd\ne\n", 9, 6, [b"a\n", b"bcd\n"]),
        (b"abcdef\nb\n", 9, 3, [b"abc\n"]),
        (b"abc", 9, 3, [b"abc\n"]),
    ],
)
def test_whole_lines_come_first(data, most_lines, most_bytes, expected):
    """As many as fit; only a first line that is too long is cut."""
    assert first_lines(BytesIO(data), most_lines, most_bytes) == expected


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with some files."""
    for name, text in (("a", "1\n2\n"), ("b", ""), ("c", "3"), ("d", "4\n5\n")):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_text(text)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("folder")
def test_files_are_taken_in_order():
    """Empty ones are none; each has its own lines."""
    parts = [("in/a", [b"1\n", b"2\n"]), ("in/c", [b"3\n"]), ("in/d", [b"4\n", b"5\n"])]
    expected = [Part.of_file(*each) for each in parts]
    assert sample(["in"], BytesIO(), (9, 99, 9)) == expected
    assert sample(["in"], BytesIO(), (9, 99, 2)) == expected[:2]
    assert sample(["in"], BytesIO(), (3, 99, 9)) == expected[:2]
    assert sample(["in/a", "in/d"], BytesIO(), (9, 4, 9)) == expected[:1]


@pytest.mark.usefixtures("folder")
def test_stdin_is_read_as_far_as_needed():
    """In its place among the others."""
    stdin = BytesIO(b"x\ny\nz\n")
    parts = sample(["in/c", "-", "in/a"], stdin, (3, 99, 9))
    assert parts == [Part.of_file("in/c", [b"3\n"]), Part.of_file("stdin", [b"x\n", b"y\n"])]
    assert stdin.read() == b"z\n"


@pytest.mark.usefixtures("folder")
def test_missing_input_is_named():
    """As run would say."""
    with pytest.raises(NoSuchInput, match="'none' does not exist"):
        sample(["none"], BytesIO(), (9, 99, 9))
