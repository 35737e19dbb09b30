"""What a world is like, and what happens in it, drawn from its seed."""

from random import Random

from attrs import frozen
from world.programs import MAPPERS, PICKY, REDUCERS, TOTAL, Step, Task

LONG = b"long" * 300
POOL = (
    b"", b"\t", b"a", b"a\t1", b"a\t2", b"a b a c", b"a\x01\tx", b"a\x00\t1", b"b\r", b"\xff\xfe\tq",
    b" ", b"hot\t1", b"hot\t2", b"hot\t3", b"hot", b"z" * 50, LONG, LONG + b"\tv", b"k\t" + LONG,
)  # fmt: skip
KINDS = ("cut", "cut", "stall", "half stall", "die", "half die")


@frozen
class Errand:
    """What a user wants of one request.

    :ivar kills: how often his client is killed.
    :ivar cancels: whether he gives up.
    :ivar again: whether his client says everything twice.
    :ivar ships: whether he ships a file with his programs.
    :ivar detaches: whether he only submits it, and waits for it later.
    :ivar looks: how often somebody looks how it stands.
    """

    task: Task
    begins: float
    kills: int
    cancels: bool
    again: bool
    ships: bool
    detaches: bool
    looks: int


@frozen
class Worker:
    """One worker's machine.

    :ivar life_seconds: after how long, in the mean, something ends it.
    :ivar line_seconds: what a line takes there.
    """

    name: str
    slots: int
    life_seconds: float
    line_seconds: float
    ends: tuple[str, ...]


@frozen
class ServerEnd:
    """The server's end.

    :ivar gently: as SIGTERM has it.
    :ivar operations: so many are begun on its disk, and the last is not done; 0: it ends at that time.
    """

    time: float
    gently: bool
    operations: int
    power: bool
    down_seconds: float


@frozen
class Scenario:
    """All that was drawn before the world began."""

    seed: int
    errands: tuple[Errand, ...]
    workers: tuple[Worker, ...]
    server_ends: tuple[ServerEnd, ...]
    trouble_seconds: float
    latency: float
    spikes: float
    piece: int
    link_seconds: float
    pause_seconds: float
    partition_seconds: float
    thread_seconds: float
    most_runs: int
    small_bytes: int
    spill_bytes: int
    segment_bytes: int
    server_sees: bool
    steady: bool
    leavers: float
    failures: int


NEVER = float("inf")


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    chance = Random(f"scenario {seed}")
    pick = chance.choice
    seconds = pick([5.0, 15.0, 30.0])
    pace = pick([0.002, 0.02, 0.1, 0.4])
    troubled = chance.random() < 0.9
    return Scenario(
        seed=seed,
        errands=tuple(_errand(chance, seconds) for _ in range(pick([1, 1, 2, 3]))),
        workers=tuple(_worker(chance, each, pace, troubled) for each in range(pick([1, 2, 2, 3, 5]))),
        server_ends=tuple(
            _server_end(chance, seconds) for _ in range(pick([0, 1, 1, 2, 4]) * troubled)
        ),
        trouble_seconds=seconds,
        latency=pick([0.0002, 0.002, 0.02, 0.1]),
        spikes=pick([0.0, 0.0, 0.02, 0.1]),
        piece=pick([1 << 16, 1 << 16, 1 << 16, 1460, 300]),
        link_seconds=pick([NEVER, 4.0, 1.0, 0.3]) if troubled else NEVER,
        pause_seconds=pick([NEVER, NEVER, 8.0]) if troubled else NEVER,
        partition_seconds=pick([NEVER, NEVER, 10.0]) if troubled else NEVER,
        thread_seconds=pick([0.0005, 0.0005, 0.01]),
        most_runs=pick([128, 4, 3]),
        small_bytes=pick([1 << 16, 1 << 16, 200]),
        spill_bytes=pick([1 << 20, 1 << 20, 300]),
        segment_bytes=pick([256 << 20, 2000]),
        server_sees=chance.random() < 0.6,
        steady=chance.random() < 0.5,
        leavers=pick([0.0, 0.5, 1.0]),
        failures=pick([0, 0, 1]) if troubled else 0,
    )


def _errand(chance: Random, seconds: float) -> Errand:
    return Errand(
        task=_task(chance),
        begins=chance.random() * seconds / 3,
        kills=chance.choice([0, 0, 1, 2]),
        cancels=chance.random() < 0.1,
        again=chance.random() < 0.5,
        ships=chance.random() < 0.3,
        detaches=chance.random() < 0.3,
        looks=chance.choice([0, 0, 3]),
    )


def _task(chance: Random) -> Task:
    names = [f"file-{number}" for number in range(chance.choice([1, 1, 2, 3]))]
    steps = tuple(_step(chance) for _ in range(chance.choice([1, 1, 1, 2])))
    return Task(tuple((each, _data(chance)) for each in names), steps)


def _data(chance: Random) -> bytes:
    pool = [chance.choice(POOL) for _ in range(chance.choice([1, 4, 12]))]
    pool += [b"w%d\t%d" % (chance.randrange(9), chance.randrange(99)) for _ in range(12)]
    lines = [chance.choice(pool) + b"\n" for _ in range(chance.choice([0, 1, 5, 20, 40]))]
    data = b"".join(lines)
    return data[:-1] if chance.random() < 0.3 else data


def _step(chance: Random) -> Step:
    mapper = chance.choice([None, TOTAL, *(each for each in MAPPERS if each != PICKY)])
    reducer = chance.choice([None, TOTAL, *REDUCERS, *REDUCERS])
    combiner = "join" if reducer == "join" and chance.random() < 0.5 else None
    return Step(mapper, reducer, combiner, combine=chance.random() < 0.3)


def _worker(chance: Random, number: int, pace: float, troubled: bool) -> Worker:
    ends = ("kill", "kill", "vanish", "leave")
    return Worker(
        name=f"worker-{number}",
        slots=chance.choice([1, 1, 2]),
        life_seconds=chance.choice([NEVER, 20.0, 5.0, 1.5]) if troubled else NEVER,
        line_seconds=pace * chance.choice([0.3, 1.0, 1.0, 5.0]),
        ends=tuple(chance.sample(ends, chance.choice([1, 4]))),
    )


def _server_end(chance: Random, seconds: float) -> ServerEnd:
    return ServerEnd(
        time=chance.random() * seconds,
        gently=chance.random() < 0.2,
        operations=chance.choice([0, 1, 2, 5, 12]),
        power=chance.random() < 0.5,
        down_seconds=chance.choice([0.1, 1.0, 4.0, 12.0]) * (0.5 + chance.random()),
    )
