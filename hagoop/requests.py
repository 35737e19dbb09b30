"""One request as the ledger knows it: its phases, who is unfit for it, whose fault what was."""

from collections.abc import Iterable

from attrs import define, field, frozen

from hagoop.experience import Pace
from hagoop.jobs import (
    BadLine,
    Counter,
    Failure,
    Finished,
    Output,
    Phase,
    Place,
    Program,
    RequestId,
    State,
    Submission,
    WorkerId,
)
from hagoop.progress import Progress
from hagoop.suspicion import History

FAST_SECONDS = 1.0
"""A program that fails sooner than this, and everywhere, is broken: there is no use in more tries."""
MOST_COUNT = 2**63 - 1
"""Where a counter stops: a worker may claim any amount, and JSON has a limit of digits."""


@frozen
class Given:
    """What a range gave first.

    :param digest: of its bytes; empty when nothing ran.
    :param worker: the name of the worker that gave it.
    """

    end: int
    digest: str
    place: Place | None
    worker: str


@define(eq=False)
class Request:
    """A request's account.

    :ivar progress: the phase that runs; None between phases.
    :ivar step: the step that runs, from 0; ``program`` is its program.
    :ivar outputs: of each finished phase of the step, the last one last; those of a phase in order.
    :ivar unfit: workers that lack its program, and how they said so.
    :ivar leases: how many are out.
    :ivar commits: how many there were in the step.
    :ivar set_aside: how many lines were found bad in the step; ``bad_lines``: those of all steps that
        are on disk as such, by step and position.
    :ivar given: what each range gave, by phase, round and start; of what comes later it may differ.
    :ivar warnings: sentences about the answer, those that are on disk.
    """

    id: RequestId
    submission: Submission
    submitted: float
    state: State = State.RUNNING
    message: str = ""
    progress: Progress | None = None
    outputs: dict[Phase, list[Output]] = field(factory=dict)
    unfit: dict[WorkerId, str] = field(factory=dict)
    paces: dict[tuple[Phase, WorkerId], Pace] = field(factory=dict)
    counters: dict[tuple[str, str], int] = field(factory=dict)
    status: str = ""
    log: str = ""
    leases: int = 0
    failures: int = 0
    commits: int = 0
    step: int = 0
    program: Program = field(init=False)
    set_aside: int = 0
    bad_lines: dict[tuple[int, int], BadLine] = field(factory=dict)
    given: dict[tuple[Phase, int, int], Given] = field(factory=dict)
    warnings: list[str] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.program = self.submission.program

    def begin_step(self, step: int) -> None:
        """Another program runs from now on: what was seen of the one before says nothing of it."""
        self.step, self.program = step, self.submission.step(step)
        self.commits = self.set_aside = 0
        self.outputs.clear()
        self.unfit.clear()
        self.paces.clear()
        self.given.clear()

    @property
    def most_bad_lines(self) -> int:
        """How many lines may be set aside in the step."""
        return self.program.skip_bad_lines

    def may_skip(self, phase: Phase) -> bool:
        """Whether lines on which the program fails are set aside in a phase."""
        return phase is Phase.MAP and self.most_bad_lines > 0

    def found_bad(self, line: BadLine) -> None:
        """A line was set aside, and that is on disk."""
        self.bad_lines[line.step, line.position] = line

    @property
    def program_attempts(self) -> int:
        """How often its program may fail on the same lines."""
        return self.program.attempts

    def pace(self, worker: WorkerId, phase: Phase) -> Pace:
        """The worker's speed on this phase, to be added to."""
        known = self.paces.get((phase, worker))
        # Looked up for all workers at a time: a new one is not made to be thrown away.
        return self.paces.setdefault((phase, worker), Pace()) if known is None else known

    def count(self, finished: Finished) -> None:
        """A commit was accepted: its counters and words are the request's now."""
        self.commits += 1
        self.status = finished.status or self.status
        self.log = finished.log or self.log
        self.add_counters(finished.counters)

    def add_counters(self, counters: Iterable[Counter]) -> None:
        """Add what one commit counted."""
        for each in counters:
            key = each.group, each.name
            counted = self.counters.get(key, 0) + each.amount
            self.counters[key] = max(-MOST_COUNT, min(counted, MOST_COUNT))

    def failed(self, failure: Failure) -> None:
        """The program failed."""
        self.failures += 1
        self.log = failure.log or self.log

    def refuses(self, worker: WorkerId, others: Iterable[WorkerId], history: History) -> bool:
        """Whether ``worker`` should not try a head again: it failed there, and others have not.

        :param others: who else could.
        """
        tried = history.tried_by
        if worker not in tried:
            return False
        return any(each not in tried and each not in self.unfit for each in others)

    def is_hopeless(self, failure: Failure, history: History, workers: int) -> bool:
        """Whether one more failure of the program, counted in ``history``, is the last."""
        attempts = len(history.failed_by)
        if attempts >= self.program_attempts:
            return True
        broken = not self.commits and failure.seconds < FAST_SECONDS
        return broken and attempts >= min(self.program_attempts, workers + 1)
