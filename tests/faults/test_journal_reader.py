"""The reader of journals finds what it is for: it is shown commits that are lost, doubled and undone."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import journal_reader
import pytest


def fact(number: int, kind: str, **body: Any) -> journal_reader.Fact:
    return journal_reader.Fact(number, "r1", kind, body)


def committed(start: int, end: int, phase: str = "map") -> journal_reader.Fact:
    output = {"start": start, "end": end, "place": None}
    return fact(start, "committed", phase=phase, round=0, step=0, output=output)


SUBMITTED = fact(1, "submitted")
REDUCING = fact(7, "phase", phase="reduce", round=0, step=0)
DONE = fact(9, "ended", state="done")


@pytest.mark.parametrize(
    ("facts", "wrong"),
    [
        ([committed(0, 4), committed(4, 9)], []),
        ([committed(0, 4), committed(5, 9)], []),
        ([committed(0, 4), committed(5, 9), REDUCING], ["r1, step 0, map 0: 4-5 never"]),
        ([committed(1, 9), REDUCING], ["r1, step 0, map 0: 0-1 never"]),
        ([committed(0, 4), committed(3, 9)], ["r1, step 0, map 0: 3-4 twice"]),
        ([committed(0, 4), committed(0, 4)], ["r1, step 0, map 0: 0-4 twice"]),
        ([committed(3, 4, "reduce"), DONE], ["r1, step 0, reduce 0: 0-3 never"]),
    ],
)
def test_lost_and_doubled_commits_are_found(facts: list[journal_reader.Fact], wrong: list[str]) -> None:
    """Ranges partition the input once a phase has ended, and never overlap before."""
    journal = journal_reader.Journal(1, (SUBMITTED, *facts))
    assert journal_reader.wrong_commits(journal) == wrong


def test_second_end_and_older_epoch_are_found() -> None:
    """A request ends once, and lives only follow each other."""
    failed = fact(10, "ended", state="failed")
    twice = journal_reader.Journal(3, (SUBMITTED, DONE, failed))
    assert journal_reader.wrong_ends(twice) == ["r1 ended as done, failed"]
    assert journal_reader.wrong_ends(journal_reader.Journal(3, (SUBMITTED, DONE))) == []
    older = journal_reader.Journal(2, ())
    assert journal_reader.wrong_epochs([older, twice]) == []
    assert journal_reader.wrong_epochs([twice, older]) == ["epoch 2 after 3"]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Make a journal by hand."""

    def made(*facts: journal_reader.Fact) -> Path:
        path = tmp_path / "journal.sqlite"
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE meta (key TEXT, value INTEGER)")
            db.execute("INSERT INTO meta VALUES ('epoch', 5)")
            db.execute("CREATE TABLE fact (id INTEGER PRIMARY KEY, stream, kind, body)")
            rows = [(each.id, each.stream, each.kind, json.dumps(each.body)) for each in facts]
            db.executemany("INSERT INTO fact VALUES (?, ?, ?, ?)", rows)
        db.close()
        return path

    return made


def test_journal_is_read_as_it_is(write: Callable[..., Path]) -> None:
    """What was written comes back, with its epoch."""
    read = journal_reader.read_journal(write(SUBMITTED, REDUCING))
    assert read == journal_reader.Journal(5, (SUBMITTED, REDUCING))
