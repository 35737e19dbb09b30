"""The documents promise what is there: sentences, options, examples, cases."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from twisted.python.usage import Options

import hagoop
from hagoop import request_options, server_tap, step_options, worker_tap

PACKAGE = Path(hagoop.__file__).parent
ROOT = PACKAGE.parent
DOCS = ROOT / "docs"
CASES = ROOT / "tests/integration/test_hadoop_streaming.py"
GAP = "..."
FOREIGN = re.compile(r"^    (?:parallel|hadoop) .*", re.MULTILINE)
FIRST_COLUMN = re.compile(r"^``.{32}", re.MULTILINE)
"""In pages on other programs the first column is theirs."""
THEIRS = frozenset("--step-num --pipe --time --signal --wrap --kill-whom --nodaemon --pidfile".split())
"""Options of others, in the text."""
NAMES = ("programs", "troubleshooting", "workers")
PAGES = [ROOT / "README.rst", *(DOCS / f"{name}.rst" for name in NAMES)]
PAGES += sorted(DOCS.glob("from_*.rst"))


@cache
def all_strings() -> str:
    """All that the code may say."""
    return "\n".join(strings())


def strings() -> Iterator[str]:
    """Each string, with a gap for what differs from case to case."""
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(_part(each) for each in node.values)


def _part(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else GAP


def sentences() -> list[str]:
    """What somebody may see who then looks it up: the terms of the page that are literal."""
    lines = (DOCS / "troubleshooting.rst").read_text().splitlines()
    return [term.strip("`") for term, text in pairwise(lines) if text[:1] == " " != term[:1] == "`"]


def options() -> set[str]:
    """All options of ours."""
    found = {step_options.THEN}
    waiting: list[type[Options]] = [request_options._AllOptions, server_tap.Options, worker_tap.Options]
    for kind in waiting:
        waiting += [each[2] for each in getattr(kind, "subCommands", ())]
        found.update(f"--{each.rstrip('=')}" for each in kind().longOpt)
    return found


@pytest.mark.parametrize("sentence", sentences())
def test_sentences_are_those_of_the_code(sentence: str) -> None:
    """Each symptom is what is really said; ``...`` stands for what differs."""
    for part in filter(None, (each.strip() for each in sentence.split(GAP))):
        assert part in all_strings()


@pytest.mark.parametrize("page", PAGES, ids=lambda each: each.name)
def test_options_are_there(page: Path) -> None:
    """None is told that no command has."""
    text = page.read_text()
    if page.name.startswith("from_"):
        text = FIRST_COLUMN.sub("", FOREIGN.sub("", text))
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))
    assert named - options() - THEIRS == set()


def test_gallery_shows_all_examples() -> None:
    """None is forgotten."""
    shown = (DOCS / "gallery.rst").read_text()
    names = [each.name for each in (ROOT / "examples").iterdir() if each.is_file()]
    assert [each for each in names if f"examples/{each}" not in shown] == []


def test_cases_of_hadoop_are_those_of_the_tests() -> None:
    """The table lists what is tested, and all of it."""
    page = (DOCS / "from_hadoop.rst").read_text()
    table = page.partition("Hadoop's own tests")[2].partition("Not here")[0]
    pattern = r"\bTest[A-Z]\w+"
    assert set(re.findall(pattern, table)) == set(re.findall(pattern, CASES.read_text()))
