"""What is said of a request that failed: what, where, and what to do."""

from hashlib import sha256

import pytest
from attrs import evolve
from books import Books, submission
from twisted.internet.defer import succeed
from twisted.internet.task import Clock

from hagoop.answers import Answer
from hagoop.cells import Cells
from hagoop.inputs import MemoryInputs
from hagoop.jobs import AssignmentId, Failure, Output, Phase, Program, RequestId
from hagoop.leases import ProgramBroken
from hagoop.memory_spool import MemorySpool
from hagoop.phases import RequestData
from hagoop.sentences import nobody_fit, program_broken

R1 = RequestId("r1")
FILES = (("a.txt", b"1\n2\n3\n"), ("b.txt", b"4\n5\n"))


def told(phase: Phase, start: int, end: int, *, attempts: int = 4, log: str = "") -> str:
    spool = MemorySpool(Clock())
    data = RequestData(
        R1, submission(), MemoryInputs(FILES), spool, Answer(spool, lambda work: succeed(work()))
    )
    data.cells = Cells((b"", b"k", b"\xff"), (0, 1, 2, 3))
    message = "it ended with exit status 1"
    failure = Failure(AssignmentId("1-1"), start, end, "PROGRAM_FAILED", message, 1.0, log)
    return program_broken(data, ProgramBroken(R1, phase, failure, attempts))


@pytest.mark.parametrize(
    ("start", "end", "place"),
    [
        (0, 3, "a.txt, lines 1-3"),
        (1, 2, "a.txt, line 2"),
        (4, 5, "b.txt, line 2"),
        (1, 5, "a.txt, line 2, to b.txt, line 2"),
        (3, 3, "lines 4-3 of the input"),
    ],
)
def test_mapper_failed_on_lines_of_a_file(start: int, end: int, place: str) -> None:
    """Counted from 1, within the file, as an editor does."""
    assert told(Phase.MAP, start, end) == (
        f"the mapper failed 4 times on {place}: it ended with exit status 1"
    )


@pytest.mark.parametrize(
    ("start", "end", "place"),
    [
        (0, 1, "the keys from the first on to before 'k'"),
        (1, 2, r"the keys from 'k' on to before '\\xff'"),
        (2, 3, r"the keys from '\\xff' on"),
        (9, 9, "the keys from the first on"),
    ],
)
def test_reducer_failed_on_keys(start: int, end: int, place: str) -> None:
    """Named by their bounds, whatever bytes these are."""
    assert told(Phase.REDUCE, start, end, attempts=1) == (
        f"the reducer failed once on {place}: it ended with exit status 1"
    )


def test_merge_failed_on_runs() -> None:
    """There is nothing that a user could look at."""
    assert told(Phase.MERGE, 0, 1).startswith("the merge failed 4 times on sorted runs: it ended")


def test_sentence_ends_with_the_programs_last_words() -> None:
    """The last line that says something, in bounded length."""
    assert told(Phase.MAP, 0, 1, log="Traceback\n  Oh: 1\n\n").endswith("; it said: Oh: 1")
    assert told(Phase.MAP, 0, 1, log="x" * 999).endswith("; it said: " + "x" * 300)
    assert told(Phase.MAP, 0, 1, log=" \n").endswith("exit status 1")


def test_step_is_named_where_there_are_several() -> None:
    """And its input, which is no file of the user's."""
    spool = MemorySpool(Clock())
    arriving = spool.receive(4)
    arriving.write(b"1\n2\n")
    place, _ = spool.keep(RequestId("r1.runs"), arriving.finish())
    several = evolve(submission(), then=(Program("cat", None), Program("sed p", None)))
    data = RequestData(
        R1, several, MemoryInputs(FILES), spool, Answer(spool, lambda work: succeed(work()))
    )
    failure = Failure(AssignmentId("1-1"), 1, 2, "PROGRAM_FAILED", "it ended", 1.0, "")
    broken = ProgramBroken(R1, Phase.MAP, failure, 1)
    said = program_broken(data, broken)
    assert said == "the mapper of step 1 of 3 failed once on a.txt, line 2: it ended"
    data.enter(1, [Output(0, 2, sha256(b"1\n2\n").hexdigest(), place)])
    assert data.printed is not None
    data.printed.count(lambda work: succeed(work()), lambda: None)
    said = program_broken(data, broken)
    assert said == "the mapper of step 2 of 3 failed once on the answer of step 1, line 2: it ended"


def test_unfit_workers_are_told_with_their_step() -> None:
    """Another step's program may be there."""
    books = Books()
    request = books.submit(lines=1)
    request.submission = evolve(request.submission, then=(Program("cat", None),))
    books.ledger.step_began(R1, 1)
    session = books.join("lab")
    request.unfit[books.ledger.fleet.sessions[session].worker] = "cat is not on this machine"
    said = "no connected worker can run step 2 of 2: cat is not on this machine (lab)"
    assert nobody_fit(books.ledger, R1) == said


def test_unfit_workers_are_named_with_what_they_lack() -> None:
    """By cause; many of them by their number; those that have left are not named."""
    books = Books()
    request = books.submit(lines=1)
    for number in range(7):
        books.join(f"lab{number}")
    for worker in books.ledger.fleet.connected:
        request.unfit[worker] = "map is not on this machine"
    gone = books.join("gone")
    request.unfit[books.ledger.fleet.sessions[gone].worker] = "it is on fire"
    books.end(gone)
    assert nobody_fit(books.ledger, R1) == (
        "no connected worker can run this: map is not on this machine "
        "(lab0, lab1, lab2, lab3, lab4 and 2 more)"
    )
    other = books.join("other")
    request.unfit[books.ledger.fleet.sessions[other].worker] = "map is not executable"
    assert nobody_fit(books.ledger, R1).endswith("; map is not executable (other)")


@pytest.mark.parametrize(("reducer", "sorts"), [("reduce", True), ("", True), (None, False)])
def test_what_has_a_reducer_is_sorted(reducer: str | None, sorts: bool) -> None:
    """A map alone is not."""
    assert Program("map", reducer).sorts is sorts
