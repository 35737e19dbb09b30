"""Recordings as the lines of a fleet file; ``lives.read_recording`` reads them."""

from collections.abc import Iterator
from json import dumps
from math import isinf

from hagoop.lab.lives import Life, Recording, Stay


def recording_lines(recording: Recording) -> Iterator[str]:
    """A header, then each machine."""
    yield _line(
        {
            "fleet": recording.fleet,
            "seed": recording.seed,
            "capacity_seconds": recording.capacity_seconds,
            "horizon": recording.horizon,
            "commit_cost": recording.commit_cost,
            "lines": recording.work.lines,
            "cost": [list(point) for point in recording.work.points],
            "bounds": dict(recording.bounds),
        }
    )
    for each in recording.lives:
        yield _line(_life(each))


def _life(life: Life) -> dict[str, object]:
    return {
        "kind": life.kind,
        "speed": life.speed,
        "round_trip": life.round_trip,
        "start": life.start,
        "transfer": life.transfer,
        "sessions": [_stay(each) for each in life.stays],
        "slow": [list(each) for each in life.slow],
    }


def _stay(stay: Stay) -> list[object]:
    return [stay.identity, stay.joins, None if isinf(stay.ends) else stay.ends, stay.how]


def _line(row: object) -> str:
    return dumps(row, separators=(",", ":")) + "\n"
