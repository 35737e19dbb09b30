"""The promise: the bytes of the answer, whoever joined, died, hung, came back or answered late."""

import json
import os

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from world.machines import Temper
from world.programs import MAPPERS, REDUCERS, TOTAL, Step, Task
from world.scenario import Scenario, World

from hagoop.enough import ALL
from hagoop.jobs import RequestId
from hagoop.keys import Order
from hagoop.recovery import read_stories

EXAMPLES = int(os.environ.get("HAGOOP_PROMISE_EXAMPLES", "60"))
"""How many worlds are tried; a night's worth is some thousands."""
LONG = b"long" * 300
LINES = [
    b"", b"\t", b"a", b"a\t1", b"a\t2", b"a\t\t", b"a b a c", b"a\x01", b"a\x01\tx", b"a\x00\t1",
    b"\x00", b"b\r", b"\xff\xfe\tq", b"\xc3", b" ", b"hot\t1", b"hot\t2", b"hot\t3", b"hot", b"z" * 50,
    LONG, LONG + b"\tv", LONG + b"x\tv", LONG + b"\x01\tv", b"k\t" + LONG, b"hot\t" + LONG,
    b"a\t" + LONG, b"a\x00\t" + LONG,
]  # fmt: skip
KINDS = ["die", "hang", "stall", "link", "leave", "rest", "fail", "skip", "damage", "again", "late"]


@st.composite
def files(draw):
    """Some files: empty ones, some without a last newline, lines that come again and again."""
    line = st.sampled_from(LINES) | st.binary(max_size=6).map(lambda data: data.replace(b"\n", b""))
    pool = draw(st.lists(line, min_size=1, max_size=12))
    made = []
    for number in range(draw(st.integers(0, 3))):
        lines = draw(st.lists(st.sampled_from(pool), max_size=40))
        data = b"".join(each + b"\n" for each in lines)
        made.append((f"file-{number}", data[:-1] if draw(st.booleans()) else data))
    return tuple(made)


ORDERS = [
    Order.BY_KEY, Order.BY_KEY, Order(2), Order(1, b" "), Order(3, b"o"), Order(1, by_value=True),
    Order(2, b"a", by_value=True),
]  # fmt: skip


@st.composite
def steps(draw):
    """The programs of a step; without a reducer nothing is sorted."""
    mapper = draw(st.sampled_from([TOTAL, *MAPPERS]))
    reducer = draw(st.sampled_from([None, TOTAL, *REDUCERS]))
    combine = draw(st.booleans())
    if reducer is None:
        return Step(mapper, combine=combine)
    order = draw(st.sampled_from(ORDERS))
    # It joins what has the same key by TAB, and sorted it would be joined otherwise.
    combines = reducer == "join" and order == Order.BY_KEY
    combiner = draw(st.sampled_from([None, "join"])) if combines else None
    return Step(mapper, reducer, combiner, order, combine)


@st.composite
def tasks(draw):
    """A request."""
    most = draw(st.sampled_from([1, 1, 2, 3]))
    made = tuple(draw(st.lists(steps(), min_size=most, max_size=most)))
    enough = draw(st.sampled_from([ALL, ALL, 900_000, 500_000, 1]))
    return Task(draw(files()), made, draw(st.integers(0, 9)) == 9, enough)


tempers = st.builds(
    Temper,
    seconds=st.sampled_from([0.02, 0.2, 2.0]),
    slots=st.integers(1, 3),
    delay=st.sampled_from([0.0, 0.01, 0.5]),
    trouble=st.sampled_from([0.0, 0.05, 0.2, 0.4]),
    kinds=st.sets(st.sampled_from(KINDS)).map(lambda kinds: tuple(sorted(kinds))),
)
goods = st.builds(
    Temper,
    seconds=st.sampled_from([0.02, 0.2, 4.0]),
    slots=st.integers(1, 2),
    delay=st.sampled_from([0.01, 1.5]),
    trouble=st.just(0.0),
    kinds=st.just(()),
)
scenarios = st.builds(
    Scenario,
    tasks=st.lists(tasks(), min_size=1, max_size=2).map(tuple),
    tempers=st.lists(tempers, max_size=4).map(tuple),
    seed=st.integers(0, 2**32),
    most_runs=st.integers(2, 4),
    crashes=st.integers(0, 3),
    trouble_seconds=st.sampled_from([3.0, 20.0]),
    fullness=st.sampled_from([0.0, 0.0, 0.2]),
    steady=st.booleans(),
    in_turn=st.booleans(),
    good=goods,
    leavers=st.sampled_from([0.0, 0.5, 1.0]),
    partials=st.sampled_from([0.0, 0.0, 0.5]),
)


