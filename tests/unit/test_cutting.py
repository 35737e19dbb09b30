"""When a job is cut, and where: lines and cells, in plain numbers."""

from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hagoop.cutting import (
    Cells,
    InHand,
    Job,
    Lines,
    Look,
    Place,
    find_line_end,
    is_too_long,
    seconds_left,
)
from hagoop.feeding import Feed


def looks(*pairs: tuple[float, int]) -> list[Look]:
    return [Look(*each) for each in pairs]


@pytest.mark.parametrize(
    ("seen", "cut"),
    [
        (looks((7.5, 500), (12.5, 520)), True),  # 480 left, at 4 a second
        (looks((7.5, 500), (12.5, 800)), False),  # 200 left, at 60 a second
        (looks((7.5, 500), (12.4, 501)), False),  # not late yet
        (looks((7.5, 500), (12.5, 500)), True),  # a heavy line: nothing was taken for long
        (looks((7.5, 0), (12.5, 10)), False),  # it has only just begun to read
        (looks((7.5, 0), (10.0, 0), (12.5, 0)), False),  # it starts up
        (looks((7.5, 0), (10.0, 10), (15.0, 20)), True),
        (looks((7.5, 900), (10.0, 900), (12.5, 1000)), False),  # all is taken
        (looks((5.0, 900), (7.5, 900), (10.0, 901), (12.5, 902)), True),  # fast at first, slow by now
    ],
)
def test_job_is_cut_when_it_is_late_and_much_of_it_is_left(seen: list[Look], cut: bool) -> None:
    """1000 bytes, to be committed after 10 s: late at 12.5, and 5 s are much, at the present rate."""
    assert is_too_long(seen, 1000, 10.0) is cut


def test_rest_takes_as_long_as_the_rate_says() -> None:
    """Nothing if there is none; for ever if nothing is taken."""
    assert seconds_left(Look(1.0, 100), Look(3.0, 200), 500) == 6.0
    assert seconds_left(Look(1.0, 100), Look(3.0, 500), 500) == 0.0
    assert seconds_left(Look(1.0, 100), Look(3.0, 100), 500) == float("inf")


DATA = st.lists(st.sampled_from([b"\n", b"\0", b"a", b"\r"]), min_size=1, max_size=30).map(b"".join)


@given(DATA, st.data())
def test_job_ends_behind_the_line_that_is_begun(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, chance: st.DataObject
) -> None:
    """Or behind as many lines as are wanted; never before the first, and not at the feed's end."""
    path = tmp_path_factory.getbasetemp() / "lines"
    path.write_bytes(data + b"not of the feed\n")
    offset = chance.draw(st.integers(0, len(data)))
    byte = chance.draw(st.integers(offset, len(data)))
    least = chance.draw(st.integers(-2, 10))
    ends = [at + 1 for at in range(offset, len(data)) if data[at : at + 1] == b"\n"]
    far = [each for each in enumerate(ends, 1) if each[1] >= byte and each[0] >= least]
    wanted = [each for each in far if each[1] < len(data)]
    found = find_line_end(Feed(path, offset, len(data)), byte, least)
    assert found == (wanted[0] if wanted else None)


def test_many_lines_are_counted_in_parts(tmp_path: Path) -> None:
    """Longer than what is read at once; a file that has become shorter has no such place."""
    lines = [b"x" * (number % 900) + b"\n" for number in range(3000)]
    (tmp_path / "lines").write_bytes(b"".join(lines))
    feed = Feed(tmp_path / "lines", 0, (tmp_path / "lines").stat().st_size)
    before = sum(map(len, lines[:2000]))
    assert find_line_end(feed, before, 0) == (2000, before)
    assert find_line_end(feed, before + 1, 0) == (2001, before + len(lines[2000]))
    assert find_line_end(feed, 0, 2000) == (2000, before)
    (tmp_path / "lines").write_bytes(b"x")
    assert find_line_end(feed, 1000, 0) is None
    assert find_line_end(feed, 0, 5) is None


