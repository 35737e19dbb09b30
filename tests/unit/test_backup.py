"""A backup is of one moment, whole, private, and good to start from."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define, field
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock

from hagoop import backup, wire
from hagoop.arriving import SMALL_BYTES
from hagoop.backup import Copied, back_up
from hagoop.errors import StateError
from hagoop.jobs import LEAP, Output, Phase, Place, Program, RequestId, Shipped, Source, Submission
from hagoop.journal import Later, SqliteJournal
from hagoop.recovery import Story, read_stories
from hagoop.source_files import SourceFile, in_spool
from hagoop.spool import FolderSpool

LARGE = b"large" * SMALL_BYTES
R1, RUNS = RequestId("r1"), RequestId("r1.runs")


@define
class State:
    """A server's state with a request in it, and what a server would do to it."""

    folder: Path
    clock: Clock = field(factory=Clock)
    journal: SqliteJournal = field(init=False)
    spool: FolderSpool = field(init=False)
    program: str = ""
    _commits: int = 0

    def __attrs_post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.start()
        arrived = self._arrive(b"#!/bin/sh\n")
        self.program = arrived.digest
        sync = self.spool.keep_blob(arrived)
        place, kept = self.spool.keep(R1, self._arrive(b"b\na\n"))
        shipped = Shipped("map.sh", self.program, 10, True)
        submission = Submission(
            Program("./map.sh", "cat", files=(shipped,)), (Source("upload", "u1"),), "it"
        )
        inputs = {"files": [["stdin", str(self.spool.locate(place)), 0, 4, None, None]]}
        fact = {
            "owner": "",
            "key": "k",
            "submission": wire.to_plain(submission),
            "inputs": {**inputs, "bundles": wire.to_plain([place])},
            "wall": 1.0,
        }
        self._do(self.journal.append(R1, "submitted", fact, [sync, kept]))

    def start(self) -> None:
        """The server starts."""
        self.journal = SqliteJournal(
            self.folder / "journal.sqlite", self.clock, elsewhere=Later(self.clock)
        )
        self.spool = FolderSpool(self.folder / "spool", None, 1 << 40, maybeDeferred)

    def stop(self) -> None:
        """It stops."""
        self.journal.close()
        self.clock.advance(0)

    def _arrive(self, data: bytes):
        arriving = self.spool.receive(len(data))
        arriving.write(data)
        return arriving.finish()

    def _do(self, done) -> None:
        self.clock.advance(0)
        assert done.called

    def commit(self, data: bytes) -> Place:
        """A worker has committed one more run."""
        place, sync = self.spool.keep(RUNS, self._arrive(data))
        output = Output(self._commits, self._commits + 1, "d", place)
        self._commits += 1
        fact = {"phase": Phase.MAP, "round": 0, "step": 0, "output": wire.to_plain(output)}
        self._do(self.journal.append(RUNS, "committed", {**fact, "counters": []}, [sync]))
        return place

    def merge(self) -> tuple[Place, Place]:
        """What was committed is merged, and gone; where it was, and where the merged run is."""
        before = self.commit(LARGE)
        place, sync = self.spool.keep(RUNS, self._arrive(LARGE + b"merged"))
        output = wire.to_plain(Output(0, 1, "d", place))
        fact = {"phase": Phase.MERGE, "round": 0, "step": 0, "output": output, "counters": []}
        self._do(self.journal.append(RUNS, "committed", fact, [sync]))
        reads = {"phase": Phase.REDUCE, "round": 1, "cut": 0, "step": 0, "wanted": Phase.REDUCE}
        self._do(self.journal.append(R1, "phase", {**reads, "runs": [output]}))
        self.spool.drop(RUNS, [before])
        self.clock.advance(0)
        return before, place

    def clear(self) -> None:
        """The request's runs are needed no more."""
        self._do(self.journal.forget(RUNS))
        self.spool.forget(RUNS)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    """A running server's state with a small run and a large one."""
    made = State(tmp_path / "state")
    made.commit(b"small")
    made.commit(LARGE)
    yield made
    made.stop()


def stories(folder: Path) -> tuple[int, list[Story]]:
    """How often a copy has been started with this time, and what it tells."""
    journal = SqliteJournal(folder / "journal.sqlite", Clock(), elsewhere=Later(Clock()))
    found = read_stories(journal.replay())
    journal.close()
    return journal.epoch, found


def bytes_of(folder: Path, story: Story) -> list[bytes]:
    """What a copy's spool holds for a request."""
    spool = FolderSpool(folder / "spool", None, 1 << 40, lambda work: work())
    found = []
    for each in story.places:
        with spool.open(each) as file:
            found.append(file.read())
    return found