@settings(max_examples=EXAMPLES)
@given(scenarios)
def test_answer_is_what_a_pipeline_would_print_whatever_happens(scenario):
    """Byte for byte, counted once, ended once, and nothing is left behind."""
    world = World(scenario)
    world.run()
    note(str(world.counts))


BAD = Temper(seconds=0.2, slots=2, delay=0.01, trouble=0.1, kinds=tuple(KINDS))
MANY = tuple((f"file-{number}", b"".join(b"k%d\tv\n" % n for n in range(50))) for number in range(4))


def whole(task, seed):
    """A world with bad machines and a crash, in which this is computed."""
    return World(Scenario((task,), (BAD, BAD), seed, crashes=1, trouble_seconds=5.0))


@pytest.mark.parametrize("seed", range(3))
def test_reducer_with_a_total_runs_once_over_all_keys(seed):
    """Whatever happens, and also when runs were merged before."""
    whole(Task(MANY, (Step(None, TOTAL),)), seed).run()


@pytest.mark.parametrize("seed", range(3))
def test_mapper_with_a_total_runs_once_per_file(seed):
    """Whatever happens; also where lines are counted while it runs."""
    whole(Task(MANY, (Step(TOTAL, "echo"),)), seed).run()


@pytest.mark.parametrize("seed", range(3))
def test_lines_of_several_files_are_mapped_by_one_run(seed):
    """Also where a file's last line has no newline."""
    files = tuple((name, data[:-1]) for name, data in MANY)
    whole(Task(files, (Step("swap", "echo", combine=True),)), seed).run()


def test_number_of_a_forgotten_request_is_not_given_again_after_a_restart():
    """Late commits for the old request would count for the new one."""
    world = World(Scenario((Task(()), Task(())), (), seed=0, in_turn=True))
    while not world.settled:
        world.step()
    world.drain()
    world.crash()
    world.run()
    assert world.requests == {0: "r1", 1: "r2"}


def test_runs_of_a_request_that_ended_just_before_a_crash_are_cleared():
    """The end was on disk, and nothing after it was done."""
    world = World(Scenario((Task((("a", b"x\ny\n"),), (Step(None, "echo"),)),), (), seed=0, steady=True))
    while not world.disk.ends:
        world.step()
    assert "r1.runs" in world.disk.spool.shelves
    world.crash()
    world.drain()
    assert set(world.disk.spool.shelves) == {"r1"}
    assert {stream for stream, _, _ in world.disk.memory.facts} == {"r1"}


def step_until(world, condition):
    """Let happen what happens, for a while."""
    while not condition():
        assert world.clock.seconds() < 100
        world.step()


def begun(world, step, phase):
    """Whether the disk says that a phase of a step has begun."""
    facts = [json.loads(body) for _, kind, body in world.disk.memory.facts if kind == "phase"]
    return any((each["step"], each["phase"]) == (step, phase) for each in facts)


def closings(world):
    """What the disk says was left out of maps."""
    facts = [json.loads(body) for _, kind, body in world.disk.memory.facts if kind == "closed"]
    return [each["missing"] for each in facts]


@pytest.mark.parametrize("steps", [(Step("words"),), (Step("words", "join"),), (Step("words"), Step())])
@pytest.mark.parametrize("known", [False, True])
def test_server_that_crashes_at_the_closing_of_a_map_closes_it_once(steps, known):
    """Before what is left out is on disk, when nobody knows it; and after, when it stays what it is."""
    task = Task((("a", LETTERS),), steps, good_enough=1)
    world = World(Scenario((task,), (), seed=1, steady=True))
    step_until(world, lambda: world.requests)
    account = world.server.ledger.requests["r1"]
    step_until(world, lambda: closings(world) if known else account.left_out)
    before = closings(world)
    assert len(before) == known
    world.crash()
    step_until(world, lambda: world.disk.ends)
    [after] = closings(world)
    assert after
    assert not known or [after] == before
    world.run()


