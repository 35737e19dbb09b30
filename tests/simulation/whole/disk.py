"""The server's disk: what is on it when power fails, and the moments at which that may happen."""

import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from attrs import define, field

import hagoop.disk

FOLDERS = ("arriving", "requests", "blobs")


@define(eq=False)
class Disk:
    """Remembers what was synced below one folder, the spool; counts what is done there.

    :ivar doing: told of each thing that is done, before it is done.
    """

    folder: Path
    random: Random
    doing: Callable[[str], None] = lambda _: None
    _bytes: dict[int, bytes] = field(factory=dict)
    _names: dict[str, dict[str, int]] = field(factory=dict)
    _kept: list[Any] = field(factory=list)

    # In place of the system's calls

    def fsync(self, descriptor: int) -> None:
        """All of a file's bytes are safe from now on."""
        self.doing("sync")
        facts = os.fstat(descriptor)
        with open(f"/proc/self/fd/{descriptor}", "rb") as file:
            self._bytes[facts.st_ino] = file.read()
        self._hold(f"/proc/self/fd/{descriptor}")

    fdatasync = fsync

    def _hold(self, path: str) -> None:
        """Inodes of what is gone must not come again, or they would be taken for the old ones."""
        self._kept.append(open(path, "rb"))

    def sync_folder(self, folder: Path) -> None:
        """All names in a folder are safe from now on."""
        self.doing("sync names")
        if self.folder in (folder, *folder.parents) and folder.is_dir():
            self._names[self._name(folder)] = _inodes(folder)
        else:
            hagoop.disk.sync_folder(folder)

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        """A write, perhaps a short one."""
        self.doing("write")
        if len(data) > 1 and self.random.random() < 0.1:
            data = data[: 1 + int(self.random.random() * (len(data) - 1))]
        return os.pwrite(descriptor, data, offset)

    def rename(self, source: Any, target: Any) -> None:
        """Another name."""
        self.doing("rename")
        os.rename(source, target)

    def _name(self, folder: Path) -> str:
        return folder.relative_to(self.folder).as_posix()

    # When power fails

    def lose_power(self, target: Path) -> None:
        """Make a folder as this one is found when power has failed now."""
        found = {each.stat().st_ino: each for each in sorted(self.folder.rglob("*"))}
        for name in FOLDERS:
            (target / name).mkdir(parents=True)
        self._fill(self.folder, target, found, set())

    def close(self) -> None:
        """Let go of what is held."""
        for each in self._kept:
            each.close()
        self._kept.clear()

    def found(self) -> None:
        """Another life begins: what is there now is safe."""
        self.close()
        self._bytes.clear()
        self._names.clear()
        if self.folder.exists():
            self._names[self._name(self.folder)] = _inodes(self.folder)
        for path in sorted(self.folder.rglob("*")):
            if path.is_file():
                self._bytes[path.stat().st_ino] = path.read_bytes()
                self._hold(str(path))
            else:
                self._names[self._name(path)] = _inodes(path)

    def _fill(self, old: Path, new: Path, found: dict[int, Path], placed: set[int]) -> None:
        """Make one folder as it may be found."""
        now, safe = _inodes(old), self._names.get(self._name(old), {})
        for each in sorted({*now, *safe}):
            for inode in self._choose(now.get(each), safe.get(each), found, placed):
                self._place(inode, old / each, new / each, found, placed)

    def _choose(
        self, now: int | None, safe: int | None, found: dict[int, Path], placed: set[int]
    ) -> list[int]:
        """What a name stands for: what it was, or what it has become."""
        if now == safe:
            return [now] if now is not None else []
        chosen = now if self.random.random() < 0.5 else safe
        # A rename is one step: what has moved is not in both places.
        moved = chosen is not None and chosen in placed
        return [] if chosen is None or moved else [chosen]

    def _place(
        self, inode: int, old: Path, new: Path, found: dict[int, Path], placed: set[int]
    ) -> None:
        placed.add(inode)
        path = found.get(inode)
        if path is not None and path.is_dir():
            new.mkdir(exist_ok=True)
            self._fill(path, new, found, placed)
        elif path is not None or inode in self._bytes:
            data = path.read_bytes() if path is not None else self._bytes[inode]
            new.write_bytes(self._torn(self._bytes.get(inode, b""), data))

    def _torn(self, safe: bytes, data: bytes) -> bytes:
        """The bytes of a file that was written to since it was synced."""
        if safe == data:
            return data
        if not data.startswith(safe):
            return safe if self.random.random() < 0.5 else data
        tail = data[len(safe) :]
        cut = int(self.random.random() * (len(tail) + 1))
        rest = self.random.choice([b"", b"\0" * (len(tail) - cut), tail[cut:]])
        return safe + tail[:cut] + rest


def _inodes(folder: Path) -> dict[str, int]:
    return {each.name: each.inode() for each in os.scandir(folder)}
