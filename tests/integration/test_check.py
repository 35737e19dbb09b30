"""``hagoop-request check``: ordinary wrong programs are caught, right ones are let be."""

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hagoop
from hagoop.check_options import Checking
from hagoop.check_script import check, check_beside, examine
from hagoop.request_options import parse
from hagoop.run_options import Running
from hagoop.sampling import sample
from hagoop.subjects import Effort

EXAMPLES = Path(hagoop.__file__).parent.parent / "examples"
EFFORT = Effort(pieces=4, run_seconds=2.0, later_seconds=0.0)
PYTHON = sys.executable

WORDS = "the cat sat on the mat and a dog sat by the cat".split()
TEXT = "".join(f"{' '.join(WORDS[i % 7 : i % 7 + 1 + i % 4])}\n" for i in range(40))
NUMBERS = "".join(f"{1 + i * 7 % 12}\t{i}\n" for i in range(40))
HEADED = "name,size\n" + "".join(f"n{i},{i * i}\n" for i in range(20))

TR = "tr -s ' ' '\\n'"
PAIRS = "awk '{for (i = 1; i <= NF; i++) print $i \"\\t1\"}'"
SUM = (
    "awk -F'\\t' '$1 != k && NR > 1 {print k \"\\t\" s; s = 0} {k = $1; s += $2} "
    'END {print k "\\t" s}\''
)
AVERAGE = (
    "awk -F'\\t' '$1 != k && NR > 1 {print k \"\\t\" s / n; s = n = 0} {k = $1; s += $2; n++} "
    'END {print k "\\t" s / n}\''
)
BY_HASH = f"{PYTHON} -S -c 'import sys; [print(w) for l in sys.stdin for w in set(l.split())]'"
BY_CHANCE = f"{PYTHON} -S -c 'import os, sys; [print(os.urandom(4).hex()) for l in sys.stdin]'"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with inputs, from which programs are checked."""
    (tmp_path / "text").write_text(TEXT)
    (tmp_path / "numbers").write_text(NUMBERS)
    (tmp_path / "headed").write_text(HEADED)
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def said(*words: str, effort: Effort = EFFORT) -> list[str]:
    """What a check says of a command line."""
    from twisted.internet import reactor

    call = parse(["check", *words], Path.cwd())
    assert isinstance(call, Checking)
    parts = sample(call.run.inputs, sys.stdin, (effort.lines, effort.bytes, effort.files))
    report = await examine(call.run, parts, call.seed, reactor, effort)
    assert report.is_whole
    return [str(each) for each in report.found]


def streaming(mapper, reducer=None, combiner=None):
    given = {"--mapper": mapper, "--reducer": reducer, "--combiner": combiner}
    return [word for option, cmd in given.items() if cmd is not None for word in (option, cmd)]


WRONG_MAPPERS = {
    "wc": ("wc -l", "it keeps totals across lines; add --map-whole"),
    "head": ("head -n 1", "takes only the first of its input"),
    "tail": ("tail -n 1", "takes only the last of its input"),
    "uniq": ("awk '!seen[$0]++'", "leaves out what it has printed before"),
    "sort": ("sort", "puts them in an order at its end"),
    "sort -n": ("sort -rn", "puts them in an order at its end"),
    "NR": ("awk '{print NR \": \" $0}'", "depends on the lines before it"),
    "previous": ("awk '{print last \"-\" $1; last = $1}'", "depends on the lines before it"),
    "running sum": ("awk '{s += NF; print s}'", "depends on the lines before it"),
    "header": ("tail -n +2", "leaves out the first line of each run"),
    "last lost": ("awk 'NR > 1 {print last} {last = $0}'", "never prints the last line of a run"),
    "heading": ("awk 'BEGIN {print \"words\"} {print}'", "at the beginning of each run"),
    "footing": ("awk '{print} END {print \"total \" NR}'", "at the end of each run"),
    "nothing read": ("echo hello", "prints the same whatever it reads"),
    "start line": (
        "awk '{print ENVIRON[\"HAGOOP_INPUT_START_LINE\"] + NR}'",
        "depends on the lines before",
    ),
    "time": ("awk -v now=$(date +%s) '{print now, $0}'", "prints other lines at another time"),
    "date": ("awk -v day=$(date +%F) '{print day, $0}'", "prints other lines at another time"),
    "chance": (BY_CHANCE, "it uses chance"),
    "shuf": ("shuf", "it uses chance"),
    "hashes": (BY_HASH, "--env PYTHONHASHSEED=0"),
    "place": ('sed "s:^:$PWD :"', "prints the path of its run's folder"),
    "run's name": ('sed "s:^:$HAGOOP_JOB :"', "such as HAGOOP_JOB"),
    "grep": ("grep -x 'the cat'", "--ok-status 0,1"),
    "fails": ("awk '{exit 3}'", "mapper failed on lines 1-40 of text: it ended with exit status 3"),
    "missing": ("no-such-program", "no-such-program is not on this machine"),
    "cr lf": ("sed 's/$/\\r/'", "ends its lines in CR LF"),
    "hangs": ("sleep 30", "it had not ended on lines 1-10 of text after 0.5 s"),
}


@pytest.mark.parametrize("name", WRONG_MAPPERS)
async def test_wrong_mapper_is_caught(name):
    """Each with one sentence that says what it does."""
    mapper, expected = WRONG_MAPPERS[name]
    effort = Effort(pieces=4, run_seconds=0.5) if name == "hangs" else EFFORT
    told = await said("text", "--mapper", mapper, effort=effort)
    assert len(told) == 1, told
    assert expected in told[0]
    assert told[0].startswith("mapper")


WRONG_REDUCERS = {
    "wc": (
        "wc -l",
        "4 lines for 8 keys in pieces, 1 line whole: it keeps totals across keys; add --reduce-whole",
    ),
    "grand total": (
        "awk -F'\\t' '{s += $2} END {print s}'",
        "keeps totals across keys; add --reduce-whole",
    ),
    "head": ("head -n 1", "takes only the first of its input"),
    "tail": ("tail -n 1", "takes only the last of its input"),
    "sort -n": (f"{SUM} | sort -t '\t' -k2n", "puts them in an order at its end"),
    "rank": (f"{SUM} | cat -n", "depends on the keys before it"),
    "last key lost": (
        "awk -F'\\t' '$1 != k && NR > 1 {print k \"\\t\" s; s = 0} {k = $1; s += $2}'",
        "never prints the last",
    ),
    "time": (f'{SUM} | sed "s/$/ $(date +%s)/"', "prints other lines at another time"),
    "fails": ("awk '{exit 3}'", "reducer failed on"),
}


@pytest.mark.parametrize("name", WRONG_REDUCERS)
async def test_wrong_reducer_is_caught(name):
    """Each with one sentence that says what it does."""
    reducer, expected = WRONG_REDUCERS[name]
    told = await said("text", *streaming(PAIRS, reducer))
    assert len(told) == 1, told
    assert expected in told[0]
    assert told[0].startswith("reducer")


async def test_numeric_order_is_not_that_of_keys():
    """A reducer that dies of it is told the order of keys."""
    told = await said("numbers", *streaming("cat", "sort -c -n -k1,1"))
    assert len(told) == 1
    assert "keys are sorted as bytes, not as numbers, '10' before '2'" in told[0]


WRONG_COMBINERS = {
    "average": ("numbers", "cat", AVERAGE, AVERAGE, "averages of averages"),
    "another key": ("text", PAIRS, SUM, f"{SUM} | sed 's/^/x/'", "must print the key that it read"),
    "no TAB": ("text", PAIRS, SUM, f"{SUM} | tr '\\t' ' '", "must print the key that it read"),
    "counts": (
        "text",
        PAIRS,
        SUM,
        'cut -f 1 | uniq -c | awk \'{print $2 "\\t" $1 > "/dev/null"}\'',
        "nothing",
    ),
}


@pytest.mark.parametrize("name", WRONG_COMBINERS)
async def test_wrong_combiner_is_caught(name):
    """The answer with it and without it is compared."""
    given, mapper, reducer, combiner, expected = WRONG_COMBINERS[name]
    told = await said(given, *streaming(mapper, reducer, combiner))
    assert len(told) == 1, told
    assert expected in told[0]
    assert told[0].startswith("combiner")


NOT_SHIPPED = {
    "file": ("cat $(echo lib)/words.txt", "ship it with --file lib/words.txt"),
    "outside": ("grep -f ../beside.txt", "ship it with --file ../beside.txt, and call it beside.txt"),
    "module": ("./lib/map.py", "ship it with --file lib/beside.py"),
}


@pytest.mark.parametrize("name", NOT_SHIPPED)
async def test_file_that_is_not_shipped_is_named(folder, monkeypatch, name):
    """A program that dies of it is told the option."""
    (folder / "in" / "lib").mkdir(parents=True)
    monkeypatch.chdir(folder / "in")
    for each in ("lib/words.txt", "lib/beside.py", "../beside.txt"):
        Path(each).write_text("")
    Path("lib/map.py").write_text(f"#!{PYTHON}\nimport beside\n")
    Path("lib/map.py").chmod(0o755)
    mapper, expected = NOT_SHIPPED[name]
    told = await said("../text", "--mapper", mapper)
    assert len(told) == 1
    assert told[0].startswith("mapper failed on lines 1-40 of ../text: ")
    assert expected in told[0]


RIGHT = {
    "uniq -c": (TR, "uniq -c", None),
    "no reducer": ("cut -d ' ' -f 1", None, None),
    "no mapper": (None, "uniq", None),
    "sums": (PAIRS, SUM, SUM),
    "sort and uniq": (TR, "sort | uniq -c", None),
    "grep": ("grep -F cat || true", None, None),
    "tr": ("tr a-z A-Z", None, None),
    "swapped": ("awk '{print length($0) \"\\t\" $0}'", "cut -f 2", None),
    "greatest": (
        "awk '{print $1 \"\\t\" NF}'",
        "sort -t '\t' -k1,1 -k2,2nr | awk -F'\\t' '!seen[$1]++'",
        "sort -t '\t' -k1,1 -k2,2nr | awk -F'\\t' '!seen[$1]++'",
    ),
    "average": ("awk '{print $1 \"\\t\" NF}'", AVERAGE, None),
    "hashes that are sorted away": (BY_HASH, "uniq -c", None),
    "totals that are added up": (
        "awk '{for (i = 1; i <= NF; i++) n[$i]++} END {for (w in n) print w \"\\t\" n[w]}'",
        SUM,
        None,
    ),
    "header by itself": ("grep -v ^name", None, None),
}


@pytest.mark.parametrize("name", RIGHT)
async def test_nothing_is_found_in_right_programs(name):
    """Notes aside."""
    told = await said("text", *streaming(*RIGHT[name]))
    assert [each for each in told if not each.startswith("note: ")] == []


@pytest.mark.parametrize("switches", [["--map-whole"], ["--reduce-whole"]])
async def test_what_runs_whole_may_print_totals(switches):
    """Nothing is cut then."""
    programs = streaming("wc -l") if "--map-whole" in switches else streaming("cat", "wc -l")
    wrong = await said("text", *programs)
    assert any("add " + switches[0] in each for each in wrong)
    told = await said("text", *programs, *switches)
    assert [each for each in told if not each.startswith("note: ")] == []


async def test_packed_input_is_checked_as_its_text(folder):
    """What a mapper would see."""
    (folder / "text.gz").write_bytes(gzip.compress((folder / "text").read_bytes()))
    assert any("--map-whole" in each for each in await said("text.gz", *streaming("wc -l")))


async def test_numbers_are_checked(capsys):
    """As lines, without a file."""
    assert await checked("--lines", "100", *streaming("wc -l")) == 1
    assert "add --map-whole" in capsys.readouterr().out


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """A folder with all examples, the C programs compiled."""
    folder = tmp_path_factory.mktemp("examples")
    for each in EXAMPLES.iterdir():
        if each.suffix == ".c":
            subprocess.run(["cc", "-O2", "-o", folder / each.stem, each], check=True)
        else:
            shutil.copy(each, folder)
    return folder


EXAMPLE_WORDS = {
    "shell": streaming("./wordcount.sh map", "./wordcount.sh reduce", "./wordcount.sh reduce"),
    "c": streaming("./wordcount_map", "./wordcount_reduce", "./wordcount_reduce"),
    "python": [
        *streaming(*(f"{PYTHON} wordcount.py {role}" for role in ("map", "reduce", "combine"))),
        "--env",
        f"PYTHONPATH={EXAMPLES.parent}",
    ],
    "original": ["--binary", "./wordcount_original"],
}


@pytest.mark.parametrize("name", EXAMPLE_WORDS)
async def test_nothing_is_found_in_examples(examples, folder, monkeypatch, name):
    """Not even a note."""
    monkeypatch.chdir(examples)
    assert await said(str(folder / "text"), *EXAMPLE_WORDS[name]) == []


ORIGINALS = {
    "whole file": (
        'cat "$2"',
        'sort "$2"',
        "map: for lines within a larger file it prints something else",
    ),
    "first lines": ('head -n $(($4 - $3)) "$2"', 'cat "$2"', "map: for lines within a larger file"),
    "by number": ('tail -n +$(($3 + 1)) "$2" | head -n $(($4 - $3))', 'cat "$2"', "map: "),
    "counts": ('tail -c +$(($5 + 1)) "$2" | head -n $(($4 - $3))', 'wc -l < "$2"', "reduce: "),
    "right": ('tail -c +$(($5 + 1)) "$2" | head -n $(($4 - $3))', 'cat "$2"', None),
}


@pytest.mark.parametrize("name", ORIGINALS)
async def test_binary_takes_its_lines_at_its_offset(folder, name):
    """Wherever the lines lie in a file, and whatever their numbers are."""
    map_, reduce, expected = ORIGINALS[name]
    (folder / "both").write_text(
        f'#!/bin/sh\nset -- "$@"\nif [ $1 = map ]; then {map_}; else {reduce}; fi\n'
    )
    (folder / "both").chmod(0o755)
    told = await said("text", "--binary", "./both")
    assert len(told) == (expected is not None), told
    assert all(each.startswith(str(expected)) for each in told)


async def test_each_step_is_checked(capsys):
    """On what the one before has printed."""
    steps = [*streaming(PAIRS, SUM), "--then", *streaming("cut -f 2", "wc -l")]
    assert await checked("text", *steps) == 1
    assert capsys.readouterr().out == (
        "step 2: reducer: 4 lines for 6 keys in pieces, 1 line whole: it keeps totals across keys; "
        "add --reduce-whole\n"
    )
    assert await checked("text", *streaming(PAIRS, SUM), "--then", "--mapper", "cut -f 1") == 0
    names = "mapper of step 1, reducer of step 1 and mapper of step 2 gave the same for 40 lines"
    assert names in capsys.readouterr().out


# The command itself


def called(*words: str, stdin: bytes = b"") -> tuple[int, str, str]:
    """Exit status, stdout and stderr of the command as a process."""
    command = [PYTHON, "-m", "hagoop.request_script", *words]
    ended = subprocess.run(command, input=stdin, capture_output=True, timeout=60)
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


async def checked(*words: str) -> int:
    """Exit status of the command within this process."""
    from twisted.internet import reactor

    call = parse(["check", *words], Path.cwd())
    assert isinstance(call, Checking)
    return await check(call, reactor, EFFORT)


def test_time_is_caught_where_clocks_cannot_be_set():
    """A program that is told no other time: the next second tells."""
    mapper = "awk -v now=$(env -u LD_PRELOAD date +%s) '{print now}'"
    status, out, _ = called("check", "text", "--mapper", mapper)
    assert status == 1
    # A second may as well end between any two runs.
    assert out.startswith(("mapper: it prints other lines at another time", "mapper: two runs"))


def test_empty_input_is_told():
    """Nothing is run on it."""
    assert called("check", "-", "--mapper", "wc -l") == (0, "Nothing was run: the input is empty\n", "")


async def test_outside_is_told(folder, capsys):
    """What is written there is wrong, what is read there is noted."""
    log, words = folder / "log.txt", folder / "words.txt"
    words.write_text("cat\n")
    command = f"tee -a {log} | grep -F -f {words} || true"
    assert await checked("text", "--mapper", command, "--json") == 1
    told = {each["text"]: each["note"] for each in json.loads(capsys.readouterr().out)}
    expected = [f"mapper: it writes to {log}, outside", f"mapper: it names {words}, which must"]
    assert [each[: len(one)] for each, one in zip(told, expected, strict=True)] == expected
    assert list(told.values()) == [False, True]


async def test_nothing_found_is_said(capsys):
    """With what was tried, and exit status 0."""
    assert await checked("text", *streaming(TR, "uniq -c")) == 0
    start = "Nothing found: mapper and reducer gave the same for 40 lines whole, again, "
    assert capsys.readouterr().out.startswith(start)
    assert await checked("text", "--mapper", "cat", "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_run_on_this_machine_warns():
    """The answer is there all the same."""
    words = ["run", "text", "--local", "--workers", "1", "--mapper", TR, "--reducer", "wc -l"]
    status, out, err = called(*words)
    assert status == 0
    assert out.strip()
    assert "warning: reducer: " in err
    assert "it keeps totals across keys; add --reduce-whole" in err


@pytest.mark.parametrize("more", ["", "--quiet", "--json", "large", "none", "-", "--mapper false"])
async def test_check_beside_a_request_is_silent(folder, capsys, more):
    """With right programs, with --quiet, of large inputs, and of what the request itself will say."""
    from twisted.internet import reactor

    (folder / "large").write_bytes(b"a\n" * 500_001)
    mapper = "cat" if not more else "wc -l"
    call = parse(["run", "text", "--local", "--mapper", mapper, *more.split()], Path.cwd())
    assert isinstance(call, Running)
    await check_beside(call, reactor)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("mapper", ["sleep 60", "yes"])
async def test_check_beside_a_request_ends_soon(capsys, mapper):
    """What it began is gone, whatever the program does."""
    from twisted.internet import reactor

    call = parse(["run", "text", "--local", "--mapper", mapper], Path.cwd())
    assert isinstance(call, Running)
    await check_beside(call, reactor)
    assert capsys.readouterr() == ("", "")


async def test_check_has_an_end():
    """However many runs it would take."""
    from twisted.internet import reactor

    call = parse(["check", "text", "--mapper", "sleep 0.3; cat"], Path.cwd())
    assert isinstance(call, Checking)
    parts = sample(["text"], sys.stdin, (1000, 1 << 20, 3))
    effort = Effort(total_seconds=0.5, run_seconds=60.0)
    report = await examine(call.run, parts, 1, reactor, effort)
    assert not report.is_whole
    assert report.found == []
