"""What clients bring: what becomes of it when the request is not accepted."""

import errno
import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import define, evolve, field
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from hagoop.errors import BadProgram, StateError, TransferFailed
from hagoop.grants import Grants, UploadGrant
from hagoop.intake import Intake
from hagoop.interfaces import Syncable
from hagoop.jobs import Program, RequestId, Shipped, Source, Submission
from hagoop.spool import FolderSpool

PROGRAM = b"#!/x\n"
DIGEST = hashlib.sha256(PROGRAM).hexdigest()


@define(eq=False)
class Brought:
    """A program that a client has brought, and a server that may be asked to keep it.

    :ivar broken: how often the disk was called broken.
    """

    folder: Path
    broken: int = 0
    intake: Intake = field(init=False)
    submission: Submission = field(init=False)

    def __attrs_post_init__(self) -> None:
        grants = Grants(lambda: "word", lambda: 0.0)
        spool = FolderSpool(self.folder / "spool", Clock(), 1 << 20, on_broken=self._break)
        self.intake = Intake(spool, Clock(), maybeDeferred, grants, ())
        self.intake.expect(DIGEST, len(PROGRAM))
        grant = grants.find("word")
        assert isinstance(grant, UploadGrant)
        arriving = grant.receive(len(PROGRAM))
        arriving.write(PROGRAM)
        grant.arrived(arriving.finish())
        program = Program("./x", None, files=(Shipped("x", DIGEST, len(PROGRAM), True),))
        self.submission = Submission(program, (Source("lines", "9"),))

    def _break(self) -> None:
        self.broken += 1

    def survey(self, *sources: Source) -> Sequence[Syncable]:
        """Submit it; what is to be synced first."""
        submission = evolve(self.submission, sources=sources or self.submission.sources)
        surveyed = Deferred.fromCoroutine(self.intake.survey(RequestId("r1"), submission))
        found: list[Any] = []
        surveyed.addBoth(found.append)
        if isinstance(found[0], Failure):
            found[0].raiseException()
        return cast(Sequence[Syncable], found[0][1])


@pytest.fixture
def brought(tmp_path: Path) -> Brought:
    return Brought(tmp_path)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bytes of files that were synced."""
    made: list[bytes] = []
    monkeypatch.setattr("hagoop.stored.os.fsync", lambda number: made.append(os.pread(number, 99, 0)))
    monkeypatch.setattr("hagoop.stored.sync_folder", lambda folder: None)
    return made


def test_program_of_a_refused_request_is_kept_and_closed(
    brought: Brought, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its input went with the client; whoever ships the same program next need not send it."""
    opened: list[io.FileIO] = []

    class Watched(io.FileIO):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            opened.append(self)

    monkeypatch.setattr("hagoop.spool.io.FileIO", Watched)
    with pytest.raises(TransferFailed, match="nothing was uploaded as 'u8'"):
        brought.survey(Source("upload", "u8 u9"))
    assert brought.intake.has_program(DIGEST)
    assert [each.closed for each in opened] == [True]


@pytest.mark.parametrize("path", ["\ud800x", "../x", "/x", "a/../x", "", "a\0"])
def test_name_that_no_worker_could_give_a_file_is_refused(tmp_path: Path, path: str) -> None:
    """Here, once, and not by one worker after the other."""
    spool = FolderSpool(tmp_path / "spool", Clock(), 1 << 20)
    intake = Intake(spool, Clock(), maybeDeferred, Grants(lambda: "word", lambda: 0.0), ())
    program = Program("./x", None, files=(Shipped(path, "d", 1, True),))
    submission = Submission(program, (Source("lines", "5"),))
    refused: list[Any] = []
    Deferred.fromCoroutine(intake.survey(RequestId("r1"), submission)).addErrback(refused.append)
    told = f"a file cannot be shipped as {path!r}: name it by a relative path within a folder, in UTF-8"
    with pytest.raises(BadProgram) as caught:
        refused[0].raiseException()
    assert str(caught.value) == told


def test_program_is_synced_for_each_request_that_names_it(
    brought: Brought, synced: list[bytes]
) -> None:
    """Whoever brought it may not have been told yet, or never, that it is on disk."""
    kept = [brought.survey() for _ in range(3)]
    assert synced == []
    for [each] in kept:
        each.sync()
    assert synced == [PROGRAM] * 3


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_program_of_a_refused_request_that_cannot_be_synced_breaks_the_disk(
    brought: Brought, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It is asked once only: the next to look would find all well."""

    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("hagoop.stored.os.fsync", fail)
    with pytest.raises(StateError, match="see to the disk, then restart"):
        brought.survey(Source("upload", "u8 u9"))
    assert brought.broken == 1


def test_names_of_uploads_are_of_one_life_of_the_server(tmp_path: Path) -> None:
    """A client that names its own to the server that came back must not name another's."""
    grants = Grants(lambda: "word", lambda: 0.0)
    spool = FolderSpool(tmp_path / "spool", Clock(), 1 << 20)
    lives = [Intake(spool, Clock(), maybeDeferred, grants, ()) for _ in range(2)]
    names = {life.expect("", 10)[0] for life in lives for _ in range(3)}
    assert len(names) == 6
