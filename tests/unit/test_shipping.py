"""What a user types as a program: what is shipped, how it is run, what is refused."""

import os
from pathlib import Path

import pytest

from hagoop.errors import BadMessage, BadProgram
from hagoop.jobs import Shipped
from hagoop.shipping import (
    check_program,
    files_of,
    needs_shell,
    place_files,
    rewrite,
    safe_path,
    to_argv,
)

SEARCH = "/usr/bin:/bin"


@pytest.fixture
def folder(tmp_path):
    """A client's current folder with a few programs and files."""
    programs = ("map.py", "map", "my map.py", "sort", "caf\xe9", "bin/tool")
    for name in (*programs, "stop.txt", "lib/names.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    (tmp_path / "books").mkdir()
    return tmp_path


def names(cmd: str, folder: Path) -> list[str]:
    found = files_of(cmd, folder, SEARCH)
    assert all(path.is_file() for _, path in found)
    return [name for name, _ in found]


@pytest.mark.parametrize(
    ("cmd", "argv"),
    [
        ("cat", ("cat",)),
        ("./map.py -x 1,2 a/b:c@d %5 +3", ("./map.py", "-x", "1,2", "a/b:c@d", "%5", "+3")),
        (" cut  -f\t1 ", ("cut", "-f", "1")),
        ("\xe9t\xe9 a\u00a0b", ("\xe9t\xe9", "a\u00a0b")),
    ],
)
def test_plain_words_are_run_directly(cmd, argv):
    """No shell is needed, and blanks part words, nothing else."""
    assert not needs_shell(cmd)
    assert to_argv(cmd) == argv


@pytest.mark.parametrize("character", "'\"$`\\|&;<>()*?[]{}!#~=^\n\r\0\x1b")
def test_characters_of_the_shell_need_it(character):
    """Wherever they stand."""
    for cmd in (f"a {character} b", f"a{character}b", f"a {character}"):
        assert needs_shell(cmd)
        assert to_argv(cmd) == ("/bin/sh", "-c", cmd)


@pytest.mark.parametrize("cmd", ["exec cat", "cd lib", ". ./map", "if a", "read x", "exit 3"])
def test_words_of_the_shell_need_it(cmd):
    """No program has these names."""
    assert needs_shell(cmd)


@pytest.mark.parametrize(
    ("cmd", "shipped", "run"),
    [
        ("./map.py", ["map.py"], "./map.py"),
        (".//lib/../map.py", ["map.py"], "./map.py"),
        ("./lib//names.txt x", ["lib/names.txt"], "./lib//names.txt x"),
        ("map.py stop.txt", ["map.py", "stop.txt"], "./map.py stop.txt"),
        ("  map.py x", ["map.py"], "./map.py x"),
        ("sh map.py lib/names.txt no", ["map.py", "lib/names.txt"], "sh map.py lib/names.txt no"),
        ("sort stop.txt", ["stop.txt"], "sort stop.txt"),
        ("./sort", ["sort"], "./sort"),
        ("cat books", [], "cat books"),
        ("grep -f ./stop.txt", ["stop.txt"], "grep -f ./stop.txt"),
        ("cat ../x /etc/passwd", [], "cat ../x /etc/passwd"),
        ("/usr/bin/sort map", ["map"], "/usr/bin/sort map"),
        ("map.py | tr a b > stop.txt", ["map.py", "stop.txt"], "./map.py | tr a b > stop.txt"),
        ("map.py;./map", ["map.py", "map"], "./map.py;./map"),
        ("'my map.py' 'stop.txt'", ["my map.py", "stop.txt"], "'./my map.py' 'stop.txt'"),
        ('"my map.py" x', ["my map.py"], "'./my map.py' x"),
        ("my\\ map.py x", [], "my\\ map.py x"),
        ("./my\\ map.py x", ["my map.py"], "./my\\ map.py x"),
        ("A=1 ./map.py", ["map.py"], "A=1 ./map.py"),
        ("awk '{ print $1 }' stop.txt", ["stop.txt"], "awk '{ print $1 }' stop.txt"),
        ("./map 'unended", [], "./map 'unended"),
        ("caf\xe9", ["caf\xe9"], "'./caf\xe9'"),
        ("awk '" + "x" * 5000 + "' stop.txt", ["stop.txt"], "awk '" + "x" * 5000 + "' stop.txt"),
        ("x" * 5000, [], "x" * 5000),
        ("map.py map.py", ["map.py"], "./map.py map.py"),
        ("map\0.py", [], "map\0.py"),
        ("", [], ""),
    ],
)
def test_rules_for_words(folder, cmd, shipped, run):
    """What is shipped, and the command that a worker runs."""
    assert names(cmd, folder) == shipped
    assert rewrite(cmd, folder, SEARCH) == run


def test_command_above_the_folder_travels_under_its_base_name(folder):
    """And is run from the run's folder, like an absolute one."""
    assert files_of("../map.py x", folder / "books", SEARCH) == [("map.py", folder / "books/../map.py")]
    assert rewrite("../map.py x", folder / "books", SEARCH) == "./map.py x"
    assert files_of("../books", folder / "books", SEARCH) == []


def test_absolute_command_travels_under_its_base_name(folder):
    """And is run from the run's folder."""
    cmd = f"{folder}/map.py stop.txt"
    shipped = [("map.py", folder / "map.py"), ("stop.txt", folder / "stop.txt")]
    assert files_of(cmd, folder, SEARCH) == shipped
    assert rewrite(cmd, folder, SEARCH) == "./map.py stop.txt"
    assert rewrite(f"'{folder}/my map.py' | cat", folder, SEARCH) == "'./my map.py' | cat"


def test_installed_software_stays(folder):
    """A bin folder with a lib beside it is an installation, such as a venv."""
    cmd = f"{folder}/bin/tool stop.txt"
    assert names(cmd, folder) == ["stop.txt"]
    assert rewrite(cmd, folder, SEARCH) == cmd
    os.rename(folder / "lib", folder / "other")
    assert names(cmd, folder) == ["tool", "stop.txt"]
    assert rewrite(cmd, folder, SEARCH) == "./tool stop.txt"


def test_path_given_decides(folder):
    """Without a PATH, a bare word is the client's file."""
    assert rewrite("sort", folder, "") == "./sort"


@pytest.mark.parametrize(
    ("cmd", "said"),
    [
        ("", "--mapper is empty"),
        ("  ", "--mapper is empty"),
        ("a\0b", "--mapper holds a NUL byte"),
        ("books", "books is a folder, not a program"),
        ("./books x", "./books is a folder, not a program"),
        ("./pipe", "./pipe is a pipe, not a program"),
        ("/dev/zero | cat", "/dev/zero is a device, not a program"),
        ("plain.py", "plain.py is not executable; try --mapper 'python3 plain.py'"),
        ("./plain.py -x", "./plain.py is not executable; try --mapper 'python3 ./plain.py -x'"),
        ("plain.awk", "plain.awk is not executable; try --mapper 'awk -f plain.awk'"),
        ("plain", "plain is not executable; try chmod +x plain"),
        ("shebang.py", "shebang.py is not executable; try --mapper 'pypy3 shebang.py'"),
        ("perl.txt", "perl.txt is not executable; try --mapper 'perl perl.txt'"),
        ("crlf.py", "/usr/bin/python3\\r: the first line ends in CR LF; convert the file"),
        ("./crlf.py | cat", "/usr/bin/python3\\r: the first line ends in CR LF; convert the file"),
    ],
)
def test_what_runs_nowhere_is_refused(folder, cmd, said):
    """With the sentences of the contract."""
    texts = {
        "plain.py": "",
        "plain.awk": "",
        "plain": "",
        "shebang.py": "#!/usr/bin/env -S pypy3\n",
        "perl.txt": "#!/usr/bin/perl\n",
        "crlf.py": "#!/usr/bin/python3\r\n",
    }
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode())
    (folder / "crlf.py").chmod(0o755)
    os.mkfifo(folder / "pipe")
    with pytest.raises(BadProgram) as caught:
        check_program(cmd, folder, search=SEARCH)
    assert str(caught.value) == said


