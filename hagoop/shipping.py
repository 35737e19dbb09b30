"""CMD: what a user types as a program, what travels with it, how it is run.

The rules for the first word, *the command*:

- With a slash and relative: if it is a file of the client, it is shipped under the same
  path, ``./`` and doubled slashes aside.
- Relative with a ``..``: if it is a file of the client it is shipped under its base name and run as
  ``./NAME``.
- Absolute: likewise, but software that is installed stays where it is: what lies in a folder
  ``bin`` or ``sbin`` that has a ``lib`` beside it, as ``/usr/bin/python3`` and a venv's ``python`` do.
  Such a program is no single file, and must be on the worker.
- Bare, such as ``sort`` or ``map.py``: the client's PATH wins, because that is what the same
  words mean in the user's shell, and a file ``sort`` in the current folder is more
  likely somebody's output.  Only a bare word that is on no PATH and is a file in the current
  folder is shipped, and is run as ``./NAME``.

Any other word that is a relative path without ``..`` to a file of the client is shipped
under that path.  A shell command whose words cannot be told apart ships nothing.
"""

import os
import posixpath
import re
import shlex
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

from hagoop.errors import BadMessage, BadProgram
from hagoop.found import KINDS
from hagoop.jobs import Shipped
from hagoop.programs import crlf_complaint, interpreter

# A list of what is harmless: whatever else a shell might read goes to a shell.  Of ASCII that is; said
# the other way round, for a class up to the last sign of all takes 3 ms to compile.
_PLAIN = re.compile(r"(?:[A-Za-z0-9%+,\-./:@_ \t]|[^\x00-\x7f])*")
# Words that only a shell knows.
_BUILTINS = frozenset(
    ". : alias bg break case cd command continue do done elif else esac eval exec exit export fg fi for"
    " getopts hash if in jobs local read readonly return set shift source then times trap type ulimit"
    " umask unalias unset until wait while".split()
)
_INTERPRETERS = {
    ".awk": "awk -f",
    ".jl": "julia",
    ".js": "node",
    ".lua": "lua",
    ".php": "php",
    ".pl": "perl",
    ".py": "python3",
    ".r": "Rscript",
    ".rb": "ruby",
    ".sh": "sh",
    ".tcl": "tclsh",
}
# Larger files are linked into a run's folder, for a copy per run would cost too much.
_LINK_BYTES = 1 << 20


@frozen
class _Command:
    """The first word: as it stands in CMD, as it reads, and the client's file, if it is one.

    :param raw: ``None`` when its quoting is too clever for us.
    :param name: relative path under which it is shipped.
    """

    raw: str | None
    word: str
    name: str
    file: Path | None


def needs_shell(cmd: str) -> bool:
    """Whether CMD holds anything that a shell would read."""
    return not _PLAIN.fullmatch(cmd) or next(iter(_split(cmd)), "") in _BUILTINS


def to_argv(cmd: str) -> tuple[str, ...]:
    """The words that run CMD."""
    return ("/bin/sh", "-c", cmd) if needs_shell(cmd) else tuple(_split(cmd))


def files_of(cmd: str, folder: Path, search: str | None = None) -> list[tuple[str, Path]]:
    """The client's files that CMD names: the path in a run's folder, and the file.

    :param folder: the client's current folder.
    :param search: the client's PATH; ``None``: that of this process.
    """
    command = _command(cmd, folder, search)
    found = {command.name: command.file} if command and command.file else {}
    for word in _words(cmd)[1:]:
        name = posixpath.normpath(word)
        if _is_safe(word) and os.path.isfile(folder / name):
            found.setdefault(name, folder / name)
    return list(found.items())


def rewrite(cmd: str, folder: Path, search: str | None = None) -> str:
    """CMD as a worker runs it, with the command's word naming the shipped file."""
    command = _command(cmd, folder, search)
    if not command or not command.file or not command.raw or _keeps_path(command.word):
        return cmd
    return cmd.lstrip().replace(command.raw, shlex.quote(f"./{command.name}"), 1)


def check_program(cmd: str, folder: Path, option: str = "--mapper", search: str | None = None) -> None:
    """Find what will not run anywhere while the user still looks.

    :param option: the option that brought CMD, for the sentence.
    :raises BadProgram: with one sentence that says what to do.
    """
    if not cmd.strip():
        raise BadProgram(f"{option} is empty")
    if "\0" in cmd:
        raise BadProgram(f"{option} holds a NUL byte")
    command = _command(cmd, folder, search)
    if command and command.file:
        _check_file(cmd, command, option)
    elif command and not _stays(command.word, folder / command.word, search):
        if kind := kind_of(folder / command.word):
            raise BadProgram(f"{command.word} is {kind}, not a program")


def find_binary(path: str, folder: Path) -> tuple[str, dict[str, Path]]:
    """The word by which a worker runs ``--binary PATH``, and the file to ship with its name there.

    A path that leaves the current folder is shipped under its base name, as an absolute one is; a bare
    name is a file before it is on anybody's PATH.

    :raises BadProgram: it will not run anywhere; one sentence that says what to do.
    """
    if not path:
        raise BadProgram("--binary is empty")
    file = folder / path
    if kind := kind_of(file):
        raise BadProgram(f"--binary {path}: it is {kind}, not a program")
    if not os.path.isfile(file):
        if path.startswith("/") or ("/" not in path and shutil.which(path)):
            return path, {}
        raise BadProgram(f"--binary {path}: there is no such file")
    if path.startswith("/") and _is_installed(file):
        return path, {}
    told = crlf_complaint(file)
    if not told and not os.access(file, os.X_OK):
        told = f"{path} is not executable; try chmod +x {shlex.quote(path)}"
    if told:
        raise BadProgram(told)
    name = shipped_name(path)
    return f"./{name}", {name: file}


