"""Choices: how much to lease, to be committed how often, to be missed when, to be copied or taken back.

The formulae are those of a scheduler simulated on ten fleets; results are flat around the constants.
Everything is in *weight*: lines in map, bytes in merge and reduce.
"""

from math import inf, log, sqrt
from typing import Protocol

from attrs import frozen

from hagoop.experience import UNKNOWN_START_SECONDS, Pace, Prior, Record
from hagoop.jobs import Phase

LEASE_SECONDS = 60.0
"""Upper bound of a lease (L_max)."""
FIRST_LEASE_SECONDS = 2.0
"""Upper bound for a newcomer, and for a session younger than this (L_0)."""
GUESSED_LEASE_SECONDS = 20.0
"""The same for whom and what nobody knows: most programs are faster than is guessed, by far."""
WHOLE_SHARES = 6
"""The same where jobs cannot be cut."""
WHOLE_LEASE_SECONDS = 20.0
GRID_STEP = 1.3
LIKELY = 0.5
"""A whole job is copied when its holder's end is less likely than this to come after the job's."""
COMMIT_SECONDS = 10.0
"""Upper bound of a job's intended length (tau_max)."""
MIN_COMMIT_SECONDS = 0.02
END_SHARES = 2
"""A job takes such a part of what is left of the phase at most: not every one in hand can be shared."""
REST_COSTS = 2.0
"""What is left of a phase should take so many times what a job costs, or it comes along with a lease."""
TELLING_STARTS = 2.5
"""A job should take so many starts at least, by the most that one may take.

Else whoever starts slowly never does two units at a time, and nobody learns that they take no longer.
"""
MIN_DEADLINE_SECONDS = 1.0
BEAT_SECONDS = 0.25
SILENT_BEATS = 3.5
SILENCE_SECONDS = 30.0
"""A session of which no byte came for so long is closed."""
IDLE_BEAT_SECONDS = 5.0
"""The interval of Beats of a worker that has nothing to say."""
QUIET_BEATS = 1.5
MESSAGES_PER_SECOND = 4000.0
"""What the server takes of each kind (R_max)."""
MUTE_BEATS = 12
"""After so many missed Beats idle workers share what lies behind a job without asking."""
GOING_COPIES = 2
"""How many holders that have not stalled a range may have."""
MOST_COPIES = 6
"""How many in all."""
ANSWER_SECONDS = 2.0
"""How long a holder that was asked for its end is expected to answer."""
LATE_WAYS = 4.0
"""Round trips until the first line of a lease can be seen to be taken: for itself, for a connection, for
what its program needs, for its lines."""
BEGIN_WAYS = 1.5
"""Round trips until one who waits has the lines of a lease."""
DELIVER_WAYS = 1.5
"""Round trips from the end of the last job to its commit: for what it printed, for the commit."""
RETURN_SECONDS = 1.0
"""How long a server that begins waits for workers that come back with what they hold, before it leases.

They try for the first times half a second apart; of who comes later a part may be done twice.
"""
COUNT_SECONDS = 5.0
"""How long they wait to hear what they keep, while a server that begins counts the lines again."""
MISSES_TO_CLOSE = 3
LOST_SECONDS = 1e6
"""How long a job is expected to take whose holder will sooner be lost."""
MIN_GAIN_SECONDS = 0.02
LEAST_REVIEW_SECONDS = 0.02
REVIEW_SECONDS_EACH = 1e-4
JOB_SLACK = 3.0
"""How many times its expected length a job may take before it counts as stalled: a pipe hides
which of its lines a program is at, so inside a job no shorter deadline can be just."""
GUESSED_SPEED = {Phase.MAP: 100.0, Phase.MERGE: 1e6, Phase.REDUCE: 1e5, Phase.SORT: 1e6}
"""Before any record: far too low costs little, far too high costs much."""


@frozen
class Asking:
    """What a choice needs to know of the worker that asks.

    :ivar speed: weight a second that it is believed to do here.
    :ivar way: seconds of a round trip to it.
    :ivar is_guess: whether nothing at all is known of the program's speed, here or from earlier.
    :ivar start_seconds: what starting the program takes there.
    :ivar slots: how many jobs it does at a time, each at that speed.
    :ivar held: weight of the phase that it holds already.
    """

    record: Record
    pace: Pace
    speed: float
    session_seconds: float
    way: float = 0.0
    is_guess: bool = False
    start_seconds: float = UNKNOWN_START_SECONDS
    slots: int = 1
    held: float = 0.0

    @property
    def overhead(self) -> float:
        """What a job costs besides its program; a round trip at least, before that is known."""
        return self.pace.overhead if self.pace.speed is not None else max(self.pace.overhead, self.way)


