"""Slices: the parts of runs with the keys of one range, as they travel to a worker.

A slice is frames, ended by ``END_FRAME``.
"""

from collections.abc import Iterable, Iterator
from typing import BinaryIO

from attrs import define, field

from hagoop.errors import BadMessage
from hagoop.frames import (
    END_FRAME,
    HEADER_BYTES,
    Frame,
    pack_frame,
    read_frames,
    read_header,
)
from hagoop.keys import Order
from hagoop.runs import RunIndex


def cut_slice(
    file: BinaryIO, index: RunIndex, low: bytes, high: bytes | None, order: Order = Order.BY_KEY
) -> Iterator[bytes]:
    """The frames of one slice of the run in ``file``, without ``END_FRAME``.  Blocks."""
    for part in index.parts(low, high):
        file.seek(part.start)
        frames = read_frames(file.read, part.end - part.start)
        yield from trim(frames, low, high, order) if part.trim else (each.encoded for each in frames)


def trim(
    frames: Iterable[Frame], low: bytes, high: bytes | None, order: Order = Order.BY_KEY
) -> Iterator[bytes]:
    """Frames again, with only the lines whose keys are from ``low`` to before ``high``.

    :param frames: in order, beginning with a line; frames that stay whole are not packed anew.
    """
    # Whether the long line at hand is wanted; None: no long line is at hand.
    wanted: bool | None = None
    for frame in frames:
        if frame.line_start:
            lines = frame.unpack()
            kept = _restrict(lines, low, high, order)
            wanted = None if lines.endswith(b"\n") else bool(kept)
            if kept:
                yield frame.encoded if len(kept) == len(lines) else pack_frame(kept, True).encoded
        elif wanted is None:
            raise BadMessage("A frame continues a line that has ended.")
        elif wanted:
            yield frame.encoded


def _restrict(lines: bytes, low: bytes, high: bytes | None, order: Order) -> bytes:
    """The lines of one frame with a key in the range; the start of a long line counts as one."""
    if not lines.endswith(b"\n"):
        if b"\n" in lines:
            raise BadMessage("A frame ends within a line.")
        key = order.key_of(lines)
        return lines if low <= key and (high is None or key < high) else b""
    end = len(lines) if high is None else _find_line(lines, high, order)
    return lines[_find_line(lines, low, order) : end]


def _find_line(lines: bytes, bound: bytes, order: Order) -> int:
    """Where the first line begins whose key is at least ``bound``.

    On lines out of order the result still never decreases as the bound grows, so slices
    of neighbouring ranges neither share a line nor leave one out.
    """
    low, high = 0, len(lines)
    while low < high:
        middle = lines.rfind(b"\n", low, (low + high) // 2) + 1 or low
        end = lines.index(b"\n", middle)
        if order.key_of(lines[middle:end]) < bound:
            low = end + 1
        else:
            high = middle
    return low


@define
class SliceDecoder:
    """Unpacks a stream of slices as it comes from the network.

    :ivar ended: how many slices have ended.
    """

    ended: int = field(default=0, init=False)
    _pending: bytearray = field(factory=bytearray, init=False)
    _begun: bool = field(default=False, init=False)
    _within: bool = field(default=False, init=False)

    @property
    def clean(self) -> bool:
        """Whether the stream may end here."""
        return not self._pending and not self._begun

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take bytes of the stream; give the lines that they complete, as pairs of the
        slice's number, from 0, and bytes to append to it."""
        self._pending += data
        events: list[tuple[int, bytes]] = []
        done = 0
        while frame := self._next(done):
            done += len(frame)
            if frame == END_FRAME:
                self._end()
            else:
                events.append((self.ended, self._unpack(frame)))
        del self._pending[:done]
        return events

    def _next(self, at: int) -> bytes:
        """The encoded frame at ``at``; empty until all of it has come."""
        header = bytes(self._pending[at : at + HEADER_BYTES])
        if len(header) < HEADER_BYTES:
            return b""
        size = HEADER_BYTES + (read_header(header)[0] if header != END_FRAME else 0)
        return bytes(self._pending[at : at + size]) if len(self._pending) - at >= size else b""

    def _unpack(self, encoded: bytes) -> bytes:
        frame = Frame.decode(encoded[:HEADER_BYTES], encoded[HEADER_BYTES:])
        if frame.line_start == self._within:
            raise BadMessage("A frame begins a line where none can begin, or continues none.")
        raw = frame.unpack()
        self._begun = True
        self._within = not raw.endswith(b"\n")
        return raw

    def _end(self) -> None:
        if self._within:
            raise BadMessage("A slice ends within a line.")
        self._begun = False
        self.ended += 1
