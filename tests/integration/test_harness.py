"""The deadline and the guard of ``conftest.py`` catch what they are there for."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster import RAN, Part

pytest_plugins = ["pytester"]

INI = "[pytest]\naddopts = --strict-markers -p no:cacheprovider\nfilterwarnings = error\n"
IMPORTS = """
import subprocess
import sys
import nursery
import pytest
from hypothesis import Phase, given, settings, strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

def log(error):
    Logger().failure("it failed", Failure(error))
"""
PASSES = "\nasync def test_next():\n    pass\n"


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], pytest.RunResult]:
    """Run tests, and one after them that must pass, under the same conftest as ours."""
    here = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", str(here))
    ours = (here / "conftest.py").read_text()
    pytester.makeconftest(ours + "\nSETTLE_SECONDS = 0.3\n")
    pytester.makeini(INI)

    def run_tests(source: str) -> pytest.RunResult:
        pytester.makepyfile(IMPORTS + source + PASSES)
        return pytester.runpytest_subprocess("--verbose", timeout=120)

    return run_tests


def test_hung_coroutines_fail_at_their_deadline(run) -> None:
    """A test that waits for ever fails, an example of a property too, and the next test runs."""
    result = run(
        "@pytest.mark.deadline(0.2)\nasync def test_it():\n    await Deferred()\n"
        "@pytest.mark.deadline(0.3)\n@settings(max_examples=1, phases=[Phase.generate], database=None)\n"
        "@given(st.integers())\nasync def test_property(n):\n    await Deferred()\n"
    )
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(["*took longer than its deadline of 0.2 seconds*"])
    result.stdout.fnmatch_lines(["*took longer than its deadline of 0.3 seconds*"])


def test_sound_tests_pass(run) -> None:
    """Deadline and guard leave quick, plain and tidy tests alone, also what closes soon."""
    result = run(
        "@pytest.mark.deadline(5)\nasync def test_it(tmp_path):\n    assert tmp_path.exists()\n"
        "def test_plain(tmp_path):\n    assert tmp_path.exists()\n"
        "async def test_closing():\n"
        "    reactor.listenTCP(0, Factory(), interface='127.0.0.1').stopListening()\n"
        "    reactor.spawnProcess(ProcessProtocol(), 'true', ['true'], {'PATH': '/bin:/usr/bin'})\n"
        "async def test_logged(guard):\n    log(ValueError('x'))\n"
        "    assert len(guard.flush(ValueError)) == 1\n"
    )
    result.assert_outcomes(passed=5)


def test_what_is_left_behind_fails_a_test(run) -> None:
    """Each test passes but its end is an error; the test after it is not touched."""
    result = run(
        "async def test_failure():\n    log(ValueError('lost'))\n"
        "async def test_other(guard):\n    log(KeyError(0))\n    assert guard.flush(ValueError) == []\n"
        "async def test_unhandled():\n    fail(ValueError('nobody looks'))\n"
        "async def test_call():\n    reactor.callLater(1000, print)\n"
        "def test_call_of_a_plain_function():\n    reactor.callLater(1000, print)\n"
        "async def test_port():\n    reactor.listenTCP(0, Factory(), interface='127.0.0.1')\n"
        "async def test_process():\n"
        "    reactor.spawnProcess(ProcessProtocol(), 'cat', ['cat'], {'PATH': '/bin:/usr/bin'})\n"
        "async def test_popen():\n    pytest.left = subprocess.Popen(['sleep', '100'])\n"
        "def test_child(tmp_path):\n    words = [sys.executable, '-c', 'import time; time.sleep(100)']\n"
        "    assert nursery.start(words, cwd=tmp_path, env=nursery.STARTUP).poll() is None\n"
    )
    result.assert_outcomes(passed=10, errors=9)
    assert told_at_the_end(result) == [
        ("test_failure", "logged"),
        ("test_other", "logged"),
        ("test_unhandled", "logged"),
        ("test_call", "delayed call"),
        ("test_call_of_a_plain_function", "delayed call"),
        ("test_port", "open"),
        ("test_process", "open"),
        ("test_popen", "child process"),
        ("test_child", "child process"),
    ]


def told_at_the_end(result: pytest.RunResult) -> list[tuple[str, str]]:
    """Which test was told what."""
    told = r"ERROR at teardown of (\w+) _+\nthe test left behind:\n([\w ]+)"
    return re.findall(told, result.stdout.str())


RUNS = f"echo {RAN}; "


@pytest.mark.parametrize(
    ("life", "left"),
    [
        ("kill -TERM $$", True),
        ("kill -KILL $$", True),
        (f"{RUNS} kill -TERM $$", False),
        (RUNS, False),
        ("exit 1", False),
        (f"{RUNS} exit 1", False),
    ],
)
def test_whose_files_are_no_fault(tmp_path: Path, life: str, left: bool) -> None:
    """Those of a life that a signal ended before its reactor ran; whatever the life before did."""
    part = Part(tmp_path, [], dict(os.environ))
    for each in (life, RUNS, life, "kill -KILL $$", life):
        part.words = ["/bin/sh", "-c", each]
        part.start()
        part.wait()
    assert part.left_its_files == left
    part.kill()
    assert part.left_its_files
