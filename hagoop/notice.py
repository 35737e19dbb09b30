"""What a worker may still have that has said when it leaves: whatever fits into the time until then."""

from math import inf

from hagoop.leases import Lease, Session, TakeBack

LEAST_SECONDS = 2.0
"""With less time left a worker gets nothing more: it would hardly have begun."""


def fitted(
    lease: tuple[float, int], session: Session, speed: float, now: float
) -> tuple[float, int]:
    """A lease's seconds and weight, cut to the time that its holder will be there; 0: nothing fits."""
    (seconds, weight), left = lease, session.leaves_at - now
    if left == inf:
        return lease
    return min(seconds, left), _within(left, speed, weight)


def cut(lease: Lease, speed: float, seconds: float, now: float) -> list[TakeBack]:
    """Ask for the end of a lease that its holder cannot do in so many seconds."""
    fits = _within(seconds, speed, lease.open_weight)
    if fits >= lease.open_weight:
        return []
    return lease.ask_back(lease.progress.scale.advance(lease.stretch.front, fits), now)


def _within(seconds: float, speed: float, most: int) -> int:
    """How much of a weight fits into so many seconds: a peer says how many, and may say any number."""
    return int(max(0.0, min(seconds * speed, most)))


def told_presence(session: Session, doing: str, now: float) -> str:
    """What a worker does, for people, with what is known of its going."""
    if session.leaving:
        return session.why or "leaving"
    if session.leaves_at == inf:
        return doing
    return f"{doing}; for another {max(0.0, session.leaves_at - now):.0f} s"
