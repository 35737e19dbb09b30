"""Outcomes as people and programs read them."""

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from hagoop.lab.trial import Outcome

CAPACITY = "capacity"
NOTHING = "-"
DIGITS = 6


@frozen
class Table:
    """Heads, and as many cells in each row."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def as_object(outcome: Outcome) -> dict[str, object]:
    """For ``--json``: times are virtual seconds, ``wasted`` is a share of the work."""
    recording, tally = outcome.recording, outcome.tally
    return {
        "fleet": recording.fleet,
        "seed": recording.seed,
        "workers": len(recording.lives),
        "makespan": _short(tally.makespan),
        "capacity_seconds": recording.capacity_seconds,
        "efficiency": _short(outcome.efficiency),
        "against": {name: _short(outcome.against(each)) for name, each in recording.bounds.items()},
        "finished": tally.finished,
        "wasted": _short(_wasted(outcome)),
        "leases": tally.leases,
        "commits": tally.commits,
        "late": tally.late,
        "losses": tally.losses,
        "copies": tally.copies,
        "taken_back": tally.taken_back,
        "messages_per_second": _short(_messages(outcome)),
        "p50_held": _held(outcome, 0),
        "p90_held": _held(outcome, 1),
        "tail_seconds": None if outcome.tail_seconds is None else _short(outcome.tail_seconds),
    }


def scores(outcomes: Iterable[Outcome]) -> Table:
    """A row for each fleet."""
    outcomes = list(outcomes)
    bounds = list(dict.fromkeys(name for each in outcomes for name in each.recording.bounds))
    bounds = [name for name in bounds if name != CAPACITY]
    heads = [
        "fleet",
        "makespan",
        CAPACITY,
        *bounds,
        *("wasted", "leases", "commits", "messages/s", "copies", "taken back", "tail", "P50/P90 held"),
    ]
    return Table(heads, [_row(each, bounds) for each in outcomes])


def _row(outcome: Outcome, bounds: Sequence[str]) -> list[str]:
    tally, recording = outcome.tally, outcome.recording
    against = [recording.capacity_seconds, *map(recording.bounds.get, bounds)]
    ended = tally.finished
    return [
        name_of(outcome),
        f"{tally.makespan:.1f} s" if ended else "not ended",
        *(f"{outcome.against(each):.3f}" if each and ended else NOTHING for each in against),
        f"{100 * _wasted(outcome):.1f} %",
        f"{tally.leases:,}",
        f"{tally.commits:,}",
        f"{_messages(outcome):,.0f}",
        f"{tally.copies:,}",
        f"{tally.taken_back:,}",
        NOTHING if outcome.tail_seconds is None or not ended else f"{outcome.tail_seconds:.1f} s",
        NOTHING if tally.held is None else "{:.0%}/{:.0%}".format(*tally.held),
    ]


def name_of(outcome: Outcome) -> str:
    """A fleet with its seed."""
    return f"{outcome.recording.fleet}-{outcome.recording.seed}"


def comparison(schedulers: Sequence[str], outcomes: Sequence[Mapping[str, Outcome]]) -> Table:
    """A row for each fleet, a column for each scheduler: efficiency."""
    rows = [
        [name_of(each[schedulers[0]]), *(_efficiency(each[name]) for name in schedulers)]
        for each in outcomes
    ]
    means = [sum(each[name].efficiency for each in outcomes) / len(outcomes) for name in schedulers]
    if len(rows) > 1:
        rows.append(["mean", *(f"{each:.3f}" for each in means)])
    return Table(["fleet", *schedulers], rows)


def comparison_object(outcomes: Mapping[str, Outcome]) -> dict[str, object]:
    """One fleet's comparison for ``--json``."""
    recording = next(iter(outcomes.values())).recording
    schedulers = {name: as_object(each) for name, each in outcomes.items()}
    return {"fleet": recording.fleet, "seed": recording.seed, "schedulers": schedulers}


def _efficiency(outcome: Outcome) -> str:
    return f"{outcome.efficiency:.3f}" if outcome.tally.finished else NOTHING


def _held(outcome: Outcome, which: int) -> float | None:
    held = outcome.tally.held
    return None if held is None else _short(held[which])


def _wasted(outcome: Outcome) -> float:
    return outcome.tally.wasted / outcome.recording.work.seconds


def _messages(outcome: Outcome) -> float:
    tally = outcome.tally
    return (tally.messages + tally.beats) / tally.makespan if tally.makespan else 0.0


def _short(value: float) -> float:
    return round(value, DIGITS)
