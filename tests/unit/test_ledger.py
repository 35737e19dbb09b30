"""The rules of the ledger, one by one; ``check()`` holds at the end of each test."""

from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve
from books import MUCH, Books, finished, ids, output

from hagoop import policy
from hagoop.errors import LedgerError
from hagoop.jobs import (
    AssignmentId,
    Counter,
    Held,
    Output,
    Phase,
    RequestId,
    Seen,
    SessionId,
    State,
    WorkerId,
)
from hagoop.leases import (
    Cancel,
    Close,
    Decision,
    Lease,
    NobodyFit,
    PhaseEnded,
    ProgramBroken,
    TakeBack,
)
from hagoop.ledger import Ledger
from hagoop.ranges import Range
from hagoop.requests import MOST_COUNT

R1 = RequestId("r1")


@pytest.fixture
def books() -> Iterator[Books]:
    """Checked after the test."""
    made = Books()
    yield made
    made.ledger.check()


def held(lease: Lease) -> Held:
    """What its worker says of a lease when it comes back."""
    stretch, progress = lease.stretch, lease.progress
    front, end = stretch.front, stretch.end
    return Held(lease.id, lease.request.id, progress.phase, progress.round, front, end, front + 1)


def copied(books: Books) -> tuple[Lease, Lease]:
    """A lease of all ten lines whose worker missed a deadline, and the copy of it."""
    books.submit(lines=10)
    one, two = books.join("w1"), books.join("w2")
    first = books.hold(one, 0, 10)
    books.beat(first, job_end=5)
    assert books.review_after(30.0) == [TakeBack(one, first.id, 5)]
    assert books.review_after(60.0) == []
    return first, books.ask(two)


# How much


def test_newcomer_gets_little_and_proven_worker_much(books: Books) -> None:
    """Twenty seconds of guessed speed; after a commit and two seconds a minute of measured speed."""
    books.submit(lines=MUCH)
    session = books.join()
    lease = books.ask(session)
    assert lease.open_weight == policy.GUESSED_LEASE_SECONDS * policy.GUESSED_SPEED[Phase.MAP] == 2000
    books.now += 5
    books.commit(lease, seconds=20.0)
    assert books.ask(session).open_weight == policy.LEASE_SECONDS * 100


def test_fast_worker_gets_more_in_the_same_time(books: Books) -> None:
    """Bounds are in seconds: ten times the speed is ten times the lines."""
    books.submit(lines=MUCH)
    sizes = []
    for worker, seconds in (("slow", 2.0), ("fast", 0.2)):
        session = books.join(worker)
        lease = books.ask(session)
        weight = lease.open_weight
        books.now += 5
        books.commit(lease, seconds=seconds)
        sizes.append(books.ask(session).open_weight / weight * seconds)
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)


def test_who_asks_ahead_gets_its_share_less_what_it_holds(books: Books) -> None:
    """Two of a speed and four thousand lines: of two thousand it has fifteen hundred."""
    books.submit(lines=4200)
    one, two = books.join("w1"), books.join("w2")
    for session, start in ((one, 0), (two, 100)):
        books.commit(books.hold(session, start, start + 100), seconds=1.0)
    books.now += 5
    books.hold(one, 200, 1700)
    assert books.ask(one).open_weight == pytest.approx(500, abs=5)


def test_last_lines_are_shared_out_by_speed(books: Books) -> None:
    """Each worker gets its share of the rest at once; one that is alone gets all."""
    books.submit(lines=40)
    one, two = books.join("w1"), books.join("w2")
    assert books.ask(one).open_weight == 20
    books.submit("r2", lines=40)
    books.end(one)
    assert books.ask(two).open_weight == 40


def test_share_is_counted_with_the_speeds_of_now(books: Books) -> None:
    """Speeds grow a hundredfold when a phase begins: beside an old sum one share would be all."""
    books.submit(lines=MUCH)
    one, two = books.join("w1"), books.join("w2")
    books.now += policy.FIRST_LEASE_SECONDS
    leases = [books.ask(one), books.ask(two)]
    books.now += 0.001
    for lease in leases:
        books.commit(lease, seconds=0.001)
    assert MUCH / 2.1 < books.ask(one).open_weight < MUCH / 1.9


def test_speed_is_carried_from_request_to_request(books: Books) -> None:
    """A worker known to be fast beside others is believed to be so in the next request."""
    books.submit(lines=MUCH)
    fast, slow = books.join("fast"), books.join("slow")
    leases = [(books.ask(fast), 0.2), (books.ask(slow), 20.0)]
    for _ in range(20):
        for lease, seconds in leases:
            books.commit(lease, end=lease.stretch.front + 1, seconds=seconds)
    fleet, request = books.ledger.fleet, books.submit("r2", MUCH)
    speeds = [fleet.speed(fleet.sessions[each], request, Phase.MAP) for each in (fast, slow)]
    assert speeds[0] > 1.5 * speeds[1]


def test_expected_life_sets_the_length_of_jobs(books: Books) -> None:
    """Who was often lost commits more often."""
    books.submit(lines=MUCH)
    session = books.join("steady")
    for _ in range(2):
        books.now += 1000
        books.end(books.join("frail"))
    steady, frail = books.ask(session), books.ask(books.join("frail"))
    assert frail.commit_seconds < steady.commit_seconds


def test_no_claim_of_a_worker_breaks_the_next_choice(books: Books) -> None:
    """Seconds and overheads are measured by strangers."""
    books.submit(lines=MUCH)
    session = books.join()
    for seconds, overhead in ((0.0, 0.0), (1e308, 1e308), (0.0, 1e308), (1e308, 0.0)):
        lease = books.ask(session)
        job = finished(lease, lease.stretch.front, lease.stretch.front + 1, seconds)
        job = evolve(job, overhead_seconds=overhead)
        progress, _ = books.ledger.job_committed(session, job, books.now)
        assert progress is not None
        books.ledger.output_stored(R1, progress, output(job))
        books.ledger.assignment_returned(session, lease.id)
        books.review_after(100.0)
    assert books.ask(books.join("w2")).open_weight >= 1


# Departures


