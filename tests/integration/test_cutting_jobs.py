"""Jobs that are cut while real programs run on them: no line is lost, and none is done twice."""

import hashlib
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field
from cluster import differ, oracle, running, until
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from hagoop import piecework, wire
from hagoop.delivery import Delivery
from hagoop.errors import ProgramFailed, TransferFailed
from hagoop.experience import JobSizer
from hagoop.feeding import Feed
from hagoop.found import walk
from hagoop.frames import END_FRAME, pack_frame
from hagoop.incoming import PieceList, SliceList
from hagoop.jobs import (
    Assignment,
    AssignmentId,
    Failure,
    FileList,
    Finished,
    Phase,
    Piece,
    Program,
    RequestId,
)
from hagoop.piecework import Work
from hagoop.sorting import find_bound
from hagoop.workbench import Workbench

Begin = Callable[..., "Begun"]
pytestmark = pytest.mark.slow

MAPPER = f"""{sys.executable} -ISc '
import sys, time
for line in sys.stdin.buffer:
    time.sleep(float(line.split()[0]))
    sys.stdout.buffer.write(line.upper())
    sys.stdout.flush()
'"""
"""Takes as long for a line as its first word says."""
REDUCER = MAPPER.replace("[0]", "[1]")
FAST, SLOW = b"0 fast\n", b".01 slow " + b"x" * 1000 + b"\n"


def uneven() -> list[bytes]:
    """Light lines, then heavy ones; the last one has no end."""
    return [FAST] * 300 + [SLOW] * 99 + [SLOW[:-1]]


def keyed() -> list[bytes]:
    """The same, each with a key of its own."""
    return [b"k%03d\t" % n + (line.rstrip() + b"\n") for n, line in enumerate(uneven())]


@define(eq=False)
class Server:
    """What an assignment needs of one: its bytes, and somebody who takes what it commits.

    :ivar given: what is fetched; ``files``: where the lines are, of a server on this machine.
    :ivar asked: what was fetched.
    :ivar commits: what was committed, with its bytes.
    """

    given: bytes
    files: bytes = b""
    asked: list[str] = field(factory=list)
    commits: list[tuple[Finished, bytes]] = field(factory=list)
    uploads: list[bytes] = field(factory=list)

    @property
    def is_near(self) -> bool:
        return bool(self.files)

    @property
    def transfer(self) -> "Server":
        return self

    async def get(self, path: str, grant: str, write: Callable[[bytes], object]) -> None:
        self.asked.append(path)
        write(self.files if path.startswith("files/") else self.given)

    async def put(self, path: str, grant: str, file: Any, size: int) -> tuple[dict[str, str], str]:
        self.uploads.append(file.read())
        return {"upload": str(len(self.uploads))}, ""

    async def commit(self, job: Finished) -> tuple[bool, int]:
        data = self.uploads[int(job.upload) - 1] if job.upload else b""
        assert hashlib.sha256(data).hexdigest() == job.digest
        assert job.start == self.front
        self.commits.append((job, data))
        return True, job.end

    async def back(self) -> None: ...

    @property
    def front(self) -> int:
        return self.commits[-1][0].end if self.commits else 0

    @property
    def answer(self) -> bytes:
        return b"".join(data for _, data in self.commits)


@define(eq=False)
class Begun:
    """An assignment under work."""

    work: Work
    server: Server
    ran: "Deferred[None]"

    async def ends(self) -> Failure | None:
        await self.ran
        return await self.work.settle()

    async def is_amid(self) -> None:
        """Wait until the program has come to heavy lines: they hold nearly all of the bytes."""
        weight = 400 if self.work.assignment.phase is Phase.MAP else sum(map(len, keyed()))
        await until_so(lambda: self.ran.called or self.work.seen.done > weight / 20)
        assert not self.ran.called


async def until_so(condition: Callable[[], object]) -> None:
    """Turn by turn of the reactor; a test's own deadline ends what never comes."""
    from twisted.internet import reactor

    while not condition():
        await deferLater(reactor, 0.005)


@pytest.fixture
def begin(tmp_path: Path) -> Begin:
    """Begins an assignment of so many positions, by a worker that takes its program for fast."""
    from twisted.internet import reactor

    bench = Workbench(reactor, tmp_path / "scratch", "/usr/bin:/bin")

    def make(
        program: Program, phase: Phase, positions: int, given: bytes, seconds: float, files: bytes = b""
    ) -> Begun:
        ids = AssignmentId("1-1"), RequestId("r1")
        it = Assignment(*ids, phase, 0, 0, positions, positions, seconds, 0, program, "g", 1 << 20)
        sizer = JobSizer()
        sizer.observe(10**8, 1.0)
        work = Work(it, bench, server := Server(given, files), reactor, sizer)
        return Begun(work, server, Deferred.fromCoroutine(work.run()))

    make.folder = tmp_path
    return make


