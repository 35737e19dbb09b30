"""The best known for jobs that count only whole: sized by what each machine is expected to live."""

from math import exp, inf, log
from statistics import median

from attrs import define, field

from hagoop.experience import Prior, Record, fit_prior
from hagoop.lab.baselines.tasks import Attempt, Task, Tasks
from hagoop.lab.contender import Job

SHARES = 6
MOST_SECONDS = 20.0
FIRST_SECONDS = 2.0
GRID_STEP = 1.3
LEAST_START = 0.02
DEADLINE_SLACK = 3.0
LEAST_DEADLINE = 1.0
MOST_ATTEMPTS = 2
GUESSED_SPEED = 100.0
FIT_SECONDS = 10.0


@define
class Known:
    """What is known of an identity: its record, and its speed in lines a second."""

    record: Record = field(factory=Record)
    speed: float | None = None


@define(eq=False)
class WholeBayes(Tasks):
    """Of all lengths the one of which most work is expected for each second spent.

    ``(t - o) P(alive at t) / E(seconds spent)`` over a grid, o being the start-up; at most a sixth of
    the share of what is left, and 20 s; 2 s for a newcomer.  Gamma-exponential hazards with a prior
    that is fitted to the fleet.  A task that is thrice as late as expected may be copied (its limit
    doubles with each miss), and at the end whatever an idle machine would finish sooner.
    """

    beat_seconds: float = 1.0
    review_seconds: float = 0.5
    prior: Prior = field(factory=Prior)
    known: dict[str, Known] = field(factory=dict)
    identities: dict[int, str] = field(factory=dict)
    _fitted: float = -inf
    _supply: float = 0.0
    _supply_at: float = -inf
    _typical: float = GUESSED_SPEED
    _predicted: list[tuple[float, Attempt]] = field(factory=list)

    def joined(self, session: int, identity: str) -> None:
        super().joined(session, identity)
        self.identities[session] = identity
        self.known.setdefault(identity, Known()).record.joined(self.network.now())

    def closed(self, session: int, failed: bool) -> None:
        identity = self.identities.pop(session)
        if identity not in self.identities.values():
            self.known[identity].record.left(self.network.now(), failed=failed)
        super().closed(session, failed)

    def ended(self, attempt: Attempt, job: Job) -> None:
        known = self._of(attempt.session)
        known.record.delivered(self.network.now())
        measured = attempt.task.lines / max(job.seconds, 1e-4)
        old = known.speed
        known.speed = measured if old is None else exp(0.5 * log(old) + 0.5 * log(measured))

    def cut(self, session: int) -> int:
        self._look()
        known = self._of(session)
        speed = self._speed(known)
        share = (self.lines - self.untouched) / max(self._supply, speed) / SHARES
        most = min(MOST_SECONDS if known.speed else FIRST_SECONDS, max(share, 1.5 * LEAST_START))
        return int(speed * (self._length(known.record, most) - LEAST_START))

    def _length(self, record: Record, most: float) -> float:
        now, least = self.network.now(), min(1.5 * LEAST_START, most)
        steps = int(log(most / least) / log(GRID_STEP))

        def gain(seconds: float) -> float:
            alive = record.survival(seconds, self.prior, now)
            return (seconds - LEAST_START) * alive / record.lasting_seconds(seconds, self.prior, now)

        return max([*(least * GRID_STEP**step for step in range(steps + 1)), most], key=gain)

    def _look(self) -> None:
        """What is known of all, now and then."""
        now = self.network.now()
        if now - self._fitted > FIT_SECONDS:
            self._fitted = now
            self.prior = fit_prior((each.record for each in self.known.values()), now)
        if now - self._supply_at > 0.5:
            self._supply_at = now
            speeds = [each.speed for each in self.known.values() if each.speed]
            self._typical = median(speeds) if speeds else GUESSED_SPEED
            self._supply = sum(self._speed(self._of(each)) for each in self.of_session)

    def _of(self, session: int) -> Known:
        return self.known[self.identities[session]]

    def _speed(self, known: Known) -> float:
        return known.speed or self._typical

    def review(self) -> None:
        now = self.network.now()
        for each in self.attempts.values():
            if not each.ahead and not each.late and now - each.began > self._deadline(each):
                each.late = True
                each.task.misses += 1
                self._of(each.session).record.missed(now)
                if all(other.late for other in each.task.attempts):
                    self.put_back(each.task)
        self._predicted = []
        if self.waiting and self.untouched == self.lines:
            left = [(self._left(each, now), each) for each in self.attempts.values()]
            self._predicted = sorted(left, key=lambda pair: pair[0])
        self.serve()

    def copies_now(self) -> bool:
        return bool(self._predicted)

    def _deadline(self, attempt: Attempt) -> float:
        expected = attempt.task.lines / self._speed(self._of(attempt.session))
        return max(LEAST_DEADLINE, DEADLINE_SLACK * expected) * float(2 ** min(attempt.task.misses, 10))

    def _left(self, attempt: Attempt, now: float) -> float:
        """Seconds, by what it was seen to do; as slow as it was late."""
        spent = now - attempt.began
        done = attempt.line - attempt.task.start
        if done and spent > LEAST_DEADLINE:
            return spent * (attempt.task.lines - done) / done
        expected = attempt.task.lines / self._speed(self._of(attempt.session))
        return expected - spent if spent < expected else spent

    def spare(self, session: int) -> Task | None:
        speed = self._speed(self._of(session))
        while self._predicted:
            left, attempt = self._predicted[-1]
            task = attempt.task
            if task.done or len(task.attempts) >= MOST_ATTEMPTS:
                self._predicted.pop()
            elif attempt.session != session and LEAST_START + task.lines / speed < left:
                self._predicted.pop()
                return task
            else:
                return None
        return None
