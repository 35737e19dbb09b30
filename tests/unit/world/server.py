"""A server that can crash: its disk, its clock, its inputs, wired as the real one is."""

import errno
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from hagoop import wire
from hagoop.docket import Docket
from hagoop.grants import Grants
from hagoop.inputs import MemoryInputs
from hagoop.interfaces import IInputs
from hagoop.jobs import Output, Phase, RequestId
from hagoop.journal import Journal, MemoryDisk, MemoryStore
from hagoop.ledger import Ledger
from hagoop.memory_spool import MemorySpool
from hagoop.mending import Mending
from hagoop.ranges import Range, RangeSet
from hagoop.recovery import read_stories, restore
from hagoop.roles import Desk
from hagoop.scheduler import Scheduler


@implementer(IReactorTime)
@define(eq=False)
class Life:
    """A clock that stops for the dead: what they had planned never happens."""

    clock: Clock
    dead: bool = False

    def seconds(self):
        return self.clock.seconds()

    def callLater(self, delay, function, *arguments, **named):
        return self.clock.callLater(delay, self._call, function, arguments, named)

    def _call(self, function, arguments, named):
        if not self.dead:
            function(*arguments, **named)

    def getDelayedCalls(self):
        return self.clock.getDelayedCalls()


# The disk


@define(eq=False)
class Mark:
    """Bytes that would be lost in a crash before ``sync``."""

    path: str
    synced: set[str]

    def sync(self):
        self.synced.add(self.path)


@define(eq=False)
class ForgetfulSpool(MemorySpool):
    """What was not synced is lost in a crash.

    :ivar troubles: what goes wrong the next times that something is read.
    """

    synced: set[str] = field(factory=set)
    troubles: list[Exception] = field(factory=list)

    def open(self, place):
        if self.troubles:
            raise self.troubles.pop(0)
        return MemorySpool.open(self, place)

    def keep(self, request, arrived):
        place, _ = MemorySpool.keep(self, request, arrived)
        return place, Mark(place.path, self.synced)

    def crash(self):
        """Lose what was not synced."""
        for files in self._kept.values():
            for path in [path for path in files if path not in self.synced]:
                del files[path]

    @property
    def shelves(self):
        """How many things lie on each shelf that is not empty."""
        return {name: len(files) for name, files in self._kept.items() if files}


@define(eq=False)
class Disk:
    """All that outlives a server, and what was ever written there.

    :ivar ends: how often each request ended.
    :ivar safe: jobs that are on disk: whatever is acknowledged must be here.
    """

    spool: ForgetfulSpool
    random: Random
    fullness: float
    memory: MemoryDisk = field(factory=MemoryDisk)
    ends: Counter = field(factory=Counter)
    safe: set[tuple[RequestId, Phase, int, int, int]] = field(factory=set)
    rounds: set[int] = field(factory=set)
    _committed: dict[tuple[str, str, int], RangeSet] = field(factory=dict)

    def write(self, write):
        """A row is written: whatever it names must be there, and new."""
        if write.change == "forget":
            gone = [each for each in self._committed if each[0] == write.name]
            for each in gone:
                del self._committed[each]
        body = wire.decode(dict, write.body.encode()) if write.body else {}
        if write.kind in ("committed", "bad"):
            self._commit(write.name, body)
        elif write.kind == "phase" and body["phase"] == Phase.MERGE:
            self.rounds.add(body["round"])
        elif write.kind == "ended":
            self.ends[write.name] += 1
        elif write.kind == "lost":
            # What is there of it is committed still; what is not will be again.
            for each in [each for each in self._committed if each[0].split(".")[0] == write.name]:
                del self._committed[each]

    def _commit(self, stream, body):
        output = wire.from_plain(Output, body["output"])
        key = stream, body["phase"], body["round"]
        self._committed.setdefault(key, RangeSet()).add(Range(output.start, output.end))
        request = RequestId(stream.partition(".")[0])
        self.safe.add((request, Phase(body["phase"]), body["round"], output.start, output.end))
        if output.place is not None:
            assert output.place.path in self.spool.synced
            with MemorySpool.open(self.spool, output.place) as file:
                assert hashlib.sha256(file.read()).hexdigest() == output.digest


class WatchedStore(MemoryStore):
    """Rows on a disk that is full now and then."""

    def __init__(self, disk):
        super().__init__(disk.memory)
        self.disk = disk

    def commit(self, writes):
        if self.disk.random.random() < self.disk.fullness:
            raise OSError(errno.ENOSPC, "no space left")
        for each in writes:
            self.disk.write(each)
        super().commit(writes)


