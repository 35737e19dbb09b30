"""What is said of a request that failed: what, where, and what to do."""

from hagoop.errors import RequestError
from hagoop.jobs import BadLine, Failure, Finished, Phase, RequestId
from hagoop.leases import ProgramBroken
from hagoop.ledger import Ledger
from hagoop.phases import RequestData
from hagoop.requests import Given

LAST_WORDS = 300
"""How many characters of a program's stderr a sentence ends with."""
MOST_NAMES = 5
MOST_PLACE = 300
"""Characters of a place in a warning, of which a status holds several."""


def program_broken(data: RequestData, broken: ProgramBroken) -> str:
    """``the mapper failed 4 times on a.txt, lines 3-4: it ended with exit status 1; it said: ...``

    With several steps ``the mapper of step 1 of 2 failed ...``.
    """
    failure = broken.failure
    place = _place(data, broken.phase, failure)
    said = _last_words(failure.log)
    name = data.submission.step_name(data.step)
    step = f" of {name}" if name else ""
    often = _how_often(data, broken)
    return f"the {_role(broken.phase)}{step} {often} on {place}: {failure.message}{said}"


def _how_often(data: RequestData, broken: ProgramBroken) -> str:
    """``failed 4 times``, or ``fails on more than 2 lines, at last`` where some may be passed over."""
    most = data.program.skip_bad_lines
    if not broken.set_aside:
        return "failed once" if broken.attempts == 1 else f"failed {broken.attempts} times"
    if broken.set_aside < most:
        return f"fails on each of the first {broken.set_aside + 1} lines tried, at last"
    return f"fails on more than {most} line{'s' if most > 1 else ''}, at last"


def bad_line(data: RequestData, failure: Failure) -> BadLine:
    """What is told of a line that is passed over.

    :raises NoSuchInput: its file has changed.
    """
    [piece] = data.inputs.pieces(failure.start, failure.start + 1)
    return BadLine(
        position=failure.start,
        file=piece.name,
        line=piece.file_line + 1,
        offset=piece.offset,
        how=failure.message[:LAST_WORDS],
        last_words=last_words(failure.log),
        step=data.step + 1,
    )


def not_deterministic(
    data: RequestData, job: Finished, given: tuple[Given, Given], digests: tuple[str, str]
) -> str:
    """``Not deterministic: a.txt, lines 3-9 gave 12ab on lab1 and 98fe on lab2; the first was taken``"""
    place = _place(data, job.phase, job)
    pairs = zip(digests, given, strict=True)
    told = [f"{digest} on {each.worker or 'a worker'}" for digest, each in pairs]
    return f"Not deterministic: {place[:MOST_PLACE]} gave {' and '.join(told)}; the first was taken"


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


def _place(data: RequestData, phase: Phase, failure: Failure | Finished) -> str:
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


def _keys(data: RequestData, failure: Failure | Finished) -> str:
    bounds = data.cells.bounds
    low = bounds[failure.start] if failure.start < len(bounds) else b""
    since = f"from {_shown(low)} on" if low else "from the first on"
    until = f" to before {_shown(bounds[failure.end])}" if failure.end < len(bounds) else ""
    return f"the keys {since}{until}"


def _shown(key: bytes) -> str:
    return repr(key[:60].decode("utf-8", "backslashreplace"))


def last_words(log: str) -> str:
    """The last line of a program's stderr that says something, in bounded length."""
    lines = [each for each in log.strip().splitlines() if each.strip()]
    return lines[-1].strip()[-LAST_WORDS:] if lines else ""


def _last_words(log: str) -> str:
    said = last_words(log)
    return f"; it said: {said}" if said else ""
