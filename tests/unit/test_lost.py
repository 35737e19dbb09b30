"""What a journal tells of a request whose runs were lost: what is kept, and what is void."""

import pytest

from hagoop import wire
from hagoop.jobs import Output, Phase, Place, RequestId
from hagoop.phases import CUT_ROUNDS, round_of
from hagoop.recovery import Story


def place(number: int) -> Place:
    return Place(f"requests/r1.runs/run-{number}", 0, 10)


def output(start: int, number: int | None) -> Output:
    return Output(start, start + 1, "d", None if number is None else place(number))


def commit(phase: Phase, round_: int, made: Output, step: int = 0) -> dict[str, object]:
    where = {"phase": phase, "round": round_, "step": step}
    return {**where, "output": wire.to_plain(made), "counters": []}


def phase(name: Phase, reads: list[Output], **more: int) -> dict[str, object]:
    return {
        "phase": name,
        "round": 0,
        "cut": 0,
        "step": 0,
        "wanted": name,
        "runs": wire.to_plain(reads),
    } | more


def lost(*places: Place) -> dict[str, object]:
    return {"places": wire.to_plain(places)}


@pytest.fixture
def story() -> Story:
    """A map of three runs, and a line that printed nothing."""
    made = Story(RequestId("r1"), {"submission": {}, "inputs": {"bundles": []}})
    for start, number in enumerate([0, 1, 2, None]):
        made.add("committed", commit(Phase.MAP, 0, output(start, number)))
    return made


def starts(story: Story) -> list[int]:
    """What is kept of the map."""
    assert all(each["phase"] == Phase.MAP for each in story.commits)
    return [each.start for each in story.outputs(Phase.MAP, 0)]


def test_lost_run_of_a_map_is_open_again(story: Story) -> None:
    """All else stays."""
    assert story.needed() == [output(start, number) for start, number in enumerate([0, 1, 2, None])]
    story.add("lost", lost(place(1)))
    assert (starts(story), story.phase, story.losses) == ([0, 2, 3], None, 1)


def test_what_was_reduced_is_void(story: Story) -> None:
    """Other runs are cut in another way: keys of that number are others."""
    reads = [output(start, start) for start in range(3)]
    story.add("phase", phase(Phase.REDUCE, reads))
    story.add("committed", commit(Phase.REDUCE, 0, output(0, 7)))
    assert story.needed() == [*reads, output(0, 7)]
    story.add("lost", lost(place(7)))
    assert (starts(story), story.phase, story.cut) == ([0, 1, 2, 3], None, 1)


def test_runs_that_were_merged_are_gone(story: Story) -> None:
    """Their lines are mapped again, for the run that was made of them is of no use alone."""
    story.add("phase", phase(Phase.MERGE, [output(start, start) for start in range(3)]))
    story.add("committed", commit(Phase.MERGE, 0, output(0, 8)))
    story.add("phase", phase(Phase.REDUCE, [output(0, 8), output(2, 2)], round=1))
    assert story.needed() == [output(0, 8), output(2, 2)]
    story.add("lost", lost(place(8)))
    assert (starts(story), story.round) == ([2, 3], 1)


def test_later_step_begins_with_the_first(story: Story) -> None:
    """What the first has read is the only thing that is still there."""
    story.add("phase", phase(Phase.MAP, [output(0, 5)], step=1))
    story.add("committed", commit(Phase.MAP, 1, output(0, 6), step=1))
    story.add("bad", commit(Phase.MAP, 1, output(1, None), step=1))
    story.add("bad", commit(Phase.MAP, 0, output(4, None)))
    story.add("lost", lost(place(6)))
    assert starts(story) == [3, 4]
    assert story.step == 0


def test_rounds_of_another_cut_are_others() -> None:
    """What a worker still holds of before is void; lines are the same lines always."""
    phases = (Phase.MERGE, Phase.REDUCE, Phase.SORT)
    assert [round_of(each, 2, 5, 0) for each in phases] == [5, 2, 2]
    assert [round_of(each, 2, 5, 1) for each in phases] == [
        CUT_ROUNDS + 5,
        CUT_ROUNDS + 2,
        CUT_ROUNDS + 2,
    ]
    assert round_of(Phase.MAP, 2, 5, 1) == 2
