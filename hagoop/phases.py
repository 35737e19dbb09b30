"""The data side of one request: its inputs, runs, cells and answer, and what follows each phase."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from attrs import define, field, frozen

from hagoop import wire
from hagoop.answers import Answer
from hagoop.cells import CELL_BYTES, Cells, cut_cells, one_cell
from hagoop.disk import is_passing
from hagoop.errors import BadMessage, Damaged, TransferFailed
from hagoop.frames import END_FRAME
from hagoop.inputs import MemoryInputs
from hagoop.interfaces import Arrived, IInputs, ISpool
from hagoop.jobs import (
    Assignment,
    Output,
    Phase,
    Piece,
    Place,
    Program,
    RequestId,
    Submission,
)
from hagoop.keys import Order
from hagoop.leased_lines import files_of, lines_of
from hagoop.merging import MERGE_RUNS, merge_groups
from hagoop.ranges import Range
from hagoop.run_indexes import RunIndexes
from hagoop.runs import INDEX_ENTRIES, TRAILER_BYTES, RunIndex, footer_place, read_index
from hagoop.slices import cut_slice
from hagoop.step_inputs import StepInputs

LEAST_CELLS = 256
"""Into how many cells a small output is cut, as far as its index allows."""
NO_RUN = RunIndex((), 0)
NOTHING: IInputs = MemoryInputs(())
"""In place of inputs that nobody reads any more."""
WHOLE = INDEX_ENTRIES
"""In place of a step: an index of one entry, for who reads runs from end to end."""
MOVING = ("round", "cut", "thin", "wanted", "runs", "groups", "cells", "replaced", "printed")
"""What changes from phase to phase of a step."""
CUT_ROUNDS = 1 << 20
"""More than there are steps, or rounds of merges."""


@frozen
class Run:
    """A sorted run of the request; empty ones have no place."""

    output: Output
    index: RunIndex


@frozen
class NextPhase:
    """What begins now.

    :param cumulative: the weights before each of its positions; None: its lines are still to be counted.
    :param reads: what it reads.
    """

    phase: Phase
    round: int
    cumulative: tuple[int, ...] | None
    reads: tuple[Output, ...]


@define(eq=False)
class RequestData:
    """What one request keeps in the spool, by name.

    Commits of a phase whose output is the answer are stored on the shelf of that name, all others on
    the shelf of runs, which is cleared when the request ends.

    :ivar round: how many rounds of merges have ended, in all steps.
    :ivar cut: tells apart what was cut in different ways, for positions of merges and of keys mean
        something only in the way that they were cut: more by one each time that runs were lost.
    :ivar thin: how many entries of the indexes are one, because there are so many; a part of the cut.
    :ivar least_cut: of what is cut from now on; it is another after a start from a backup.
    :ivar wanted: the phase that the runs are merged for.
    :ivar step: the step that runs, from 0; ``program`` is its program.
    :ivar printed: what the step before has printed, as long as it is this one's input.
    :ivar borrowers: how many other requests read what is on its shelves: nothing of that may go;
        ``lender``: the one whose shelves this one reads.
    """

    id: RequestId
    submission: Submission
    inputs: IInputs
    spool: ISpool
    answer: Answer
    most_runs: int = MERGE_RUNS
    round: int = 0
    cut: int = 0
    least_cut: int = 0
    thin: int = 1
    wanted: Phase = Phase.REDUCE
    runs: list[Run] = field(factory=list)
    groups: list[Range] = field(factory=list)
    cells: Cells = field(factory=lambda: Cells((), (0,)))
    replaced: list[Place] = field(factory=list)
    step: int = 0
    program: Program = field(init=False)
    printed: StepInputs | None = None
    borrowers: int = 0
    lender: "RequestData | None" = None
    _first_inputs: IInputs = field(init=False)
    _indexes: RunIndexes = field(factory=RunIndexes)

    def __attrs_post_init__(self) -> None:
        self.program, self._first_inputs = self.submission.program, self.inputs

    @property
    def answer_shelf(self) -> RequestId:
        """Stream and shelf of what must outlive the request's end."""
        return self.id

    @property
    def runs_shelf(self) -> RequestId:
        """Stream and shelf of what its end clears."""
        return RequestId(f"{self.id}.runs")

    def is_answer(self, phase: Phase) -> bool:
        """Whether what a phase prints is the answer."""
        return phase is self.program.last_phase and self.step == self.submission.steps - 1

    def prints_runs(self, phase: Phase) -> bool:
        """Whether what a phase prints is sorted, to be merged; else it is the step's answer."""
        return phase is not self.program.last_phase

    def round_of(self, phase: Phase) -> int:
        """By which number a phase is told from others of its kind: what belongs to another is void."""
        return round_of(phase, self.step, self.round, self.cut)

    def shelf(self, phase: Phase) -> RequestId:
        """Where outputs of a phase are kept and recorded."""
        return self.answer_shelf if self.is_answer(phase) else self.runs_shelf

    def check_run(self, arrived: Arrived) -> RunIndex:
        """The index of a run that has come.  Blocks shortly.

        :raises BadMessage: it is no sorted run.
        """
        with arrived.open() as file:
            return read_run_index(file, arrived.size)

    def know(self, place: Place, index: RunIndex) -> None:
        """Remember the index of a kept run, if there is room."""
        self._indexes.keep(place, index)

    # From phase to phase

    def after(self, phase: Phase, outputs: Sequence[Output]) -> NextPhase | None:
        """What follows when a phase has ended with these outputs; None: the answer is whole.  Blocks.

        It can be asked again when what it needs to read could not be read.
        """
        before = {name: getattr(self, name) for name in MOVING}
        try:
            return self._after(phase, outputs)
        except BaseException:
            for name, value in before.items():
                setattr(self, name, value)
            raise

    def _after(self, phase: Phase, outputs: Sequence[Output]) -> NextPhase | None:
        if self.is_answer(phase):
            return None
        self.cut = max(self.cut, self.least_cut)
        if phase is Phase.MERGE:
            outputs = self._replace_merged(outputs)
            self.round += 1
        else:
            self._replace_read(phase)
        if phase is self.program.last_phase:
            # A step that has printed nothing is followed by nothing.
            return self.enter(self.step + 1, outputs) if any(each.place for each in outputs) else None
        if phase is Phase.REDUCE:
            self.wanted = Phase.SORT
        return self.proceed(outputs)

    def _replace_read(self, phase: Phase) -> None:
        """What a phase has read is not needed any more."""
        if phase is not Phase.MAP:
            read = [each.output.place for each in self.runs if each.output.place]
            self.replaced = [*self.replaced, *read]
        elif self.printed is not None:
            self.replaced = [*self.replaced, *self.printed.parts]
            self.printed = None

    def close_inputs(self) -> None:
        """Nothing of what was submitted is read any more: there may be text, and an index of it."""
        self._first_inputs.close()
        # What is read in a thread just now keeps what it reads.
        if self.inputs is self._first_inputs:
            self.inputs = NOTHING
        self._first_inputs = NOTHING

    def be_at(self, step: int) -> None:
        """Another step's program runs from now on."""
        self.step, self.program = step, self.submission.step(step)
        # What still reads the old ones must not see them change.
        self.wanted, self.runs, self._indexes = Phase.REDUCE, [], RunIndexes()

    def enter(self, step: int, outputs: Sequence[Output]) -> NextPhase:
        """A step after the first, which reads what the one before has printed."""
        self.be_at(step)
        parts = [each.place for each in outputs if each.place is not None]
        digests = [each.digest for each in outputs if each.place is not None]
        self.inputs = self.printed = StepInputs(f"answer of step {step}", parts, self.spool, digests)
        return NextPhase(Phase.MAP, step, None, tuple(outputs))

    def proceed(self, runs: Sequence[Output], thin: int | None = None) -> NextPhase | None:
        """What follows from these runs: merging while there are too many, then what is wanted.  Blocks.

        The same runs give the same groups and cells, also after a restart.

        :param thin: as it was when what follows began; None: it begins now.
        """
        reads = tuple(each for each in runs if each.place is not None)
        sizes = self._look_at(reads, thin)
        if self.groups:
            weights = [sum(sizes[group.start : group.end]) for group in self.groups]
            return NextPhase(Phase.MERGE, self.round_of(Phase.MERGE), _accumulate(weights), reads)
        # Small outputs are cut finely too: reducers may be slow.
        self.cells = self._cut(max(1, min(CELL_BYTES, sum(sizes) // LEAST_CELLS)))
        if not self.cells.bounds:
            return None
        return NextPhase(self.wanted, self.round_of(self.wanted), self.cells.weights, reads)

    def _look_at(self, reads: Sequence[Output], thin: int | None) -> list[int]:
        """Take these runs, so much of their indexes as there is room for; how large each is."""
        looks = [(index.raw_bytes, index.memory_bytes) for index in map(self._index, reads)]
        sizes = [size for size, _ in looks]
        self.groups = merge_groups(sizes, self.most_runs)
        self.thin = self._indexes.step_for(sum(each for _, each in looks)) if thin is None else thin
        # Merges read runs from end to end.
        step = WHOLE if self.groups else self.thin
        self.runs = [Run(each, self._index(each).thinned(step)) for each in reads]
        self._indexes.clear()
        return sizes

    def _cut(self, cell_bytes: int) -> Cells:
        if self.program.reduce_whole and self.wanted is Phase.REDUCE:
            return one_cell([each.index for each in self.runs])
        cells = cut_cells([each.index for each in self.runs], cell_bytes)
        keys_count = self._order == Order.BY_LINE and self.wanted is Phase.REDUCE
        return cells.at_original_keys() if keys_count else cells

    @property
    def _order(self) -> Order:
        return self.program.order

    def _index(self, output: Output) -> RunIndex:
        place = output.place
        if place is None:
            return NO_RUN

        def read() -> RunIndex:
            with self.spool.open(place) as file, told_damaged(place):
                return read_run_index(file, place.size)

        return self._indexes.get(place, read)

    def _replace_merged(self, outputs: Sequence[Output]) -> list[Output]:
        merged = {each.start: each for each in outputs}
        known = [each.output for each in self.runs]
        kept: list[Output] = []
        at = 0
        for number, group in enumerate(self.groups):
            kept += [*known[at : group.start], merged[number]]
            at = group.end
            merged_away = [each.place for each in known[group.start : group.end] if each.place]
            self.replaced = [*self.replaced, *merged_away]
        return kept + known[at:]

    def drop_replaced(self) -> None:
        """What was merged is on disk and named: its parents may go, now or with all else."""
        if self.borrowers:
            return
        self.spool.drop(self.runs_shelf, self.replaced)
        self.replaced.clear()

    # Bytes of an assignment

    def pieces(self, phase: Phase, start: int, end: int) -> tuple[Piece, ...]:
        """Where a map assignment's lines are.

        :raises NoSuchInput: an input has changed.
        """
        return tuple(self.inputs.pieces(start, end)) if phase is Phase.MAP else ()

    def stream(self, assignment: Assignment) -> Iterator[bytes]:
        """The bytes of an assignment: a line of JSON, then lines (map) or frames.  Blocks.

        :raises TransferFailed: it is of a step, or a request, that is over.
        """
        self._check_step(assignment)
        is_map = assignment.phase is Phase.MAP
        yield from lines_of(self.inputs, assignment) if is_map else self._slices(assignment)

    def files(self, assignment: Assignment) -> Iterator[bytes]:
        """The files with a map assignment's lines, if all are in place: a line of JSON.  Blocks.

        :raises TransferFailed: as for ``stream``.
        """
        self._check_step(assignment)
        yield wire.encode(files_of(self.inputs, assignment)) + b"\n"

    def _check_step(self, assignment: Assignment) -> None:
        is_gone = assignment.phase is Phase.MAP and self.inputs is NOTHING
        if is_gone or assignment.round != self.round_of(assignment.phase):
            raise TransferFailed(f"{assignment.phase} {assignment.round} of {self.id} is over")

    def _slices(self, assignment: Assignment) -> Iterator[bytes]:
        if assignment.phase is Phase.MERGE:
            group = self.groups[assignment.start]
            runs, bounds = self.runs[group.start : group.end], [b"", None]
        else:
            runs = self.runs
            known: list[bytes | None] = [*self.cells.bounds, None]
            bounds = known[assignment.start : assignment.end + 1]
        texts = [each if each is None else each.decode("latin-1") for each in bounds]
        yield wire.encode({"bounds": texts, "slices": len(runs)}) + b"\n"
        for run in runs:
            yield from self._slice(run, bounds[0] or b"", bounds[-1])

    def _slice(self, run: Run, low: bytes, high: bytes | None) -> Iterator[bytes]:
        place = run.output.place
        if place is not None:
            with self.spool.open(place) as file, told_damaged(place):
                yield from cut_slice(file, run.index, low, high, self._order)
        yield END_FRAME


def round_of(phase: Phase, step: int, merges: int, cut: int) -> int:
    """As ``RequestData`` has it, by how many rounds of merges have ended."""
    if phase is Phase.MAP:
        return step
    return cut * CUT_ROUNDS + (merges if phase is Phase.MERGE else step)


@contextmanager
def told_damaged(place: Place) -> Iterator[None]:
    """What was sound when it was kept, and is not now, was damaged since."""
    try:
        yield
    except (BadMessage, OSError) as error:
        if is_passing(error):
            raise
        raise Damaged(f"{place.path!r} of the spool is damaged: {error}") from error


def _accumulate(weights: Sequence[int]) -> tuple[int, ...]:
    totals = [0]
    for each in weights:
        totals.append(totals[-1] + max(1, each))
    return tuple(totals)


def read_run_index(file: BinaryIO, size: int) -> RunIndex:
    """The index of the run in a file.

    :raises BadMessage: it is no sorted run.
    """
    if size < TRAILER_BYTES:
        raise BadMessage("what a job printed is not a sorted run: it is too short")
    file.seek(size - TRAILER_BYTES)
    trailer = file.read(TRAILER_BYTES)
    offset, length = footer_place(trailer)
    if offset + length != size - TRAILER_BYTES:
        raise BadMessage("what a job printed is not a sorted run: its footer is misplaced")
    file.seek(offset)
    return read_index(file.read(length), trailer)