def test_option_is_named(folder):
    """The reducer's as well; an absolute path would not travel behind an interpreter."""
    with pytest.raises(BadProgram, match=r"^--reducer is empty$"):
        check_program("", folder, "--reducer")
    (folder / "map.py").chmod(0o644)
    with pytest.raises(BadProgram, match=r"map.py is not executable; try chmod \+x /.*/map.py$"):
        check_program(f"{folder}/map.py", folder)


@pytest.mark.parametrize("cmd", ["./map.py", "map.py", "sort", "nosuch", "./later", "cat <x"])
def test_what_may_run_is_accepted(folder, cmd):
    """What is not here may be on a worker."""
    check_program(cmd, folder, search=SEARCH)


@pytest.mark.parametrize("path", " . .. /a a/../b ../a a/.. ./a a//b a/ a\0b".split(" "))
def test_paths_of_strangers_stay_in_the_folder(path):
    """Whatever they send."""
    with pytest.raises(BadMessage) as caught:
        safe_path(path)
    assert str(caught.value) == f"{path!r} is not a relative path within a folder"


def test_files_are_placed_with_their_right_to_run(tmp_path):
    """Parents are made; small files are copies, large ones links."""
    small, large = tmp_path / "one", tmp_path / "two"
    small.write_bytes(b"small")
    large.write_bytes(b"x" * (1 << 20))
    folder = tmp_path / "run"
    folder.mkdir()
    files = [
        (Shipped("map.py", "d", 5, True), small),
        (Shipped("lib/deep/names.txt", "d", 5, False), small),
        (Shipped("lib/..names", "d", 5, False), small),
        (Shipped("model", "d", 1 << 20, False), large),
    ]
    place_files(files, folder)
    assert (folder / "map.py").stat().st_mode & 0o777 == 0o700
    assert (folder / "lib" / "deep" / "names.txt").stat().st_mode & 0o777 == 0o600
    assert (folder / "lib" / "..names").read_bytes() == b"small"
    assert (folder / "model").samefile(large)
    assert large.stat().st_mode & 0o777 == 0o444
    place_files([(Shipped("tool", "d", 1 << 20, True), large)], folder)
    assert large.stat().st_mode & 0o777 == 0o555


def test_unsafe_file_is_not_placed(tmp_path):
    """Nothing is written outside."""
    (tmp_path / "run").mkdir()
    (tmp_path / "one").write_bytes(b"x")
    with pytest.raises(BadMessage):
        place_files([(Shipped("../evil", "d", 1, False), tmp_path / "one")], tmp_path / "run")
    assert not (tmp_path / "evil").exists()
