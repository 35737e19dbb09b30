"""The values that ledger, scheduler, server, worker and client hand to each other.

All are frozen, made of plain values and tuples, so that ``commands.py`` can carry
them as JSON.  Bytes that are not text (file names) are ``str`` as ``os.fsdecode``
makes them.
"""

from enum import StrEnum
from typing import NewType

from attrs import evolve, field, frozen
from attrs.validators import ge, instance_of, le

from hagoop.enough import ALL
from hagoop.keys import MOST_FIELDS, Order

RequestId = NewType("RequestId", str)
WorkerId = NewType("WorkerId", str)
"""A worker's identity: kept in its state folder, outlives its sessions."""
SessionId = NewType("SessionId", int)
AssignmentId = NewType("AssignmentId", str)
"""``EPOCH-NUMBER``; the epoch counts the starts of the server."""
LEAP = 1_000_000
"""How far epochs and numbers of requests are ahead where a backup goes on: the original goes on
counting, and workers may hold what it gives since then, under numbers that mean nothing else there."""
MOST_BAD_LINES = 100_000
"""The most lines that a request may pass over: the server keeps a record of each."""


class Phase(StrEnum):
    """What a range is made of, and what is done with it."""

    MAP = "map"
    MERGE = "merge"
    REDUCE = "reduce"
    SORT = "sort"
    """What the reduce of the original interface printed, in whatever order, is put in order."""


