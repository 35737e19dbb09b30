"""Lists beside an answer, ``ANSWER.bad`` and ``ANSWER.missing``; on stderr where that is no file."""

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from attrs import frozen

from hagoop import wire
from hagoop.answer_file import AnswerExists, AnswerFile, beside, writing

# Controls, our own sign of an escape, and surrogates that stand for no byte.
_UNSAFE = re.compile("[\x00-\x1f\\\\\x7f-\x9f\ud800-\udc7f\udd00-\udfff]")
_SHORT = {"\t": r"\t", "\n": r"\n", "\r": r"\r", "\\": r"\\"}


def row_of(words: Sequence[object]) -> str:
    """Words with tabs between them, and controls escaped."""
    return "\t".join(_UNSAFE.sub(lambda found: _escape(found[0]), str(each)) for each in words)


def _escape(sign: str) -> str:
    long = f"\\u{ord(sign):04x}" if ord(sign) > 0xFF else f"\\x{ord(sign):02x}"
    return _SHORT.get(sign, long)


@frozen
class SideFile:
    """Where a list goes: a file beside the answer, or stderr where that is no file.

    :cvar suffix: what is added to the answer's name.
    """

    answer: AnswerFile
    suffix: ClassVar[str]

    @property
    def target(self) -> Path | None:
        """The file; None: stderr."""
        if self.answer.is_stdout or self.answer.is_stream:
            return None
        return Path(self.answer.name.rstrip("/") + self.suffix)

    def check(self) -> None:
        """Refuse now what could not be written later.

        :raises AnswerExists: it is there already, and may not be replaced.
        """
        if self.target is not None and self.target.exists() and not self.answer.force:
            raise AnswerExists(f"'{self.target}' exists; choose another --output, or add --force")

    def put(self, rows: Sequence[str]) -> None:
        """Put the list in its place; without rows an older one that may be replaced goes."""
        if self.target is None:
            return
        if rows:
            self._write(self.target, rows)
        elif self.answer.force:
            self.target.unlink(missing_ok=True)

    def _write(self, target: Path, rows: Sequence[str]) -> None:
        made = beside(target)
        try:
            with writing(f"'{target}'"), open(made, "xb") as file:
                # Names of files are the bytes that they are.
                file.writelines(f"{each}\n".encode("utf-8", "surrogateescape") for each in rows)
                file.flush()
                os.fsync(file.fileno())
                os.replace(made, target)
        finally:
            made.unlink(missing_ok=True)

    def say(self, rows: Sequence[str], values: Sequence[object], *, as_json: bool) -> None:
        """Say on stderr what is in no file."""
        if self.target is not None:
            return
        for each in [json.dumps(wire.to_plain(value)) for value in values] if as_json else rows:
            print(each.encode("utf-8", "replace").decode(), file=sys.stderr)
