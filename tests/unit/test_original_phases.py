"""The phases of a request of the original interface, with a server that crashes in each."""

import random
from itertools import groupby

import pytest
from attrs import define, evolve, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from world.server import Disk, ForgetfulSpool, Server
from zope.interface import implementer

from hagoop.incoming import Incoming, SliceList
from hagoop.interfaces import IWorker
from hagoop.jobs import (
    Assignment,
    Finished,
    Phase,
    Program,
    RequestId,
    Source,
    State,
    Submission,
    WorkerId,
)
from hagoop.keys import Order, original_key
from hagoop.leases import Session
from hagoop.runs import RunWriter
from hagoop.slices import SliceDecoder

Lines = list[bytes]
KEYS = [b"a", b"a ", b"a!", b"a,b", b"a, b", b"ab", b"b", b"c\0", b"\xff" * 40]


def make_lines(count: int) -> Lines:
    """Lines with a few keys that begin like each other, and some without a comma and blank."""
    chance = random.Random(count)
    made = [b"%b, %d\n" % (chance.choice(KEYS), chance.randrange(9)) for _ in range(count)]
    return [*made, b"a\n", b"a,\n", b"\n"]


def reduce(lines: Lines) -> Lines:
    """Prints each key's lines joined, under a key that comes in another order."""
    groups = [list(same) for _, same in groupby(lines, lambda line: original_key(line[:-1]))]
    return [b"%d%b" % (len(same) % 3, b"|".join(each[:-1] for each in same) + b"\n") for same in groups]


def by_line(lines: Lines) -> Lines:
    return sorted(lines, key=Order.BY_LINE.key_of)


def expected(lines: Lines) -> bytes:
    """What the pipe gives."""
    return b"".join(by_line(reduce(by_line(lines))))


@implementer(IWorker)
@define(eq=False)
class Hand:
    """A worker that does all in one turn."""

    name: str = "hand"
    forgotten: list[str] = field(factory=list)

    def cancel(self, assignment, reason):
        raise AssertionError(reason)

    def take_back(self, assignment, end):
        return succeed(end)

    def forget(self, request):
        self.forgotten.append(request)

    def close(self, reason):
        raise AssertionError(reason)


@define(eq=False)
class Play:
    """A server, its lives, and one worker at a time.

    :ivar phases: what was leased, phases and rounds in their order.
    """

    lines: Lines
    most_runs: int
    clock: Clock = field(factory=Clock)
    chance: random.Random = field(factory=lambda: random.Random(3))
    phases: list[tuple[Phase, int]] = field(factory=list)
    disk: Disk = field(init=False)
    server: Server = field(init=False)
    session: Session = field(init=False)
    request: RequestId = field(init=False)
    files: tuple[tuple[str, bytes], ...] = field(init=False)

    def __attrs_post_init__(self):
        self.files = (("lines", b"".join(self.lines)),)
        self.disk = Disk(ForgetfulSpool(self.clock), self.chance, 0.0)
        self.start()
        program = Program(None, None, binary="./binary")
        submission = Submission(program, (Source("server", "0"),))
        self.request = self.wait(self.server.docket.submit("key", submission))

    def start(self):
        """A new life of the server, with its worker."""
        self.server = Server(self.clock, self.disk, self.chance, [self], self.most_runs)
        self.session = self.server.scheduler.join(Hand(), WorkerId("w"), "p", 1)

    def crash(self):
        """The end of a life, and the next one."""
        self.server.crash()
        self.start()

    def wait(self, coroutine):
        """What comes of it, in virtual time."""
        found = []
        Deferred.fromCoroutine(coroutine).addBoth(found.append)
        while not found:
            self.clock.advance(0.05)
        return found[0]

    @property
    def state(self):
        return self.server.docket.status(self.server.ledger.requests[self.request]).state

    def job(self):
        """One lease, and one job of it; whether there was one."""
        leased = []
        asked = self.server.scheduler.ask(self.session).addCallback(leased.append)
        asked.addErrback(lambda _: None)
        for _ in range(100):
            self.clock.advance(0.05)
            if leased or self.state is not State.RUNNING:
                break
        if not leased:
            asked.cancel()
            return False
        self.commit(leased[0].assignment)
        return True

    def commit(self, leased: Assignment):
        assert self.wait(self.start_commit(leased)) is True
        self.server.scheduler.give_back(self.session, leased.id)

    def start_commit(self, leased: Assignment):
        """One job of a lease; whether it counts."""
        if (leased.phase, leased.round) not in self.phases:
            self.phases.append((leased.phase, leased.round))
        it = evolve(leased, end=min(leased.end, leased.start + self.chance.choice([1, 3])))
        arriving = self.disk.spool.receive(1 << 30)
        printed = self.run(it)
        arriving.write(printed)
        arrived = arriving.finish() if printed else None
        digest, size = (arrived.digest, arrived.size) if arrived else ("", 0)
        upload = "u" if arrived else ""
        done = Finished(
            it.id, it.request, it.phase, it.round, it.start, it.end, upload, digest, size, 0.1
        )
        return self.server.scheduler.commit(self.session, done, arrived)

    def run(self, it: Assignment) -> bytes:
        """What a worker makes of an assignment."""
        if it.phase is Phase.MAP:
            return self.pack(by_line(self.lines[it.start : it.end]))
        lines = by_line(self.read(it))
        if it.phase is Phase.REDUCE:
            lines = by_line(reduce(lines))
        return b"".join(lines) if it.phase is Phase.SORT else self.pack(lines)

    def pack(self, lines: Lines) -> bytes:
        if not lines:
            return b""
        writer = RunWriter(order=Order.BY_LINE, block_bytes=64, bound_bytes=50)
        return writer.write(b"".join(lines)) + writer.finish()

    def read(self, it: Assignment) -> Lines:
        body = Body()
        incoming = Incoming(body)
        for data in self.server.docket.data[it.request].stream(it):
            incoming.write(data)
        header = self.wait(incoming.header(SliceList))
        assert (body.decoder.clean, body.decoder.ended) == (True, header.slices)
        return bytes(body.text).splitlines(keepends=True)