def begin_map(begin: Begin, program: Program, seconds: float) -> Begun:
    """A map of uneven lines."""
    data = b"".join(uneven())
    piece = Piece("lines", 0, len(uneven()), 0, 0, len(data))
    header = wire.encode(PieceList((piece,))) + b"\n"
    return begin(program, Phase.MAP, len(uneven()), header + data, seconds)


def begin_near(begin: Begin, program: Program, seconds: float) -> Begun:
    """The same where server and worker see the file; nothing can be fetched."""
    file = Path(tempfile.mkdtemp(dir=begin.folder)) / "lines"
    file.write_bytes(b"before\n" + b"".join(uneven()))
    piece = Piece("lines", 0, len(uneven()), 1, 7, len(b"".join(uneven())))
    files = wire.encode(FileList((piece,), tuple(walk([file])))) + b"\n"
    return begin(program, Phase.MAP, len(uneven()), b"", seconds, files)


def begin_reduce(begin: Begin, program: Program, seconds: float) -> Begun:
    """A reduce of uneven keys, of which each is a cell."""
    keys = [line.decode().partition("\t")[0] for line in keyed()]
    header = wire.encode(SliceList(("", *keys[1:], None), 1)) + b"\n"
    frames = b"".join(pack_frame(each, True).encoded for each in keyed()) + END_FRAME
    return begin(program, Phase.REDUCE, len(keys), header + frames, seconds)


KINDS = pytest.mark.parametrize(
    ("begin_one", "program", "expected"),
    [
        (begin_map, Program(MAPPER, None), oracle([b"".join(uneven())], "tr a-z A-Z")),
        (begin_near, Program(MAPPER, None), oracle([b"".join(uneven())], "tr a-z A-Z")),
        (begin_reduce, Program(None, REDUCER), oracle([b"".join(keyed())], "tr a-z A-Z")),
    ],
    ids=["map", "near", "reduce"],
)
"""What is begun, with which program, and the answer; programs that need no time give the same."""


@KINDS
async def test_jobs_that_take_too_long_are_cut_again_and_again(begin, begin_one, program, expected):
    """What is left of each is another job, as long as a worker is wrong about the lines to come."""
    begun = begin_one(begin, program, 0.1)
    assert await begun.ends() is None
    assert differ(begun.server.answer, expected) == ""
    assert len(begun.server.commits) > 3
    assert begun.work.seen.done == (sum(map(len, keyed())) if begin_one is begin_reduce else 400)


@KINDS
async def test_end_is_taken_back_within_the_job_in_hand(begin, begin_one, program, expected):
    """Where it was asked, for it lies behind what the program was fed; and once more before."""
    begun = begin_one(begin, program, 1000.0)
    await begun.is_amid()
    assert begun.work.job_end == 400
    asked = [Deferred.fromCoroutine(begun.work.take_back(end)) for end in (390, 0)]
    assert await asked[0] == 390
    kept = await asked[1]
    assert 301 < kept < 390
    assert begun.work.last_begun.called
    assert await begun.ends() is None
    assert [job.end for job, _ in begun.server.commits] == [kept]
    assert begun.server.answer == b"".join(expected.splitlines(keepends=True)[:kept])


@pytest.mark.parametrize("seconds_each", [0.0, 1.0])
async def test_slower_of_running_and_delivering_sizes_the_next_job(begin, monkeypatch, seconds_each):
    """What a job prints may take longer to sort and send than to make."""
    told: list[tuple[int, float]] = []
    monkeypatch.setattr(Delivery, "expected_seconds", lambda _, weight: weight * seconds_each)
    monkeypatch.setattr(JobSizer, "observe", lambda _, *job: told.append(job))
    begun = begin_map(begin, Program("cat", None), 1000.0)
    assert await begun.ends() is None
    # The first is what ``begin`` says of a faster program.
    lines, seconds = zip(*told[1:], strict=True)
    assert list(lines) == [job.end - job.start for job, _ in begun.server.commits]
    assert seconds == tuple(map(float, lines)) if seconds_each else 0 < sum(seconds) < sum(lines)


async def test_looking_for_keys_is_a_sign_of_life(begin, monkeypatch):
    """It takes seconds where hundreds of megabytes were fetched, and nothing else can be seen then."""
    taken: list[int] = []

    def find(*where: Any) -> int:
        taken.append(begun.work.seen.taken)
        return find_bound(*where)

    monkeypatch.setattr(piecework, "find_bound", find)
    begun = begin_reduce(begin, Program(None, "cat"), 1000.0)
    assert await begun.ends() is None
    assert len(taken) == 399
    assert taken == sorted(set(taken))


def touch(file: Path) -> None:
    """Something writes to it."""
    with file.open("r+b") as opened:
        opened.write(b"BEFORE")


