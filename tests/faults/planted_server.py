"""Bugs for a server, one for each request in turn: imported before it starts.

Each is a thing that a real bug would do, at the place where it would be.
"""

from typing import Any

from hagoop import wire
from hagoop.docket import Docket
from hagoop.recorder import Recorder
from hagoop.spool import FolderSpool

BUGS = ("lost submit", "two ends", "other digest", "double commit", "lost job", "no epoch check")
BUGS += ("wrong part", "leaked file", "secret in a log")
"""The bug of r1, r2..."""

record, forget, submit = Recorder.record, FolderSpool.forget, Docket._write_down


def bug_of(request: str) -> str:
    """What is wrong with a request."""
    return BUGS[int(request.partition(".")[0][1:]) - 1]


async def planted_record(self: Recorder, stream: Any, kind: str, fact: Any, *more: Any) -> None:
    """Facts that are not recorded, recorded twice, or false."""
    bug = bug_of(stream)
    if kind == "ended" and bug == "two ends":
        await record(self, stream, kind, {**fact, "state": "failed"}, *more)
    if kind == "ended" and bug == "other digest":
        fact = {**fact, "digest": "0" * 64}
    if kind == "committed" and bug == "double commit":
        await record(self, stream, kind, fact, *more)
    if kind == "committed" and bug == "wrong part":
        fact = {**fact, "output": {**fact["output"], "digest": "1" * 64}}
    if kind == "committed" and bug == "lost job" and fact["output"]["start"] == 0:
        return
    await record(self, stream, kind, fact, *more)
    if kind == "committed" and bug == "no epoch check":
        await record(self, stream, kind, {**fact, "lease": "0-1"}, *more)


async def planted_submit(self: Docket, request: Any, key: Any, submission: Any) -> Any:
    """What is acknowledged, and not written down; and what is told to the log."""
    if bug_of(request) == "secret in a log":
        print(submission.program.env)
    if bug_of(request) != "lost submit":
        return await submit(self, request, key, submission)
    files, _ = await self.inputs.survey(request, submission)
    fact = {"owner": key[0], "key": key[1], "submission": None, "inputs": files, "wall": self.wall()}
    return {**fact, "submission": wire.to_plain(submission)}


def planted_forget(self: FolderSpool, request: Any) -> Any:
    """Files that stay when their request is gone."""
    if bug_of(request) == "leaked file":
        return forget(self, "r99")  # type: ignore[arg-type]
    return forget(self, request)


Recorder.record = planted_record  # type: ignore[method-assign, assignment]
Docket._write_down = planted_submit  # type: ignore[method-assign]
FolderSpool.forget = planted_forget  # type: ignore[method-assign]
