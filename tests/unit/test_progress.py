"""One phase's account: each position is untouched, leased or committed, and cut by the rules."""

import pytest

from hagoop.errors import LedgerError
from hagoop.jobs import AssignmentId, Output, Phase, WorkerId
from hagoop.progress import MOST_COMBINED_PIECES, MOST_PIECES, Progress, Scale, Stretch
from hagoop.ranges import Range
from hagoop.suspicion import Suspicion

ONE, TWO = AssignmentId("1-1"), AssignmentId("1-2")


def counted(lines: int, breaks: tuple[int, ...] = (0,)) -> Progress:
    progress = Progress(Phase.MAP)
    progress.grow(lines, lines, breaks, whole=True)
    return progress


def whatever(_: Suspicion) -> bool:
    return True


def nothing(_: Suspicion) -> bool:
    return False


def stored(start: int, end: int) -> Output:
    return Output(start, end, "d", None)


def test_lines_weigh_one_each() -> None:
    """In map a position is a line."""
    assert Scale().weight(3, 10) == 7
    assert Scale().advance(3, 5) == 8
    assert Scale().advance(3, 0) == 4


def test_cells_weigh_what_they_hold() -> None:
    """In reduce a position is a cell of some bytes; a cut takes at least one."""
    scale = Scale((0, 10, 11, 50, 60))
    assert scale.weight(1, 3) == 40
    assert scale.advance(0, 5) == 1
    assert scale.advance(0, 10) == 1
    assert scale.advance(0, 12) == 3
    assert scale.advance(3, 1000) == 4


def test_cut_takes_the_lowest_lines() -> None:
    """As many as asked for, or all that are there."""
    progress = counted(100)
    assert progress.cut(10, whatever) == Range(0, 10)
    assert progress.cut(1000, whatever) == Range(0, 100)
    progress.lease(Range(0, 10), ONE)
    assert progress.cut(10, whatever) == Range(10, 20)


def test_nothing_is_cut_from_nothing() -> None:
    """All is leased."""
    progress = counted(10)
    progress.lease(Range(0, 10), ONE)
    assert progress.cut(1, whatever) is None


def test_cut_ends_before_a_head_with_a_history() -> None:
    """What failed stays visible: it is never buried inside a larger range."""
    progress = counted(100)
    progress.history(5).failed_by.append(WorkerId("w1"))
    assert progress.cut(50, whatever) == Range(0, 5)
    progress.lease(Range(0, 5), ONE)
    assert progress.cut(50, whatever) == Range(5, 55)


def test_refused_head_is_left_to_others() -> None:
    """Who failed there gets what lies beyond the next head, or nothing."""
    progress = counted(100)
    progress.history(0)
    assert progress.cut(50, nothing) is None
    progress.history(30)
    progress.lease(Range(30, 40), ONE)
    assert progress.cut(50, nothing) == Range(40, 90)


def test_merge_is_cut_group_by_group() -> None:
    """However much a worker could take, one group of runs is one merge."""
    progress = Progress(Phase.MERGE, 0, Scale((0, 5, 10)))
    progress.grow(2, 0, (), whole=True)
    assert progress.cut(1000, whatever) == Range(0, 1)


def test_cut_touches_a_bounded_number_of_files() -> None:
    """Each file is a run of the program of its own."""
    many = 3 * MOST_PIECES
    progress = counted(many, tuple(range(many)))
    assert progress.cut(many, whatever) == Range(0, MOST_PIECES)
    progress.lease(Range(0, many - 5), ONE)
    assert progress.cut(many, whatever) == Range(many - 5, many)


def test_run_over_several_files_touches_more_of_them() -> None:
    """They are one run of the program."""
    many = 3 * MOST_PIECES
    progress = Progress(Phase.MAP, most_pieces=MOST_COMBINED_PIECES)
    progress.grow(many, many, range(many), whole=True)
    assert progress.cut(many, whatever) == Range(0, many)


