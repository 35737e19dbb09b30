"""Whether somebody else needs the machine: the rule of ``--idle-only``, and the counters that it reads.

The thresholds are those of HTCondor's default policy for desktops: nobody has touched the machine for a
quarter of an hour, and the programs of others take less than .3 of one processor; who works goes on
until they take half of one.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from math import inf

from attrs import define, field, frozen

UNTOUCHED_SECONDS = 900.0
"""How long nobody may have typed, or moved a mouse."""
QUIET_PROCESSORS = 0.3
"""What programs of others may take when work begins."""
BUSY_PROCESSORS = 0.5
"""What they must take for work to end; more than that to begin, or it would come and go."""
WINDOW_SECONDS = 60.0
"""Over how long what programs take is averaged."""
LEAST_WINDOW_SECONDS = 4.0

NOT_SEEN = "looking whether somebody uses this machine"
IN_USE = "in use by its owner"
BUSY = "busy with other programs"


@frozen
class Sight:
    """What is seen of a machine.

    :param untouched_seconds: since when nobody has typed or moved a mouse; ``inf``: nobody is there.
    :param others: processors that programs of others take; None: not known yet.
    """

    untouched_seconds: float
    others: float | None


def needed_by(sight: Sight, *, rests: bool) -> str:
    """Who needs the machine, for people; empty when nobody does.

    :param rests: whether the worker rests now: it begins later than it would go on.
    """
    if sight.untouched_seconds < UNTOUCHED_SECONDS:
        return IN_USE
    if sight.others is None:
        return NOT_SEEN
    return BUSY if sight.others >= (QUIET_PROCESSORS if rests else BUSY_PROCESSORS) else ""


@define
class Usage:
    """What programs of others have taken of the processors in the last minute."""

    _seen: deque[tuple[float, float]] = field(factory=deque)

    def add(self, now: float, processor_seconds: float) -> None:
        """So much they have taken until now, since some moment."""
        self._seen.append((now, processor_seconds))
        while len(self._seen) > 1 and now - self._seen[1][0] >= WINDOW_SECONDS:
            self._seen.popleft()

    @property
    def processors(self) -> float | None:
        """How many they have taken, on average; None before there is an average."""
        if not self._seen or self._seen[-1][0] - self._seen[0][0] < LEAST_WINDOW_SECONDS:
            return None
        (since, before), (now, taken) = self._seen[0], self._seen[-1]
        return max(0.0, taken - before) / (now - since)


@frozen
class Process:
    """A process as ``/proc/PID/stat`` shows it.

    :param ticks: of processor time, its own and that of its children that have ended.
    """

    parent: int
    ticks: int


def read_process(stat: str) -> Process:
    """A process, from the text of ``/proc/PID/stat``."""
    # Its name, in brackets, may hold anything.
    words = stat.rpartition(")")[2].split()
    return Process(int(words[1]), sum(map(int, words[11:15])))


def busy_ticks(stat: str) -> int:
    """What all programs and the kernel have taken, from the text of ``/proc/stat``."""
    user, nice, system, _, _, irq, softirq = map(int, stat.partition("\n")[0].split()[1:8])
    return user + nice + system + irq + softirq


def ticks_below(root: int, processes: Mapping[int, Process]) -> int:
    """What a process and all below it have taken."""
    return sum(processes[each].ticks for each in _tree(root, processes))


def _tree(root: int, processes: Mapping[int, Process]) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for number, process in processes.items():
        children.setdefault(process.parent, []).append(number)
    waiting = [root] if root in processes else []
    while waiting:
        yield (number := waiting.pop())
        waiting += children.get(number, [])


def untouched_since(properties: str, now: float) -> float:
    """Since when nobody has touched the graphical sessions that ``loginctl show-session`` shows.

    :param now: in seconds since 1970; returned where one of them is not idle.
    """
    blocks = [dict(_pairs(block)) for block in properties.strip().split("\n\n")]
    return max((_idle_since(each, now) for each in blocks), default=-inf)


def _idle_since(session: Mapping[str, str], now: float) -> float:
    if session.get("IdleHint") != "yes" or not session.get("IdleSinceHint", "").isdigit():
        return now
    return int(session["IdleSinceHint"]) / 1e6


def _pairs(block: str) -> Iterator[tuple[str, str]]:
    for line in block.splitlines():
        name, _, value = line.partition("=")
        yield name, value