@frozen
class Supply:
    """What a choice needs to know of the phase and the fleet.

    :ivar left: weight not leased.
    :ivar speed: of all workers that could take it together.
    :ivar workers: how many are connected.
    :ivar leased: weight that is leased and not committed.
    """

    left: float
    speed: float
    workers: int
    leased: float = 0.0

    @property
    def seconds_left(self) -> float:
        """How long all workers together would take for what is not committed."""
        return (self.left + self.leased) / self.speed if self.speed else inf

    @property
    def drain_seconds(self) -> float:
        """How long all workers together would take for what is not leased."""
        return self.left / self.speed if self.speed else inf


def commit_seconds(asking: Asking, supply: Supply, prior: Prior, now: float) -> float:
    """How long one job should take: what a loss costs against what a commit costs."""
    life = asking.record.expected_life(prior, now)
    most = min(COMMIT_SECONDS, supply.seconds_left / END_SHARES)
    return max(least_commit_seconds(asking, supply), min(sqrt(2 * _cost(asking) * life), most))


def least_commit_seconds(asking: Asking, supply: Supply) -> float:
    """What a job should take at least: much longer than what it costs, and what the server can take."""
    low = max(4 * _cost(asking), MIN_COMMIT_SECONDS, supply.workers / MESSAGES_PER_SECOND)
    return max(low, TELLING_STARTS * asking.pace.start.most)


def _cost(asking: Asking) -> float:
    return asking.overhead + asking.start_seconds


def lease_seconds(asking: Asking, supply: Supply) -> float:
    """How long a lease should keep this worker busy: until all will be done.

    Smaller ones would cost more in starts than they could gain: at the end work is taken back anyway.
    """
    seconds = min(LEASE_SECONDS, share_seconds(asking, supply))
    if asking.is_guess:
        seconds = min(seconds, GUESSED_LEASE_SECONDS)
    elif asking.pace.speed is None or asking.session_seconds < FIRST_LEASE_SECONDS:
        seconds = min(seconds, FIRST_LEASE_SECONDS)
    least = max(4 * asking.overhead, asking.start_seconds / 2)
    return max(seconds, least, supply.workers / MESSAGES_PER_SECOND)


def share_seconds(asking: Asking, supply: Supply) -> float:
    """How long one more lease may keep a slot busy that all workers end together."""
    each = supply.seconds_left
    return min(each, each * asking.slots - asking.held / asking.speed)


def lease_weight(asking: Asking, supply: Supply) -> int:
    """How much to lease; at least 1.  A rest that is not worth a job of its own comes along."""
    weight = max(1, int(asking.speed * lease_seconds(asking, supply)))
    rest = supply.left - weight
    worth = 0.0 if asking.is_guess else REST_COSTS * _cost(asking)
    return weight + int(rest) if 0 < rest < asking.speed * worth else weight


def whole_lease_seconds(asking: Asking, supply: Supply, prior: Prior, now: float) -> float:
    """How long a lease of jobs that cannot be cut should keep this worker busy.

    The whole-job rule: of all lengths t on a geometric grid, the one of which most work is expected
    for each second spent, ``(t - o) P(alive at t) / E(seconds spent)``; o is the start-up, and a second
    is spent until the lease is over or its holder is lost.  Bounds: a share of what is left, 20 s.
    """
    start = asking.start_seconds
    most = min(WHOLE_LEASE_SECONDS, max(supply.drain_seconds / WHOLE_SHARES, 1.5 * start))
    if asking.pace.speed is None:
        most = min(most, FIRST_LEASE_SECONDS)

    def gain(seconds: float) -> float:
        alive = asking.record.survival(seconds, prior, now)
        return (seconds - start) * alive / asking.record.lasting_seconds(seconds, prior, now)

    return max(_grid(min(1.5 * start, most), most), key=gain)


def _grid(least: float, most: float) -> list[float]:
    steps = int(log(most / least) / log(GRID_STEP))
    return [*(least * GRID_STEP**step for step in range(steps + 1)), most]


def whole_lease_weight(asking: Asking, supply: Supply, prior: Prior, now: float) -> int:
    """How much to lease of what cannot be cut; whoever cuts gives one job at least."""
    seconds = whole_lease_seconds(asking, supply, prior, now) - asking.start_seconds
    return max(1, int(asking.speed * seconds))


def is_likely_lost(record: Record, seconds: float, prior: Prior, now: float) -> bool:
    """Whether a holder will sooner be lost than come to the end of a job that takes so long."""
    return record.survival(seconds, prior, now) < LIKELY


def quiet_seconds(workers: int) -> float:
    """How long nothing may be heard of a worker that is to have more work."""
    return QUIET_BEATS * max(IDLE_BEAT_SECONDS, beat_seconds(workers))


def beat_seconds(workers: int) -> float:
    """The interval of Beats for a fleet of this size."""
    return max(BEAT_SECONDS, workers / MESSAGES_PER_SECOND)