def whole_files(lines: int, *breaks: int, whole: bool = True) -> Progress:
    progress = Progress(Phase.MAP, whole_jobs=True)
    progress.grow(lines, lines, breaks, whole=whole)
    return progress


def test_whole_files_are_cut_at_their_ends() -> None:
    """As many as fit the weight, and one at least."""
    progress = whole_files(100, 0, 10, 20, 90)
    assert progress.cut(1, whatever) == Range(0, 10)
    assert progress.cut(25, whatever) == Range(0, 20)
    assert progress.cut(1000, whatever) == Range(0, 100)
    progress.lease(Range(0, 20), ONE)
    assert progress.cut(1, whatever) == Range(20, 90)


def test_file_that_is_being_counted_is_not_leased_whole() -> None:
    """Its end is not known; where the next one begins, it is."""
    progress = whole_files(15, 0, 10, whole=False)
    assert progress.cut(1000, whatever) == Range(0, 10)
    progress.lease(Range(0, 10), ONE)
    assert progress.cut(1000, whatever) is None
    progress.grow(20, 20, (0, 10), whole=False)
    assert progress.cut(1000, whatever) is None
    progress.grow(21, 21, (0, 10, 20), whole=False)
    assert progress.cut(1000, whatever) == Range(10, 20)
    progress.grow(21, 21, (0, 10, 20), whole=True)
    assert progress.cut(1000, whatever) == Range(10, 21)


def test_whole_files_end_before_a_head_with_a_history() -> None:
    """As lines do; who is refused there gets what follows."""
    progress = whole_files(30, 0, 10, 20)
    progress.history(10)
    assert progress.cut(1000, whatever) == Range(0, 10)
    progress.lease(Range(0, 10), ONE)
    assert progress.cut(1000, nothing) is None
    progress.history(20)
    progress.lease(Range(10, 20), TWO)
    assert progress.cut(1000, whatever) == Range(20, 30)


def test_part_of_a_file_is_no_whole_job() -> None:
    """Whoever sends it; elsewhere any range may be a job."""
    progress = whole_files(30, 0, 10)
    assert progress.is_open(Range(0, 10))
    assert progress.is_open(Range(10, 30))
    assert not progress.is_open(Range(0, 9))
    assert not progress.is_open(Range(1, 10))
    assert not progress.is_open(Range(10, 29))
    assert counted(30).is_open(Range(3, 7))
    assert not Progress(Phase.MAP, whole_jobs=True).is_open(Range(0, 1))


def test_all_keys_are_one_whole_job() -> None:
    """In reduce a position is a whole job by itself."""
    progress = Progress(Phase.REDUCE, 0, Scale((0, 50)), whole_jobs=True)
    progress.grow(1, 0, (), whole=True)
    assert progress.cut(1, whatever) == Range(0, 1)


def test_what_is_not_counted_yet_is_estimated() -> None:
    """The policy plans with all that will come."""
    progress = Progress(Phase.MAP)
    progress.grow(10, 1000, (0,), whole=False)
    assert (progress.left, progress.weight, progress.weight_committed) == (1000, 1000, 0)
    stretch = progress.lease(Range(0, 4), ONE)
    progress.commit(stretch, Range(0, 4))
    assert (progress.left, progress.weight_committed) == (996, 4)
    progress.grow(20, 15, (0,), whole=True)
    assert (progress.left, progress.weight, progress.finished) == (16, 20, False)


def test_phase_ends_when_all_is_on_disk() -> None:
    """A commit that is not stored yet may still be lost with the server."""
    progress = counted(4)
    progress.commit(progress.lease(Range(0, 4), ONE), Range(0, 4))
    assert not progress.finished
    progress.stored(stored(0, 4))
    assert progress.finished


def test_phase_does_not_end_before_it_is_counted() -> None:
    """More lines may come."""
    progress = Progress(Phase.MAP)
    progress.grow(0, 0, (), whole=False)
    assert not progress.finished


