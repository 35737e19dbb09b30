"""Fleets by the names that people write: one that comes with the program, one to be drawn, or a file."""

import gzip
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import IO

from attrs import evolve, frozen

from hagoop.errors import FleetError
from hagoop.lab.generate import Wanted, generate
from hagoop.lab.habits import KINDS
from hagoop.lab.lives import Recording, read_recording

ALL, REAL = "all", "real"
REAL_FLEETS = ("gcp-preemptible-real", "spot-p3-real")
RECORDED_SEED = 0
SUFFIXES = (".jsonl.gz", ".jsonl")
GZIP = b"\x1f\x8b"


@frozen
class Drawing:
    """How fleets that are named are to be; None is as they were recorded.

    :param seconds: of capacity.
    """

    seed: int | None = None
    workers: int | None = None
    seconds: float | None = None

    @property
    def is_recorded(self) -> bool:
        """Whether the recording that comes with the program is meant."""
        return self.seed in (None, RECORDED_SEED) and self.workers is None and self.seconds is None


def names_of(words: Iterable[str]) -> list[str]:
    """Fleets by name, from words that may stand for several."""
    several: dict[str, Sequence[str]] = {ALL: tuple(KINDS), REAL: REAL_FLEETS}
    return [name for word in words for name in several.get(word, (word,))]


def find(name: str, drawing: Drawing) -> Recording:
    """One fleet.

    :raises FleetError: there is none of this name, or its file holds none.
    """
    if is_file(name):
        return read_file(Path(name))
    kind, seed = _split(name)
    if seed is not None:
        drawing = evolve(drawing, seed=seed)
    if kind in REAL_FLEETS and not drawing.is_recorded:
        raise FleetError(f"{name} is recorded from life and cannot be drawn anew: leave out the options")
    if kind in (*KINDS, *REAL_FLEETS) and drawing.is_recorded:
        return read_packaged(kind)
    if kind not in KINDS:
        known = ", ".join((*KINDS, *REAL_FLEETS))
        raise FleetError(f"no fleet {name!r}: there is no such file, and the names are {known}")
    seed = drawing.seed or RECORDED_SEED
    return generate(Wanted(kind, seed, drawing.workers, drawing.seconds), Random(seed))


def is_file(name: str) -> bool:
    """Whether a word is the path of a file, and not a name."""
    return (
        "/" in name or name.endswith(SUFFIXES) or (Path(name).is_file() and _split(name)[0] not in KINDS)
    )


def _split(name: str) -> tuple[str, int | None]:
    """``calm-7`` is a kind and a seed."""
    kind, _, number = name.rpartition("-")
    if number.isdecimal() and len(number) < 19:
        return kind, int(number)
    return name, None


def read_packaged(kind: str) -> Recording:
    """A recording that comes with the program."""
    with (files("hagoop.lab") / "fleets" / f"{kind}-{RECORDED_SEED}.jsonl.gz").open("rb") as file:
        return _read(file)


def read_file(path: Path) -> Recording:
    """A recording in a file, packed or not."""
    try:
        with path.open("rb") as file:
            return _read(file)
    except FleetError as error:
        raise FleetError(f"{path}: {error}") from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise FleetError(f"{path} cannot be read as a fleet: {error}") from error


def _read(file: IO[bytes]) -> Recording:
    packed = file.read(len(GZIP)) == GZIP
    file.seek(0)
    data = gzip.decompress(file.read()) if packed else file.read()
    return read_recording(data.decode("utf-8").splitlines())
