"""The ten kinds of fleets, in numbers: how their machines come, last, tire and go.

Each was described in words and recorded once; the numbers were read off the recordings.
"""

from collections.abc import Mapping
from math import inf, log

from attrs import evolve, frozen

Bounds = tuple[float, float]


def _dies(chance: float) -> Bounds:
    """Mean life of what dies with this chance in each tenth of a second."""
    mean = 0.1 / -log(1 - chance)
    return mean, mean


@frozen
class Habit:
    """Machines of a sort; what has two bounds is drawn for each machine, evenly in its logarithm.

    :param span: the fastest but one in a hundred beside the slowest but one; ``slowness``: on top of it.
    :param life: the scale of a session's length, which is Weibull with this ``shape``; seconds.
    :param gap: mean seconds between sessions.
    :param even_gap: whether a gap is drawn evenly from its bounds, and not from all there may be.
    :param renewed: how often one comes back with another identity.
    :param silent: how often a session ends without a word; ``hang``: stays open, and nothing moves.
    :param joins_at: seconds, ``joins_in``: of the fleet's own; ``late``: mean seconds after them,
        likewise.
    :param tires: mean seconds until it turns slow; ``rests``: until it is fast again.
    :param gone_in: when it leaves for good, in shares of the fleet's seconds; ``gone_silent``: how
        often so.
    :param group_life: mean seconds until all of its group, an eighth of the fleet, are taken away at
        once.
    """

    kind: str = "ok"
    span: float = 1.5
    slowness: float = 1.0
    round_trip: Bounds = (0.001, 0.001)
    start: Bounds = (0.004, 0.02)
    transfer: Bounds | None = None
    life: Bounds = (inf, inf)
    shape: Bounds = (1.0, 1.0)
    gap: Bounds = (1.0, 1.0)
    even_gap: bool = False
    renewed: float = 0.0
    silent: float = 0.0
    hang: float = 0.0
    joins_at: float = 0.0
    joins_in: float = 0.0
    late: float = 0.0
    tires: float = inf
    rests: float = inf
    gone_in: float = inf
    gone_silent: float = 0.0
    group_life: float = inf


@frozen
class FleetKind:
    """A kind of fleet.

    :param workers: how many, unless told; ``seconds``: of capacity.
    :param sorts: machines, and how many shares of the fleet they are.
    :param even: whether its work is as much for each line; else for each stretch, lognormal.
    :param heavy: lines that take ``heavy_seconds`` each, for each reference second of work.
    """

    workers: int
    seconds: float
    sorts: tuple[tuple[float, Habit], ...]
    commit_cost: float = 0.01
    line_seconds: float = 0.001
    even: bool = True
    heavy: float = 0.0
    heavy_seconds: float = 0.0


_OFFICE = Habit(
    span=3,
    round_trip=(0.002, 0.01),
    start=(0.05, 0.2),
    life=(3600, 3600),
    gap=(300, 300),
    silent=0.07,
    hang=0.04,
    tires=1800,
    rests=600,
)
_HOME = Habit(
    span=50,
    round_trip=(0.05, 0.4),
    start=(0.2, 1.5),
    transfer=(3e-6, 3e-4),
    life=(500, 6000),
    shape=(0.4, 0.6),
    gap=(330, 2800),
    renewed=0.1,
    silent=0.28,
    hang=0.055,
    tires=7200,
    rests=900,
)
_WILD = Habit(
    span=50,
    round_trip=(0.02, 0.3),
    start=(0.05, 1.0),
    life=(10, 36000),
    gap=(4, 60),
    renewed=0.5,
    silent=0.21,
    hang=0.03,
)
_SPOT = Habit(
    span=2,
    round_trip=(0.002, 0.02),
    start=(0.1, 0.5),
    life=(7200, 7200),
    gap=(40, 120),
    even_gap=True,
    renewed=1.0,
    group_life=1000,
)
_CALM = Habit(
    span=1.5, round_trip=(0.001, 0.003), start=(0.05, 0.2), life=(1.8e6, 1.8e6), tires=86400, rests=60
)
_FIRST = Habit(span=3, round_trip=(0.01, 0.06), start=(0.1, 0.5), life=(7200, 7200), gap=(300, 300))
_CROWD = Habit(
    span=50,
    round_trip=(0.05, 0.4),
    start=(0.1, 1.0),
    life=(15, 1500),
    shape=(0.45, 0.45),
    gap=(60, 300),
    renewed=0.27,
    silent=0.21,
    hang=0.03,
    joins_in=1 / 3,
    late=0.03,
)
_STAYING = Habit(span=4, round_trip=(0.01, 0.1), start=(0.1, 0.5), life=(7200, 7200), gap=(300, 300))
_DYING = evolve(_STAYING, gone_in=0.5, gone_silent=0.45)
_ROUGH = Habit(
    span=10,
    round_trip=(0.02, 0.2),
    start=(0.05, 0.5),
    life=(60, 7200),
    gap=(20, 25),
    renewed=0.5,
    silent=0.21,
    hang=0.09,
)
_FAST = Habit(gap=(1.0, 1.0), renewed=1.0)

KINDS: Mapping[str, FleetKind] = {
    "office-lab": FleetKind(100, 600, ((1, _OFFICE),)),
    "home-volunteers": FleetKind(300, 1800, ((1, _HOME),), even=False),
    "wild-churn": FleetKind(200, 600, ((1, _WILD),)),
    "spot": FleetKind(100, 900, ((1, _SPOT),), even=False),
    "seed-mix": FleetKind(
        60,
        20,
        (
            (10, _FAST),
            *(
                (10, evolve(_FAST, life=_dies(p), joins_at=t))
                for t, p in enumerate((0.25, 0.45, 0.65, 0.85), 1)
            ),
            (10, evolve(_FAST, kind="evil")),
        ),
        commit_cost=0.002,
        line_seconds=0.0002,
    ),
    "seed-terrible": FleetKind(
        101,
        20,
        ((100, evolve(_FAST, life=_dies(0.75))), (1, evolve(_FAST, joins_at=3))),
        commit_cost=0.002,
        line_seconds=0.0002,
    ),
    "calm": FleetKind(200, 300, ((98, _CALM), (2, evolve(_CALM, slowness=8))), even=False),
    "flash-crowd": FleetKind(300, 600, ((5, _FIRST), (95, _CROWD))),
    "half-die": FleetKind(200, 600, ((1, _DYING), (1, _STAYING)), heavy=40 / 95000, heavy_seconds=10),
    "hostile": FleetKind(
        200,
        300,
        (
            (45, _ROUGH),
            (15, evolve(_ROUGH, tires=300, rests=180)),
            (20, evolve(_ROUGH, kind="bad")),
            (20, evolve(_ROUGH, kind="evil")),
        ),
        heavy=20 / 35000,
        heavy_seconds=5,
    ),
}
"""By name."""
