"""Files that server and worker both see: told by one, looked at by the other, and where a line ends."""

import os
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from hagoop import in_place, wire
from hagoop.answers import Answer
from hagoop.errors import BadMessage, TransferFailed
from hagoop.feeding import Feed
from hagoop.found import walk
from hagoop.in_place import SharedFile, find_shared
from hagoop.incoming import Incoming, NoBody
from hagoop.inputs import FileInputs
from hagoop.jobs import Assignment, AssignmentId, FileList, Phase, Program, RequestId, Submission
from hagoop.memory_spool import MemorySpool
from hagoop.phases import RequestData
from hagoop.source_files import SourceFile, files_in_place

TEXTS = {"a": b"1\n2\n", "b": b"3\n4"}


async def here(function, *arguments):
    """In place of a thread: do it now."""
    return function(*arguments)


def outcome(coroutine) -> Any:
    """What comes of it, at once; a failure is raised."""
    results: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    return result


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Two files, the second without its last newline."""
    for name, data in TEXTS.items():
        (tmp_path / name).write_bytes(data)
    return [tmp_path / name for name in TEXTS]


def told_of(sources: list[SourceFile], start: int = 0, end: int = 4, phase: Phase = Phase.MAP) -> bytes:
    """What the server says of an assignment's files."""
    inputs = FileInputs(sources)
    inputs.build(None, lambda: None, lambda work: Deferred.fromCoroutine(here(work)))
    program, request, spool = Program(None, None, binary="./b"), RequestId("r1"), MemorySpool(Clock(), 9)
    data = RequestData(request, Submission(program, ()), inputs, spool, Answer(spool, here))
    it = Assignment(AssignmentId("1-1"), request, phase, 0, start, end, 9, 1.0, 0, program, "", 10)
    return b"".join(data.files(it))


def found_by_worker(told: bytes) -> list[tuple[str, int, int, SharedFile]]:
    """Which lines of which files a worker reads in place that was told this."""
    incoming = Incoming(NoBody())
    incoming.write(told)
    incoming.end()
    shared = outcome(find_shared(incoming, here))
    return [(piece.name, piece.file_line, piece.offset, file) for piece, file in shared]


def share(path: Path) -> SharedFile:
    """A file that is shared."""
    (found,) = walk([path])
    return SharedFile(found, False, path.stat().st_ctime_ns, here)


# Who sees what


def test_worker_shares_the_files_that_it_sees(paths):
    """It knows where its lines are in them, and whether the last one lacks its end."""
    shared = found_by_worker(told_of(list(files_in_place(walk(paths))), 1, 3))
    assert [each[1:3] for each in shared] == [(1, 2), (0, 0)]
    assert [(each.path, each.unended) for *_, each in shared] == [(paths[0], False), (paths[1], True)]


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def replace(path: Path) -> None:
    facts, other = path.stat(), path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    other.rename(path)


def become_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def write_and_date_back(path: Path) -> None:
    facts = path.stat()
    path.write_bytes(path.read_bytes().upper())
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def go_and_come_back(path: Path) -> None:
    path.rename(path.with_name("away")).rename(path)


CHANGES = [touch, replace, become_a_pipe, Path.unlink, lambda path: os.truncate(path, 3)]


@pytest.mark.parametrize("change", CHANGES)
def test_worker_that_sees_one_file_less_fetches_all(paths, change):
    """Another file at a path, or none, is not read."""
    told = told_of(list(files_in_place(walk(paths))))
    assert len(found_by_worker(told)) == 2
    change(paths[1])
    assert found_by_worker(told) == []


def test_file_that_cannot_be_read_any_more_is_not_shared(paths, monkeypatch):
    """It may go, or be closed to us, at any moment."""
    told = told_of(list(files_in_place(walk(paths))))

    def refuse(path):
        raise PermissionError

    monkeypatch.setattr(in_place, "open_regular", refuse)
    assert found_by_worker(told) == []


def test_nothing_is_told_of_lines_that_are_not_all_in_place(paths, tmp_path):
    """Those of an upload, also if others beside them are; and those of other phases."""
    in_place = list(files_in_place(walk(paths)))
    uploaded = SourceFile("a", str(paths[0]), 0, 4)
    nothing = wire.encode(FileList((), ())) + b"\n"
    assert told_of([uploaded, in_place[1]]) == nothing
    assert told_of(in_place, phase=Phase.REDUCE) == nothing
    assert found_by_worker(nothing) == []
    # The lines of the first alone are.
    assert len(wire.decode(FileList, told_of([in_place[0], uploaded], 0, 2)).files) == 1


@pytest.mark.parametrize("told", [b"", b"no", b"no\n", b'{"pieces": [], "files": []}\nand more'])
def test_server_that_tells_nothing_is_no_failure(told):
    """It may be older, or away for a moment."""
    incoming = Incoming(NoBody())
    try:
        incoming.write(told)
        incoming.end(Failure(TransferFailed("the server refused files")))
    except BadMessage as error:
        incoming.end(Failure(error))
    assert outcome(find_shared(incoming, here)) == []


def test_each_piece_has_its_file():
    """A list of other lengths is no message of ours."""
    found = wire.encode(next(walk([Path(__file__)])))
    with pytest.raises(BadMessage, match="each piece is in one file"):
        wire.decode(FileList, b'{"pieces": [], "files": [%b]}' % found)


# Reading


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"")), min_size=1), st.data())
def test_lines_end_where_a_simple_search_finds_it(tmp_path, texts, data):
    """From any line on, in chunks small and large, not beyond the limit."""
    content = b"\n".join(texts)
    starts = [0, *(at + 1 for at, byte in enumerate(content) if byte == ord("\n"))]
    first = data.draw(st.integers(0, len(starts) - 1))
    limit = data.draw(st.integers(starts[first], len(content)))
    count = data.draw(st.integers(1, len(texts) + 2))
    wanted = starts[first + count] if first + count < len(starts) else len(content)
    (tmp_path / "a").write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_place, "SCAN_BYTES", data.draw(st.sampled_from([1, 2, 7, 1000])))
        found = outcome(share(tmp_path / "a").find_line(starts[first], limit, count))
    assert found == min(wanted, limit)


def test_last_line_without_its_end_is_not_read_in_place(paths):
    """A program may count on a newline; all lines before it are."""
    *_, file = found_by_worker(told_of(list(files_in_place(walk(paths)))))[1]
    assert file.serves(Feed(file.path, 0, 2))
    assert not file.serves(Feed(file.path, 0, 3))
    assert evolve(file, unended=False).serves(Feed(file.path, 0, 3))


@pytest.mark.parametrize("change", [*CHANGES, write_and_date_back, go_and_come_back])
def test_file_that_changes_while_it_is_read_is_told(paths, change):
    """Whoever read it, may have read anything."""
    file = share(paths[1])
    assert outcome(file.check()) is None
    change(paths[1])
    with pytest.raises(TransferFailed, match=rf"^'{paths[1]}' changed while it was read$"):
        outcome(file.check())


@pytest.mark.parametrize("change", [become_a_pipe, Path.unlink, lambda path: os.truncate(path, 1)])
def test_lines_that_are_not_there_any_more_are_told(paths, change):
    """Neither waited for nor guessed."""
    file = share(paths[0])
    change(paths[0])
    with pytest.raises(TransferFailed, match="changed while it was read"):
        outcome(file.find_line(0, 4, 2))
