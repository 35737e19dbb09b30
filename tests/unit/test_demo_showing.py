"""What the demonstration tells of its workers, its text and its comparison."""

import io
import sys
from pathlib import Path

import pytest
from attrs import evolve
from twisted.python.usage import UsageError

from hagoop.demo import text
from hagoop.demo.kinds import SAID, Kind
from hagoop.demo.pipe import difference, digest_of, most_frequent, spoil
from hagoop.demo.plan import Cast
from hagoop.demo.roll import HEADS, Roll, holding
from hagoop.demo.script import DEFAULTS, Options
from hagoop.demo.views import COLOURS, Lines, Nothing, Table, make_view
from hagoop.jobs import WorkerId, WorkerStatus
from hagoop.survived import Survived

NAMES = {"good-1": Kind.GOOD, "flaky-1": Kind.FLAKY}
GOOD = WorkerStatus(WorkerId("w"), "good-1", 5.0, 1, 3, 0, 120.0, 2.0, "r1 map 0-500", 1200)
FLAKY = evolve(GOOD, name="flaky-1", experience_seconds=9.0, next_weight=200)


@pytest.fixture
def roll():
    """Two workers that have not been seen."""
    return Roll.of(NAMES, Survived())


def cells(roll: Roll, name: str) -> dict[str, str]:
    """What the table says of a worker."""
    return dict(zip(HEADS, roll.members[name].cells, strict=True))


# Workers


def test_worker_that_has_not_joined_is_starting(roll):
    """And the roll is not complete."""
    known = {"worker": "good-1", "state": "starting"}
    assert cells(roll, "good-1") == {each: "" for each in HEADS} | known
    assert not roll.all_there


def test_worker_shows_what_it_has_earned(roll):
    """In words for people."""
    roll.look([GOOD, FLAKY], None)
    assert roll.all_there
    assert cells(roll, "good-1") == {
        "worker": "good-1",
        "state": "connected",
        "holds": "map 0-500",
        "jobs": "3",
        "experience": "2.0 min",
        "next piece": "1,200",
        "largest": "500",
    }


def test_largest_piece_is_remembered_in_lines(roll):
    """Pieces shrink at the end, and bytes of reduce are no lines."""
    for doing in ("r1 map 0-9", "r1 map 9-909, r1 map 1000-1010", "r1 map 950-960", "r1 reduce 0-5000"):
        roll.look([evolve(GOOD, doing=doing)], None)
    assert cells(roll, "good-1")["largest"] == "900"
    assert cells(roll, "good-1")["next piece"] == "1,200 B"


@pytest.mark.parametrize(("doing", "said"), [("idle", ""), ("r1 map 0-200", "nothing")])
def test_next_piece_of_who_gets_none(roll, doing, said):
    """Because it hangs; who is idle only waits."""
    roll.look([evolve(GOOD, doing=doing, next_weight=0)], None)
    assert cells(roll, "good-1")["next piece"] == said


def test_worker_that_vanishes_is_gone_until_it_is_back(roll):
    """Also if it was back before anybody looked."""
    for found, said in [
        ([FLAKY], "connected"),
        ([], "gone"),
        ([], "gone"),
        ([FLAKY], "back once"),
        ([evolve(FLAKY, connected_seconds=0.5)], "back twice"),
        ([], "gone again"),
        ([FLAKY], "back 3 times"),
    ]:
        roll.look(found, None)
        assert cells(roll, "flaky-1")["state"] == said


def test_what_is_held_is_told_without_the_request():
    """There is one only."""
    assert holding("r1 map 0-500, r1 map 600-700 and 2 more") == "map 0-500, map 600-700 and 2 more"
    assert holding("idle") == "idle"


def test_losses_are_told_as_far_as_there_are_any(roll):
    """One is not many."""
    assert roll.losses == "nothing yet"
    roll.survived.worker_died(0)
    assert roll.losses == "1 death"
    roll.survived.worker_died(1200)
    roll.survived.job_came_late(34)
    roll.survived.hangs = roll.survived.copies = 2
    assert roll.losses == "2 deaths, 2 hangs, 2 copies, 1 late answer, 1,234 lines done for nothing"


def test_attendance_is_by_kind(roll):
    """Those that are there of those that should be."""
    roll.look([GOOD], None)
    assert roll.attendance == "good 1 of 1, flaky 0 of 1"


# Views


def test_every_kind_has_its_words_and_its_colour():
    """A new one is not forgotten."""
    assert set(SAID) == set(COLOURS) == set(Kind)


def test_lines_come_every_two_seconds_and_all_workers_now_and_then(roll, capsys):
    """And once more at the end."""
    view = Lines()
    for tick in range(40):
        roll.seconds = tick / 4
        view.show(roll)
    shown = capsys.readouterr().out
    assert shown.count(" s  starting; good 0 of 1, flaky 0 of 1; survived nothing yet") == 5
    assert shown.count("experience") == 1
    view.stop()
    view.stop()
    assert capsys.readouterr().out.count("experience") == 1


