"""Fleets of the lab: found by name, drawn by chance, written and read again."""

import gzip
from math import inf
from pathlib import Path
from random import Random
from statistics import mean, median

import pytest

from hagoop.errors import FleetError
from hagoop.lab.capacity import work_until
from hagoop.lab.finding import REAL_FLEETS, Drawing, find, names_of
from hagoop.lab.generate import Wanted, generate
from hagoop.lab.habits import KINDS
from hagoop.lab.lives import Recording, read_recording
from hagoop.lab.writing import recording_lines

FACTOR = 2.5
HEADER = (
    '{"fleet":"x","seed":1,"lines":10,"cost":[[0,0],[10,10]],"capacity_seconds":1,"commit_cost":0.01,'
    '"horizon":4,"bounds":{}}'
)
LIFE = (
    '{"kind":"ok","speed":1,"round_trip":0.01,"start":0.1,"sessions":[["a",0,null,"close"]],"slow":[]}'
)


def drawn(kind: str, **wanted: float) -> Recording:
    """A fleet of seed 7."""
    return find(kind, Drawing(**{"seed": 7, **wanted}))  # type: ignore[arg-type]


def statistics(recording: Recording) -> dict[str, float]:
    """What two fleets of a kind should be alike in."""
    lives = recording.lives
    pairs = [(a, b) for each in lives for a, b in zip(each.stays, each.stays[1:], strict=False)]
    lengths = [stay.ends - stay.joins for each in lives for stay in each.stays if stay.ends < inf]
    return {
        "speed": median(each.speed for each in lives if each.kind == "ok"),
        "round trip": median(each.round_trip for each in lives),
        "start": median(each.start for each in lives),
        "life": median(lengths),
        "gap": median(b.joins - a.ends for a, b in pairs) if len(pairs) > 100 else 1.0,
        "sessions": mean(len(each.stays) for each in lives),
        "lines": recording.work.lines,
        "work": recording.work.seconds,
    }


def shares(recording: Recording) -> dict[str, float]:
    """What must be as frequent in both."""
    stays = [stay for each in recording.lives for stay in each.stays]
    pairs = [
        (a, b) for each in recording.lives for a, b in zip(each.stays, each.stays[1:], strict=False)
    ]
    return {
        "ok": mean(each.kind == "ok" for each in recording.lives),
        "silent": mean(stay.how == "silent" for stay in stays),
        "hang": mean(stay.how == "hang" for stay in stays),
        "renewed": mean(a.identity != b.identity for a, b in pairs) if len(pairs) > 100 else 0.0,
        "tired": mean(bool(each.slow) for each in recording.lives),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_drawn_fleets_are_like_the_recorded_one(kind: str) -> None:
    """Medians within a factor, shares within fifteen points."""
    recorded, made = find(kind, Drawing()), drawn(kind)
    for name, value in statistics(recorded).items():
        assert value / FACTOR < statistics(made)[name] < value * FACTOR, name
    for name, value in shares(recorded).items():
        assert abs(value - shares(made)[name]) < 0.15, name
    assert (made.commit_cost, made.horizon) == (recorded.commit_cost, recorded.horizon)


@pytest.mark.parametrize("kind", KINDS)
def test_recorded_capacity_is_what_the_machines_can_do(kind: str) -> None:
    """Our sum is that of whoever made the recordings."""
    recording = find(kind, Drawing())
    done = work_until(recording.lives, recording.capacity_seconds)
    assert done == pytest.approx(recording.work.seconds, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_drawn_work_is_what_the_machines_can_do(kind: str) -> None:
    """Of any size, for any seconds."""
    made = drawn(kind, workers=20, seconds=30.0)
    assert len(made.lives) == 20
    assert made.capacity_seconds == made.bounds["capacity"] == 30
    assert work_until(made.lives, 30) == pytest.approx(made.work.seconds)


def test_one_seed_draws_one_fleet() -> None:
    """And another draws another."""
    assert drawn("wild-churn", workers=9) == drawn("wild-churn", workers=9)
    assert drawn("wild-churn", workers=9) != drawn("wild-churn", workers=9, seed=8)


def test_fleet_is_the_same_after_it_was_written(tmp_path: Path) -> None:
    """Packed or not."""
    made = drawn("half-die", workers=8, seconds=40.0)
    text = "".join(recording_lines(made))
    (tmp_path / "a.jsonl").write_text(text)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("a.jsonl", "b.jsonl.gz"):
        assert "".join(recording_lines(find(str(tmp_path / name), Drawing()))) == text


def test_names_stand_for_fleets() -> None:
    """``all`` are those that are drawn, ``real`` the others."""
    assert names_of(["all", "calm-3"]) == [*KINDS, "calm-3"]
    assert names_of(["real"]) == list(REAL_FLEETS)
    assert [find(each, Drawing()).fleet for each in REAL_FLEETS] == list(REAL_FLEETS)


def test_recorded_fleet_is_that_of_seed_0() -> None:
    """By any of its names; another seed is drawn."""
    recorded = find("calm", Drawing())
    assert find("calm-0", Drawing()) == find("calm", Drawing(seed=0)) == recorded
    assert find("calm-3", Drawing()) == find("calm", Drawing(seed=3)) != recorded


@pytest.mark.parametrize(
    ("name", "drawing", "said"),
    [
        ("nix", Drawing(), "no fleet 'nix': there is no such file, and the names are office-lab, "),
        ("./nix", Drawing(), "nix cannot be read as a fleet: "),
        ("spot-p3-real", Drawing(seed=3), "spot-p3-real is recorded from life and cannot be drawn anew"),
    ],
)
def test_what_is_no_fleet_is_told(name: str, drawing: Drawing, said: str) -> None:
    """In one sentence."""
    with pytest.raises(FleetError) as raised:
        find(name, drawing)
    assert str(raised.value).startswith(said)


def test_kind_that_is_none_is_told() -> None:
    """And which there are."""
    with pytest.raises(FleetError, match="'nix' is no kind of fleet; there are office-lab"):
        generate(Wanted("nix", 1), Random(1))


def test_fleet_that_can_do_nothing_is_told() -> None:
    """Nobody good is there within its seconds."""
    with pytest.raises(FleetError, match="no machine of this seed-mix works within 1 s"):
        generate(Wanted("seed-mix", 1, workers=1, seconds=1), Random(1))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1 is not JSON"),
        (HEADER, "it has no machines"),
        (f"{HEADER}\n{{}}", "line 2 lacks 'kind'"),
        (f"{HEADER}\n{LIFE.replace('ok', 'odd')}", "line 2: kind is 'odd'"),
        (f"{HEADER}\n{LIFE.replace('close', 'bang')}", "line 2: a session ends by 'bang'"),
        (
            f"{HEADER}\n{LIFE.replace('0,null', '5,4')}",
            "line 2: a session ends at 4.0, before it begins",
        ),
        (f"{HEADER}\n{LIFE.replace('1,', '0,', 1)}", "line 2: speed is 0.0, and not above 0"),
        (f"{HEADER}\n{LIFE.replace('[]', '[[1,0]]')}", "line 2: a factor of slow is not above 0"),
        (f"{HEADER.replace('[0,0],', '')}\n{LIFE}", "cost must begin at [0, 0]"),
    ],
)
def test_what_is_wrong_in_a_file_is_told(text: str, said: str) -> None:
    """With its line."""
    with pytest.raises(FleetError) as raised:
        read_recording(text.splitlines())
    assert said in str(raised.value)
