"""``--binary`` and the original's call on the command line."""

from pathlib import Path

import pytest
from twisted.python.usage import UsageError

from hagoop.errors import BadProgram
from hagoop.jobs import Phase, Program
from hagoop.keys import Order
from hagoop.request_options import parse
from hagoop.run_options import Running
from hagoop.shipping import find_binary


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A client's current folder with a few programs."""
    at = tmp_path / "at"
    for name in ("at/count", "at/my count", "at/bin/count", "up", "opt/bin/tool", "at/plain", "at/crlf"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text("#!/bin/sh\r\n" if name == "at/crlf" else "#!/bin/sh\n")
        file.chmod(0o644 if name == "at/plain" else 0o755)
    (tmp_path / "opt/lib").mkdir()
    (at / "books").mkdir()
    return at


def run(folder: Path, *words: str) -> Running:
    call = parse(words, folder)
    assert isinstance(call, Running)
    return call


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("count", "./count"),
        ("./count", "./count"),
        ("bin//count", "./bin/count"),
        ("my count", "./my count"),
        ("{folder}/count", "./count"),
        ("../up", "./up"),
        ("{folder}/../up", "./up"),
    ],
)
def test_binary_that_is_a_file_is_shipped(folder: Path, path: str, word: str) -> None:
    """Under its path below the current folder, or its base name; blanks are no matter."""
    found, files = find_binary(path.format(folder=folder), folder)
    [(name, file)] = files.items()
    assert (found, f"./{name}") == (word, word)
    assert file.samefile(folder / path.format(folder=folder))


@pytest.mark.parametrize("path", ["sh", "/nowhere/count", "{folder}/../opt/bin/tool"])
def test_binary_that_is_installed_must_be_on_the_worker(folder: Path, path: str) -> None:
    """So must an absolute path that is no file here."""
    path = path.format(folder=folder)
    assert find_binary(path, folder) == (path, {})


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("plain", "plain is not executable; try chmod +x plain"),
        ("books", "--binary books: it is a folder, not a program"),
        ("/dev/null", "--binary /dev/null: it is a device, not a program"),
        ("", "--binary is empty"),
        ("no/count", "--binary no/count: there is no such file"),
        ("no-such-program", "--binary no-such-program: there is no such file"),
        ("./crlf", "/bin/sh\\r: the first line ends in CR LF; convert the file"),
    ],
)
def test_binary_that_will_not_run_is_told(folder: Path, path: str, message: str) -> None:
    """While the user still looks."""
    with pytest.raises(BadProgram) as caught:
        find_binary(path, folder)
    assert str(caught.value) == message


def test_binary_is_the_whole_program(folder: Path) -> None:
    """It maps and reduces; lines are sorted as a whole, and its answer comes last of three phases."""
    call = run(folder, "run", "books", "--binary", "count", "--file", "my count", "-o", "answer")
    program = call.program
    assert program.binary == "./count"
    assert (program.mapper, program.reducer, program.combiner) == (None, None, None)
    assert call.files == (("count", folder / "count"), ("my count", folder / "my count"))
    assert (program.sorts, program.order, program.last_phase) == (True, Order.BY_LINE, Phase.SORT)
    assert call.label == "count"


@pytest.mark.parametrize("other", ["mapper", "reducer", "combiner"])
def test_binary_takes_no_other_program(folder: Path, other: str) -> None:
    """One sentence names what to leave out."""
    with pytest.raises(UsageError) as caught:
        run(folder, "run", "books", "--binary", "count", f"--{other}", "cat")
    assert str(caught.value) == f"--binary is the whole program: leave --{other} out"


def test_binary_beside_others_is_no_program() -> None:
    """Whoever made it."""
    with pytest.raises(ValueError, match="a binary maps and reduces alone"):
        Program("cat", None, binary="./count")


def test_run_needs_a_program(folder: Path) -> None:
    """The sentence names all kinds."""
    with pytest.raises(UsageError, match="run needs a --mapper or a --reducer, or both, or a --binary"):
        run(folder, "run", "books")


@pytest.mark.parametrize("server", ["lab1:9470", "127.0.0.1:1", "unix:/tmp/socket", "lab1", "127.0.0.1"])
def test_original_call_is_a_run(folder: Path, server: str) -> None:
    """``HOST:PORT DIRECTORY ANSWER BINARY``."""
    meant = run(folder, "run", "--server", server, "books", "--output", "answer", "--binary", "count")
    assert run(folder, server, "books", "answer", "count") == meant
    assert (meant.inputs, meant.output, meant.where) == (("books",), "answer", server)


def test_original_call_may_read_stdin_and_write_stdout(folder: Path) -> None:
    """As ``run`` may."""
    call = run(folder, "lab1:9470", "-", "-", "./count")
    assert (call.inputs, call.output) == (("-",), "-")


@pytest.mark.parametrize(
    "words",
    [
        ["lab1:9470", "books", "answer"],
        ["lab1:9470", "books", "answer", "count", "more"],
        ["lab1:9470", "books", "answer", "--quiet"],
        ["books", "books", "answer", "count"],
        ["rnu", "books", "answer", "nothing"],
    ],
)
def test_anything_else_is_no_command(folder: Path, words: list[str]) -> None:
    """Neither fewer words, nor options, nor a first word that is no host."""
    with pytest.raises(UsageError, match=rf"^'{words[0]}' is not a command; did you mean"):
        parse(words, folder)


def test_command_of_four_words_is_that_command(folder: Path) -> None:
    """Its own sentence says what is wrong."""
    with pytest.raises(UsageError, match="'answer' is one word too many"):
        parse(["status", "books", "answer", "count"], folder)
