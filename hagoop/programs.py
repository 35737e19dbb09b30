"""What a program's file tells of it, and why this machine cannot run one."""

import os
import platform
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

_HEAD_BYTES = 4096
_MAGIC = {
    b"\xcf\xfa\xed\xfe": "macOS",
    b"\xce\xfa\xed\xfe": "macOS",
    b"\xca\xfe\xba\xbe": "macOS",
}
_ELF_MACHINES = {
    3: "i386",
    8: "mips",
    20: "ppc",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}
_CAUSE = re.compile(
    r"^(?P<name>.+): (?P<cause>(?:command )?not found|No such file or directory|Permission denied"
    r"|(?:cannot execute binary file: )?Exec format error|cannot execute: required file not found)$",
    re.MULTILINE,
)
_LIBRARY = re.compile(r"^(.+): error while loading shared libraries: ([^:]+):", re.MULTILINE)
_QUOTES = "'\"`\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}"


def interpreter(program: Path) -> str | None:
    """What follows ``#!`` on the first line, a trailing CR included; ``None`` for no script."""
    first = _head(program).split(b"\n", 1)[0]
    return os.fsdecode(first[2:].strip(b" \t")) if first.startswith(b"#!") else None


def crlf_complaint(program: Path) -> str | None:
    """The sentence about a script whose first line ends in CR LF."""
    wanted = interpreter(program)
    if wanted is None or not wanted.endswith("\r"):
        return None
    return f"{wanted[:-1]}\\r: the first line ends in CR LF; convert the file"


def built_for(program: Path) -> str | None:
    """The machine or system that a compiled program is for; ``None`` for anything else."""
    head = _head(program)
    if head[:4] != b"\x7fELF":
        return _MAGIC.get(head[:4])
    number = int.from_bytes(head[18:20], "big" if head[5:6] == b"\x02" else "little")
    return _ELF_MACHINES.get(number, f"machine {number}")


def foreign_complaint(name: str, program: Path) -> str | None:
    """The sentence about a program that was compiled for another machine."""
    made = built_for(program)
    if made is None or made == built_for(Path(sys.executable)):
        return None
    return f"{name} is a program for {made}, this machine is {platform.machine()}"


def why_unfit(argv: Sequence[str], folder: Path, search: str, status: int, log: str) -> str | None:
    """One sentence on why this machine cannot run ``argv``; ``None`` when it can.

    :param search: the ``PATH`` that the program was run with.
    :param log: what was written to stderr; only a shell says there what it missed.
    """
    if status not in (126, 127):
        return _noise_complaint(argv, folder, search, log)
    first, blamed = _first_word(argv), _blamed(log)
    told = _library_complaint(log) or _complaint(first, _find(first, folder, search))
    if told or blamed in (None, first):
        return told or _cause_complaint(first, _find(first, folder, search), status, log)
    there = _find(blamed, folder, search)
    return _complaint(blamed, there) or _cause_complaint(blamed, there, status, log)


def _head(program: Path) -> bytes:
    try:
        with program.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""


def _first_word(argv: Sequence[str]) -> str:
    words = argv[2].split(maxsplit=1) if tuple(argv[:2]) == ("/bin/sh", "-c") else argv
    return words[0] if words else ""


def _blamed(log: str) -> str | None:
    """The program that a shell, or env, says it could not run: the last one named."""
    named = [each["name"].rpartition(": ")[2].strip(_QUOTES) for each in _CAUSE.finditer(log)]
    return named[-1] if named and named[-1] else None


def _find(name: str, folder: Path, search: str) -> Path | None:
    if "/" not in name:
        there = shutil.which(name, path=search)
        return Path(there) if there else None
    return folder / name if os.path.exists(folder / name) else None


def _noise_complaint(argv: Sequence[str], folder: Path, search: str, log: str) -> str | None:
    """A binary that the kernel does not know is handed to a shell, which finds no sense in it."""
    name = _first_word(argv)
    found = _find(name, folder, search)
    if found is None or not re.search(r"not found|[Ss]yntax error|cannot execute", log):
        return None
    return foreign_complaint(_shown(name), found)


def _library_complaint(log: str) -> str | None:
    missed = _LIBRARY.search(log)
    return f"{missed[1]} needs {missed[2]}, which is not on this machine" if missed else None


def _complaint(name: str, found: Path | None) -> str | None:
    """What is wrong with a program that is there."""
    if found is None:
        return None
    shown = _shown(name)
    if found.is_dir():
        return f"{shown} is a folder, not a program"
    if not os.access(found, os.X_OK):
        return f"{shown} is not executable"
    told = crlf_complaint(found) or foreign_complaint(shown, found)
    return told or _interpreter_complaint(shown, found)


def _interpreter_complaint(name: str, found: Path) -> str | None:
    wanted = (interpreter(found) or "").split(maxsplit=1)
    if not wanted or Path(wanted[0]).exists():
        return None
    return f"{name} wants {wanted[0]}, which is not on this machine"


def _cause_complaint(name: str, found: Path | None, status: int, log: str) -> str:
    """The shell's words in ours; failing that, what the status means."""
    shown = _shown(name)
    causes = [each["cause"] for each in _CAUSE.finditer(log)]
    if found is None:
        return f"{shown} is not on this machine"
    if not causes:
        lack = "is missing" if status == 127 else "cannot be run"
        return f"{shown} ended with exit status {status}: a program that it needs {lack} on this machine"
    if causes[-1].endswith("Exec format error"):
        return f"{shown} is not a program for this machine"
    if built_for(found):
        return f"{shown} needs a loader that is not on this machine"
    return f"{shown} cannot be run on this machine: {causes[-1]}"


def _shown(name: str) -> str:
    return name.removeprefix("./")
