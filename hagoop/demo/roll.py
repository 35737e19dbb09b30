"""Who is there: what is shown of each worker, from one look at all of them to the next."""

import re
from collections.abc import Iterable, Mapping

from attrs import define

from hagoop.demo.kinds import Kind
from hagoop.jobs import RequestStatus, WorkerStatus
from hagoop.showing import clean, duration
from hagoop.survived import Survived

MAP = " map "
HELD = re.compile(r"r\d+ map (\d+)-(\d+)")
HEADS = ("worker", "state", "holds", "jobs", "experience", "next piece", "largest")


@define
class Member:
    """A worker, there or not.

    :ivar returns: how often it came back.
    :ivar largest: the most lines that it was seen to hold in one piece.
    """

    name: str
    kind: Kind
    now: WorkerStatus | None = None
    last: WorkerStatus | None = None
    returns: int = 0
    largest: int = 0

    def look(self, now: WorkerStatus | None) -> None:
        """It is so, or not there."""
        if now is not None:
            if self.last is not None and self._is_new(now):
                self.returns += 1
            self.last = now
            held = [int(end) - int(start) for start, end in HELD.findall(now.doing)]
            self.largest = max(self.largest, *held, 0)
        self.now = now

    def _is_new(self, now: WorkerStatus) -> bool:
        return self.now is None or now.connected_seconds < self.now.connected_seconds

    @property
    def state(self) -> str:
        """Whether it is there, and how often it was not."""
        if self.last is None:
            return "starting"
        if self.now is None:
            return "gone again" if self.returns else "gone"
        return f"back {times_of(self.returns)}" if self.returns else "connected"

    @property
    def cells(self) -> tuple[str, ...]:
        """What a table says of it, below ``HEADS``; of one that is gone, what it had earned."""
        last = self.last
        if last is None:
            return (self.name, self.state, "", "", "", "", "")
        return (
            self.name,
            self.state,
            holding(last.doing) if self.now else "",
            f"{last.committed:,}",
            duration(last.experience_seconds),
            piece(last) if self.now else "",
            f"{self.largest:,}" if self.largest else "",
        )


def holding(doing: str) -> str:
    """What ``workers`` says that one holds, without the request: here there is one only."""
    return re.sub(r"\br\d+ ", "", clean(doing))


def piece(status: WorkerStatus) -> str:
    """The next assignment of a worker that holds one: lines, or bytes of reduce; who hangs gets none."""
    if not status.next_weight:
        return "" if status.doing == "idle" else "nothing"
    return f"{status.next_weight:,}{'' if MAP in status.doing else ' B'}"


def times_of(count: int) -> str:
    """``once``, ``3 times``."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def counted(count: int, one: str, many: str) -> str:
    """``1 copy``, ``1,200 copies``."""
    return f"{count:,} {one if count == 1 else many}"


@define
class Roll:
    """All workers, and the request that they work on."""

    members: dict[str, Member]
    survived: Survived
    request: RequestStatus | None = None
    seconds: float = 0.0

    @classmethod
    def of(cls, names: Mapping[str, Kind], survived: Survived) -> "Roll":
        """Nobody has been seen yet."""
        return cls({name: Member(name, kind) for name, kind in names.items()}, survived)

    def look(self, found: Iterable[WorkerStatus], request: RequestStatus | None) -> None:
        """So they are now."""
        there = {each.name: each for each in found}
        for each in self.members.values():
            each.look(there.get(each.name))
        self.request = request

    @property
    def all_there(self) -> bool:
        """Whether everybody has been seen once."""
        return all(each.last is not None for each in self.members.values())

    @property
    def progress(self) -> str:
        """How far the request is."""
        if self.request is None:
            return "starting"
        return f"{self.request.phase} {100 * self.request.done:.0f} %"

    @property
    def attendance(self) -> str:
        """How many of each kind are connected."""
        kinds = {each.kind: 0 for each in self.members.values()}
        for each in self.members.values():
            kinds[each.kind] += each.now is not None
        total = [each.kind for each in self.members.values()]
        return ", ".join(f"{kind} {there} of {total.count(kind)}" for kind, there in kinds.items())

    @property
    def losses(self) -> str:
        """What has been survived so far."""
        it = self.survived
        counts = [
            (it.deaths, "death", "deaths"),
            (it.hangs, "hang", "hangs"),
            (it.copies, "copy", "copies"),
            (it.late, "late answer", "late answers"),
            (it.lines, "line done for nothing", "lines done for nothing"),
        ]
        return ", ".join(counted(*each) for each in counts if each[0]) or "nothing yet"
