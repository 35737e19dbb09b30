"""Files of the spool that the journal's thread puts on disk: segments, and files of their own."""

import contextlib
import io
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from attrs import define, field

from hagoop.disk import sync_folder

FLAGS = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
SEGMENT_BYTES = 256 << 20
"""Past these a new segment begins."""


@define(eq=False)
class StoredFile:
    """A file of its own, already in its place.

    It was renamed there before it is synced, so that it can be read at once: should power fail in
    between, no row names it and the sweep removes it.
    """

    _file: io.FileIO
    _folders: Sequence[Path]
    _problem: OSError | None = None

    def sync(self) -> None:
        if self._problem is not None:
            raise self._problem
        if self._file.closed:
            return
        with self._file:
            try:
                os.fsync(self._file.fileno())
                for each in self._folders:
                    sync_folder(each)
            except OSError as problem:
                # The system forgets an error once told, and calls the lost bytes clean.
                self._problem = problem
                raise


@define(eq=False)
class Segment:
    """A file to whose end small things are added.

    The descriptor that wrote is the one that syncs; ``sync`` takes it along and closes it, so that
    requests at rest hold none.

    :ivar path: place of the file below the spool.
    """

    path: str
    _full_path: Path
    _folders: Sequence[Path]
    end: int = 0
    problem: OSError | None = None
    _descriptor: int = -1
    _named: bool = False
    _lock: threading.Lock = field(factory=threading.Lock)

    def append(self, data: bytes) -> int:
        """Add bytes; return where they begin.  What a failed write left is written over later."""
        with self._lock:
            if self._descriptor < 0:
                self._descriptor = os.open(self._full_path, FLAGS, 0o600)
            start, rest = self.end, memoryview(data)
            while rest:
                rest = rest[os.pwrite(self._descriptor, rest, start + len(data) - len(rest)) :]
            self.end = start + len(data)
            return start

    def sync(self) -> None:
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
        try:
            self._sync(descriptor)
        except OSError as problem:
            # Bytes that later facts name may be lost with these; nothing here can be trusted now.
            self.problem = problem
            raise
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _sync(self, descriptor: int) -> None:
        if self.problem is not None:
            raise self.problem
        if descriptor >= 0:
            os.fdatasync(descriptor)
        if not self._named:
            for each in self._folders:
                sync_folder(each)
            self._named = True

    def close(self) -> None:
        """Its request is forgotten."""
        with self._lock, contextlib.suppress(OSError):
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = -1