def test_uncommitted_lines_of_a_lost_worker_are_open_again(books: Books) -> None:
    """What it committed stays."""
    books.submit(lines=10)
    session = books.join()
    lease = books.ask(session)
    books.commit(lease, end=1)
    assert books.end(session) == []
    assert list(books.progress().untouched) == [Range(1, 10)]
    assert books.ask(books.join("w2")).stretch.front == 1
    assert books.ledger.fleet.records[lease.session.worker].lost == 1


def test_departures_never_fail_a_request(books: Books) -> None:
    """However many go, and with whatever in hand."""
    books.submit(lines=10)
    for number in range(50):
        session = books.join(f"w{number % 3}")
        books.ask(session)
        assert books.end(session, failed=number % 2 == 0) == []
    assert books.ledger.requests[R1].state is State.RUNNING
    assert books.ledger.requests[R1].failures == 0
    assert books.ask(books.join("w9")).stretch.front == 0


def test_departure_of_the_last_fit_worker_fails_nothing(books: Books) -> None:
    """Others lack the program, but it may come back."""
    books.submit(lines=10)
    fit, unfit = books.join("fit"), books.join("unfit")
    assert books.fail(books.ask(unfit), "WORKER_UNFIT") == []
    assert books.end(fit) == []
    assert books.refused(unfit)
    assert books.ask(books.join("fit"))


def test_who_leaves_gets_nothing_new(books: Books) -> None:
    """It has given notice; its work goes on."""
    books.submit(lines=100)
    session = books.join()
    lease = books.ask(session)
    books.ledger.worker_leaves(session)
    assert books.refused(session)
    books.commit(lease)
    books.end(session, failed=False)
    assert books.ledger.fleet.records[lease.session.worker].failures == 0


def test_lease_fits_into_the_time_that_its_holder_will_be_there(books: Books) -> None:
    """By the speed that was measured; with hardly any time left there is none."""
    books.submit(lines=MUCH)
    session = books.join()
    books.commit(books.ask(session), seconds=0.1)
    books.ledger.worker_leaves_in(session, 8.0, books.now)
    lease = books.ask(session)
    speed = books.ledger.fleet.speed(lease.session, lease.request, lease.progress.phase)
    assert 1 < lease.open_weight <= 8 * speed
    books.commit(lease)
    books.now += 6.5
    assert books.refused(session)
    books.ledger.worker_is_back(session, books.now)
    assert books.ask(session)


def test_line_that_takes_longer_than_its_holder_stays_is_not_leased(books: Books) -> None:
    """Somebody else will have the time."""
    books.submit(lines=100)
    session = books.join()
    books.commit(books.ask(session), seconds=10_000.0)
    books.ledger.worker_leaves_in(session, 60.0, books.now)
    assert books.refused(session)


def test_notice_cuts_the_leases_in_hand(books: Books) -> None:
    """At what their holder can do until then; what fits stays whole."""
    books.submit(lines=1000)
    session = books.join()
    lease = books.hold(session, 0, 500)
    speed = books.ledger.fleet.speed(lease.session, lease.request, lease.progress.phase)
    assert books.ledger.worker_leaves_in(session, 501 / speed, books.now) == []
    cut = books.ledger.worker_leaves_in(session, 200 / speed, books.now)
    assert cut == [TakeBack(session, lease.id, 200)]


@pytest.mark.parametrize("seconds", [1e12, 1e308])
def test_worker_that_leaves_in_an_age_is_one_that_stays(books: Books, seconds: float) -> None:
    """Whatever number it says: nobody else waits for his work because of it."""
    books.submit(lines=100_000)
    session = books.join()
    lease = books.hold(session, 0, 500)
    assert books.ledger.worker_leaves_in(session, seconds, books.now) == []
    books.commit(lease, end=500, seconds=1e-9)
    assert books.ask(session)


def test_rest_earns_nothing_and_costs_nothing(books: Books) -> None:
    """Experience is time at work."""
    session = books.join()
    record = books.ledger.fleet.records[WorkerId("w1")]
    books.now += 10
    books.ledger.worker_rests(session, books.now)
    books.now += 1000
    assert record.seconds_at(books.now) == 10
    books.ledger.worker_is_back(session, books.now)
    books.now += 5
    assert (record.seconds_at(books.now), record.failures) == (15, 0)
    books.ledger.worker_is_back(session, books.now)
    assert record.seconds_at(books.now) == 15


def test_who_rests_is_not_counted_on(books: Books) -> None:
    """Neither its speed nor its slots."""
    request = books.submit(lines=1000)
    books.join("w1")
    session = books.join("w2", slots=5)
    fleet = books.ledger.fleet
    both = fleet.supply(request, books.progress(), books.now).speed
    books.ledger.worker_rests(session, books.now)
    assert fleet.supply(request, books.progress(), books.now).speed == pytest.approx(both / 6)
    assert fleet.slots == 1


def test_copy_is_due_of_a_job_that_outlasts_its_holder(books: Books) -> None:
    """However long it lived before."""
    session = books.join()
    books.ledger.worker_leaves_in(session, 60.0, books.now)
    fleet = books.ledger.fleet
    assert fleet.is_likely_lost(fleet.sessions[session], 61.0, books.now)
    assert not fleet.is_likely_lost(fleet.sessions[session], 0.5, books.now)


def test_identity_has_one_session(books: Books) -> None:
    """Whoever lets in a second one has a bug."""
    books.join("w1")
    with pytest.raises(LedgerError, match="w1 has a session"):
        books.join("w1")


def test_returned_assignment_is_open_again(books: Books) -> None:
    """Neither worker nor program is to blame; one that is not there any more changes nothing."""
    books.submit(lines=10)
    session = books.join()
    lease = books.ask(session)
    books.ledger.assignment_returned(session, lease.id)
    books.ledger.assignment_returned(session, lease.id)
    books.ledger.assignment_returned(SessionId(99), lease.id)
    assert list(books.progress().untouched) == [Range(0, 10)]


# Commits


def test_commit_moves_the_front(books: Books) -> None:
    """Job by job, until the phase has ended."""
    books.submit(lines=1)
    books.join("w2")
    session = books.join()
    assert books.commit(books.ask(session)) == [PhaseEnded(R1)]
    request = books.ledger.requests[R1]
    assert request.outputs == {Phase.MAP: [Output(0, 1, "d", None)]}
    assert request.progress is None
    assert books.refused(session)


