"""Each checker names what was planted for it, and nothing in what is sound."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from invariants import main
from planted import ANSWER, Doctored, sha, sound
from story import read_story

LINE = f"hagoop1:host:9470/{'p' * 43}.c12.{'s' * 43}"


def lost_submit(made: Doctored) -> None:
    made.tell("run", "input", "--detach", request="r2")


def shown_and_lost(made: Doctored) -> None:
    made.tell("list", "--json", seen=(("r7", "running"),))


def two_ends(made: Doctored) -> None:
    made.end("failed")


def other_end(made: Doctored) -> None:
    made.tell("status", "r1", "--json", seen=(("r1", "failed"),))


def submitted_twice(made: Doctored) -> None:
    made.record("submitted", {"owner": "", "key": "k1"}, "r2")


def another_answer(made: Doctored) -> None:
    made.tell("answer", "r1", request="r1", answer=sha(b"a\nb\n"))


def answer_of_two(made: Doctored) -> None:
    for _ in range(2):
        made.tell("run", "input", answer=sha(ANSWER))


def committed_twice(made: Doctored) -> None:
    made.commit(1, 3, "2-2")


def lost_job(made: Doctored) -> None:
    made.execute("DELETE FROM history WHERE body LIKE '%\"1-2\"%'")


def lost_last_job(made: Doctored) -> None:
    made.execute("DELETE FROM history WHERE body LIKE '%\"2-1\"%'")


def no_epoch_check(made: Doctored) -> None:
    made.commit(2, 3, "1-7")


def lease_of_the_future(made: Doctored) -> None:
    made.commit(3, 4, "9-1")


def false_answer(made: Doctored) -> None:
    path = made.folder / "other"
    path.write_bytes(b"a\n")
    made.tell("answer", "--output", "other", status=1, answer=sha(b"a\n"), output=str(path))


def false_success(made: Doctored) -> None:
    folder = made.folder / "parts"
    folder.mkdir()
    (folder / "_SUCCESS").touch()
    made.tell("answer", "--output", "parts/", status=1, answer=sha(b""), output=str(folder))


def no_answer(made: Doctored) -> None:
    made.tell("run", "input", "--output", "none", output=str(made.folder / "none"))


def wrong_digest(made: Doctored) -> None:
    made.keep(ANSWER.replace(b"b", b"B"))


def missing_part(made: Doctored) -> None:
    made.keep(ANSWER[:4])


def leaked_file(made: Doctored) -> None:
    path = made.state / "spool/requests/r1/run-7"
    path.write_bytes(b"left")


def leaked_folder(made: Doctored) -> None:
    (made.state / "spool/requests/r3.runs").mkdir()


def line_in_log(made: Doctored) -> None:
    path = made.folder / "log"
    path.write_text(f"2026-01-01 a worker joined with {LINE}\n")
    made.story.logs.append(path)


def canary_in_log(made: Doctored) -> None:
    path = made.folder / "log"
    path.write_text("the environment is PASSWORD=canary-7\n")
    made.story.logs.append(path)
    made.story.canaries.append("canary-7")


def unknown_client(made: Doctored) -> None:
    cancelled = {"event": "cancelled", "secret": "c2", "request": "r1"}
    audited(made, {"event": "joined", "secret": "c1"}, cancelled)


def not_its_own(made: Doctored) -> None:
    joined = [{"event": "joined", "secret": each} for each in ("c1", "c2")]
    done = [("submitted", "c1"), ("forgot", "c2")]
    audited(made, *joined, *({"event": what, "secret": by, "request": "r1"} for what, by in done))


def unaudited(made: Doctored) -> None:
    audited(made)
    made.record("submitted", {"owner": "c1", "key": "k2"}, "r2")


def audited(made: Doctored, *lines: dict[str, str]) -> None:
    (made.state / "audit.log").write_text("".join(json.dumps(each) + "\n" for each in lines))


PLANTED = {
    "I1": [lost_submit, shown_and_lost, two_ends, other_end, submitted_twice],
    "I2": [another_answer, answer_of_two],
    "I4": [committed_twice, lost_job, lost_last_job],
    "I5": [no_epoch_check, lease_of_the_future],
    "I7": [false_answer, false_success, no_answer, wrong_digest, missing_part],
    "I8": [leaked_file, leaked_folder],
    "I9": [line_in_log, canary_in_log, unknown_client, not_its_own, unaudited],
}
CASES = [pytest.param(name, each, id=each.__name__) for name, all_ in PLANTED.items() for each in all_]


def test_sound_state_breaks_nothing(tmp_path: Path) -> None:
    """The checkers have no false alarms."""
    assert sound(tmp_path).broken == []


@pytest.mark.parametrize(("name", "plant"), CASES)
def test_planted_bug_is_named(tmp_path: Path, name: str, plant: Callable[[Doctored], None]) -> None:
    """By its invariant."""
    made = sound(tmp_path)
    plant(made)
    assert name in {each.partition(":")[0] for each in made.broken}


def test_program_reads_what_was_written_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """State and story are enough for it; it tells by its exit status too."""
    made = sound(tmp_path)
    made.story.write()
    assert read_story(made.story.path).told == made.story.told
    assert main([str(made.state), str(made.story.path)]) == 0
    canary_in_log(made)
    lost_submit(made)
    made.story.write()
    assert main([str(made.state), str(made.story.path)]) == 1
    said = capsys.readouterr().out
    assert "I1: r2 was acknowledged, and the journal does not know it" in said
    assert "I9: " in said
    assert main([str(tmp_path)]) == 2


def test_nothing_of_the_product_is_imported() -> None:
    """What is checked is not used to check it."""
    names = ("invariants", "history", "story")
    sources = [Path(sys.modules[each].__file__ or "").read_text() for each in names]
    assert not [each for each in sources if "import hagoop" in each or "from hagoop" in each]
