"""The command line of ``hagoop-request``: what it understands, and what is said of the rest."""

import os
from pathlib import Path

import pytest
from twisted.python.usage import UsageError

from hagoop import __version__
from hagoop.check_options import Checking
from hagoop.common_options import options_first
from hagoop.errors import BadProgram
from hagoop.jobs import Program
from hagoop.request_options import Call, Following, parse
from hagoop.run_options import Running

HERE = ("tcp:127.0.0.1:9470",)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a script and some files, and no server named."""
    monkeypatch.delenv("HAGOOP_SERVER", raising=False)
    monkeypatch.chdir(tmp_path)
    for name in ("map.py", "lib/words.txt", "more/list.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    return tmp_path


def call(*words: str) -> Call:
    """What a command line asks for."""
    return parse(words, Path.cwd())


def run(line: str, *words: str) -> Running:
    """What ``run`` with a mapper asks for."""
    found = call("run", *line.split(), *words)
    assert isinstance(found, Running)
    return found


def follow(line: str) -> Following:
    """What any other command asks for."""
    found = call(*line.split())
    assert isinstance(found, Following)
    return found


def refusal(*words: str) -> str:
    """The sentence about a command line that cannot be understood."""
    with pytest.raises((UsageError, BadProgram)) as caught:
        call(*words)
    return str(caught.value)


def test_run_has_defaults():
    """An INPUT and a program are all that is needed."""
    assert run("books --mapper cat") == Running(
        inputs=("books",),
        program=Program("cat", None),
        files=(),
        output="-",
        servers=HERE,
        where="127.0.0.1:9470",
        workers=len(os.sched_getaffinity(0)),
        detach=False,
        force=False,
        json=False,
        quiet=False,
        label="cat",
    )


def test_check_takes_the_options_of_run():
    """The same line with another first word; and where to cut."""
    line = "books -mapper cat -reducer uniq --local --force -o out --env A=1"
    found = call("check", *line.split(), "--seed", "7")
    assert found == Checking(run(line), 7)
    assert call("check", *line.split()) == Checking(run(line), 1)


def test_run_takes_every_option(folder):
    """All of them at once, long and short."""
    line = "books - server:a --server lab1,lab2:1 --force --json --quiet --detach -o out"
    line += " --env A=1 --env B= --ok-status 0,1 --timeout 2.5 --attempts 7"
    found = run(line, "-m", "cat", "-r", "uniq -c", "-c", "head -1", "--file", "map.py")
    assert found == Running(
        inputs=("books", "-", "server:a"),
        program=Program("cat", "uniq -c", "head -1", (), (("A", "1"), ("B", "")), (0, 1), 2.5, 7),
        files=(("map.py", folder / "map.py"),),
        output="out",
        servers=("tcp:lab1:9470", "tcp:lab2:1"),
        where="lab1,lab2:1",
        workers=found.workers,
        detach=True,
        force=True,
        json=True,
        quiet=True,
        label="cat | uniq -c",
    )


def test_local_run_names_no_server():
    """It has workers of its own, as many as are wanted."""
    found = run("books --mapper cat --local --workers 3")
    assert (found.servers, found.where, found.workers) == (None, "this machine", 3)


@pytest.mark.parametrize(
    "line",
    [
        "a b -m cat -o out",
        "-m cat a -o out b",
        "-o out a b -mcat",
        "a --mapper=cat b --output=out",
        "--mapp cat a --out out b",
        "a -m cat -o out -- b",
        "-input a -input b -mapper cat -output out",
        "-input a b -mapper cat -output out",
        "a -input b -mapper cat -output out",
    ],
)
def test_inputs_stand_anywhere_and_keep_their_order(line):
    """Before, between and behind the options, in Hadoop's way too."""
    found = run(line)
    assert (found.inputs, found.program.mapper, found.output) == (("a", "b"), "cat", "out")


