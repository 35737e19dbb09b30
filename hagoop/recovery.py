"""The normal start: every request as the journal knows it, with what was committed and nothing else.

Leases are not facts: after a restart all that is not committed is open.
"""

from collections.abc import Collection, Iterable
from typing import Any

from attrs import define, field
from twisted.logger import Logger

from hagoop import wire
from hagoop.advancing import enter_step, map_closed
from hagoop.docket import Docket
from hagoop.errors import TransferFailed
from hagoop.jobs import BadLine, Counter, Cover, Missing, Output, Phase, Place, RequestId, State
from hagoop.ledger import Ledger
from hagoop.phases import RequestData, round_of
from hagoop.progress import Progress
from hagoop.requests import Given

log = Logger()
# ``Any`` is a fact's body: JSON that the journal's checksums vouch for.
Fact = dict[str, Any]


@define
class Story:
    """The facts of one request, sorted by what they say.

    :ivar submitted: None when it is forgotten, and only its number is known.
    :ivar is_partial: whether it took its beginning from another: such do not outlive a restart.
    :ivar closed: what was left out of its first step's map, once that was closed.
    :ivar losses: how often the spool has lost what the request needed.
    :ivar cut: as ``RequestData`` has it; ``round`` likewise.
    """

    request: RequestId
    submitted: Fact | None
    is_partial: bool = False
    phase: Fact | None = None
    ended: Fact | None = None
    closed: Fact | None = None
    commits: list[Fact] = field(factory=list)
    bad: list[Fact] = field(factory=list)
    warnings: list[str] = field(factory=list)
    losses: int = 0
    cut: int = 0
    round: int = 0

    def add(self, kind: str, body: Fact) -> None:
        """One more fact; there may be many thousands of outputs, each is read once."""
        if self.submitted is None:
            return
        if kind in ("committed", "bad"):
            known = {**body, "output": wire.from_plain(Output, body["output"])}
            (self.commits if kind == "committed" else self.bad).append(known)
        elif kind == "warned":
            self.warnings.append(body["told"])
        elif kind == "phase":
            # There were times without cuts.
            self.phase, self.round, self.cut = body, body["round"], body.get("cut", 0)
        elif kind == "lost":
            self._lose(wire.from_plain(tuple[Place, ...], body["places"]))
        elif kind == "closed":
            self.closed = body
        elif kind == "ended":
            self.ended = body

    def _lose(self, lost: Collection[Place]) -> None:
        """Only what the first map gave is kept, as far as it was neither lost nor merged or dropped."""
        there = {each.place for each in (self.reads if self.phase else self.outputs(Phase.MAP, 0))}
        there -= set(lost)
        first = [each for each in self.commits if each["phase"] == Phase.MAP and not _step(each)]
        self.commits = [each for each in first if _place(each) is None or _place(each) in there]
        self.bad = [each for each in self.bad if not _step(each)]
        self.phase = None
        self.losses += 1
        self.cut += 1

    def needed(self) -> list[Output]:
        """What the running phase reads, and what it has given."""
        if self.phase is None:
            return self.outputs(Phase.MAP, 0)
        phase = Phase(self.phase["phase"])
        return [*self.reads, *self.outputs(phase, round_of(phase, self.step, self.round, self.cut))]

    def outputs(self, phase: Phase, round_: int) -> list[Output]:
        """What was committed in one phase; a line that was passed over printed nothing."""
        facts = [*self.commits, *self.bad]
        wanted = [each for each in facts if (each["phase"], each["round"]) == (phase, round_)]
        return [each["output"] for each in wanted]

    @property
    def step(self) -> int:
        """The step that runs, or ran last, from 0."""
        return _step(self.phase) if self.phase is not None else 0

    @property
    def maps(self) -> bool:
        """Whether a step's map phase runs, or ran last."""
        return self.phase is None or self.phase["phase"] == Phase.MAP

    @property
    def reads(self) -> tuple[Output, ...]:
        """What the phase reads, after the first."""
        return () if self.phase is None else wire.from_plain(tuple[Output, ...], self.phase["runs"])

    @property
    def shelves(self) -> list[RequestId]:
        """What the spool still keeps for it."""
        if self.submitted is None:
            return []
        runs = [] if self.ended is not None else [RequestId(f"{self.request}.runs")]
        return [self.request, *runs]

    @property
    def programs(self) -> list[str]:
        """Digests of the shipped files that are still needed."""
        if self.ended is not None or self.submitted is None:
            return []
        files: list[Fact] = self.submitted["submission"]["program"]["files"]
        return [each["digest"] for each in files]

    @property
    def places(self) -> Iterable[Place]:
        """All places that its facts name and that must still be there: what was merged is gone."""
        if self.submitted is None:
            return []
        needed = [] if self.ended is not None else self.needed()
        answer = [each["output"] for each in self.commits if _is_of(_place(each), self.request)]
        inputs = self.submitted["inputs"]
        listed = [inputs["table"]["place"]] if "table" in inputs else []
        given = wire.from_plain(tuple[Place, ...], [*inputs["bundles"], *listed])
        return [*given, *(each.place for each in (*answer, *needed) if each.place is not None)]

    @property
    def names(self) -> Iterable[str]:
        """All paths that its facts name, there or not: they must not be given again."""
        named = [*(each["output"] for each in self.commits), *self.reads]
        return [each.place.path for each in named if each.place is not None]


