"""``ANSWER.bad``: the lines of the input that a request passed over, beside its answer."""

import json
import os
import re
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from hagoop import wire
from hagoop.answer_file import AnswerExists, AnswerFile
from hagoop.jobs import BadLine

SUFFIX = ".bad"
# Controls, our own sign of an escape, and surrogates that stand for no byte.
_UNSAFE = re.compile("[\x00-\x1f\\\\\x7f-\x9f\ud800-\udc7f\udd00-\udfff]")
_SHORT = {"\t": r"\t", "\n": r"\n", "\r": r"\r", "\\": r"\\"}


def _escaped(text: str) -> str:
    return _UNSAFE.sub(lambda found: _escape(found[0]), text)


def _escape(sign: str) -> str:
    long = f"\\u{ord(sign):04x}" if ord(sign) > 0xFF else f"\\x{ord(sign):02x}"
    return _SHORT.get(sign, long)


def row(line: BadLine) -> str:
    """``FILE LINE OFFSET HOW LAST-WORDS``, with tabs between and controls escaped."""
    words = line.file, str(line.line), str(line.offset), line.how, line.last_words
    return "\t".join(map(_escaped, words))


@frozen
class BadFile:
    """Where the list goes: a file beside the answer, or stderr where that is no file."""

    answer: AnswerFile

    @property
    def target(self) -> Path | None:
        """The file; None: stderr."""
        if self.answer.is_stdout or self.answer.is_stream:
            return None
        return Path(self.answer.name.rstrip("/") + SUFFIX)

    def check(self) -> None:
        """Refuse now what could not be written later.

        :raises AnswerExists: it is there already, and may not be replaced.
        """
        if self.target is not None and self.target.exists() and not self.answer.force:
            raise AnswerExists(f"'{self.target}' exists; choose another --output, or add --force")

    def keep(self, lines: Sequence[BadLine]) -> None:
        """Put the list in its place; without bad lines an older one that may be replaced goes."""
        if self.target is None:
            return
        if lines:
            self._write(self.target, lines)
        elif self.answer.force:
            self.target.unlink(missing_ok=True)

    def _write(self, target: Path, lines: Sequence[BadLine]) -> None:
        beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
        try:
            with open(beside, "xb") as file:
                # Names of files are the bytes that they are.
                file.writelines(f"{row(each)}\n".encode("utf-8", "surrogateescape") for each in lines)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)

    def tell(self, lines: Sequence[BadLine], *, as_json: bool) -> None:
        """Say what belongs on stderr."""
        if self.target is None:
            for each in lines:
                told = json.dumps(wire.to_plain(each)) if as_json else row(each)
                print(told.encode("utf-8", "replace").decode(), file=sys.stderr)


def how_many(count: int) -> str:
    """``1 bad line was passed over``"""
    return f"{count} bad line{' was' if count == 1 else 's were'} passed over"
