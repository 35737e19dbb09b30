"""How the fleet is shown while it works: a table on a terminal, lines elsewhere."""

import sys
from typing import Any, Protocol

from attrs import define

from hagoop.demo.kinds import Kind
from hagoop.demo.roll import HEADS, Roll

LINE_SECONDS = 2.0
TABLE_SECONDS = 10.0
WIDTH = 110
COLOURS = {
    Kind.GOOD: "green",
    Kind.BAD: "red",
    Kind.EVIL: "bold red",
    Kind.FLAKY: "yellow",
    Kind.DYING: "red",
    Kind.LATE: "cyan",
    Kind.LOOPING: "magenta",
}


class View(Protocol):
    """Shows the fleet."""

    def show(self, roll: Roll) -> None:
        """It is so now."""

    def stop(self) -> None:
        """Show no more; what was shown last may stay."""


class Nothing:
    """For who wants to know the outcome only."""

    def show(self, roll: Roll) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing."""


@define
class Lines:
    """A line every two seconds, and now and then all workers."""

    _next_line: float = 0.0
    _next_table: float = TABLE_SECONDS / 2
    _last: Roll | None = None

    def show(self, roll: Roll) -> None:
        """Print it, if it is time."""
        if roll.seconds < self._next_line:
            return
        self._next_line, self._last = roll.seconds + LINE_SECONDS, roll
        said = f"{roll.progress}; {roll.attendance}; survived {roll.losses}"
        print(f"{roll.seconds:4.0f} s  {said}", flush=True)
        if roll.seconds >= self._next_table:
            self._next_table = roll.seconds + TABLE_SECONDS
            print_table(roll)

    def stop(self) -> None:
        """All workers once more."""
        if self._last is not None:
            print_table(self._last)
            self._last = None


class Table:
    """A table that is drawn again and again."""

    def __init__(self) -> None:
        self._live: Any = None  # rich's, imported when the first is drawn.

    def show(self, roll: Roll) -> None:
        """Draw it."""
        if self._live is None:
            from rich.live import Live

            self._live = Live(auto_refresh=False)
            self._live.start()
        self._live.update(make_table(roll), refresh=True)

    def stop(self) -> None:
        """Leave the last one there."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def make_view(*, quiet: bool, plain: bool) -> View:
    """A table on a terminal, lines elsewhere."""
    if quiet:
        return Nothing()
    return Lines() if plain or not sys.stdout.isatty() else Table()


def make_table(roll: Roll) -> Any:
    """All workers, and what is true of them together."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    caption = f"{roll.seconds:.0f} s, {roll.progress}; survived {roll.losses}"
    # Narrow enough for 80 columns.
    table = RichTable(*HEADS, box=box.SIMPLE, padding=(0, 1, 0, 0), caption=caption)
    table.caption_justify = "left"
    for column in table.columns[3:]:
        column.justify = "right"
    for each in roll.members.values():
        style = COLOURS[each.kind] if each.now is not None else f"dim {COLOURS[each.kind]}"
        table.add_row(*(Text(cell, no_wrap=True) for cell in each.cells), style=style)
    return table


def print_table(roll: Roll) -> None:
    """Once, as text."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else WIDTH).print(make_table(roll))
    sys.stdout.flush()
