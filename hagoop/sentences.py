"""What is said of a request that failed: what, where, and what to do."""

from hagoop.errors import RequestError
from hagoop.jobs import Failure, Phase, RequestId
from hagoop.leases import ProgramBroken
from hagoop.ledger import Ledger
from hagoop.phases import RequestData

LAST_WORDS = 300
"""How many characters of a program's stderr a sentence ends with."""
MOST_NAMES = 5


def program_broken(data: RequestData, broken: ProgramBroken) -> str:
    """``the mapper failed 4 times on a.txt, lines 3-4: it ended with exit status 1; it said: ...``

    With several steps ``the mapper of step 1 of 2 failed ...``.
    """
    failure = broken.failure
    times = "once" if broken.attempts == 1 else f"{broken.attempts} times"
    place = _place(data, broken.phase, failure)
    said = _last_words(failure.log)
    name = data.submission.step_name(data.step)
    step = f" of {name}" if name else ""
    return f"the {_role(broken.phase)}{step} failed {times} on {place}: {failure.message}{said}"


def nobody_fit(ledger: Ledger, request: RequestId) -> str:
    """``no connected worker can run this: map is not on this machine (lab1, lab2)``"""
    names = {each.worker: each.name for each in ledger.fleet.sessions.values()}
    causes: dict[str, list[str]] = {}
    for worker, cause in ledger.requests[request].unfit.items():
        if worker in names:
            causes.setdefault(cause, []).append(names[worker])
    told = "; ".join(f"{cause} ({_names(found)})" for cause, found in causes.items())
    account = ledger.requests[request]
    step = account.submission.step_name(account.step) or "this"
    return f"no connected worker can run {step}: {told}"


def _names(names: list[str]) -> str:
    if len(names) <= MOST_NAMES:
        return ", ".join(names)
    return f"{', '.join(names[:MOST_NAMES])} and {len(names) - MOST_NAMES} more"


def _role(phase: Phase) -> str:
    return {Phase.MAP: "mapper", Phase.REDUCE: "reducer"}.get(phase, str(phase))


def _place(data: RequestData, phase: Phase, failure: Failure) -> str:
    if phase is not Phase.MAP:
        return _keys(data, failure) if phase is Phase.REDUCE else "sorted runs"
    try:
        pieces = data.inputs.pieces(failure.start, failure.end)
        first, last = pieces[0], pieces[-1]
    except (RequestError, IndexError):
        return f"lines {failure.start + 1}-{failure.end} of the input"
    name = first.name if data.printed is None else f"the {first.name}"
    end = last.file_line + last.end - last.start
    if len(pieces) > 1:
        return f"{name}, line {first.file_line + 1}, to {last.name}, line {end}"
    lines = f"line {end}" if end == first.file_line + 1 else f"lines {first.file_line + 1}-{end}"
    return f"{name}, {lines}"


def _keys(data: RequestData, failure: Failure) -> str:
    bounds = data.cells.bounds
    low = bounds[failure.start] if failure.start < len(bounds) else b""
    since = f"from {_shown(low)} on" if low else "from the first on"
    until = f" to before {_shown(bounds[failure.end])}" if failure.end < len(bounds) else ""
    return f"the keys {since}{until}"


def _shown(key: bytes) -> str:
    return repr(key[:60].decode("utf-8", "backslashreplace"))


def _last_words(log: str) -> str:
    lines = [each for each in log.strip().splitlines() if each.strip()]
    return f"; it said: {lines[-1].strip()[-LAST_WORDS:]}" if lines else ""
