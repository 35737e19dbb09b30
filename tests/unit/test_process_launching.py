"""The words before a program, its environment, its feed and its stillness."""

import os
from pathlib import Path

import pytest
from attrs import evolve
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from hagoop.feeding import Batches, Feed, Feeder
from hagoop.jobs import Assignment, AssignmentId, Phase, Piece, Program, RequestId
from hagoop.launching import Bounds, place_argv, run_environment
from hagoop.process import Stillness
from hagoop.verdicts import end_last_line, in_units

PIECE = Piece("books/a\udcff.txt", 100, 150, 7, 4096, 2000)
PROGRAM = Program("cat", "cat", env=(("LANG", "de"), ("TZ", "CET"), ("HAGOOP_PHASE", "mine")))
ASSIGNMENT = Assignment(
    AssignmentId("3-42"), RequestId("r7"), Phase.MAP, 0, 100, 150, 50, 1.0, 2, PROGRAM, "g", 1
)


@implementer(IReactorFDSet)
class Writers:
    """As much of a reactor as a feeder needs."""

    def __init__(self) -> None:
        self.writers: list[object] = []

    def addWriter(self, writer):
        self.writers.append(writer)

    def removeWriter(self, writer):
        # One that is not there is no error, as in real ones.
        self.writers = [each for each in self.writers if each is not writer]

    def addReader(self, reader): ...

    def removeReader(self, reader): ...

    def removeAll(self): ...

    def getReaders(self): ...

    def getWriters(self): ...


@pytest.fixture
def feed(tmp_path):
    """Makes feeders, closes them in the end."""
    made: list[Feeder] = []
    errors: list[OSError] = []

    def make(data, start=0, end=None, pace=None):
        path = tmp_path / "input"
        path.write_bytes(data)
        reactor, end = Writers(), len(data) if end is None else end
        feeder = Feeder.of(reactor, Clock(), Feed(path, start, end, pace), errors.append)
        feeder.start()
        made.append(feeder)
        return feeder, reactor, errors

    yield make
    for each in made:
        each.close()


def drain(feeder: Feeder, reactor: Writers) -> bytes:
    taken = b""
    while reactor.writers:
        feeder.doWrite()
        if feeder.taken < feeder._accepted:
            taken += os.read(feeder.read_end, 1 << 20)
    while rest := os.read(feeder.read_end, 1 << 20):
        taken += rest
    return taken


@pytest.mark.parametrize(
    ("data", "start", "end", "seen"),
    [
        (b"a\nb\n", 0, 4, b"a\nb\n"),
        (b"a\nb", 0, 3, b"a\nb\n"),
        (b"a\nb\nc", 2, 4, b"b\n"),
        (b"", 0, 0, b""),
        (b"\n\n", 0, 2, b"\n\n"),
        (b"a\0\r\xff\n" * 100_000, 5, 400_000, b"a\0\r\xff\n" * 79_999),
    ],
)
def test_program_sees_its_lines(feed, data, start, end, seen):
    """Just the bytes of the feed, and a newline where the last line has none."""
    feeder, reactor, _ = feed(data, start, end)
    assert drain(feeder, reactor) == seen
    assert feeder.taken == end


def test_taken_is_what_the_program_has_read(feed):
    """Bytes that wait in the pipe are not taken."""
    feeder, _, _ = feed(b"x" * 99 + b"\n")
    feeder.doWrite()
    assert feeder.taken == 0
    os.read(feeder.read_end, 30)
    assert feeder.taken == 30
    feeder.close()
    assert feeder.taken == 30


def test_full_pipe_waits(feed):
    """A program that does not read blocks nobody."""
    feeder, reactor, _ = feed(b"x" * 1_000_000)
    for _ in range(100):
        feeder.doWrite()
    assert reactor.writers == [feeder]
    assert feeder.taken == 0


MIXED = b"a\n\nbb\r\n\0\n" + b"long " * 3 + b"\nend"
LONG = b"x" * 150_000 + b"\ny\n" + b"z" * 70_000


def stated(data: bytes) -> bytes:
    """Lines, the last one ended."""
    return data + b"\n" * (bool(data) and not data.endswith(b"\n"))