def test_input_behind_two_dashes_may_begin_with_one():
    """As everywhere."""
    assert run("-m cat -- -x --mapper").inputs == ("-x", "--mapper")


def test_option_without_its_value_is_refused():
    """In Hadoop's way too."""
    for option in ("--output", "-o", "--env", "-files", "-input"):
        assert refusal("run", "a", "--mapper", "cat", option) == f"{option} needs a value"
    with pytest.raises(UsageError):
        options_first(["a", "--server"], {"server="})


def test_one_dash_options_of_hadoop_are_synonyms(folder):
    """Those of Hadoop Streaming that mean the same."""
    line = "-input a -output out -file map.py -files lib/words.txt,more/list.txt -cmdenv A=1"
    found = run(line, "-mapper", "cat", "-combiner", "sort", "-reducer", "uniq -c")
    assert found.program == Program("cat", "uniq -c", "sort", env=(("A", "1"),))
    assert [name for name, _ in found.files] == ["map.py", "lib/words.txt", "more/list.txt"]
    assert (found.inputs, found.output) == (("a",), "out")


def test_reduce_tasks_of_hadoop_say_how_the_reducer_runs():
    """None: not at all; one: once, over all keys; more mean nothing."""
    for one in ("-numReduceTasks 1", "-D mapreduce.job.reduces=1", "-Dmapred.reduce.tasks=1"):
        assert run(f"a -m cat -r wc {one}").program == Program("cat", "wc", reduce_whole=True)
        assert run(f"a -m cat {one}").program == Program("cat", None)
    for none in ("-numReduceTasks 0", "-D mapreduce.job.reduces=0"):
        assert run(f"a -m cat -c wc -r wc {none}").program == Program("cat", None)
    assert run("a -m cat -r wc -numReduceTasks 7").program == Program("cat", "wc")
    then = "--then -m cat -r wc -numReduceTasks"
    assert run(f"a -m cat {then} 1 {then} 0").then == (
        Program("cat", "wc", reduce_whole=True),
        Program("cat", None),
    )


def test_lines_stand_in_place_of_inputs():
    """As many numbers as are wanted."""
    found = run("--lines 1000000000000 -m cat")
    assert (found.inputs, found.lines) == ((), 10**12)
    assert run("a -m cat").lines is None
    assert run("-m cat --then -m cat --lines 7").lines == 7


def test_empty_input_is_refused():
    """It is a variable that is not set, and no name."""
    told = "an INPUT is empty: perhaps a variable of the shell is not set"
    assert refusal("run", "", "-m", "cat") == refusal("run", "-input", "", "-m", "cat") == told


def test_programs_and_files_that_commands_name_are_shipped(folder):
    """Under the paths that the commands name; an absolute file under its base name."""
    found = run("a", "--mapper", "map.py lib/words.txt", "--file", str(folder / "more/list.txt"))
    assert found.program.mapper == "./map.py lib/words.txt"
    assert dict(found.files) == {
        "map.py": folder / "map.py",
        "lib/words.txt": folder / "lib/words.txt",
        "list.txt": folder / "more/list.txt",
    }


def test_shipped_file_from_outside_is_found_under_its_base_name(folder):
    """What lies beside the current folder cannot keep its path."""
    words = ["run", "a", "-m", "cat", "--file", "../map.py", "--file", "./words.txt"]
    found = parse(words, folder / "lib")
    assert [name for name, _ in found.files] == ["map.py", "words.txt"]


def test_label_is_bounded():
    """It is only to be recognised."""
    assert len(run("a", "--mapper", "x" * 1000).label) == 200


@pytest.mark.parametrize("command", ["status", "wait", "cancel", "forget", "answer"])
def test_commands_about_a_request_mean_the_newest_by_default(command):
    """Or the one that is named, in front of options or behind."""
    assert follow(command).request == ""
    assert follow(f"{command} r7 --json").request == "r7"
    assert follow(f"{command} --quiet r7") == Following(
        command, "r7", "-", HERE, "127.0.0.1:9470", force=False, json=False, quiet=True
    )


