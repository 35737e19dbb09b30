"""What clients bring: what becomes of it when the request is not accepted."""

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from hagoop.errors import BadProgram, TransferFailed
from hagoop.grants import Grants, UploadGrant
from hagoop.intake import Intake
from hagoop.jobs import Program, RequestId, Shipped, Source, Submission
from hagoop.spool import FolderSpool

PROGRAM = b"#!/x\n"


def test_program_of_a_refused_request_is_kept_and_closed(tmp_path: Path, monkeypatch) -> None:
    """Its input went with the client; whoever ships the same program next need not send it."""
    opened: list[io.FileIO] = []

    class Watched(io.FileIO):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            opened.append(self)

    monkeypatch.setattr("hagoop.spool.io.FileIO", Watched)
    grants = Grants(lambda: "word", lambda: 0.0)
    spool = FolderSpool(tmp_path / "spool", Clock(), 1 << 20)
    intake = Intake(spool, Clock(), maybeDeferred, grants, ())
    digest = hashlib.sha256(PROGRAM).hexdigest()
    intake.expect(digest, len(PROGRAM))
    grant = grants.find("word")
    assert isinstance(grant, UploadGrant)
    arriving = grant.receive(len(PROGRAM))
    arriving.write(PROGRAM)
    grant.arrived(arriving.finish())
    shipped = Shipped("x", digest, len(PROGRAM), True)
    program = Program("./x", None, files=(shipped,))
    submission = Submission(program, (Source("upload", "u8 u9"),))
    refused: list[Any] = []
    Deferred.fromCoroutine(intake.survey(RequestId("r1"), submission)).addErrback(refused.append)
    with pytest.raises(TransferFailed, match="nothing was uploaded as 'u8'"):
        refused[0].raiseException()
    assert intake.has_program(digest)
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


def test_names_of_uploads_are_of_one_life_of_the_server(tmp_path: Path) -> None:
    """A client that names its own to the server that came back must not name another's."""
    grants = Grants(lambda: "word", lambda: 0.0)
    spool = FolderSpool(tmp_path / "spool", Clock(), 1 << 20)
    lives = [Intake(spool, Clock(), maybeDeferred, grants, ()) for _ in range(2)]
    names = {life.expect("", 10)[0] for life in lives for _ in range(3)}
    assert len(names) == 6