@pytest.mark.parametrize(("start", "end"), [(1, 2), (0, 11), (0, 0), (2, 1), (-1, 1), (-5, -1)])
def test_commit_is_whole_or_nothing(books: Books, start: int, end: int) -> None:
    """It begins at the front, ends within the lease and has lines; otherwise nothing changes."""
    books.submit(lines=40)
    session = books.join()
    lease = books.hold(session, 0, 10)
    assert books.rejected(session, finished(lease, start, end))
    assert lease.stretch.open == Range(0, 10)
    assert not books.progress().committed
    assert books.ledger.requests[R1].commits == 0


def test_commit_for_another_request_than_its_lease_is_refused(books: Books) -> None:
    """Its bytes would be kept where they do not belong."""
    books.submit("r1", lines=40)
    lease = books.ask(books.join())
    books.submit("r2", lines=40)
    job = finished(lease, 0, 1)
    for lie in (evolve(job, request=RequestId("r2")), evolve(job, phase=Phase.REDUCE)):
        assert books.rejected(lease.session.id, lie)
    assert not books.ledger.requests[RequestId("r2")].commits


def test_same_commit_twice_counts_once(books: Books) -> None:
    """Its counters too."""
    books.submit(lines=10)
    session = books.join()
    lease = books.ask(session)
    job = finished(lease, 0, 1, counters=(Counter("g", "n", 3),))
    progress, _ = books.ledger.job_committed(session, job, books.now)
    assert progress is not None
    assert books.rejected(session, job)
    assert books.ledger.requests[R1].counters == {("g", "n"): 3}


def test_counters_and_words_of_commits_are_the_requests(books: Books) -> None:
    """Amounts add up, up to a bound; the last words that were said stay."""
    request = books.submit(lines=100)
    lease = books.ask(books.join())
    for number, amount in enumerate((2, 3, 10**400)):
        job = finished(lease, number, number + 1, counters=(Counter("g", "n", amount),))
        job = evolve(job, status="half" if number else "", log="" if number else "hm")
        books.ledger.job_committed(lease.session.id, job, books.now)
        expected = 5 if number == 1 else min(amount, MOST_COUNT)
        assert request.counters == {("g", "n"): expected}
    assert (request.status, request.log, request.commits) == ("half", "hm", 3)


def test_phase_waits_for_the_disk(books: Books) -> None:
    """Committed is not stored: only then the next phase may begin."""
    books.submit(lines=1)
    lease = books.ask(books.join())
    job = finished(lease, 0, 1)
    progress, decisions = books.ledger.job_committed(lease.session.id, job, books.now)
    assert progress is not None
    assert decisions == []
    assert books.ledger.phase_checked(R1) == []
    assert books.ledger.output_stored(R1, progress, output(job)) == [PhaseEnded(R1)]
    assert books.ledger.phase_checked(R1) == []


def test_late_commit_counts_if_its_whole_range_is_untouched(books: Books) -> None:
    """Its session was lost, nobody has begun on its lines: the work is not wasted."""
    request = books.submit(lines=10)
    session = books.join()
    lease = books.ask(session)
    job = finished(lease, 0, 2)
    books.end(session)
    progress, decisions = books.ledger.job_committed(books.join(), job, books.now)
    assert progress is request.progress
    assert decisions == []
    assert list(books.progress().committed) == [Range(0, 2)]
    assert request.commits == 1
    assert progress is not None
    assert books.ledger.output_stored(R1, progress, output(job)) == []


def test_late_answer_changes_nothing(books: Books) -> None:
    """A part of its lines is leased again, or committed, or its phase or request is another."""
    books.submit(lines=10)
    session = books.join()
    lease = books.ask(session)
    job = finished(lease, 0, 3)
    books.end(session)
    again = books.join()
    assert books.rejected(again, evolve(job, phase=Phase.REDUCE))
    assert books.rejected(again, evolve(job, round=1))
    assert books.rejected(again, evolve(job, request=RequestId("r9")))
    assert books.rejected(again, evolve(job, start=-3))
    assert books.rejected(again, evolve(job, start=5, end=20))
    second = books.ask(books.join("w2"))
    assert books.rejected(again, job)
    books.commit(second, end=1)
    assert books.rejected(again, job)
    books.end(second.session.id)
    assert books.rejected(again, job)


def test_lease_of_another_session_is_not_mine(books: Books) -> None:
    """An id is good for the session that it was given to."""
    books.submit(lines=10)
    lease = books.ask(books.join("w1"))
    other = books.join("w2")
    assert books.rejected(other, finished(lease, 0, 1))
    books.ledger.line_seen(other, Seen(lease.id, 9, 9, 9), books.now)
    books.ledger.assignment_returned(other, lease.id)
    assert lease.job_end == 0
    assert ids(books.ledger.leases_of(lease.request)) == [lease.id]


def test_job_in_hand_may_end_sooner_than_announced(books: Books) -> None:
    """The newest word counts; what is committed may end sooner still."""
    books.submit(lines=40)
    lease = books.ask(books.join())
    told = []
    for end in (9, 4, 5, 99, -1, 8):
        books.beat(lease, job_end=end)
        told.append(lease.job_end)
    assert told == [9, 4, 5, lease.stretch.end, 0, 8]
    books.commit(lease, 3)
    assert lease.stretch.front == 3


def test_commit_stored_after_the_request_is_gone_is_dropped(books: Books) -> None:
    """The disk was slower than the client."""
    books.submit(lines=1)
    lease = books.ask(books.join())
    job = finished(lease, 0, 1)
    progress, _ = books.ledger.job_committed(lease.session.id, job, books.now)
    assert progress is not None
    books.ledger.request_ended(R1, State.CANCELLED, "")
    books.ledger.request_forgotten(R1)
    assert books.ledger.output_stored(R1, progress, output(job)) == []


# Deadlines, taking back and copies


