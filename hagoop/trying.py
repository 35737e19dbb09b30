"""One run of a user's program for a check: as a worker runs it, but for what is changed on purpose."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore, FirstError, TimeoutError

from hagoop.errors import HaGoopError
from hagoop.feeding import Feed
from hagoop.findings import Role
from hagoop.jobs import Assignment, AssignmentId, Phase, Piece, Program, RequestId, Shipped
from hagoop.process import Running
from hagoop.purity import Part, split_lines
from hagoop.shipping import to_argv
from hagoop.workbench import Task, Workbench

OUTPUT_BYTES = 16 << 20
_AT_ONCE = 4
_FAKETIME = ("/usr/lib*/*/faketime/libfaketime.so.1", "/usr/*lib*/faketime/libfaketime.so.1")


@frozen
class Around:
    """What surrounds a run and must not matter.

    :param seed: of Python's hashes.
    :param clock: as libfaketime reads it; empty: the clock as it is.
    :param locale: empty: that of workers.
    :param number: of assignment and attempt.
    """

    seed: int = 0
    clock: str = ""
    locale: str = ""
    number: int = 1

    def env(self, library: str) -> Iterator[tuple[str, str]]:
        """Its variables.

        :param library: the path of libfaketime.
        """
        yield "PYTHONHASHSEED", str(self.seed)
        if self.locale:
            yield "LC_ALL", self.locale
        if self.clock and library:
            yield from (("LD_PRELOAD", library), ("FAKETIME", self.clock))
            # Shared memory is named after process ids, which namespaces have in common.
            yield from (("FAKETIME_DISABLE_SHM", "1"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1"))


PLAIN = Around()


@frozen
class Outcome:
    """How a run ended.

    :param output: what it printed.
    :param error: why it failed; empty: it did not.
    :param is_slow: it was stopped for the time it took.
    """

    output: bytes = b""
    error: str = ""
    log: str = ""
    is_slow: bool = False

    @property
    def lines(self) -> list[bytes]:
        """What it printed, as lines."""
        return split_lines(self.output)


@define(eq=False)
class Trier:
    """Runs a request's programs in a scratch folder, each within so many seconds.

    :ivar library: the path of libfaketime; empty where there is none.
    """

    bench: Workbench
    program: Program
    run_seconds: float
    library: str = field(factory=lambda: find_faketime())
    _slots: DeferredSemaphore = field(factory=lambda: DeferredSemaphore(_AT_ONCE))
    _live: list[Running] = field(factory=list)

    def sets(self, name: str) -> bool:
        """Whether the user has set a variable, so that it is not changed here."""
        return name in dict(self.program.env)

    async def all(self, role: Role, parts: Sequence[Part], around: Around = PLAIN) -> list[Outcome]:
        """One run for each part, some of them at once."""
        runs = [self._slots.run(self._run, role, each, around) for each in parts]
        try:
            ended = await DeferredList(runs, fireOnOneErrback=True, consumeErrors=True)
        except FirstError as first:
            first.subFailure.raiseException()
        return [outcome for _, outcome in ended]

    def without_place(self, line: bytes) -> bytes:
        """A line without the paths of the folders of runs."""
        return re.sub(re.escape(os.fsencode(self.bench.scratch)) + rb"/[a-z]+-\d+", b"", line)

    async def stop(self) -> None:
        """End what runs and leave nothing behind."""
        await DeferredList([each.stop("the check is over") for each in self._live])
        await self.bench.in_thread(shutil.rmtree, self.bench.scratch, True)

    async def _run(self, role: Role, part: Part, around: Around) -> Outcome:
        lines, printed = self.bench.new_path("lines"), self.bench.new_path("printed")
        lines.write_bytes(part.before + part.data + part.behind)
        try:
            return await self._end_in_time(self._task(role, part, around, lines), printed)
        except HaGoopError as error:
            return Outcome(error=str(error), log=getattr(error, "stderr", b"").decode())
        finally:
            self.bench.discard(lines, printed)

    async def _end_in_time(self, task: Task, printed: Path) -> Outcome:
        started: list[Running] = []
        running = Deferred.fromCoroutine(self.bench.run(task, printed, started.append))
        self._live[:] = [each for each in self._live if not each.ended.called]
        try:
            await running.addTimeout(self.run_seconds, self.bench.reactor)
        except TimeoutError:
            for each in started:
                await each.stop("it took too long")
            return Outcome(is_slow=True, error="it took too long")
        finally:
            self._live += started
        return Outcome(printed.read_bytes())

    # What a run is told

    def _task(self, role: Role, part: Part, around: Around, lines: Path) -> Task:
        assignment = self._assignment(role, part, around)
        piece = _piece(part) if role.phase == "map" else None
        size, binary = len(part.data), self.program.binary
        if binary is None:
            command = getattr(self.program, role.name)
            return Task(to_argv(command), role.phase, assignment, piece, Feed(lines, 0, size))
        start = part.start if piece else 0
        end, offset = start + len(part.lines), len(part.before)
        argv = (binary, role.phase, str(lines), str(start), str(end), str(offset))
        reads = Feed(lines, offset, offset + size)
        return Task(argv, role.phase, assignment, piece, None, reads)

    def _assignment(self, role: Role, part: Part, around: Around) -> Assignment:
        # The user's own variables come last: they stay as they are.
        env = (*around.env(self.library), *self.program.env)
        size = len(part.lines)
        return Assignment(
            id=AssignmentId(f"1-{around.number + part.lease_start}"),
            request=RequestId("check"),
            phase=Phase.REDUCE if role.phase == "reduce" else Phase.MAP,
            round=0,
            start=part.start,
            end=part.start + size,
            weight=size,
            commit_seconds=1.0,
            attempt=around.number - 1,
            program=evolve(self.program, env=env),
            grant="",
            output_bytes=OUTPUT_BYTES,
        )


def _piece(part: Part) -> Piece:
    return Piece(
        name=part.name,
        start=part.lease_start,
        end=part.lease_start + part.lease_lines,
        file_line=part.lease_start,
        offset=0,
        length=len(part.data),
    )


def ship(files: Sequence[tuple[str, Path]], bench: Workbench) -> tuple[Shipped, ...]:
    """Put the client's files where runs are given them from.  Blocks."""
    return tuple(_ship(path, file, bench) for path, file in files)


def _ship(path: str, file: Path, bench: Workbench) -> Shipped:
    with open(file, "rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    facts = os.stat(file)
    shipped = Shipped(path, digest, facts.st_size, bool(facts.st_mode & 0o111))
    bench.keep_program(shipped, file)
    return shipped


def find_faketime() -> str:
    """The path of libfaketime; empty where it is not installed."""
    found = (each for pattern in _FAKETIME for each in Path("/").glob(pattern[1:]))
    return next(map(str, found), "")
