"""Which lines are suspect: what failures and deaths say of them, and what commits take back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hagoop.jobs import WorkerId
from hagoop.ranges import Range
from hagoop.suspicion import Death, Histories, History

W = [WorkerId(f"w{number}") for number in range(9)]


def died(*ends: int, chance: float = 0.01, alone: bool = True) -> History:
    """So many workers were lost, each with the lines up to an end in hand."""
    history = History()
    for worker, end in zip(W, ends, strict=False):
        history.died(worker, Death(end, chance, alone))
    return history


def test_each_failure_narrows() -> None:
    """It is one of the lines that all failures share; another range says nothing new."""
    history = History()
    for end in (90, 50, 70):
        history.failed(end, W[0])
    assert (history.suspect_end, history.failed_by) == (50, [W[0]] * 3)


def test_only_failures_on_the_line_alone_count_for_it() -> None:
    """What failed among others may have failed by another."""
    history = History()
    history.failed(9, W[0])
    history.failed_alone(1, W[1])
    history.failed_alone(1, W[1])
    assert (history.failed_by, history.end) == ([W[1], W[1]], 1)


def test_deaths_are_suspect_only_together() -> None:
    """One worker says nothing, however often; two say something, if neither was likely to go."""
    history = died(10)
    history.died(W[0], Death(10, 0.01))
    assert (history.is_deadly, history.suspect_end, history.tried_by) == (False, 0, set())
    history.died(W[1], Death(8, 0.01))
    assert (history.is_deadly, history.suspect_end, history.tried_by) == (True, 8, {W[0], W[1]})


def test_where_many_are_lost_two_at_the_same_lines_say_nothing() -> None:
    """Of two dozen, some are lost where another was; not where each was before that, though."""
    for losses, is_deadly in ((2, True), (7, True), (8, False), (24, False)):
        history = History()
        history.died(W[0], Death(10, 0.03), losses - 1)
        history.died(W[1], Death(8, 0.03), losses)
        assert history.is_deadly is is_deadly


def test_many_losses_hide_no_deadly_line_for_long() -> None:
    """Those at the line itself are no reason to doubt, nor are hundreds elsewhere more than some."""
    history = History()
    for number in range(40):
        history.died(W[number % 4], Death(10, 0.06), number + 1)
        assert history.is_deadly == (number >= 1)
    history = History()
    for number in range(4):
        history.died(W[number], Death(10, 0.03), 500 + number)
    assert history.is_deadly


def test_how_many_were_lost_elsewhere_travels_with_the_lines() -> None:
    """To what is left of them, and to what they are joined with."""
    known = Histories()
    for number in range(2):
        known.at(5).died(W[number], Death(9, 0.03), 20 + number)
    known.move(known.take(Range(5, 6))[0], 7)
    assert not known.at(7).is_deadly
    assert (known.at(7).losses, known.at(7).elsewhere) == (2, 19)
    assert History(losses=1).moved(1).losses == 0


@pytest.mark.parametrize("count", [2, 4, 9, 100])
def test_churn_is_not_a_crash(count: int) -> None:
    """Where workers go all the time, no number of them is a surprise."""
    chances = [(each + 0.5) / count for each in range(count)]
    history = History()
    for number, chance in enumerate(chances):
        history.died(WorkerId(f"w{number}"), Death(1, chance))
    assert not history.is_deadly
    assert not history.killed(0)


def test_what_is_certain_is_certain() -> None:
    """A chance too small for a float is none."""
    assert died(1, 1, 1, 1, chance=0.0).killed(0) == 4


def test_least_surprising_loss_of_a_worker_counts() -> None:
    """It may just be a bad machine."""
    history = died(10, 10, chance=0.01)
    history.died(W[0], Death(10, 0.9))
    assert history.deaths[W[0]].chance == 0.9


@pytest.mark.parametrize(
    ("history", "killed"),
    [
        (died(1, 1, 1, 1), 4),
        (died(1, 1, 1), 0),
        (died(1, 1, 1, 2), 0),
        (died(1, 1, 1, 1, 2), 4),
        (died(1, 1, 1, 1, chance=0.1), 0),
        (died(1, 1, 1, 1, alone=False), 0),
    ],
)
def test_a_line_is_a_killer_when_four_have_died_on_it_alone(history: History, killed: int) -> None:
    """All of them with nothing else in hand, and not by chance."""
    assert history.killed(0) == killed


def test_what_did_well_is_not_suspect() -> None:
    """Suspicion moves on to what is left, with all failures; misses and old deaths do not."""
    history = died(3, 9)
    history.failed(6, W[5])
    history.misses = 2
    moved = history.moved(4)
    assert (moved.end, moved.failed_by, moved.misses, list(moved.deaths)) == (6, [W[5]], 0, [W[1]])
    assert history.moved(9).is_empty
    assert not History(misses=1).is_empty


def test_histories_find_what_concerns_a_position() -> None:
    """Its own head, or the range of the nearest before it."""
    known = Histories()
    known.at(5).failed(9, W[0])
    known.at(20)
    found = [known.concerning(each) for each in (4, 5, 8, 9, 20, 21)]
    assert [each.head if each else None for each in found] == [None, 5, 5, None, 20, None]
    assert [known.after(each) for each in (0, 5, 20)] == [5, 20, None]
    assert (list(known), len(known), known.get(6)) == ([5, 20], 2, None)


@pytest.mark.parametrize(("start", "limit"), [(5, 8), (6, 10), (9, 10)])
def test_half_of_what_is_suspect_is_tried_from_its_head(start: int, limit: int) -> None:
    """Rounded up; from within it, all of it."""
    known = Histories()
    known.at(5).failed(10, W[0])
    found = known.concerning(start)
    assert found is not None
    assert found.limit(start, 99) == limit
    assert found.limit(start, start + 1) == start + 1


def test_nothing_suspect_limits_nothing() -> None:
    """Missed deadlines and single deaths are no reason for small leases."""
    known = Histories()
    known.at(5).misses = 1
    known.at(5).died(W[0], Death(9, 0.01))
    found = known.concerning(5)
    assert found is not None
    assert found.limit(5, 99) == 99


@pytest.mark.parametrize(("end", "deaths", "danger"), [(9, 1, 0), (9, 2, 1), (1, 2, 2)])
def test_what_kills_is_dangerous(end: int, deaths: int, danger: int) -> None:
    """Most of all what cannot be narrowed any more."""
    known = Histories()
    known.move(died(*[end] * deaths), 0)
    found = known.concerning(0)
    assert found is not None
    assert found.danger == danger


def test_failure_inside_a_suspect_range_explains_it() -> None:
    """Its count goes along to the lines that failed."""
    known = Histories()
    known.at(0).failed(100, W[0])
    known.suspect(40).failed(60, W[1])
    assert list(known) == [40]
    assert known.at(40) == History([W[0], W[1]], end=60)


def test_histories_of_the_same_lines_become_one() -> None:
    """One failure may be in both: the longer account counts."""
    known = Histories()
    known.at(40).failed(50, W[0])
    moved = died(70)
    for worker in W[:2]:
        moved.failed(70, worker)
    known.move(moved, 40)
    deaths = {W[0]: Death(70, 0.01)}
    assert known.at(40) == History([W[0], W[1]], end=50, deaths=deaths, losses=1)
    known.move(moved, 70)
    assert list(known) == [40]


@given(st.integers(0, 999), st.integers(1, 1000), st.booleans())
def test_halving_finds_the_line(bad: int, size: int, fails_late: bool) -> None:
    """In at most twice the logarithm of steps, by commits and failures of halves."""
    bad %= size
    known, start, steps = Histories(), 0, 0
    known.at(0).failed(size, W[0])
    while known.at(start).suspect_end - start > 1:
        steps += 1
        found = known.concerning(start)
        assert found is not None
        limit = found.limit(start, size)
        if start <= bad < limit:
            known.suspect(start).failed(limit, W[steps % 9])
        else:
            [history] = known.take(Range(start, limit))
            start = limit
            known.move(history, start)
    assert start == bad
    assert steps <= 2 * size.bit_length()


@pytest.mark.parametrize(("chance", "deadly"), [(0.5, False), (0.2, True), (1.0, False), (0.0, True)])
@pytest.mark.parametrize("lost", [200, 3000])
def test_hundreds_may_be_lost_with_one_line(chance: float, deadly: bool, lost: int) -> None:
    """A large fleet whose machines go by chance is told from a line that ends them."""
    history = History()
    for number in range(lost):
        history.died(WorkerId(f"{number}"), Death(9, chance, alone=True))
    assert (history.is_deadly, history.killed(8) > 0) == (deadly, deadly)
