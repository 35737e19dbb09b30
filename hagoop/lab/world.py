"""A recorded fleet, a network with delays, and a scheduler that is put to the test, in virtual time."""

from collections.abc import Callable

from attrs import define, field
from zope.interface import implementer

from hagoop.lab.clock import HeapClock
from hagoop.lab.contender import Grant, IContender, INetwork, Job
from hagoop.lab.lives import Recording
from hagoop.lab.machine import Machine
from hagoop.lab.tally import Tally
from hagoop.lab.work import Work
from hagoop.policy import IDLE_BEAT_SECONDS, SILENCE_SECONDS

GUESSES = 100
"""How many guesses of the time left are asked for in as long as a perfect scheduler would need."""


@implementer(INetwork)
@define(eq=False)
class World:
    """One run.

    :ivar contender: who schedules; made for this world's network.
    :ivar spawns: whether the program is started for each job; else once in a session.
    :ivar ask_ahead: how long before the end of what it has a machine asks for more.
    """

    recording: Recording
    make: "Callable[[World], IContender]"
    spawns: bool = False
    ask_ahead: float = 0.05
    tell: Callable[..., None] | None = None
    clock: HeapClock = field(factory=HeapClock)
    tally: Tally = field(factory=Tally)
    contender: IContender = field(init=False)
    machines: list[Machine] = field(init=False)
    _by_session: dict[int, Machine] = field(factory=dict)
    _heard: dict[int, float] = field(factory=dict)
    _sessions: int = 0

    def __attrs_post_init__(self) -> None:
        self.contender = self.make(self)
        lives = enumerate(self.recording.lives)
        self.machines = [Machine(number, life, self) for number, life in lives]
        for each in self.machines:
            for stay in each.life.stays:
                self.clock.at(stay.joins, each.come, stay)

    @property
    def work(self) -> Work:
        """What there is to compute."""
        return self.recording.work

    @property
    def commit_cost(self) -> float:
        """What a job costs besides computing."""
        return self.recording.commit_cost

    def run(self) -> Tally:
        """Let all of it happen."""
        self._beat()
        self._review()
        self._guess()
        self.clock.run(self.recording.horizon, lambda: self.contender.finished)
        self.tally.ended(self.clock.now, finished=self.contender.finished)
        return self.tally

    # What machines do

    def join(self, machine: Machine, identity: str) -> int:
        """A session begins; its number."""
        self._sessions += 1
        session = self._sessions
        self._by_session[session] = machine
        self.clock.at(self.clock.now + machine.life.round_trip / 2, self._joined, session, identity)
        self._tell("join", machine)
        return session

    def _joined(self, session: int, identity: str) -> None:
        self._heard[session] = self.clock.now
        self.contender.joined(session, identity)

    def left(self, machine: Machine, session: int, how: str, lost: float) -> None:
        """A session is over, as the machine knows."""
        self.tally.lost(lost)
        self._tell(how, machine)
        if how in ("close", "notice"):
            arrives = self.clock.now + machine.life.round_trip / 2
            self.clock.at(arrives, self._closed, session, how != "notice")

    def _closed(self, session: int, failed: bool) -> None:
        if self._heard.pop(session, None) is not None:
            self._by_session.pop(session)
            self.contender.closed(session, failed)

    def say(self, machine: Machine, method: Callable[..., object], *args: object) -> None:
        """A message to the server, whose session comes first."""
        self.clock.at(self.clock.now + machine.life.round_trip / 2, self._said, method, args)

    def _said(self, method: Callable[..., object], args: tuple[object, ...]) -> None:
        session = args[0]
        if session in self._heard:
            self._heard[session] = self.clock.now
            self.tally.messages += 1
            method(*args)

    def deliver(self, machine: Machine, job: Job, work: float) -> None:
        """A commit, which computed so many reference seconds."""
        self.say(machine, self._delivered, machine.session, machine, job, work)

    def _delivered(self, session: int, machine: Machine, job: Job, work: float) -> None:
        accepted, seconds = self.contender.committed(session, job)
        self.tally.committed(accepted, work)
        self._tell("commit" if accepted else "late", machine, job.start, job.end)
        self._send(session, machine.acknowledged, accepted, seconds, job.id)

    def wasted(self, work: float) -> None:
        """Computed for nothing."""
        self.tally.lost(work)

    # What the server says

    def now(self) -> float:
        """Virtual seconds."""
        return self.clock.now

    def way(self, session: int) -> float:
        """Seconds of a round trip."""
        return self._by_session[session].life.round_trip

    def grant(self, session: int, grant: Grant, *, copy: bool = False) -> None:
        """Give work."""
        self.tally.leases += 1
        self.tally.copies += copy
        self._tell("copy" if copy else "lease", self._by_session[session], grant.start, grant.end)
        self._send(session, self._by_session[session].given, grant)

    def take_back(self, session: int, grant: str, end: int) -> None:
        """Ask for the rest of a grant, unless the same review has just closed the session."""
        machine = self._by_session.get(session)
        if machine is None:
            return
        self.tally.taken_back += 1
        self._tell("take_back", machine)
        self._send(session, self._taken_back, session, machine, grant, end)

    def _taken_back(self, session: int, machine: Machine, grant: str, end: int) -> None:
        kept = machine.take_back(grant, end)
        self.say(machine, self.contender.stopped, session, grant, kept)

    def cancel(self, session: int, grant: str) -> None:
        """Let a grant be dropped."""
        machine = self._by_session[session]
        self._tell("cancel", machine)
        self._send(session, self._cancelled, session, machine, grant)

    def _cancelled(self, session: int, machine: Machine, grant: str) -> None:
        machine.cancel(grant)
        self.say(machine, self.contender.returned, session, grant)

    def close(self, session: int) -> None:
        """End a session."""
        machine = self._by_session.get(session)
        self._closed(session, failed=True)
        if machine is not None and machine.session == session:
            self.clock.at(self.clock.now + machine.life.round_trip / 2, self._told, session, machine)

    def _told(self, session: int, machine: Machine) -> None:
        if machine.session == session:
            machine.closed()

    def _send(self, session: int, call: Callable[..., object], *args: object) -> None:
        machine = self._by_session[session]
        arrives = self.clock.now + machine.life.round_trip / 2
        self.clock.at(arrives, self._arrived, session, machine, call, args)

    def _arrived(
        self, session: int, machine: Machine, call: Callable[..., object], args: tuple[object, ...]
    ) -> None:
        if machine.session == session and not machine.mute:
            call(*args)

    # Time passes

    def _beat(self) -> None:
        now = self.clock.now
        for machine in self.machines:
            session = machine.session
            if session is None or machine.mute or session not in self._heard:
                continue
            sight = machine.sight(machine.life.round_trip / 2)
            if sight is None and now - self._heard[session] < IDLE_BEAT_SECONDS:
                continue
            self._heard[session] = now
            self.tally.beats += 1
            self.contender.beat(session, sight)
        for session in [s for s, heard in self._heard.items() if now - heard > SILENCE_SECONDS]:
            self.close(session)
        self.clock.at(now + self.contender.beat_seconds, self._beat)

    def _guess(self) -> None:
        now = self.clock.now
        guess = self.contender.seconds_left()
        if guess is not None:
            self.tally.guesses.append((now, *guess))
        self.clock.at(now + self.recording.capacity_seconds / GUESSES, self._guess)

    def _review(self) -> None:
        self.contender.review()
        self.clock.at(self.clock.now + self.contender.review_seconds, self._review)

    def _tell(self, what: str, machine: Machine, *args: int) -> None:
        if self.tell is not None:
            self.tell(self.clock.now, what, machine.number, *args)
