"""What the journal promises, for the file and for memory alike."""

import errno
import os
import sqlite3
from contextlib import closing

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from hagoop.errors import SpoolFull, StateError
from hagoop.examining import SCHEMA, connect_to_read, meta_of
from hagoop.interfaces import IJournal
from hagoop.journal import Later, MemoryDisk, MemoryJournal, SqliteJournal, lock_state


@define
class Bytes:
    """Something to sync that notes when it was, and may fail."""

    problem: Exception | None = None
    story: list = field(factory=list)
    name: str = "bytes"

    def sync(self):
        self.story.append(self.name)
        if self.problem is not None:
            raise self.problem


@define
class Subject:
    """A journal that can be opened again and again, on a clock."""

    clock: Clock
    open: object

    def run(self, deferred):
        """The outcome of a Deferred after the clock's next turn."""
        self.clock.advance(0)
        found = []
        deferred.addBoth(found.append)
        return found[0]


@pytest.fixture(params=["memory", "sqlite"])
def subject(request, tmp_path):
    """A memory and an SQLite journal in turn."""
    clock = Clock()
    disk = MemoryDisk()

    def memory(on_broken=None):
        return MemoryJournal(clock, disk, on_broken)

    def sqlite(on_broken=None):
        return SqliteJournal(tmp_path / "journal.sqlite", clock, on_broken, Later(clock))

    made = []

    def remember(on_broken=None):
        made.append((memory if request.param == "memory" else sqlite)(on_broken))
        return made[-1]

    yield Subject(clock, remember)
    for each in made:
        each.close()
    clock.advance(0)


def test_provides_the_interface(subject):
    """Both have what IJournal names."""
    assert verifyObject(IJournal, subject.open())


def test_fact_fires_later_and_only_then(subject):
    """A Deferred never fires while append is still running."""
    appended = subject.open().append("r1", "submitted", {})
    assert not appended.called
    assert subject.run(appended) is None


def test_facts_come_back_in_order_after_a_restart(subject):
    """Interleaved streams replay in the order in which they were appended."""
    first = subject.open()
    for number in range(6):
        first.append(f"r{number % 2}", "committed", {"number": number})
    subject.run(first.close())
    second = subject.open()
    assert list(second.replay()) == [(f"r{n % 2}", "committed", {"number": n}) for n in range(6)]


def test_streams_go_on_after_a_restart(subject):
    """Facts appended by a second life check together with those of the first."""
    for life in range(3):
        journal = subject.open()
        journal.append("r1", "lived", {"life": life})
        journal.append("r2", "lived", {"life": life})
        subject.run(journal.close())
    assert [body["life"] for _, _, body in subject.open().replay()] == [0, 0, 1, 1, 2, 2]


def test_epoch_rises_with_each_start(subject):
    """Every opening counts, even without a fact."""
    epochs = []
    for _ in range(3):
        journal = subject.open()
        epochs.append(journal.epoch)
        subject.run(journal.close())
    assert epochs == [1, 2, 3]


def test_value_replaces_its_older_one(subject):
    """Only the last value of a key is kept."""
    journal = subject.open()
    journal.put("worker/a", {"lost": 1})
    journal.put("worker/b", {"lost": 7})
    journal.put("worker/a", {"lost": 2})
    subject.run(journal.close())
    assert subject.open().values() == {"worker/a": {"lost": 2}, "worker/b": {"lost": 7}}


def test_forgotten_stream_leaves_the_others(subject):
    """Forgetting removes one stream, which may then begin anew."""
    journal = subject.open()
    journal.append("gone", "submitted", {"n": 1})
    journal.append("stays", "submitted", {"n": 2})
    journal.forget("gone")
    journal.append("gone", "submitted", {"n": 3})
    subject.run(journal.close())
    kept = [(stream, body["n"]) for stream, _, body in subject.open().replay()]
    assert kept == [("stays", 2), ("gone", 3)]