def at_once(waiting: "Deferred[Any]") -> Any:
    found: list[Any] = []
    waiting.addCallback(found.append)
    [result] = found
    return result


@pytest.mark.parametrize(
    ("byte", "end", "place"),
    [
        (100, 0, Place(13, 140, 40)),  # a program that has taken nothing gets a key
        (139, 0, Place(13, 140, 40)),
        (140, 0, Place(13, 140, 40)),
        (141, 0, Place(15, 170, 70)),
        (100, 14, Place(14, 140, 40)),  # a cell without keys comes along where it is wanted
        (100, 15, Place(15, 170, 70)),
        (171, 0, None),
        (100, 16, None),
    ],
)
def test_reduce_ends_at_a_bound(byte: int, end: int, place: Place | None) -> None:
    """Cells 10 to 16 at these bytes; the job begins with cell 11, the first with keys is 12."""
    cells = Cells(10, [0, 100, 100, 140, 140, 170, 200])
    feed = Feed(Path("merged"), 100, 200)
    assert at_once(Deferred.fromCoroutine(cells.find(feed, byte, end))) == place


def test_cut_job_weighs_less() -> None:
    """What was taken of it is told in its weight."""
    job = Job(5, 25, 20, Feed(Path("lines"), 100, 200))
    cut = job.cut_at(Place(9, 140, 4))
    assert (cut.start, cut.end, cut.weight, cut.feed.offset, cut.feed.end) == (5, 9, 4, 100, 140)
    assert [cut.weight_of(taken) for taken in (0, 9, 10, 39, 40, 50)] == [0, 0, 1, 3, 4, 4]
    assert Job(5, 6, 1, Feed(Path("lines"), 0, 0)).weight_of(0) == 0


def test_only_what_may_be_cut_is_fed_in_batches() -> None:
    """What is whole goes in as fast as the pipe takes it."""

    async def in_thread(function: Any, *arguments: object) -> Any:
        return function(*arguments)

    feed = Feed(Path("lines"), 100, 200)
    assert Job(0, 1, 1, feed).paced(2.0).feed.pace is None
    job = Job(0, 1, 1, feed, Lines(0, in_thread))
    assert (job.paced(2.0).feed.pace, job.paced(0.0).feed.pace) == (50.0, 0.0)


@define(eq=False)
class Feeding:
    """A program and what feeds it: ``taken`` of a hundred lines of ten bytes."""

    taken: int = 0
    accepted: int = 0
    end: int = 1000
    held: bool = False

    @property
    def feeder(self) -> "Feeding":
        return self

    def hold(self) -> None:
        self.held = True

    def resume(self) -> None:
        self.held = False

    def shorten(self, end: int) -> None:
        assert self.accepted <= end <= self.end
        self.end = end

    def close(self) -> None:
        """The program has ended."""
        self.accepted = self.end


@define(eq=False)
class Bench:
    """A job in hand; what is counted in a thread is told when the test says so."""

    folder: Path
    clock: Clock = field(factory=Clock)
    program: Feeding = field(factory=Feeding)
    counting: "list[tuple[Any, Deferred[Any]]]" = field(factory=list)
    cut_to: list[int] = field(factory=list)
    hand: InHand = field(init=False)

    def __attrs_post_init__(self) -> None:
        (self.folder / "lines").write_bytes(b"123456789\n" * 100)
        job = Job(500, 600, 100, Feed(self.folder / "lines", 0, 1000), Lines(500, self.in_thread))
        self.hand = InHand(job.paced(10.0), self.clock, 10.0, self.cut_to.append)

    async def in_thread(self, function: Any, *arguments: object) -> Any:
        waiting: Deferred[Any] = Deferred()
        self.counting.append(((function, arguments), waiting))
        return await waiting

    def count(self) -> None:
        [((function, arguments), waiting)], self.counting = self.counting, []
        try:
            waiting.callback(function(*arguments))
        except OSError as error:
            waiting.errback(error)

    def cut(self, end: int) -> "Deferred[None]":
        return Deferred.fromCoroutine(self.hand.cut(end))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_late_job_is_cut_by_itself(bench: Bench) -> None:
    """Once; and nothing is looked at any more when its program has ended."""
    bench.hand.began(bench.program)
    bench.program.taken = bench.program.accepted = 125
    bench.clock.pump([7.5, 2.5])
    assert not bench.counting
    bench.clock.pump([2.5])
    assert bench.program.held
    bench.count()
    assert (bench.cut_to, bench.program.end, bench.program.held) == ([513], 130, False)
    assert (bench.hand.job.weight, bench.hand.done) == (13, 12)
    assert bench.clock.getDelayedCalls() == []


