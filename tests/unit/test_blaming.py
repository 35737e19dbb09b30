"""Bad lines and crash lines at the ledger: narrowed down, told, or set aside."""

from collections.abc import Iterator

import pytest
from books import MUCH, Books

from hagoop.jobs import Output, Phase, RequestId, SessionId, WorkerId
from hagoop.leases import Decision, Lease, ProgramBroken, SetAside
from hagoop.ranges import Range

R1 = RequestId("r1")


@pytest.fixture
def books() -> Iterator[Books]:
    """Checked after the test."""
    made = Books()
    yield made
    made.ledger.check()


def run(books: Books, lease: Lease, bad: set[int], seconds: float = 5.0) -> list[Decision]:
    """One job over a whole lease."""
    lines = lease.stretch.open
    if bad & set(range(lines.start, lines.end)):
        return books.fail(lease, seconds=seconds, place=(lines.start, lines.end))
    return books.commit(lease)


def work(books: Books, bad: set[int], workers: list[SessionId], most: int = 500) -> list[Decision]:
    """Everybody works in turn until something is decided or all is done."""
    for step in range(most):
        session = workers[step % len(workers)]
        lease = books.ledger.lease_next(session, books.now)
        books.now += 10.0
        if lease is not None:
            decisions = run(books, lease, bad)
            if decisions:
                return decisions
    raise AssertionError("nothing was decided")


def set_aside_output(decision: SetAside) -> Output:
    """What is on disk of a line that was set aside."""
    return Output(decision.failure.start, decision.failure.start + 1, "", None)


def prove(books: Books, lines: int = 1) -> None:
    """Somebody commits the first lines: the program can run."""
    session = books.join("prover")
    lease = books.hold(session, 0, lines)
    books.commit(lease)
    books.end(session, failed=False)


def session_of(books: Books, worker: str) -> SessionId:
    """The session of a worker, made if there is none."""
    live = books.ledger.fleet.live_session(WorkerId(worker))
    return live.id if live else books.join(worker)


def hold_and_fail(books: Books, worker: str, start: int, end: int) -> list[Decision]:
    """A worker comes back with these lines, and the program fails on them."""
    lease = books.hold(session_of(books, worker), start, end)
    return books.fail(lease, place=(start, end))


# Narrowing


def test_failure_is_narrowed_by_halves(books: Books) -> None:
    """Half of the lines is tried next, however much a worker may have; others go on behind them."""
    books.submit(lines=MUCH)
    hold_and_fail(books, "w1", 0, 100)
    two, three = books.join("w2"), books.join("w3")
    assert books.ask(two).stretch.open == Range(0, 50)
    assert books.ask(three).stretch.open == Range(50, 100)
    assert books.ask(session_of(books, "w1")).stretch.front == 100


def test_half_that_does_well_is_cleared(books: Books) -> None:
    """The failures are those of the other half now."""
    books.submit(lines=MUCH)
    hold_and_fail(books, "w1", 0, 100)
    books.commit(books.ask(books.join("w2")))
    assert books.progress().histories.at(50).failed_by == ["w1"]
    assert books.ask(books.join("w3")).stretch.open == Range(50, 75)


def test_suspicion_ends_when_all_did_well(books: Books) -> None:
    """The program fails now and then, and never twice on the same lines."""
    request = books.submit(lines=64)
    progress, session = books.progress(), books.join("w2")
    hold_and_fail(books, "w1", 0, 60)
    while progress.untouched:
        books.commit(books.ask(session))
    assert not progress.histories
    assert (request.failures, request.progress) == (1, None)


def test_last_failure_names_the_lines_that_are_left(books: Books) -> None:
    """Four attempts: an eighth of what failed first, or less."""
    books.submit(lines=1000)
    prove(books, 500)
    hold_and_fail(books, "w0", 500, 1000)
    workers = [books.join(f"w{number}") for number in range(1, 6)]
    [broken] = work(books, {777}, workers)
    assert isinstance(broken, ProgramBroken)
    assert broken.attempts == 4
    assert broken.failure.start <= 777 < broken.failure.end
    assert broken.failure.end - broken.failure.start <= 63


def test_failure_out_of_sight_is_put_where_it_was(books: Books) -> None:
    """What was run before and not committed is open, and not suspect."""
    books.submit(lines=MUCH)
    lease = books.hold(books.join(), 0, 100)
    books.fail(lease, place=(40, 60))
    assert books.ask(books.join("w2")).stretch.open == Range(0, 40)
    assert books.ask(books.join("w3")).stretch.open == Range(40, 50)


def test_cells_are_narrowed_as_lines_are(books: Books) -> None:
    """In reduce too."""
    books.submit(lines=1)
    books.ledger.phase_began(R1, Phase.REDUCE, 0, tuple(range(0, 900, 100)))
    hold_and_fail(books, "w1", 0, 8)
    assert books.ask(books.join("w2")).stretch.open == Range(0, 4)


