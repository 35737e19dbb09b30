"""What people see: lines for logs, tables, JSON, and nothing that steers their terminal."""

import json
import sys
from io import BytesIO, TextIOWrapper

import pytest
from attrs import evolve

from hagoop import wire
from hagoop.jobs import Counter, Cover, Phase, RequestId, RequestStatus, State, WorkerId, WorkerStatus
from hagoop.showing import (
    NO_WORKERS,
    Bar,
    Lines,
    Silence,
    clean,
    duration,
    make_progress,
    show_requests,
    show_status,
    show_workers,
)

RUNNING = RequestStatus(
    id=RequestId("r1"),
    state=State.RUNNING,
    label="./map.py | uniq -c",
    age_seconds=1.0,
    phase=Phase.MAP,
    done=0.25,
    weight=100,
    whole=True,
    working=2,
    workers=3,
    failures=0,
    seconds_left=None,
)
DONE = evolve(RUNNING, state=State.DONE, done=1.0, answer_bytes=7)
WORKER = WorkerStatus(WorkerId("w"), "lab1", 90.0, 2, 3, 4, 7200.0, 6.0, "r1 map 0-10")
EVIL = "a\x1b]0;pwned\x07\x9b2J\r\nb\x7f\tc"
CLEAN = "a ]0;pwned  2J  b  c"


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables as they look without a terminal of their own."""
    monkeypatch.delenv("COLUMNS", raising=False)


def status_lines(capsys, status):
    """What ``status`` prints."""
    show_status(status, as_json=False)
    return capsys.readouterr().out.splitlines()


def test_what_should_be_known_of_an_answer_is_shown(capsys):
    """How much it leaves out; the heads of digests, as long as nobody wants JSON."""
    warning = f"Not deterministic: a gave {'12ab' * 16} on lab1\x1b"
    status = evolve(DONE, bad_lines=2, warnings=(warning,))
    assert status_lines(capsys, status)[2:] == [
        "  2 bad lines were passed over; FILE.bad will list them",
        "  Not deterministic: a gave 12ab12ab12ab... on lab1 ",
    ]
    show_status(status, as_json=True)
    assert json.loads(capsys.readouterr().out)["warnings"] == [warning]
    assert ", 2 bad lines, 25 % of map" in status_lines(capsys, evolve(RUNNING, bad_lines=2))[1]


def test_answer_that_does_not_cover_all_says_so(capsys):
    """In its state and in the list; and where one learns what it lacks."""
    status = evolve(DONE, cover=Cover(2, 1992, 2000, 9, 10))
    assert status_lines(capsys, status) == [
        "r1 done, 99.6 % of the lines: ./map.py | uniq -c",
        "  7 bytes: hagoop-request answer r1 --output FILE",
        "  1992 of 2000 lines (99.6 %) and 9 of 10 bytes of the input are covered; "
        "FILE.missing will list what is not",
    ]
    show_requests([status], as_json=False)
    assert "done, 99.6 % of the lines" in capsys.readouterr().out
    show_status(status, as_json=True)
    assert json.loads(capsys.readouterr().out)["cover"]["lines"] == 1992


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (42, "42 s"),
        (90, "1.5 min"),
        (12600, "3.5 h"),
        (86400 * 7, "7.0 d"),
    ],
)
def test_durations_are_for_people(seconds, said):
    """Two digits are enough."""
    assert duration(seconds) == said


def test_nothing_that_steers_a_terminal_stays():
    """Neither C0 nor C1, nor halves of characters that cannot be printed."""
    assert clean(EVIL) == CLEAN
    assert clean("caf\udce9 \u00e9") == "caf? \u00e9"


def test_what_strangers_said_is_cleaned_wherever_it_is_shown(capsys):
    """Labels, messages, statuses, counters, names."""
    said = evolve(RUNNING, label=EVIL, status=EVIL, message=EVIL, counters=(Counter(EVIL, EVIL, 1),))
    show_status(said, as_json=False)
    show_status(evolve(said, state=State.FAILED), as_json=False)
    show_requests([said], as_json=False)
    show_workers([evolve(WORKER, name=EVIL, doing=EVIL)], as_json=False)
    Lines("r1", waits=True).show(evolve(said, age_seconds=10))
    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert shown.count(CLEAN) == 13
    assert not set(shown) & set("\x1b\x07\x9b\r\x7f\t")


def test_label_that_is_not_unicode_can_be_shown(monkeypatch):
    """Or nobody could list the requests any more."""
    out = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(out, encoding="utf-8"))
    show_status(evolve(DONE, label="caf\udce9"), as_json=False)
    show_requests([evolve(DONE, label="caf\udce9")], as_json=False)
    sys.stdout.flush()
    assert out.getvalue().count(b"caf?") == 2


def test_running_request_is_shown_with_how_far_it_is(capsys):
    """What it runs, who works, what failed, how long it takes."""
    assert status_lines(capsys, RUNNING) == [
        "r1 running: ./map.py | uniq -c",
        "  r1 map, 2 of 3 workers, 25 % of map",
    ]
    more = evolve(RUNNING, failures=2, seconds_left=90.0, status="so far")
    more = evolve(more, most_seconds_left=103.5)
    assert status_lines(capsys, more)[1] == (
        "  r1 map, 2 of 3 workers, 2 failures, 1.5 min left (P90 1.7 min), so far, 25 % of map"
    )


def test_request_without_workers_says_how_to_start_one(capsys):
    """Else one would wait for ever."""
    alone = evolve(RUNNING, workers=0, working=0)
    assert status_lines(capsys, alone)[-1] == f"  {NO_WORKERS}"
    assert NO_WORKERS == "No worker is connected: start one with twistd hagoop-worker"


def test_ended_request_is_shown_with_its_end(capsys):
    """Where the answer is, or why there is none; and its counters."""
    counted = evolve(DONE, counters=(Counter("words", "long", 3),))
    assert status_lines(capsys, counted) == [
        "r1 done: ./map.py | uniq -c",
        "  7 bytes: hagoop-request answer r1 --output FILE",
        "  words: long 3",
    ]
    failed = evolve(RUNNING, state=State.FAILED, message="the mapper failed once on a, line 1")
    assert status_lines(capsys, failed)[1:] == ["  the mapper failed once on a, line 1"]


def test_json_is_all_that_there_is(capsys):
    """On one line, to be read back."""
    show_status(RUNNING, as_json=True)
    show_requests([RUNNING, DONE], as_json=True)
    show_workers([WORKER], as_json=True)
    one, many, workers = map(json.loads, capsys.readouterr().out.splitlines())
    assert wire.from_plain(RequestStatus, one) == RUNNING
    assert wire.from_plain(tuple[RequestStatus, ...], many) == (RUNNING, DONE)
    assert wire.from_plain(tuple[WorkerStatus, ...], workers) == (WORKER,)


def test_requests_are_a_table(capsys):
    """Map is its first half, reduce its second."""
    merging = evolve(RUNNING, phase=Phase.MERGE)
    reducing = evolve(RUNNING, phase=Phase.REDUCE, done=0.5)
    show_requests([RUNNING, merging, reducing, DONE], as_json=False)
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert rows[0] == ["request", "state", "age", "done", "programs"]
    shares = [" ".join(row[4:6]) for row in rows[2:]]
    assert shares == ["12 %", "50 %", "75 %", "100 %"]


def test_workers_are_a_table(capsys):
    """With what each has earned."""
    show_workers([WORKER], as_json=False)
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert rows[0] == "worker connected jobs done lost experience next piece doing".split()
    assert rows[2] == "lab1 1.5 min 3 4 2.0 h 6.0 s r1 map 0-10".split()


def test_empty_tables_are_a_sentence(capsys):
    """It says what to do."""
    show_requests([], as_json=False)
    show_workers([], as_json=False)
    assert capsys.readouterr().out.splitlines() == ["No requests", NO_WORKERS]


def test_lines_come_when_something_has_changed(capsys):
    """And else every five seconds."""
    lines = Lines("r1", waits=True)
    for age, workers in [(1, 3), (2, 3), (3, 4), (4, 4), (7, 4), (8, 4), (9, 4)]:
        lines.show(evolve(RUNNING, age_seconds=age, workers=workers))
    lines.stop()
    assert capsys.readouterr().err.splitlines() == [
        "r1: map, 2 of 4 workers, 25 %",
        "r1: map, 2 of 4 workers, 25 %",
    ]


def test_request_that_ends_at_once_needs_no_line(capsys):
    """One that is old when it is first seen has one."""
    Lines("r1", waits=True).show(RUNNING)
    assert capsys.readouterr().err == ""
    Lines("r1", waits=True).show(evolve(RUNNING, age_seconds=10))
    assert capsys.readouterr().err == "r1: map, 2 of 3 workers, 25 %\n"


def test_missing_workers_are_told_once_and_at_once(capsys):
    """Unless they come by themselves."""
    alone = evolve(RUNNING, workers=0)
    lines = Lines("r1", waits=True)
    lines.show(alone)
    lines.show(alone)
    assert capsys.readouterr().err == f"r1: {NO_WORKERS}\n"
    Lines("r1", waits=False).show(alone)
    assert capsys.readouterr().err == ""


def test_quiet_shows_nothing(capsys):
    """Not even missing workers."""
    progress = make_progress("r1", quiet=True, waits=True)
    progress.show(evolve(RUNNING, workers=0))
    progress.stop()
    assert isinstance(progress, Silence)
    assert capsys.readouterr() == ("", "")


def test_terminals_get_a_bar_and_logs_lines(monkeypatch):
    """By what stderr is."""
    assert isinstance(make_progress("r1", quiet=False, waits=True), Lines)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert isinstance(make_progress("r1", quiet=False, waits=True), Bar)


def test_bar_shows_and_is_wiped(capsys):
    """Brackets in what a program says are no markup."""
    bar = Bar("r1", waits=True)
    bar.stop()
    bar.show(evolve(RUNNING, status="[red]so far[/nothing]"))
    bar.show(evolve(RUNNING, workers=0))
    bar.stop()
    bar.stop()
    assert capsys.readouterr().out == ""


def test_step_is_shown_where_there_are_several(capsys):
    """In lines and in status; each is its share of the whole."""
    second = evolve(RUNNING, step=2, steps=4, age_seconds=10)
    Lines("r1", waits=True).show(second)
    assert capsys.readouterr().err == "r1: step 2 of 4, map, 2 of 3 workers, 25 %\n"
    assert status_lines(capsys, second)[1] == "  r1 step 2 of 4, map, 2 of 3 workers, 25 % of map"
    show_requests([second, evolve(second, phase=Phase.REDUCE)], as_json=False)
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert [" ".join(row[4:6]) for row in rows[2:]] == ["28 %", "41 %"]


def test_another_step_is_news(capsys):
    """As another phase is."""
    lines = Lines("r1", waits=True)
    for age, step in [(6, 1), (7, 1), (8, 2)]:
        lines.show(evolve(RUNNING, age_seconds=age, step=step, steps=2))
    said = capsys.readouterr().err.splitlines()
    assert [each.partition(", map")[0] for each in said] == ["r1: step 1 of 2", "r1: step 2 of 2"]
