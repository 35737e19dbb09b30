"""What a request takes from another, so as to go on from there to an answer of its own."""

from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from hagoop.answers import Answer
from hagoop.enough import ALL
from hagoop.inputs import MemoryInputs
from hagoop.jobs import BadLine, Cover, Missing, Output, Phase, RequestId, Submission
from hagoop.missing import gaps
from hagoop.phases import RequestData
from hagoop.progress import Progress
from hagoop.ranges import Range
from hagoop.requests import Request


@frozen
class Taken:
    """What is committed of the running phase of a request, taken as all that there will be.

    :param ranges: the positions of the phase of which there are no outputs.
    :param missing: what the answer will not cover, as it is told to users; ``cover`` sums it up.
    """

    lender: RequestData
    phase: Phase
    step: int
    outputs: Sequence[Output]
    ranges: Sequence[Range]
    missing: tuple[Missing, ...]
    cover: Cover | None
    bad_lines: Mapping[tuple[int, int], BadLine]
    counters: Mapping[tuple[str, str], int]
    warnings: Sequence[str]

    @classmethod
    def now(cls, account: Request, lender: RequestData, progress: Progress) -> "Taken":
        """All at this moment; of what is missing, that of phases before."""
        outputs = progress.in_order()
        return cls(
            lender,
            progress.phase,
            lender.step,
            outputs,
            gaps(outputs, progress.total),
            account.missing,
            account.cover,
            dict(account.bad_lines),
            dict(account.counters),
            list(account.warnings),
        )

    @property
    def submission(self) -> Submission:
        """The same programs, under another name."""
        known = self.lender.submission
        return evolve(known, label=f"partial of {self.lender.id}: {known.label}", good_enough=ALL)

    def begin(self, request: RequestId, answer: Answer, most_runs: int) -> RequestData:
        """The data of a request that goes on from here; it reads what the lender keeps."""
        made = RequestData(
            request, self.submission, MemoryInputs(()), self.lender.spool, answer, most_runs
        )
        made.be_at(self.step)
        made.lender = self.lender
        if made.is_answer(self.phase):
            for each in self.outputs:
                answer.add(each)
            answer.leave_out(self.ranges)
        return made

    def copy_to(self, made: Request) -> None:
        """What was said of the lines and keys that are covered."""
        made.begin_step(self.step)
        made.partial_of = self.lender.id
        made.missing, made.cover = self.missing, self.cover
        made.bad_lines, made.counters = dict(self.bad_lines), dict(self.counters)
        made.warnings = list(self.warnings)
