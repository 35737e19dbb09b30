"""Bugs as they could be in the product, to be planted there: worlds must find them."""

import secrets
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import succeed

from hagoop.client import Client
from hagoop.commands import Submit
from hagoop.journal import Journal
from hagoop.scheduler import Scheduler
from hagoop.stored import Segment, StoredFile
from hagoop.worker import Worker

Plant = Callable[[Any], None]


def told_before_it_is_on_disk(patch: Any) -> None:
    """The journal says that a row is written when it is queued."""
    enqueue = Journal._enqueue

    def hasty(journal: Any, write: Any) -> Any:
        enqueue(journal, write).addErrback(lambda _: None)
        return succeed(None)

    patch.setattr(Journal, "_enqueue", hasty)


def late_jobs_are_welcome(patch: Any) -> None:
    """A commit counts, the worker is told, though its lines are another's."""
    commit = Scheduler.commit

    async def kind(scheduler: Any, session: Any, job: Any, arrived: Any) -> bool:
        if scheduler.ledger.accepts(session.id, job):
            return await commit(scheduler, session, job, arrived)
        if arrived is not None:
            arrived.discard()
        return True

    patch.setattr(Scheduler, "commit", kind)


def committed_twice(patch: Any) -> None:
    """What is committed may be committed again."""
    commit = Scheduler.commit

    async def eager(scheduler: Any, session: Any, job: Any, arrived: Any) -> bool:
        counts = await commit(scheduler, session, job, arrived)
        if counts and job.request in scheduler.docket.data:
            account = scheduler.ledger.requests[job.request]
            await scheduler.docket.store(job.request, account.progress, job, None)
        return counts

    patch.setattr(Scheduler, "commit", eager)


def nobody_asks_again(patch: Any) -> None:
    """Slots that wait for a link do not hear of the next one."""
    take, seen = Worker._take_waiting, set()

    def forgetful(worker: Any) -> Any:
        waiting, known = take(worker), worker.process in seen
        seen.add(worker.process)
        return [] if known else waiting

    patch.setattr(Worker, "_take_waiting", forgetful)


def bytes_are_not_synced(patch: Any) -> None:
    """Rows are on disk before the bytes that they name."""
    patch.setattr(Segment, "_sync", lambda *_: None)
    patch.setattr(StoredFile, "sync", lambda stored: stored._file.close())


def submissions_have_new_keys(patch: Any) -> None:
    """A client that sends its submission again sends another."""
    call = Client.call

    async def forgetful(client: Any, command: Any, **arguments: Any) -> Any:
        if command is Submit:
            arguments["key"] = secrets.token_hex(16)
        return await call(client, command, **arguments)

    patch.setattr(Client, "call", forgetful)


def workers_forget_nothing(patch: Any) -> None:
    """What was kept for a request stays."""
    patch.setattr(Worker, "forget", lambda *_: None)


PLANTS: dict[Plant, int] = {
    told_before_it_is_on_disk: 0,
    late_jobs_are_welcome: 48,
    committed_twice: 0,
    nobody_asks_again: 0,
    bytes_are_not_synced: 0,
    submissions_have_new_keys: 1,
    workers_forget_nothing: 0,
}
"""The bugs, each with a seed that finds it."""
