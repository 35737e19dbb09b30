"""The lives of a server's own workers, for ``hagoop-simulate --from-log``: lines of JSON in a file.

A line when a session begins (``run``, ``session``, ``worker``, ``name``, ``slots``, ``joined``) and one
when it is over, with all of that again and ``left``, ``how``, ``speed``, ``start``, ``jobs``.  ``run``
is when the server started; times are seconds since 1970.
"""

import json
from collections.abc import Callable
from itertools import islice
from math import exp
from pathlib import Path
from statistics import median

from attrs import define, field
from twisted.logger import Logger

from hagoop.appending import Appended
from hagoop.jobs import Phase, WorkerId
from hagoop.leases import Session
from hagoop.ledger import Ledger
from hagoop.policy import IDLE_BEAT_SECONDS

log = Logger()
LIVES_NAME = "lives.jsonl"
MOST_BYTES = 16 << 20
MOST_NAME = 64
RECENT_REQUESTS = 8
SILENT_SECONDS = 3 * IDLE_BEAT_SECONDS
"""Of whom nothing was heard for so long, he has gone without a word."""


@define(eq=False)
class LivesLog:
    """The file, written now and then: no session waits for it, and nothing fails with it.

    :ivar seconds: the server's clock; ``wall``: seconds since 1970.
    """

    path: Path
    ledger: Ledger
    seconds: Callable[[], float]
    wall: Callable[[], float]
    _file: Appended = field(init=False)
    _run: float = field(init=False)
    _lines: list[str] = field(factory=list)
    _broken: bool = False
    _stopped: bool = False

    def __attrs_post_init__(self) -> None:
        self._file, self._run = Appended(self.path), round(self.wall(), 3)

    def began(self, session: Session) -> None:
        """A session has begun."""
        self._lines.append(json.dumps(self._begun(session)))

    def over(self, session: Session, failed: bool) -> None:
        """A session is over; the ledger still knows it."""
        if self._stopped:
            return
        silent = self.seconds() - session.heard
        how = _how(session, silent) if failed else "notice"
        # Who went without a word was gone before it was noticed.
        self._end(session, how, self.wall() - (silent if how == "silent" else 0.0))

    def stop(self) -> None:
        """The server stops: what is connected is not over, but we hear no more of it."""
        for each in self.ledger.fleet.sessions.values():
            self._end(each, "running", self.wall())
        self._stopped = True
        self.write()
        self._file.close()

    def write(self) -> None:
        """Put down what has happened since the last time; what cannot be written is lost."""
        lines, self._lines = self._lines, []
        try:
            if lines:
                self._file.write("".join(f"{each}\n" for each in lines).encode("ascii"), MOST_BYTES)
            self._broken = self._broken and not lines
        except OSError as problem:
            if not self._broken:
                log.warn(
                    "{path} cannot be written, and lacks lives: {problem}",
                    path=self.path,
                    problem=problem,
                )
            self._broken = True

    def _begun(self, session: Session) -> dict[str, object]:
        return {
            "run": self._run,
            "session": session.id,
            "worker": session.worker,
            "name": session.name[:MOST_NAME],
            "slots": session.slots,
            "joined": round(self.wall() - (self.seconds() - session.since), 3),
        }

    def _end(self, session: Session, how: str, left: float) -> None:
        record = self.ledger.fleet.records[session.worker]
        facts = {
            "left": round(left, 3),
            "how": how,
            "speed": round(exp(record.relative), 4),
            "start": self._start(session.worker),
            "jobs": record.committed,
        }
        self._lines.append(json.dumps({**self._begun(session), **facts}))

    def _start(self, worker: WorkerId) -> float | None:
        """What starting a program takes there, as far as it is known."""
        requests = islice(reversed(self.ledger.requests.values()), RECENT_REQUESTS)
        paces = [each.paces.get((phase, worker)) for each in requests for phase in Phase]
        known = [each.start.estimate() for each in paces if each is not None and each.speed is not None]
        return round(median(known), 4) if known else None


def _how(session: Session, silent: float) -> str:
    if silent > SILENT_SECONDS:
        return "silent"
    return "hang" if session.stalled else "close"
