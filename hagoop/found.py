"""INPUTs as files: walked by the client, told in a manifest, looked at again by the server."""

import errno
import hashlib
import io
import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from attrs import asdict, evolve, fields

from hagoop.disk import why
from hagoop.errors import BadMessage, NoSuchInput
from hagoop.jobs import Found

HEAD_BYTES = 4096
KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# Without blocking on a pipe that took the file's place since it was looked at.
FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC

Check = Callable[[str, str], None]
Folder = tuple[int, int]


def walk(paths: Sequence[Path]) -> list[Found]:
    """The files of INPUTs in the order of the promise; empty ones of a folder are left out.  Blocks.

    :raises NoSuchInput: one is missing, cannot be read, or is no file.
    """
    return [found for path in paths for found in _walk(str(path), os.path.abspath(path), _anywhere)]


def below_roots(path: str, roots: Sequence[Path]) -> list[Found]:
    """The files of ``server:PATH``; links may lead from root to root but not out.  Blocks.

    :raises NoSuchInput: as for ``walk``, or outside every root.
    """
    name = f"server:{path}"
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

    found = _walk(name, _first_below(name, path, roots, inside), inside)
    # What was checked is opened later, whatever the links lead to by then.
    return [evolve(each, path=os.path.realpath(each.path)) for each in found]


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


def _walk(name: str, path: str, check: Check) -> list[Found]:
    """An INPUT's files, in order; all paths pass ``check`` first."""
    facts = _stat(name, path, check)
    if not stat.S_ISDIR(facts.st_mode):
        return [_find(name, path, facts)]
    inner = _below(name, path, check, (facts.st_dev, facts.st_ino))
    return [_find(*each) for each in sorted(inner, key=lambda each: os.fsencode(each[0]))]


def _below(name: str, path: str, check: Check, top: Folder) -> Iterator[tuple[str, str, os.stat_result]]:
    """Name, path and stat of the files in a folder and its folders, in any order."""
    # With each folder go those that it was reached through.
    waiting: list[tuple[str, str, tuple[Folder, ...]]] = [(name, path, (top,))]
    while waiting:
        name, path, above = waiting.pop()
        for entry in _list(name, path):
            inner, full = os.path.join(name, entry), os.path.join(path, entry)
            facts = _stat(inner, full, check)
            if not stat.S_ISDIR(facts.st_mode):
                # A file without lines adds nothing, and there may be a million of them.
                if facts.st_size or not stat.S_ISREG(facts.st_mode):
                    yield inner, full, facts
                continue
            folder = (facts.st_dev, facts.st_ino)
            if folder in above:
                raise NoSuchInput(f"'{inner}' is a link to a folder that it is in; remove the link")
            waiting.append((inner, full, (*above, folder)))


def _list(name: str, path: str) -> list[str]:
    try:
        return [each for each in os.listdir(path) if not each.startswith((".", "_"))]
    except OSError as problem:
        raise _unreadable(name, problem) from problem


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


def sees(found: Sequence[Found]) -> bool:
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


def encode_manifest(found: Sequence[Found]) -> bytes:
    """Files as lines of JSON."""
    return b"".join(json.dumps(asdict(each), separators=(",", ":")).encode() + b"\n" for each in found)


def decode_manifest(data: bytes) -> list[Found]:
    """The files of a manifest that a stranger has sent.

    :raises BadMessage: it is none.
    """
    return [_decode(number, line) for number, line in enumerate(data.splitlines(), 1)]


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