def test_missed_deadline_asks_back_and_never_kills_first(books: Books) -> None:
    """What lies behind the job in hand is asked for; the holder gets nothing new."""
    books.submit(lines=40)
    session = books.join()
    lease = books.ask(session)
    books.beat(lease, job_end=3)
    assert books.review_after(0.5) == []
    assert books.review_after(30.0) == [TakeBack(session, lease.id, 3)]
    assert not books.wants_copy(lease), "what it gives back needs none"
    assert books.review_after(60.0) == []
    assert books.wants_copy(lease)
    assert books.refused(session)
    assert books.ledger.fleet.records[lease.session.worker].failures == 1.0


def test_question_is_asked_once(books: Books) -> None:
    """Until it is answered; and not for what is in hand anyway."""
    books.submit(lines=8)
    session = books.join()
    lease = books.ask(session)
    books.beat(lease, job_end=1)
    assert books.review_after(30.0) == [TakeBack(session, lease.id, 1)]
    assert books.review_after(100.0) == []
    books.ledger.end_taken_back(lease.id, 1)
    assert lease.stretch.end == 1
    assert books.review_after(1000.0) == []


def test_third_miss_closes_only_if_a_copy_runs(books: Books) -> None:
    """Alone it may go on as slowly as it likes: better slow than nobody."""
    books.submit(lines=1)
    session = books.join("w1")
    lease = books.ask(session)
    for _ in range(5):
        assert books.review_after(1000.0) == []
    assert lease.misses == 5
    copy = books.ask(books.join("w2"))
    assert copy.stretch is lease.stretch
    books.beat(copy, 1)
    books.now += 1000.0
    books.beat(copy, 1, taken=1)
    assert books.review_after(0.0) == [Close(session, "it missed three deadlines and a copy runs")]


def test_who_failed_may_have_the_copy_if_nobody_else_is_there(books: Books) -> None:
    """The holder hangs and will not say whether it fails as well; who has not tried goes first."""
    books.submit(lines=1)
    failed, hangs = books.join("w1"), books.join("w2")
    books.fail(books.ask(failed))
    lease = books.ask(hangs)
    books.review_after(1000.0)
    assert books.wants_copy(lease)
    fresh = books.join("w3")
    assert books.refused(failed)
    books.end(fresh, failed=False)
    assert books.ask(failed).stretch is lease.stretch


def test_missed_deadlines_travel_with_the_range(books: Books) -> None:
    """The next holder is given more time; a commit ends the count."""
    books.submit(lines=1)
    session = books.join("w1")
    books.ask(session)
    books.review_after(100.0)
    books.review_after(100.0)
    books.end(session)
    lease = books.ask(books.join("w2"))
    assert lease.misses == 2
    books.commit(lease)
    assert lease.misses == 0


def test_deadlines_missed_by_the_mute_do_not_travel(books: Books) -> None:
    """The work is not to blame: whoever takes it next is not waited for any longer."""
    books.submit(lines=1)
    session = books.join("w1")
    books.ask(session)
    books.mute.add(session)
    books.review_after(100.0)
    books.review_after(100.0)
    books.end(session)
    assert books.ask(books.join("w2")).misses == 0


def test_line_taken_puts_the_deadline_off_and_silence_does_not(books: Books) -> None:
    """A Beat without a new line is no progress."""
    books.submit(lines=8)
    session = books.join()
    lease = books.ask(session)
    for taken in range(1, 20):
        books.beat(lease, job_end=1, taken=taken)
        assert books.review_after(1.0) == []
    decisions = []
    for _ in range(20):
        books.beat(lease, job_end=1, taken=19)
        decisions += books.review_after(1.0)
    assert decisions == [TakeBack(session, lease.id, 1)]


def fetch(books: Books, lease: Lease, seconds: int) -> None:
    """What it needs to begin comes, beat after beat."""
    for taken in range(1, seconds + 1):
        books.beat(lease, job_end=lease.begin, taken=1000 * taken)
        assert books.review_after(1.0) == []


def test_what_has_come_for_long_may_pause_for_as_long(books: Books) -> None:
    """Before the first job; after a miss as ever, for silence is not fetching."""
    books.submit(lines=8)
    session = books.join()
    lease = books.ask(session)
    fetch(books, lease, 20)
    came = lease.moved - lease.leased
    assert books.review_after(came - 1.5) == []
    assert books.review_after(1.0) == [TakeBack(session, lease.id, 1)]
    assert lease.fetching_seconds == came
    books.review_after(came)
    assert (lease.misses, lease.fetching_seconds) == (1, came)
    books.review_after(1.0)
    assert (lease.misses, lease.fetching_seconds) == (2, came)


def test_who_has_begun_may_not_pause_as_long_as_it_fetched(books: Books) -> None:
    """Its programs have all that they need."""
    books.submit(lines=8)
    session = books.join()
    lease = books.ask(session)
    fetch(books, lease, 20)
    books.beat(lease, job_end=1, taken=10**6)
    assert books.review_after(15.0) == [TakeBack(session, lease.id, 1)]


def test_waiting_for_its_turn_is_not_fetching(books: Books) -> None:
    """Who asked ahead long before has no more time for it."""
    books.submit(lines=MUCH)
    session = books.join()
    first, second = books.ask(session), books.ask(session)
    for taken in range(1, 50):
        books.beat(first, job_end=first.stretch.end, taken=taken)
        assert books.review_after(1.0) == []
    books.commit(first, seconds=50.0)
    assert books.review_after(15.0) == [TakeBack(session, second.id, second.stretch.front + 1)]


@pytest.mark.parametrize("is_heard_of", [False, True])
def test_assignment_that_waits_its_turn_misses_nothing(books: Books, is_heard_of: bool) -> None:
    """Asked for ahead of need: its time begins when the job before it is done, beaten or not."""
    books.submit(lines=MUCH)
    session = books.join()
    first, second = books.ask(session), books.ask(session)
    books.beat(first, job_end=first.stretch.end)
    for taken in range(1, 50):
        books.beat(first, job_end=first.stretch.end, taken=taken)
        if is_heard_of:
            books.beat(second, job_end=second.begin)
        assert books.review_after(1.0) == []
    books.commit(first, seconds=50.0)
    assert books.review_after(0.25) == []
    assert not first.session.stalled
    assert books.review_after(1000.0) == [TakeBack(session, second.id, second.stretch.front + 1)]