def is_silent(silent_seconds: float, workers: int) -> bool:
    """Whether Beats of a holder are missing: what it does is not known."""
    return silent_seconds > SILENT_BEATS * beat_seconds(workers)


def is_mute(silent_seconds: float, workers: int) -> bool:
    """Whether a holder has been silent for so long that it cannot be expected to answer."""
    return silent_seconds > MUTE_BEATS * beat_seconds(workers)


def deadline_seconds(
    job_weight: float, speed: float, start_seconds: float, misses: int, workers: int = 1
) -> float:
    """How long a lease may go without a new line or a commit; doubles with each miss of its range."""
    expected = job_weight / speed
    least = 4 * beat_seconds(workers) + 4 * start_seconds + 10 * min(expected, 1 / speed)
    return max(MIN_DEADLINE_SECONDS, least, JOB_SLACK * expected) * 2.0 ** min(misses, 5)


def late_seconds(way: float) -> float:
    """How much later a holder with a long way may show that it comes any further."""
    return LATE_WAYS * way


def help_seconds(start_seconds: float, way: float) -> float:
    """How long it takes, besides computing, until what is given to an idle worker is committed."""
    return start_seconds + (BEGIN_WAYS + DELIVER_WAYS) * way


def answer_seconds(way: float) -> float:
    """How long an answer to a ``TakeBack`` may take."""
    return ANSWER_SECONDS + way


class Ending(Protocol):
    """A part of the work as the tail sees it.

    :ivar movable: weight that could be taken from its end.
    :ivar speed: weight a second of its holder; ``seconds_left``: predicted, at that speed.
    """

    movable: float
    speed: float
    seconds_left: float


@frozen
class Sight:
    """What is known of a lease that runs.

    :ivar uncommitted: weight that is not committed; ``untaken``: that its programs have not taken.
    :ivar speed: weight a second that is usual for its holder; ``rate``: that it does at present.
    :ivar silent_seconds: since a word was due; ``still_seconds``: since it came any further.
    :ivar way: seconds of a round trip to its holder.
    :ivar sorting_seconds: from the end of its last program until what that printed is sorted.
    """

    uncommitted: float
    untaken: float
    speed: float
    rate: float
    silent_seconds: float
    still_seconds: float
    way: float = 0.0
    sorting_seconds: float = 0.0


def predict_seconds_left(seen: Sight, workers: int) -> float:
    """When a lease will end: when all of it is done, and has come here.

    Of one that answers from what it has taken; of one that has been silent from what is *committed*:
    progress seen is not progress safe; and it is expected to be as slow as it was silent.  All taken
    and not committed when it should be sorted: as long again as it has lasted.
    """
    beat, coming = beat_seconds(workers), DELIVER_WAYS * seen.way
    if is_silent(seen.silent_seconds, workers):
        slowed = seen.speed * beat / (seen.silent_seconds + beat)
        return coming + seen.silent_seconds + seen.uncommitted / slowed
    left = seen.untaken / seen.rate - min(seen.still_seconds, beat)
    if left > 0:
        return coming + left + seen.sorting_seconds
    unsorted = seen.sorting_seconds - seen.still_seconds
    overdue = -unsorted - late_seconds(seen.way) - 2 * beat
    return coming + max(unsorted, overdue, MIN_GAIN_SECONDS)


def speed_with_sorting(speed: float, sorting_each: float) -> float:
    """Weight a second of one whose last work is done only when it is sorted, too."""
    return speed / (1 + speed * sorting_each)


def least_gain(idle_start: float) -> float:
    """What must be won for an idle worker to be sent to help."""
    return max(MIN_GAIN_SECONDS, idle_start / 4)


def weight_to_take_back(part: Ending, idle_speed: float, idle_start: float) -> float:
    """How much of the untouched end an idle worker should take, so that both end together."""
    shared = (part.seconds_left - idle_start) * idle_speed * part.speed / (idle_speed + part.speed)
    taken = float(int(min(shared, part.movable)))
    if taken < 1 or part.seconds_left - (idle_start + taken / idle_speed) <= least_gain(idle_start):
        return 0.0
    return taken


def is_worth_copying(uncommitted: float, seconds_left: float, speed: float, start: float) -> bool:
    """Whether an idle worker would finish the uncommitted rest well before its holder."""
    return start + uncommitted / speed < seconds_left - least_gain(start)


def slowed(speed: float, still_seconds: float, workers: int = 1) -> float:
    """What is expected of one that should have come further for so long: the less, the longer."""
    beat = beat_seconds(workers)
    overdue = max(0.0, still_seconds - 2 * beat)
    return speed * beat / (overdue + beat)


def review_seconds(workers: int) -> float:
    """How often the tail is looked at: its cost grows with the fleet."""
    return min(BEAT_SECONDS, max(LEAST_REVIEW_SECONDS, workers * REVIEW_SECONDS_EACH))