def shipped_name(path: str) -> str:
    """Where a run finds a file of the client: under its relative path, or, if that would leave the
    folder, under its base name."""
    name = posixpath.normpath(path)
    return name if _is_safe(name) else posixpath.basename(name)


def safe_path(path: str) -> str:
    """The path of a shipped file, known to stay within its folder.

    :raises BadMessage: it would not.
    """
    if not _is_safe(path) or path != posixpath.normpath(path):
        raise BadMessage(f"{path!r} is not a relative path within a folder")
    return path


def check_shipped(path: str) -> None:
    """See that a worker can give a shipped file its name.

    :raises BadProgram: none can.
    """
    try:
        safe_path(path).encode("utf-8", "surrogateescape")
    except (BadMessage, UnicodeError) as problem:
        raise BadProgram(
            f"a file cannot be shipped as {path!r}: name it by a relative path within a folder, in UTF-8"
        ) from problem


def place_files(files: Iterable[tuple[Shipped, Path]], folder: Path) -> None:
    """Put shipped files into a run's folder.  Blocks.

    A large file is linked, and the file that was fetched made read-only: all runs share it.

    :param files: what was shipped, and where the fetched bytes lie.
    :raises BadMessage: a path leaves the folder.
    """
    for shipped, fetched in files:
        target = folder / safe_path(shipped.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        _place(fetched, target, shipped)


def _split(cmd: str) -> list[str]:
    # Not str.split(): a shell parts words at blanks only, not at other Unicode spaces.
    return [word for word in re.split(r"[ \t\n]+", cmd) if word]


def _words(cmd: str, posix: bool = True) -> list[str]:
    """The words of a command line; none when a shell alone could tell."""
    parser = shlex.shlex(cmd, posix=posix, punctuation_chars=True)
    parser.whitespace_split, parser.commenters = True, ""
    try:
        return list(parser)
    except ValueError:
        return []


def _command(cmd: str, folder: Path, search: str | None) -> _Command | None:
    """The first word; ``None`` when it cannot be told."""
    words = _words(cmd) if needs_shell(cmd) else _split(cmd)
    if not words:
        return None
    word, raw = words[0], _raw_word(cmd, words[0])
    name, file = shipped_name(word), folder / word
    may = _is_safe(name) and "\0" not in word and (raw is not None or _keeps_path(word))
    shipped = may and os.path.isfile(file) and not _stays(word, file, search)
    return _Command(raw, word, name, file if shipped else None)


def _raw_word(cmd: str, word: str) -> str | None:
    """The first word with its quotes, if it begins CMD and reads as ``word``."""
    raw = next(iter(_words(cmd, posix=False)), "")
    if not raw or not cmd.lstrip().startswith(raw) or _words(raw) != [word]:
        return None
    return raw


def _stays(word: str, file: Path, search: str | None) -> bool:
    """Whether the command is one that the worker must have."""
    if "/" not in word:
        return word in _BUILTINS or shutil.which(word, path=search) is not None
    return word.startswith("/") and _is_installed(file)


def _is_installed(file: Path) -> bool:
    return file.parent.name in ("bin", "sbin") and (file.parent.parent / "lib").is_dir()


def _keeps_path(word: str) -> bool:
    """Whether a run finds it under the word by which the client does."""
    return "/" in word and _is_safe(word)


def _is_safe(path: str) -> bool:
    parts = path.split("/")
    return bool(path) and path != "." and "\0" not in path and parts[0] != "" and ".." not in parts


def kind_of(file: Path) -> str | None:
    """What a path leads to that is there and is no file: a folder, a pipe; else None."""
    try:
        kind = stat.S_IFMT(os.stat(file).st_mode)
    except (OSError, ValueError):
        return None
    return "a folder" if kind == stat.S_IFDIR else KINDS.get(kind)


def _check_file(cmd: str, command: _Command, option: str) -> None:
    assert command.file is not None
    told = crlf_complaint(command.file)
    if told:
        raise BadProgram(told)
    if os.access(command.file, os.X_OK):
        return
    guessed = None if command.word.startswith("/") else _guess_interpreter(command.file)
    better = shlex.quote(f"{guessed} {cmd.strip()}")
    way = f"{option} {better}" if guessed else f"chmod +x {command.word}"
    raise BadProgram(f"{command.word} is not executable; try {way}")


def _guess_interpreter(file: Path) -> str | None:
    words = (interpreter(file) or "").split()
    if len(words) > 1 and posixpath.basename(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-")]
    if words:
        return posixpath.basename(words[0])
    return _INTERPRETERS.get(file.suffix.lower())


def _place(fetched: Path, target: Path, shipped: Shipped) -> None:
    if shipped.size >= _LINK_BYTES and _linked(fetched, target, shipped.executable):
        return
    shutil.copyfile(fetched, target)
    target.chmod(0o700 if shipped.executable else 0o600)


def _linked(fetched: Path, target: Path, executable: bool) -> bool:
    """Link; ``False`` where the two are on different file systems or links are not known."""
    try:
        # The right to execute is only ever added: another run may need it now.
        fetched.chmod(0o555 if executable or os.access(fetched, os.X_OK) else 0o444)
        os.link(fetched, target)
    except OSError:
        return False
    return True