def test_who_asks_ahead_and_begins_nothing_misses_its_deadlines(books: Books) -> None:
    """Asking for more than one can hold is no way to keep it."""
    books.submit(lines=MUCH)
    session = books.join()
    leases = [books.ask(session), books.ask(session)]
    taken = books.review_after(1000.0)
    assert taken == [TakeBack(session, each.id, each.stretch.front + 1) for each in leases]


def test_first_commit_wins_and_the_loser_is_cancelled(books: Books) -> None:
    """Copies share the front, so that nothing counts twice."""
    first, copy = copied(books)
    assert copy.stretch is first.stretch
    decisions = books.commit(copy)
    assert decisions == [Cancel(first.session.id, first.id, "a copy was faster"), PhaseEnded(R1)]
    assert not books.ledger.leases
    assert books.refused(first.session.id)
    books.ledger.assignment_returned(first.session.id, first.id)
    books.submit("r2")
    assert books.ask(first.session.id)


def test_copies_share_the_front(books: Books) -> None:
    """What one has committed the other's job cannot any more."""
    first, copy = copied(books)
    void = Cancel(copy.session.id, copy.id, "a copy was faster")
    assert books.commit(first, end=3) == [void]
    assert first.stretch.front == 3
    assert books.rejected(copy.session.id, finished(copy, 0, 10))
    assert ids(books.ledger.leases_of(first.request)) == [first.id]


def test_range_is_copied_once_and_not_to_its_holder(books: Books) -> None:
    """One of the two that hold it goes on; a third would only burn time."""
    first, copy = copied(books)
    third = books.join("w3")
    assert books.refused(third)
    assert books.review_after(0.5) == []
    assert books.refused(third)
    assert books.refused(first.session.id)
    assert books.refused(copy.session.id)


def test_range_whose_holders_have_all_stalled_is_copied_again(books: Books) -> None:
    """Up to a bound: it may be the range."""
    first, copy = copied(books)
    others = [books.join(f"w{number}") for number in range(3, 9)]
    books.review_after(60.0)
    for each in others[: policy.MOST_COPIES - 2]:
        assert books.ask(each).stretch is first.stretch
        books.review_after(1000.0)
    assert len(copy.stretch.holders) == policy.MOST_COPIES
    assert all(books.refused(each) for each in others)


def test_who_missed_a_deadline_gets_no_copy_beside_one_who_did_not(books: Books) -> None:
    """It has committed nothing since; alone it does what there is."""
    books.submit(lines=100)
    slow = books.join("slow")
    lease = books.hold(slow, 0, 50)
    books.review_after(100.0)
    books.ledger.assignment_returned(slow, lease.id)
    good = books.hold(books.join("good"), 0, 100)
    good.progress.want_copy(good.stretch)
    free = books.join("free")
    assert books.refused(slow)
    assert books.ask(free).stretch is good.stretch


def test_who_is_not_waited_for_three_times_is_put_aside(books: Books) -> None:
    """A worker that takes and never gives fails what others do."""
    books.submit(lines=MUCH)
    evil, good = books.join("evil"), books.join("good")
    for number in range(3):
        lease = books.hold(evil, number, number + 1)
        books.review_after(1000.0)
        books.commit(books.ledger.leasing.copy(*copy_of(books, good, lease)))
        books.ledger.assignment_returned(evil, lease.id)
    assert books.refused(evil)
    assert not books.refused(good)


def copy_of(books: Books, session: SessionId, lease: Lease) -> tuple[Any, ...]:
    """What the ledger makes a copy of."""
    holder = books.ledger.fleet.sessions[session]
    return holder, lease.request, lease.progress, lease.stretch, books.now


def test_who_asks_ahead_gets_no_copy(books: Books) -> None:
    """It could not begin at once."""
    books.submit(lines=1)
    books.ask(books.join("w1"))
    books.submit("r2", lines=1)
    session = books.join("w2")
    books.ask(session)
    idle = books.join("idle")
    books.review_after(0.95)
    assert books.progress().wanted
    assert books.refused(session)
    assert books.ask(idle).request.id == "r1"


def test_confirmed_end_is_open_again(books: Books) -> None:
    """The worker names the end that it keeps."""
    books.submit(lines=40)
    session = books.join()
    lease = books.ask(session)
    books.ledger.end_taken_back(lease.id, 4)
    assert lease.stretch.open == Range(0, 4)
    assert books.ask(books.join("w2")).stretch.front == 4


def test_end_taken_back_to_the_front_ends_the_lease(books: Books) -> None:
    """Its holder was done with what it kept, and may have other work."""
    books.submit(lines=40)
    session = books.join()
    lease = books.ask(session)
    books.beat(lease, 4)
    books.review_after(60.0)
    books.ledger.end_taken_back(lease.id, 0)
    assert not books.ledger.leases
    assert books.ask(session).stretch.front == 0


def test_answer_to_a_question_that_is_over_changes_nothing(books: Books) -> None:
    """The lease has ended meanwhile, or nothing was given up."""
    books.submit(lines=40)
    lease = books.hold(books.join(), 0, 10)
    books.ledger.end_taken_back(AssignmentId("1-99"), 0)
    books.ledger.end_taken_back(lease.id, 99)
    assert lease.stretch.open == Range(0, 10)


def test_holder_that_stops_early_beside_a_copy_is_done_there(books: Books) -> None:
    """Its answer came after the copy began: it commits to its end, and what the copy has is void."""
    first, copy = copied(books)
    books.ledger.end_taken_back(first.id, 5)
    assert first.stretch.open == Range(0, 10)
    assert books.commit(first, end=5) == [Cancel(copy.session.id, copy.id, "a copy was faster")]
    assert not books.ledger.leases_of(first.request)
    assert list(books.progress().untouched) == [Range(5, 10)]


def test_copy_that_overtakes_where_the_holder_stops_wins(books: Books) -> None:
    """The holder's job is in vain and is cancelled; the copy has the rest."""
    first, copy = copied(books)
    books.ledger.end_taken_back(first.id, 5)
    cancel = Cancel(first.session.id, first.id, "a copy was faster")
    assert books.commit(copy, end=6) == [cancel]
    assert ids(books.ledger.leases_of(first.request)) == [copy.id]