def test_group_syncs_each_thing_once_before_it_fires(subject):
    """Facts of one group that share a file cost one sync of it."""
    journal, shared, other = subject.open(), Bytes(name="shared"), Bytes(name="other")
    story = shared.story
    other.story = story
    for syncs in ([shared], [shared, other], [other]):
        done = journal.append("r1", "committed", {}, syncs)
        done.addCallback(lambda _: story.append("fired"))
    subject.clock.advance(0)
    assert story == ["shared", "other", "fired", "fired", "fired"]


def test_full_disk_fails_the_group_and_nothing_after_it(subject, monkeypatch):
    """ENOSPC is told as SpoolFull, leaves no fact, and passes."""
    journal = subject.open()

    def full(writes):
        monkeypatch.undo()
        raise OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr(journal._store, "commit", full)
    failed = journal.append("r1", "committed", {"n": 1})
    beside = journal.append("r1", "committed", {"n": 2})
    problem = subject.run(failed).value
    assert isinstance(problem, SpoolFull)
    assert str(problem) == "The server's disk is full; free some space there, then try again"
    assert isinstance(subject.run(beside).value, SpoolFull)
    assert subject.run(journal.append("r1", "committed", {"n": 3})) is None
    assert [body["n"] for _, _, body in journal.replay()] == [3]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_failed_sync_breaks_the_journal_for_good(subject, number):
    """Nothing is acknowledged, nothing is tried again, and the owner is told once."""
    told, said = [], os.strerror(number)
    journal, bad = subject.open(told.append), Bytes(OSError(number, said))
    problem = subject.run(journal.append("r1", "committed", {}, [bad])).value
    assert isinstance(problem, StateError)
    assert f"could not be written ({said.lower()}); see to the disk, then restart" in str(problem)
    bad.problem = None
    assert subject.run(journal.append("r1", "committed", {}, [bad])).value is problem
    assert subject.run(journal.put("worker", {})).value is problem
    assert bad.story == ["bytes"]
    assert told == [problem]
    assert list(journal.replay()) == []


def test_facts_queued_behind_a_failed_sync_fail_too(subject):
    """What waits for the next group is not left waiting."""
    journal = subject.open()
    waiting = []
    first = journal.append("r1", "committed", {}, [Bytes(OSError(errno.EIO, "Input/output error"))])

    class Meanwhile:
        def sync(self):
            waiting.append(journal.append("r1", "committed", {}))

    second = journal.append("r1", "committed", {}, [Meanwhile()])
    journal._queued.rotate(1)
    problem = subject.run(first).value
    assert subject.run(second).value is problem
    assert subject.run(waiting[0]).value is problem


def test_bug_in_a_sync_leaves_no_deferred_waiting(subject):
    """An exception that nobody foresaw breaks the journal aloud."""
    failed = subject.open().append("r1", "committed", {}, [Bytes(KeyError("surprise"))])
    assert "could not be written ('surprise')" in str(subject.run(failed).value)


def test_close_writes_what_is_queued(subject):
    """Facts appended just before the end are there after it."""
    journal = subject.open()
    done = journal.append("r1", "submitted", {})
    closed = journal.close()
    assert subject.run(closed) is None
    assert done.called
    assert len(list(subject.open().replay())) == 1


def test_close_with_nothing_queued_and_twice(subject):
    """Closing is always possible."""
    journal = subject.open()
    assert subject.run(journal.close()) is None
    assert subject.run(journal.close()) is None


def test_nothing_can_be_appended_after_close(subject):
    """A closed journal says so."""
    journal = subject.open()
    subject.run(journal.close())
    assert str(subject.run(journal.append("r1", "submitted", {})).value) == "The journal is closed"


def test_name_that_is_no_text_fails_its_caller_only(subject):
    """A lone surrogate in a key does not end the writing of everybody."""
    journal = subject.open()
    with pytest.raises(UnicodeEncodeError):
        journal.put("\udcff", {})
    assert subject.run(journal.put("good", {})) is None


def test_body_that_is_no_json_fails_its_caller_only(subject):
    """What cannot be written is refused before it is queued."""
    journal = subject.open()
    with pytest.raises(TypeError):
        journal.append("r1", "submitted", {"path": b"bytes"})
    assert subject.run(journal.close()) is None


