"""``hagoop-request check``, and the check that ``run --local`` does of small input by itself."""

import json
import os
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.threads import deferToThreadPool

from hagoop.check import Check
from hagoop.check_options import Checking
from hagoop.containers import find_container
from hagoop.errors import HaGoopError
from hagoop.findings import Finding, nothing_found
from hagoop.found import walk
from hagoop.interfaces import IWorkerReactor
from hagoop.outside import Outside, named_by
from hagoop.purity import Part
from hagoop.run_options import Running
from hagoop.sampling import STDIN, numbers, sample
from hagoop.subjects import Effort, roles_of
from hagoop.trying import Trier, ship
from hagoop.workbench import Workbench

T = TypeVar("T")
FOUND = 1
QUICK = Effort(
    lines=200,
    bytes=64 << 10,
    files=1,
    pieces=4,
    run_seconds=0.5,
    total_seconds=1.0,
    is_thorough=False,
)
"""What goes on beside a request that may be over in a second."""
_SMALL_BYTES = 1_000_000


@frozen
class Report:
    """What came of a check: of each step's programs."""

    steps: Sequence[Check]
    is_whole: bool

    @property
    def found(self) -> list[Finding]:
        """What was found; of several steps with the number of the step."""
        if len(self.steps) == 1:
            return self.steps[0].found
        return [
            evolve(each, text=f"step {number}: {each.text}")
            for number, step in enumerate(self.steps, 1)
            for each in step.found
        ]

    @property
    def programs(self) -> list[str]:
        """What the programs are called."""
        of = [f" of step {number}" for number, _ in enumerate(self.steps, 1)]
        of = of if len(of) > 1 else [""]
        pairs = zip(self.steps, of, strict=True)
        return [f"{role.name}{of}" for step, of in pairs for role in roles_of(step.program)]

    @property
    def tried(self) -> list[str]:
        """What was tried, as parts of a sentence."""
        return list(dict.fromkeys(each for step in self.steps for each in step.tried))


async def check(call: Checking, reactor: IWorkerReactor, effort: Effort = Effort()) -> int:  # noqa: B008
    """``check``; the exit status.

    :raises HaGoopError: the input cannot be read.
    """
    run = call.run
    parts = await _sample(run, reactor, effort)
    outside = Outside(named_by((run.program, *run.then), run.files))
    report = await examine(run, parts, call.seed, reactor, effort)
    found = [*report.found, *outside.findings(), *[_unfinished(effort)] * (not report.is_whole)]
    if run.json:
        print(json.dumps([{"text": each.text, "note": each.is_note} for each in found]))
    else:
        _tell(report, found, parts, run.quiet)
    return FOUND if any(not each.is_note for each in found) else 0


def _tell(report: Report, found: Sequence[Finding], parts: Sequence[Part], quiet: bool) -> None:
    for each in found:
        print(each)
    if quiet or any(not each.is_note for each in found):
        return
    lines = sum(len(each.lines) for each in parts)
    if not lines:
        print("Nothing was run: the input is empty")
    else:
        print(nothing_found(report.programs, lines, len(parts), report.tried))


def _unfinished(effort: Effort) -> Finding:
    told = f"the check was stopped after {effort.total_seconds:g} s: not all was tried"
    return Finding(told, is_note=True)


async def check_beside(call: Running, reactor: IWorkerReactor) -> None:
    """Warn of what a short check finds in programs for small input, and be silent of all else."""
    if call.quiet or call.json:
        return
    try:
        if await _in_thread(reactor, _is_small, call.inputs):
            parts = await _sample(call, reactor, QUICK)
            report = await examine(call, parts, 1, reactor, QUICK)
            for each in report.found:
                print(f"warning: {each}", file=sys.stderr, flush=True)
    except (HaGoopError, OSError):
        # What is wrong with inputs and programs the request itself will say.
        return


def _is_small(inputs: Sequence[str]) -> bool:
    if STDIN in inputs:
        return False
    return sum(each.size for each in walk([Path(each) for each in inputs])) < _SMALL_BYTES


async def examine(
    call: Running, parts: Sequence[Part], seed: int, reactor: IWorkerReactor, effort: Effort
) -> Report:
    """Check programs within the time that is given."""
    folder = Path(tempfile.mkdtemp(prefix="hagoop-check-"))
    bench = Workbench(reactor, folder, os.environ.get("PATH", os.defpath))
    # Trying out containers would hold up all else that goes on here.
    await _in_thread(reactor, find_container, bench.search)
    files = await _in_thread(reactor, ship, call.files, bench)
    trier = Trier(bench, call.program, effort.run_seconds)
    below = random.Random(seed).randrange
    steps = [evolve(trier, program=evolve(each, files=files)) for each in (call.program, *call.then)]
    checks = [Check(each, effort, below, Path.cwd()) for each in steps]
    running = Deferred.fromCoroutine(_one_by_one(checks, parts))
    try:
        await running.addTimeout(effort.total_seconds, reactor)
    except TimeoutError:
        return Report(checks, is_whole=False)
    finally:
        await trier.stop()
    return Report(checks, is_whole=True)


async def _one_by_one(steps: Sequence[Check], parts: Sequence[Part]) -> None:
    """Each step reads what the one before has printed."""
    for number, step in enumerate(steps, 1):
        if parts:
            await step.run(parts)
        lines = step.answer[: step.effort.lines]
        parts = [Part.of_file(f"answer of step {number}", lines)] if lines else []


async def _sample(call: Running, reactor: IWorkerReactor, effort: Effort) -> list[Part]:
    if call.lines is not None:
        return numbers(call.lines, effort.lines)
    most = effort.lines, effort.bytes, effort.files
    return await _in_thread(reactor, sample, call.inputs, sys.stdin.buffer, most)


async def _in_thread(reactor: IWorkerReactor, function: Callable[..., T], *arguments: object) -> T:
    called: Deferred[T] = deferToThreadPool(reactor, reactor.getThreadPool(), function, *arguments)
    return await called
