"""Sorting and merging lines, and finding a key in what is sorted.

The orders are those of ``LC_ALL=C sort``: by key ``-s -t TAB -k1,1``, where lines of one key stay as
they came, or with other fields, and with ties by line; by line no options.
"""

import errno
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import islice
from operator import le
from pathlib import Path
from typing import BinaryIO

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThreadPool

from hagoop.errors import ProgramFailed, WorkerUnfit
from hagoop.frames import BLOCK_BYTES
from hagoop.interfaces import IWorkerReactor
from hagoop.keys import Order
from hagoop.process import launch
from hagoop.runs import RunWriter
from hagoop.verdicts import Run

# Up to here a thread is done before a process is, even when lines are short.
_SMALL_BYTES = 1 << 16
# And up to here when they are in order already, as far as anyone knows.
_SMALL_SORTED_BYTES = 1 << 20
# What a processor keeps at hand; with 2M or 32M sort takes a tenth longer.
_SORT_BUFFER = "4M"
_CHUNK_BYTES = 1 << 18
_LEAST_BLOCK_BYTES = 2048
_LEAST_BLOCKS = 64
_NO_ROOM = "no room left on this worker's disk"


@frozen
class Packed:
    """A sorted run as it was written.

    :param digest: SHA-256 of its bytes, in hex.
    """

    size: int
    digest: str


@frozen
class KeySorter:
    """Sorts and merges files; cancelling what it returns ends the work.

    Both raise ``WorkerUnfit`` when this machine cannot do it.

    :param scratch: folder for temporary files.
    """

    _reactor: IWorkerReactor
    _scratch: Path

    def sort(self, raw: Path, target: Path, order: Order) -> Deferred[None]:
        """Write the lines of ``raw`` to ``target``, sorted; lines of one key stay as they are, or are
        sorted too, as the order says."""
        if raw.stat().st_size <= _SMALL_BYTES:
            return self._sort_in_thread([raw], target, order)
        return Deferred.fromCoroutine(self._sort_raw(raw, target, order))

    async def _sort_raw(self, raw: Path, target: Path, order: Order) -> None:
        pool = self._reactor.getThreadPool()
        if await deferToThreadPool(self._reactor, pool, sorts_by_line, raw, order):
            options: tuple[str, ...] = ("-s",)
        else:
            options = sort_options(order)
        await self._spawn((*options, *_known(("-S", _SORT_BUFFER, "--parallel=1"))), [raw], target)

    def sort_again(self, raw: Path, target: Path, order: Order) -> Deferred[None]:
        """The same for lines that are most likely sorted."""
        if raw.stat().st_size > _SMALL_SORTED_BYTES:
            return self.sort(raw, target, order)
        return self._sort_in_thread([raw], target, order)

    def merge(self, parts: Sequence[Path], target: Path, order: Order) -> Deferred[None]:
        """Merge sorted files; lines of one key in the order of ``parts``, or sorted too."""
        if sum(part.stat().st_size for part in parts) <= _SMALL_BYTES:
            return self._sort_in_thread(parts, target, order)
        # One pass over all parts, whatever their number.
        options = ("-m", *sort_options(order), *_known((f"--batch-size={max(2, len(parts))}",)))
        return Deferred.fromCoroutine(self._spawn(options, parts, target))

    def _sort_in_thread(self, parts: Sequence[Path], target: Path, order: Order) -> Deferred[None]:
        pool = self._reactor.getThreadPool()
        return deferToThreadPool(self._reactor, pool, _sort_in_memory, parts, target, order)

    async def _spawn(self, options: Sequence[str], parts: Sequence[Path], target: Path) -> None:
        argv = ("sort", *options, "-T", str(self._scratch), "--", *map(str, parts))
        env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
        run = Run(argv, self._scratch, env, None, target, stdout_limit=0, timeout_seconds=0)
        running = launch(self._reactor, run)
        try:
            await running.ended
        except CancelledError:
            await running.stop("it was cancelled")
            raise
        except ProgramFailed as error:
            raise WorkerUnfit(_sort_sentence(error)) from error


def sort_options(order: Order) -> tuple[str, ...]:
    """What makes ``LC_ALL=C sort`` sort so."""
    if order.fields == 0:
        return ()
    # A NUL could be no argument.
    separator = order.separator.decode("ascii") if order.separator != b"\0" else "\\0"
    stable = () if order.by_value else ("-s",)
    return (*stable, "-t", separator, f"-k1,{order.fields}")


def sorts_by_line(file: Path, order: Order) -> bool:
    """Whether to sort by whole lines, which takes a fourth less, gives the same.  Blocks.

    It does where all lines have one value, as those of programs that count, and no key has a byte below
    the separator: then two lines differ just where their keys do, and a key comes before those that it
    begins.
    """
    if order.fields != 1 or order.by_value:
        return False
    separator, low = order.separator, range(order.separator[0])
    with file.open("rb") as source:
        value = source.readline(_CHUNK_BYTES).removesuffix(b"\n").partition(separator)[2]
        end, rest, last = separator + value + b"\n", b"", b"\n"
        # Little is left of a line without the bytes that tell nothing, or only of its value.
        idle, valued = bytes({*range(256)}.difference(low, end)), bytes({*value}.difference(low))
        source.seek(0)
        while data := source.read(_CHUNK_BYTES):
            whole, newline, rest = (rest + data.translate(None, idle)).rpartition(b"\n")
            told, last = whole + newline, data[-1:]
            # A line that is longer than all this is no such line.
            if not newline or told.translate(None, valued) != (separator + b"\n") * told.count(end):
                return False
    return last == b"\n"


