"""Jobs that came too late for lines that are done: did they give the same?

Of two copies of one range the first counts.  When the other comes all the same, its output is compared:
a program that gives different output for the same lines is not deterministic, and whoever reads the
answer should know.
"""

import hashlib
from typing import BinaryIO

from attrs import define
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from hagoop.docket import Docket
from hagoop.errors import BadMessage, RequestError, TransferFailed
from hagoop.frames import read_frames
from hagoop.interfaces import Arrived
from hagoop.jobs import Finished, Phase, State
from hagoop.phases import RequestData, read_run_index
from hagoop.requests import Given
from hagoop.sentences import not_deterministic

log = Logger()
EMPTY = hashlib.sha256().hexdigest()
PROGRAM_PHASES = (Phase.MAP, Phase.REDUCE)
MOST_WARNINGS = 5


@define(eq=False)
class Comparing:
    """Compares what comes late with what was taken."""

    docket: Docket

    def came_late(self, worker: str, job: Finished, arrived: Arrived | None) -> None:
        """A job does not count; its bytes are dropped when they are compared."""
        first = self._rival(job)
        given = Given(job.end, arrived.digest if arrived else EMPTY, None, worker)
        is_honest = given.digest == job.digest or not (arrived or job.size)
        if first is None or not is_honest or given.digest == first.digest:
            _drop(arrived)
            return
        comparing = Deferred.fromCoroutine(self._compare(job, first, given, arrived))
        comparing.addErrback(lambda reason: log.failure("comparing {job}", reason, job=job))

    def _rival(self, job: Finished) -> Given | None:
        """What was taken of exactly these lines."""
        account = self.docket.ledger.requests.get(job.request)
        if account is None or account.state is not State.RUNNING or job.phase not in PROGRAM_PHASES:
            return None
        if self.docket.data[job.request].step != account.step:
            # The next step is about to begin.
            return None
        first = account.given.get((job.phase, job.round, job.start))
        is_news = first is not None and first.end == job.end and len(account.warnings) < MOST_WARNINGS
        return first if is_news else None

    async def _compare(
        self, job: Finished, first: Given, late: Given, arrived: Arrived | None
    ) -> None:
        data = self.docket.data[job.request]
        found: list[tuple[str, str]] = []
        try:
            if data.prints_runs(job.phase):
                await self.docket.in_thread(lambda: found.append(_contents(data, first, arrived)))
            else:
                found.append((first.digest, late.digest))
        except (BadMessage, TransferFailed) as error:
            # What was taken is merged meanwhile, or what came is no run.
            log.debug("{job} cannot be compared: {error}", job=job.id, error=error)
            return
        finally:
            _drop(arrived)
        digests = found[0]
        if digests[0] != digests[1]:
            await self._warn(data, job, (first, late), digests)

    async def _warn(
        self,
        data: RequestData,
        job: Finished,
        given: tuple[Given, Given],
        digests: tuple[str, str],
    ) -> None:
        account = self.docket.ledger.requests.get(job.request)
        # One warning for one range.
        first = account.given.pop((job.phase, job.round, job.start), None) if account else None
        if first is None:
            return
        try:
            told = not_deterministic(data, job, given, digests)
        except RequestError:
            return
        log.warn("{request}: {told}", request=job.request, told=told)
        await self.docket.warn(job.request, told)


def _contents(data: RequestData, first: Given, arrived: Arrived | None) -> tuple[str, str]:
    """Digests of the lines of two runs: their bytes are compressed, which not all machines do alike."""
    digests = [EMPTY, EMPTY]
    if first.place is not None:
        with data.spool.open(first.place) as file:
            digests[0] = _content(file, first.place.size)
    if arrived is not None:
        with arrived.open() as file:
            digests[1] = _content(file, arrived.size)
    return digests[0], digests[1]


def _content(file: BinaryIO, size: int) -> str:
    index, digest = read_run_index(file, size), hashlib.sha256()
    file.seek(0)
    for frame in read_frames(file.read, index.data_end):
        digest.update(frame.unpack())
    return digest.hexdigest()


def _drop(arrived: Arrived | None) -> None:
    if arrived is not None:
        arrived.discard()
