"""The plain pipe that the answer must equal, and the comparison."""

import hashlib
from pathlib import Path

from attrs import define

from hagoop.answers import copy_chunks
from hagoop.interfaces import IWorkerReactor
from hagoop.process import Running, launch
from hagoop.verdicts import Run

COUNT = "count.sh"
SCRIPT = Path(__file__).with_name(COUNT)
MAPPER = f"sh {COUNT} map"
REDUCER = f"sh {COUNT} reduce"
PIPE = f"cat text | {MAPPER} | LC_ALL=C sort -s -t \"$(printf '\\t')\" -k1,1 | {REDUCER}"


@define(eq=False)
class Pipe:
    """One run of it.

    :ivar folder: where ``text`` and the script are.
    """

    reactor: IWorkerReactor
    folder: Path
    search: str
    _running: Running | None = None

    async def run(self, target: Path) -> float:
        """Run it to its end; the seconds that it took.

        :raises JobError: it failed.
        """
        run = Run(
            argv=("/bin/sh", "-c", PIPE),
            folder=self.folder,
            env={"PATH": self.search, "LC_ALL": "C.UTF-8"},
            stdin=None,
            stdout=target,
            timeout_seconds=0.0,
        )
        self._running = launch(self.reactor, run)
        return (await self._running.ended).seconds

    async def stop(self) -> None:
        """End it, if it runs."""
        if self._running is not None:
            self._running.ended.addErrback(lambda _: None)
            await self._running.stop("it is not needed any more")


def digest_of(file: Path) -> str:
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(file, "rb") as source:
        copy_chunks(source, digest.update)
    return digest.hexdigest()


def difference(answer: Path, expected: Path) -> str:
    """Where two answers first differ, in words; empty when they do not."""
    with open(answer, "rb") as left, open(expected, "rb") as right:
        number = 0
        while True:
            number += 1
            got, wanted = left.readline(), right.readline()
            if got != wanted:
                return f"line {number} of the answer is {got!r}, that of the pipe {wanted!r}"
            if not got:
                return ""


def spoil(answer: Path) -> None:
    """Change a byte in the middle."""
    with open(answer, "r+b") as file:
        middle = answer.stat().st_size // 2
        file.seek(middle)
        byte = file.read(1)
        file.seek(middle)
        file.write(b"0" if byte != b"0" else b"1")


def most_frequent(answer: Path, count: int) -> list[tuple[str, int]]:
    """The words with the largest counts, largest first."""
    lines = [line.split("\t") for line in answer.read_text("ascii", "replace").splitlines()]
    words = [(each[0], int(each[1])) for each in lines if len(each) == 2 and each[1].isdigit()]
    return sorted(words, key=lambda pair: (-pair[1], pair[0]))[:count]
