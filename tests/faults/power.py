"""A folder as power cuts may leave it: what was synced is there, of all else any part.

After ALICE (Pillai and others, OSDI 2014).  The calls of a process are played to a model of a file
system in which a file's sync keeps its bytes and nothing else, and only a folder's sync keeps names: no
real one is as bad.  Sectors are written whole.
"""

import math
import random
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from attrs import define, field, frozen
from syscalls import Call

SECTOR = 512
IGNORED = ("-shm", "/lock", ".jsonl", ".log")
"""What is rebuilt, or tells nothing: a memory map cannot be seen by its calls anyway."""
KEEP, DROP, HEAD, TAIL = "keep", "drop", "head", "tail"
FATES = (KEEP, DROP, HEAD, TAIL)
Tree = dict[str, bytes | None]
"""Files by their paths below the folder; None: a folder."""


@frozen
class Act:
    """A change that lasts only when its file or folder has been synced.

    :ivar place: the number of the file, or the path of the folder.
    """

    number: int
    kind: str
    place: int | str
    detail: tuple[Any, ...]


@define
class Disk:
    """The calls below one folder, and which of their effects were safe at each moment.

    :ivar acts: all of them, in order.
    :ivar synced: for each act the number of the moment from which on it is safe.
    :ivar moments: the calls that mattered; ``counts``: how many acts there were after each.
    :ivar named: the numbers of the files that have ever had a name.
    """

    root: str
    forgets_folders: bool = False
    acts: list[Act] = field(factory=list)
    synced: dict[int, int] = field(factory=dict)
    moments: list[Call] = field(factory=list)
    counts: list[int] = field(factory=list)
    named: dict[str, set[int]] = field(factory=dict)
    _opened: dict[int, tuple[int, str, int]] = field(factory=dict)
    _files: dict[str, int] = field(factory=dict)
    _numbers: int = 0

    def play(self, calls: Iterable[Call]) -> None:
        """Take what a process did."""
        for each in calls:
            before = len(self.acts), len(self.synced)
            if each.result >= 0 and hasattr(self, f"_{each.name}"):
                getattr(self, f"_{each.name}")(each)
            if before != (len(self.acts), len(self.synced)):
                self.moments.append(each)
                self.counts.append(len(self.acts))

    # Calls

    def _openat(self, call: Call) -> None:
        path = self._path(call, 0)
        if path is None:
            self._opened.pop(call.result, None)
            return
        flags = call.words[2]
        if "O_CREAT" in flags and path not in self._files:
            self._new(path)
        self._opened[call.result] = self._files.get(path, 0), path, 0
        if "O_TRUNC" in flags:
            self._act("cut", self._files[path], 0)

    def _new(self, path: str) -> None:
        self._numbers += 1
        self._files[path] = self._numbers
        self.named.setdefault(path, set()).add(self._numbers)
        self._act("name", _folder(path), PurePosixPath(path).name, self._numbers)

    def _close(self, call: Call) -> None:
        self._opened.pop(call.descriptor, None)

    def _write(self, call: Call) -> None:
        found = self._opened.get(call.descriptor)
        if found and found[0]:
            file, path, at = found
            self._act("write", file, at, call.data(1)[: call.result])
            self._opened[call.descriptor] = file, path, at + call.result

    def _pwrite64(self, call: Call) -> None:
        found = self._opened.get(call.descriptor)
        if found and found[0]:
            self._act("write", found[0], int(call.words[3]), call.data(1)[: call.result])

    def _ftruncate(self, call: Call) -> None:
        found = self._opened.get(call.descriptor)
        if found and found[0]:
            self._act("cut", found[0], int(call.words[1]))

    def _fsync(self, call: Call) -> None:
        found = self._opened.get(call.descriptor)
        if found is None:
            return
        file, path, _ = found
        if not file and self.forgets_folders:
            return
        place: int | str = file or path
        # What was written while it ran may have come too late.
        begun = bisect_left(self.moments, call.begun, key=lambda each: each.ended)
        before = self.counts[begun - 1] if begun else 0
        for each in self.acts[:before]:
            if each.place == place:
                self.synced.setdefault(each.number, len(self.moments))

    _fdatasync = _fsync

    def _mkdir(self, call: Call) -> None:
        path = self._path(call, -1)
        if path is not None and path != ".":
            self._act("folder", _folder(path), PurePosixPath(path).name)

    def _rename(self, call: Call) -> None:
        old, new = self._below(call.path(0)), self._below(call.path(1))
        if old is None or new is None:
            return
        for path in [each for each in self._files if each == old or each.startswith(f"{old}/")]:
            file = self._files.pop(path)
            self._files[new + path[len(old) :]] = file
            self.named.setdefault(new + path[len(old) :], set()).add(file)
        self._act("move", _folder(new), PurePosixPath(new).name, old, self._files.get(new))
        self._act("gone", _folder(old), PurePosixPath(old).name)

    def _unlink(self, call: Call) -> None:
        path = self._path(call, -1)
        if path is not None:
            self._files.pop(path, None)
            self._act("gone", _folder(path), PurePosixPath(path).name)

    _rmdir = _unlink

    def _unlinkat(self, call: Call) -> None:
        path = self._path(call, 0)
        if path is not None:
            self._files.pop(path, None)
            self._act("gone", _folder(path), PurePosixPath(path).name)

    def _path(self, call: Call, base: int) -> str | None:
        """The path of a call below the root; the argument before may be its folder's descriptor."""
        path = call.path(base + 1)
        if base >= 0 and not path.startswith("/") and call.words[base].isdigit():
            found = self._opened.get(int(call.words[base]))
            path = f"{self.root}/{found[1]}/{path}" if found else path
        return self._below(path)

    def _below(self, path: str) -> str | None:
        inside = path == self.root or path.startswith(f"{self.root}/")
        if not inside or path.endswith(IGNORED):
            return None
        return str(PurePosixPath(path).relative_to(self.root))

    def _act(self, kind: str, place: int | str, *detail: Any) -> None:
        self.acts.append(Act(len(self.acts), kind, place, detail))

    def call_of(self, act: Act) -> Call:
        """The call that made a change."""
        return self.moments[bisect_left(self.counts, act.number + 1)]

    def safe_since(self, act: Act) -> float:
        """When the call returned that made a change safe."""
        moment = self.synced.get(act.number)
        return self.moments[moment].ended if moment is not None else math.inf

    # What power cuts leave

    def unsafe(self, moment: int) -> list[Act]:
        """What was done by then and may be lost."""
        acts = self.acts[: self.counts[moment]]
        return [each for each in acts if self.synced.get(each.number, moment + 1) > moment]

    def left(self, moment: int, fates: dict[int, str]) -> Tree:
        """The folder when power fails then; what is unsafe is kept unless ``fates`` says otherwise."""
        made = _Made()
        for each in self.acts[: self.counts[moment]]:
            made.add(each, fates.get(each.number, KEEP))
        return made.tree()

    def all_fates(self, moment: int, chance: random.Random, more: int) -> Iterator[dict[int, str]]:
        """All kept, all lost, each alone, all but each, each torn, and so many others."""
        unsafe = [each.number for each in self.unsafe(moment)]
        yield {}
        if not unsafe:
            return
        none = dict.fromkeys(unsafe, DROP)
        yield none
        for each in unsafe[-12:]:
            yield {**none, each: KEEP}
            for fate in (DROP, HEAD, TAIL):
                yield {each: fate}
        for _ in range(more):
            yield {each: chance.choice(FATES) for each in unsafe}


