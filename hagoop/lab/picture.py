"""A run as an SVG picture: a band over time for each machine, and below them the work that is left.

However much happened, the picture stays small: what would fall on one point of it is drawn once.
"""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from math import floor, log10

from attrs import frozen

from hagoop.lab.scores import name_of
from hagoop.lab.story import Band, Mark, Story
from hagoop.lab.trial import Outcome

WIDTH = 1200
LEFT, RIGHT, TOP, BETWEEN, BOTTOM = 76, 16, 64, 24, 28
CURVE = 120
MOST_BAND, LEAST_BANDS = 18.0, 480.0
COLUMNS = WIDTH - LEFT - RIGHT
"""How many points of time are told apart."""
MOST_BANDS = 600
"""Of more machines each that many-th is drawn."""
TICKS = 8
CSS = """
text{font-size:12px;font-family:"DejaVu Sans",Arial,Helvetica,sans-serif;fill:#333}
.t{font-size:15px}.m{text-anchor:middle}.e{text-anchor:end}
.on{stroke:#e7ebf0}.commit{stroke:#2a7fba}.lease{stroke:#9aa7b5}.copy{stroke:#e6a100}
.lost{stroke:#d1332e}.back{stroke:#8a4fbf}.axis{stroke:#888;fill:none}.left{stroke:#2a7fba;fill:none;stroke-width:1.5}
"""
CLASSES = {
    "commit": "commit",
    "lease": "lease",
    "copy": "copy",
    "take_back": "back",
    **dict.fromkeys(("close", "silent", "hang", "late", "cancel"), "lost"),
}
"""What is drawn how; the order of ``LAYERS`` is that from the bottom."""
LAYERS = ("lease", "commit", "back", "copy", "lost")
LEGEND = {"lease": "lease", "commit": "commit", "copy": "copy", "back": "taken back", "lost": "lost"}
THICKNESS = {"on": 0.8, "commit": 0.4, **dict.fromkeys(("lease", "back", "copy", "lost"), 0.8)}
"""Of strokes, in shares of a band."""
Span = tuple[int, int]


@frozen
class Scale:
    """Where times and machines are.

    :param seconds: how long the picture is.
    :param step: points from one band to the next.
    """

    seconds: float
    step: float
    bands: int

    def x(self, time: float) -> int:
        """Points from the left; whole ones, so that what is near falls together."""
        return LEFT + round(COLUMNS * min(time, self.seconds) / self.seconds)

    @property
    def foot(self) -> float:
        """Where the bands end."""
        return TOP + self.step * self.bands


def picture(outcome: Outcome, story: Story) -> str:
    """The whole of it."""
    machines = _chosen(sorted(story.bands))
    seconds = max(outcome.tally.makespan, 1e-9)
    step = max(min(MOST_BAND, LEAST_BANDS / max(1, len(machines))), 1.0)
    scale = Scale(seconds, step, len(machines))
    height = round(scale.foot + BETWEEN + CURVE + BOTTOM)
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        f'<style>{CSS}</style><rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        *_head(outcome, len(story.bands), len(machines)),
        *_bands([story.bands[each] for each in machines], scale),
        *_curve(story, scale),
        *_axis(scale, height),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _chosen(machines: Sequence[int]) -> Sequence[int]:
    return machines[:: -(-len(machines) // MOST_BANDS)] if machines else machines


def _head(outcome: Outcome, machines: int, shown: int) -> Iterator[str]:
    ended = f"{outcome.tally.makespan:.1f} s" if outcome.tally.finished else "not ended"
    some = "" if shown == machines else f" ({shown} shown)"
    of = f"{outcome.efficiency:.3f} of capacity"
    title = f"{name_of(outcome)}: {machines} machines{some}, {ended}, {of}"
    yield f'<text class="t" x="{LEFT}" y="24">{escape(title)}</text>'
    for number, (name, said) in enumerate(LEGEND.items()):
        x = LEFT + 110 * number
        yield f'<path class="{name}" stroke-width="4" d="M{x} 44h14"/>'
        yield f'<text x="{x + 20}" y="48">{said}</text>'


def _bands(bands: Sequence[Band], scale: Scale) -> Iterator[str]:
    """First when all were there, then what happened, each kind in one path."""
    yield _strokes("on", scale, (_there(each, scale) for each in bands))
    for kind in LAYERS:
        yield _strokes(kind, scale, (_points(each.marks, kind, scale) for each in bands))
    yield f'<text class="e" x="{LEFT - 6}" y="{TOP + 10}">machines</text>'


def _strokes(kind: str, scale: Scale, of_bands: Iterable[Iterable[Span]]) -> str:
    """Spans of each band as strokes along it, in one path."""
    path: list[str] = []
    for number, spans in enumerate(of_bands):
        at: int | None = None
        for begin, end in _merged(spans):
            y = TOP + (number + 0.5) * scale.step
            move = f"M{begin} {y:.4g}" if at is None else f"m{begin - at} 0"
            path.append(f"{move}h{end - begin}")
            at = end
    width = scale.step * THICKNESS[kind]
    return f'<path class="{kind}" stroke-width="{width:.3g}" d="{"".join(path)}"/>'


def _there(band: Band, scale: Scale) -> Iterator[Span]:
    for begin, end in band.there:
        x = scale.x(begin)
        yield x, max(x + 1, scale.x(scale.seconds if end is None else end))


def _merged(spans: Iterable[Span]) -> Iterator[Span]:
    """Spans that touch, in order, as one."""
    held: Span | None = None
    for begin, end in spans:
        if held is not None and begin <= held[1]:
            held = held[0], max(held[1], end)
            continue
        if held is not None:
            yield held
        held = begin, end
    if held is not None:
        yield held


def _points(marks: Iterable[Mark], kind: str, scale: Scale) -> Iterator[Span]:
    """Where something of a kind has happened."""
    found = {scale.x(each.time) for each in marks if CLASSES.get(each.what) == kind}
    return ((x, x + 1) for x in sorted(found))


def _curve(story: Story, scale: Scale) -> Iterator[str]:
    """Lines that are left, at most one point for each column."""
    top, lines = scale.foot + BETWEEN, max(1, story.lines)
    heights = {LEFT: lines}
    for time, left in story.left:
        heights[scale.x(time)] = left
    points = [f"{x},{top + CURVE * (1 - left / lines):.1f}" for x, left in sorted(heights.items())]
    yield f'<text class="e" x="{LEFT - 6}" y="{top + 10:.4g}">left</text>'
    yield f'<polyline class="left" points="{" ".join(points)}"/>'


def _axis(scale: Scale, height: int) -> Iterator[str]:
    foot = height - BOTTOM
    yield f'<path class="axis" d="M{LEFT} {foot}h{COLUMNS}"/>'
    step = _round_step(scale.seconds / TICKS)
    for number in range(int(scale.seconds / step) + 1):
        x = scale.x(number * step)
        yield f'<path class="axis" d="M{x} {foot}v4"/>'
        yield f'<text class="m" x="{x}" y="{foot + 18}">{number * step:g} s</text>'


def _round_step(least: float) -> float:
    """1, 2 or 5 times a power of ten."""
    base = 10.0 ** floor(log10(least))
    return next((base * each for each in (1, 2, 5) if base * each >= least), 10 * base)
