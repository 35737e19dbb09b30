"""Frames: the pieces that sorted runs are stored and sent in.

A frame is a header and the bytes of whole lines, compressed when that is shorter.  A line longer than
a block is a sequence of frames of its own, so memory stays bounded whatever the lines are.  A checksum
over header and payload goes with it from the worker that made it to the one that reads it.

Frames come from strangers: whatever does not check raises ``BadMessage``.
"""

import zlib
from collections.abc import Callable, Iterator
from struct import Struct

from attrs import field, frozen

from hagoop.errors import BadMessage

BLOCK_BYTES = 64 * 1024
"""The most bytes that a frame unpacks to."""

_HEADER = Struct("<IIIB")
LINE_START = 1
STORED = 2

HEADER_BYTES = _HEADER.size
END_FRAME = bytes(HEADER_BYTES)
"""Ends one slice in a stream of slices."""


@frozen
class Frame:
    """A frame as it is stored.

    :param line_start: whether it begins a line; otherwise it continues one.
    :param stored: whether the payload is the bytes themselves, not compressed.
    :param size: the bytes it unpacks to.
    :param checksum: of all that.
    """

    line_start: bool
    stored: bool
    size: int
    payload: bytes
    checksum: int = field()

    @checksum.default
    def _sum(self) -> int:
        return zlib.crc32(self.payload, zlib.crc32(_HEADER.pack(*self._sizes, 0, self._flags)))

    @property
    def _sizes(self) -> tuple[int, int]:
        return len(self.payload), self.size

    @property
    def _flags(self) -> int:
        return LINE_START * self.line_start | STORED * self.stored

    @property
    def encoded(self) -> bytes:
        """Header and payload."""
        return _HEADER.pack(*self._sizes, self.checksum, self._flags) + self.payload

    @classmethod
    def decode(cls, header: bytes, payload: bytes) -> "Frame":
        """What ``encoded`` has made, and nothing else.

        :raises BadMessage: it was changed on its way.
        """
        _, size, checksum, flags = _HEADER.unpack(header)
        made = cls(bool(flags & LINE_START), bool(flags & STORED), size, payload)
        if made.checksum != checksum:
            raise BadMessage("A frame does not match its checksum.")
        return made

    def unpack(self) -> bytes:
        """The bytes of its lines."""
        raw = self.payload if self.stored else inflate(self.payload, self.size)
        if len(raw) != self.size:
            raise BadMessage("A frame has another length than its header says.")
        return raw


def pack_frame(raw: bytes, line_start: bool) -> Frame:
    """Make the frame of ``raw``: at least one byte, at most ``BLOCK_BYTES``."""
    packed = zlib.compress(raw, 1)
    stored = len(packed) >= len(raw)
    return Frame(line_start, stored, len(raw), raw if stored else packed)


def read_frames(read: Callable[[int], bytes], size: int) -> Iterator[Frame]:
    """The frames of the next ``size`` bytes that ``read`` gives: as they were made, not yet unpacked.

    :param read: as of a file at the start of a span: the bytes asked for, fewer only at the end.
    """
    left = size
    while left:
        header = _read_exactly(read, HEADER_BYTES)
        packed, flags = read_header(header)
        if left == size and not flags & LINE_START:
            raise BadMessage("A part of a run does not begin with a line.")
        left -= HEADER_BYTES + packed
        if left < 0:
            raise BadMessage("A frame goes on past the end of its part of the run.")
        yield Frame.decode(header, _read_exactly(read, packed))


def _read_exactly(read: Callable[[int], bytes], size: int) -> bytes:
    data = read(size)
    if len(data) != size:
        raise BadMessage("The run ends within a frame.")
    return data


def read_header(header: bytes) -> tuple[int, int]:
    """Packed size and flags."""
    packed, raw, _, flags = _HEADER.unpack(header)
    fits = packed == raw if flags & STORED else 0 < packed < raw
    if not (fits and 0 < raw <= BLOCK_BYTES and flags <= LINE_START | STORED):
        raise BadMessage("A frame's header makes no sense.")
    return packed, flags


def inflate(packed: bytes, most: int) -> bytes:
    """Unpack one whole zlib stream of at most ``most`` bytes."""
    stream = zlib.decompressobj()
    try:
        # One byte more, or the stream's own end and checksum would stay unread.
        raw = stream.decompress(packed, most + 1)
    except zlib.error as error:
        raise BadMessage("Compressed bytes of a run are damaged.") from error
    if len(raw) > most or not stream.eof or stream.unused_data:
        raise BadMessage("Compressed bytes of a run unpack to another length than announced.")
    return raw