TEXTS = st.text(st.characters())
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS, TREES, max_size=4))
def test_bodies_come_back_equal(tmp_path_factory, body):
    """Any JSON does, surrogates of strange file names included."""
    path, clock = tmp_path_factory.mktemp("journal") / "j", Clock()
    journal = SqliteJournal(path, clock, elsewhere=Later(clock))
    journal.append("r1", "submitted", body)
    journal.put("v", body)
    clock.advance(0)
    assert list(journal.replay()) == [("r1", "submitted", body)]
    assert journal.values() == {"v": body}
    journal.close()
    clock.advance(0)


def _written(path, facts=4):
    """A closed journal of some facts and a value."""
    clock = Clock()
    journal = SqliteJournal(path, clock, elsewhere=Later(clock))
    for number in range(facts):
        journal.append("r1", "committed", {"number": number})
    journal.put("worker", {"lost": 1})
    journal.close()
    clock.advance(0)


def _read(path):
    """All that a journal holds."""
    clock = Clock()
    journal = SqliteJournal(path, clock, elsewhere=Later(clock))
    try:
        return list(journal.replay()), journal.values()
    finally:
        journal.close()
        clock.advance(0)


def _change(path, sql):
    with sqlite3.connect(path) as db:
        db.execute(sql)
    db.close()


@pytest.mark.parametrize(
    ("sql", "row"),
    [
        ("UPDATE fact SET body = '{\"number\":9}' WHERE id = 2", 2),
        ("UPDATE fact SET kind = 'x' WHERE id = 1", 1),
        ("UPDATE fact SET stream = 'r2' WHERE id = 1", 1),
        ("UPDATE fact SET chain = x'00' WHERE id = 3", 3),
        ("UPDATE fact SET body = 7 WHERE id = 3", 3),
        ("DELETE FROM fact WHERE id = 2", 3),
    ],
)
def test_changed_row_is_refused_by_number(tmp_path, sql, row):
    """A row that does not check is named, with what to do."""
    path = tmp_path / "j"
    _written(path)
    _change(path, sql)
    with pytest.raises(StateError) as caught:
        _read(path)
    advice = f"restore it from a backup, or move '{path}'* away to start empty"
    assert str(caught.value) == f"Row {row} of '{path}' does not match its checksum; {advice}"


def test_changed_value_and_epoch_are_refused(tmp_path):
    """Values and the epoch carry checksums too."""
    path = tmp_path / "j"
    _written(path)
    _change(path, "UPDATE value SET body = '{}'")
    with pytest.raises(StateError, match=r"Value 'worker' of .* does not match"):
        _read(path)
    _change(path, "UPDATE meta SET value = 0 WHERE key = 'epoch'")
    with pytest.raises(StateError, match=r"The epoch in .* does not match"):
        _read(path)


def test_newer_schema_is_refused(tmp_path):
    """An older HaGoop does not guess what a newer one meant."""
    path, clock = tmp_path / "j", Clock()
    journal = SqliteJournal(path, clock, elsewhere=Later(clock))
    journal._store._set_meta("schema", SCHEMA + 1)
    journal.close()
    clock.advance(0)
    with pytest.raises(StateError) as caught:
        SqliteJournal(path, clock)
    assert str(caught.value) == (
        f"'{path}' was written by a newer HaGoop (schema {SCHEMA + 1}, this one knows {SCHEMA}); "
        "upgrade HaGoop or choose another --state"
    )


def test_older_schema_is_read_and_written_anew(tmp_path):
    """What an older HaGoop has written is not to be read by it again: there may be more in it now."""
    path, clock = tmp_path / "j", Clock()
    for _ in range(2):
        journal = SqliteJournal(path, clock, elsewhere=Later(clock))
        with closing(connect_to_read(path)) as db:
            assert meta_of(db, path, "schema") == SCHEMA
        journal._store._set_meta("schema", 1)
        journal.close()
        clock.advance(0)


