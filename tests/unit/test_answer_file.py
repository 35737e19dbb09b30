"""Where an answer goes: whole or not at all, and never over something else unasked."""

import os
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from hagoop.answer_file import AnswerExists, AnswerFile, AnswerUnwritten


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder: Path) -> list[str]:
    """All that is in a folder."""
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*"))


def refusal(name: str, *, force: bool = False) -> str:
    """What is said of a place that cannot be used."""
    with pytest.raises(AnswerExists) as caught:
        AnswerFile(name, force).check()
    return str(caught.value)


def test_file_is_absent_until_it_is_whole(folder):
    """What comes lies beside it; then it is there at once."""
    answer = AnswerFile("out", force=False)
    answer.check()
    answer.write(b"one\n")
    answer.write(b"two\n")
    assert not (folder / "out").exists()
    answer.finish()
    answer.abandon()
    assert names(folder) == ["out"]
    assert (folder / "out").read_bytes() == b"one\ntwo\n"


def test_empty_answer_is_an_empty_file(folder):
    """Nothing was written, and all the same it is whole."""
    answer = AnswerFile("out", force=False)
    answer.finish()
    assert (folder / "out").read_bytes() == b""


@pytest.mark.parametrize("name", ["out", "out/"])
def test_abandoned_answer_leaves_nothing(folder, name):
    """Neither file nor folder, however often it is said."""
    answer = AnswerFile(name, force=False)
    answer.write(b"one\n")
    answer.abandon()
    answer.abandon()
    assert names(folder) == []


def test_answer_abandoned_before_its_first_byte_leaves_nothing(folder):
    """There was nothing to remove."""
    AnswerFile("out/", force=False).abandon()
    assert names(folder) == []


def test_folder_holds_a_part_and_then_success(folder):
    """As Hadoop makes them."""
    answer = AnswerFile("out/", force=False)
    answer.check()
    answer.write(b"one\n")
    assert "out/_SUCCESS" not in names(folder)
    answer.finish()
    answer.abandon()
    assert names(folder) == ["out", "out/_SUCCESS", "out/part-00000"]
    assert (folder / "out/part-00000").read_bytes() == b"one\n"


def test_abandoned_answer_keeps_what_others_put_into_its_folder(folder):
    """It is not ours to remove."""
    answer = AnswerFile("out/", force=False)
    answer.write(b"one\n")
    (folder / "out/notes").write_text("mine")
    answer.abandon()
    assert names(folder) == ["out", "out/notes"]


def test_existing_answer_is_refused(folder):
    """Before anything is run, whatever it is."""
    (folder / "out").write_text("old")
    (folder / "parts").mkdir()
    told = "exists; choose another --output, or add --force"
    assert refusal("out") == f"'out' {told}"
    assert refusal("parts") == f"'parts' {told}"
    assert refusal("parts/") == f"'parts/' {told}"


def test_forced_answer_replaces_the_old_one_at_its_end(folder):
    """Until then the old one stays."""
    (folder / "out").write_text("old")
    answer = AnswerFile("out", force=True)
    answer.check()
    answer.write(b"new")
    assert (folder / "out").read_text() == "old"
    answer.finish()
    assert (folder / "out").read_text() == "new"
    assert names(folder) == ["out"]


def test_forced_answer_that_is_abandoned_keeps_the_old_one(folder):
    """In a folder that was there, too."""
    (folder / "parts").mkdir()
    (folder / "parts/part-00000").write_text("old")
    answer = AnswerFile("parts/", force=True)
    answer.check()
    answer.write(b"new")
    answer.abandon()
    assert names(folder) == ["parts", "parts/part-00000"]
    assert (folder / "parts/part-00000").read_text() == "old"


def test_file_is_no_folder_and_a_folder_no_file(folder):
    """Not even by force; the sentence says how to write it."""
    (folder / "out").write_text("old")
    (folder / "parts").mkdir()
    assert refusal("parts", force=True) == "'parts' is a folder; write 'parts/' for a folder of parts"
    assert refusal("out/", force=True) == "'out' is a file; write 'out' without the '/' to replace it"


def test_answer_needs_a_folder_to_be_in(folder):
    """Told before anything is run."""
    (folder / "file").write_text("")
    assert refusal("none/out") == f"'none/out' cannot be written: '{folder}/none' is not a folder"
    assert refusal("file/out") == f"'file/out' cannot be written: '{folder}/file' is not a folder"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_answer_needs_a_folder_that_may_be_written(folder):
    """Told before anything is run."""
    (folder / "closed").mkdir(mode=0o500)
    assert refusal("closed/out") == (
        f"'closed/out' cannot be written: '{folder}/closed' is not yours to write in"
    )


def test_pipe_is_written_to_as_it_is(folder):
    """What is neither file nor folder is never replaced."""
    os.mkfifo("pipe")
    reading = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    answer = AnswerFile("pipe", force=False)
    answer.check()
    answer.write(b"one\n")
    answer.finish()
    assert os.read(reading, 100) == b"one\n"
    os.close(reading)
    assert names(folder) == ["pipe"]
    assert answer.is_stream


def test_stdout_gets_the_bytes(folder, monkeypatch):
    """They are flushed at the end, and stdout stays open."""
    out = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(out))
    answer = AnswerFile("-", force=False)
    answer.check()
    answer.write(b"\xff\n")
    answer.finish()
    answer.abandon()
    assert answer.is_stdout
    assert out.getvalue() == b"\xff\n"
    assert names(folder) == []


def test_leftover_of_a_killed_run_is_in_nobodys_way(folder):
    """Two runs may have one process id, in containers for instance."""
    killed = AnswerFile("out", force=False)
    killed.write(b"half")
    answer = AnswerFile("out", force=False)
    answer.write(b"whole")
    answer.finish()
    killed.abandon()
    assert (folder / "out").read_bytes() == b"whole"


def test_full_disk_leaves_nothing(folder):
    """Neither when it is written to nor, with what a buffer still held, when it is given up."""
    answer = AnswerFile("out", force=False)
    answer.write(b"half")
    with open("/dev/full", "wb") as full:
        answer._file.flush()
        os.dup2(full.fileno(), answer._file.fileno())
    answer.write(b"more")
    with pytest.raises(AnswerUnwritten, match=r"^'out' cannot be written: no space left on device$"):
        answer.finish()
    answer.abandon()
    assert names(folder) == []


def test_name_may_be_as_long_as_names_can_be(folder):
    """And if it is longer that is said before anything is run."""
    answer = AnswerFile("\udcff" * 255, force=False)
    answer.check()
    answer.write(b"one\n")
    answer.finish()
    assert (folder / answer.name).read_bytes() == b"one\n"
    with pytest.raises(AnswerUnwritten, match=r"^'x+' cannot be written: file name too long$"):
        AnswerFile("x" * 256, force=False).check()