def test_several_are_overtaken_at_once(books: Books) -> None:
    """One goes on, one stops early, and the third is faster than both."""
    first, second = copied(books)
    third = books.ledger.leasing.copy(*copy_of(books, books.join("w3"), first))
    books.ledger.end_taken_back(second.id, 5)
    losers = books.commit(third, end=6)
    told = [Cancel(each.session.id, each.id, "a copy was faster") for each in (first, second)]
    assert losers == told
    assert ids(books.ledger.leases_of(first.request)) == [third.id]


def test_answer_of_one_that_was_overtaken_changes_nothing(books: Books) -> None:
    """It says that it stops where the copy has been already."""
    first, copy = copied(books)
    books.commit(copy, end=6)
    books.ledger.end_taken_back(first.id, 5)
    books.ledger.assignment_returned(first.session.id, first.id)
    assert ids(books.ledger.leases_of(first.request)) == [copy.id]
    books.submit("r2")
    assert books.ask(first.session.id)


def test_rest_is_open_when_the_copy_is_lost(books: Books) -> None:
    """The holder stops where it said; nobody would do the lines behind."""
    first, copy = copied(books)
    books.ledger.end_taken_back(first.id, 5)
    books.end(copy.session.id)
    assert first.stretch.open == Range(0, 5)
    assert list(books.progress().untouched) == [Range(5, 10)]


def test_idle_worker_takes_the_end_of_the_slowest(books: Books) -> None:
    """Nothing is untouched and somebody idle: the holder is asked for what lies behind its job."""
    books.submit(lines=4 * MUCH)
    slow = books.ask(books.join("slow"))
    stretch = slow.stretch
    books.progress().grow(stretch.end, 0, (0,), whole=True)
    books.progress().untouched.take(Range(stretch.end, 4 * MUCH))
    books.progress().total = stretch.end
    books.beat(slow, job_end=1)
    books.join("idle")
    taken = books.review_after(0.25)
    assert [type(each) for each in taken] == [TakeBack]
    assert isinstance(taken[0], TakeBack)
    assert 1 < taken[0].end < stretch.end
    assert books.review_after(0.25) == []


def test_idle_worker_copies_what_it_would_end_sooner(books: Books) -> None:
    """The holder is silent; a single line cannot be shared."""
    books.submit(lines=1)
    lease = books.ask(books.join("silent"))
    books.mute.add(lease.session.id)
    idle = books.join("idle")
    assert books.review_after(0.95) == []
    assert books.wants_copy(lease)
    assert books.ask(idle).stretch is lease.stretch


def test_idle_workers_share_what_a_mute_one_holds(books: Books) -> None:
    """Behind the job that it announced, which still counts; nobody waits for its answer."""
    books.submit(lines=MUCH)
    lease = books.hold(books.join("mute"), 0, MUCH)
    books.mute.add(lease.session.id)
    books.beat(lease, 10)
    idle = [books.join("one"), books.join("two")]
    books.review_after(policy.MUTE_BEATS * policy.BEAT_SECONDS)
    assert lease.stretch.end == MUCH
    books.review_after(0.01)
    assert (lease.stretch.front, lease.stretch.end) == (0, 10)
    first, second = [books.ask(each).stretch for each in idle]
    assert first.front == 10
    assert second.front == first.end
    books.commit(lease, 10)


def test_mute_holder_that_misses_a_deadline_keeps_its_job_alone(books: Books) -> None:
    """Whoever comes next begins behind it."""
    books.submit(lines=MUCH)
    lease = books.hold(books.join("mute"), 0, MUCH)
    books.mute.add(lease.session.id)
    books.beat(lease, 10)
    assert books.review_after(100) == []
    assert (lease.stretch.front, lease.stretch.end) == (0, 10)
    assert books.ask(books.join("next")).stretch.front == 10


def test_what_a_mute_holder_shares_with_a_copy_is_not_cut(books: Books) -> None:
    """The copy has begun it."""
    first, copy = copied(books)
    books.mute.add(first.session.id)
    books.review_after(100)
    assert copy.stretch.end == 10


def test_nobody_idle_helps_nobody(books: Books) -> None:
    """Neither a worker that lacks the program nor one that has work."""
    books.submit(lines=1)
    books.submit("r2", lines=1)
    unfit, busy, other = books.join("unfit"), books.join("busy"), books.join("other")
    books.fail(books.ask(unfit), "WORKER_UNFIT")
    request = books.ledger.requests[R1]
    assert request.unfit
    lease = books.ask(busy)
    books.ask(other)
    assert lease.request is request
    books.review_after(0.95)
    assert not books.wants_copy(lease)


def test_worker_is_not_asked_to_copy_itself(books: Books) -> None:
    """A second slot is no faster."""
    books.submit(lines=1)
    session = books.join("w1", slots=2)
    lease = books.ask(session)
    books.review_after(0.95)
    assert not books.wants_copy(lease)
    assert books.refused(session)


# Whose fault


def test_attempts_are_made_by_different_workers(books: Books) -> None:
    """Who failed there tries again only when all others have."""
    books.submit(lines=1)
    one, two = books.join("w1"), books.join("w2")
    assert books.fail(books.ask(one)) == []
    assert books.refused(one)
    assert books.fail(books.ask(two)) == []
    assert books.ask(one)


def test_who_failed_goes_on_elsewhere(books: Books) -> None:
    """Only the head is refused; what lies before and behind is not."""
    books.submit(lines=100)
    one, _two = books.join("w1"), books.join("w2")
    lease = books.ask(one)
    books.commit(lease, end=5)
    books.fail(lease)
    assert books.ask(one).stretch.front == 6


def test_program_that_fails_too_often_on_its_lines_is_broken(books: Books) -> None:
    """As often as the request allows; slow failures are believed one by one."""
    books.submit(lines=1, attempts=3)
    sessions = [books.join(f"w{number}") for number in range(5)]
    assert books.fail(books.ask(sessions[0])) == []
    assert books.fail(books.ask(sessions[1])) == []
    decisions = books.fail(books.ask(sessions[2]))
    assert [type(each) for each in decisions] == [ProgramBroken]
    broken = decisions[0]
    assert isinstance(broken, ProgramBroken)
    assert (broken.request, broken.phase, broken.attempts) == (R1, Phase.MAP, 3)
    assert books.ledger.requests[R1].failures == 3
    assert books.ledger.requests[R1].log == "oh"


