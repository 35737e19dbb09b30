"""The log that SQLite keeps beside a database, looked at before SQLite does.

SQLite reads it as far as its checksums hold, and takes the rest for a commit that power cut short.
Where whole commits follow it was damaged, and facts that were told would be gone without a word.
The format: https://sqlite.org/fileformat2.html#walformat
"""

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from attrs import frozen

HEADER = struct.Struct(">8I")
FRAME = struct.Struct(">6I")
BIG_ENDIAN, LITTLE_ENDIAN = 0x377F0683, 0x377F0682
WORD = 0xFFFFFFFF
Sums = tuple[int, int]


@frozen
class LogFile:
    """What such a log holds.

    :ivar size: of the file; 0 also when there is none.
    :ivar sound: where its last whole commit ends; 0 if not even the header is sound.
    :ivar checked: up to where all of it checks.
    :ivar is_cut: whether all that is there is whole, and there may have been more.
    :ivar is_torn: whether a commit was begun behind the last whole one.
    :ivar is_damaged: whether whole commits follow what does not check.
    """

    size: int
    sound: int = 0
    checked: int = 0
    is_cut: bool = True
    is_torn: bool = False
    is_damaged: bool = False


@frozen
class Frame:
    """A page of a commit; ``is_last``: the commit ends with it."""

    offset: int
    salts: Sums
    sums: Sums
    is_last: bool
    data: bytes


def log_beside(path: Path) -> Path:
    """Where a database's log is."""
    return path.with_name(f"{path.name}-wal")


def read_log(path: Path) -> LogFile:
    """Look at a log.  Blocks: some 0.1 s for 4 MiB.

    :raises OSError: it cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""
    return look_at(data)


def look_at(data: bytes) -> LogFile:
    """What the bytes of a log tell."""
    if len(data) < HEADER.size:
        return LogFile(len(data))
    magic, _, page, _, *rest = HEADER.unpack_from(data)
    order = ">" if magic == BIG_ENDIAN else "<"
    salts, sums = (rest[0], rest[1]), (rest[2], rest[3])
    if magic not in (BIG_ENDIAN, LITTLE_ENDIAN) or _add((0, 0), order, data[:24]) != sums:
        # It is synced before anything is written behind it.
        return LogFile(len(data), is_cut=False, is_damaged=len(data) > HEADER.size)
    # 64 KiB is written as 1.
    frames = list(_frames(data, FRAME.size + (page if page > 1 else 1 << 16)))
    return _judge(len(data), frames, salts, sums, order)


def _frames(data: bytes, size: int) -> Iterator[Frame]:
    for offset in range(HEADER.size, len(data) - size + 1, size):
        _, pages, *rest = FRAME.unpack_from(data, offset)
        page = data[offset : offset + 8] + data[offset + FRAME.size : offset + size]
        yield Frame(offset, (rest[0], rest[1]), (rest[2], rest[3]), pages != 0, page)


def _judge(size: int, frames: Sequence[Frame], salts: Sums, sums: Sums, order: str) -> LogFile:
    sound, checked = HEADER.size, 0
    frame_size = FRAME.size + len(frames[0].data) - 8 if frames else 0
    for each in frames:
        if each.salts != salts or _add(sums, order, each.data) != each.sums:
            break
        sums, checked = each.sums, checked + 1
        if each.is_last:
            sound = each.offset + frame_size
    rest = frames[checked:]
    if not rest:
        return LogFile(size, sound, size, is_torn=size > sound)
    stop = rest[0].offset
    is_torn = stop > sound or rest[0].salts == salts
    return LogFile(size, sound, stop, False, is_torn, _is_followed(rest, salts, order))


def _is_followed(rest: Sequence[Frame], salts: Sums, order: str) -> bool:
    """Whether a whole commit lies behind the one to which the first, bad frame belongs.

    The first commit's own frames may have reached the disk in any order; but the next was written
    only when that was synced.  Frames of other salts are what the log held before it began anew.
    """
    ends = int(rest[0].is_last and rest[0].salts == salts)
    for before, each in pairwise(rest):
        if each.is_last and each.salts == salts and _add(before.sums, order, each.data) == each.sums:
            ends += 1
    return ends > 1


def _add(sums: Sums, order: str, data: bytes) -> Sums:
    """SQLite's running checksum."""
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & WORD
        second = (second + odd + first) & WORD
    return first, second
