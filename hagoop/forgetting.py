"""Requests that ended long ago are forgotten."""

from twisted.logger import Logger

from hagoop.docket import Docket
from hagoop.errors import StateError, UnknownRequest
from hagoop.jobs import RequestId

log = Logger()


async def forget_old(docket: Docket, keep_seconds: float) -> None:
    """Forget what ended longer ago than that; one that cannot be does not keep the others."""
    for request in docket.ages.older_than(keep_seconds):
        await _forget(docket, request)


async def _forget(docket: Docket, request: RequestId) -> None:
    try:
        await docket.forget(request)
    except (UnknownRequest, StateError):
        # Its client was faster; or the server ends, and its next life goes on from here.
        return
    except Exception:
        log.failure("forgetting {request}", request=request)
