"""Where a worker runs programs and makes what it commits: scratch folders, shipped files, sorting."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredLock, TimeoutError
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from hagoop.answers import copy_chunks
from hagoop.containers import find_container
from hagoop.errors import JobError, TransferFailed, WorkerUnfit
from hagoop.feeding import Feed
from hagoop.found import open_regular
from hagoop.interfaces import IWorkerReactor
from hagoop.jobs import Assignment, Piece, Shipped
from hagoop.keys import Order
from hagoop.launching import run_environment
from hagoop.process import Running, launch
from hagoop.shipping import place_files
from hagoop.sorting import KeySorter, Packed, pack
from hagoop.transfer import Transfer
from hagoop.verdicts import Ended, Run

T = TypeVar("T")
log = Logger()
READY_SECONDS = 60.0
"""How long all but the program may take to start, on a machine with much to do."""
NOTHING = Packed(0, hashlib.sha256().hexdigest())


@frozen
class Task:
    """One run of one program: what an assignment's job, or its combiner, needs.

    :param phase: ``map``, ``combine`` or ``reduce``.
    :param feed: what it is fed through a pipe; a path: that file is its stdin; None: nothing.
    :param reads: a part of a file that it reads itself.
    :param copy: a file made for it, gone afterwards.
    """

    argv: tuple[str, ...]
    phase: str
    assignment: Assignment
    piece: Piece | None
    feed: Feed | Path | None
    reads: Feed | None = None
    copy: Path | None = None


@frozen
class Ready:
    """A run of which all but the program has started; it is fed when it begins."""

    task: Task
    folder: Path
    stdout: Path
    running: Running


@frozen
class Share:
    """What the owner of a machine gives to each slot, in bytes; 0: any number.

    :param disk: half of it for what is fetched, half for what programs make.
    """

    memory: int = 0
    disk: int = 0

    @property
    def half_disk(self) -> int:
        """The bound on each half; at least a byte if there is one at all."""
        return (self.disk + 1) // 2


@define(eq=False)
class Workbench:
    """A worker's scratch folder and what is done in it.

    :ivar search: the worker's ``PATH``.
    """

    reactor: IWorkerReactor
    scratch: Path
    search: str
    share: Share = Share()
    _sorter: KeySorter = field(init=False)
    _numbers: Iterator[int] = field(factory=count)
    _fetching: dict[str, DeferredLock] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)
        (self.scratch / "programs").mkdir(parents=True)
        self._sorter = KeySorter(self.reactor, self.scratch)

    def tell_container(self) -> None:
        """Find out how programs are held together here, and say what that is not good for.  Blocks."""
        found = find_container(self.search)
        log.info("programs run in: {name}", name=found.name)
        if not found.is_namespace:
            log.warn(
                "no PID namespace can be made here (try bubblewrap): programs may outlive a worker that "
                "is killed, and what they start in sessions of their own may outlive them"
            )

    async def in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        """Call something that blocks."""
        called: Deferred[T] = deferToThreadPool(
            self.reactor, self.reactor.getThreadPool(), function, *arguments
        )
        return await called

    def new_path(self, kind: str) -> Path:
        """A path that nobody uses."""
        return self.scratch / f"{kind}-{next(self._numbers)}"

    def discard(self, *paths: Path) -> None:
        """Remove files and folders, soon."""
        if not paths:
            return
        gone = deferToThreadPool(self.reactor, self.reactor.getThreadPool(), _remove, paths)
        gone.addErrback(lambda _: None)

    @contextmanager
    def gone_if_it_fails(self, *paths: Path) -> Iterator[None]:
        """Files that are of no use unless what follows succeeds."""
        try:
            yield
        except BaseException:
            self.discard(*paths)
            raise

    # Shipped files

    async def fetch_programs(self, assignment: Assignment, transfer: Transfer) -> None:
        """Fetch what an assignment's programs need, once.

        :raises TransferFailed: it does not come, or comes with another digest.
        """
        for each in assignment.program.files:
            lock = self._fetching.setdefault(each.digest, DeferredLock())
            await lock.run(self._fetch, each, assignment, transfer)

    async def _fetch(self, shipped: Shipped, assignment: Assignment, transfer: Transfer) -> None:
        target = self._program(shipped)
        if target.exists():
            return
        beside = self.new_path("program")
        digest = hashlib.sha256()
        with self.gone_if_it_fails(beside), _room(), open(beside, "wb") as file:

            def write(data: bytes) -> None:
                digest.update(data)
                file.write(data)

            await transfer.get(f"programs/{shipped.digest}", assignment.grant, write)
        if digest.hexdigest() != shipped.digest:
            self.discard(beside)
            raise TransferFailed(f"{shipped.path} came with another digest than announced")
        os.replace(beside, target)

    def _program(self, shipped: Shipped) -> Path:
        name = hashlib.sha256(shipped.digest.encode()).hexdigest()
        return self.scratch / "programs" / f"{name}{'-x' if shipped.executable else ''}"

    def keep_program(self, shipped: Shipped, file: Path) -> None:
        """Take a copy of a file of this machine as if it had been fetched.  Blocks."""
        shutil.copyfile(file, self._program(shipped))

    def forget_programs(self, wanted: set[str]) -> None:
        """Drop what no request needs any more.  ``wanted``: paths that stay, by digest."""
        kept = {hashlib.sha256(each.encode()).hexdigest() for each in wanted}
        known = list((self.scratch / "programs").iterdir())
        gone = [each for each in known if each.name.removesuffix("-x") not in kept]
        # Out of sight at once: the next request may need the same, and must not find what will go.
        self.discard(*[each.rename(self.new_path("gone")) for each in gone])
        self._fetching = {each: lock for each, lock in self._fetching.items() if each in wanted}

    # Running

    async def run(self, task: Task, stdout: Path, started: Callable[[Running], None]) -> Ended:
        """One run in a private folder, which is gone afterwards.

        :raises JobError: it failed.
        """
        folder = await self._new_folder(task)
        running = launch(self.reactor, self._run(task, folder, stdout))
        return await self._until_ended(running, folder, started)

    async def make_ready(self, task: Task) -> "Ready":
        """Start all of a run but its program, which is fed later.

        :raises WorkerUnfit: no room, or it cannot be started here.
        :raises JobError: it was killed, or is not ready after a minute.
        """
        folder, stdout = await self._new_folder(task), self.new_path("output")
        running = launch(self.reactor, self._run(task, folder, stdout), waits=True)
        ready = Ready(task, folder, stdout, running)
        try:
            await running.ready.addTimeout(READY_SECONDS, self.reactor)
        except TimeoutError as error:
            self.let_go(ready)
            raise JobError(f"nothing could be started within {READY_SECONDS:g} s") from error
        except BaseException:
            self.let_go(ready)
            raise
        return ready

    async def run_ready(self, ready: "Ready", feed: Feed, started: Callable[[Running], None]) -> Ended:
        """Let it begin; otherwise as ``run``."""
        ready.running.begin(feed)
        return await self._until_ended(ready.running, ready.folder, started)

    def let_go(self, ready: "Ready") -> Deferred[None]:
        """It will not be run; fires when it is gone."""
        ready.running.ended.addErrback(lambda _: None)
        gone = ready.running.stop("it is not needed")
        return gone.addCallback(lambda _: self.discard(ready.folder, ready.stdout))

    async def _until_ended(
        self, running: Running, folder: Path, started: Callable[[Running], None]
    ) -> Ended:
        started(running)
        try:
            return await running.ended
        finally:
            self.discard(folder)

    async def _new_folder(self, task: Task) -> Path:
        folder = self.new_path("run")
        files = [(each, self._program(each)) for each in task.assignment.program.files]
        with _room():
            if files:
                await self.in_thread(_make_folder, folder, files)
            else:
                folder.mkdir()
        return folder

    def _run(self, task: Task, folder: Path, stdout: Path) -> Run:
        program, most = task.assignment.program, task.assignment.output_bytes
        return Run(
            argv=task.argv,
            folder=folder,
            env=run_environment(task.assignment, task.phase, task.piece, folder, self.search),
            stdin=task.feed,
            reads=task.reads,
            stdout=stdout,
            stdout_limit=min(most, self.share.half_disk or most),
            memory_limit=self.share.memory,
            folder_limit=self.share.half_disk,
            timeout_seconds=program.timeout_seconds,
            ok_status=program.ok_status,
        )

    async def copy(self, feed: Feed, target: Path) -> int:
        """What ``cat`` would do with lines; how many there were."""
        with _room():
            return await self.in_thread(_copy_lines, feed, target)

    # Making what is committed

    async def sort(self, raw: Path, order: Order) -> Path:
        """Sort lines; the unsorted file is gone afterwards."""
        target = self.new_path("sorted")
        with self.gone_if_it_fails(raw, target):
            await self._sorter.sort(raw, target, order)
        self.discard(raw)
        return target

    async def sort_again(self, printed: Path, order: Order) -> Path:
        """The same for what a combiner has printed: it rarely changes the order."""
        target = self.new_path("sorted")
        with self.gone_if_it_fails(printed, target):
            await self._sorter.sort_again(printed, target, order)
        self.discard(printed)
        return target

    async def merge(self, parts: list[Path], target: Path, order: Order) -> None:
        """Merge sorted files, ties in the order given."""
        with self.gone_if_it_fails(target):
            await self._sorter.merge(parts, target, order)

    def size_of(self, file: Path | None) -> int:
        """How large a file of the scratch folder has become; 0 while it is not there."""
        try:
            return 0 if file is None else file.stat().st_size
        except FileNotFoundError:
            return 0

    async def pack(self, sorted_file: Path, order: Order) -> tuple[Path, Packed]:
        """Make a sorted run; the sorted file is gone afterwards."""
        target = self.new_path("packed")
        with _room(), self.gone_if_it_fails(sorted_file, target):
            packed = await self.in_thread(pack, sorted_file, target, order)
        self.discard(sorted_file)
        return target, packed

    async def measure(self, file: Path) -> Packed:
        """Size and digest of a file that is committed as it is."""
        return await self.in_thread(_measure, file)


def _make_folder(folder: Path, files: list[tuple[Shipped, Path]]) -> None:
    folder.mkdir()
    place_files(files, folder)


def _remove(paths: tuple[Path, ...]) -> None:
    for each in paths:
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each, ignore_errors=True)
        else:
            each.unlink(missing_ok=True)


def _copy_lines(feed: Feed, target: Path) -> int:
    with open_regular(feed.path) as source, open(target, "wb") as copy:
        source.seek(feed.offset)
        left = feed.end - feed.offset
        lines, last = 0, b"\n"
        while left:
            chunk = source.read(min(left, 1 << 20))
            if not chunk:
                raise TransferFailed("its input ended early")
            copy.write(chunk)
            left, last = left - len(chunk), chunk[-1:]
            lines += chunk.count(b"\n")
        if last != b"\n":
            lines += copy.write(b"\n")
    return lines


def _measure(file: Path) -> Packed:
    digest = hashlib.sha256()
    with open(file, "rb") as source:
        copy_chunks(source, digest.update)
        return Packed(source.tell(), digest.hexdigest())


@contextmanager
def _room() -> Iterator[None]:
    """A full disk is no fault of the program: this worker is unfit."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WorkerUnfit("no room left on this worker's disk") from error
        raise
