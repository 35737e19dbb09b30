"""Files outside of a run's folder that programs name: which are written, and which are only here."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from attrs import define, field, frozen

from hagoop import findings
from hagoop.findings import Finding
from hagoop.jobs import Program
from hagoop.subjects import roles_of

_ABSOLUTE = re.compile(r"(?<![\w.~$}*/:-])/[\w.+@%,-]+(?:/[\w.+@%,-]+)+")
# What every machine has, in its own way.
_SYSTEM = re.compile(r"/(?:bin|dev|etc|lib\w*|nix|opt|proc|sbin|snap|sys|usr)/")
_NO_FILES = ("/dev/", "/proc/", "/sys/")
_TEXT_BYTES = 64 << 10
_MOST = 50
Facts = tuple[int, int, int]


@frozen
class Named:
    """A path, and the program or the file that names it."""

    path: str
    by: str

    @property
    def facts(self) -> Facts | None:
        """What changes when it is written; None while it is not there."""
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns


@define(eq=False)
class Outside:
    """The paths that programs name, as they were before they were run.  Blocks."""

    named: Sequence[Named]
    _before: list[Facts | None] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._before = [each.facts for each in self.named]

    def findings(self) -> list[Finding]:
        """What is to be said now that they have been run."""
        return [
            found
            for each, before in zip(self.named, self._before, strict=True)
            if (found := _finding(each, before)) is not None
        ]


def _finding(named: Named, before: Facts | None) -> Finding | None:
    if named.facts != before:
        return findings.writes_outside(named.by, named.path)
    if before and not _SYSTEM.match(named.path) and os.path.isfile(named.path):
        return findings.reads_outside(named.by, named.path)
    return None


def named_by(programs: Sequence[Program], files: Sequence[tuple[str, Path]]) -> list[Named]:
    """Absolute paths in commands and in shipped scripts.  Blocks.

    :param files: what is shipped.
    """
    texts = [
        (getattr(program, each.name, None) or "", each.name)
        for program in programs
        for each in roles_of(program)
    ]
    texts += [(_text_of(file), name) for name, file in files]
    found = {path: Named(path, by) for text, by in texts for path in _ABSOLUTE.findall(text)}
    return [each for path, each in found.items() if not path.startswith(_NO_FILES)][:_MOST]


def _text_of(file: Path) -> str:
    """The text of a script; nothing for what is none."""
    with open(file, "rb") as source:
        data = source.read(_TEXT_BYTES)
    return "" if b"\0" in data else data.decode("utf-8", "replace")
