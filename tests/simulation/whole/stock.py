"""What is known of each request from outside the server, and what must hold of it."""

import hashlib
import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from attrs import define, field

from hagoop import wire
from hagoop.jobs import Output, Phase, RequestId
from hagoop.ranges import Range, RangeSet
from hagoop.recovery import Story, read_stories
from hagoop.rows import Write

if TYPE_CHECKING:
    from whole.world import World

Job = tuple[str, str, int, int, int]
Row = tuple[str, str, Any]
COMMITS = ("committed", "bad")


@define(eq=False)
class Stock:
    """Facts as others have been told them, and as they are on disk.

    :ivar safe: jobs that ever were on disk; ``accepted``: those of which a worker was told so.
    """

    world: "World"
    safe: set[Job] = field(factory=set)
    accepted: int = 0
    submitted: dict[str, str] = field(factory=dict)
    told_ended: dict[str, str] = field(factory=dict)

    # On disk

    def written(self, write: Write) -> None:
        """A row is on disk for certain."""
        self.note_row(write.name, write.kind, json.loads(write.body))

    def note_row(self, stream: str, kind: str, body: Any) -> None:
        """It says this."""
        if kind in COMMITS:
            job = _job(stream, body)
            self.safe.add(job)
            self.world.tell(f"disk: {job[0]} {job[1]} {job[2]} {job[3]}-{job[4]} {kind}")
        else:
            told = {name: body[name] for name in ("phase", "round", "state") if name in body}
            self.world.tell(f"disk: {stream} {kind} {' '.join(map(str, told.values()))}".rstrip())

    def check_rows(self) -> None:
        """No range is committed twice, each request ends once, and the bytes that rows name are."""
        ranges: dict[Any, RangeSet] = defaultdict(RangeSet)
        ends: Counter[str] = Counter()
        rows = [(stream, kind, json.loads(text)) for stream, kind, text in self.world.state.read()]
        for stream, kind, body in rows:
            if kind in COMMITS:
                output = wire.from_plain(Output, body["output"])
                # It raises for what is there already.
                ranges[stream, body["phase"], body["round"]].add(Range(output.start, output.end))
                self.safe.add(_job(stream, body))
            elif kind == "ended":
                ends[stream] += 1
        assert all(count == 1 for count in ends.values()), ends
        for story in read_stories(rows):
            self._check_bytes(story, rows)

    def _check_bytes(self, story: Story, rows: list[Row]) -> None:
        """What the server will read of a request is what was committed."""
        if story.submitted is None:
            return
        now = _phase_of(story)
        runs = [] if story.ended else list(story.reads)
        for stream, kind, body in rows:
            current = (body.get("phase"), body.get("round")) == now and not story.ended
            if kind == "committed" and stream.partition(".")[0] == story.request:
                if stream == story.request or current:
                    runs.append(wire.from_plain(Output, body["output"]))
        for each in runs:
            if each.place is not None:
                self._check_place(story.request, each)

    def _check_place(self, request: str, output: Output) -> None:
        place = output.place
        assert place is not None
        path = self.world.state.folder / "spool" / place.path
        data = path.read_bytes()[place.offset :][: place.size] if path.exists() else b"(no file)"
        if hashlib.sha256(data).hexdigest() != output.digest:
            self.world.wrong(f"{request}: {place} is on disk as {data[:40]!r}, not as it was committed")

    # As told

    def commit_accepted(self, name: str, job: Any) -> None:
        """A worker was told that its job counts."""
        self.accepted += 1
        if (job.request, job.phase, job.round, job.start, job.end) not in self.safe:
            told = f"{job.request} {job.phase} {job.start}-{job.end} counts"
            self.world.wrong(f"{name} was told that {told}, and it is not on disk")

    def submit_answered(self, key: str, request: RequestId) -> None:
        """A client was told what its request is."""
        if self.submitted.setdefault(key, request) != request:
            self.world.wrong(f"one submission is {self.submitted[key]} and {request}")
        rows = [stream for stream, kind, _ in self.world.state.ever if kind == "submitted"]
        if request not in rows:
            self.world.wrong(f"{request} was acknowledged, and is not on disk")

    def end_told(self, request: str, state: str) -> None:
        """A client was told how a request has ended."""
        if self.told_ended.setdefault(request, state) != state:
            self.world.wrong(f"{request} has ended as {self.told_ended[request]} and as {state}")
        if not any((stream, kind) == (request, "ended") for stream, kind, _ in self.world.state.ever):
            self.world.wrong(f"the end of {request} was told, and is not on disk")


def _job(stream: str, body: Any) -> Job:
    output = wire.from_plain(Output, body["output"])
    return stream.partition(".")[0], body["phase"], body["round"], output.start, output.end


def _phase_of(story: Story) -> tuple[str, int]:
    """Phase and round of what is committed now."""
    if story.phase is None:
        return Phase.MAP, 0
    phase = story.phase["phase"]
    return phase, story.phase["round"] if phase == Phase.MERGE else story.step
