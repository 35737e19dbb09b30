"""What a server's journal tells, read by plain SQL: nothing of the product is imported here.

``python tests/faults/journal_reader.py STATE`` prints what is wrong with the commits, and exits with 1
if anything is.  It may be asked while the server runs, and changes nothing.
"""

import json
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

from attrs import frozen

Ranges = list[tuple[int, int]]
Part = tuple[str, int, str, int]
"""Request, step, phase and round: what a set of committed ranges belongs to."""


@frozen
class Fact:
    """A row; ``body`` is what its JSON says."""

    id: int
    stream: str
    kind: str
    body: dict[str, Any]

    @property
    def request(self) -> str:
        """The request it is about."""
        return self.stream.partition(".")[0]


@frozen
class Journal:
    """All of it at one moment."""

    epoch: int
    facts: tuple[Fact, ...]

    def of(self, kind: str) -> Iterator[Fact]:
        """The facts of a kind, oldest first."""
        return (each for each in self.facts if each.kind == kind)

    @property
    def ends(self) -> dict[str, list[str]]:
        """The states in which each request has ended; more than one is wrong."""
        found: dict[str, list[str]] = {each.request: [] for each in self.of("submitted")}
        for each in self.of("ended"):
            found.setdefault(each.request, []).append(each.body["state"])
        return found

    @property
    def commits(self) -> dict[Part, Ranges]:
        """The ranges that were committed, sorted; lines that were passed over are such too."""
        found: dict[Part, Ranges] = {}
        for each in [*self.of("committed"), *self.of("bad")]:
            body, output = each.body, each.body["output"]
            part = each.request, body.get("step", 0), body["phase"], body["round"]
            found.setdefault(part, []).append((output["start"], output["end"]))
        return {part: sorted(ranges) for part, ranges in found.items()}

    @property
    def places(self) -> list[tuple[str, int, int]]:
        """Path below the spool, offset and size of every output that the rows name."""
        found = [each.body["output"]["place"] for each in self.of("committed")]
        return [(each["path"], each["offset"], each["size"]) for each in found if each]


def state_journal(state: Path) -> Path:
    """Where a state folder has its journal."""
    return state / "journal.sqlite"


def read_journal(path: Path) -> Journal:
    """Read it as it is now.

    :raises sqlite3.Error: it cannot be read.
    """
    # Who may only read neither tidies the log nor removes it.
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=30)) as db:
        db.execute("BEGIN")
        rows = db.execute("SELECT id, stream, kind, body FROM fact ORDER BY id").fetchall()
        (epoch,) = db.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
    return Journal(epoch, tuple(Fact(row[0], row[1], row[2], json.loads(row[3])) for row in rows))


def twice(ranges: Ranges) -> Iterator[str]:
    """Positions that were committed more than once."""
    end = 0
    for start, stop in sorted(ranges):
        if start < end:
            yield f"{start}-{min(end, stop)} twice"
        end = max(end, stop)


def gaps(ranges: Ranges, whole: int | None = None) -> Iterator[str]:
    """Positions from 0 that were never committed, up to ``whole`` or to the last that was."""
    end = 0
    for start, stop in [*sorted(ranges), *([(whole, whole)] if whole is not None else [])]:
        if start > end:
            yield f"{end}-{start} never"
        end = max(end, stop)


def wrong_commits(journal: Journal) -> list[str]:
    """Where commits overlap, or leave a hole in a phase that has ended."""
    wrong = []
    left_out = {each.request for each in journal.of("closed") if each.body["missing"]}
    for part, ranges in journal.commits.items():
        wrong += [f"{_name(part)}: {each}" for each in twice(ranges)]
        if part[0] not in left_out and _has_ended(journal, part):
            wrong += [f"{_name(part)}: {each}" for each in gaps(ranges)]
    return wrong


def wrong_ends(journal: Journal) -> list[str]:
    """Requests that ended more than once, or in no state that we know."""
    return [
        f"{request} ended as {', '.join(states)}"
        for request, states in journal.ends.items()
        if len(states) > 1 or not set(states) <= {"done", "failed", "cancelled"}
    ]


def wrong_epochs(seen: Iterable[Journal]) -> list[str]:
    """Where a later look at a journal shows an older life."""
    epochs = [each.epoch for each in seen]
    pairs = pairwise(epochs)
    return [f"epoch {after} after {before}" for before, after in pairs if after < before]


def _has_ended(journal: Journal, part: Part) -> bool:
    """Whether the request is done, or this is a map after which another phase has begun."""
    request, step, phase, _ = part
    if "done" in journal.ends.get(request, ()):
        return True
    begun = [each.body for each in journal.of("phase") if each.request == request][-1:]
    now = [(each.get("step", 0), each["phase"]) for each in begun]
    return phase == "map" and any(each != (step, "map") for each in now)


def _name(part: Part) -> str:
    request, step, phase, round_ = part
    return f"{request}, step {step}, {phase} {round_}"


def main() -> None:
    """Print what is wrong with a state folder's journal."""
    journal = read_journal(state_journal(Path(sys.argv[1])))
    wrong = [*wrong_commits(journal), *wrong_ends(journal)]
    print("\n".join(wrong) or f"{len(journal.facts)} facts, epoch {journal.epoch}: nothing is wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