@define(eq=False)
class Slowly:
    """The journal's thread: work takes a while, and so does the news of it."""

    life: Life
    random: Random

    def run(self, work, then):
        self.life.callLater(self.random.expovariate(50), self._work, work, then)

    def _work(self, work, then):
        self.life.callLater(self.random.expovariate(50), then, work())

    def end(self):
        """Nothing was begun."""


# Inputs


@implementer(IInputs)
class GrowingInputs:
    """Inputs in memory whose lines are counted a few at a time."""

    def __init__(self, files, life, random):
        self._all = MemoryInputs(files)
        self._life = life
        self._random = random
        self.lines = 0

    @property
    def whole(self):
        return self.lines == self._all.lines

    @property
    def size(self):
        return self._all.size

    @property
    def estimate(self):
        return self._all.lines if self.whole else self.lines + 1 + self._all.lines // 2

    @property
    def breaks(self):
        return [each for each in self._all.breaks if each < self.lines]

    def count(self, grown: Callable[[], None]) -> "Deferred[None]":
        """Count them; cancelling stops it."""
        done: Deferred[None] = Deferred()
        self._life.callLater(0, self._count, done, grown)
        return done

    def _count(self, done, grown):
        if done.called:
            return
        self.lines = min(self._all.lines, self.lines + self._random.choice([1, 5, 1000]))
        grown()
        if not self.whole:
            self._life.callLater(self._random.expovariate(5), self._count, done, grown)
        elif not done.called:
            done.callback(None)

    def pieces(self, start, end):
        if end > self.lines:
            raise ValueError(f"line {end} is not counted yet")
        return self._all.pieces(start, end)

    def open(self, piece):
        return self._all.open(piece)

    def close(self):
        """Nothing was made."""


@define(eq=False)
class Library:
    """Makes inputs of what a submission names: the files of a task, by its number."""

    tasks: Sequence
    life: Life
    random: Random

    async def survey(self, request, submission):
        """Name the files."""
        return {"task": int(submission.sources[0].name), "bundles": []}, []

    def open(self, fact, grown):
        """The inputs, and what counts them."""
        inputs = GrowingInputs(self.tasks[fact["task"]].files, self.life, self.random)
        return inputs, lambda: inputs.count(grown)


# The server


@define(eq=False)
class Server:
    """One life of a server, from its start to its crash."""

    clock: Clock
    disk: Disk
    random: Random
    tasks: Sequence
    most_runs: int
    life: Life = field(init=False)
    journal: Journal = field(init=False)
    scheduler: Scheduler = field(init=False)
    docket: Docket = field(init=False)
    desk: Desk = field(init=False)

    def __attrs_post_init__(self):
        """As ``build_server`` does it."""
        self.life = Life(self.clock)
        self.journal = Journal(WatchedStore(self.disk), Slowly(self.life, self.random), None)
        self.scheduler = Scheduler(Ledger(epoch=self.journal.epoch), self.life)
        self.docket = self.scheduler.docket = Docket(
            self.ledger,
            self.journal,
            self.disk.spool,
            Library(self.tasks, self.life, self.random),
            self.life,
            self.in_thread,
            self.clock.seconds,
            self.scheduler.enact,
            self.scheduler.forget,
            self.most_runs,
        )
        mending = Mending(self.docket)
        self.docket.unreadable, self.docket.stopped = mending.heard, mending.stopped
        self.recover()
        grants = Grants(lambda: "word", self.life.seconds)
        self.desk = Desk(self.scheduler, self.docket, None, grants, self.life, lambda: 0)
        self.scheduler.start()

    @property
    def ledger(self):
        """What it knows."""
        return self.scheduler.ledger

    def recover(self):
        """Read what the life before has left."""
        stories = read_stories(self.journal.replay())
        shelves = [shelf for each in stories for shelf in (each.request, f"{each.request}.runs")]
        places = [place for each in stories for place in each.places]
        self.disk.spool.sweep([RequestId(each) for each in shelves], places)
        restore(self.docket, stories)

    def in_thread(self, function, *arguments):
        """Work in a thread, which takes a while."""
        done: Deferred[None] = Deferred()
        self.life.callLater(self.random.expovariate(50), self._work, done, function, arguments)
        return done

    def _work(self, done, function, arguments):
        try:
            function(*arguments)
        except Exception:
            done.errback(Failure())
        else:
            done.callback(None)

    def crash(self):
        """End without a word."""
        self.life.dead = True
        self.disk.spool.crash()

    def read_answer(self, request):
        """The answer, as far as it is there."""
        parts = []
        for place in self.docket.data[request].answer.parts:
            with self.disk.spool.open(place) as file:
                parts.append(file.read())
        return b"".join(parts)


__all__ = ["Disk", "ForgetfulSpool", "Life", "Server"]
