"""What the spool has lost, or cannot read for a moment, stops no server and no request."""

import errno
from collections.abc import Callable
from typing import Any

import pytest
from test_original_phases import Play, expected, make_lines
from twisted.internet.defer import Deferred

from hagoop.errors import Damaged, TransferFailed
from hagoop.jobs import Phase, State
from hagoop.mending import MOST_ALARMS
from hagoop.scheduler import Leased

PASSING = OSError(errno.EMFILE, "too many open files")


def lose(files: dict[str, bytes], path: str) -> None:
    """The disk has it no more."""
    del files[path]


def flip(files: dict[str, bytes], path: str) -> None:
    """A bit of its last byte, where a run's index is."""
    files[path] = files[path][:-1] + bytes([files[path][-1] ^ 1])


def play_to(play: Play, phase: Phase) -> None:
    """Until a job of a phase is committed."""
    while phase not in [each for each, _ in play.phases]:
        assert play.job()


def play_on(play: Play) -> None:
    """To the end, which has the answer and leaves nothing else."""
    for _ in range(200):
        play.job()
        if play.state is not State.RUNNING:
            break
    assert play.state is State.DONE, play.server.ledger.requests[play.request]
    assert play.server.read_answer(play.request) == expected(play.lines)
    play.clock.pump([0.05] * 100)
    assert list(play.disk.spool.shelves) == [play.request]


@pytest.mark.parametrize("damage", [lose, flip])
@pytest.mark.parametrize("phase", [Phase.MERGE, Phase.REDUCE, Phase.SORT])
def test_lost_run_stops_no_start(phase: Phase, damage: Callable[[dict[str, bytes], str], None]) -> None:
    """Whatever read it: the request alone is mended, and others are as they were."""
    play = Play(make_lines(40), 2 if phase is Phase.MERGE else 1000)
    play_to(play, phase)
    play.server.crash()
    run = play.server.docket.data[play.request].runs[0].output.place
    assert run is not None
    damage(play.disk.spool._kept[f"{play.request}.runs"], run.path)
    play.start()
    play_on(play)


@pytest.fixture
def play() -> Play:
    """A map in its middle; a new life knows nothing of the runs of the one before."""
    made = Play(make_lines(40), 1000)
    for _ in range(3):
        assert made.job()
    made.crash()
    return made


HEARD = [
    [Damaged("it was read badly")],
    [TransferFailed("it cannot be read now")],
    [PASSING] * 5,
    [Damaged("it was read badly"), PASSING, PASSING],
    [Damaged("it was read badly")] * 4,
]
some_troubles = pytest.mark.parametrize(
    "troubles", HEARD, ids=lambda each: f"{len(each)} {type(each[0]).__name__}"
)


@some_troubles
def test_turn_of_a_phase_that_reads_badly_is_made_again(play: Play, troubles: list[Exception]) -> None:
    """Nobody else would tell again: the request would stand still until a restart."""
    play.disk.spool.troubles = list(troubles)
    play_on(play)
    assert not play.disk.spool.troubles


@some_troubles
def test_start_that_reads_badly_is_made_again(play: Play, troubles: list[Exception]) -> None:
    """In a phase that has read what cannot be read for a moment."""
    play_to(play, Phase.REDUCE)
    play.server.crash()
    play.disk.spool.troubles = list(troubles)
    play.start()
    play_on(play)
    assert not play.disk.spool.troubles


def test_turn_that_reads_badly_while_something_is_looked_at_is_made_again(play: Play) -> None:
    """A worker has complained, and all is found to be there."""
    docket = play.server.docket
    stopped = docket.stopped

    def both(request, problem):
        docket.unreadable(request, Damaged("a worker could not read it"))
        stopped(request, problem)

    docket.stopped = both
    play.disk.spool.troubles = [Damaged("it was read badly")]
    play_on(play)


def test_count_that_reads_badly_is_made_again(play: Play) -> None:
    """The lines that are not counted yet would never be."""
    counts = play.server.docket.counts
    counts.stop(play.request)
    counts.failed(play.request, Damaged("it was read badly"))
    play_on(play)


async def ask(play: Play) -> Leased:
    """An assignment."""
    return await play.server.scheduler.ask(play.session)


class Held:
    """A journal's thread that does nothing until it is let."""

    def __init__(self) -> None:
        self.work: list[tuple[Callable[[], Any], Callable[[Any], object]]] = []

    def run(self, work: Callable[[], Any], then: Callable[[Any], object]) -> None:
        self.work.append((work, then))

    def release(self) -> None:
        while self.work:
            work, then = self.work.pop(0)
            then(work())


def test_commit_on_its_way_when_a_request_is_set_back_counts_once(play: Play) -> None:
    """What comes to the disk is known before anything is leased again."""
    journal, held = play.server.journal, Held()
    slowly, journal._elsewhere = journal._elsewhere, held
    leased = play.wait(ask(play))
    committed = Deferred.fromCoroutine(play.start_commit(leased.assignment))
    play.server.scheduler.give_back(play.session, leased.assignment.id)
    play.server.docket.stopped(play.request, TransferFailed("it cannot be read now"))
    play.clock.pump([0.05] * 100)
    assert not committed.called
    journal._elsewhere = slowly
    held.release()
    play_on(play)


def test_what_reads_badly_again_and_again_fails_the_request(play: Play) -> None:
    """In a sentence, some time or other."""
    for _ in range(MOST_ALARMS):
        assert play.state is State.RUNNING
        play.server.docket.stopped(play.request, Damaged("it was read badly"))
        play.clock.pump([0.05] * 100)
    assert play.state is State.FAILED
    told = "it was read badly; see to the server's disk, then submit it again"
    assert play.server.ledger.requests[play.request].message == told
