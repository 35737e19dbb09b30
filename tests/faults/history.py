"""Every fact that a journal has ever recorded, and in which life of the server; also what was dropped.

Plain SQLite, outside the server.  ``keep_history`` puts a trigger into a journal, by which each new fact
is copied in the transaction that records it: no fact is missed, and none that was rolled back is there.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any

from attrs import field, frozen

JOURNAL = "journal.sqlite"
BUSY_SECONDS = 30.0
KEEP = """
    CREATE TABLE IF NOT EXISTS history
        (id INTEGER PRIMARY KEY, epoch INTEGER, stream TEXT, kind TEXT, body TEXT);
    CREATE TRIGGER IF NOT EXISTS history_of_facts AFTER INSERT ON fact BEGIN
        INSERT INTO history SELECT NEW.id, value, NEW.stream, NEW.kind, NEW.body
            FROM meta WHERE key = 'epoch';
    END;
    INSERT OR IGNORE INTO history SELECT fact.id, value, stream, kind, body FROM fact, meta
        WHERE key = 'epoch';
"""
ENDS = {"done", "failed", "cancelled"}


@frozen
class Fact:
    """One row.

    :ivar life: the server's epoch in which it was recorded.
    """

    id: int
    life: int
    stream: str
    kind: str
    body: dict[str, Any] = field(eq=False)

    @property
    def request(self) -> str:
        """Whose it is."""
        return self.stream.partition(".")[0]


@frozen(order=True)
class Part:
    """A committed range of a phase, or a line of it that was passed over.

    :ivar lease: the assignment by which it came, ``EPOCH-NUMBER``; empty where none is known.
    """

    start: int
    end: int
    fact: int
    life: int
    lease: str = ""
    output: dict[str, Any] = field(factory=dict, eq=False, repr=False)

    @property
    def epoch(self) -> int:
        """Of its lease."""
        return int(self.lease.partition("-")[0]) if self.lease else self.life

    def __str__(self) -> str:
        by = f" by {self.lease}" if self.lease else ""
        return f"{self.start}-{self.end}{by} in life {self.life} (row {self.fact})"


Phase = tuple[str, int, int]
"""Name, round and step."""
FIRST: Phase = ("map", 0, 0)
"""The phase whose positions are the lines of the input."""


@frozen
class Request:
    """All that is known of one request."""

    id: str
    facts: tuple[Fact, ...]

    def of(self, kind: str) -> list[Fact]:
        """Its facts of a kind."""
        return [each for each in self.facts if each.kind == kind]

    @property
    def is_known(self) -> bool:
        """Whether it was written down."""
        return bool(self.of("submitted"))

    @property
    def is_partial(self) -> bool:
        """Whether it took its beginning from another: its own facts are not all of it."""
        return any("partial_of" in each.body for each in self.of("submitted"))

    @property
    def ends(self) -> list[str]:
        """The states in which it ended; there should be one, once it has."""
        return [each.body["state"] for each in self.of("ended")]

    @property
    def phases(self) -> dict[Phase, list[Part]]:
        """What was committed in each phase, in the order of the rows, and was not lost since."""
        found: dict[Phase, list[Part]] = {}
        reads: set[Place] | None = None
        for each in self.facts:
            if each.kind == "phase":
                reads = {place_of(run) for run in each.body["runs"]}
            elif each.kind == "lost":
                found, reads = without(found, {place(lost) for lost in each.body["places"]}, reads), None
            elif each.kind in ("committed", "bad"):
                phase = each.body["phase"], each.body["round"], each.body.get("step", 0)
                found.setdefault(phase, []).append(part_of(each))
        # Of one that is done there was a map, even if nothing of it is known.
        return {**({FIRST: []} if self.ends == ["done"] else {}), **found}

    def left_out(self, phase: Phase) -> list[tuple[int, int]]:
        """Ranges of a phase that were left out on purpose: of the first map, once it was closed."""
        if phase[0] != "map" or phase[2]:
            return []
        missing = [piece for each in self.of("closed") for piece in each.body["missing"]]
        return [(each["piece"]["start"], each["piece"]["end"]) for each in missing if each["piece"]]

    def is_over(self, phase: Phase) -> bool:
        """Whether a phase has ended: something followed."""
        last = max((each.fact for each in self.phases[phase]), default=0)
        follows = any(each.id > last for each in self.of("phase"))
        return follows or self.ends == ["done"]


Place = tuple[str, int, int] | None
"""Path, offset and size of what a job printed; None: nothing."""


def place(found: dict[str, Any]) -> Place:
    """As rows have it."""
    return found["path"], found["offset"], found["size"]


def place_of(output: dict[str, Any]) -> Place:
    """Where an output is."""
    return place(output["place"]) if output["place"] else None


def without(
    found: dict[Phase, list[Part]], lost: set[Place], reads: set[Place] | None
) -> dict[Phase, list[Part]]:
    """What is left when the spool has lost something: of the first map what is still there.

    :param reads: what the running phase read, and so was there still; None: the first map ran.
    """

    def is_there(part: Part) -> bool:
        where = place_of(part.output)
        return where is None or (where not in lost and (reads is None or where in reads))

    return {FIRST: [each for each in found.get(FIRST, []) if is_there(each)]}


def part_of(fact: Fact) -> Part:
    """What a fact committed."""
    output = fact.body["output"]
    lease = fact.body.get("lease", "")
    return Part(output["start"], output["end"], fact.id, fact.life, lease, output)


def keep_history(state: Path) -> None:
    """From now on a server's facts outlive their end; also while it runs."""
    with closing(connect(state)) as db:
        db.executescript(KEEP)


def connect(state: Path, *, writes: bool = True) -> sqlite3.Connection:
    """A state folder's journal."""
    mode = "rw" if writes else "ro"
    return sqlite3.connect(f"file:{state / JOURNAL}?mode={mode}", uri=True, timeout=BUSY_SECONDS)


def read_history(state: Path) -> list[Fact]:
    """All facts, oldest first; of a journal without a history those that it has now."""
    with closing(connect(state, writes=False)) as db:
        try:
            rows = db.execute("SELECT * FROM history ORDER BY id").fetchall()
        except sqlite3.OperationalError:
            rows = db.execute("SELECT id, 0, stream, kind, body FROM fact ORDER BY id").fetchall()
    return [Fact(*row[:4], json.loads(row[4])) for row in rows]


def requests_of(facts: Iterable[Fact]) -> dict[str, Request]:
    """The same, by request."""

    def by(fact: Fact) -> str:
        return fact.request

    grouped = groupby(sorted(facts, key=lambda fact: (by(fact), fact.id)), by)
    return {name: Request(name, tuple(group)) for name, group in grouped}


def kept_facts(state: Path) -> Iterator[Fact]:
    """What the journal has now, of which all bytes must be there."""
    with closing(connect(state, writes=False)) as db:
        rows = db.execute("SELECT id, 0, stream, kind, body FROM fact ORDER BY id").fetchall()
    for row in rows:
        yield Fact(*row[:4], json.loads(row[4]))
