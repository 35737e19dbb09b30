"""What a process asked of the system, in order, as strace writes it down; and faults that it injects."""

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from attrs import frozen

WHOLE = re.compile(r"(\d+) +(\w+)\((.*?)\) += (-?\d+|\?)(?: (E\w+))?.*")
BEGUN = re.compile(r"(\d+) +(\w+)\((.*?),? *<unfinished \.\.\.>")
RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>,? *(.*?)\) += (-?\d+|\?)(?: (E\w+))?.*")
CALLS = """
    openat open creat close write pwrite64 ftruncate fsync fdatasync mkdir rename renameat renameat2
    unlink unlinkat rmdir link linkat
""".split()
TALK = "sendto recvfrom".split()
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")


@frozen
class Call:
    """A call of the system.

    :ivar begun: its place among all that was written down; ``ended``: that of its return.
    """

    begun: int
    ended: int
    thread: int
    name: str
    words: tuple[str, ...]
    result: int
    error: str = ""

    @property
    def descriptor(self) -> int:
        """The first argument."""
        return int(self.words[0])

    def data(self, number: int) -> bytes:
        """An argument that is a string."""
        return bytes.fromhex(self.words[number].strip('".').replace("\\x", ""))

    def path(self, number: int = 0) -> str:
        """An argument that is a path."""
        return self.data(number).decode()


def recording(log: Path, calls: Sequence[str]) -> list[str]:
    """The words before a command whose calls are to be written down; its process stays its own."""
    return ["strace", "-D", "-f", "-q", *_traced(calls), "-xx", "-s", "9999999", "-o", str(log)]


def injecting(log: Path, *faults: str, paths: Sequence[Path] = ()) -> list[str]:
    """The words before a command that is to meet faults: ``fdatasync:error=EIO:when=3``.

    :param paths: only calls that touch these.
    """
    calls = [call for each in faults for call in each.partition(":")[0].split(",")]
    only = [word for each in paths for word in ("-P", str(each))]
    given = [f"--inject={each}" for each in faults]
    return ["strace", "-D", "-f", "-q", *_traced(calls), *given, *only, "-o", str(log)]


def _traced(calls: Sequence[str]) -> list[str]:
    # Without the filter each call of the process would stop it twice.
    return ["--seccomp-bpf", "-e", f"trace={','.join(f'?{each}' for each in dict.fromkeys(calls))}"]


def read_calls(log: Path) -> list[Call]:
    """All calls that returned, by when they did."""
    return list(_calls(log.read_text().splitlines()))


def _calls(lines: Sequence[str]) -> Iterator[Call]:
    begun: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines):
        if found := BEGUN.fullmatch(line):
            begun[found[1]] = number, found[3]
        elif found := RESUMED.fullmatch(line):
            since, words = begun.pop(found[1], (number, ""))
            rest = [each for each in (words, found[3]) if each]
            yield _call((since, number), found[1], found[2], ", ".join(rest), (found[4], found[5]))
        elif found := WHOLE.fullmatch(line):
            yield _call((number, number), found[1], found[2], found[3], (found[4], found[5]))


def _call(span: tuple[int, int], thread: str, name: str, words: str, result: tuple[str, str]) -> Call:
    value = int(result[0]) if result[0] != "?" else -1
    return Call(*span, int(thread), name, tuple(words.split(", ")), value, result[1] or "")
