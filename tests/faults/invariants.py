"""The nine invariants, checked from outside: a journal's history, what clients were told, what is left.

``python tests/faults/invariants.py STATE STORY...`` prints what is broken, by name, and exits with 1.
``Cluster.end`` does the same after every test that has a server.  Nothing of HaGoop is imported: what
is checked must not be used to check it.

I1 and I4 to I9 are below; I2 and I3 compare answers (``differ``, ``line_ledger.py``), and so far as a
journal tells the digest of each answer, I2 is checked here too.  I6, no acknowledgement before
durability, is in the order of system calls: ``acknowledged.py`` reads what ``strace`` wrote.
"""

import hashlib
import json
import re
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from attrs import frozen
from history import ENDS, FIRST, Fact, Part, Request, kept_facts, read_history, requests_of
from story import Story, Told, read_story

MOST_SHOWN = 5
MOST_BYTES = 256 << 20
"""How much of a spool is digested."""
FILE_BYTES = 1 << 20
MOST_COUNTED = 16 << 20
"""How large a file may be whose lines are counted."""
PACKED = (".gz", ".bz2", ".zst")
LINE = re.compile(rb"hagoop1:[^\s/]+/[\w-]{43}\.[a-z0-9]{2,16}\.(?!x{43})[\w-]{43}")
SUCCESS = "_SUCCESS"


@frozen
class Evidence:
    """What there is to look at when all is over.

    :ivar state: the server's state folder.
    :ivar facts: of its journal, with those that are gone.
    """

    state: Path
    facts: tuple[Fact, ...]
    story: Story

    @property
    def requests(self) -> dict[str, Request]:
        """By id."""
        return requests_of(self.facts)


Check = Callable[[Evidence], Iterable[str]]


# I1


def ends_once(seen: Evidence) -> Iterator[str]:
    """Every acknowledged submit is there, ends once at most, and as clients were told."""
    requests = seen.requests
    for name, request in requests.items():
        if request.of("submitted") and len(request.ends) > 1:
            yield f"{name} ended {len(request.ends)} times: {request.ends}"
        if len(request.of("submitted")) > 1:
            yield f"{name} was submitted {len(request.of('submitted'))} times"
    yield from same_key(requests)
    for each in seen.story.told:
        yield from untrue(each, requests)


def same_key(requests: dict[str, Request]) -> Iterator[str]:
    """The same submit twice is one request."""
    bodies = [each.body for request in requests.values() for each in request.of("submitted")]
    keys = Counter((each.get("owner", ""), each["key"]) for each in bodies if "key" in each)
    for (_, key), count in keys.items():
        if count > 1:
            yield f"the submit {key} became {count} requests"


def untrue(told: Told, found: dict[str, Request]) -> Iterator[str]:
    """What a client was told and the journal does not know."""
    requests = {name: each for name, each in found.items() if each.is_known}
    if told.words[0] == "run" and told.request and told.request not in requests:
        yield f"{told.request} was acknowledged, and the journal does not know it"
    for name, state in told.seen:
        ends = requests[name].ends if name in requests else None
        if ends is None:
            yield f"{name} was shown to a client, and the journal does not know it"
        elif state in ENDS and ends != [state]:
            yield f"{name} was shown as {state}; in the journal its ends are {ends}"
    if told.words[0] == "wait" and told.request in requests:
        ends = requests[told.request].ends
        if told.status == 0 and ends != ["done"]:
            yield f"wait {told.request} said that it is done; in the journal its ends are {ends}"


def all_ended(seen: Evidence) -> Iterator[str]:
    """For scenarios that wait for everything: no request is left without an end."""
    for name, request in seen.requests.items():
        if request.of("submitted") and not request.ends and not request.is_partial:
            yield f"{name} never ended"


# I2


def answers_are_those(seen: Evidence) -> Iterator[str]:
    """Every answer that was brought is, by its digest, that of a request that is done."""
    done = Counter(digests(seen))
    runs = Counter(each.answer for each in seen.story.told if each.words[0] == "run" and each.answer)
    for each in seen.story.told:
        if each.status == 0 and each.answer and each.answer not in done:
            yield f"{' '.join(each.words)[:200]} brought what no request has answered: {each.answer}"
    for digest, count in runs.items():
        if digest in done and count > done[digest]:
            yield f"{count} runs brought {digest}; {done[digest]} requests have answered so"


def digests(seen: Evidence) -> Iterator[str]:
    """Of the answers of all that is done."""
    for request in seen.requests.values():
        yield from (each.body["digest"] for each in request.of("ended") if each.body["state"] == "done")


# I4


def committed_once(seen: Evidence) -> Iterator[str]:
    """No position was committed twice, and nothing is missing in a phase that is over."""
    spool = seen.state / "spool"
    for request in seen.requests.values():
        for phase, parts in request.phases.items():
            where = f"{request.id} {phase[0]} {phase[1]}"
            yield from twice(where, parts)
            if request.is_over(phase) and not request.is_partial:
                covered = [(each.start, each.end) for each in parts] + request.left_out(phase)
                yield from gaps(where, covered, lines_of(request, spool) if phase == FIRST else 0)


