"""One simulated machine: it joins and leaves as was recorded, and works as a worker does.

It cuts what it is given into jobs by the worker's own ``JobSizer``, delivers one while it does the
next, asks ahead, and answers when it is asked to stop early.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from attrs import define, field

from hagoop.experience import JobSizer
from hagoop.lab.clock import HeapClock
from hagoop.lab.contender import Grant, IContender, Job, Sight
from hagoop.lab.lives import Life, Stay
from hagoop.lab.work import Work

BAD_SECONDS = 0.02
RETURN_SECONDS = 1.0
"""When one that was closed, and whose record says that it is there, joins again."""
MOST_UNACKNOWLEDGED = 4
LATE = 1.25
"""A job that has lasted so much longer than it was meant to is ended early."""
PIPE_SECONDS = 0.02
LEAST_PIPED, MOST_PIPED = 40, 650
"""Lines of 100 bytes in pipes of 4 KiB and of 64 KiB."""


class Ground(Protocol):
    """What a machine needs of the world it is in.

    :ivar spawns: whether the program is started for each job; else once in a session.
    :ivar commit_cost: seconds that a job costs besides computing.
    :ivar ask_ahead: how long before the end of what it has it asks for more.
    """

    clock: HeapClock
    contender: IContender
    spawns: bool
    ask_ahead: float

    @property
    def work(self) -> Work:
        """What there is to compute."""

    @property
    def commit_cost(self) -> float:
        """What a job costs besides."""

    def join(self, machine: "Machine", identity: str) -> int:
        """A session begins; its number."""

    def left(self, machine: "Machine", session: int, how: str, lost: float) -> None:
        """It is over."""

    def say(self, machine: "Machine", method: Callable[..., object], *args: object) -> None:
        """A message to the server."""

    def deliver(self, machine: "Machine", job: Job, work: float) -> None:
        """A commit."""

    def wasted(self, work: float) -> None:
        """Computed for nothing."""


@define(eq=False)
class Held:
    """A grant in hand.

    :ivar at: where the next job begins, or the one in hand.
    :ivar fetched: when the first of its lines began to come over the link.
    """

    grant: Grant
    end: int
    at: int
    commit_seconds: float
    job_end: int = 0
    fetched: float = 0.0


@define(eq=False)
class Machine:
    """A machine in one world.

    :ivar session: the number of its session; None while it has none.
    :ivar mute: whether it says nothing any more.
    :ivar held: what it works on; ``ahead``: what it was given in advance.
    :ivar serial: counts what it does, so that what was planned before is known to be void.
    """

    number: int
    life: Life
    world: Ground
    session: int | None = None
    stay: Stay | None = None
    mute: bool = False
    held: Held | None = None
    ahead: deque[Held] = field(factory=deque)
    sizer: JobSizer = field(factory=JobSizer)
    serial: int = 0
    _cold: bool = True
    _asked: bool = False
    _unacknowledged: int = 0
    _waiting: bool = False
    _computes_from: float = 0.0
    _job_began: float = 0.0
    _job_work: float = 0.0
    _link_free: float = 0.0

    # Sessions

    def come(self, stay: Stay) -> None:
        """Join the server, as the record says."""
        if self.session is not None:
            return  # It has come back by itself.
        self.stay, self.mute = stay, False
        self.session = session = self.world.join(self, stay.identity)
        self._cold, self._asked, self._unacknowledged, self._waiting = True, False, 0, False
        self.sizer = JobSizer()
        self._link_free = 0.0
        self._later(self.life.round_trip, self._ask)
        self.world.clock.at(stay.ends, self._end, session, stay)

    def _end(self, session: int, stay: Stay) -> None:
        if self.session == session:
            self.go(stay.how)

    def go(self, how: str) -> None:
        """The session is over; what is in hand is lost."""
        session, self.session = self.session, None
        assert session is not None
        self.serial += 1
        self.world.left(self, session, how, self.lost_work)
        self.held = None
        self.ahead.clear()

    def closed(self) -> None:
        """The server, or it itself, has closed the connection; it comes again if it is still there."""
        self.go("close")
        back = self.world.clock.now + RETURN_SECONDS
        if self.stay is not None and back < self.stay.ends:
            self.world.clock.at(back, self.come, self.stay)

    # Work

    def _ask(self) -> None:
        if not self._asked and self.session is not None:
            self._asked = True
            self.world.say(self, self.world.contender.asked, self.session)

    def given(self, grant: Grant) -> None:
        """Work has arrived."""
        self._asked = False
        if self.life.kind == "bad":
            self._later(BAD_SECONDS, self.closed)
        if self.life.kind != "ok":
            self.mute = True
            return
        held = Held(grant, grant.end, grant.start, grant.commit_seconds, grant.start)
        self.ahead.append(held)
        if self.held is None:
            self._begin_next()

    def _begin_next(self) -> None:
        if not self.ahead:
            self._ask()
            return
        self.held = held = self.ahead.popleft()
        held.fetched = max(self.world.clock.now, self._link_free)
        self._begin_job(held)

    def _begin_job(self, held: Held) -> None:
        if held.at >= held.end:
            self._link_free = held.fetched + (held.end - held.grant.start) * self.life.transfer
            self.held = None
            self._begin_next()
            return
        if self._unacknowledged >= MOST_UNACKNOWLEDGED:
            self._waiting = True
            return
        left = held.end - held.at
        count = left if held.grant.whole else self.sizer.next_job(left, held.commit_seconds)
        held.job_end = held.at + count
        now = self.world.clock.now
        starts = self.life.start if self._cold or self.world.spawns else 0.0
        self._cold = False
        self._job_began, self._computes_from = now, now + starts
        self._plan(held)
        if not held.grant.whole:
            self._later(starts + LATE * held.commit_seconds, self._late, held, held.job_end)

    def _plan(self, held: Held) -> None:
        """When the job in hand will have ended, and when to ask for more."""
        life, work = self.life, self.world.work
        self._job_work = work.seconds_before(held.job_end) - work.seconds_before(held.at)
        computed = life.time_of(self._computes_from, self._job_work)
        arrived = held.fetched + (held.job_end - held.grant.start) * life.transfer
        self.serial += 1
        ends = max(computed, arrived)
        if self.stay is not None and ends <= self.stay.ends:
            self.world.clock.at(ends, self._job_ended, self.session, self.serial)
        if held.job_end >= held.end:
            lasted = self.world.clock.now - self._job_began
            expected = self.sizer.expected_seconds(held.job_end - held.at) - lasted
            self._later(max(0.0, expected - self.world.ask_ahead), self._ask_in_time, self.serial)

    def _late(self, held: Held, job_end: int) -> None:
        """The job in hand takes longer than it was meant to: end it with what its program was fed."""
        if self.held is not held or held.job_end != job_end:
            return
        lasted = self.world.clock.now - self._computes_from
        taken = self._line(held, self.world.clock.now) - held.at
        if taken and (held.job_end - held.at - taken) * lasted / taken < held.commit_seconds / 2:
            return
        self._cut(held, 0)

    def _cut(self, held: Held, end: int) -> None:
        """Feed the program of the job in hand no more than to ``end``, or what it was fed already."""
        fed = self._line(held, self.world.clock.now) + 1 + self._piped
        if max(fed, end) < held.job_end and not held.grant.whole and self._job_work:
            held.job_end = max(fed, end)
            self._plan(held)

    @property
    def _piped(self) -> int:
        """How many lines a pipe holds: what is done in ``PIPE_SECONDS``, within bounds."""
        seconds = self.sizer.expected_seconds(1000) / 1000
        wanted = PIPE_SECONDS / seconds if seconds else 0.0
        return int(max(LEAST_PIPED, min(wanted, MOST_PIPED)))

    def _line(self, held: Held, when: float) -> int:
        """The line of the job in hand that its program was at."""
        if not self._job_work:
            return held.at
        done = min(self.life.work_done(self._computes_from, when), self._job_work)
        before = self.world.work.seconds_before(held.at)
        return max(held.at, min(int(self.world.work.line_at(before + done)), held.job_end))

    def _ask_in_time(self, serial: int) -> None:
        if serial == self.serial:
            self._ask()

    def _job_ended(self, session: int, serial: int) -> None:
        if (session, serial) != (self.session, self.serial):
            return
        assert self.held is not None
        seconds = self.world.clock.now - self._job_began
        self._later(self.world.commit_cost, self._deliver, self.serial, seconds)

    def _deliver(self, serial: int, seconds: float) -> None:
        held = self.held
        if serial != self.serial or held is None or self.session is None:
            return
        self.sizer.observe(held.job_end - held.at, seconds)
        job = Job(held.grant.id, held.at, held.job_end, seconds, self.world.commit_cost)
        self._unacknowledged += 1
        self.world.deliver(self, job, self._job_work)
        held.at = held.job_end
        self._job_work = 0.0
        self._begin_job(held)

    def acknowledged(self, accepted: bool, commit_seconds: float, grant: str) -> None:
        """The server has answered a commit; a grant of which one did not count is dropped."""
        self._unacknowledged -= 1
        held = self.held
        if not accepted and held is not None and held.grant.id == grant:
            self.cancel(grant)
            self.world.say(self, self.world.contender.returned, self.session, grant)
            return
        if held is not None and held.grant.id == grant and commit_seconds:
            held.commit_seconds = commit_seconds
        if self._waiting and held is not None:
            self._waiting = False
            self._begin_job(held)

    # What the server says

    def take_back(self, grant: str, end: int) -> int:
        """Where it will stop, having been asked to at ``end``."""
        for each in self.ahead:
            if each.grant.id == grant:
                each.end = max(min(each.end, end), each.at + 1)
                return each.end
        held = self.held
        if held is None or held.grant.id != grant:
            return end
        if end < held.job_end:
            self._cut(held, end)
        held.end = max(min(held.end, end), held.job_end)
        return held.end

    def cancel(self, grant: str) -> None:
        """Drop a grant; its program is ended, and the next one is a cold start."""
        self.ahead = deque(each for each in self.ahead if each.grant.id != grant)
        if self.held is not None and self.held.grant.id == grant:
            self.world.wasted(self.lost_work)
            self.serial += 1
            self._cold, self._waiting, self.held, self._job_work = True, False, None, 0.0
            self._begin_next()

    @property
    def lost_work(self) -> float:
        """Reference seconds computed for the job in hand."""
        if self.held is None or not self._job_work:
            return 0.0
        done = self.life.work_done(self._computes_from, self.world.clock.now)
        return min(done, self._job_work)

    def sight(self, ago: float) -> Sight | None:
        """What its Beat said, so many seconds ago."""
        held = self.held
        if held is None:
            return None
        line = self._line(held, self.world.clock.now - ago)
        return Sight(held.grant.id, held.job_end, line - held.grant.start)

    def _later(self, seconds: float, call: Callable[..., object], *args: object) -> None:
        """Do something after a while, unless the session is over by then."""
        self.world.clock.at(self.world.clock.now + seconds, self._if_still, self.session, call, args)

    def _if_still(
        self, session: int | None, call: Callable[..., object], args: tuple[object, ...]
    ) -> None:
        if session is not None and session == self.session:
            call(*args)
