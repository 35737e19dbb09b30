"""Fixed size and guided self-scheduling: how loops are shared out among processors."""

from math import ceil

from attrs import define, field

from hagoop.lab.baselines.tasks import Attempt, Tasks
from hagoop.lab.contender import Job

TASKS_EACH = 16
"""How many tasks of fixed size there are for each of the machines that come first."""
TIME_OUTS = 10
"""A task is given up that takes so many times what it should."""
LEAST_SECONDS = 1.0
FIRST_SECONDS = 60.0
"""Before anything is known of how long lines take."""


@define(eq=False)
class Guided(Tasks):
    """Guided self-scheduling (Polychronopoulos and Kuck, 1987): an equal share of what is left.

    A task that takes ten times what all others have taken for each line is given to another; its machine
    keeps its connection, and what it may yet deliver counts if it is the first.
    """

    _spent: float = 0.0
    _done: int = 0

    def cut(self, session: int) -> int:
        return ceil((self.lines - self.untouched) / max(1, len(self.of_session)))

    def ended(self, attempt: Attempt, job: Job) -> None:
        self._spent += job.seconds + job.overhead
        self._done += attempt.task.lines

    def review(self) -> None:
        now = self.network.now()
        for each in list(self.attempts.values()):
            if not each.ahead and not each.late and now - each.began > self._time_out(each):
                each.late = True
                each.task.misses += 1
                if all(other.late for other in each.task.attempts):
                    self.put_back(each.task)
        self.serve()

    def _time_out(self, attempt: Attempt) -> float:
        if not self._done:
            return FIRST_SECONDS
        expected = attempt.task.lines * self._spent / self._done
        # Twice as long each time: a task that is merely long must end at some time.
        return max(LEAST_SECONDS, TIME_OUTS * expected) * float(2 ** min(attempt.task.misses, 10))


@define(eq=False)
class Fixed(Guided):
    """Tasks of one size: sixteen for each of the machines that were there in the first second."""

    _size: int = field(default=0)

    def cut(self, session: int) -> int:
        size = max(1, self.lines // (TASKS_EACH * max(1, len(self.of_session))))
        if self.network.now() < LEAST_SECONDS:
            self._size = size
        self._size = self._size or size
        return self._size
