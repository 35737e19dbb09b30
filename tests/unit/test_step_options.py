"""``--then``: what each step is, and what the whole request is."""

from pathlib import Path

import pytest
from attrs import evolve
from twisted.python.usage import UsageError

from hagoop.jobs import Program
from hagoop.request_options import parse
from hagoop.run_options import Running


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with some files."""
    monkeypatch.chdir(tmp_path)
    for name in ("one.py", "two.py", "more/one.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def run(line: str) -> Running:
    """What a command line asks for."""
    found = parse(["run", *line.split()], Path.cwd())
    assert isinstance(found, Running)
    return found


def refusal(line: str) -> str:
    """The sentence about a command line that cannot be understood."""
    with pytest.raises(UsageError) as caught:
        run(line)
    return str(caught.value)


def test_each_step_has_its_programs():
    """In their order; the label names all."""
    found = run("in --mapper a -r b --then --reducer c --key-fields 2 --then --mapper d -c e -r f")
    assert found.inputs == ("in",)
    assert found.program == Program("a", "b")
    assert found.then == (Program(None, "c", key_fields=2), Program("d", "f", "e"))
    assert found.label == "a | b | c | d | f"


def test_first_step_says_for_all_what_they_do_not_say():
    """How long, how often, which statuses, the environment; not the order, which goes with a reducer."""
    said = "--timeout 5 --attempts 2 --ok-status 0,1 --env A=1 --env B=1"
    found = run(f"in -r a --secondary-sort {said} --then -m b --then -r c --attempts 3 --env A=2")
    first = Program(None, "a", None, (), (("A", "1"), ("B", "1")), (0, 1), 5.0, 2, secondary_sort=True)
    assert found.program == first
    second, third = found.then
    assert second == evolve(first, mapper="b", reducer=None, secondary_sort=False)
    assert (third.attempts, third.timeout_seconds, dict(third.env)) == (3, 5.0, {"A": "2", "B": "1"})


def test_what_is_of_the_whole_request_may_stand_anywhere(folder):
    """As people add it at the end."""
    whole = "--output out --local --workers 3 --force --json --quiet"
    assert run(f"in -m a --then -m b {whole}") == run(f"in -m a {whole} --then -m b")
    assert run("in -m a --then -m b --output=out --detach").output == "out"


def test_all_steps_find_the_files_of_all(folder):
    """Once each."""
    found = run("in -m one.py --file more/one.py --then -m ./two.py --then -m ./one.py")
    assert dict(found.files) == {
        "one.py": folder / "one.py",
        "more/one.py": folder / "more/one.py",
        "two.py": folder / "two.py",
    }


def test_files_of_one_name_are_refused(folder):
    """One of them would be missing."""
    said = refusal(f"in -m a --file one.py --then -m b --file {folder}/more/one.py")
    both = f"{folder}/one.py and {folder}/more/one.py"
    assert said == f"{both} would both be found as one.py: rename one of them"


WHOLE = "whole request: put it before the first --then"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("in -m a --then -m b -oout", f"--output is of the {WHOLE}"),
        ("in --then -m a", "run needs a --mapper or a --reducer, or both, or a --binary"),
        ("in -m a --then", "--then needs a --mapper or a --reducer, or both, or a --binary"),
        ("in -m a --then --then -m b", "--then needs a --mapper or a --reducer, or both, or a --binary"),
        ("in -m a --then -m b more", "'more': INPUTs stand before the first --then"),
        ("in -m a --then -m b -c c", "--combiner needs a --reducer: without one nothing is sorted"),
        ("in -m a --then -m b --output", "--output needs a value"),
    ],
)
def test_what_is_no_step_is_refused(line, said):
    """In one sentence."""
    assert refusal(line) == said


def test_other_commands_have_no_steps():
    """They say that they do not know it."""
    with pytest.raises(UsageError, match="then"):
        parse(["list", "--then"], Path.cwd())
