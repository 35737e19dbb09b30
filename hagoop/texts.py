"""Where the text of packed inputs lies while their request runs: one file for each request.

It is derived, and so no fact: its end, or a restart, removes it.
"""

import io
import threading
from collections.abc import Callable
from pathlib import Path

from attrs import define, field

from hagoop.arriving import Room, Unwritten, unwritten, write_whole
from hagoop.errors import NoSuchInput, SpoolFull


@define(eq=False)
class TextFile:
    """Takes texts, one after the other, in the thread that counts; any thread may close it.

    :ivar unlink: removes a file without blocking.
    :ivar unwritten: what it means that the file could not be written.
    :ivar size: how many bytes there are.
    """

    path: Path
    _room: Room
    _unlink: Callable[[Path], object]
    _unwritten: Callable[[OSError], Unwritten] = unwritten
    size: int = field(default=0, init=False)
    _file: io.FileIO | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def append(self, name: str, data: bytes) -> None:
        """Add some text of the file of this name.

        :raises SpoolFull: there is no room.
        :raises StateError: the disk cannot be trusted any more.
        :raises NoSuchInput: it is closed: nobody needs it any more.
        """
        with self._lock:
            if self._closed:
                raise NoSuchInput(f"'{name}' is not needed any more")
            try:
                self._room.take(len(data))
            except SpoolFull as problem:
                raise SpoolFull(f"'{name}' cannot be unpacked: {problem}") from problem
            self.size += len(data)
            self._write(data)

    def _write(self, data: bytes) -> None:
        try:
            if self._file is None:
                self._file = io.FileIO(self.path, "xb")
            write_whole(self._file, data)
        except OSError as problem:
            raise self._unwritten(problem) from problem

    def close(self) -> None:
        """Remove it; a second time does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._room.give(self.size)
            if self._file is not None:
                self._file.close()
                self._unlink(self.path)
