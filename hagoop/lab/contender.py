"""What is put to the test in the lab: a scheduler, as machines meet it over a network."""

from math import inf

from attrs import frozen
from zope.interface import Attribute, Interface


@frozen
class Grant:
    """Work for a machine: the lines ``start`` to ``end - 1``.

    :param commit_seconds: how long each job of it should take.
    :param whole: whether all of it is one job, so that nothing counts before its end.
    """

    id: str
    start: int
    end: int
    commit_seconds: float = inf
    whole: bool = False


@frozen
class Job:
    """A job that has ended on a machine, and asks to be committed.

    :param seconds: from its program's start to its end; ``overhead``: what it cost besides.
    """

    id: str
    start: int
    end: int
    seconds: float
    overhead: float


@frozen
class Sight:
    """What a Beat says of one grant: where the job in hand ends, and how many lines were taken."""

    id: str
    job_end: int
    done: int


class IContender(Interface):
    """A scheduler.  Everything is told when it arrives; what it says goes through ``INetwork``."""

    finished = Attribute("Whether all lines are committed.")
    beat_seconds = Attribute("How often machines tell how far they are.")
    review_seconds = Attribute("How often ``review`` is called.")

    def begin(lines: int) -> None:
        """There is so much to do."""

    def joined(session: int, identity: str) -> None:
        """A machine's session begins."""

    def asked(session: int) -> None:
        """It wants work; the answer may come at any time."""

    def beat(session: int, seen: Sight | None) -> None:
        """It lives, and may be at something."""

    def committed(session: int, job: Job) -> tuple[bool, float]:
        """Whether a job counts, and how long the next ones should take (0: as before)."""

    def stopped(session: int, grant: str, end: int) -> None:
        """It was asked to stop early, and will at ``end``."""

    def returned(session: int, grant: str) -> None:
        """It has dropped a grant, as it was told."""

    def leaving(session: int, seconds: float) -> None:
        """It will be gone in so many seconds."""

    def closed(session: int, failed: bool) -> None:
        """Its session is over; ``failed`` unless it gave notice."""

    def review() -> None:
        """Some time has passed."""

    def seconds_left() -> tuple[float, float] | None:
        """Its guess of the rest: P50 and P90; None where it has none."""


class INetwork(Interface):
    """What a scheduler may say to machines.  It takes half a round trip to arrive, if it does."""

    def now() -> float:
        """Virtual seconds."""

    def way(session: int) -> float:
        """Seconds of a round trip to it, as it has measured."""

    def grant(session: int, grant: Grant, *, copy: bool = False) -> None:
        """Give it work that it has asked for; ``copy``: that another has too."""

    def take_back(session: int, grant: str, end: int) -> None:
        """Ask it to stop at ``end``."""

    def cancel(session: int, grant: str) -> None:
        """Let it drop the grant."""

    def close(session: int) -> None:
        """End its session."""
