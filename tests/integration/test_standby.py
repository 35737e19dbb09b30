"""Runs that wait until they are fed: their program begins then, and never otherwise."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from hagoop import process, workbench
from hagoop.containers import Container
from hagoop.errors import JobError, ProgramFailed, WorkerUnfit
from hagoop.families import family
from hagoop.feeding import Feed
from hagoop.jobs import Assignment, AssignmentId, Phase, Piece, Program, RequestId
from hagoop.process import Running, launch
from hagoop.standby import Standby
from hagoop.verdicts import Run
from hagoop.workbench import Ready, Task, Workbench

ENV = {"PATH": os.environ["PATH"], "OLDPWD": "/old"}
LINES = b"one\ntwo\nthree"


def reactor():
    from twisted.internet import reactor

    return reactor


async def until_so(condition: Callable[[], object]) -> None:
    """Turn by turn of the reactor; a test's own deadline ends what never comes."""
    while not condition():
        await deferLater(reactor(), 0.005)


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.fixture
def wait(tmp_path):
    """A shell command that waits."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "in").write_bytes(LINES)

    def make(command: str) -> Running:
        argv = ("/bin/sh", "-c", command)
        run = Run(argv, tmp_path / "folder", ENV, None, tmp_path / "out", grace_seconds=0.3)
        return launch(reactor(), run, waits=True)

    return make


async def test_program_begins_when_it_is_fed(wait, tmp_path):
    """It sees just its lines, its folder and its environment; of what it has waited for, nothing."""
    running = wait('touch begun; cat; pwd; echo "${OLDPWD-none}"; echo word >&2')
    await running.ready
    assert running.waits
    assert not (tmp_path / "folder" / "begun").exists()
    running.begin(Feed(tmp_path / "in", 4, len(LINES)))
    assert not running.waits
    ended = await running.ended
    folder = os.fsencode(tmp_path / "folder")
    assert (tmp_path / "out").read_bytes() == b"two\nthree\n%b\nnone\n" % folder
    assert (running.taken, ended.log) == (9, "word\n")


async def test_program_that_is_not_needed_never_begins(wait, tmp_path):
    """It is stopped while it waits, or before it is ready."""
    for is_ready in (True, False):
        running = wait("touch begun; cat")
        if is_ready:
            await running.ready
        else:
            running.ready.addErrback(lambda reason: reason.trap(JobError))
        running.ended.addErrback(lambda reason: reason.trap(JobError))
        await running.stop("it is not needed")
        assert not running.waits
        assert not Path(f"/proc/{running._pid}").exists()
        assert not (tmp_path / "folder" / "begun").exists()


@pytest.mark.parametrize("when", ["while it waits", "before it hears"])
async def test_program_is_not_blamed_for_what_it_never_became(wait, tmp_path, when):
    """Whoever lacks memory kills whatever waits."""
    running = wait("cat")
    await running.ready
    processes = family(running._pid, 9)
    if when == "before it hears":
        for each in processes:
            os.kill(each, signal.SIGSTOP)
        await until_so(lambda: all(map(is_stopped, processes)))
        running.begin(Feed(tmp_path / "in", 0, len(LINES)))
    os.kill(processes[0], signal.SIGKILL)
    with pytest.raises(JobError, match="it was killed before its program had begun") as caught:
        await running.ended
    assert type(caught.value) is JobError
    assert running.taken == 0


async def test_program_that_was_killed_after_it_began_is_blamed(wait, tmp_path):
    """As ever."""
    running = wait("kill -SEGV $$")
    await running.ready
    running.begin(Feed(tmp_path / "in", 0, len(LINES)))
    with pytest.raises(ProgramFailed, match="it was killed by signal 11"):
        await running.ended


async def test_container_that_fails_is_told(wait, monkeypatch):
    """To whoever waits for it to be ready, in its own words."""
    words = ("/bin/sh", "-c", "echo bwrap: no room >&2; exit 1", "sh")
    monkeypatch.setattr(process, "find_container", lambda _: Container("broken", words, "bwrap"))
    running = wait("cat")
    running.ended.addErrback(lambda reason: reason.trap(WorkerUnfit))
    with pytest.raises(WorkerUnfit, match="no room"):
        await running.ready


async def test_what_does_not_get_ready_is_given_up(line, monkeypatch):
    """A file system that does not answer must not keep a slot for ever."""
    words = ("/bin/sh", "-c", "exec sleep 600", "sh")
    monkeypatch.setattr(process, "find_container", lambda _: Container("stuck", words))
    monkeypatch.setattr(workbench, "READY_SECONDS", 0.05)
    with pytest.raises(JobError, match=r"nothing could be started within 0\.05 s"):
        await line.run(0, following=None)
    await until_so(lambda: not [*line.bench.scratch.glob("run-*")])
    assert not line.starts.exists()


# One after the other

PIECES = [Piece(name, 0, 2, 0, 0, len(LINES)) for name in ("a", "b")]
PROGRAM = 'echo "$HAGOOP_INPUT_FILE" >> "$STARTS"; cat'


@define(eq=False)
class Line:
    """Runs of one assignment, one after the other."""

    bench: Workbench
    task: Task
    starts: Path
    standby: Standby
    made: list[Ready] = field(factory=list)

    async def run(self, piece: int, following: int | None) -> bytes:
        """Run the program on a part of a piece; what it printed."""
        feed = Feed(self.starts.parent / "in", 0, 4)
        task = evolve(self.task, piece=PIECES[piece], feed=feed)
        then = None if following is None else evolve(self.task, piece=PIECES[following])
        self.standby.expect(then)
        output, _ = await self.standby.run(task, lambda _: None)
        return output.read_bytes()

    async def is_ready(self) -> None:
        await until_so(lambda: self.standby._ready)

    @property
    def begun(self) -> list[str]:
        return self.starts.read_text().split()


@pytest.fixture
def line(tmp_path, monkeypatch):
    (tmp_path / "in").write_bytes(LINES)
    program = Program(PROGRAM, None, env={"STARTS": str(tmp_path / "starts")})
    ids = AssignmentId("1-1"), RequestId("r1")
    it = Assignment(*ids, Phase.MAP, 0, 0, 4, 4, 1.0, 0, program, "g", 1 << 20)
    bench = Workbench(reactor(), tmp_path / "scratch", os.environ["PATH"])
    task = Task(("/bin/sh", "-c", PROGRAM), "map", it, None, None)
    made = Line(bench, task, tmp_path / "starts", Standby(bench, reactor()))
    make_ready = bench.make_ready

    async def counted(task: Task) -> Ready:
        made.made.append(await make_ready(task))
        return made.made[-1]

    monkeypatch.setattr(Workbench, "make_ready", lambda _, task: counted(task))
    return made


async def test_what_waits_is_run_next(line):
    """Each program begins once, in surroundings made once."""
    assert await line.run(0, following=0) == b"one\n"
    await line.is_ready()
    assert line.begun == ["a"]
    assert await line.run(0, following=1) == b"one\n"
    await line.is_ready()
    assert await line.run(1, following=None) == b"one\n"
    assert line.begun == ["a", "a", "b"]
    assert len(line.made) == 3


async def test_what_waits_for_another_file_is_let_go(line):
    """Its environment is of that file; nothing of it stays."""
    await line.run(0, following=0)
    await line.is_ready()
    waiting = line.standby._ready
    assert await line.run(1, following=None) == b"one\n"
    assert line.begun == ["a", "b"]
    await until_so(lambda: not waiting.folder.exists() and not waiting.stdout.exists())


async def test_what_was_killed_while_it_waited_is_replaced(line):
    """Nobody hears of it."""
    await line.run(0, following=0)
    await line.is_ready()
    waiting = line.standby._ready.running
    os.kill(waiting._pid, signal.SIGKILL)
    await until_so(lambda: not waiting.waits)
    assert await line.run(0, following=None) == b"one\n"
    assert line.begun == ["a", "a"]


async def test_nothing_waits_once_nothing_follows(line):
    """Neither what was ready, nor what was about to be."""
    await line.run(0, following=0)
    await line.standby.let_go()
    assert not line.standby._planned.active()
    await line.run(0, following=0)
    await line.is_ready()
    waiting = line.standby._ready.running
    await line.standby.let_go()
    assert (waiting.waits, line.standby._ready) == (False, None)
    assert line.begun == ["a", "a"]


async def test_what_is_about_to_be_ready_is_let_go_too(line):
    """A worker that ends leaves nothing running."""
    await line.run(0, following=0)
    await until_so(lambda: not line.standby._planned.active())
    await line.standby.let_go()
    assert len(line.made) == 2
    assert not [each for each in line.made if Path(f"/proc/{each.running._pid}").exists()]


async def test_what_cannot_be_made_ready_is_no_failure(line, monkeypatch):
    """The run that follows starts from the beginning, and tells of it if it cannot either."""
    make_ready, refused, asked = Workbench.make_ready, Deferred(), []

    async def refuse_the_second(bench: Workbench, task: Task) -> Ready:
        asked.append(task)
        if len(asked) != 2:
            return await make_ready(bench, task)
        refused.callback(None)
        raise WorkerUnfit("no room left on this worker's disk")

    monkeypatch.setattr(Workbench, "make_ready", refuse_the_second)
    assert await line.run(0, following=0) == b"one\n"
    await refused
    assert await line.run(0, following=None) == b"one\n"
    assert (len(asked), line.begun) == (3, ["a", "a"])