def test_whole_files_are_suspect_as_a_whole(books: Books) -> None:
    """Wherever in them a stranger says that it failed, and its job ended."""
    books.submit_files(10, 10, 20)
    hold_and_fail(books, "w1", 10, 40)
    session = books.join("w2")
    assert books.ask(session).stretch.open == Range(0, 10)
    first = books.ask(books.join("w3"))
    assert first.stretch.open == Range(10, 20)
    books.fail(first, place=(13, 15))
    assert books.progress().histories.at(10).end == 20
    books.beat(books.hold(session_of(books, "w4"), 10, 40), 25)
    books.end(session_of(books, "w4"))
    assert books.progress().histories.at(10).deaths[WorkerId("w4")].end == 40


def test_failure_beside_a_copy_that_goes_on_is_cleared_by_it(books: Books) -> None:
    """It commits past the suspect lines in one go."""
    books.submit(lines=100)
    one, two = books.join("w1"), books.join("w2")
    first = books.hold(one, 0, 100)
    first.progress.want_copy(first.stretch)
    copy = books.ask(two)
    assert copy.stretch is first.stretch
    books.fail(first, place=(30, 50))
    books.commit(copy, end=40)
    assert books.progress().histories.at(40).end == 50
    books.commit(copy, end=100)
    assert books.ledger.requests[R1].progress is None


def test_machine_is_blamed_once_for_the_same_lines(books: Books) -> None:
    """Else narrowing would put aside one worker after the other."""
    books.submit(lines=1000)
    prove(books, 500)
    for worker in ("w1", "w2", "w1", "w1"):
        hold_and_fail(books, worker, 500, 1000)
        books.now += 1.0
    standings = [books.ledger.fleet.standing(each).row for each in map(WorkerId, ("w1", "w2"))]
    assert standings == [1, 0]


def test_machine_that_met_a_bad_line_is_cleared(books: Books) -> None:
    """It was the line."""
    books.submit(lines=1000, skip=9)
    prove(books, 500)
    row, rows = books.ledger.fleet.standing(WorkerId("w1")), []
    for _ in range(4):
        decisions = hold_and_fail(books, "w1", 600, 601)
        rows.append(row.row)
    assert [type(each) for each in decisions] == [SetAside]
    assert rows == [1, 1, 1, 0]


# Setting aside


@pytest.mark.parametrize("count", [1, 2, 5])
def test_bad_lines_are_set_aside_and_the_rest_is_done(books: Books, count: int) -> None:
    """Each alone, after its own four attempts; then the phase ends."""
    bad = {0, 333, 334, 999}
    request = books.submit(lines=1000, skip=4)
    progress = books.progress()
    workers = [books.join(f"w{number}") for number in range(count)]
    found = []
    while len(found) < len(bad):
        [decision] = work(books, bad, workers)
        assert isinstance(decision, SetAside)
        assert (decision.request, decision.progress) == (R1, progress)
        found.append(decision.failure.start)
        assert not progress.finished
        books.ledger.output_stored(R1, progress, set_aside_output(decision))
    while not progress.finished:
        for session in workers:
            lease = books.ledger.lease_next(session, books.now)
            books.now += 60
            if lease is not None:
                run(books, lease, bad)
    assert sorted(found) == sorted(bad)
    assert request.set_aside == 4
    assert len(request.outputs[Phase.MAP]) == len(progress.outputs)


def test_more_bad_lines_than_allowed_end_the_request(books: Books) -> None:
    """The sentence needs how many there were."""
    books.submit(lines=1000, skip=2)
    prove(books)
    workers = [books.join(f"w{number}") for number in range(3)]
    bad = {100, 500, 900}
    for _ in range(2):
        assert isinstance(work(books, bad, workers)[0], SetAside)
    [broken] = work(books, bad, workers)
    assert isinstance(broken, ProgramBroken)
    assert broken.set_aside == 2
    assert broken.failure.start in bad


def test_program_that_never_worked_is_broken_all_the_same(books: Books) -> None:
    """Three lines and not one good one among them are enough."""
    books.submit(lines=10_000, skip=1000)
    workers = [books.join(f"w{number}") for number in range(3)]
    bad = set(range(10_000))
    for _ in range(3):
        assert isinstance(work(books, bad, workers)[0], SetAside)
    [broken] = work(books, bad, workers)
    assert isinstance(broken, ProgramBroken)
    assert broken.set_aside == 3


