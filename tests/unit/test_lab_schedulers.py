"""Schedulers in the lab: they end, they are judged rightly, and twice the same is the same."""

import json
import os
import subprocess
import sys
from math import inf

import pytest
from attrs import evolve
from zope.interface.verify import verifyObject

from hagoop.lab.contender import Grant, IContender, INetwork
from hagoop.lab.finding import Drawing, find
from hagoop.lab.lives import Life, Recording, Stay
from hagoop.lab.schedulers import PRODUCT, SCHEDULERS
from hagoop.lab.trial import GivenOut, try_out
from hagoop.lab.work import Work
from hagoop.lab.world import World

ENDLESS = {"guided", "original"}


def fleet(*lives: Life, work: float = 10.0) -> Recording:
    """A fleet with so much work, 1,000 lines for each second of it."""
    lines = round(1000 * work)
    lives = tuple(_named(number, each) for number, each in enumerate(lives))
    return Recording("small", 0, Work([(0, 0), (lines, work)]), 5.0, 0.01, 60.0, {}, lives)


def _named(number: int, each: Life) -> Life:
    """No two machines have an identity in common."""
    return evolve(each, stays=tuple(evolve(stay, identity=f"{number}") for stay in each.stays))


def life(*stays: tuple[float, float, str], kind: str = "ok", speed: float = 1.0) -> Life:
    """A machine of the network next door."""
    return Life(kind, speed, 0.002, 0.01, 0.0, tuple(Stay("a", *each) for each in stays))


STEADY = life((0, inf, "close"))


@pytest.mark.parametrize("name", sorted(SCHEDULERS.keys() - {PRODUCT}))
def test_schedulers_are_contenders(name: str) -> None:
    """All of what they must have."""
    assert verifyObject(IContender, World(fleet(STEADY), SCHEDULERS[name]).contender)


def test_world_is_a_network() -> None:
    """All that schedulers may say."""
    assert verifyObject(INetwork, World(fleet(STEADY), SCHEDULERS[PRODUCT]))


@pytest.mark.parametrize("name", SCHEDULERS)
def test_work_is_done_once(name: str) -> None:
    """With machines that last, nothing is wasted but what is copied."""
    outcome = try_out(fleet(STEADY, STEADY), SCHEDULERS[name])
    assert outcome.tally.finished
    assert outcome.tally.useful == pytest.approx(10)
    assert 5 <= outcome.tally.makespan < 60
    assert outcome.tail_seconds is not None
    assert 0 <= outcome.tail_seconds < outcome.tally.makespan


@pytest.mark.parametrize("name", sorted(SCHEDULERS.keys() - ENDLESS))
@pytest.mark.parametrize("how", ["close", "silent", "hang"])
def test_what_a_lost_machine_held_is_done_by_others(name: str, how: str) -> None:
    """However it goes."""
    outcome = try_out(fleet(STEADY, life((0, 2.5, how)), work=6), SCHEDULERS[name])
    assert outcome.tally.finished
    assert outcome.tally.useful == pytest.approx(6)


@pytest.mark.parametrize("name", sorted(SCHEDULERS.keys() - ENDLESS))
@pytest.mark.parametrize("kind", ["bad", "evil"])
def test_machines_that_are_no_good_do_not_stop_it(name: str, kind: str) -> None:
    """One takes work and closes, another takes it and is silent."""
    outcome = try_out(fleet(STEADY, life((0, inf, "close"), kind=kind)), SCHEDULERS[name])
    assert outcome.tally.finished


@pytest.mark.parametrize("name", SCHEDULERS)
def test_what_nobody_can_end_stops_at_the_horizon(name: str) -> None:
    """It has not ended, and counts as nothing."""
    outcome = try_out(fleet(life((0, 3, "close"))), SCHEDULERS[name])
    assert not outcome.tally.finished
    assert outcome.tally.makespan <= 60
    assert outcome.efficiency == 0


def test_the_original_throws_out_whom_it_trusts() -> None:
    """Jobs grow with experience until they take longer than its deadline."""
    assert not try_out(
        fleet(life((0, inf, "close"), speed=0.2), work=30), SCHEDULERS["original"]
    ).tally.finished


def test_copies_are_made_of_what_is_slow() -> None:
    """LATE lets a fast machine copy what a slow one will not end soon."""
    lives = [STEADY, *[life((0, inf, "close"), speed=2)] * 10, life((0, inf, "close"), speed=0.02)]
    outcome = try_out(fleet(*lives, work=60), SCHEDULERS["late"])
    assert outcome.tally.copies
    assert outcome.tally.makespan < 40


def test_programs_that_are_started_for_each_job_cost_more() -> None:
    """``--program spawn``."""
    warm, spawn = (try_out(fleet(STEADY), SCHEDULERS["late"], spawns=each) for each in (False, True))
    assert warm.tally.makespan < spawn.tally.makespan


def test_all_lines_are_given_out_when_the_last_gap_is_closed() -> None:
    """Overlaps and order do not matter."""
    given = GivenOut(10)
    for time, (what, start, end) in enumerate(
        [
            ("lease", 5, 8),
            ("lease", 0, 3),
            ("commit", 3, 5),
            ("copy", 6, 9),
            ("lease", 9, 10),
            ("lease", 2, 6),
        ]
    ):
        assert given.whole_at is None
        given.tell(time, what, 0, start, end)
    assert given.whole_at == 5
    given.tell(9, "lease", 0, 0, 10)
    assert given.whole_at == 5


def test_grants_of_baselines_are_whole_jobs() -> None:
    """What they commit, they commit at its end."""
    told: list[Grant] = []
    world = World(fleet(STEADY), SCHEDULERS["fixed"])
    world.contender.begin(10_000)
    kept = world.grant

    def grant(session: int, given: Grant, *, copy: bool = False) -> None:
        told.append(given)
        kept(session, given, copy=copy)

    world.contender.network = type(
        "Network", (), {"grant": staticmethod(grant), "now": world.now, "cancel": world.cancel}
    )  # type: ignore[attr-defined]
    world.run()
    assert told
    assert all(each.whole for each in told)


def test_another_process_comes_to_the_same() -> None:
    """Whatever its hashes are."""
    words = [
        sys.executable,
        "-m",
        "hagoop.simulate",
        "hostile",
        "--seed=5",
        "--workers=15",
        "--seconds=15",
    ]
    outputs = {
        subprocess.run(
            [*words, "--json"],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=100,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert json.loads(outputs.pop())["finished"]


def test_drawn_fleets_end() -> None:
    """A small one of each kind that is not made to be terrible."""
    for kind in ("office-lab", "spot", "hostile"):
        recording = find(kind, Drawing(seed=2, workers=12, seconds=10))
        assert try_out(recording, SCHEDULERS[PRODUCT]).tally.finished