def pack(sorted_file: Path, target: Path, order: Order) -> Packed:
    """Write a sorted file as a sorted run.  Blocks.

    :raises WorkerUnfit: the disk is full.
    """
    with _needing_room():
        return _pack(sorted_file, target, order)


def find_bound(file: BinaryIO, bound: bytes, order: Order, low: int = 0) -> int:
    """Where the first line begins whose key is at least ``bound``; the file's size if there is none.

    Reads little and keeps less, however long the lines are; the less, the nearer to ``low`` it is
    (galloping search: Bentley and Yao, "An almost optimal algorithm for unbounded searching", 1976).

    :param low: where a line begins from which to look.
    """
    size = file.seek(0, os.SEEK_END)
    # A cell of a reduce holds about a block: the next bound is seldom farther off.
    first, last, found, reach = low, size, size, BLOCK_BYTES
    # No line that begins before ``first`` is wanted; every one from ``last`` on could be.
    while first < last:
        middle = min((first + last) // 2, first + reach)
        reach *= 2
        start = _line_start(file, middle, last, low)
        if start is None:
            last = middle
        elif _key_head(file, start, len(bound) + 1, order) >= bound:
            found, last = start, middle
        else:
            first = start + 1
    return found


def _sort_in_memory(parts: Sequence[Path], target: Path, order: Order) -> None:
    with _needing_room():
        data = b"".join([_ended(part.read_bytes()) for part in parts])
        lines = data.split(b"\n")[:-1]
        if not _are_in_order(lines, order):
            _sort_lines(lines, order)
            data = b"\n".join([*lines, b""])
        target.write_bytes(data)


def _are_in_order(lines: list[bytes], order: Order) -> bool:
    """Whether it is plain that they are, which takes a fourth of sorting them.

    They are where they are as a whole, unless a byte comes before the separator.
    """
    if not all(map(le, lines, islice(lines, 1, None))):
        return False
    low = bytes(range(order.separator[0] if order.fields else 0))
    text = b"".join(lines)
    return len(text.translate(None, low)) == len(text)


def _sort_lines(lines: list[bytes], order: Order) -> None:
    if order.by_value or order.fields == 0:
        lines.sort()
    if order.fields:
        # Order.key_of would look for a newline too, at twice the cost.
        lines.sort(key=order.key_in)


def _ended(data: bytes) -> bytes:
    """Lines of which the last, too, has its newline."""
    return data if data.endswith(b"\n") or not data else data + b"\n"


def _pack(sorted_file: Path, target: Path, order: Order) -> Packed:
    # A small run is indexed finely, so that its keys can be reduced by more than one worker.
    block = max(_LEAST_BLOCK_BYTES, min(BLOCK_BYTES, sorted_file.stat().st_size // _LEAST_BLOCKS))
    writer, digest, size = RunWriter(order=order, block_bytes=block), hashlib.sha256(), 0
    with sorted_file.open("rb") as source, target.open("wb") as run:
        while data := source.read(_CHUNK_BYTES):
            made = writer.write(data)
            digest.update(made)
            size += run.write(made)
        made = writer.finish()
        digest.update(made)
        size += run.write(made)
    return Packed(size, digest.hexdigest())


def _line_start(file: BinaryIO, start: int, end: int, low: int) -> int | None:
    """The first position from ``start`` on, before ``end``, at which a line begins."""
    if start == low:
        return low
    place, step = start - 1, 4096
    file.seek(place)
    while place < end - 1:
        data = file.read(min(step, end - 1 - place))
        found = data.find(b"\n")
        if found >= 0:
            return place + found + 1
        if not data:
            return None
        place += len(data)
        step = _CHUNK_BYTES
    return None


def _key_head(file: BinaryIO, start: int, most: int, order: Order) -> bytes:
    """The key of the line at ``start``, or as much of it as decides."""
    file.seek(start)
    return order.key_of(file.read(most))


@cache
def _known(options: tuple[str, ...]) -> tuple[str, ...]:
    """The options, if this machine's ``sort`` has them.  Blocks for a moment, once."""
    sort = shutil.which("sort")
    if sort is None:
        return ()
    tried = subprocess.run([sort, *options, os.devnull], stdin=subprocess.DEVNULL, capture_output=True)
    return () if tried.returncode else options


def _sort_sentence(error: ProgramFailed) -> str:
    told = error.stderr.decode(errors="replace").strip()
    if "No space left on device" in told or "Disk quota exceeded" in told:
        return _NO_ROOM
    return f"sort failed on this machine: {told.rpartition(chr(10))[2] or error}"


@contextmanager
def _needing_room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WorkerUnfit(_NO_ROOM) from error
        raise
