"""LATE: copies of what will end last, on machines that are fast (Zaharia and others, OSDI 2008)."""

from math import inf
from statistics import quantiles

from attrs import define, field

from hagoop.lab.baselines.tasks import Attempt, Task, Tasks
from hagoop.lab.contender import Job

SPLIT_LINES = 5000
COPIES_SHARE = 0.1
"""SpeculativeCap: copies that run at one time, in shares of the slots."""
SLOW_PERCENT = 25
"""SlowTaskThreshold and SlowNodeThreshold: percentiles of progress."""
LEAST_SECONDS = 1.0
RATES_SECONDS = 1.0


@define(eq=False)
class Late(Tasks):
    """The paper's rule, with its constants: splits of one size, lost ones again, and copies.

    When nothing else is left, a machine that is no slow one (its progress, in lines a second over all
    that it has done, is above the 25th percentile) copies the task whose estimated time to end, ``(1 -
    score) / rate``, is longest, among those with no copy whose rate is below the 25th percentile; no
    more than 10 % of the machines run copies.

    Assumed: splits of 5,000 lines (about the seconds that its authors' tasks took beside a job); a task
    may be judged after 1 s (the paper: a minute, beside jobs of many); progress comes with each
    second's Beat.
    """

    beat_seconds: float = 1.0
    _done: dict[int, float] = field(factory=dict)
    _since: dict[int, float] = field(factory=dict)
    _copies: dict[str, None] = field(factory=dict)
    _judged: float = -inf
    _slow_rate: float = 0.0
    _slow_machine: float = 0.0
    _candidates: list[Attempt] = field(factory=list)

    def cut(self, session: int) -> int:
        return SPLIT_LINES

    def joined(self, session: int, identity: str) -> None:
        super().joined(session, identity)
        self._done[session], self._since[session] = 0.0, self.network.now()

    def closed(self, session: int, failed: bool) -> None:
        super().closed(session, failed)
        del self._done[session], self._since[session]

    def ended(self, attempt: Attempt, job: Job) -> None:
        self._done[attempt.session] += attempt.task.lines

    def copies_now(self) -> bool:
        self._judge()
        return bool(self._candidates) and len(self._copies) < COPIES_SHARE * len(self.of_session)

    def _drop(self, attempt: Attempt) -> None:
        super()._drop(attempt)
        self._copies.pop(attempt.id, None)

    def review(self) -> None:
        self.serve()

    def spare(self, session: int) -> Task | None:
        if not self.copies_now() or self._pace(session) < self._slow_machine:
            return None
        while self._candidates:
            attempt = self._candidates.pop()
            task = attempt.task
            if not task.done and len(task.attempts) == 1 and attempt.session != session:
                self._copies[f"t{self._count + 1}"] = None
                return task
        return None

    def _judge(self) -> None:
        """What is slow, once a second; the last candidate is the one that will end last."""
        now = self.network.now()
        if now - self._judged < RATES_SECONDS:
            return
        self._judged = now
        old = [
            each
            for each in self.attempts.values()
            if not each.ahead and now - each.began > LEAST_SECONDS
        ]
        rates = {each.id: self._rate(each, now) for each in old}
        self._slow_rate = _percentile(list(rates.values()))
        self._slow_machine = _percentile([self._pace(each) for each in self.of_session])
        slow = [
            each for each in old if rates[each.id] <= self._slow_rate and len(each.task.attempts) == 1
        ]
        self._candidates = sorted(slow, key=lambda each: _time_left(each, rates[each.id]))

    def _rate(self, attempt: Attempt, now: float) -> float:
        """Progress score a second."""
        return (attempt.line - attempt.task.start) / attempt.task.lines / (now - attempt.began)

    def _pace(self, session: int) -> float:
        """Lines a second, of the task in hand too."""
        there = self.network.now() - self._since[session]
        in_hand = sum(each.line - each.task.start for each in self.of_session[session])
        return (self._done[session] + in_hand) / there if there else 0.0


def _time_left(attempt: Attempt, rate: float) -> float:
    score = (attempt.line - attempt.task.start) / attempt.task.lines
    return (1 - score) / rate if rate else inf


def _percentile(values: list[float]) -> float:
    if len(values) < 2:
        return values[0] if values else 0.0
    return quantiles(values, n=100, method="inclusive")[SLOW_PERCENT - 1]