def twice(where: str, parts: Iterable[Part]) -> Iterator[str]:
    """Committed ranges that share a position."""
    for before, after in pairwise(sorted(parts)):
        if after.start < before.end:
            yield f"{where}: committed twice: {before} and {after}"


def gaps(where: str, ranges: list[tuple[int, int]], least: int) -> Iterator[str]:
    """Positions from the first on that are in none.

    :param least: there are at least so many.
    """
    at = 0
    for start, end in [*sorted(ranges), (least, least)]:
        if start > at:
            yield f"{where}: nobody has committed {at}-{start}"
        at = max(at, end)


def lines_of(request: Request, spool: Path) -> int:
    """How many lines its input has, as far as its files are still what they were."""
    lines = 0
    for submitted in request.of("submitted"):
        lines += int(submitted.body["inputs"].get("numbers", 0))
        for name, path, base, size, mtime, _ in files_of(submitted.body["inputs"], spool):
            if size < MOST_COUNTED and not name.endswith(PACKED) and is_same(Path(path), size, mtime):
                with open(path, "rb") as file:
                    file.seek(base)
                    lines += count_lines(file.read(size))
    return lines


def files_of(inputs: dict[str, Any], spool: Path) -> Iterator[list[Any]]:
    """Name, path, base, size, time and inode of each; a long list of them lies in the spool."""
    yield from inputs.get("files", ())
    place = inputs.get("table", {}).get("place")
    if place is None or not (spool / place["path"]).is_file():
        return
    with open(spool / place["path"], "rb") as file:
        file.seek(place["offset"])
        while file.tell() < place["offset"] + place["size"]:
            length, _ = struct.unpack("<II", file.read(8))
            yield from json.loads(zlib.decompress(file.read(length)))


def is_same(path: Path, size: int, mtime: int | None) -> bool:
    """Whether it is the file that was submitted; what was uploaded has no time."""
    if not path.is_file():
        return False
    facts = path.stat()
    return mtime is None or (facts.st_size, facts.st_mtime_ns) == (size, mtime)


def count_lines(data: bytes) -> int:
    """The last may have no newline."""
    return data.count(b"\n") + (bool(data) and not data.endswith(b"\n"))


# I5


def epochs_are_sound(seen: Evidence) -> Iterator[str]:
    """A commit of an older life of the server counts only on lines that were open then."""
    for request in seen.requests.values():
        for phase, parts in request.phases.items():
            where, taken = f"{request.id} {phase[0]} {phase[1]}", list[Part]()
            for each in parts:
                if each.epoch > each.life > 0:
                    yield f"{where}: {each} came by a lease that is not given yet"
                if each.epoch < each.life:
                    yield from (
                        f"{where}: of an older epoch, and not open: {each} over {other}"
                        for other in taken
                        if other.start < each.end and each.start < other.end
                    )
                taken.append(each)


# I7


def answers_are_true(seen: Evidence) -> Iterator[str]:
    """What a command has put in its place is the answer of a request; so is a folder with _SUCCESS."""
    done = set(digests(seen))
    for each in seen.story.told:
        if not each.output or "--detach" in each.words:
            continue
        place, name = Path(each.output), " ".join(each.words)[:200]
        if each.answer and each.answer not in done and not is_unfinished(place):
            yield f"{name}: {place} is there, and is no request's answer"
        if each.status == 0 and not each.answer and place.parent.is_dir() and is_regular(place):
            yield f"{name}: it said that it was done, and {place} is not there"


def is_unfinished(place: Path) -> bool:
    """Whether it is a folder that does not claim to be whole."""
    return place.is_dir() and not (place / SUCCESS).exists()


def is_regular(place: Path) -> bool:
    """Whether an answer there would stay."""
    return not place.exists() or place.is_file() or place.is_dir()


def parts_are_there(seen: Evidence) -> Iterator[str]:
    """What the journal names is in the spool, with the digest that was recorded."""
    budget, facts = MOST_BYTES, list(kept_facts(seen.state))
    phases = [parts for each in requests_of(facts).values() for parts in each.phases.values()]
    # What was told to be lost may be anything.
    counting = {part.fact for parts in phases for part in parts}
    for fact in facts:
        output = fact.body.get("output")
        if fact.kind != "committed" or output["place"] is None or fact.id not in counting:
            continue
        budget -= output["place"]["size"]
        if budget < 0:
            return
        found = digest_in_spool(seen.state / "spool", output["place"])
        if found is None and fact.stream.endswith(".runs"):
            continue  # It was merged, and the row that says so is enough.
        if found != output["digest"]:
            where = f"{fact.stream} {output['start']}-{output['end']}"
            yield f"{where}: {output['place']} has digest {found}"


def digest_in_spool(spool: Path, place: dict[str, Any]) -> str | None:
    """SHA-256 of a part of a file; None: it is not there."""
    digest, left = hashlib.sha256(), place["size"]
    try:
        with open(spool / place["path"], "rb") as file:
            file.seek(place["offset"])
            while left and (data := file.read(min(left, FILE_BYTES))):
                digest.update(data)
                left -= len(data)
    except FileNotFoundError:
        return None
    return digest.hexdigest() if not left else None