def test_partial_answers_do_not_outlive_a_crash_but_for_their_numbers():
    """What they read may be gone; who waits for one asks again."""
    task = Task((("a", LETTERS),), (Step("words", "echo"),))
    world = World(Scenario((task,), (), seed=1, steady=True, partials=1.0))
    step_until(world, lambda: "r2" in world.server.docket.data)
    world.crash()
    assert set(world.server.docket.data) == {"r1"}
    world.drain()
    facts = [(stream, kind) for stream, kind, _ in world.disk.memory.facts if stream != "r1"]
    # That of the one that was lost, or of a later one: whoever asked may have asked again by now.
    assert facts in [[(f"r{number}.gone", "forgotten")] for number in range(2, 9)]
    world.run()


def test_nothing_in_the_spool_is_of_a_partial_answer_after_a_restart():
    """Its story is that of a request that was forgotten."""
    rows = [("r2", "submitted", {"partial_of": "r1"}), ("r2.runs", "committed", {"phase": "reduce"})]
    [story] = read_stories(rows)
    assert (story.shelves, story.places, story.programs) == ([], [], [])


LETTERS = b"".join(b"%d a\tb %d\n" % (number % 7, number) for number in range(40))
THREE = (Step("words", "join"), Step("thin", "twice", order=Order(2)), Step(None, "echo"))


@pytest.mark.parametrize("phase", ["map", "reduce"])
@pytest.mark.parametrize("steps", [1, 2])
def test_server_that_crashes_in_a_later_step_goes_on_there(steps, phase):
    """Just begun, with nothing but what the journal names; what the step has read is gone in time."""
    world = World(Scenario((Task((("a", LETTERS),), THREE),), (), seed=1, steady=True))
    step_until(world, lambda: begun(world, steps, phase))
    world.crash()
    account = world.server.ledger.requests["r1"]
    status = world.server.docket.status(account)
    assert (status.step, status.steps, status.phase) == (steps + 1, 3, phase)
    assert account.program == account.submission.step(steps)
    world.run()


@pytest.mark.parametrize("memory", [100, 3000])
@pytest.mark.parametrize("crashes", [0, 2])
def test_indexes_for_which_there_is_no_memory_are_read_again_and_thinned(monkeypatch, memory, crashes):
    """By a server that crashes too: its next life cuts at the same keys."""
    monkeypatch.setattr("hagoop.run_indexes.MOST_BYTES", memory)
    text = b"".join(b"%d a\tb %d\n" % (number % 97, number) for number in range(300))
    world = World(
        Scenario((Task((("a", text),), THREE),), (), seed=1, steady=True, crashes=crashes, most_runs=4)
    )
    step_until(world, lambda: begun(world, 1, "reduce"))
    thin = world.server.docket.data["r1"].thin
    world.crash()
    monkeypatch.setattr("hagoop.run_indexes.MOST_BYTES", 10 * memory)
    assert world.server.docket.data["r1"].thin == thin
    assert (thin > 1) == (memory == 100)
    world.run()


def test_what_a_step_has_read_is_dropped_when_the_next_phase_begins():
    """The spool holds what is still to be read, and no more."""
    world = World(Scenario((Task((("a", LETTERS),), THREE),), (), seed=1, steady=True))
    step_until(world, lambda: begun(world, 1, "map"))
    data = world.server.docket.data["r1"]
    parts = list(data.printed.parts)
    step_until(world, lambda: begun(world, 1, "reduce") and not data.replaced)
    kept = world.disk.spool._kept["r1.runs"]
    assert parts
    assert not any(each.path in kept for each in parts)
    world.run()


def test_warning_outlives_a_crash():
    """Whoever fetches the answer tomorrow should know too."""
    world = World(Scenario((Task((("a", b"x\ny\n"),)),), (), seed=0))
    while "r1" not in world.server.ledger.requests:
        world.step()
    warned = Deferred.fromCoroutine(world.server.docket.warn(RequestId("r1"), "Not deterministic"))
    while not warned.called:
        world.step()
    world.crash()
    assert world.server.ledger.requests[RequestId("r1")].warnings == ["Not deterministic"]
