"""``ANSWER.missing``: there exactly when its answer is there and does not cover all."""

import json

import pytest

from hagoop.answer_file import AnswerExists, AnswerFile
from hagoop.jobs import Cover, Keys, Missing, Piece
from hagoop.missing_file import MissingFile, how_much, in_short, row, share

LINES = Missing(Piece("books/a\t.txt", 1006, 1008, 6, 90, 17))
KEYS = Missing(None, Keys("caf\xc3\xa9\t", None))
COVER = Cover(2, 198, 200, 1983, 2000)
LISTED = (
    "# 198 of 200 lines (99.0 %) and 1983 of 2000 bytes of the input are covered\n"
    "books/a\\t.txt\t7\t2\t90\t17\nkeys\tcafé\\t\t\n"
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A current folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_list_lies_beside_its_answer(folder):
    """How much is there, then what is not, in the order of the input."""
    made = MissingFile(AnswerFile("out", False))
    made.keep(COVER, [LINES, KEYS])
    assert (folder / "out.missing").read_text() == LISTED
    assert made.sentence(COVER) == (
        "198 of 200 lines (99.0 %) and 1983 of 2000 bytes of the input are covered; "
        "what is missing is listed in out.missing"
    )
    with pytest.raises(AnswerExists, match=r"'out\.missing' exists"):
        made.check()


def test_nothing_missing_is_no_list(folder):
    """An older one goes where the answer may be replaced."""
    (folder / "out.missing").write_text("old")
    MissingFile(AnswerFile("out", False)).keep(None, ())
    assert (folder / "out.missing").exists()
    MissingFile(AnswerFile("out", True)).keep(None, ())
    assert not list(folder.iterdir())


def test_answer_on_stdout_has_its_list_on_stderr(capsys):
    """How much it is, is said in another sentence."""
    made = MissingFile(AnswerFile("-", False))
    made.keep(COVER, [LINES])
    made.tell(COVER, [LINES], as_json=False)
    made.tell(COVER, [LINES], as_json=True)
    listed, plain = capsys.readouterr().err.splitlines()
    assert listed == row(LINES)
    assert json.loads(plain)["piece"]["offset"] == 90
    assert made.sentence(COVER).endswith("are covered")


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [(199, 200, "99.5 %"), (9999, 10000, "99.9 %"), (0, 7, "0.0 %"), (1, 3, "33.3 %"), (0, 0, "0.0 %")],
)
def test_share_is_never_said_to_be_more_than_it_is(part, whole, said):
    """What lacks a line is not 100 %."""
    assert share(part, whole) == said


def test_what_came_of_the_lines_is_told_apart():
    """All lines may be covered, and not all keys."""
    later = Cover(1, later=True)
    assert how_much(later) == "all lines of the input are covered, but not all that came of them"
    assert in_short(later) == "in part"
    assert in_short(COVER) == "99.0 % of the lines"
    assert in_short(Cover(3, 198, 200, 1, 2, later=True)) == "99.0 % of the lines, in part"
