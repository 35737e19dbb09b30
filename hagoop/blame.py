"""What follows when the program fails on lines, or workers are lost with them in hand.

A failure narrows the lines that it may be about; on few of them it is tried as often as the request
allows, and then ends the request, or with ``--skip-bad-lines`` the one line is set aside.  Departures
only ever narrow and set aside: they never end a request.
"""

from collections.abc import Iterable

from hagoop import policy
from hagoop.errors import WorkerLost
from hagoop.experience import Prior, Record
from hagoop.jobs import Failure, WorkerId
from hagoop.leases import Decision, Lease, ProgramBroken, SetAside
from hagoop.progress import Progress
from hagoop.ranges import Range
from hagoop.requests import Request
from hagoop.suspicion import Death, History

FEW_LINES = 3
"""After so many bad lines, and not one good one, it is the program."""


def fails_again(lease: Lease, failure: Failure) -> bool:
    """Whether the program has failed on these lines before."""
    known = lease.progress.histories.concerning(failure.start)
    return known is not None and bool(known.history.failed_by)


def program_failed(lease: Lease, failure: Failure, workers: int) -> list[Decision]:
    """What to do about a failure; its lease is released.

    :param workers: how many are connected.
    """
    request, progress, worker = lease.request, lease.progress, lease.session.worker
    if request.may_skip(progress.phase):
        return _failed_skipping(request, progress, failure, worker)
    history = progress.histories.suspect(failure.start)
    history.failed(failure.end, worker)
    if request.is_hopeless(failure, history, workers):
        return _broken(request, progress, failure, history)
    return []


def _failed_skipping(
    request: Request, progress: Progress, failure: Failure, worker: WorkerId
) -> list[Decision]:
    """Narrow down to one line; of that the failures count."""
    history = progress.histories.suspect(failure.start)
    if failure.end - failure.start > 1:
        history.failed(failure.end, worker)
        return []
    history.failed_alone(failure.end, worker)
    return _line_failed(request, progress, failure, history)


def _line_failed(
    request: Request, progress: Progress, failure: Failure, history: History
) -> list[Decision]:
    """A single line has failed once more."""
    if len(history.failed_by) < request.program_attempts:
        return []
    nothing_works = not request.commits and request.set_aside >= FEW_LINES
    if nothing_works or request.set_aside >= request.most_bad_lines:
        return _broken(request, progress, failure, history)
    return _set_aside(request, progress, failure)


def _broken(
    request: Request, progress: Progress, failure: Failure, history: History
) -> list[Decision]:
    attempts = len(history.failed_by)
    return [ProgramBroken(request.id, progress.phase, failure, attempts, request.set_aside)]


def _set_aside(request: Request, progress: Progress, failure: Failure) -> list[Decision]:
    """Take one line out, unless somebody is at it: then that one's outcome decides."""
    line = Range(failure.start, failure.start + 1)
    if line not in progress.untouched:
        return []
    failed_by = progress.histories.at(failure.start).failed_by
    progress.commit_untouched(line)
    request.set_aside += 1
    return [SetAside(request.id, progress, failure, tuple(failed_by))]


def jobs_in_hand(leases: Iterable[Lease], slots: int) -> list[Lease]:
    """Those leases of one session that it worked on: announced, or the oldest."""
    return sorted(leases, key=lambda each: (not each.has_begun, each.leased))[:slots]


def death_of(lease: Lease, beside: int, record: Record, prior: Prior, now: float) -> Death:
    """What the loss of a worker says of the job that it had in hand.

    :param beside: how many other jobs it had in hand: each may have been it.
    """
    heard = max(lease.committed, lease.beat, lease.session.heard)
    seconds = min(now, heard + policy.BEAT_SECONDS) - lease.committed
    chance = record.chance_of_loss(prior, now, seconds)
    held, job = lease.stretch.open, lease.stretch.open
    if held.start < lease.job_end < held.end:
        job = lease.progress.edges_around(Range(held.start, lease.job_end), held)
    return Death(job.end, 1 - (1 - chance) / (1 + beside), not beside)


def worker_died(lease: Lease, head: int, death: Death) -> list[Decision]:
    """What to do about a loss; its lease is released.

    :param head: where the committed front was.
    """
    request, progress = lease.request, lease.progress
    history = progress.histories.at(head)
    progress.histories.losses += 1
    history.died(lease.session.worker, death, progress.histories.losses)
    killed = history.killed(head)
    may_skip = request.may_skip(progress.phase) and request.set_aside < request.most_bad_lines
    if not (killed and may_skip):
        return []
    told = f"{killed} workers were lost with it in hand"
    failure = Failure(lease.id, head, head + 1, WorkerLost.code, told, 0.0)
    return _set_aside(request, progress, failure)
