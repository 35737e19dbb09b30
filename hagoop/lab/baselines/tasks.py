"""What the baselines share: tasks, each of them lines in one whole job that counts at its end."""

from collections import deque

from attrs import define, field
from zope.interface import implementer

from hagoop.lab.contender import Grant, IContender, INetwork, Job, Sight


@define(eq=False)
class Task:
    """Lines that are done by one machine in one go.

    :ivar attempts: who is at it.
    :ivar misses: how often it was late; ``is_put_back``: whether it waits to be given out again.
    """

    start: int
    end: int
    attempts: "list[Attempt]" = field(factory=list)
    done: bool = False
    misses: int = 0
    is_put_back: bool = False

    @property
    def lines(self) -> int:
        """How many."""
        return self.end - self.start


@define(eq=False)
class Attempt:
    """A task that a machine has been given.

    :ivar line: the last that its machine was seen at.
    :ivar ahead: whether the machine was busy with another when it was given this.
    """

    id: str
    session: int
    task: Task
    began: float
    line: int
    ahead: bool = False
    late: bool = False


@implementer(IContender)
@define(eq=False)
class Tasks:
    """Gives out tasks; those that are lost are given out again, before anything else.

    A scheduler of this kind says how large the next task is (``cut``), and may copy (``spare``) and look
    for what is late (``review``).

    :ivar untouched: the first line that nobody was given; ``again``: tasks that were lost.
    :ivar waiting: sessions that want work, longest first.
    """

    network: INetwork
    beat_seconds: float = 5.0
    review_seconds: float = 1.0
    finished: bool = False
    lines: int = 0
    left: int = 0
    untouched: int = 0
    again: deque[Task] = field(factory=deque)
    attempts: dict[str, Attempt] = field(factory=dict)
    of_session: dict[int, list[Attempt]] = field(factory=dict)
    waiting: dict[int, None] = field(factory=dict)
    _count: int = 0

    def begin(self, lines: int) -> None:
        self.lines = self.left = lines

    def joined(self, session: int, identity: str) -> None:
        self.of_session[session] = []

    def asked(self, session: int) -> None:
        self.waiting[session] = None
        self.serve()

    def beat(self, session: int, seen: Sight | None) -> None:
        attempt = self.attempts.get(seen.id) if seen else None
        if attempt is not None and seen is not None:
            if attempt.ahead:
                attempt.ahead, attempt.began = False, self.network.now()
            attempt.line = max(attempt.line, attempt.task.start + seen.done)

    def committed(self, session: int, job: Job) -> tuple[bool, float]:
        attempt = self.attempts.get(job.id)
        if attempt is None or attempt.task.done:
            return False, 0.0
        task = attempt.task
        task.done = True
        self.left -= task.lines
        self.finished = not self.left
        self.ended(attempt, job)
        self._drop(attempt)
        for each in list(task.attempts):
            self.network.cancel(each.session, each.id)
            self._drop(each)
        self.serve()
        return True, 0.0

    def stopped(self, session: int, grant: str, end: int) -> None:
        """Nothing is taken back."""

    def returned(self, session: int, grant: str) -> None:
        """It was forgotten when it was cancelled."""

    def leaving(self, session: int, seconds: float) -> None:
        """That it says so changes nothing."""

    def closed(self, session: int, failed: bool) -> None:
        self.waiting.pop(session, None)
        for each in self.of_session.pop(session, []):
            self.of_attempt_lost(each)
        self.serve()

    def review(self) -> None:
        """Nothing is looked for."""

    def seconds_left(self) -> None:
        """It does not guess."""

    # What kinds of it say

    def cut(self, session: int) -> int:
        """How many lines the next task for a machine has."""
        raise NotImplementedError

    def spare(self, session: int) -> Task | None:
        """What a machine may copy for which nothing else is left."""
        return None

    def ended(self, attempt: Attempt, job: Job) -> None:
        """A task was done."""

    # Giving

    def serve(self) -> None:
        """Give work to whoever waits, as long as there is some."""
        for session in list(self.waiting):
            task = self._next(session)
            if task is not None:
                del self.waiting[session]
                self._give(session, task)
            elif not self.again and self.untouched == self.lines and not self.copies_now():
                return

    def copies_now(self) -> bool:
        """Whether it is worth asking ``spare`` for each that waits."""
        return False

    def _next(self, session: int) -> Task | None:
        return self.lost_one() or self.fresh_one(session) or self.spare(session)

    def lost_one(self) -> Task | None:
        """A task that was put back."""
        while self.again:
            task = self.again.popleft()
            task.is_put_back = False
            if not task.done:
                return task
        return None

    def fresh_one(self, session: int) -> Task | None:
        """A new task, of lines that nobody was given."""
        if self.untouched == self.lines:
            return None
        start = self.untouched
        self.untouched = min(self.lines, start + max(1, self.cut(session)))
        return Task(start, self.untouched)

    def _give(self, session: int, task: Task) -> None:
        self._count += 1
        held = self.of_session[session]
        attempt = Attempt(f"t{self._count}", session, task, self.network.now(), task.start, bool(held))
        self.attempts[attempt.id] = attempt
        copy = bool(task.attempts)
        task.attempts.append(attempt)
        held.append(attempt)
        grant = Grant(attempt.id, task.start, task.end, whole=True)
        self.network.grant(session, grant, copy=copy)

    # Losing

    def of_attempt_lost(self, attempt: Attempt) -> None:
        """Its machine is gone, or given up: the task is for others, if nobody else is at it."""
        self._drop(attempt)
        if not attempt.task.done and not attempt.task.attempts:
            self.put_back(attempt.task)

    def put_back(self, task: Task) -> None:
        """Let it be given out again."""
        if not task.is_put_back:
            task.is_put_back = True
            self.again.append(task)

    def _drop(self, attempt: Attempt) -> None:
        del self.attempts[attempt.id]
        attempt.task.attempts.remove(attempt)
        held = self.of_session.get(attempt.session)
        if held is not None and attempt in held:
            held.remove(attempt)
            for each in held[:1]:
                if each.ahead:
                    each.ahead, each.began = False, self.network.now()
