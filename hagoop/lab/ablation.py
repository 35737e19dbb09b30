"""The product with a part taken away, or for another server: what that part was worth.

The server's own code knows nothing of this: methods and constants of it are replaced while a trial runs.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf

from attrs import evolve, frozen

from hagoop import policy
from hagoop.experience import Prior, Record, Usual
from hagoop.fleet import Fleet
from hagoop.jobs import Finished, Phase, Program
from hagoop.lab.machine import Machine
from hagoop.lab.product import Product
from hagoop.leases import Close, Decision, Lease, Session
from hagoop.leasing import Leasing
from hagoop.progress import Progress
from hagoop.requests import Request
from hagoop.tail import Tail


@frozen
class Replaced:
    """An attribute of a module or a class, and what stands for it."""

    owner: object
    name: str
    by: object


def _nothing(*args: object, **kwargs: object) -> None:
    """For methods that only do something."""


def _none(*args: object, **kwargs: object) -> list[Decision]:
    """For methods that decide."""
    return []


def _close(tail: Tail, lease: Lease) -> list[Decision]:
    """The hard deadline: its session ends, and it is not known of the range that it was late."""
    tail.fleet.records[lease.session.worker].missed(tail.now)
    return [Close(lease.session.id, "it missed a deadline")]


def _life_of_all(record: Record, prior: Prior, now: float) -> float:
    return prior.b / prior.a


def _speed_of_all(
    fleet: Fleet, session: Session, request: Request, phase: Phase, known: Usual | None
) -> float:
    return known.speed if known and known.known else policy.GUESSED_SPEED[phase]


def _joined_as_new(product: Product, session: int, identity: str) -> None:
    _JOINED(product, session, f"{identity} {session}")


def _all_time(record: Record, now: float) -> float:
    return 0.0 if record.online_since is None else max(0.0, now - record.online_since)


def _delivered(record: Record, now: float) -> None:
    record.committed += 1
    record.stalled_since = None


def _stall(record: Record, now: float) -> None:
    record.stalled_since = now if record.stalled_since is None else record.stalled_since


def _learn_work(fleet: Fleet, lease: Lease, weight: int, job: Finished, now: float) -> None:
    _LEARN(fleet, lease, weight, job, now)
    fleet.records[lease.session.worker].exposure += job.seconds


_JOINED, _LEARN = Product.joined, Fleet.learn
_FIXED = Replaced(Program, "has_fixed_jobs", lambda program, phase: True)
_NO_TAKING_BACK = (
    Replaced(Lease, "ask_back", _none),
    Replaced(Lease, "movable_weight", 0),
    Replaced(Tail, "_cut_if_mute", _nothing),
)
_NO_COPIES = (
    Replaced(Progress, "want_copy", _nothing),
    Replaced(policy, "is_worth_copying", lambda *args: False),
)
_WORK_COUNTS = Replaced(Fleet, "learn", _learn_work)


def _jobs_of(seconds: float) -> tuple[Replaced, ...]:
    return (Replaced(policy, "commit_seconds", lambda *args: seconds),)


PARTS: Mapping[str, Sequence[Replaced]] = {
    "tail": (*_NO_TAKING_BACK, *_NO_COPIES),
    "take-back": _NO_TAKING_BACK,
    "copies": _NO_COPIES,
    "promises": (Replaced(Leasing, "promise", _nothing),),
    "cut-short": (Replaced(Machine, "_cut", _nothing), _FIXED),
    "soft-deadline": (
        Replaced(Tail, "_missed", lambda tail, lease, mute: _close(tail, lease)),
        Replaced(Progress, "misses", lambda progress, head: 0),
    ),
    "deadlines": (Replaced(Tail, "deadlines", _none),),
    "hazard": _jobs_of(1.0),
    "hazard-5s": _jobs_of(5.0),
    "fleet-prior": (Replaced(Fleet, "refit", _nothing),),
    "own-hazard": (Replaced(Record, "expected_life", _life_of_all),),
    "ask-ahead": (Replaced(Machine, "_ask_in_time", _nothing),),
    "beats": (Replaced(policy, "BEAT_SECONDS", 1.0),),
    "beats-5s": (Replaced(policy, "BEAT_SECONDS", 5.0),),
    "shrinking": (Replaced(policy, "share_seconds", lambda *args: inf),),
    "first-lease": (Replaced(policy, "FIRST_LEASE_SECONDS", inf),),
    "own-speed": (Replaced(Fleet, "_speed", _speed_of_all),),
    "identities": (Replaced(Product, "joined", _joined_as_new),),
    "last-jobs": (Replaced(policy, "END_SHARES", 1e-9),),
    "quick-review": (Replaced(policy, "LEAST_REVIEW_SECONDS", policy.BEAT_SECONDS),),
    "earned-time": (Replaced(Record, "_running", _all_time), Replaced(Record, "delivered", _delivered)),
    "miss-counts": (Replaced(Record, "missed", _stall),),
    "time-alone": (_WORK_COUNTS,),
    "connected-time": (_WORK_COUNTS, Replaced(Record, "_running", lambda record, now: 0.0)),
}
"""What takes a part away from the product, by the part's name."""


@contextmanager
def without(parts: Sequence[str]) -> Iterator[None]:
    """Let the product be without these parts meanwhile."""
    kept: list[Replaced] = []
    try:
        for each in (made for part in parts for made in PARTS[part]):
            kept.append(evolve(each, by=vars(each.owner)[each.name]))
            setattr(each.owner, each.name, each.by)
        yield
    finally:
        for each in reversed(kept):
            setattr(each.owner, each.name, each.by)


@contextmanager
def messages_per_second(most: float | None) -> Iterator[None]:
    """Let the policy plan for a server that takes so many; None: as many as it does anyway."""
    kept = policy.MESSAGES_PER_SECOND
    policy.MESSAGES_PER_SECOND = kept if most is None else most
    try:
        yield
    finally:
        policy.MESSAGES_PER_SECOND = kept