def test_job_in_time_is_left_alone(bench: Bench) -> None:
    """However often it is looked at."""
    bench.hand.began(bench.program)
    for second in range(10, 20):
        bench.program.taken = bench.program.accepted = 50 * second
        bench.clock.advance(10.0 if second == 10 else 1.0)
    assert bench.cut_to == []
    bench.hand.over()
    assert bench.clock.getDelayedCalls() == []


def test_end_taken_back_before_the_start_waits_for_it(bench: Bench) -> None:
    """Then it cuts; what is wanted behind what was fed is cut right there."""
    waiting = bench.cut(540)
    assert not bench.counting
    bench.program.accepted = 20
    bench.hand.began(bench.program)
    bench.count()
    assert (waiting.called, bench.cut_to, bench.program.end) == (True, [540], 400)
    bench.hand.over()


def test_program_that_never_starts_keeps_nobody_waiting(bench: Bench) -> None:
    """Its folder could not be made, say."""
    waiting = bench.cut(540)
    bench.hand.over()
    assert (waiting.called, bench.cut_to) == (True, [])


def test_one_cut_after_the_other(bench: Bench) -> None:
    """The second goes by what the first has left; one that wants more than is left changes nothing."""
    bench.hand.began(bench.program)
    cuts = [bench.cut(560), bench.cut(530), bench.cut(580)]
    for _ in range(3):
        assert len(bench.counting) == 1
        bench.count()
    assert all(each.called for each in cuts)
    assert (bench.cut_to, bench.program.end) == ([560, 530], 300)
    bench.hand.over()


def test_job_that_ends_while_lines_are_counted_is_whole(bench: Bench) -> None:
    """All that it was given counts, and no byte less."""
    bench.hand.began(bench.program)
    waiting = bench.cut(0)
    bench.program.close()
    bench.hand.over()
    bench.count()
    assert (waiting.called, bench.cut_to, bench.hand.job.end) == (True, [], 600)


def test_lines_that_cannot_be_counted_leave_the_job_whole(bench: Bench) -> None:
    """Their file may be gone with the work."""
    bench.hand.began(bench.program)
    waiting = bench.cut(0)
    (bench.folder / "lines").unlink()
    bench.count()
    assert (waiting.called, bench.cut_to, bench.program.held) == (True, [], False)
    bench.hand.over()


def test_all_that_is_fed_is_not_counted_again(bench: Bench) -> None:
    """There is nothing to cut."""
    bench.hand.began(bench.program)
    bench.program.accepted = 1000
    assert bench.cut(0).called
    assert not bench.counting
    bench.hand.over()


def test_what_is_left_is_guessed_by_what_was_taken(bench: Bench) -> None:
    """Before anything was taken, by what was known; the next assignment is asked for by it."""
    assert bench.hand.seconds_left == 10.0
    bench.hand.began(bench.program)
    bench.clock.advance(2.0)
    bench.program.taken = 250
    assert bench.hand.seconds_left == 6.0
    bench.hand.over()
    job = Job(0, 1, 1, Feed(bench.folder / "lines", 0, 1000))
    unknown = InHand(job, bench.clock, 10.0, bench.cut_to.append)
    assert (unknown.seconds_left, unknown.done) == (0.0, 0)
    whole = Deferred.fromCoroutine(unknown.cut(0))
    assert whole.called
