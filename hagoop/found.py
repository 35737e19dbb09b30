"""INPUTs as files: walked by the client, told in a manifest, looked at again by the server."""

import errno
import hashlib
import io
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import BinaryIO

from attrs import asdict, evolve, fields, frozen

from hagoop.disk import why
from hagoop.errors import BadMessage, NoSuchInput
from hagoop.jobs import Found

ON_SERVER = "server:"
"""What an INPUT begins with that is a path on the server."""
HEAD_BYTES = 4096
KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# Without blocking on a pipe that took the file's place since it was looked at.
FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC

LINE_BYTES = 256 << 10
"""More than a name and a path take, each byte of them written as six."""

Check = Callable[[str, str], None]


def walk(paths: Iterable[Path]) -> Iterator[Found]:
    """The files of INPUTs in the order of the promise; empty ones of a folder are left out.  Blocks.

    :raises NoSuchInput: one is missing, cannot be read, or is no file.
    """
    for path in paths:
        yield from _walk(str(path), os.path.abspath(path), _anywhere)


def below_roots(path: str, roots: Sequence[Path]) -> Iterator[Found]:
    """The files of ``server:PATH``; links may lead from root to root but not out.  Blocks.

    :raises NoSuchInput: as for ``walk``, or outside every root.
    """
    name = f"{ON_SERVER}{path}"
    if not roots:
        raise NoSuchInput(
            f"'{name}' cannot be read: the server was started without --input-root, "
            "so server:PATH is not allowed"
        )
    listed = ", ".join(map(str, roots))
    real_roots = [os.path.realpath(each) for each in roots]

    def inside(name: str, path: str) -> None:
        real = os.path.realpath(path)
        if not any(os.path.commonpath([real, root]) == root for root in real_roots):
            raise NoSuchInput(f"'{name}' is outside every --input-root ({listed})")

    for found in _walk(name, _first_below(name, path, roots, inside), inside):
        # What was checked is opened later, whatever the links lead to by then.
        yield evolve(found, path=os.path.realpath(found.path))


def _first_below(name: str, path: str, roots: Sequence[Path], inside: Check) -> str:
    """The first root's file of that name; the first refusal when there is none."""
    refusals: list[NoSuchInput] = []
    for root in roots:
        candidate = os.path.join(root, path)
        try:
            _stat(name, candidate, inside)
            return candidate
        except NoSuchInput as refusal:
            refusals.append(refusal)
    raise refusals[0]


def _anywhere(name: str, path: str) -> None:
    """The client may read what its user may."""


def _walk(name: str, path: str, check: Check) -> Iterator[Found]:
    """An INPUT's files, in order; all paths pass ``check`` first."""
    facts = _stat(name, path, check)
    if not stat.S_ISDIR(facts.st_mode):
        yield _find(name, path, facts)
        return
    for each in _below(_enter(name, path, facts), check):
        yield _find(*each)


@frozen
class _Folder:
    """A folder that is being walked, and the names in it that are still to come."""

    name: str
    path: str
    identity: tuple[int, int]
    names: Iterator[bytes]


def _enter(name: str, path: str, facts: os.stat_result) -> _Folder:
    return _Folder(name, path, (facts.st_dev, facts.st_ino), iter(_list(name, path)))


def _below(top: _Folder, check: Check) -> Iterator[tuple[str, str, os.stat_result]]:
    """Name, path and stat of the files in a folder and its folders, in the order of their paths.

    There may be millions: nothing is kept but names, of those folders that are not yet through.
    """
    opened = [top]
    while opened:
        encoded = next(opened[-1].names, None)
        if encoded is None:
            opened.pop()
            continue
        entry = os.fsdecode(encoded).removesuffix("/")
        name, path = os.path.join(opened[-1].name, entry), os.path.join(opened[-1].path, entry)
        facts = _stat(name, path, check)
        if stat.S_ISDIR(facts.st_mode):
            folder = _enter(name, path, facts)
            if folder.identity in [each.identity for each in opened]:
                raise NoSuchInput(f"'{name}' is a link to a folder that it is in; remove the link")
            opened.append(folder)
        # A file without lines adds nothing.
        elif facts.st_size or not stat.S_ISREG(facts.st_mode):
            yield name, path, facts


