"""``hagoop-simulate``: the server's scheduler against fleets that come and go, in virtual time."""

import gzip
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from twisted.python.usage import UsageError

from hagoop.errors import HaGoopError
from hagoop.lab import scores
from hagoop.lab.ablation import messages_per_second, without
from hagoop.lab.finding import find
from hagoop.lab.lived import read_lived
from hagoop.lab.lives import Recording
from hagoop.lab.picture import picture
from hagoop.lab.schedulers import PRODUCT, SCHEDULERS
from hagoop.lab.story import Story
from hagoop.lab.trial import Outcome, Teller, try_out
from hagoop.lab.writing import recording_lines
from hagoop.simulate_options import Options, Simulation

DONE, NOT_ENDED, USAGE, INTERRUPTED = 0, 1, 2, 130
PLAIN_WIDTH = 200


def main(argv: Sequence[str] | None = None) -> int:
    """The script; its exit status is 1 if a request did not end."""
    options = Options()
    try:
        options.parseOptions(sys.argv[1:] if argv is None else list(argv))
        simulation = options.simulation
        with messages_per_second(simulation.messages):
            return _compare(simulation) if simulation.compares else _simulate(simulation)
    except (UsageError, HaGoopError) as error:
        print(error, file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED


def _simulate(simulation: Simulation) -> int:
    outcomes = [_try(each, simulation) for each in _recordings(simulation)]
    if simulation.json:
        _print_json([scores.as_object(each) for each in outcomes])
    else:
        _print_table(scores.scores(outcomes))
    return DONE if all(each.tally.finished for each in outcomes) else NOT_ENDED


def _try(recording: Recording, simulation: Simulation) -> Outcome:
    _say(simulation, recording, "")
    if simulation.plot is None:
        return _try_product(recording, simulation)
    draw = _png_writer() if simulation.plot.suffix == ".png" else str.encode
    story = Story(recording.work.lines)
    outcome = _try_product(recording, simulation, story.tell)
    _write("--plot", simulation.plot, draw(picture(outcome, story)))
    return outcome


def _try_product(recording: Recording, simulation: Simulation, *tellers: Teller) -> Outcome:
    with without(simulation.without):
        return try_out(recording, SCHEDULERS[PRODUCT], spawns=simulation.spawns, tellers=tellers)


def _png_writer() -> Callable[[str], bytes]:
    """What makes a PNG of an SVG; whether it is there is known before anything is simulated."""
    try:
        drawing: Any = import_module("resvg_py")
    except ImportError as error:
        raise UsageError("--plot: .png needs pip install 'hagoop[plot]'; .svg needs nothing") from error
    return lambda text: bytes(drawing.svg_to_bytes(svg_string=text))


def _recordings(simulation: Simulation) -> Iterator[Recording]:
    for name in simulation.fleets:
        yield _kept(find(name, simulation.drawing), simulation.write)
    if simulation.log is not None:
        yield _kept(read_lived(simulation.log, simulation.drawing.seconds), simulation.write)


def _kept(recording: Recording, path: Path | None) -> Recording:
    """The same, written to a file if that is wanted."""
    if path is not None:
        data = "".join(recording_lines(recording)).encode()
        _write("--write", path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return recording


def _write(option: str, path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(f"{option}: {error}") from error


def _compare(simulation: Simulation) -> int:
    outcomes = [_try_all(each, simulation) for each in _recordings(simulation)]
    if simulation.json:
        _print_json([scores.comparison_object(each) for each in outcomes])
    else:
        _print_table(scores.comparison(list(SCHEDULERS), outcomes))
    return DONE if all(each[PRODUCT].tally.finished for each in outcomes) else NOT_ENDED


def _try_all(recording: Recording, simulation: Simulation) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    for name, make in SCHEDULERS.items():
        _say(simulation, recording, f" under {name}")
        with without(simulation.without if name == PRODUCT else ()):
            outcomes[name] = try_out(recording, make, spawns=simulation.spawns)
    return outcomes


def _say(simulation: Simulation, recording: Recording, scheduler: str) -> None:
    """What goes on, for people who wait."""
    if not simulation.quiet and (simulation.compares or sys.stderr.isatty()):
        print(f"{recording.fleet}-{recording.seed}{scheduler} ...", file=sys.stderr, flush=True)


def _print_json(found: Sequence[object]) -> None:
    print(json.dumps(found[0] if len(found) == 1 else found))


def _print_table(table: scores.Table) -> None:
    # Starting must not wait for it.
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE)
    for number, head in enumerate(table.heads):
        shown.add_column(head, justify="right" if number else "left")
    for row in table.rows:
        shown.add_row(*(Text(each) for each in row))
    Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH).print(shown)


if __name__ == "__main__":
    sys.exit(main())
