"""What a program writes to stderr: reports in Hadoop's form, and log."""

import re

from attrs import define, field

from hagoop.jobs import Counter

_COUNTER = re.compile(rb"reporter:counter:([^,\n]+),([^,\n]+),[ \t]*([+-]?[0-9]{1,18})[ \t\r]*\n?")
_STATUS = re.compile(rb"reporter:status:([^\n]*)\n?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LINE_BYTES = 65536
_NAME_BYTES = 200
_STATUS_CHARACTERS = 500
# As many as Hadoop allows; all of them must fit into one message.
_COUNTERS = 120


def clean(data: bytes) -> str:
    """Bytes of a stranger as text without anything that steers a terminal."""
    return _CONTROL.sub("", data.decode("utf-8", "replace"))


@define
class Excerpt:
    """Head and tail of bytes that may be many.

    :param limit: how many bytes are kept.
    """

    _limit: int
    _head: bytearray = field(init=False, factory=bytearray)
    _tail: bytearray = field(init=False, factory=bytearray)
    _seen: int = field(init=False, default=0)

    def add(self, data: bytes) -> None:
        """Take the next bytes."""
        self._seen += len(data)
        room = max(0, self._limit // 2 - len(self._head))
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 2 * self._limit:
            self._cut_tail()

    def kept(self) -> bytes:
        """The head, a line that tells how much is left out, the tail."""
        self._cut_tail()
        left_out = self._seen - len(self._head) - len(self._tail)
        if not left_out:
            return bytes(self._head + self._tail)
        line = b"" if self._head.endswith(b"\n") else b"\n"
        return bytes(self._head + line + b"... %d bytes left out ...\n" % left_out + self._tail)

    def _cut_tail(self) -> None:
        kept = self._limit - self._limit // 2
        del self._tail[: max(0, len(self._tail) - kept)]


@define
class Reports:
    """Parts stderr into counters, a status and log, in bounded memory.

    :param limit: how many bytes of log are kept.
    :ivar status: the newest ``reporter:status:``.
    """

    _limit: int
    status: str = field(init=False, default="")
    _log: Excerpt = field(init=False)
    _sums: dict[tuple[str, str], int] = field(init=False, factory=dict)
    _rest: bytes = field(init=False, default=b"")
    _within_long_line: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._log = Excerpt(self._limit)

    def feed(self, data: bytes) -> None:
        """Take what has come, in pieces of any size."""
        lines, newline, self._rest = (self._rest + data).rpartition(b"\n")
        if newline:
            self._take(lines + newline)
        if len(self._rest) > _LINE_BYTES:
            self._log.add(self._rest)
            self._rest, self._within_long_line = b"", True

    def close(self) -> None:
        """No more will come."""
        if self._rest:
            self._take_line(self._rest)
            self._rest = b""

    @property
    def counters(self) -> tuple[Counter, ...]:
        """The sums of all amounts, in the order of their first mention."""
        return tuple(Counter(group, name, amount) for (group, name), amount in self._sums.items())

    @property
    def log(self) -> str:
        """All else, head and tail, fit to be shown."""
        return clean(self._log.kept())

    def _take(self, lines: bytes) -> None:
        if not self._within_long_line and b"reporter:" not in lines:
            self._log.add(lines)
            return
        for line in lines.split(b"\n")[:-1]:
            self._take_line(line + b"\n")

    def _take_line(self, line: bytes) -> None:
        if self._within_long_line or not (self._took_counter(line) or self._took_status(line)):
            self._log.add(line)
        self._within_long_line = False

    def _took_counter(self, line: bytes) -> bool:
        found = _COUNTER.fullmatch(line)
        if not found or max(len(found[1]), len(found[2])) > _NAME_BYTES:
            return False
        names = clean(found[1]).strip(), clean(found[2]).strip()
        if names not in self._sums and len(self._sums) >= _COUNTERS:
            return False
        self._sums[names] = self._sums.get(names, 0) + int(found[3])
        return True

    def _took_status(self, line: bytes) -> bool:
        found = _STATUS.fullmatch(line)
        if found:
            self.status = clean(found[1])[:_STATUS_CHARACTERS]
        return found is not None