def _is_of(place: Place | None, shelf: RequestId) -> bool:
    return place is not None and place.path.split("/")[1] == shelf


def read_stories(rows: Iterable[tuple[str, str, Fact]]) -> list[Story]:
    """The requests that a journal tells of, oldest first."""
    stories: dict[str, Story] = {}
    for stream, kind, body in rows:
        name = stream.split(".", 1)[0]
        if kind == "submitted":
            partial = bool(body.get("partial_of"))
            stories[name] = Story(RequestId(name), None if partial else body, partial)
        elif name not in stories and kind == "forgotten":
            stories[name] = Story(RequestId(name), None)
        elif name in stories:
            stories[name].add(kind, body)
    return list(stories.values())


def restore(docket: Docket, stories: Iterable[Story]) -> None:
    """Fill an empty docket; then what runs goes on.  Blocks while indexes are read.

    A request whose runs cannot be read stands still, which is told once the server runs.
    """
    for story in stories:
        if story.submitted is None:
            docket.found_forgotten(story.request, is_partial=story.is_partial)
            continue
        docket.admit(story.request, story.submitted)
        try:
            _restore(docket, docket.data[story.request], story)
        except (TransferFailed, OSError) as problem:
            docket.clock.callLater(0, docket.stopped, story.request, problem)


def _restore(docket: Docket, data: RequestData, story: Story) -> None:
    _take_up_step(docket, data, story)
    _count(docket.ledger, story)
    _restore_closed(docket, story)
    if story.ended is not None:
        _restore_ended(docket, data, story)
    elif story.maps:
        _restore_map(docket, data, story)
    else:
        _restore_later(docket, data, story)


def _take_up_step(docket: Docket, data: RequestData, story: Story) -> None:
    data.round, data.cut = story.round, story.cut
    if story.phase is None or story.step == 0:
        return
    if story.maps and story.ended is None:
        data.enter(story.step, story.reads)
    else:
        data.be_at(story.step)
    enter_step(docket, story.request)


def _count(ledger: Ledger, story: Story) -> None:
    account = ledger.requests[story.request]
    facts = [story.ended] if story.ended is not None else story.commits
    account.commits = sum(_step(each) == story.step for each in story.commits)
    account.set_aside = sum(_step(each) == story.step for each in story.bad)
    account.warnings = list(story.warnings)
    for each in story.bad:
        account.found_bad(wire.from_plain(BadLine, each["line"]))
    for each in [each for each in facts if each["counters"]]:
        account.add_counters(wire.from_plain(tuple[Counter, ...], each["counters"]))
    running = story.commits if story.ended is None else []
    for each in [each for each in running if _step(each) == story.step]:
        output = each["output"]
        given = Given(output.end, output.digest, output.place, "")
        account.given[Phase(each["phase"]), each["round"], output.start] = given


def _restore_closed(docket: Docket, story: Story) -> None:
    if story.closed is not None:
        missing = wire.from_plain(tuple[Missing, ...], story.closed["missing"])
        cover = wire.from_plain(Cover, story.closed["cover"])
        map_closed(docket, story.request, missing, cover)


def _restore_ended(docket: Docket, data: RequestData, story: Story) -> None:
    if story.ended is None:
        return
    last = data.program.last_phase
    _restore_answer(data, last, story.outputs(last, data.round_of(last)))
    docket.ledger.request_ended(story.request, State(story.ended["state"]), story.ended["message"])
    docket.found_ended(story.request, story.ended)


def _restore_map(docket: Docket, data: RequestData, story: Story) -> None:
    outputs = story.outputs(Phase.MAP, data.step)
    if story.closed is not None and data.step == 0:
        _restore_answer(data, Phase.MAP, outputs)
        in_order = sorted(outputs, key=lambda each: each.start)
        docket.enact(docket.ledger.phase_given(story.request, Phase.MAP, in_order))
        return
    progress = docket.ledger.phase_began(story.request, Phase.MAP, data.step, None)
    _restore_outputs(data, progress, outputs)
    docket.begin(story.request)


def _restore_later(docket: Docket, data: RequestData, story: Story) -> None:
    if story.phase is None:
        return
    data.wanted = Phase(story.phase["wanted"])
    # There were times when nothing was thinned.
    following = data.proceed(story.reads, story.phase.get("thin", 1))
    if following is None:
        log.error("request {request} has a phase without work", request=story.request)
        return
    progress = docket.ledger.phase_began(
        story.request, following.phase, following.round, following.cumulative
    )
    _restore_outputs(data, progress, story.outputs(following.phase, following.round))
    docket.enact(docket.ledger.phase_checked(story.request))


def _restore_outputs(data: RequestData, progress: Progress, outputs: Iterable[Output]) -> None:
    for each in outputs:
        progress.restore(each)
    _restore_answer(data, progress.phase, outputs)


def _restore_answer(data: RequestData, phase: Phase, outputs: Iterable[Output]) -> None:
    for each in outputs if data.is_answer(phase) else ():
        data.answer.add(each)


def _place(commit: Fact) -> Place | None:
    place: Place | None = commit["output"].place
    return place


def _step(fact: Fact) -> int:
    """The step that a phase or a commit is of; there were times without steps."""
    step: int = fact.get("step", 0)
    return step