@pytest.mark.parametrize(("workers", "runs"), [(1, 2), (2, 3), (3, 4), (8, 4)])
def test_program_that_fails_fast_everywhere_is_broken_soon(
    books: Books, workers: int, runs: int
) -> None:
    """After one more run than there are workers, and four at most."""
    books.submit(lines=1, attempts=4)
    sessions = [books.join(f"w{number}") for number in range(workers)]
    decisions: list[Decision] = []
    for number in range(runs):
        assert decisions == []
        decisions = books.fail(books.ask(sessions[number % workers]), seconds=0.01)
    assert [type(each) for each in decisions] == [ProgramBroken]


def test_program_that_has_worked_is_not_broken_by_fast_failures(books: Books) -> None:
    """One commit shows that it can run: then each line has all its attempts."""
    books.submit(lines=100, attempts=4)
    session = books.join()
    lease = books.ask(session)
    books.commit(lease, end=1)
    outcomes = [books.fail(lease, seconds=0.01)]
    outcomes += [books.fail(books.ask(session), seconds=0.01) for _ in range(3)]
    assert [len(each) for each in outcomes] == [0, 0, 0, 1]


@pytest.mark.parametrize("kind", ["JOB", "TRANSFER_FAILED", "WORKER_LOST", "SPOOL_FULL", "NONSENSE"])
def test_other_failures_cost_only_time(books: Books, kind: str) -> None:
    """Nobody is to blame, however often."""
    books.submit(lines=1, attempts=1)
    session = books.join()
    for _ in range(9):
        assert books.fail(books.ask(session), kind) == []
    assert books.ledger.requests[R1].failures == 0


def test_worker_without_the_program_is_asked_no_more(books: Books) -> None:
    """Nobody is blamed; when all lack it, the request cannot go on."""
    books.submit(lines=1)
    one, two = books.join("w1"), books.join("w2")
    assert books.fail(books.ask(one), "WORKER_UNFIT") == []
    assert books.refused(one)
    assert books.fail(books.ask(two), "WORKER_UNFIT") == [NobodyFit(R1)]
    assert books.ledger.requests[R1].failures == 0


def test_failure_of_a_lease_that_is_gone_changes_nothing(books: Books) -> None:
    """It was cancelled meanwhile."""
    books.submit(lines=1)
    lease = books.ask(books.join())
    books.ledger.request_ended(R1, State.CANCELLED, "")
    assert books.fail(lease) == []
    assert books.ledger.requests[R1].failures == 0


@pytest.mark.parametrize(
    ("claimed", "told"), [((-5, -1), (0, 1)), ((3, 4), (3, 4)), ((99, 5), (9, 10)), ((2, 99), (2, 10))]
)
def test_place_of_a_failure_lies_in_what_the_worker_held(
    books: Books, claimed: tuple[int, int], told: tuple[int, int]
) -> None:
    """A stranger names it, and a sentence is made of it."""
    books.submit(lines=40, attempts=1)
    decisions = books.fail(books.hold(books.join(), 0, 10), place=claimed)
    assert isinstance(decisions[0], ProgramBroken)
    assert (decisions[0].failure.start, decisions[0].failure.end) == told


# Requests


def test_workers_are_shared_fairly(books: Books) -> None:
    """The request with fewer leases is served first, at equal numbers the older."""
    for name in ("r1", "r2"):
        books.submit(name, lines=MUCH)
        books.now += 1
    served = [books.ask(books.join(f"w{number}")).request.id for number in range(6)]
    assert served == ["r1", "r2"] * 3


def test_request_between_phases_is_passed_over(books: Books) -> None:
    """There is nothing to lease of it, the other one is served."""
    books.submit("r1", lines=0)
    books.submit("r2", lines=5)
    assert books.ask(books.join()).request.id == "r2"


def test_empty_input_ends_at_once(books: Books) -> None:
    """No lines, no work."""
    books.ledger.request_submitted(R1, books.submit("r9", lines=5).submission, 0.0)
    books.ledger.phase_began(R1, Phase.MAP, 0, None)
    assert books.ledger.lines_counted(R1, 0, 0, (), whole=True) == [PhaseEnded(R1)]
    assert books.ledger.lines_counted(R1, 0, 0, (), whole=True) == []


def test_lines_counted_late_are_worked_on_at_once(books: Books) -> None:
    """The first work leaves before the last line is counted."""
    books.submit(lines=0)
    books.ledger.phase_began(R1, Phase.MAP, 0, None)
    session = books.join()
    assert books.refused(session)
    assert books.ledger.lines_counted(R1, 5, 1000, (0,), whole=False) == []
    assert books.ask(session).stretch.open == Range(0, 5)


def test_lines_of_a_phase_that_is_over_are_not_counted(books: Books) -> None:
    """The last news of the index may come late."""
    books.submit(lines=10)
    books.ledger.phase_began(R1, Phase.REDUCE, 0, (0, 5))
    assert books.ledger.lines_counted(R1, 99, 99, (0,), whole=True) == []
    assert books.progress().total == 1


def test_request_that_ends_cancels_its_leases(books: Books) -> None:
    """Its workers stop and take other work."""
    request = books.submit(lines=100)
    leases = [books.ask(each) for each in [books.join(f"w{number}") for number in range(2)]]
    decisions = books.ledger.request_ended(R1, State.FAILED, "oh")
    assert decisions == [Cancel(each.session.id, each.id, "the request has ended") for each in leases]
    assert (request.state, request.message, request.leases) == (State.FAILED, "oh", 0)
    assert books.refused(leases[0].session.id)


def test_merge_leases_one_group_each(books: Books) -> None:
    """However fast a worker is."""
    books.submit(lines=1)
    books.ledger.phase_began(R1, Phase.MERGE, 1, (0, 10, 20, 30))
    leases = [books.ask(books.join(f"w{number}")) for number in range(3)]
    assert [each.stretch.open for each in leases] == [Range(0, 1), Range(1, 2), Range(2, 3)]
    assert leases[0].open_weight == 10


