"""What a worker has earned: how long it is expected to last and how fast it is.

Hazards follow a Gamma-exponential model (``A`` failures in ``B`` seconds, both with a prior fitted
to the fleet by empirical Bayes), so that the rate falls with time connected and rises with each loss.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import exp, expm1, inf, lgamma, log, pow
from statistics import median

from attrs import define, field, frozen

A_GRID = (0.25, 0.5, 1.0, 2.0, 4.0)
B_GRID = tuple(2.0**n for n in range(-2, 17))
FIT_SAMPLE = 300
FIT_FAILURES = 3
FEW_SECONDS = 30.0
"""The least ``b`` while there are fewer failures than that."""
MISS_FAILURE = 0.5
"""What a missed deadline adds to a record's failures."""
LEAST_SECONDS = 1e-4
MOST_SECONDS = 1e7
"""Bounds of what a worker may claim to have measured: no claim may break our arithmetic."""
UNKNOWN_START_SECONDS = 0.02
"""What starting a program is taken for while jobs do not tell."""
LEAST_START_SECONDS = 0.002
LEAST_SPEED_SPREAD = 0.2
"""How much ln speeds are taken to differ where few are known (s0)."""
LEAST_SPREAD = 0.5
"""How much jobs must differ in weight before start-up can be told from work."""
DOUBTFUL_SPREAD = 0.05
"""The same for a guess that is good enough to stop looking: every tenth job of one unit's is of two."""
SPREAD_JOBS = 8
"""So many jobs must differ so much; of more each may differ less, for the error falls with both."""


@frozen
class Prior:
    """What is believed of a worker nobody knows: ``a`` failures in ``b`` seconds."""

    a: float = 0.5
    b: float = 30.0


@define
class Record:
    """One identity's history over all of its sessions; times are seconds.

    :ivar failures: sessions that ended without notice, and half of each missed deadline.
    :ivar exposure: seconds of finished sessions.
    :ivar online_since: start of the running session, moved on by what does not count.
    :ivar stalled_since: when it missed a deadline; until it commits, time earns nothing.
    :ivar relative: ln of its speed beside the fleet's, over all requests.
    """

    failures: float = 0.0
    exposure: float = 0.0
    committed: int = 0
    lost: int = 0
    relative: float = 0.0
    online_since: float | None = None
    stalled_since: float | None = None

    def joined(self, now: float) -> None:
        """A session begins."""
        self.online_since, self.stalled_since = now, None

    def left(self, now: float, *, failed: bool) -> None:
        """The session ends; ``failed`` unless it gave notice or we ended it."""
        self.exposure += self._running(now)
        self.failures += failed
        self.online_since = self.stalled_since = None

    def missed(self, now: float) -> None:
        """A deadline passed without a line."""
        self.failures += MISS_FAILURE
        if self.stalled_since is None:
            self.stalled_since = now

    def delivered(self, now: float) -> None:
        """A commit counted."""
        self.committed += 1
        if self.stalled_since is not None and self.online_since is not None:
            self.online_since += now - self.stalled_since
        self.stalled_since = None

    def seconds_at(self, now: float) -> float:
        """All the time that it has earned."""
        return self.exposure + self._running(now)

    def expected_life(self, prior: Prior, now: float) -> float:
        """Expected seconds until its next loss: what ``workers`` calls experience."""
        return (prior.b + self.seconds_at(now)) / (prior.a + self.failures)

    def survival(self, seconds: float, prior: Prior, now: float) -> float:
        """How likely it is not lost within so many seconds from now."""
        life = prior.b + self.seconds_at(now)
        return float((life / (life + seconds)) ** (prior.a + self.failures))

    def lasting_seconds(self, seconds: float, prior: Prior, now: float) -> float:
        """How much of so many seconds it is expected to last: the integral of ``survival``."""
        life, failures = prior.b + self.seconds_at(now), prior.a + self.failures
        grown = log((life + seconds) / life)
        # As 1 - exp(-x), which is exact where the power nears 1 and the plain formula is 0 / 0.
        rate = failures - 1
        return life * (-expm1(-rate * grown) / rate if abs(rate * grown) > 1e-12 else grown)

    def chance_of_loss(self, prior: Prior, now: float, seconds: float) -> float:
        """How probable it was, ``seconds`` ago, that it would be lost within them, with that one job.

        By its time, or by its jobs: some machines are lost with whatever they are given.
        """
        before = prior.b + max(0.0, self.seconds_at(now) - seconds)
        by_time = 1 - pow(before / (before + max(0.0, seconds)), prior.a + self.failures)
        by_job = (self.failures + 0.5) / (self.failures + self.committed + 1)
        return max(by_time, by_job)

    def _running(self, now: float) -> float:
        if self.online_since is None:
            return 0.0
        until = now if self.stalled_since is None else self.stalled_since
        return max(0.0, until - self.online_since)