@define
class Body:
    """Slices in memory."""

    text: bytearray = field(factory=bytearray)
    decoder: SliceDecoder = field(factory=SliceDecoder)

    def write(self, data):
        for _, lines in self.decoder.feed(data):
            self.text += lines


def test_phases_follow_each_other() -> None:
    """Map, reduce, sort."""
    play = Play(make_lines(60), 1000)
    while play.job():
        pass
    assert play.phases == [(Phase.MAP, 0), (Phase.REDUCE, 0), (Phase.SORT, 0)]
    assert play.state is State.DONE
    assert play.server.read_answer(play.request) == expected(play.lines)


def test_both_sorts_merge_when_there_are_many_runs() -> None:
    """The rounds of merges are numbered through, so that none is taken for another."""
    play = Play(make_lines(200), 2)
    while play.job():
        pass
    names = [phase for phase, _ in play.phases]
    at = names.index(Phase.REDUCE)
    assert names[0] is Phase.MAP
    assert names[-1] is Phase.SORT
    assert set(names[1:at]) == set(names[at + 1 : -1]) == {Phase.MERGE}
    rounds = [round_ for phase, round_ in play.phases if phase is Phase.MERGE]
    assert rounds == list(range(len(rounds)))
    play.clock.pump([0.05] * 100)
    assert list(play.disk.spool.shelves) == [play.request]
    assert play.server.read_answer(play.request) == expected(play.lines)


@pytest.mark.parametrize("most_runs", [2, 1000])
def test_crash_after_any_job_changes_nothing(most_runs: int) -> None:
    """Every phase is taken up where it was, and an answer that was there is there again."""
    play = Play(make_lines(25), most_runs)
    while play.job():
        play.crash()
    play.crash()
    assert play.state is State.DONE
    assert play.server.read_answer(play.request) == expected(play.lines)
    kept = [phase for phase, _ in play.phases]
    assert kept[-1] is Phase.SORT
    assert kept.count(Phase.REDUCE) == 1


def test_program_that_reduces_to_nothing_ends_with_nothing(monkeypatch) -> None:
    """No sort is begun for it."""
    monkeypatch.setitem(globals(), "reduce", lambda lines: [])
    play = Play(make_lines(5), 1000)
    while play.job():
        pass
    assert play.phases == [(Phase.MAP, 0), (Phase.REDUCE, 0)]
    assert (play.state, play.server.read_answer(play.request)) == (State.DONE, b"")