@define
class _Made:
    """A folder under reconstruction: folders by path, files by number."""

    contents: dict[int, bytearray] = field(factory=dict)
    names: dict[str, int | None] = field(factory=dict)

    def add(self, act: Act, fate: str) -> None:
        if fate != DROP:
            getattr(self, f"_{act.kind}")(act, fate)

    def _name(self, act: Act, _: str) -> None:
        self.names[_join(act.place, act.detail[0])] = act.detail[1]

    def _folder(self, act: Act, _: str) -> None:
        self.names[_join(act.place, act.detail[0])] = None

    def _gone(self, act: Act, _: str) -> None:
        path = _join(act.place, act.detail[0])
        for each in [each for each in self.names if each == path or each.startswith(f"{path}/")]:
            del self.names[each]

    def _move(self, act: Act, _: str) -> None:
        new, old, file = _join(act.place, act.detail[0]), *act.detail[1:]
        # The old name may have been lost, what it named is not.
        self.names[new] = file
        for each in [each for each in self.names if each == old or each.startswith(f"{old}/")]:
            self.names[new + each[len(old) :]] = self.names[each]

    def _write(self, act: Act, fate: str) -> None:
        at, data = act.detail
        start, end = at, at + len(data)
        middle = (start + len(data) // 2) // SECTOR * SECTOR
        if fate == HEAD:
            end = max(start, middle)
        elif fate == TAIL:
            start = middle if middle > start else end
        file = self.contents.setdefault(int(act.place), bytearray())
        if end > start:
            file.extend(b"\0" * (end - len(file)))
            file[start:end] = data[start - at : end - at]

    def _cut(self, act: Act, _: str) -> None:
        file = self.contents.setdefault(int(act.place), bytearray())
        size = act.detail[0]
        file.extend(b"\0" * (size - len(file)))
        del file[size:]

    def tree(self) -> Tree:
        """What can be reached."""
        there: Tree = {}
        for path, file in sorted(self.names.items(), key=lambda each: each[0].count("/")):
            if _folder(path) == "." or there.get(_folder(path), b"") is None:
                there[path] = None if file is None else bytes(self.contents.get(file, b""))
        return there


def write_tree(folder: Path, tree: Tree) -> None:
    """Make such a folder."""
    folder.mkdir(parents=True)
    for path, data in tree.items():
        if data is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(data)


def _folder(path: str) -> str:
    return str(PurePosixPath(path).parent)


def _join(folder: int | str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"


def spread(moments: Sequence[int], most: int) -> list[int]:
    """At most so many of them, evenly."""
    step = max(1, -(-len(moments) // most))
    return list(moments[::step])