def fit_prior(records: Iterable[Record], now: float) -> Prior:
    """The fleet's prior: the grid point that makes the records most likely.

    Records that hold no time say nothing; with fewer than three failures in all a mild default is used.
    """
    pairs = [(each.failures, each.seconds_at(now)) for each in list(records)[-FIT_SAMPLE:]]
    failures = sum(f for f, _ in pairs)
    if failures < FIT_FAILURES:
        return Prior(0.5, max(FEW_SECONDS, 0.5 * sum(x for _, x in pairs) / (failures + 0.5)))
    return _likeliest(pairs)


def _likeliest(pairs: Sequence[tuple[float, float]]) -> Prior:
    """The grid point of the greatest ln likelihood; its sums are taken once for each ``a`` or ``b``."""
    counted = Counter(f for f, _ in pairs)
    gammas = {a: sum(n * (lgamma(a + f) - lgamma(a)) for f, n in counted.items()) for a in A_GRID}
    best, found = -inf, Prior()
    for b in B_GRID:
        logs = [log(b + x) for _, x in pairs]
        plain = len(pairs) * log(b) - sum(logs)
        weighted = sum(f * each for (f, _), each in zip(pairs, logs, strict=True))
        for a in A_GRID:
            likelihood = gammas[a] + a * plain - weighted
            if likelihood > best:
                best, found = likelihood, Prior(a, b)
    return found


@define
class StartUp:
    """What starting a program takes, told from what its work takes by jobs of different weights.

    A line through the jobs' seconds by weight, least squares; a job counts by 1/weight, because the
    more it weighs, the more its seconds vary.
    """

    jobs: float = 0.0
    weight: float = 0.0
    seconds: float = 0.0
    inverse: float = 0.0
    rate: float = 0.0
    least: float = inf

    def observe(self, weight: float, seconds: float) -> None:
        """A job of ``weight`` took ``seconds``."""
        self.jobs += 1
        self.weight += weight
        self.seconds += seconds
        self.inverse += 1 / weight
        self.rate += seconds / weight
        self.least = min(self.least, seconds)

    @property
    def is_told(self) -> bool:
        """Whether jobs differ enough for start-up to be told from work."""
        return self._spread > LEAST_SPREAD * self.jobs * min(self.jobs, SPREAD_JOBS)

    def estimate(self, usual: float = UNKNOWN_START_SECONDS) -> float:
        """Seconds; no job can be shorter.

        :param usual: what must do while all jobs are alike.
        """
        return self._fitted() if self.is_told else min(self.least, usual)

    @property
    def most(self) -> float:
        """Seconds that it may take: all of the shortest job, while all are alike; 0 before any."""
        if not self.jobs:
            return 0.0
        return self._fitted() if self._spread > DOUBTFUL_SPREAD * self.jobs**2 else self.least

    @property
    def _spread(self) -> float:
        return self.inverse * self.weight - self.jobs**2

    def _fitted(self) -> float:
        fitted = (self.rate * self.weight - self.jobs * self.seconds) / self._spread
        return min(self.least, max(fitted, LEAST_START_SECONDS))


@define
class Pace:
    """A worker's speed on one phase of one request.

    :ivar speed: weight a second, or None while nothing is known.
    :ivar overhead: seconds that a job costs besides running the program.
    """

    speed: float | None = None
    overhead: float = 0.02
    start: StartUp = field(factory=StartUp)
    _weight: float = 0.0
    _sorting: float = 0.0

    @property
    def sorting_each(self) -> float:
        """Seconds that sorting takes for each unit of weight, once the program has printed it."""
        return self._sorting / self._weight if self._weight else 0.0

    def observe(self, weight: float, seconds: float, overhead: float, sorting: float = 0.0) -> None:
        """A job of ``weight`` took ``seconds``, ``overhead`` and ``sorting``; the first replaces."""
        self._weight += weight
        self._sorting += min(sorting, MOST_SECONDS)
        if seconds > 0:
            # Nothing is started for a cell without keys.
            self.start.observe(max(1.0, weight), min(max(seconds, LEAST_SECONDS), MOST_SECONDS))
        cost = min(overhead, MOST_SECONDS)
        measured = weight / min(max(seconds, LEAST_SECONDS), MOST_SECONDS)
        if self.speed is None:
            self.speed, self.overhead = measured, cost
            return
        self.overhead = 0.7 * self.overhead + 0.3 * cost
        share = 0.5 if seconds >= 0.1 else 0.25
        share = max(share, 0.9) if measured > 2 * self.speed else share
        self.speed = exp((1 - share) * log(self.speed) + share * log(measured))


