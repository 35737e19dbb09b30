"""Pictures of runs: small whatever happened, and readable by whatever reads SVG."""

import re
import sys
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import pytest

from hagoop import simulate
from hagoop.lab.finding import Drawing, find
from hagoop.lab.lives import Recording
from hagoop.lab.picture import MOST_BANDS, picture
from hagoop.lab.story import Story
from hagoop.lab.tally import Tally
from hagoop.lab.trial import Outcome

SMALL = ["hostile", "--workers", "6", "--seconds", "5", "--seed", "2"]
TAG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def recording() -> Recording:
    """Some fleet."""
    return find("office-lab", Drawing(seed=1, workers=3, seconds=100.0))


def drawn(recording: Recording, story: Story, *, finished: bool = True) -> ElementTree.Element:
    """The picture of a run that took 100 s, as what is in it."""
    outcome = Outcome(recording, Tally(makespan=100.0, finished=finished), 1.0)
    return ElementTree.fromstring(picture(outcome, story))


def paths(root: ElementTree.Element, kind: str) -> str:
    """The strokes of a kind, without those of the legend."""
    found = [each.get("d", "") for each in root.iter(f"{TAG}path") if each.get("class") == kind]
    return found[-1]


def test_machine_has_a_band_while_it_is_there(recording: Recording) -> None:
    """And one to the end if it has not gone."""
    story = Story(100)
    for news in [(0.0, "join", 0), (50.0, "close", 0), (75.0, "join", 0), (25.0, "join", 1)]:
        story.tell(*news)
    assert re.findall(r"[Mm](\d+) [\d.]+h(\d+)", paths(drawn(recording, story), "on")) == [
        ("76", "554"),
        ("277", "277"),
        ("353", "831"),
    ]


def test_what_happened_is_marked_where_it_did(recording: Recording) -> None:
    """Each kind in its colour."""
    story = Story(100)
    story.tell(0.0, "join", 0)
    for time, what in ((20, "lease"), (40, "commit"), (60, "copy"), (80, "take_back"), (90, "silent")):
        story.tell(time, what, 0, 0, 10)
    root = drawn(recording, story)
    for kind, x in (("lease", 298), ("commit", 519), ("copy", 741), ("back", 962), ("lost", 1073)):
        assert re.fullmatch(rf"M{x} [\d.]+h1", paths(root, kind)), kind


def test_work_that_is_left_is_a_curve(recording: Recording) -> None:
    """Down to nothing."""
    story = Story(100)
    story.tell(50.0, "commit", 0, 0, 60)
    story.tell(100.0, "commit", 0, 60, 100)
    points = next(drawn(recording, story).iter(f"{TAG}polyline")).get("points", "").split()
    left, middle, right = (float(each.partition(",")[2]) for each in points)
    assert (middle - left, right - left) == (pytest.approx(72), pytest.approx(120))


def test_picture_stays_small(recording: Recording) -> None:
    """300 machines, and 100,000 of what happens."""
    story, chance = Story(100_000), Random(1)
    whats = ["lease", "commit", "copy", "take_back", "close", "join"]
    for number in range(100_000):
        story.tell(number / 1000, chance.choice(whats), chance.randrange(300), number, number + 1)
    assert len(picture(Outcome(recording, Tally(makespan=100, finished=True), 1.0), story)) < 1_000_000


def test_of_very_many_machines_some_are_shown(recording: Recording) -> None:
    """And it says so."""
    story = Story(100)
    for number in range(10 * MOST_BANDS):
        story.tell(1.0, "join", number)
    root = drawn(recording, story, finished=False)
    assert paths(root, "on").count("M") == MOST_BANDS
    title = next(root.iter(f"{TAG}text")).text
    assert title == "office-lab-1: 6000 machines (600 shown), not ended, 0.000 of capacity"


@pytest.mark.parametrize(("name", "head"), [("a.svg", b"<svg "), ("a.png", b"\x89PNG")])
def test_picture_is_written(name: str, head: bytes, tmp_path: Path) -> None:
    """As its name says."""
    assert simulate.main([*SMALL, "--plot", str(tmp_path / name)]) == 0
    assert (tmp_path / name).read_bytes().startswith(head)


def test_what_png_needs_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where it is not installed."""
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    assert simulate.main([*SMALL, "--plot", str(tmp_path / "a.png")]) == 2
    assert (
        capsys.readouterr().err == "--plot: .png needs pip install 'hagoop[plot]'; .svg needs nothing\n"
    )