def files(folder: Path) -> set[str]:
    return {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}


def test_copy_holds_what_rows_name(state: State, tmp_path: Path) -> None:
    """All files with their bytes, none that nobody names, and no second names are left."""
    (state.folder / "spool/arriving/7").write_bytes(b"on its way")
    assert back_up(state.folder, tmp_path / "copy").requests == 1
    [story, gone] = stories(tmp_path / "copy")[1]
    assert bytes_of(tmp_path / "copy", story) == [b"b\na\n", b"small", LARGE]
    assert (tmp_path / "copy/spool/blobs" / state.program).read_bytes() == b"#!/bin/sh\n"
    kept = {"requests/r1/segment-0", "requests/r1.runs/segment-0", "requests/r1.runs/run-1"}
    assert files(tmp_path / "copy/spool") == kept | {f"blobs/{state.program}"}
    assert gone.submitted is None
    assert os.listdir(state.folder / "spool/arriving") == ["7"]
    assert sorted(os.listdir(tmp_path)) == ["copy", "state"]


def test_runs_that_were_merged_are_not_missed(state: State, tmp_path: Path) -> None:
    """Rows name them for as long as the request runs; only what it still reads must be there."""
    before, merged = state.merge()
    assert not state.spool.locate(before).exists()
    back_up(state.folder, tmp_path / "copy")
    [story, _] = stories(tmp_path / "copy")[1]
    paths = {each.path for each in story.places}
    assert merged.path in paths
    assert before.path not in paths
    assert bytes_of(tmp_path / "copy", story) == [b"b\na\n", LARGE + b"merged"]


def test_name_that_rows_have_is_not_given_again(state: State) -> None:
    """Whatever they say of it would seem to be said of the new one."""
    before, merged = state.merge()
    state.spool.drop(RUNS, [merged])
    state.clock.advance(0)
    state.stop()
    state.start()
    found = read_stories(state.journal.replay())
    names = [name for story in found for name in story.names]
    state.spool.sweep([R1, RUNS], [place for each in found for place in each.places], names=names)
    place, sync = state.spool.keep(RUNS, state._arrive(LARGE))
    sync.sync()
    assert place.path not in {before.path, merged.path}


def test_copy_is_its_owners_alone(state: State, tmp_path: Path) -> None:
    """Whatever the modes of the original are; the door and the logs are in it, locks are not."""
    (state.folder / "door").mkdir()
    for name in ("door/server.pem", "door/secrets.json", "door/lock", "lives.jsonl", "audit.log.1"):
        (state.folder / name).write_text(name)
    back_up(state.folder, tmp_path / "copy")
    assert {"door/server.pem", "door/secrets.json", "lives.jsonl", "audit.log.1"} < files(
        tmp_path / "copy"
    )
    assert "door/lock" not in files(tmp_path / "copy")
    found = [tmp_path / "copy", *(tmp_path / "copy").rglob("*")]
    modes = {(each.is_dir(), stat.S_IMODE(each.stat().st_mode)) for each in found}
    assert modes == {(True, 0o700), (False, 0o600)}


def test_numbers_of_the_copy_are_ahead(state: State, tmp_path: Path) -> None:
    """What the original gives after this moment means nothing else to a server started from the copy."""
    back_up(state.folder, tmp_path / "copy")
    epoch, [_, gone] = stories(tmp_path / "copy")
    assert epoch > state.journal.epoch + LEAP
    assert gone.request == f"r{1 + LEAP}"
    back_up(state.folder, tmp_path / "again")
    assert stories(tmp_path / "again")[0] == epoch


@pytest.mark.parametrize("links", [True, False], ids=["pinned", "no second names"])
def test_what_is_dropped_meanwhile_is_no_loss(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """What the first moment names is gone before it is pinned: the next moment is copied."""
    moments = []

    def copy_rows(source: Path, target: Path) -> None:
        real(source, target)
        moments.append(target)
        if len(moments) == 1:
            state.clear()
            state.commit(b"later")

    real = backup.copy_rows
    monkeypatch.setattr(backup, "copy_rows", copy_rows)
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError()))
    back_up(state.folder, tmp_path / "copy")
    assert len(moments) == 2
    [story, _] = stories(tmp_path / "copy")[1]
    assert bytes_of(tmp_path / "copy", story) == [b"b\na\n", b"later"]
    assert sorted(os.listdir(tmp_path)) == ["copy", "state"]


