"""How much memory a process has, and had at most."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from cluster import Part

MOST_SERVER_BYTES = 512 << 20
"""What a server may have at most, whatever is done to it."""


def resident(part: Part) -> int:
    """Bytes that it has now."""
    return _status(part, "VmRSS")


def peak(part: Part) -> int:
    """The most bytes that it has had since it started, or since ``forget_peak``."""
    return _status(part, "VmHWM")


def forget_peak(part: Part) -> None:
    """Begin anew."""
    assert part.process is not None
    Path(f"/proc/{part.process.pid}/clear_refs").write_text("5")


def _status(part: Part, name: str) -> int:
    assert part.process is not None
    status = Path(f"/proc/{part.process.pid}/status").read_text()
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None, status
    return int(found[1]) << 10


@contextlib.contextmanager
def grows_no_more_than(size: int, *parts: Part) -> Iterator[None]:
    """See that these never have more than so many bytes above what they have now."""
    before = [resident(each) for each in parts]
    for each in parts:
        forget_peak(each)
    yield
    grown = {each.folder.name: peak(each) - at for each, at in zip(parts, before, strict=True)}
    assert max(grown.values()) <= size, f"grown by more than {size >> 20} MiB: {grown}"