async def test_near_worker_fetches_no_line(begin):
    """It asks where they are."""
    begun = begin_near(begin, Program("cat", None), 1000.0)
    assert await begun.ends() is None
    assert begun.server.asked == ["files/1-1"]
    assert begun.server.answer == b"".join(uneven()) + b"\n"


@pytest.mark.parametrize("mapper", [MAPPER, None])
async def test_file_that_changes_while_a_near_worker_reads_it_is_told(begin, monkeypatch, mapper):
    """Nothing that was made of it is kept, and no program is to blame."""

    async def copy(bench: Workbench, feed: Feed, target: Path) -> int:
        touch(feed.path)
        return await copied(bench, feed, target)

    copied = Workbench.copy
    monkeypatch.setattr(Workbench, "copy", copy)
    begun = begin_near(begin, Program(mapper, "cat"), 1000.0)
    (file,) = begin.folder.glob("*/lines")
    if mapper is not None:
        await begun.is_amid()
        touch(file)
    failure = await begun.ends()
    assert failure.kind == TransferFailed.code
    assert failure.message == f"'{file}' changed while it was read"
    assert begun.server.commits == []


@pytest.mark.parametrize("combines", [True, False])
async def test_near_worker_fetches_what_it_cannot_read_so(begin, combines):
    """Lines of many files that one run sees, and a file that is another where it is."""
    lines = b"a\nb\n"
    piece = Piece("lines", 0, 2, 0, 0, len(lines))
    (begin.folder / "lines").write_bytes(lines)
    (found,) = walk([begin.folder / "lines"])
    files = wire.encode(FileList((piece,), (evolve(found, inode=found.inode + 1),))) + b"\n"
    program = Program("cat", None, combine_files=combines)
    begun = begin(program, Phase.MAP, 2, wire.encode(PieceList((piece,))) + b"\n" + lines, 1.0, files)
    assert await begun.ends() is None
    assert begun.server.asked == [*["files/1-1"] * (not combines), "assignments/1-1"]
    assert begun.server.answer == lines


async def test_end_taken_back_at_any_moment_is_where_it_ends(begin):
    """Neither more than the answer says nor less, while jobs are cut by themselves too."""
    dice = random.Random(5)
    expected = oracle([b"".join(uneven())], "tr a-z A-Z").splitlines(keepends=True)
    begun = begin_map(begin, Program(MAPPER, None), 0.1)
    kept = 400
    while not begun.ran.called:
        await until_so(lambda: begun.ran.called or dice.random() < 0.1)
        kept = await begun.work.take_back(max(kept - dice.choice([0, 1, 5]), 0))
    assert await begun.ends() is None
    assert begun.server.front == kept
    assert begun.server.answer == b"".join(expected[:kept])


@pytest.mark.parametrize("program", [Program(MAPPER, None, map_whole=True)])
async def test_whole_jobs_are_not_cut(begin, program):
    """Who runs a program once per file wants it so."""
    begun = begin_map(begin, program, 0.1)
    await begun.is_amid()
    assert await begun.work.take_back(390) == 400
    assert await begun.ends() is None
    assert [job.end for job, _ in begun.server.commits] == [400]


async def test_program_that_fails_names_the_lines_that_it_was_given(begin):
    """Not those that were cut off."""
    begun = begin_map(begin, Program(f"{MAPPER}; exit 3", None), 1000.0)
    await begun.is_amid()
    kept = await begun.work.take_back(0)
    failure = await begun.ends()
    assert (failure.kind, failure.start, failure.end) == (ProgramFailed.code, 0, kept)
    assert kept < 400


async def test_cancel_while_lines_are_counted_ends_the_work(begin):
    """Whoever asked for the end is answered."""
    begun = begin_map(begin, Program(MAPPER, None), 1000.0)
    await begun.is_amid()
    asked = Deferred.fromCoroutine(begun.work.take_back(0))
    await begun.work.cancel("it is not ours any more")
    assert 0 < await asked <= 400
    assert await begun.ends() is None
    assert begun.server.commits == []


def test_worker_that_leaves_delivers_what_it_has_done(tmp_path: Path) -> None:
    """Its job was to last longer than it may stay."""
    notes = tmp_path / "notes"
    mapper = MAPPER.replace("sys.stdout.flush()", f'open("{notes}", "ab").write(line[:1])')
    lines = [FAST] * 2000 + [b".1 slow " + b"x" * 10_000 + b"\n"] * 100
    with running(tmp_path / "it", 1) as cluster:
        (cluster.at / "lines").write_bytes(b"".join(lines))
        assert cluster.request("run", "lines", "--detach", "--mapper", mapper).returncode == 0
        until(lambda: notes.exists() and notes.stat().st_size > 2000, what="a heavy line")
        cluster.workers[0].term()
        cluster.workers[0].wait()
        seen = cluster.ask("status")
        assert round(seen["done"] * seen["weight"]) == notes.stat().st_size < 2100
        assert seen["failures"] == 0
        assert cluster.request("cancel").returncode == 0
