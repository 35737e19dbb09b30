"""Workers that live for a short time, die in every way there is, and come back."""

import heapq
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import count

from attrs import define, field
from cluster import Cluster, Part, until
from proxy import Link, Proxy

WAYS = ("exits from within", "segfault", "killed", "stopped, then killed", "link mute, then killed")
LINGER_SECONDS = 2.0, 5.0
"""How long a stopped or mute worker is still there."""
AWAY_SECONDS = 0.2, 1.0
EXIT_SECONDS = 0.5
EXIT_STATUS = 3
EXIT = """
import os, signal
signal.signal(signal.SIGALRM, lambda *_: os._exit({status}))
signal.setitimer(signal.ITIMER_REAL, {seconds})
"""
WORKER = "from hagoop.worker_tap import main; main()"


@define(eq=False)
class MortalPart(Part):
    """A worker that may exit from within.

    :ivar seconds: when its next life does so; 0: never.
    """

    seconds: float = 0.0

    def start(self) -> None:
        """Begin a life."""
        for each in self.folder.glob("*.pid"):
            # Of a life that was killed; by now another process may have its number.
            each.unlink()
        ends = EXIT.format(status=EXIT_STATUS, seconds=self.seconds) if self.seconds else ""
        self.words[2] = ends + WORKER
        super().start()


@define(eq=False)
class Mortal:
    """A worker with its link, and the dice that decide its lives.

    :ivar joined: how often it had joined when its last life began.
    """

    part: MortalPart
    link: Link
    dice: random.Random
    joined: int = 0


@define(eq=False)
class Churn:
    """Lets workers die, and starts them again, for a while.

    :ivar deaths: how many of each way there were.
    """

    mortals: list[Mortal]
    mean_seconds: float
    deaths: Counter[str] = field(factory=Counter)
    _due: list[tuple[float, int, Callable[[], None]]] = field(factory=list)
    _numbers: "count[int]" = field(factory=count)
    _ends: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread = field(init=False)
    _broken: list[BaseException] = field(factory=list)

    def begin(self) -> None:
        """Start everybody's first life."""
        for each in self.mortals:
            self._live(each)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self, *, heal: bool) -> None:
        """No more deaths: everybody begins a last, long life.

        :param heal: let the server know of the ends of mute links; else it has to find out.
        """
        self._ends.set()
        self._thread.join()
        if self._broken:
            raise self._broken[0]
        for each in self.mortals:
            each.part.kill()
            if heal:
                each.link.reset()
            each.part.seconds = 0.0
            each.joined = each.part.said("joined ")
            each.part.start()

    def _run(self) -> None:
        try:
            while not self._ends.is_set():
                due, _, act = heapq.heappop(self._due)
                if not self._ends.wait(max(0.0, due - time.monotonic())):
                    act()
        except BaseException as error:
            self._broken.append(error)

    def _in(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), act))

    def _live(self, mortal: Mortal) -> None:
        seconds = mortal.dice.expovariate(1 / self.mean_seconds)
        way = mortal.dice.choice(WAYS)
        mortal.part.seconds = max(0.01, seconds) if way == WAYS[0] else 0.0
        mortal.part.start()
        self._in(seconds, lambda: self._die(mortal, way))

    def _die(self, mortal: Mortal, way: str) -> None:
        self.deaths[way] += 1
        child = mortal.part.process
        assert child is not None
        # Time to exit by itself.
        lingers = EXIT_SECONDS if way == WAYS[0] else 0.0
        if way == "segfault":
            child.send_signal(signal.SIGSEGV)
        elif way == "killed":
            child.kill()
        elif way == "stopped, then killed":
            child.send_signal(signal.SIGSTOP)
            lingers = mortal.dice.uniform(*LINGER_SECONDS)
        elif way == "link mute, then killed":
            mortal.link.mute()
            lingers = mortal.dice.uniform(*LINGER_SECONDS)
        self._in(lingers, lambda: self._bury(mortal))

    def _bury(self, mortal: Mortal) -> None:
        mortal.part.kill()
        self._in(mortal.dice.uniform(*AWAY_SECONDS), lambda: self._live(mortal))


def make_churn(cluster: Cluster, proxy: Proxy, workers: int, mean_seconds: float, seed: int) -> Churn:
    """So many workers, each behind a link of its own; nobody lives yet."""
    mortals = []
    for number in range(workers):
        link = proxy.add(cluster.commands, cluster.web)
        part = add_worker(cluster, f"{link.host}:{cluster.commands}")
        mortals.append(Mortal(part, link, random.Random(f"{seed} {number}")))
    return Churn(mortals, mean_seconds)


def add_worker(cluster: Cluster, server: str) -> MortalPart:
    """One more worker, not started yet, which will know the server by this address."""
    name = f"worker-{len(cluster.workers) + 1}"
    folder = cluster.folder / name
    folder.mkdir()
    words = [sys.executable, "-c", WORKER, "-n", "--server", server, "--name", name, "--slots", "1"]
    part = MortalPart(folder, [*words, "--state", str(folder / "state")], cluster.env)
    cluster.workers.append(part)
    return part


def await_all(churn: Churn) -> None:
    """Wait until every worker has joined in its last life."""
    for each in churn.mortals:
        until(lambda each=each: each.part.said("joined ") > each.joined, 60, "the last Join")
