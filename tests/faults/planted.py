"""A server's state as it is after one sound request, to be spoiled in one place."""

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import define, field
from history import JOURNAL, keep_history
from invariants import broken
from story import Story, Told

TABLES = """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL, chain BLOB NOT NULL);
    CREATE TABLE fact (id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL,
                       kind TEXT NOT NULL, body TEXT NOT NULL, chain BLOB NOT NULL);
    INSERT INTO meta VALUES ('epoch', 1, '');
"""
ANSWER = b"a\nb\nc\n"
SEGMENT = "requests/r1/segment-0"


def sha(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


@define(eq=False)
class Doctored:
    """A state folder and a story; each method adds a piece."""

    folder: Path
    story: Story = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.story = Story(self.folder / "story")
        self.state.mkdir(parents=True)
        with closing(sqlite3.connect(self.state / JOURNAL)) as db:
            db.executescript(TABLES)
        keep_history(self.state)

    @property
    def state(self) -> Path:
        """As a server has it."""
        return self.folder / "state"

    def record(self, kind: str, body: Mapping[str, Any], stream: str = "r1") -> None:
        """One more fact."""
        row = stream, kind, json.dumps(body), b""
        self.execute("INSERT INTO fact (stream, kind, body, chain) VALUES (?, ?, ?, ?)", *row)

    def execute(self, statement: str, *values: object) -> None:
        """Do something to the journal."""
        with closing(sqlite3.connect(self.state / JOURNAL)) as db, db:
            db.execute(statement, values)

    def submit(self, key: str = "k1") -> None:
        """A request that is known."""
        (self.folder / "input").write_bytes(b"1\n2\n3")
        inputs = {"bundles": [], "files": [["input", str(self.folder / "input"), 0, 5, None, None]]}
        self.record("submitted", {"owner": "", "key": key, "submission": {}, "inputs": inputs})

    def commit(self, start: int, end: int, lease: str = "1-1") -> None:
        """Lines of it, whose output is so many bytes of the answer."""
        place = {"path": SEGMENT, "offset": 2 * start, "size": 2 * (end - start)}
        output = {"start": start, "end": end, "place": place}
        output["digest"] = sha(ANSWER[2 * start : 2 * end])
        where = {"phase": "map", "round": 0, "step": 0}
        self.record("committed", {**where, "output": output, "lease": lease})

    def end(self, state: str = "done") -> None:
        """Its end."""
        self.record("ended", {"state": state, "digest": sha(ANSWER), "size": len(ANSWER)})

    def keep(self, data: bytes = ANSWER) -> None:
        """What the spool holds."""
        path = self.state / "spool" / SEGMENT
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def tell(self, *words: str, status: int = 0, **more: Any) -> None:
        """What a client was told."""
        self.story.told.append(Told(words, status, **more))

    def restart(self) -> None:
        """The server's next life."""
        self.execute("UPDATE meta SET value = value + 1")

    @property
    def broken(self) -> list[str]:
        """What the checkers say."""
        return broken(self.state, self.story)


def sound(folder: Path) -> Doctored:
    """Nothing is wrong with it: three lines in two lives, an answer that two commands have brought."""
    made = Doctored(folder)
    made.submit()
    made.commit(0, 1)
    made.restart()
    made.commit(1, 2, "1-2")
    made.commit(2, 3, "2-1")
    made.end()
    made.keep()
    answer = folder / "answer"
    answer.write_bytes(ANSWER)
    made.tell("run", "input", "--detach", request="r1")
    made.tell("wait", "r1", request="r1", seen=(("r1", "done"),))
    made.tell("answer", "r1", request="r1", answer=sha(ANSWER))
    made.tell("answer", "--output", "answer", answer=sha(ANSWER), output=str(answer))
    return made
