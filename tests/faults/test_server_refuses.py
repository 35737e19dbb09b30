"""A state folder that cannot be used: the server says so in one sentence, with what to do, and ends."""

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import blake2b
from pathlib import Path

import nursery
import pytest
from cluster import STARTUP, can, free_ports, running

pytestmark = pytest.mark.slow

START = "from hagoop.server_tap import main; main()"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with a request, of a server that has stopped."""
    top = tmp_path_factory.mktemp("refuses")
    with running(top / "it", 1) as cluster:
        (cluster.at / "input").write_bytes(b"line\n")
        assert cluster.request("run", "input", "--mapper", "cat").returncode == 0
    shutil.copytree(top / "it/server/state", top / "state")
    return top / "state"


@pytest.fixture
def state(kept: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(kept, tmp_path / "state")
    return tmp_path / "state"


def start(state: Path, folder: Path) -> tuple[int, str]:
    """How a server ends that is started on it, and what it says."""
    command, web = free_ports(2)
    words = [sys.executable, "-c", START, "-n", "--pidfile=", "--state", str(state)]
    env = {**STARTUP, "PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder)}
    words += ["--listen", str(command), "--web", str(web)]
    ended = nursery.run(words, cwd=folder, env=env, seconds=60)
    return ended.returncode, (ended.stdout + ended.stderr).decode()


def make_newer(state: Path) -> None:
    """As if a later release had written it."""
    chain = blake2b(b"\0".join([b"schema", b"99"]), digest_size=16).digest()
    with closing(sqlite3.connect(state / "journal.sqlite")) as db, db:
        db.execute("UPDATE meta SET value = 99, chain = ? WHERE key = 'schema'", (chain,))


def put_words(state: Path) -> None:
    """A file of that name that is no database."""
    (state / "journal.sqlite").write_bytes(b"words, and words, and more words\n" * 200)


def put_other(state: Path) -> None:
    """A database of another program."""
    (state / "journal.sqlite").unlink()
    with closing(sqlite3.connect(state / "journal.sqlite")) as db, db:
        db.execute("CREATE TABLE books (title TEXT)")


def make_worker(state: Path) -> None:
    """The folder of a worker."""
    (state / "journal.sqlite").unlink()
    (state / "identity").write_text("0123456789abcdef\n")


CASES = [
    (
        make_newer,
        "was written by a newer HaGoop (schema 99, this one knows ",
        "upgrade HaGoop or choose",
    ),
    (
        put_words,
        "journal.sqlite' is no sound journal (file is not a database)",
        "restore it from a backup",
    ),
    (put_other, "journal.sqlite' is no sound journal (no such table: meta)", "restore it from a backup"),
    (make_worker, "/state' is a worker's state folder", "choose another --state"),
    (
        lambda state: os.chown(state, 65534, 65534),
        "belongs to user 65534, and this process runs as user 0; ",
        "run it as that user or choose another --state",
    ),
]


@pytest.mark.parametrize(
    ("spoil", "told", "remedy"), CASES, ids=["newer", "words", "other", "worker", "owner"]
)
def test_state_that_cannot_be_used_is_told(
    state: Path, tmp_path: Path, spoil: Callable[[Path], None], told: str, remedy: str
) -> None:
    """Exit status 1; nothing in it has changed."""
    if "user" in told and os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    spoil(state)
    before = {each: each.read_bytes() for each in state.rglob("*") if each.is_file()}
    status, said = start(state, tmp_path)
    assert status == 1
    assert told in said
    assert remedy in said
    after = {each: each.read_bytes() for each in state.rglob("*") if each.is_file()}
    changed = {each.name for each in after if after[each] != before.get(each)}
    # Whoever opens a database may note in it how he will write.
    assert changed <= ({"lock", "journal.sqlite"} if spoil is put_other else {"lock"})


@pytest.fixture
def read_only(state: Path) -> Iterator[Path]:
    """The same on a disk that cannot be written."""
    if os.geteuid() != 0 or not can("mount", "--bind", str(state), str(state)):
        pytest.skip("only root can mount a folder")
    try:
        if not can("mount", "-o", "remount,bind,ro", str(state)):
            pytest.skip("no folder can be made read-only here")
        yield state
    finally:
        assert can("umount", str(state))


def test_state_that_cannot_be_written_is_told(read_only: Path, tmp_path: Path) -> None:
    """A disk that was mounted read-only."""
    status, said = start(read_only, tmp_path)
    assert status == 1
    assert "/state' cannot be written (read-only file system); choose another --state" in said


def test_second_server_is_told_who_has_the_state(tmp_path: Path) -> None:
    """And the first does not notice."""
    with running(tmp_path / "it", 0) as cluster:
        holder = cluster.server.process
        assert holder is not None
        status, said = start(cluster.server.folder / "state", tmp_path)
        assert status == 1
        assert said.strip().endswith(
            f"/state' is in use by process {holder.pid}; stop that one or choose another --state"
        )
        assert cluster.ask("list") == []