class State(StrEnum):
    """Where a request stands; the last three are its end."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@frozen
class Shipped:
    """A file that travels with a request.

    :param path: where a run finds it, relative to its folder, no ``..``.
    """

    path: str
    digest: str
    size: int = field(validator=ge(0))
    executable: bool


def is_separator(text: str) -> bool:
    """Whether it can end a field: one byte, no newline."""
    return len(text) == 1 and text.isascii() and text != "\n"


@frozen
class Program:
    """What a request runs on its lines: streaming programs, or one of the original interface.

    :param timeout_seconds: without a line taken or given for so long a run is killed; 0: never.
    :param binary: takes the place of mapper, reducer and combiner.
    :param key_fields: a line's key is so many fields, or the whole line.
    :param separator: one byte, which ends a field.
    :param secondary_sort: whether the lines of one key are sorted too.
    :param map_whole: the mapper is run once per file.
    :param reduce_whole: the reducer is run once, over all keys.
    :param combine_files: one run of the mapper may see lines of several files.
    :param skip_bad_lines: how many lines on which the map fails may be passed over.
    """

    mapper: str | None
    reducer: str | None
    combiner: str | None = None
    files: tuple[Shipped, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    ok_status: tuple[int, ...] = (0,)
    timeout_seconds: float = 600.0
    attempts: int = field(default=4, validator=ge(1))
    binary: str | None = None
    key_fields: int = field(default=1, validator=[ge(1), le(MOST_FIELDS)])
    separator: str = "\t"
    secondary_sort: bool = False
    map_whole: bool = False
    reduce_whole: bool = False
    combine_files: bool = False
    skip_bad_lines: int = field(default=0, validator=[ge(0), le(MOST_BAD_LINES)])

    def __attrs_post_init__(self) -> None:
        if self.binary is not None and (self.mapper, self.reducer, self.combiner) != (None, None, None):
            raise ValueError("a binary maps and reduces alone")
        if not is_separator(self.separator):
            raise ValueError("a separator is one ASCII character, and no newline")
        if self.map_whole and self.combine_files:
            raise ValueError("a run sees one whole file, or lines of several")
        if self.map_whole and self.skip_bad_lines:
            raise ValueError("no line of a whole file can be tried alone")

    @property
    def sorts(self) -> bool:
        """Whether map output goes through a sort and a reducer."""
        return self.reducer is not None or self.binary is not None

    @property
    def order(self) -> Order:
        """How all of its sorted runs are sorted."""
        if self.binary is not None:
            return Order.BY_LINE
        return Order(self.key_fields, self.separator.encode("ascii"), self.secondary_sort)

    @property
    def last_phase(self) -> Phase:
        """The phase that prints the answer."""
        if self.binary is not None:
            return Phase.SORT
        return Phase.REDUCE if self.sorts else Phase.MAP

    def has_whole_jobs(self, phase: Phase) -> bool:
        """Whether jobs of a phase cannot be cut."""
        return {Phase.MAP: self.map_whole, Phase.REDUCE: self.reduce_whole}.get(phase, False)

    def has_fixed_jobs(self, phase: Phase) -> bool:
        """Whether a job that has begun must have all of its lines: no pipe brings them."""
        streams = self.command(phase) is not None
        return not streams or self.has_whole_jobs(phase)

    def command(self, phase: Phase) -> str | None:
        """The streaming program of a phase; None: its lines stay as they are."""
        return {Phase.MAP: self.mapper, Phase.REDUCE: self.reducer}.get(phase)


@frozen
class Source:
    """One INPUT as a client submits it.

    :param kind: ``upload`` (an uploaded bundle and its manifest), ``seen`` (a manifest of
        files that the server reads in place), ``server`` (a path below an input root) or ``lines``
        (numbers, and no other INPUT beside them).
    :param name: the upload's number of the manifest, the path, or how many numbers.
    """

    kind: str
    name: str


@frozen
class Submission:
    """What ``Submit`` carries.

    :param program: of the first step; what is shipped with it is there in all.
    :param then: of the following steps, each of which reads what the one before has printed.
    :param good_enough: the share of the input's lines, in parts of a million, at which the first
        step's map ends.
    """

    program: Program
    sources: tuple[Source, ...]
    label: str = ""
    then: tuple[Program, ...] = ()
    good_enough: int = field(default=ALL, validator=[ge(1), le(ALL)])

    @property
    def steps(self) -> int:
        """How many there are."""
        return 1 + len(self.then)

    def step(self, number: int) -> Program:
        """What a step runs; the first is 0."""
        return evolve(self.then[number - 1], files=self.program.files) if number else self.program

    def step_name(self, number: int) -> str:
        """What people call a step: ``step 1 of 2``; nothing if it is the only one."""
        return f"step {number + 1} of {self.steps}" if self.then else ""


@frozen
class Piece:
    """A contiguous part of one input file, as whole lines.

    :param name: the file's name as the user knows it.
    :param start: number of its first line in the ordered inputs, from 0.
    :param end: number after its last line.
    :param file_line: number of its first line within the file, from 0.
    :param offset: byte in the file at which it begins.
    :param length: its bytes, a missing last newline not counted.
    """

    name: str
    start: int
    end: int
    file_line: int
    offset: int
    length: int


@frozen
class Found:
    """An input file as it was when it was found.

    :param name: what the user calls it.
    :param path: absolute.
    :param head: SHA-256 of the first 4 KiB, in hex: only who can read the file knows it.  Empty
        for bytes that came from no file, such as stdin.
    """

    name: str
    path: str
    size: int
    mtime_ns: int
    device: int
    inode: int
    head: str


@frozen
class FileList:
    """Where the lines of a map assignment are, for a worker that sees the files itself.

    :param files: the file of each piece; there are neither where the lines are not all in files
        that the server reads in place.
    """

    pieces: tuple[Piece, ...]
    files: tuple[Found, ...]

    def __attrs_post_init__(self) -> None:
        if len(self.pieces) != len(self.files):
            raise ValueError("each piece is in one file")


@frozen
class Assignment:
    """A range leased to one worker, and all that the worker needs to know of it.

    :param round: number of the phase's round (merging may need several), or of the request's step.
    :param start: the committed front when it was leased.
    :param weight: lines in map, bytes in merge and reduce.
    :param commit_seconds: intended length of one job.
    :param grant: what opens its bytes at the web endpoint.
    :param output_bytes: the most that one job may print.
    """

    id: AssignmentId
    request: RequestId
    phase: Phase
    round: int
    start: int
    end: int
    weight: int
    commit_seconds: float
    attempt: int
    program: Program
    grant: str
    output_bytes: int


@frozen
class Kept:
    """An assignment that goes on after a reconnect: its new id and what opens its bytes."""

    id: AssignmentId
    grant: str


@frozen
class Held:
    """What a worker says at ``Join`` that it still works on.

    :param job_end: end of the job in hand.
    """

    id: AssignmentId
    request: RequestId
    phase: Phase
    round: int
    front: int
    end: int
    job_end: int


@frozen
class Stop:
    """Where a worker that leaves ends an assignment in hand."""

    id: AssignmentId
    end: int


@frozen
class Seen:
    """One slot's line of a Beat: the job in hand, announced, and how far it is.

    :param taken: bytes of the assignment that its programs have taken so far.
    :param done: weight of the assignment that they have taken, as far as can be told.
    """

    id: AssignmentId
    job_end: int
    taken: int
    bytes_out: int
    done: int = 0


@frozen
class Counter:
    """``reporter:counter:GROUP,NAME,AMOUNT``, summed over one job."""

    group: str
    name: str
    amount: int


@frozen
class Finished:
    """A job that a worker wants to commit.

    :param upload: the number under which its bytes arrived; empty when it printed nothing.
    :param digest: SHA-256 of the bytes, in hex.
    :param seconds: wall time of the program alone, or of sorting where that takes longer.
    :param overhead_seconds: what sending took besides.
    :param sorting_seconds: what sorting and combining took, from the program's end on.
    """

    id: AssignmentId
    request: RequestId
    phase: Phase
    round: int
    start: int
    end: int
    upload: str
    digest: str
    size: int = field(validator=ge(0))
    seconds: float = field(validator=ge(0.0))
    overhead_seconds: float = field(default=0.0, validator=ge(0.0))
    sorting_seconds: float = field(default=0.0, validator=ge(0.0))
    counters: tuple[Counter, ...] = ()
    status: str = ""
    log: str = ""


@frozen
class Failure:
    """A job that failed on a worker.

    :param kind: the wire code of the error: ``PROGRAM_FAILED``, ``WORKER_UNFIT``, ...
    :param message: one sentence without the place: ``it ended with exit status 1``.
    :param log: head and tail of the program's stderr.
    """

    id: AssignmentId
    start: int
    end: int
    kind: str
    message: str
    seconds: float
    log: str = ""


@frozen
class Place:
    """Where stored bytes lie: a file below the spool and a part of it."""

    path: str = field(validator=instance_of(str))
    offset: int = field(validator=ge(0))
    size: int = field(validator=ge(0))


@frozen
class Output:
    """What one committed job gave: a sorted run, or a part of the answer."""

    start: int
    end: int
    digest: str
    place: Place | None


@frozen
class BadLine:
    """A line of the input that was passed over.

    :param position: its number in the ordered inputs of its step, from 0.
    :param file: the file's name as the user knows it.
    :param line: its number in the file, from 1.
    :param offset: byte in the file at which it begins.
    :param how: how the program failed on it, as a sentence without the place.
    :param last_words: the last line of the program's stderr.
    :param step: the step that would have read it, from 1.
    """

    position: int
    file: str
    line: int
    offset: int
    how: str
    last_words: str = ""
    step: int = 1


@frozen
class Keys:
    """The keys from ``low`` to before ``high``; without it all that follow.  Bytes are as in Latin 1."""

    low: str
    high: str | None


@frozen
class Missing:
    """Something that an answer does not cover: lines of one file, or keys."""

    piece: Piece | None
    keys: Keys | None = None

    def __attrs_post_init__(self) -> None:
        if (self.piece is None) == (self.keys is None):
            raise ValueError("lines are missing, or keys")


@frozen
class Cover:
    """How much an answer covers of its input, when that is not all.

    :param missing: of how many parts its list consists.
    :param lines: of the input that are covered, of ``all_lines``; ``bytes`` likewise.  All are 0 where
        none are missing.
    :param later: whether something is missing of what these lines gave: keys, or lines that a step
        has printed.
    """

    missing: int
    lines: int = 0
    all_lines: int = 0
    bytes: int = 0
    all_bytes: int = 0
    later: bool = False


@frozen
class RequestStatus:
    """A request as ``status`` and ``list`` show it.

    :param done: committed share of each phase that has begun, 0 to 1, by name.
    :param seconds_left: of the running phase, once anything is known of it: the middle guess (P50).
    :param most_seconds_left: what it takes at most in nine cases of ten (P90).
    :param answer_bytes: size of the answer once it is done.
    :param step: the step that runs, or ran last, from 1.
    :param bad_lines: how many lines were passed over.
    :param warnings: sentences about the answer.
    :param cover: how much of its input the answer covers; None: all.
    :param partial_of: the request from which it took what was committed there.
    """

    id: RequestId
    state: State
    label: str
    age_seconds: float
    phase: Phase
    done: float
    weight: int
    whole: bool
    working: int
    workers: int
    failures: int
    seconds_left: float | None
    message: str = ""
    status: str = ""
    log: str = ""
    counters: tuple[Counter, ...] = ()
    answer_bytes: int = 0
    answer_digest: str = ""
    step: int = 1
    steps: int = 1
    bad_lines: int = 0
    warnings: tuple[str, ...] = ()
    most_seconds_left: float | None = None
    cover: Cover | None = None
    partial_of: str = ""


@frozen
class WorkerStatus:
    """A worker as ``workers`` shows it.

    :param experience_seconds: expected time until it is lost.
    :param next_seconds: the size of its next assignment, in seconds of its own work.
    :param next_weight: the same, in lines or bytes; 0 while that is not known, or it gets nothing.
    """

    id: WorkerId
    name: str
    connected_seconds: float
    slots: int
    committed: int
    lost: int
    experience_seconds: float
    next_seconds: float
    doing: str
    next_weight: int = 0