def test_file_that_is_no_database_is_refused(tmp_path):
    """Anything else in its place is told in one sentence."""
    path = tmp_path / "j"
    path.write_bytes(b"all work and no play " * 500)
    with pytest.raises(StateError) as caught:
        SqliteJournal(path, Clock())
    assert str(caught.value) == (
        f"'{path}' is no sound journal (file is not a database); "
        f"restore it from a backup, or move '{path}'* away to start empty"
    )


def test_place_that_cannot_be_opened_is_refused(tmp_path):
    """A folder in the journal's place gives a fix."""
    with pytest.raises(StateError, match="is not a file; restore it from a backup, or move"):
        SqliteJournal(tmp_path, Clock())


def test_damage_is_refused_or_does_not_matter(tmp_path):
    """With any one byte flipped the same facts come back, or a StateError does."""
    path = tmp_path / "j"
    _written(path)
    sound, whole = path.read_bytes(), _read(path)
    refused = 0
    for at in range(0, len(sound), 167):
        damaged = tmp_path / f"damaged-{at}"
        damaged.write_bytes(sound[:at] + bytes([sound[at] ^ 0x55]) + sound[at + 1 :])
        try:
            assert _read(damaged) == whole
        except StateError:
            refused += 1
    assert refused > 5


def test_torn_end_is_dropped(tmp_path):
    """A log cut anywhere gives a prefix of the facts."""
    path, clock = tmp_path / "j", Clock()
    journal = SqliteJournal(path, clock, elsewhere=Later(clock))
    for number in range(8):
        journal.append("r1", "committed", {"number": number})
        clock.advance(0)
    database, tail = path.read_bytes(), (tmp_path / "j-wal").read_bytes()
    journal.close()
    clock.advance(0)
    seen = set()
    for cut in range(len(tail) // 2, len(tail), 997):
        torn = tmp_path / f"torn-{cut}"
        torn.write_bytes(database)
        (tmp_path / f"torn-{cut}-wal").write_bytes(tail[:cut])
        numbers = [body["number"] for _, _, body in _read(torn)[0]]
        assert numbers == list(range(len(numbers)))
        seen.add(len(numbers))
    assert len(seen) > 2


def test_full_database_passes_when_space_returns(tmp_path):
    """SQLite's own word for a full disk rolls back and leaves the chain sound."""
    path, clock = tmp_path / "j", Clock()
    journal = SqliteJournal(path, clock, elsewhere=Later(clock))
    journal.append("r1", "committed", {"n": 1})
    clock.advance(0)
    (pages,) = journal._store._db.execute("PRAGMA page_count").fetchone()
    journal._store._db.execute(f"PRAGMA max_page_count = {pages}")
    failures = []
    journal.append("r1", "committed", {"n": 2, "text": "x" * 100_000}).addErrback(failures.append)
    clock.advance(0)
    assert failures[0].check(SpoolFull)
    journal._store._db.execute("PRAGMA max_page_count = 1000000")
    journal.append("r1", "committed", {"n": 3})
    journal.close()
    clock.advance(0)
    assert [body["n"] for _, _, body in _read(path)[0]] == [1, 3]


def test_state_is_held_by_one(tmp_path):
    """A second one is told who holds it, and may have it afterwards."""
    folder = tmp_path / "deep" / "state"
    lock = lock_state(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "lock").read_text() == f"{os.getpid()}\n"
    with pytest.raises(StateError) as caught:
        lock_state(folder)
    assert str(caught.value) == (
        f"'{folder}' is in use by process {os.getpid()}; stop that one or choose another --state"
    )
    lock.release()
    lock.release()
    lock_state(folder).release()


def test_state_that_cannot_be_written_is_refused(tmp_path):
    """A file in the way gives a fix."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError) as caught:
        lock_state(tmp_path / "file" / "state")
    assert str(caught.value) == (
        f"'{tmp_path}/file/state' cannot be written (not a directory); "
        "choose another --state or change its owner and mode"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_state_of_another_user_is_refused(tmp_path):
    """Files of two users in one state folder would end in tears."""
    os.chown(tmp_path, 12345, -1)
    with pytest.raises(StateError, match="belongs to user 12345, and this process runs as user 0"):
        lock_state(tmp_path)
