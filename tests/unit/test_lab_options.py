"""``hagoop-simulate`` at the command line."""

import json
from pathlib import Path

import pytest
from twisted.python.usage import UsageError

from hagoop import simulate
from hagoop.lab.finding import Drawing
from hagoop.lab.habits import KINDS
from hagoop.simulate_options import Options, Simulation

SMALL = ["--workers", "6", "--seconds", "4"]


def parsed(*words: str) -> Simulation:
    """What a command line asks for."""
    options = Options()
    options.parseOptions(list(words))
    return options.simulation


def test_options_may_stand_anywhere() -> None:
    """Between fleets and behind them."""
    found = parsed("calm", "--seed", "3", "spot", "--json", "--seconds=20")
    assert found == Simulation(("calm", "spot"), drawing=Drawing(seed=3, seconds=20.0), json=True)


def test_comparison_is_a_word_before_the_fleets() -> None:
    """It is no fleet."""
    assert parsed("compare", "all", "--program", "spawn") == Simulation(
        tuple(KINDS), compares=True, spawns=True
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name a fleet: hagoop-simulate calm; all are ten, and --help has their names"),
        (["compare"], "name a fleet: hagoop-simulate calm; all are ten, and --help has their names"),
        (["calm", "--program", "hot"], "--program: 'hot' is not allowed; write warm or spawn"),
        (["calm", "--seed", "x"], "--seed: 'x' is not allowed; write a whole number from 0 to"),
        (["calm", "--workers", "0"], "--workers: '0' is not allowed; write a whole number from 1 to"),
        (["calm", "--seconds", "-1"], "--seconds: '-1' is not allowed; write a number above 0, at most"),
        (["calm", "--messages", "nan"], "--messages: 'nan' is not allowed; write a number above 0"),
        (
            ["calm", "--plot", "a.gif"],
            "--plot: 'a.gif' is no name for a picture; write one that ends in",
        ),
        (["all", "--plot", "a.svg"], "--plot is for one fleet, and no comparison: name one"),
        (["compare", "calm", "--write", "a.jsonl"], "--write is for one fleet, and no comparison"),
        (
            ["calm", "--without", "luck"],
            "--without: 'luck' is no part that can be taken away; there are",
        ),
        (["./a.jsonl", "--workers", "3"], "./a.jsonl is a recording: --workers and --seconds are for"),
    ],
)
def test_what_is_wrong_is_one_sentence(words: list[str], said: str) -> None:
    """And the exit status is that of wrong use."""
    with pytest.raises(UsageError) as raised:
        parsed(*words)
    assert str(raised.value).startswith(said)
    assert simulate.main(words) == 2


def test_one_fleet_is_an_object_and_several_an_array(capsys: pytest.CaptureFixture[str]) -> None:
    """With the keys that others read."""
    assert simulate.main(["calm", *SMALL, "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert simulate.main(["calm", "spot", *SMALL, "--json"]) == 0
    several = json.loads(capsys.readouterr().out)
    assert [one["fleet"], *(each["fleet"] for each in several)] == ["calm", "calm", "spot"]
    wanted = "fleet seed makespan capacity_seconds efficiency finished commits leases copies wasted"
    assert set(wanted.split()) <= one.keys()
    assert one["efficiency"] == pytest.approx(4 / one["makespan"], rel=1e-4)


def test_table_has_a_row_for_each_fleet(capsys: pytest.CaptureFixture[str]) -> None:
    """And is plain text where nobody looks at a terminal."""
    assert simulate.main(["calm-2", "spot-2", *SMALL]) == 0
    out = capsys.readouterr().out
    assert "efficiency" not in out
    assert "\x1b" not in out
    assert [line.split()[0] for line in out.splitlines() if "%" in line] == ["calm-2", "spot-2"]


def test_request_that_does_not_end_is_exit_status_1(tmp_path: Path) -> None:
    """Nobody is there to do it."""
    path = tmp_path / "gone.jsonl"
    assert simulate.main(["calm", *SMALL, "--write", str(path)]) == 0
    header, *lives = path.read_text().splitlines()
    gone = [each.replace('"ok"', '"evil"') for each in lives]
    path.write_text("\n".join([header, *gone]))
    assert simulate.main([str(path), "--json"]) == 1


def test_written_fleet_comes_to_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As the one that was drawn."""
    path = str(tmp_path / "drawn.jsonl.gz")
    assert simulate.main(["half-die", "--seed=4", *SMALL, "--json", "--write", path]) == 0
    drawn = capsys.readouterr().out
    assert simulate.main([path, "--json"]) == 0
    assert capsys.readouterr().out == drawn


def test_comparison_has_a_column_for_each_scheduler(capsys: pytest.CaptureFixture[str]) -> None:
    """The product's is the first; several fleets have a mean."""
    assert simulate.main(["compare", "calm", "spot", *SMALL, "--seed=3"]) == 0
    out, err = capsys.readouterr()
    assert "hagoop   fixed   guided   original" in out
    assert [line.split()[0] for line in out.splitlines()[3:] if line.strip()] == [
        "calm-3",
        "spot-3",
        "mean",
    ]
    assert "spot-3 under late ..." in err


def test_comparison_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """An object by scheduler."""
    assert simulate.main(["compare", "calm", *SMALL, "--json", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["schedulers"]["late"]["finished"]
    assert err == ""


def test_file_that_cannot_be_written_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is simulated."""
    assert simulate.main(["calm", *SMALL, "--write", "/nowhere/x.jsonl"]) == 2
    assert capsys.readouterr().err.startswith("--write: [Errno 2] No such file")
