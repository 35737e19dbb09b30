"""``ANSWER.bad``: there exactly when its answer is there and leaves something out."""

import json
from pathlib import Path

import pytest

from hagoop.answer_file import AnswerExists, AnswerFile, AnswerUnwritten
from hagoop.bad_file import BadFile, how_many, row
from hagoop.jobs import BadLine

LINE = BadLine(6, "books/a.txt", 7, 90, "it ended with exit status 1", "oh")
LISTED = "books/a.txt\t7\t90\tit ended with exit status 1\toh\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bad_file(name: str = "out", *, force: bool = False) -> BadFile:
    """Of an answer of this name."""
    return BadFile(AnswerFile(name, force))


@pytest.mark.parametrize(("name", "bad"), [("out", "out.bad"), ("out/", "out.bad"), ("a/b", "a/b.bad")])
def test_list_lies_beside_its_answer(folder, name, bad):
    """A file, or a folder."""
    (folder / "a").mkdir()
    bad_file(name).keep([LINE, LINE])
    assert (folder / bad).read_text() == 2 * LISTED
    assert not list(folder.rglob(".*"))


@pytest.mark.parametrize("name", ["-", "/dev/null"])
def test_answer_that_is_no_file_has_its_list_on_stderr(name, capsys):
    """One line for each, or one object."""
    bad = bad_file(name, force=True)
    bad.check()
    bad.keep([LINE])
    bad.tell([LINE], as_json=False)
    bad.tell([LINE], as_json=True)
    out, err = capsys.readouterr()
    listed, plain = err.splitlines(keepends=True)
    assert (out, listed) == ("", LISTED)
    assert json.loads(plain) == {
        "position": 6,
        "file": "books/a.txt",
        "line": 7,
        "offset": 90,
        "how": "it ended with exit status 1",
        "last_words": "oh",
        "step": 1,
    }


def test_list_in_a_file_is_not_said(capsys):
    """It can be read there."""
    bad_file().tell([LINE], as_json=False)
    assert capsys.readouterr().err == ""


def test_nothing_left_out_is_no_list(folder):
    """Not an empty one."""
    bad_file().keep([])
    assert not list(folder.iterdir())


def test_older_list_goes_when_its_answer_may_be_replaced(folder):
    """It would be of another answer; a file of somebody else's stays."""
    (folder / "out.bad").write_text("old")
    bad_file().keep([])
    assert (folder / "out.bad").exists()
    bad_file(force=True).keep([])
    assert not (folder / "out.bad").exists()


def test_existing_list_is_not_replaced_unasked(folder):
    """As its answer."""
    (folder / "out.bad").write_text("old")
    with pytest.raises(AnswerExists, match=r"'out\.bad' exists; choose another --output, or"):
        bad_file().check()
    bad = bad_file(force=True)
    bad.check()
    bad.keep([LINE])
    assert (folder / "out.bad").read_text() == LISTED


def test_list_that_cannot_be_written_leaves_nothing(folder):
    """The place is taken by a folder."""
    (folder / "out.bad").mkdir()
    with pytest.raises(AnswerUnwritten, match=r"^'out.bad' cannot be written: is a directory$"):
        bad_file(force=True).keep([LINE])
    assert [each.name for each in folder.iterdir()] == ["out.bad"]


def test_names_of_files_stay_the_bytes_that_they_are(folder):
    """Whatever the encoding."""
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    bad_file().keep([BadLine(0, name, 1, 0, "it", "")])
    assert (folder / "out.bad").read_bytes() == b"caf\xe9\t1\t0\tit\t\n"


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("a\tb\nc\rd", r"a\tb\nc\rd"),
        ("\x1b[2J\x9b\x7f\x00", r"\x1b[2J\x9b\x7f\x00"),
        (r"C:\n", r"C:\\n"),
        ("\ud800", r"\ud800"),
        ("Kühe", "Kühe"),
    ],
)
def test_controls_are_escaped(said, written, folder):
    """A row is a row, and steers no terminal."""
    line = BadLine(0, said, 1, 0, said, said)
    assert row(line) == f"{written}\t1\t0\t{written}\t{written}"
    bad_file().keep([line])
    assert (folder / "out.bad").read_text() == f"{row(line)}\n"


def test_count_is_said_as_people_do():
    """One was, two were."""
    assert how_many(1) == "1 bad line was passed over"
    assert how_many(2) == "2 bad lines were passed over"