@frozen
class Usual:
    """What is usual for a program on this fleet.

    :ivar known: of how many workers this is seen.
    :ivar speed: of an average worker, each freed of what it is known for.
    :ivar low: of one whom nobody knows: one spread below.
    :ivar start_seconds: to start the program.
    :ivar sorting_each: seconds to sort what it prints for each unit of weight.
    """

    known: int = 0
    speed: float = 0.0
    low: float = 0.0
    start_seconds: float = UNKNOWN_START_SECONDS
    sorting_each: float = 0.0


def usual_of(
    paces: Iterable[tuple[Pace, Record]], start_seconds: float = UNKNOWN_START_SECONDS
) -> Usual:
    """What the paces of some workers have in common: medians, and the middle two thirds' spread.

    :param start_seconds: what it was before, for where no jobs tell.
    """
    known = [(pace, record) for pace, record in paces if pace.speed]
    if not known:
        return Usual()
    speeds = sorted(log(pace.speed or 1.0) - record.relative for pace, record in known)
    starts = [pace.start.estimate() for pace, _ in known if pace.start.is_told]
    start = median(starts) if starts else start_seconds
    middle, last = median(speeds), len(speeds) - 1
    spread = (speeds[round(0.84 * last)] - speeds[round(0.16 * last)]) / 2
    low = middle - max(LEAST_SPEED_SPREAD, spread)
    sorting = median(pace.sorting_each for pace, _ in known)
    return Usual(len(known), exp(middle), exp(low), start, sorting)


@define
class JobSizer:
    """How a worker cuts its assignments: by its own measured speed times the commit interval.

    The first job is one unit (a line, a cell); then jobs grow by at most ``GROWTH``, never
    past what the measured speed allows: weight over *all* seconds of a job bounds the true
    speed from below, start-up included, so that a slow program is never given hours at once.
    By that bound half a commit interval is safe enough to grow by ``BOLD_GROWTH``.

    A program that has run here before begins with what should take it ``REMEMBERED_SECONDS``:
    as its lines may be others now, no more of its speed is trusted than saves the first starts.

    :ivar remembered: its speed in an earlier request.
    """

    GROWTH = 16
    BOLD_GROWTH = 64
    REMEMBERED_SECONDS = 1.0

    remembered: float | None = None
    _speed: float | None = field(default=None)
    _largest: int = field(default=0)
    _steady: float | None = field(default=None)
    _has_failed: bool = field(default=False)

    @property
    def steady(self) -> float | None:
        """Weight a second in the heaviest job, in which its start counts least."""
        return self._steady

    def next_job(self, left: int, commit_seconds: float) -> int:
        """How much of ``left`` the next job takes; at least 1."""
        if self._speed is not None:
            wanted = self._grown(self._speed * commit_seconds)
        elif self.remembered is not None:
            wanted = self.remembered * min(commit_seconds, self.REMEMBERED_SECONDS)
        else:
            return 1
        wanted = max(1, int(wanted))
        # A rest of under half a job is not worth a start of the program.
        return left if left < 1.5 * wanted else wanted

    def _grown(self, bound: float) -> float:
        """How much of what the measured speed allows."""
        bold = 0.0 if self._has_failed else min(bound / 2, self._largest * self.BOLD_GROWTH)
        return min(bound, max(bold, self._largest * self.GROWTH))

    def expected_seconds(self, weight: int) -> float:
        """How long a job of this weight should take; 0 while nothing is known."""
        speed = self._speed or self.remembered
        return weight / speed if speed else 0.0

    def observe(self, weight: int, seconds: float) -> None:
        """A job has ended well."""
        self._has_failed = False
        measured = weight / max(seconds, LEAST_SECONDS)
        if weight >= self._largest:
            self._largest, self._steady = weight, measured
        slower = self._speed is not None and measured < self._speed
        self._speed = (measured + self._speed) / 2 if slower and self._speed else measured

    def failed(self, weight: int) -> None:
        """A job has failed: begin again with half of it, or with one unit if it was the first."""
        self._largest, self.remembered = max(1, weight // (2 * self.GROWTH)), None
        self._has_failed = True