def _list(name: str, path: str) -> list[bytes]:
    """The names in a folder, in the order of all paths below it: those of folders end in a slash."""
    try:
        with os.scandir(path) as found:
            wanted = (each for each in found if not each.name.startswith((".", "_")))
            return sorted(os.fsencode(each.name) + b"/" * _is_folder(each) for each in wanted)
    except OSError as problem:
        raise _unreadable(name, problem) from problem


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # What is wrong with it is told when it is its turn.
        return False


def _stat(name: str, path: str, check: Check) -> os.stat_result:
    try:
        check(name, path)
        return os.stat(path)
    except OSError as problem:
        if os.path.islink(path) and isinstance(problem, FileNotFoundError):
            raise NoSuchInput(f"'{name}' is a link to nothing") from problem
        raise _unreadable(name, problem) from problem
    except ValueError as problem:
        raise NoSuchInput(f"{name!r} cannot be the name of a file") from problem


def _unreadable(name: str, problem: OSError) -> NoSuchInput:
    if isinstance(problem, FileNotFoundError | NotADirectoryError):
        return NoSuchInput(f"'{name}' does not exist")
    return NoSuchInput(f"'{name}' cannot be read: {why(problem)}")


def _find(name: str, path: str, facts: os.stat_result) -> Found:
    kind = KINDS.get(stat.S_IFMT(facts.st_mode))
    if kind is not None:
        raise NoSuchInput(f"'{name}' is {kind}, not a file; use - and stdin for what a program prints")
    try:
        return look(name, path)
    except OSError as problem:
        raise _unreadable(name, problem) from problem


def look(name: str, path: str) -> Found:
    """The file at a path, seen through one descriptor.  Blocks.

    :raises OSError: it cannot be read.
    :raises NoSuchInput: it is no file.
    """
    descriptor = os.open(path, FLAGS)
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise NoSuchInput(f"'{name}' is no file any more")
        head = hashlib.sha256(os.pread(descriptor, HEAD_BYTES, 0)).hexdigest()
    finally:
        os.close(descriptor)
    return Found(name, path, facts.st_size, facts.st_mtime_ns, facts.st_dev, facts.st_ino, head)


def open_regular(path: str | Path) -> io.FileIO:
    """A file, without blocking on a pipe that took its place.

    :raises OSError: there is none, or it is no regular file.
    """
    file = io.FileIO(os.open(path, FLAGS), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file")
    return file


def sees(found: Iterable[Found]) -> bool:
    """Whether this machine finds the very same files at the same paths.  Blocks."""
    return all(_sees(each) for each in found)


def _sees(found: Found) -> bool:
    try:
        # A stranger named the path: nothing but that very file is opened.
        facts = os.stat(found.path)
        named = (facts.st_dev, facts.st_ino) == (found.device, found.inode)
        return named and stat.S_ISREG(facts.st_mode) and look(found.name, found.path) == found
    except (OSError, ValueError, NoSuchInput):
        return False


def encode_line(found: Found) -> bytes:
    """A file as a line of a manifest."""
    return json.dumps(asdict(found), separators=(",", ":")).encode() + b"\n"


def read_manifest(file: BinaryIO) -> Iterator[Found]:
    """The files of a manifest that a stranger has sent.  Blocks.

    :raises BadMessage: it is none.
    """
    for number in count(1):
        line = file.readline(LINE_BYTES)
        if not line:
            return
        if len(line) == LINE_BYTES:
            raise BadMessage(f"Line {number} of a manifest is longer than any name")
        yield _decode(number, line)


def _decode(number: int, line: bytes) -> Found:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise BadMessage(f"Line {number} of a manifest is no JSON") from problem
    names = [each.name for each in fields(Found)]
    if not isinstance(values, dict) or sorted(values) != sorted(names):
        raise BadMessage(f"Line {number} of a manifest does not name exactly {', '.join(names)}")
    for name, value in values.items():
        if not _is_good(name, value):
            raise BadMessage(f"Line {number} of a manifest has a bad {name}")
    return Found(**values)


def _is_good(name: str, value: object) -> bool:
    if name in ("name", "path", "head"):
        return isinstance(value, str) and _is_good_text(name, value)
    return type(value) is int and 0 <= value < 1 << 64 and (name != "size" or value < 1 << 60)


def _is_good_text(name: str, text: str) -> bool:
    if name == "head":
        return text == "" or (len(text) == 64 and set(text) <= set("0123456789abcdef"))
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return bool(text) and "\0" not in text and (name == "name" or os.path.isabs(text))
