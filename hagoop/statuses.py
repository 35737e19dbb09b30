"""Requests and workers as clients see them."""

from attrs import evolve

from hagoop import policy, wire
from hagoop.jobs import Counter, Phase, RequestStatus, State, WorkerStatus
from hagoop.leases import Lease, Session
from hagoop.ledger import Ledger
from hagoop.notice import told_presence
from hagoop.progress import Progress
from hagoop.requests import Request

STATUS_BYTES = 48 << 10
"""A status travels in one message; counters and log give way."""
MOST_WARNING = 600
MOST_TROUBLES = 5
MOST_SHOWN = 4
"""How many of a worker's assignments are shown."""
MOST_TEXT = 2000
"""Characters of what strangers say in it; JSON may take six bytes for one."""


def status_of(
    ledger: Ledger, account: Request, ended: tuple[str, int] | None, age: float, now: float
) -> RequestStatus:
    """One request.

    :param ended: digest and size of its answer once its end is on disk.
    """
    progress = account.progress
    digest, size = ended or ("", 0)
    state = account.state if ended else State.RUNNING
    shown = RequestStatus(
        id=account.id,
        state=state,
        label=account.submission.label[:MOST_TEXT],
        age_seconds=age,
        phase=last_phase(account),
        done=0.0 if state in (State.FAILED, State.CANCELLED) else 1.0,
        weight=0,
        whole=True,
        working=len({each.session.worker for each in ledger.leases_of(account)}),
        workers=len(ledger.fleet.sessions),
        failures=account.failures,
        seconds_left=None,
        message=account.message[:MOST_TEXT],
        status=account.status[:MOST_TEXT],
        log=account.log,
        counters=counters_of(account),
        answer_bytes=size,
        answer_digest=digest,
        step=account.step + 1,
        steps=account.submission.steps,
        bad_lines=len(account.bad_lines),
        warnings=tuple(each[:MOST_WARNING] for each in _warnings(ledger, account, state)),
        cover=account.cover,
        partial_of=account.partial_of or "",
    )
    if len(wire.encode(shown)) > STATUS_BYTES:
        shown = evolve(shown, counters=(), log="")
    if len(wire.encode(shown)) > STATUS_BYTES:
        shown = evolve(shown, warnings=shown.warnings[:1])
    return shown if progress is None else _with_progress(shown, progress, now)


def _warnings(ledger: Ledger, account: Request, state: State) -> list[str]:
    if state is not State.RUNNING:
        return account.warnings
    return [*account.warnings, *ledger.troubles[:MOST_TROUBLES]]


def _with_progress(status: RequestStatus, progress: Progress, now: float) -> RequestStatus:
    weight, done = progress.weight, progress.weight_committed
    middle, most = progress.seconds_left(now) or (None, None)
    return evolve(
        status,
        phase=progress.phase,
        done=done / weight if weight else 0.0,
        weight=weight,
        whole=progress.whole,
        seconds_left=middle,
        most_seconds_left=most,
    )


def last_phase(account: Request) -> Phase:
    """The phase that ended last, or map."""
    if account.progress is not None:
        return account.progress.phase
    return next(reversed(account.outputs), Phase.MAP)


def counters_of(account: Request) -> tuple[Counter, ...]:
    """A request's counters, in the order of their names."""
    return tuple(
        Counter(group, name, amount) for (group, name), amount in sorted(account.counters.items())
    )


def status_of_worker(ledger: Ledger, session: Session, now: float) -> WorkerStatus:
    """A worker as clients see it."""
    fleet = ledger.fleet
    record = fleet.records[session.worker]
    held = [ledger.leases[each] for each in sorted(session.leases)]
    doing = ", ".join(_doing(each) for each in held[:MOST_SHOWN])
    if len(held) > MOST_SHOWN:
        doing += f" and {len(held) - MOST_SHOWN} more"
    if aside := fleet.seconds_aside(session, now):
        why = session.trouble or "programs fail on it that others run"
        doing = f"put aside for {aside:.0f} s: {why}"
    doing = told_presence(session, doing or session.trouble or "idle", now)
    shown = WorkerStatus(
        id=session.worker,
        name=session.name,
        connected_seconds=now - session.since,
        slots=session.slots,
        committed=record.committed,
        lost=record.lost,
        experience_seconds=record.expected_life(fleet.prior, now),
        next_seconds=policy.FIRST_LEASE_SECONDS,
        doing=doing,
    )
    if session.stalled or session.leaving:
        return evolve(shown, next_seconds=0.0)
    if not held:
        return shown
    request, progress = held[-1].request, held[-1].progress
    seconds, weight = fleet.next_lease(session, request, progress, now)
    return evolve(shown, next_seconds=seconds, next_weight=weight)


def _doing(lease: Lease) -> str:
    request, stretch = lease.request, lease.stretch
    step = request.submission.step_name(request.step)
    names = request.id, step, lease.progress.phase, f"{stretch.front}-{stretch.end}"
    return " ".join(filter(None, names))