@pytest.mark.parametrize("command", ["list", "workers"])
def test_commands_about_all_take_no_request(command):
    """Only options."""
    assert follow(f"{command} --server lab1").servers == ("tcp:lab1:9470",)
    assert refusal(command, "r1") == "'r1' is one word too many"


def test_answer_takes_a_place():
    """As ``run`` does."""
    found = follow("answer r1 -o out --force")
    assert (found.output, found.force) == ("out", True)


def test_environment_names_the_server(monkeypatch):
    """Unless the command line does."""
    monkeypatch.setenv("HAGOOP_SERVER", "lab1,lab2:1")
    assert follow("list").servers == ("tcp:lab1:9470", "tcp:lab2:1")
    assert follow("list --server lab3").where == "lab3"


def test_bad_server_is_told_by_where_it_was_named(monkeypatch):
    """The option or the variable."""
    told = refusal("list", "--server", "lab1:0")
    assert told.startswith("--server lab1:0: 'lab1:0' is not an address; write HOST")
    monkeypatch.setenv("HAGOOP_SERVER", "lab1:x")
    assert refusal("list").startswith("HAGOOP_SERVER=lab1:x: ")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("books --mapper cat", "'books' is not a command; did you mean: hagoop-request run books ..."),
        ("", "needs a command: run, list, status, wait, answer, cancel, forget, workers, check"),
        ("run --mapper cat", "run needs an INPUT: a file, a folder, server:PATH, or - for stdin"),
        ("run a", "run needs a --mapper or a --reducer, or both, or a --binary"),
        ("run a -m cat -c cat", "--combiner needs a --reducer: without one nothing is sorted"),
        ("run a -m cat --workers 2", "--workers needs --local; elsewhere workers join by themselves"),
        ("run a -m cat --local --detach", "--detach needs a server that stays; --local has none"),
        ("run - - -m cat", "stdin can be read only once: give - once"),
        ("run a -m cat --env A", "--env A: it is not of the form NAME=VALUE"),
        ("run a -m cat --env 1A=x", "--env 1A=x: it is not of the form NAME=VALUE"),
        ("run a -m cat --timeout x", "--timeout x: it must be a number from 0 on"),
        ("run a -m cat --timeout -1", "--timeout -1: it must be a number from 0 on"),
        ("run a -m cat --timeout nan", "--timeout nan: it must be a number from 0 on"),
        ("run a -m cat --attempts 0", "--attempts 0: it must be a number from 1 on"),
        ("run a -m cat --attempts 1.5", "--attempts 1.5: it must be a number from 1 on"),
        *(
            (
                f"run a -m cat --good-enough {each}",
                f"--good-enough {each}: it must be a percentage above 0 and up to 100, "
                "with at most 4 decimals: 99.5%",
            )
            for each in ("0", "0%", "101", "100.0001%", "x", "-1", "99.99999", "1e1", "%", "0.0")
        ),
        ("run a -m cat --skip-bad-lines -1", "--skip-bad-lines -1: it must be a number from 0 on"),
        ("run a -m cat --skip-bad-lines 100001", "--skip-bad-lines 100001: it may be at most 100000"),
        (
            "run a -r cat --skip-bad-lines 1",
            "--skip-bad-lines needs a --mapper or a --binary: lines are bad for these",
        ),
        (
            "run a -m cat --map-whole --skip-bad-lines 1",
            "--skip-bad-lines tries lines alone, --map-whole never does: choose",
        ),
        ("run a -m cat --local --workers 0", "--workers 0: it must be a number from 1 on"),
        ("run a -m cat --ok-status x", "--ok-status x: it must be numbers from 0 to 255: 0,1"),
        ("run a -m cat --ok-status 0,256", "--ok-status 0,256: it must be numbers from 0 to 255: 0,1"),
        ("run a -m cat --file lib/none", "--file lib/none: there is no such file"),
        (
            "run a -m cat --map-whole --combine-files",
            "--map-whole runs the mapper on each file, --combine-files on several at once: choose",
        ),
        (
            "run a --binary x --combine-files",
            "--combine-files does not go with --binary, which gets lines of one file",
        ),
        ("run a -r wc --map-whole", "--map-whole needs a --mapper, which it runs once per file"),
        ("run a --binary x --map-whole", "--map-whole needs a --mapper, which it runs once per file"),
        (
            "run a -m cat --reduce-whole",
            "--reduce-whole needs a --reducer, which it runs once over all keys",
        ),
        (
            "run a -r wc --reduce-whole -numReduceTasks 0",
            "--reduce-whole runs a reducer, and --reduce-tasks 0 leaves it out: choose",
        ),
        ("run a -r wc -numReduceTasks 1.5", "--reduce-tasks 1.5: it must be a number from 0 on"),
        ("run a -r wc -numReduceTasks 0", "run needs a --mapper or a --reducer, or both, or a --binary"),
        ("run a --lines 5 -m cat", "--lines stands in place of INPUT: leave one of the two out"),
        *(
            (
                f"run --lines {bad} -m cat",
                f"--lines {bad}: it must be a whole number from 0 to 1000000000000000",
            )
            for bad in ("x", "-1", "1.5", "1000000000000001")
        ),
        ("run a -m cat --colour", "option --colour not recognized"),
        ("check -m cat", "check needs an INPUT: a file, a folder, server:PATH, or - for stdin"),
        ("check a", "check needs a --mapper or a --reducer, or both, or a --binary"),
        (
            "check a server:b -m cat",
            "check runs here and cannot read server:b: name a file of this machine",
        ),
        ("check a -m cat --seed x", "--seed x: it must be a number from 0 on"),
        ("status r1 r2", "'r2' is one word too many"),
        ("-x", "option -x not recognized"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(line, sentence):
    """It names what failed, and what to do."""
    told = refusal(*line.split())
    assert told.endswith(sentence)
    assert "\n" not in told


@pytest.mark.parametrize(
    ("given", "parts"),
    [("99.5%", 995_000), ("99.5", 995_000), ("100%", 1_000_000), ("0.0001", 1), ("7 %", 70_000)],
)
def test_share_that_is_good_enough_is_counted_in_parts_of_a_million(given, parts):
    """With or without the sign; it is said of the whole request, wherever it stands."""
    assert run("a -m cat --good-enough", given).good_enough == parts
    assert run("a -m cat --then -m cat --good-enough", given).good_enough == parts
    assert run("a -m cat").good_enough == 1_000_000


def test_empty_program_is_refused():
    """By the option that brought it."""
    assert refusal("run", "a", "--mapper", "cat", "--reducer", " ") == "--reducer is empty"


def test_program_that_cannot_be_executed_is_told_how(folder):
    """Before anything is sent."""
    (folder / "map.py").chmod(0o644)
    (folder / "map.py").write_text("pass\n")
    assert refusal("run", "a", "-m", "map.py") == (
        "map.py is not executable; try --mapper 'python3 map.py'"
    )


@pytest.mark.parametrize("line", ["--version", "run --version", "status --version"])
def test_version_is_ours(line, capsys):
    """Not that of what we are made with."""
    with pytest.raises(SystemExit) as left:
        call(*line.split())
    assert left.value.code == 0
    assert capsys.readouterr().out == f"hagoop {__version__}\n"


@pytest.mark.parametrize("command", ["run", "list", "answer"])
def test_help_names_every_option(command, capsys):
    """And ends well."""
    with pytest.raises(SystemExit) as left:
        call(command, "--help")
    assert not left.value.code
    assert "--server" in capsys.readouterr().out