def test_table_is_for_terminals(monkeypatch):
    """Unless somebody wants lines, or nothing."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    assert isinstance(make_view(quiet=False, plain=False), Table)
    assert isinstance(make_view(quiet=False, plain=True), Lines)
    assert isinstance(make_view(quiet=True, plain=False), Nothing)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert isinstance(make_view(quiet=False, plain=False), Lines)


# Text


@pytest.fixture
def library(tmp_path, monkeypatch):
    """An installation with five lines."""
    for name, data in {"b.py": b"3\n4\n5", "a.rst": b"1\n2\n", "c.so": b"no\n", "d.txt": b""}.items():
        (tmp_path / name).write_bytes(data)
    monkeypatch.setattr(text, "found_texts", lambda: iter(text._texts_below(tmp_path)))
    return tmp_path


@pytest.mark.parametrize(
    ("lines", "written", "times"),
    [
        (1, b"1\n", 1),
        (4, b"1\n2\n3\n4\n", 1),
        (5, b"1\n2\n3\n4\n5\n", 1),
        (7, b"1\n2\n3\n4\n5\n1\n2\n", 2),
    ],
)
def test_text_has_the_lines_that_are_wanted(library, tmp_path, lines, written, times):
    """Over and over if need be, each file's last line ended."""
    made = text.write_text(tmp_path / "text", lines)
    assert (tmp_path / "text").read_bytes() == written
    assert (made.lines, made.size, made.times) == (lines, len(written), times)


def test_installation_without_text_is_told(tmp_path, monkeypatch):
    """Rather than read it for ever."""
    monkeypatch.setattr(text, "found_texts", lambda: iter([tmp_path / "gone.py"]))
    with pytest.raises(text.NoText, match="without any text"):
        text.write_text(tmp_path / "text", 10)


def test_this_installation_has_text():
    """The first files are those of the standard library."""
    assert next(text.found_texts()).suffix in text.SUFFIXES


# Comparing


@pytest.fixture
def answer(tmp_path):
    """Three words."""
    file = tmp_path / "answer"
    file.write_bytes(b"a\t7\nb\t30\nc\t30\n")
    return file


def test_equal_answers_do_not_differ(answer):
    """Nor do their digests."""
    again = answer.with_name("again")
    again.write_bytes(answer.read_bytes())
    assert difference(answer, again) == ""
    assert digest_of(answer) == digest_of(again)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a\t7\nb\t31\nc\t30\n", r"line 2 of the answer is b'b\t30\n', that of the pipe b'b\t31\n'"),
        (b"a\t7\nb\t30\n", r"line 3 of the answer is b'c\t30\n', that of the pipe b''"),
        (b"a\t7\nb\t30\nc\t30", r"line 3 of the answer is b'c\t30\n', that of the pipe b'c\t30'"),
        (b"", r"line 1 of the answer is b'a\t7\n', that of the pipe b''"),
    ],
)
def test_first_difference_is_told(answer, data, said):
    """To the byte."""
    other = answer.with_name("other")
    other.write_bytes(data)
    assert difference(answer, other) == said
    assert difference(other, answer)


def test_spoilt_answer_differs(answer):
    """By one byte."""
    before = answer.read_bytes()
    spoil(answer)
    after = answer.read_bytes()
    assert len(after) == len(before)
    assert sum(a != b for a, b in zip(after, before, strict=True)) == 1


def test_most_frequent_words_come_first(answer):
    """Equals in the order of the alphabet."""
    assert most_frequent(answer, 2) == [("b", 30), ("c", 30)]


# Options


def plan_of(*words: str):
    """What a command line means."""
    options = Options()
    options.parseOptions(list(words))
    return options.plan


def test_default_cast_has_all_that_is_wrong_with_workers():
    """And half a million lines."""
    plan = plan_of()
    assert {kind: n for kind, n in plan.cast.counts.items() if n} == DEFAULTS
    assert (plan.lines, plan.quiet, plan.tampers) == (500_000, False, False)
    assert len(plan.cast.names) == sum(DEFAULTS.values())
    assert plan.cast.names["flaky-3"] is Kind.FLAKY


def test_seed_is_drawn_unless_it_is_given():
    """It is told, so that it can be given."""
    assert plan_of("--seed", "x").cast.seed == "x"
    assert plan_of().cast.seed.isdecimal()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--good", "0", "--flaky", "0", "--late", "0"], "--good 1: somebody must be there"),
        (["--evil", "many"], "--evil: 'many' is not allowed"),
        (["--chance", "1.5"], "--chance: '1.5' is not allowed; write a number from 0 to 1"),
        (["--lines", "0"], "--lines: '0' is not allowed"),
        (["now"], "'now' is not an option; see hagoop-demo --help"),
    ],
)
def test_wrong_options_are_told(words, said):
    """Which, and what would be right."""
    with pytest.raises(UsageError, match=said):
        plan_of(*words)


def test_late_workers_alone_can_end():
    """They only take their time."""
    assert Cast({Kind.LATE: 1}, 0.0, "").can_end
    assert not Cast({Kind.LOOPING: 1, Kind.DYING: 1}, 0.0, "").can_end


def test_script_ships_with_the_package():
    """An installed wheel has no examples."""
    from hagoop.demo.pipe import SCRIPT

    assert SCRIPT == Path(text.__file__).with_name("count.sh")
    assert SCRIPT.exists()
