"""S5 and S6: journals that are cut and flipped, byte by byte.

A cut end is dropped with one line.  Any other damage refuses the start with one sentence, or harms
nothing: what SQLite does not use of its pages has no checksum, and tells nothing.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from damage import LOG, NAME, TOLD, Files, flipped, in_memory, sampled, start, write

HEADER, FRAME = 32, 24 + 4096


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> list[Files]:
    """The files of a journal after each of its commits, and closed."""
    return write(tmp_path_factory.mktemp("damage") / "written")


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Path]:
    """Where damaged files are put."""
    with in_memory(tmp_path) as folder:
        yield folder / "damaged"


@pytest.fixture(params=[pytest.param(True, marks=pytest.mark.full), False], ids=["each byte", "some"])
def each_byte(request: pytest.FixtureRequest) -> bool:
    """Whether each byte is tried, or some."""
    return bool(request.param)


def test_flip_in_the_log_is_refused(lives: list[Files], at: Path, each_byte: bool) -> None:
    """Each byte of it counts, the last commit's too; the sentence has the place, and nothing changes."""
    files = lives[-2]
    for where in sampled(each_byte, 211)(range(len(files[LOG]))):
        damaged = {**files, LOG: flipped(files[LOG], where)}
        found = start(at, damaged)
        frame = (where - HEADER) // FRAME * FRAME + HEADER if where >= HEADER else 0
        assert found.state is None, where
        assert f"is damaged at byte {frame} of {len(files[LOG])}; " in found.refused
        assert (at / LOG).read_bytes() == damaged[LOG]


def test_repair_that_is_told_works(lives: list[Files], at: Path) -> None:
    """What comes before the damage is there again when the log is cut where the sentence says."""
    files = lives[-2]
    damaged = {**files, LOG: flipped(files[LOG], len(files[LOG]) // 2)}
    _, _, cut = start(at, damaged).refused.partition("truncate -s ")
    repaired = start(at, {**damaged, LOG: damaged[LOG][: int(cut.split()[0])]})
    assert repaired.state in [start(at, each).state for each in lives]
    [said] = repaired.said
    assert "are gone, though they were told of" in said


def test_flip_in_the_database_is_refused_or_harmless(
    lives: list[Files], at: Path, each_byte: bool
) -> None:
    """Nothing that is told differs; many flips hit what is used."""
    files = lives[-1]
    assert set(files) == {NAME, TOLD}
    sound = start(at, files)
    refused = 0
    for where in sampled(each_byte, 61)(range(len(files[NAME]))):
        found = start(at, {**files, NAME: flipped(files[NAME], where)})
        assert found.state in (sound.state, None), where
        refused += found.state is None
    assert refused > 15


def test_flip_in_the_told_number_harms_nothing(lives: list[Files], at: Path) -> None:
    """It only helps to find damage."""
    for files in lives[-2:]:
        sound = start(at, files)
        assert sound.said == ()
        for where in range(len(files[TOLD])):
            assert start(at, {**files, TOLD: flipped(files[TOLD], where)}) == sound


@pytest.mark.parametrize("told", [True, False], ids=["told", "power cut"])
def test_cut_end_is_dropped_with_a_line(
    lives: list[Files], at: Path, each_byte: bool, told: bool
) -> None:
    """Cut at any byte of the last three commits: an earlier state, and one line that says so."""
    files, states = lives[-2], [start(at, each).state for each in lives[:-1]]
    ends = [len(each[LOG]) for each in lives[:-1]]
    for cut in sampled(each_byte, 307)(range(ends[-4], ends[-1])):
        kept = {LOG: files[LOG][:cut], **({TOLD: files[TOLD]} if told else {})}
        found = start(at, {**files, TOLD: b"", **kept})
        before = max(number for number, end in enumerate(ends) if end <= cut)
        assert found.state == states[before], cut
        if told:
            assert f"byte {cut}: the last {len(ends) - 1 - before} commits" in found.said[0]
        # Nothing shows that there was more where a commit ends and nobody has noted what was told.
        assert len(found.said) == int(told or cut not in ends), (cut, found.said)


def test_cut_database_is_refused_or_whole(lives: list[Files], at: Path, each_byte: bool) -> None:
    """Never a crash, and never less than there was."""
    for files in lives[-2:]:
        sound = start(at, files).state
        end = len(files[NAME])
        for cut in sampled(each_byte, 199)(range(end - 2 * 4096, end)):
            assert start(at, {**files, NAME: files[NAME][:cut]}).state in (sound, None)


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ([LOG], "is missing or empty; restore that file, or give up what it held: rm "),
        ([NAME], "is missing or empty; restore it from a backup, or start empty: rm "),
    ],
)
def test_missing_file_is_refused(lives: list[Files], at: Path, gone: list[str], said: str) -> None:
    """A journal without its log, or a log without its journal, is not taken for all there was."""
    files = {name: data for name, data in lives[-2].items() if name not in gone}
    assert said in start(at, files).refused
    without = {name: data for name, data in files.items() if name != TOLD}
    assert start(at, without).state is not None


def test_older_journal_is_refused_until_that_is_wanted(lives: list[Files], at: Path) -> None:
    """A closed copy of yesterday beside what was told today: someone must say that it is meant."""
    older = {**lives[-1], TOLD: lives[-1][TOLD]}
    newer = write(at.parent / "more", commits=9)[-1]
    found = start(at, {**older, TOLD: newer[TOLD]})
    assert "ends with commit " in found.refused
    assert start(at, older).state is not None


def test_journal_of_an_older_version_goes_on(lives: list[Files], at: Path) -> None:
    """There was no number of commits in it, and nothing was told beside it."""
    start(at, lives[-1])
    with sqlite3.connect(at / NAME) as db:
        db.execute("DELETE FROM meta WHERE key = 'commits'")
    db.close()
    older = {NAME: (at / NAME).read_bytes()}
    assert start(at, older).state == start(at, lives[-1]).state
