"""From phase to phase, from step to step, to the answer: each move is on disk before it is made."""

from functools import partial

from hagoop import wire
from hagoop.docket import Docket
from hagoop.errors import RequestError
from hagoop.jobs import Cover, Missing, Phase, RequestId, State
from hagoop.missing import cover_of, missing_lines, ranges_of
from hagoop.phases import NextPhase, RequestData
from hagoop.recorder import Fact
from hagoop.requests import Request
from hagoop.statuses import last_phase


async def advance(docket: Docket, request: RequestId) -> None:
    """A phase has ended: begin the next, or finish the request."""
    account, data = docket.ledger.requests[request], docket.data[request]
    if account.left_out and not await _close_map(docket, account, data):
        return
    following = await _following(docket, account, data)
    if account.state is not State.RUNNING:
        return
    if following is None:
        await _finish(docket, request)
        return
    fact: Fact = {
        "phase": following.phase,
        "round": data.round,
        "cut": data.cut,
        "thin": data.thin,
        "step": data.step,
        "wanted": data.wanted,
        "runs": wire.to_plain(following.reads),
    }
    await docket.recorder.record(request, "phase", fact, (), lambda: account.state is State.RUNNING)
    if account.state is State.RUNNING:
        _enter(docket, request, following)


async def _following(docket: Docket, account: Request, data: RequestData) -> NextPhase | None:
    phase = last_phase(account)
    found: list[NextPhase | None] = []
    await docket.in_thread(lambda: found.append(data.after(phase, account.outputs[phase])))
    return found[0]


def _enter(docket: Docket, request: RequestId, following: NextPhase) -> None:
    data = docket.data[request]
    data.drop_replaced()
    if following.phase is Phase.MAP:
        data.close_inputs()
        enter_step(docket, request)
        docket.begin(request)
        return
    docket.ledger.phase_began(request, following.phase, following.round, following.cumulative)
    docket.enact([])


def enter_step(docket: Docket, request: RequestId) -> None:
    """Another step's program runs from now on, on what the step before has printed if it maps."""
    data = docket.data[request]
    docket.ledger.step_began(request, data.step)
    if data.printed is not None:
        grown = partial(docket.grown, request)
        docket.counts.know(request, partial(data.printed.count, docket.in_thread, grown))


async def _close_map(docket: Docket, account: Request, data: RequestData) -> bool:
    """Part of the map is left out: put on disk what, before anything follows from it."""
    found: list[tuple[Missing, ...]] = []
    try:
        await docket.in_thread(lambda: found.append(missing_lines(data.inputs, account.left_out)))
    except RequestError as error:
        docket.fail(account.id, str(error))
        return False
    missing = found[0]
    cover = cover_of(data.inputs, missing)
    fact: Fact = {"missing": wire.to_plain(missing), "cover": wire.to_plain(cover)}
    # Not where what the end clears is recorded.
    shelf = data.answer_shelf
    await docket.recorder.record(shelf, "closed", fact, (), lambda: account.state is State.RUNNING)
    if account.state is State.RUNNING:
        map_closed(docket, account.id, missing, cover)
    return account.state is State.RUNNING


def map_closed(
    docket: Docket, request: RequestId, missing: tuple[Missing, ...], cover: Cover
) -> None:
    """What a request leaves out of its map is on disk."""
    account, data = docket.ledger.requests[request], docket.data[request]
    account.left_out, account.missing, account.cover = (), missing, cover
    if data.submission.steps == 1 and data.is_answer(Phase.MAP):
        data.answer.leave_out(ranges_of(missing))


async def _finish(docket: Docket, request: RequestId) -> None:
    answer = docket.data[request].answer
    digest = await answer.digest()
    if docket.data[request].answer is not answer:
        return  # It was set back.
    await docket.end(request, State.DONE, "", digest, answer.size)
