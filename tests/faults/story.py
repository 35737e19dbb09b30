"""What those outside of a server saw: a line of JSON for each command that was run, and for each log.

``Told`` is one command of ``hagoop-request``: its words, how it ended, and what it promised.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, define, field, frozen

OUTPUTS = ("--output", "-output", "-o")
VALUES = (*OUTPUTS, "--server")
FILE_BYTES = 1 << 20


@frozen
class Told:
    """A command that has ended.

    :ivar status: its exit status; None: it was killed, or nobody looked.
    :ivar request: the id that it was told, or that it asked for.
    :ivar seen: requests of which it was shown a state.
    :ivar answer: SHA-256 of the answer that it brought; empty: none.
    :ivar output: the file or folder where it was to be put; empty: stdout.
    """

    words: tuple[str, ...]
    status: int | None
    request: str = ""
    seen: tuple[tuple[str, str], ...] = ()
    answer: str = ""
    output: str = ""


@frozen
class Call:
    """A command that is about to be run.

    :ivar at: in this folder.
    :ivar old: what lies where its answer is to be put, and is none of its doing.
    """

    words: tuple[str, ...]
    at: Path
    old: str = field(init=False)

    @property
    def output(self) -> Path | None:
        """Where its answer is to be put, if it is no stream."""
        named = output_of(self.words)
        return None if named in ("", "-") else self.at / named

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "old", digest_of(self.output) if self.output else "")


@define(eq=False)
class Story:
    """Told by tests as it happens.

    :ivar path: where it is written down, for those who come later.
    :ivar logs: what must hold no secret.
    :ivar canaries: secrets that were planted.
    """

    path: Path
    told: list[Told] = field(factory=list)
    logs: list[Path] = field(factory=list)
    canaries: list[str] = field(factory=list)

    def ran(self, call: Call, status: int | None, out: bytes) -> None:
        """A command has ended, and has said this on stdout."""
        self.told.append(told(call, status, out))

    def write(self) -> None:
        """Write it down."""
        lines: list[dict[str, Any]] = [asdict(each) for each in self.told]
        lines += [{"log": str(each)} for each in self.logs]
        lines += [{"canary": each} for each in self.canaries]
        self.path.write_text("".join(json.dumps(each) + "\n" for each in lines))


def read_story(path: Path) -> Story:
    """One that was written down."""
    story = Story(path)
    for line in path.read_text().splitlines():
        known = json.loads(line)
        if "log" in known:
            story.logs.append(Path(known["log"]))
        elif "canary" in known:
            story.canaries.append(known["canary"])
        else:
            known["words"] = tuple(known["words"])
            known["seen"] = tuple((name, state) for name, state in known["seen"])
            story.told.append(Told(**known))
    return story


def told(call: Call, status: int | None, out: bytes) -> Told:
    """A command with what follows from its words."""
    words, place = call.words, call.output
    if place is not None:
        found = digest_of(place)
        answer = found if status == 0 or found != call.old else ""
    else:
        answer = hashlib.sha256(out).hexdigest() if brings_answer(words, status) else ""
    request = request_of(words, status, out)
    seen = states_in(out) if "--json" in words and words[0] != "run" and status == 0 else ()
    return Told(words, status, request, seen, answer, "" if place is None else str(place))


def brings_answer(words: Sequence[str], status: int | None) -> bool:
    """Whether what a command has printed is a whole answer."""
    return status == 0 and words[0] in ("run", "answer") and not {"--detach", "--help"} & {*words}


def output_of(words: Sequence[str]) -> str:
    """Where the answer goes, as it was typed."""
    for number, word in enumerate(words[:-1]):
        if word in OUTPUTS:
            return words[number + 1]
    return next((each.partition("=")[2] for each in words if each.startswith("--output=")), "")


def request_of(words: Sequence[str], status: int | None, out: bytes) -> str:
    """The id that ``run --detach`` printed, or that another command named."""
    if words[0] == "run":
        return out.decode().strip() if status == 0 and "--detach" in words else ""
    values = {number + 1 for number, word in enumerate(words) if word in VALUES}
    plain = [each for number, each in enumerate(words[1:], 1) if number not in values]
    return next((each for each in plain if not each.startswith("-")), "")


def states_in(out: bytes) -> tuple[tuple[str, str], ...]:
    """The requests in what a command printed as JSON, and where they stood."""
    try:
        known = json.loads(out)
    except ValueError:
        return ()
    shown = known if isinstance(known, list) else [known]
    return tuple((each["id"], each["state"]) for each in shown if {"id", "state"} <= {*each})


def digest_of(place: Path) -> str:
    """SHA-256 of a file, or of a folder's parts one after the other; empty where it is neither."""
    if not place.is_dir() and not place.is_file():
        return ""
    digest = hashlib.sha256()
    for each in sorted(place.glob("part-*")) if place.is_dir() else [place]:
        with open(each, "rb") as file:
            while data := file.read(FILE_BYTES):
                digest.update(data)
    return digest.hexdigest()