def test_what_is_dropped_while_it_is_copied_is_in_the_copy(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is pinned: the bytes stay until they are copied, however long that takes."""
    pinned = backup.epoch_of

    def then_drop(path: Path) -> int:
        state.clear()
        return pinned(path)

    monkeypatch.setattr(backup, "epoch_of", then_drop)
    back_up(state.folder, tmp_path / "copy")
    [story, _] = stories(tmp_path / "copy")[1]
    assert bytes_of(tmp_path / "copy", story) == [b"b\na\n", b"small", LARGE]


def test_restart_meanwhile_is_noticed(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start may name another file as one that is gone: the moment after it is copied."""
    copied = []

    def copy_rows(source: Path, target: Path) -> None:
        real(source, target)
        copied.append(target)
        if len(copied) == 1:
            state.stop()
            state.start()

    real = backup.copy_rows
    monkeypatch.setattr(backup, "copy_rows", copy_rows)
    back_up(state.folder, tmp_path / "copy")
    assert len(copied) == 2
    assert stories(tmp_path / "copy")[0] > state.journal.epoch + LEAP


def test_half_of_a_write_behind_a_segment_is_not_copied(state: State, tmp_path: Path) -> None:
    """Only what rows name is."""
    with open(state.folder / "spool/requests/r1.runs/segment-0", "ab") as segment:
        segment.write(b"half of a")
    back_up(state.folder, tmp_path / "copy")
    assert (tmp_path / "copy/spool/requests/r1.runs/segment-0").read_bytes() == b"small"


def test_state_of_a_server_that_was_killed_is_left_as_it_is(tmp_path: Path) -> None:
    """Its next start reads what it has left; a backup in between changes none of it."""
    state = State(tmp_path / "state")
    state.commit(b"small")
    before = {each: (state.folder / each).read_bytes() for each in files(state.folder)}
    assert back_up(state.folder, tmp_path / "copy") == Copied(
        1, 1, sum(each.stat().st_size for each in (tmp_path / "copy").rglob("*") if each.is_file())
    )
    after = {each: (state.folder / each).read_bytes() for each in files(state.folder)}
    assert {each for each in after if after[each] != before.get(each)} <= {"journal.sqlite-shm"}
    state.stop()
    back_up(state.folder, tmp_path / "stopped")
    assert stories(tmp_path / "stopped")[1][0].places


def test_what_cannot_be_backed_up_is_told(state: State, tmp_path: Path) -> None:
    """One sentence each, and nothing is left behind."""
    with pytest.raises(StateError, match=r"nowhere' is no server's state: there is no journal.sqlite"):
        back_up(tmp_path / "nowhere", tmp_path / "copy")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    for taken in (tmp_path / "full", tmp_path / "full/file"):
        with pytest.raises(StateError, match="is there and not empty; name a folder"):
            back_up(state.folder, taken)
    with pytest.raises(StateError, match=r"'/proc' is (there and not empty|the top of a disk)"):
        back_up(state.folder, Path("/proc"))
    with pytest.raises(StateError, match=r"cannot be written .*; no backup was made"):
        back_up(state.folder, tmp_path / "full/file/copy")
    (tmp_path / "empty").mkdir()
    back_up(state.folder, tmp_path / "empty")
    assert sorted(os.listdir(tmp_path)) == ["empty", "full", "state"]


def test_lost_file_is_told(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that has lost what rows name, or a part of it."""
    monkeypatch.setattr(backup, "TRIES", 2)
    run = state.folder / "spool/requests/r1.runs/run-1"
    os.truncate(run, 7)
    with pytest.raises(StateError, match=r"run-1' is shorter than it was once; no backup was made"):
        back_up(state.folder, tmp_path / "copy")
    run.unlink()
    with pytest.raises(StateError, match=r"at last by the loss of .*run-1: try again"):
        back_up(state.folder, tmp_path / "copy")
    assert os.listdir(tmp_path) == ["state"]


def test_damaged_journal_is_told_by_its_own_name(state: State, tmp_path: Path) -> None:
    """Not by that of a copy that is gone."""
    state.stop()
    with sqlite3.connect(state.folder / "journal.sqlite") as db:
        db.execute("UPDATE fact SET body = replace(body, 'map', 'mop') WHERE id = 2")
    db.close()
    told = rf"no backup was made: Row 2 of '{state.folder}/journal.sqlite' does not match"
    with pytest.raises(StateError, match=told):
        back_up(state.folder, tmp_path / "copy")
    state.start()


def test_upload_is_found_where_the_spool_is_now() -> None:
    """Its path was written down by another server; a user's own file stays where it is."""
    old = SourceFile("stdin", "/old/place/spool/requests/r1/run-0", 3, 4)
    assert in_spool(old, Path("/new")).path == "/new/requests/r1/run-0"
    own = SourceFile("books", "/home/me/requests/r1/run-0", 0, 4, 17, 5)
    assert in_spool(own, Path("/new")) == own