def test_line_that_somebody_is_at_is_not_set_aside(books: Books) -> None:
    """A copy of it may do well."""
    books.submit(lines=10, attempts=1, skip=1)
    first = books.hold(books.join("w1"), 4, 5)
    first.progress.want_copy(first.stretch)
    books.hold(books.join("w3"), 0, 4)
    books.hold(books.join("w4"), 5, 10)
    copy = books.ask(books.join("w2"))
    assert copy.stretch is first.stretch
    assert books.fail(first, place=(4, 5)) == []
    [decision] = books.fail(copy, place=(4, 5))
    assert isinstance(decision, SetAside)


def test_reduce_sets_nothing_aside(books: Books) -> None:
    """Keys that are left out could not be told from keys that are not there."""
    books.submit(lines=1, attempts=1, skip=9)
    books.ledger.phase_began(R1, Phase.REDUCE, 0, (0, 100))
    assert isinstance(books.fail(books.ask(books.join()))[0], ProgramBroken)


# Crash lines


def old_fleet(books: Books, count: int) -> list[str]:
    """Workers that have proven to last."""
    names = [f"w{number}" for number in range(count)]
    sessions = [books.join(each) for each in names]
    books.now += 3600.0
    for each in sessions:
        books.end(each, failed=False)
    for record in books.ledger.fleet.records.values():
        record.committed = 1000
    return names


def crash(books: Books, worker: str, kills: set[int], seconds: float = 0.5) -> list[Decision]:
    """A worker does what it gets, until it is killed by a line in hand, or all is done."""
    session = books.join(worker)
    while (lease := books.ledger.lease_next(session, books.now)) is not None:
        books.beat(lease, lease.stretch.end)
        books.now += seconds
        books.ledger.fleet.sessions[session].heard = books.now
        lines = lease.stretch.open
        if kills & set(range(lines.start, lines.end)):
            return books.end(session)
        books.commit(lease)
    return books.end(session, failed=False)


def test_line_that_kills_its_workers_is_set_aside(books: Books) -> None:
    """Four different ones, that were not expected to go, with this line alone in hand."""
    request = books.submit(lines=40, skip=1)
    progress = books.progress()
    names = old_fleet(books, 5)
    decisions: list[Decision] = []
    deaths = 0
    while not decisions:
        decisions = crash(books, names[deaths % 5], {17})
        deaths += 1
        assert deaths < 30
    [decision] = decisions
    assert isinstance(decision, SetAside)
    assert (decision.failure.start, decision.failure.end) == (17, 18)
    assert decision.failure.message == "4 workers were lost with it in hand"
    books.ledger.output_stored(R1, progress, set_aside_output(decision))
    crash(books, "w0", set())
    assert request.progress is None


@pytest.mark.parametrize("skip", [0, 1])
def test_no_number_of_deaths_ends_a_request(books: Books, skip: int) -> None:
    """Nor are more lines set aside than may be: workers go on trying."""
    books.submit(lines=40, skip=skip)
    names = old_fleet(books, 6)
    decisions = [made for each in names * 30 for made in crash(books, each, {7, 31})]
    assert [type(each) for each in decisions] == [SetAside] * skip
    assert books.progress().committed.size == 38 + skip


def test_machines_that_are_lost_with_whatever_they_get_say_nothing(books: Books) -> None:
    """However fast, and always under a new name."""
    books.submit(lines=40, skip=9)
    old_fleet(books, 5)
    for number in range(100):
        session = books.join(f"bad{number}")
        books.ask(session)
        books.now += 0.02
        assert books.end(session) == []
    assert books.progress().histories.at(0).suspect_end == 0


def test_fleet_that_churns_sets_nothing_aside(books: Books) -> None:
    """Everybody goes after a few seconds, whatever it does."""
    books.submit(lines=1000, skip=9)
    for number in range(200):
        session = books.join(f"w{number % 20}")
        lease = books.ask(session)
        books.beat(lease, lease.stretch.end)
        books.now += 7.0
        books.ledger.fleet.sessions[session].heard = books.now
        books.ledger.fleet.refit(books.now)
        assert books.end(session) == []


def test_assignment_that_waits_is_not_what_killed(books: Books) -> None:
    """It was asked for ahead of need; the worker had one slot."""
    books.submit(lines=4000)
    session = books.join()
    first, second = books.ask(session), books.ask(session)
    books.end(session)
    heads = [each.stretch.front for each in (first, second)]
    assert [len(books.progress().histories.at(each).deaths) for each in heads] == [1, 0]


def test_death_beside_other_jobs_says_less(books: Books) -> None:
    """Each of them may have been it."""
    books.submit(lines=400)
    session = books.join(slots=2)
    heads = [books.ask(session).stretch.front for _ in range(2)]
    books.end(session)
    deaths = [books.progress().histories.at(each).deaths[WorkerId("w1")] for each in heads]
    assert [each.alone for each in deaths] == [False, False]
    assert all(each.chance >= 0.5 for each in deaths)
