"""Whether the spool still has the bytes that were kept, by their SHA-256, which the journal knows."""

import hashlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from hagoop.disk import is_passing, why
from hagoop.errors import Damaged, TransferFailed
from hagoop.interfaces import ISpool
from hagoop.jobs import Output, Place

CHUNK_BYTES = 1 << 20


def check_sound(
    file: BinaryIO, place: Place, digest: str, also: Callable[[bytes], object] = lambda _: None
) -> None:
    """Read a file to its end, which is all of a place.  Blocks.

    :param also: is given the bytes too.
    :raises Damaged: they are not those that were kept there.
    """
    found = hashlib.sha256()
    while chunk := file.read(CHUNK_BYTES):
        found.update(chunk)
        also(chunk)
    if found.hexdigest() != digest:
        raise Damaged(f"{place.path!r} of the spool is damaged: it has another digest than it had")


def sound_chunks(chunks: Iterator[bytes], digest: str) -> Iterator[bytes]:
    """The same, looked at as they go by; whoever takes them knows what they should be.

    :raises Damaged: at their end: they are others.
    """
    found = hashlib.sha256()
    for each in chunks:
        found.update(each)
        yield each
    if found.hexdigest() != digest:
        raise Damaged(f"what was kept as {digest} has another digest")


def is_sound(spool: ISpool, output: Output) -> bool:
    """Whether what a job printed is there as it was.  Blocks.

    :raises TransferFailed: that cannot be found out now.
    """
    if output.place is None:
        return True
    try:
        with spool.open(output.place) as file:
            check_sound(file, output.place, output.digest)
    except (Damaged, OSError) as problem:
        if is_passing(problem):
            told = f"{output.place.path!r} cannot be read now: {why(problem)}"
            raise TransferFailed(told) from problem
        return False
    return True