def test_outputs_are_kept_in_order_of_positions() -> None:
    """Who was faster does not matter."""
    progress = counted(4)
    for start in (2, 0):
        progress.commit(progress.lease(Range(start, start + 2), ONE), Range(start, start + 2))
        progress.stored(stored(start, start + 2))
    assert [each.start for each in progress.in_order()] == [0, 2]


def test_last_holder_gives_back_what_is_not_committed() -> None:
    """A copy that goes leaves the range to the other; the last one opens it."""
    progress = counted(10)
    stretch = progress.lease(Range(0, 10), ONE)
    progress.copy(stretch, TWO)
    progress.commit(stretch, Range(0, 3))
    progress.release(stretch, ONE)
    assert not progress.untouched
    progress.release(stretch, TWO)
    assert list(progress.untouched) == [Range(3, 10)]
    progress.check()


def test_shortened_stretch_opens_its_end() -> None:
    """Down to its front, which ends it; an end that is none changes nothing."""
    progress = counted(10)
    stretch = progress.lease(Range(0, 10), ONE)
    progress.shorten(stretch, 10)
    assert stretch.end == 10
    progress.shorten(stretch, 6)
    assert list(progress.untouched) == [Range(6, 10)]
    progress.shorten(stretch, 0)
    assert list(progress.untouched) == [Range(0, 10)]
    assert not progress.stretches


def test_commit_ends_the_history_of_its_head() -> None:
    """What is done has no past; also when a forgotten worker did it."""
    progress = counted(10)
    progress.history(0).misses = 2
    progress.history(5).misses = 1
    assert (progress.misses(0), progress.misses(5), progress.misses(7)) == (2, 1, 0)
    progress.commit(progress.lease(Range(0, 5), ONE), Range(0, 5))
    progress.commit_untouched(Range(5, 10))
    assert not progress.histories
    assert progress.pending == 2
    progress.check()


def test_recovery_finds_commits_before_lines_are_counted() -> None:
    """In map the journal is read first, lines are counted again while the request runs."""
    progress = Progress(Phase.MAP)
    for each in (stored(2, 4), stored(6, 9)):
        progress.restore(each)
    for total in (1, 3, 7, 20):
        progress.grow(total, 20, (0,), whole=total == 20)
        progress.check()
    assert list(progress.untouched) == [Range(0, 2), Range(4, 6), Range(9, 20)]
    assert progress.left == 15
    assert [each.start for each in progress.in_order()] == [2, 6]


def test_recovery_finds_commits_of_a_phase_that_is_known() -> None:
    """In reduce all positions are known before."""
    progress = Progress(Phase.REDUCE, 0, Scale((0, 5, 10, 15)))
    progress.grow(3, 0, (), whole=True)
    progress.restore(stored(1, 2))
    assert list(progress.untouched) == [Range(0, 1), Range(2, 3)]
    assert progress.weight_committed == 5


def test_lines_already_counted_do_not_change() -> None:
    """Growing by nothing is nothing."""
    progress = counted(10)
    progress.grow(10, 10, (0,), whole=True)
    assert list(progress.untouched) == [Range(0, 10)]


def test_position_in_two_places_is_our_bug() -> None:
    """An overlap is told with its phase."""
    progress = counted(10)
    progress.stretches[Stretch(3, 5, [ONE])] = None
    with pytest.raises(LedgerError, match=r"map: .* is in the set already"):
        progress.check()


def test_position_in_no_place_is_our_bug() -> None:
    """Lost lines are told."""
    progress = counted(10)
    progress.untouched.take(Range(3, 5))
    with pytest.raises(LedgerError, match="map: 8 of 10 positions accounted for"):
        progress.check()


def test_stretch_that_nobody_holds_is_our_bug() -> None:
    """It would never end."""
    progress = counted(10)
    progress.lease(Range(3, 5), ONE).holders.clear()
    with pytest.raises(LedgerError, match="map: a stretch without a holder or without work"):
        progress.check()