@pytest.mark.parametrize("pace", [None, 0.0, 10.0, 50.0, 1e9])
@pytest.mark.parametrize("writes", [0, 1, 2])
def test_feed_ends_at_any_byte_that_is_not_accepted(feed, pace, writes):
    """The program sees just what lies before, and all that the pipe had taken."""
    for end in range(len(MIXED) + 1):
        feeder, reactor, _ = feed(MIXED, pace=pace)
        seen = feed_some(feeder, reactor, writes)
        if end < feeder.accepted:
            with pytest.raises(ValueError, match="cannot end"):
                feeder.shorten(end)
            end = feeder.accepted
        feeder.shorten(end)
        seen += drain(feeder, reactor)
        assert seen == stated(MIXED[:end])
        assert (feeder.taken, feeder.accepted, feeder.end) == (end, end, end)


def feed_some(feeder: Feeder, reactor: Writers, writes: int) -> bytes:
    """What a program sees that has taken all but the last of so many writes."""
    seen = b""
    for _ in range(writes):
        if feeder.taken < feeder.accepted:
            seen += os.read(feeder.read_end, 1 << 20)
        if reactor.writers:
            feeder.doWrite()
    return seen


@pytest.mark.parametrize("pace", [None, 0.0, 300_000.0])
def test_full_pipe_keeps_what_it_has(feed, pace):
    """A feed with lines longer than the pipe ends behind what the pipe holds, or further on."""
    for more in (0, 1, 70_000, 150_002):
        feeder, reactor, _ = feed(LONG, pace=pace)
        for _ in range(5):
            feeder.doWrite()
        end = min(feeder.accepted + more, len(LONG))
        feeder.shorten(end)
        assert drain(feeder, reactor) == stated(LONG[:end])


def test_feed_that_is_over_cannot_be_shortened(feed):
    """Whether all was fed, or its program has ended."""
    feeder, _, _ = feed(b"a\nb\n")
    feeder.close()
    assert (feeder.accepted, feeder.end) == (4, 4)
    feeder.shorten(4)
    with pytest.raises(ValueError, match="a feed at 4 of 4 cannot end at 2"):
        feeder.shorten(2)


def test_feed_that_is_held_goes_on_afterwards(feed):
    """Nothing is written meanwhile; once it is over, there is nothing to go on with."""
    feeder, reactor, _ = feed(b"a\nb\n")
    feeder.hold()
    assert reactor.writers == []
    feeder.resume()
    assert drain(feeder, reactor) == b"a\nb\n"
    feeder.hold()
    feeder.resume()
    assert reactor.writers == []


def test_full_pipe_is_left_alone_until_half_of_it_should_be_free(feed):
    """A fast program takes page by page: nobody is woken for each; what is held or ends, stays so."""
    data = b"x" * 999_999 + b"\n"
    for stop in (None, "hold", "close"):
        feeder, reactor, _ = feed(data)
        feeder.doWrite()
        for _ in range(2):
            assert reactor.writers == [feeder]
            os.read(feeder.read_end, 1 << 15)
            feeder._clock.advance(0.005)
            feeder.doWrite()
        assert reactor.writers == []
        if stop is not None:
            getattr(feeder, stop)()
        feeder._clock.advance(0.01)
        assert reactor.writers == ([feeder] if stop is None else [])


def test_slow_program_is_fed_line_by_line(feed):
    """What is in the pipe cannot be taken back."""
    feeder, _, _ = feed(MIXED, pace=1.0)
    accepted = []
    while feeder.accepted < len(MIXED):
        feeder.doWrite()
        os.read(feeder.read_end, 1 << 20)
        accepted.append(feeder.accepted)
    assert accepted == [2, 3, 7, 9, 25, 28]


def test_batches_follow_the_program():
    """Its start counts for nothing; they double and halve at most, and hold a pipe's worth at most."""
    batches = Batches.of(10_000.0)
    batches.fed(1000, 0.0)
    batches.fed(1000, 50.0)
    assert batches.size == 1000
    batches.fed(1000, 50.001)
    assert batches.size == 2000
    batches.fed(1000, 60.0)
    assert batches.size == 1000
    batches.fed(1000, 60.08)
    assert batches.size == 1250
    for number in range(20):
        batches.fed(10**6, 61 + number / 100)
    assert batches.size == 1 << 17
    for number in range(40):
        batches.fed(1, 1000.0 * number)
    assert batches.size == 1
    assert Batches.of(0.0).size == 4096
    assert Batches.of(1e12).size == 4096


