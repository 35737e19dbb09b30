"""What happened to each machine in a run, as far as a picture can show it."""

from attrs import define, field, frozen

LOSSES = ("close", "silent", "hang", "late", "cancel")
"""What machines or their work are lost by."""
GIVEN = ("lease", "copy")
ENDS = ("close", "silent", "hang", "notice")


@frozen
class Mark:
    """Something at a time."""

    time: float
    what: str


@define
class Band:
    """One machine over time.

    :ivar there: when it was connected; ``None`` for an end that has not come.
    :ivar marks: what happened to it, in order.
    """

    there: list[tuple[float, float | None]] = field(factory=list)
    marks: list[Mark] = field(factory=list)


@define
class Story:
    """Told by the world.

    :ivar bands: by machine.
    :ivar left: how many lines were not committed, after each change.
    """

    lines: int
    bands: dict[int, Band] = field(factory=dict)
    left: list[tuple[float, int]] = field(factory=list)

    def tell(self, time: float, what: str, machine: int, *more: int) -> None:
        """Something has happened."""
        band = self.bands.setdefault(machine, Band())
        if what == "join":
            band.there.append((time, None))
            return
        if what in ENDS and band.there:
            band.there[-1] = band.there[-1][0], time
        band.marks.append(Mark(time, what))
        if what == "commit":
            start, end = more
            before = self.left[-1][1] if self.left else self.lines
            self.left.append((time, before - (end - start)))
