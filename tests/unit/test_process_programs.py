"""What a program's file tells, and why a machine cannot run one."""

import os
import platform
import shutil
import sys
from pathlib import Path

import pytest

from hagoop.programs import built_for, crlf_complaint, interpreter, why_unfit

SEARCH = "/usr/bin:/bin"
NO_SUCH = "nosuch is not on this machine"
NO_LOADER = "cat needs a loader that is not on this machine"


def script(folder: Path, name: str, text: str, mode: int = 0o755) -> Path:
    made = folder / name
    made.write_bytes(text.encode())
    made.chmod(mode)
    return made


def foreign(folder: Path) -> Path:
    """A program like Python's own, for a machine of another kind."""
    made = folder / "map"
    head = bytearray(Path(sys.executable).read_bytes()[:64])
    head[18:20] = (2, 0)
    made.write_bytes(head)
    made.chmod(0o755)
    return made


def test_interpreter_is_read_from_the_first_line(tmp_path):
    """What follows the mark counts, for scripts only."""
    assert interpreter(script(tmp_path, "a", "#! /usr/bin/env python3\nx")) == "/usr/bin/env python3"
    assert interpreter(script(tmp_path, "b", "import sys\n")) is None
    assert interpreter(tmp_path / "none") is None


def test_crlf_is_shown_as_two_characters(tmp_path):
    """The sentence of the contract, word by word."""
    said = "/usr/bin/python3\\r: the first line ends in CR LF; convert the file"
    assert crlf_complaint(script(tmp_path, "a", "#!/usr/bin/python3\r\nx")) == said
    assert crlf_complaint(script(tmp_path, "b", "#!/usr/bin/python3\nx\r\n")) is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads ELF")
def test_machine_of_a_program(tmp_path):
    """Compiled programs say what they are for, other files nothing."""
    assert built_for(Path(sys.executable)) == platform.machine()
    assert built_for(foreign(tmp_path)) == "machine 2"
    assert built_for(script(tmp_path, "a", "#!/bin/sh\n")) is None
    mac = tmp_path / "mac"
    mac.write_bytes(b"\xcf\xfa\xed\xfe....")
    assert built_for(mac) == "macOS"


@pytest.mark.parametrize(
    ("argv", "status", "log", "said"),
    [
        (("nosuch",), 127, "env: 'nosuch': No such file or directory\n", NO_SUCH),
        (("nosuch",), 127, "", NO_SUCH),
        (("./nosuch",), 127, "env: \u2018./nosuch\u2019: No such file or directory\n", NO_SUCH),
        (("/bin/sh", "-c", "nosuch | cat"), 127, "/bin/sh: 1: nosuch: not found\n", NO_SUCH),
        (("/bin/sh", "-c", "x|nosuch"), 127, "sh: line 1: nosuch: command not found\n", NO_SUCH),
        (("sh", "m.sh"), 127, "log\nm.sh: 3: nosuch: not found\n", NO_SUCH),
        (
            ("cat",),
            127,
            "cat: error while loading shared libraries: libx.so.1: cannot open shared object file\n",
            "cat needs libx.so.1, which is not on this machine",
        ),
        (
            ("cat",),
            127,
            "",
            "cat ended with exit status 127: a program that it needs is missing on this machine",
        ),
        (
            ("cat",),
            126,
            "",
            "cat ended with exit status 126: a program that it needs cannot be run on this machine",
        ),
        (("cat",), 126, "env: 'cat': Exec format error\n", "cat is not a program for this machine"),
        (("cat",), 127, "env: 'cat': No such file or directory\n", NO_LOADER),
        (("cat",), 3, "nosuch: not found\n", None),
    ],
)
def test_cause_is_one_sentence(tmp_path, argv, status, log, said):
    """Statuses and the words of env and of shells become ours."""
    assert why_unfit(argv, tmp_path, SEARCH, status, log) == said


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("#!/bin/sh\n", 0o644, "map.py is not executable"),
        ("#!/bin/nosuch\n", 0o755, "map.py wants /bin/nosuch, which is not on this machine"),
        ("#!/bin/sh\r\n", 0o755, "/bin/sh\\r: the first line ends in CR LF; convert the file"),
    ],
)
def test_file_is_looked_at_first(tmp_path, text, mode, said):
    """For a file that is there the system's words would mislead."""
    script(tmp_path, "map.py", text, mode)
    log = "/bin/sh: 1: ./map.py: not found\n"
    for argv in (("./map.py",), ("/bin/sh", "-c", "./map.py; exit 127")):
        assert why_unfit(argv, tmp_path, SEARCH, 127, log) == said


def test_folder_is_no_program(tmp_path):
    """A folder says permission denied."""
    (tmp_path / "map").mkdir()
    said = why_unfit(("./map",), tmp_path, SEARCH, 126, "env: './map': Permission denied\n")
    assert said == "map is a folder, not a program"


@pytest.mark.skipif(sys.platform != "linux", reason="reads ELF")
def test_program_for_another_machine(tmp_path):
    """With the status of exec, or with that of a shell that tried to read it as a script."""
    foreign(tmp_path)
    said = f"map is a program for machine 2, this machine is {platform.machine()}"
    assert why_unfit(("./map",), tmp_path, SEARCH, 126, "./map: Exec format error\n") == said
    assert why_unfit(("./map",), tmp_path, SEARCH, 2, "./map: 1: Syntax error: bad\n") == said
    assert why_unfit(("./map",), tmp_path, SEARCH, 2, "my own error\n") is None


def test_path_given_is_the_path_searched(tmp_path):
    """The worker's PATH may differ from ours."""
    shutil.copy("/bin/cat", tmp_path / "mine")
    assert why_unfit(("mine",), tmp_path, os.defpath, 127, "") == "mine is not on this machine"
    told = why_unfit(("mine",), tmp_path, str(tmp_path), 127, "")
    assert told == "mine ended with exit status 127: a program that it needs is missing on this machine"
