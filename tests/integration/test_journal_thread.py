"""The journal with its thread, and killed in the middle."""

import errno
import os
import signal
import subprocess
import sys
import threading

import pytest
from twisted.internet.defer import gatherResults

from hagoop.errors import StateError
from hagoop.journal import SqliteJournal

WRITER = """
import sys
from pathlib import Path
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from hagoop.journal import SqliteJournal

async def write():
    journal = SqliteJournal(Path(sys.argv[1]), reactor)
    number = 0
    while True:
        both = [journal.append(f"r{each}", "committed", {"number": number + each}) for each in range(2)]
        number += 2
        for each in both:
            await each
        print(number, flush=True)

Deferred.fromCoroutine(write()).addErrback(lambda failure: failure.printTraceback())
reactor.run()
"""


async def test_groups_are_committed_in_a_thread(tmp_path):
    """Many facts at once arrive whole, in order, told in the reactor's thread."""
    from twisted.internet import reactor

    journal = SqliteJournal(tmp_path / "j", reactor)
    threads = set()
    done = [journal.append(f"r{n % 3}", "committed", {"n": n}) for n in range(3000)]
    for each in done:
        each.addCallback(lambda _: threads.add(threading.current_thread()))
    await gatherResults(done)
    assert threads == {threading.current_thread()}
    await journal.close()
    again = SqliteJournal(tmp_path / "j", reactor)
    assert [body["n"] for _, _, body in again.replay()] == list(range(3000))
    await again.close()


async def test_no_thread_is_left_after_close(tmp_path):
    """Closing ends the thread, with or without facts."""
    from twisted.internet import reactor

    for facts in range(2):
        journal = SqliteJournal(tmp_path / "j", reactor)
        for _ in range(facts):
            await journal.append("r1", "committed", {})
        await journal.close()
    assert "hagoop-journal" not in {each.name for each in threading.enumerate()}


async def test_journal_that_was_never_used_leaves_no_thread(tmp_path):
    """A start that fails before the first fact can exit."""
    from twisted.internet import reactor

    journal = SqliteJournal(tmp_path / "j", reactor)
    assert "hagoop-journal" not in {each.name for each in threading.enumerate()}
    await journal.close()


async def test_failed_sync_is_told_and_still_closes(tmp_path):
    """A broken disk ends the writing, not the process's way out."""
    from twisted.internet import reactor

    class Bad:
        def sync(self):
            raise OSError(errno.EIO, "Input/output error")

    told = []
    journal = SqliteJournal(tmp_path / "j", reactor, told.append)
    with pytest.raises(StateError):
        await journal.append("r1", "committed", {}, [Bad()])
    await journal.close()
    assert len(told) == 1


async def test_killed_writer_loses_nothing_that_it_told(tmp_path):
    """After kill -9 every acknowledged fact is replayed, and the epoch rises."""
    from twisted.internet import reactor

    path = tmp_path / "j"
    for life in range(3):
        told = _kill_after(path, lines=20 + 7 * life)
        journal = SqliteJournal(path, reactor)
        numbers = [body["number"] for _, _, body in journal.replay()]
        assert journal.epoch == 2 * life + 2
        assert sorted(numbers)[-1] >= told - 1
        await journal.forget("r0")
        await journal.forget("r1")
        await journal.close()


def _kill_after(path, lines):
    """Let a process write; kill it after so many lines; return what its last line said."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as writer:
        for _ in range(lines):
            told = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
    return int(rest[-1]) if rest else told