def test_shorter_file_is_told(feed, tmp_path):
    """A file that shrank is no good input."""
    feeder, _, errors = feed(b"abc", 0, 10)
    feeder.doWrite()
    feeder.doWrite()
    assert [error.strerror for error in errors] == ["the file has become shorter"]


def test_feeder_ends_when_the_reactor_lets_go(feed):
    """As at shutdown."""
    feeder, reactor, _ = feed(b"abc\n")
    feeder.connectionLost(Failure(ConnectionError()))
    assert reactor.writers == []
    assert (feeder.logPrefix(), feeder.fileno()) == ("feed", -1)


def test_folder_and_bounds_come_first():
    """Bounds in the blocks and kibibytes of POSIX, rounded up; the environment has no folder."""
    rest = ("sh", "/f", "m", "x")
    unbounded = 'cd "$1" || exit 126; shift; unset PWD OLDPWD; exec "$@"'
    assert place_argv(("m", "x"), Path("/f"), Bounds()) == ("/bin/sh", "-c", unbounded, *rest)
    _, _, script, *words = place_argv(("m", "x"), Path("/f"), Bounds(1500, 4096, 99))
    bounds = "ulimit -f 3 2>/dev/null; ulimit -d 4 2>/dev/null; "
    assert f"; {bounds}ulimit -u 99 2>/dev/null || ulimit -p 99 2>/dev/null; shift; " in script
    assert tuple(words) == rest


def test_environment_of_a_map_run():
    """All names of the contract, and nothing of the worker's own environment but PATH."""
    made = run_environment(ASSIGNMENT, "map", PIECE, Path("/run"), "/bin")
    assert made == {
        "PATH": "/bin",
        "HOME": "/run",
        "TMPDIR": "/run",
        "LC_ALL": "C.UTF-8",
        "TZ": "CET",
        "LANG": "de",
        "HAGOOP_REQUEST": "r7",
        "HAGOOP_PHASE": "map",
        "HAGOOP_JOB": "3-42",
        "HAGOOP_ATTEMPT": "2",
        "HAGOOP_INPUT_FILE": "books/a\udcff.txt",
        "HAGOOP_INPUT_START_LINE": "7",
        "HAGOOP_INPUT_LINES": "50",
        "mapreduce_map_input_file": "books/a\udcff.txt",
        "map_input_file": "books/a\udcff.txt",
        "mapreduce_map_input_start": "4096",
        "mapreduce_map_input_length": "2000",
        "mapreduce_job_id": "r7",
        "mapreduce_task_id": "task_r7_m_000042",
        "mapreduce_task_attempt_id": "attempt_r7_m_000042_2",
        "mapreduce_task_partition": "42",
        "mapreduce_task_ismap": "true",
    }


def test_environment_of_a_reduce_run():
    """No file is named."""
    made = run_environment(evolve(ASSIGNMENT, phase=Phase.REDUCE), "reduce", None, Path("/run"), "/bin")
    assert made["mapreduce_task_id"] == "task_r7_r_000042"
    assert made["mapreduce_task_ismap"] == "false"
    assert not [name for name in made if "input" in name.lower()]


def test_stillness_ends_with_any_progress():
    """A byte read or printed counts; time alone does not."""
    still = Stillness(1.0)
    assert still.look(0, 0, 100.0) == 0.0
    assert still.look(0, 0, 101.0) == 1.0
    assert still.look(0, 0, 102.0) == 2.0
    assert still.look(1, 0, 103.0) == 0.0
    assert still.look(1, 0, 104.0) == 1.0
    assert still.look(1, 5, 105.0) == 0.0


def test_pause_of_the_worker_is_not_the_programs():
    """A gap counts as two looks at most."""
    still = Stillness(1.0)
    still.look(0, 0, 0.0)
    assert still.look(0, 0, 5000.0) == 2.0


@pytest.mark.parametrize(("data", "added"), [(b"", 0), (b"a\n", 0), (b"a", 1), (b"a\nb", 1)])
def test_last_line_ends(tmp_path, data, added):
    """Just one newline, just where it is missing."""
    path = tmp_path / "out"
    path.write_bytes(data)
    assert end_last_line(path) == added
    assert path.read_bytes() == data + b"\n" * added


def test_units():
    """As people say it."""
    said = [in_units(size) for size in (4 << 30, 1 << 20, 1536, 100, 3 << 40)]
    assert said == ["4 GiB", "1 MiB", "1.5 KiB", "100 bytes", "3 TiB"]
