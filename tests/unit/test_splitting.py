"""How idle workers share what others hold at the end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hagoop.jobs import AssignmentId, SessionId, WorkerId
from hagoop.splitting import Helper, Plan, Running, plan_tail


def running(uncommitted=1000.0, beyond=999.0, speed=10.0, left=None, number=1, **more) -> Running:
    seconds = uncommitted / speed if left is None else left
    return Running(AssignmentId(f"1-{number}"), uncommitted, beyond, speed, seconds, **more)


def helper(number: int, speed: float = 10.0, start: float = 0.0, *, proven: bool = True) -> Helper:
    return Helper(SessionId(number), WorkerId(f"w{number}"), speed, start, proven)


def ends(plan: Plan) -> list[float]:
    return [each.seconds_left for each in plan.parts]


def test_two_equals_take_half_each() -> None:
    """Both end together."""
    [plan] = plan_tail([running()], [helper(1)])
    assert [(each.session, weight) for each, weight in plan.shares] == [(1, 500)]
    assert ends(plan) == [50.0, 50.0]


def test_hundreds_share_one_stretch_in_one_pass() -> None:
    """What is split is split again: by powers of two at least."""
    [plan] = plan_tail([running(100_000, 99_999)], [helper(each) for each in range(255)])
    assert len(plan.parts) == 256
    assert max(ends(plan)) <= 4 * 10_000 / 256


def test_longest_is_helped_first() -> None:
    """By the fastest; what ends soon is left alone."""
    held = [running(10, 9, number=1), running(number=2), running(5, 4, number=3)]
    [plan] = plan_tail(held, [helper(1, 100.0)])
    assert plan.running.id == "1-2"


def test_who_has_proven_itself_goes_before_who_claims_to_be_fast() -> None:
    """Some accept work and hang."""
    held = running(100, 0)
    [plan] = plan_tail([held], [helper(1, 1e6, proven=False), helper(2, 1000.0)])
    assert plan.copier is not None
    assert plan.copier.session == 2


def test_what_cannot_be_cut_is_copied_once() -> None:
    """By one who may, if that ends sooner; no second helper is sent after it."""
    held = running(100, 0, 1.0, barred=frozenset([WorkerId("w2")]))
    [plan] = plan_tail([held], [helper(1), helper(2, 100.0), helper(3)])
    assert (plan.copier is not None and plan.copier.session, len(plan.parts)) == (3, 1)


def test_more_copies_must_gain_more() -> None:
    """A third must end in less than half of the time of the two that go."""
    two = running(100, 0, 1.0, 30.0, holders=2)
    assert plan_tail([two], [helper(1, 10.0)])
    assert not plan_tail([two], [helper(1, 6.0)])


@pytest.mark.parametrize(
    ("held", "idle"),
    [
        (running(), []),
        (running(left=0.01), [helper(1)]),
        (running(left=5.0), [helper(1, start=5.0)]),
        (running(100, 0, may_be_copied=False), [helper(1, 1e6)]),
        (running(100, 0, 10.0), [helper(1, 10.0)]),
    ],
)
def test_nothing_is_done_without_gain(held: Running, idle: list[Helper]) -> None:
    """Nobody idle; nearly done; too slow to start; not to be copied; no faster."""
    assert plan_tail([held], idle) == []


FLOATS = st.floats(0.1, 1e6)


@given(
    st.lists(st.tuples(FLOATS, st.floats(0, 1), FLOATS), min_size=1, max_size=5),
    st.lists(st.tuples(FLOATS, st.floats(0, 10), st.booleans()), max_size=20),
)
def test_plans_lose_nothing_and_end_no_later(held, idle) -> None:
    """All weight of a lease is in its parts, nobody helps twice, and nothing ends later than before."""
    leases = [running(w, share * w, speed, number=n) for n, (w, share, speed) in enumerate(held)]
    helpers = [helper(n, speed, start, proven=good) for n, (speed, start, good) in enumerate(idle)]
    plans = plan_tail(leases, helpers)
    sent = [each.session for plan in plans for each, _ in plan.shares]
    sent += [plan.copier.session for plan in plans if plan.copier]
    assert len(sent) == len(set(sent))
    for plan in plans:
        it = plan.running
        assert sum(each.weight for each in plan.parts) == pytest.approx(it.uncommitted)
        assert sum(weight for _, weight in plan.shares) <= it.beyond
        assert max(ends(plan)) <= it.seconds_left