# Coming back


def test_worker_that_comes_back_goes_on(books: Books) -> None:
    """Its lines are open: leased to it anew, under a new id, from its front."""
    books.submit(lines=10)
    session = books.join()
    lease = books.ask(session)
    books.commit(lease, end=1)
    said = held(lease)
    books.end(session, failed=False)
    again = books.ledger.held_again(books.join(), said, books.now)
    assert again is not None
    assert again.id != lease.id
    assert (again.stretch.open, again.job_end) == (lease.stretch.open, 2)


def test_commit_that_a_worker_was_not_told_of_lies_behind_it(books: Books) -> None:
    """The answer was lost with the link: it goes on from where the server is."""
    books.submit(lines=10)
    session = books.join()
    lease = books.ask(session)
    said = held(lease)
    books.commit(lease, end=lease.stretch.front + 1)
    end = lease.stretch.end
    books.end(session)
    again = books.ledger.held_again(books.join(), said, books.now)
    assert again is not None
    assert again.stretch.open == Range(1, end)


def came_back(books: Books, *, more: int) -> tuple[Lease, Lease]:
    """What another holds since, of so many more lines, and what the worker has again."""
    books.submit(lines=40)
    session = books.join()
    said = held(books.hold(session, 0, 10))
    books.end(session)
    other = books.hold(books.join("w2"), 0, 10 + more)
    again = books.ledger.held_again(books.join(), said, books.now)
    assert again is not None
    assert again.stretch is other.stretch
    return other, again


@pytest.mark.parametrize("more", [0, 5, -5])
def test_worker_that_comes_back_goes_on_beside_who_began_since(books: Books, more: int) -> None:
    """It is further, and commits first; the other's job is void."""
    other, again = came_back(books, more=more)
    cancelled = Cancel(other.session.id, other.id, "a copy was faster")
    assert books.commit(again, end=4) == [cancelled]
    books.commit(again, end=10)
    # What it never held is free, and nobody holds anything.
    assert Range(10, 40) in again.progress.untouched
    assert books.ledger.leases == {}
    books.ledger.check()


def test_worker_that_comes_back_may_be_overtaken(books: Books) -> None:
    """Whoever commits first has won."""
    other, again = came_back(books, more=0)
    assert books.commit(other, end=4) == [Cancel(again.session.id, again.id, "a copy was faster")]
    books.ledger.check()


def test_nobody_holds_the_same_twice(books: Books) -> None:
    """Whatever a worker says, and however many come back."""
    _, again = came_back(books, more=0)
    said = held(again)
    assert books.ledger.held_again(again.session.id, said, books.now) is None
    assert books.ledger.held_again(books.join("w3"), said, books.now) is None


def test_worker_that_comes_back_too_late_drops_its_work(books: Books) -> None:
    """Somebody else has begun before it, or there is no such phase, or no such range."""
    books.submit(lines=40)
    session = books.join()
    said = held(books.hold(session, 2, 30))
    books.end(session)
    books.hold(books.join("w2"), 0, 30)
    back = books.join()
    claims = [
        said,
        evolve(said, front=20, end=50),
        evolve(said, front=30, end=30),
        evolve(said, front=30, end=20),
        evolve(said, front=-1, end=20),
        evolve(said, front=30, end=40, round=1),
        evolve(said, front=30, end=40, request=RequestId("r9")),
    ]
    assert [books.ledger.held_again(back, each, books.now) for each in claims] == [None] * 7


def test_recovery_goes_on_where_the_journal_ends(books: Books) -> None:
    """Commits are facts, leases are not: a worker's late commit counts if its lines are open."""
    books.submit(lines=10)
    lease = books.ask(books.join())
    books.commit(lease, end=1)
    late = finished(lease, 1, 2)

    after = Books(Ledger(epoch=2))
    after.ledger.request_submitted(R1, lease.request.submission, 0.0)
    progress = after.ledger.phase_began(R1, Phase.MAP, 0, None)
    progress.restore(Output(0, 1, "d", None))
    after.ledger.lines_counted(R1, 10, 10, (0,), whole=True)
    session = after.join()
    assert after.ledger.job_committed(session, late, 1.0) == (progress, [])
    assert after.ledger.output_stored(R1, progress, output(late)) == []
    again = after.ask(session)
    assert again.id == "2-1"
    assert again.stretch.front == 2
    after.ledger.check()


# Bugs of ours


def test_leases_are_counted(books: Books) -> None:
    """A request's number of leases is that of its leases."""
    request = books.submit()
    request.leases = 1
    with pytest.raises(LedgerError, match="r1 counts 1 leases"):
        books.ledger.check()
    request.leases = 0


def test_lease_without_its_holder_is_our_bug(books: Books) -> None:
    """Session, stretch and lease agree."""
    books.submit()
    lease = books.ask(books.join())
    lease.session.leases.clear()
    with pytest.raises(LedgerError, match="1-1 is not with its holder"):
        books.ledger.check()
    lease.session.leases.add(lease.id)


def test_lease_that_outlives_its_phase_is_our_bug(books: Books) -> None:
    """A phase ends when all of it is committed."""
    request = books.submit()
    books.ask(books.join())
    progress, request.progress = request.progress, None
    with pytest.raises(LedgerError, match="1-1 outlives its phase"):
        books.ledger.check()
    request.progress = progress


def test_promise_that_somebody_else_was_given_keeps_nobody_from_helping(books: Books) -> None:
    """What was taken back for it is gone: it is idle as before."""
    books.submit(lines=1000)
    holder, heir, other = (books.join(each) for each in ("holder", "heir", "other"))
    lease = books.hold(holder, 0, 1000)
    books.ledger.waiting[heir] = 1
    [asked] = books.ledger.help(books.now + 0.1)
    assert isinstance(asked, TakeBack)
    assert books.ledger.leasing.idle == [books.ledger.fleet.sessions[heir]]
    books.ledger.end_taken_back(lease.id, asked.end)
    assert books.ledger.leasing.idle == []
    books.hold(other, asked.end, 1000)
    assert books.ledger.leasing.idle == [books.ledger.fleet.sessions[heir]]