# I8


def nothing_is_left(seen: Evidence) -> Iterator[str]:
    """The spool holds what the journal names and nothing else; processes and files: ``Cluster.end``."""
    spool = seen.state / "spool"
    kept = list(kept_facts(seen.state))
    known = {each.stream for each in kept}
    named = {each.body["output"]["place"]["path"] for each in kept if places_of(each)}
    named |= {each["path"] for fact in kept for each in bundles_of(fact)}
    named |= {run["place"]["path"] for fact in kept for run in fact.body.get("runs", ()) if run["place"]}
    for folder in (spool / "requests").glob("*"):
        if folder.name.partition(".")[0] not in {each.partition(".")[0] for each in known}:
            yield f"nobody knows {folder.relative_to(spool)}"
        for each in folder.glob("run-*"):
            if str(each.relative_to(spool)) not in named:
                yield f"no fact names {each.relative_to(spool)}"


def places_of(fact: Fact) -> bool:
    """Whether a fact names a place of an output."""
    return bool(fact.body.get("output") and fact.body["output"]["place"])


def bundles_of(fact: Fact) -> list[dict[str, Any]]:
    """Uploaded inputs, and the list of them, that a fact names."""
    inputs: dict[str, Any] = fact.body.get("inputs", {})
    return [*inputs.get("bundles", []), *([inputs["table"]["place"]] if "table" in inputs else [])]


# I9


def logs_tell_nothing(seen: Evidence) -> Iterator[str]:
    """No log holds a secret: no planted word, and no line that opens a door."""
    canaries = [each.encode() for each in seen.story.canaries]
    for path in seen.story.logs:
        data = path.read_bytes() if path.exists() else b""
        for secret in {*LINE.findall(data), *(each for each in canaries if each in data)}:
            yield f"{path} holds a secret: {secret[:12].decode('ascii', 'replace')}..."


def all_are_authorised(seen: Evidence) -> Iterator[str]:
    """Behind a door: who submits, cancels or forgets has joined by a secret, and owns the request."""
    audit = seen.state / "audit.log"
    if not audit.exists():
        return
    lines = [json.loads(each) for each in audit.read_text().splitlines()]
    joined: set[str] = set()
    submitted: dict[str, str] = {}
    for each in lines:
        secret = each.get("secret", "")
        if each["event"] == "joined":
            joined.add(secret)
        elif each["event"] in ("submitted", "cancelled", "forgot"):
            if secret not in joined:
                yield f"{each['event']} {each.get('request')} by '{secret}', who had not joined"
            owner = submitted.setdefault(each.get("request", ""), secret)
            if owner != secret:
                yield f"{each['event']} {each.get('request')} by '{secret}'; it is {owner}'s"
    yield from unaudited(seen, submitted)


def unaudited(seen: Evidence, submitted: dict[str, str]) -> Iterator[str]:
    """Requests with an owner of which the audit does not tell."""
    for name, request in seen.requests.items():
        for each in request.of("submitted"):
            owner = each.body.get("owner", "")
            if owner and submitted.get(name) != owner:
                yield f"{name} belongs to {owner}; the audit says {submitted.get(name)}"


CHECKS: tuple[tuple[str, Check], ...] = (
    ("I1", ends_once),
    ("I2", answers_are_those),
    ("I4", committed_once),
    ("I5", epochs_are_sound),
    ("I7", answers_are_true),
    ("I7", parts_are_there),
    ("I8", nothing_is_left),
    ("I9", logs_tell_nothing),
    ("I9", all_are_authorised),
)


def broken(
    state: Path, story: Story, more: Sequence[tuple[str, Check]] = (), *, was_killed: bool = False
) -> list[str]:
    """What is broken, each with its invariant's name; the server has ended.

    :param more: further checks: ``("I1", all_ended)`` where a scenario has waited for everything.
    :param was_killed: it could not tidy up: that is done by its next start.
    """
    seen = Evidence(state, tuple(read_history(state)), story)
    found: list[str] = []
    for name, check in (*CHECKS, *more):
        if was_killed and check is nothing_is_left:
            continue
        told = list(check(seen))
        found += [f"{name}: {each}" for each in told[:MOST_SHOWN]]
        if len(told) > MOST_SHOWN:
            found.append(f"{name}: and {len(told) - MOST_SHOWN} more")
    return found


def main(words: list[str]) -> int:
    """The program."""
    if not words or not (Path(words[0]) / "journal.sqlite").exists():
        print(f"invariants.py STATE STORY...: {words[:1]} is no state folder", file=sys.stderr)
        return 2
    whole = Story(Path())
    for each in map(Path, words[1:]):
        story = read_story(each)
        whole.told += story.told
        whole.logs += story.logs
        whole.canaries += story.canaries
    found = broken(Path(words[0]), whole)
    print("\n".join(found) or "all invariants hold")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
