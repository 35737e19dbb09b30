"""Requests that show what is promised of answers and of programs, each with what it must equal.

``SENTENCES`` says which of them shows what.
"""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen
from cluster import PROGRAM_ENV, differ, end_line, oracle
from contract_inputs import (
    COUNT,
    ENDS,
    FEW,
    FILES,
    HUGE,
    LONG,
    NAMED,
    PAIRS,
    RAW,
    RUBBISH,
    SEVERAL,
    SMALL,
    SOME,
    TELL,
    TEXT,
    TOTALS,
    TREE,
)
from originals import run_binary, sort

DONE, FAILED = 0, 1

Expected = Callable[[Path], bytes]


@frozen
class Outcome:
    """How a request has ended.

    :ivar said: what its client has said besides.
    :ivar status: the request's, at its end.
    """

    exit_status: int
    answer: bytes
    said: str
    status: dict[str, Any]

    @property
    def counters(self) -> dict[str, int]:
        """Amounts by name."""
        return {each["name"]: each["amount"] for each in self.status["counters"]}


@frozen
class Case:
    """A request.

    :ivar words: of its command line; ``{at}`` is where the inputs are, ``{gate}`` opens ``gated.py``.
    :ivar expected: the answer, by a pipe run where the inputs are; None: it fails.
    :ivar also: what else must be right.
    """

    words: tuple[str, ...]
    expected: Expected | None
    also: Callable[[Outcome], bool] = lambda _: True

    def wanted(self, at: Path) -> bytes:
        """The answer that it must have; nothing if it fails."""
        return self.expected(at) if self.expected else b""

    def wrong(self, outcome: Outcome, wanted: bytes) -> str:
        """What is not as it should be; empty if all is."""
        exit_status = FAILED if self.expected is None else DONE
        if outcome.exit_status != exit_status:
            return f"exit status {outcome.exit_status}: {outcome.said[-500:]}"
        if exit_status == DONE and outcome.status["failures"]:
            return f"{outcome.status['failures']} failures were charged to the program"
        if not self.also(outcome):
            return f"beside the answer: {outcome.said[-500:]}"
        return differ(outcome.answer, wanted)


def pipe(
    files: bytes | list[bytes], mapper: str | None = None, reducer: str | None = None
) -> Expected:
    """``lines(I) | M | sort | R``."""
    listed = [files] if isinstance(files, bytes) else files
    return lambda at: oracle(listed, mapper, reducer, at)


def in_order(at: Path) -> bytes:
    """Two fields between dots, values sorted too."""
    return oracle([RAW], "tr a . | LC_ALL=C sort -t . -k1,2", None, at)


def three_steps(at: Path) -> bytes:
    first = oracle([TEXT], "tr k K", COUNT, at)
    return oracle([oracle([first], BY_COUNT, SOME, at)], "rev", None, at)


def heads(at: Path) -> bytes:
    """Of each file, then of all."""
    mapped = [oracle([each], "head -n 2", None, at) for each in (LONG, RAW)]
    return oracle(mapped, "cat", "head -n 3", at)


def named(at: Path) -> bytes:
    """Each line behind the name of its file."""
    files = {"z.txt": ENDS, **{f"small/{name}": data for name, data in SMALL.items()}}
    lines = [(name, line) for name, data in files.items() for line in end_line(data).splitlines(True)]
    return b"".join(name.encode() + b"\t" + line for name, line in lines)


def original(at: Path) -> bytes:
    """``BINARY map | sort | BINARY reduce | sort``, map on one file after the other."""
    binary, scratch = at / "original", at.parent / "original-reads"
    mapped = [run_binary(binary, "map", end_line(each), scratch) for each in PAIRS.values()]
    reduced = run_binary(binary, "reduce", sort(b"".join(mapped)), scratch)
    scratch.unlink()
    return sort(reduced)


def lengths(at: Path) -> bytes:
    """How long the values of each key are, counted another way."""
    sums: Counter[bytes] = Counter()
    for line in TEXT.splitlines():
        key, _, value = line.partition(b"\t")
        sums[key] += len(value)
    return b"".join(b"%b\t%d\n" % each for each in sorted(sums.items()))


BY_COUNT = "sed 's/^ *//; s/ /\\t/'"
ALL = [*TREE.values()]
WORDS, SUMS = "./wordcount.sh map", "./wordcount.sh reduce"
EMPTY = "echo ran; cat"
THEN = ("--then", "-m")
TWO_FIELDS = ("--separator", ".", "--key-fields", "2")
AROUND = ("-m", "./around.py map", "-c", "./around.py combine", "-r", "./around.py reduce")
GIVEN = ("--env", "MINE=a b=c", "--env", f"WANTED_PATH={PROGRAM_ENV['PATH']}")
TOOLS = ("-m", "./tools/map.sh tools/table.txt", "-r", f"{{at}}{os.sep}tools/reduce.sh")
APP = ("-m", "./app.py map", "-c", "./app.py combine", "-r", "./app.py reduce")

CASES = {
    "mapped": Case(("z.txt", "tree", "few", "-m", "tr a A"), pipe([ENDS, *ALL, FEW], "tr a A")),
    "reduced": Case(("tree", "z.txt", "-m", "tr a A", "-r", COUNT), pipe([*ALL, ENDS], "tr a A", COUNT)),
    "unended": Case(
        ("text", "-m", "head -c -1", "-r", f"{SOME} | head -c -1"), pipe(TEXT, "head -c -1", SOME)
    ),
    "rubbish": Case(
        ("rubbish", "huge", "-m", "tr A a", "-r", "cat"), pipe([RUBBISH, *HUGE], "tr A a", "cat")
    ),
    "no mapper": Case(("raw", "-r", COUNT), pipe(RAW, None, COUNT)),
    "combined": Case(("tree", "-m", WORDS, "-c", SUMS, "-r", SUMS), pipe(ALL, WORDS, SUMS)),
    "nothing": Case(("nothing", "empty", "-m", EMPTY, "-r", EMPTY), lambda _: b""),
    "some match": Case(
        ("text", "-m", "grep 'k4[0-9]'", "-r", COUNT, "--ok-status", "0,1"),
        pipe(TEXT, "grep 'k4[0-9]'", COUNT),
    ),
    "none matches": Case(("few", "-m", "grep nowhere"), None, lambda it: "--ok-status 0,1" in it.said),
    "counted": Case(
        ("few", "-m", TELL.format("mapped"), "-r", TELL.format("reduced")),
        pipe(FEW, "cat", "cat"),
        lambda it: (
            it.counters == {"mapped": 1200, "reduced": 1200}
            and it.status["status"] == "busy"
            and it.status["log"].startswith("reporter: said\n")
        ),
    ),
    "not read": Case(
        ("long", "raw", "-m", "head -n 2", "--map-whole", "-r", "head -n 3", "-numReduceTasks", "1"),
        heads,
    ),
    "mapped whole": Case(
        ("text", "few", "z.txt", "-m", TOTALS, "--map-whole"),
        lambda at: b"".join(oracle([each], TOTALS, None, at) for each in (TEXT, FEW, ENDS)),
    ),
    "reduced whole": Case(("text", "-r", TOTALS, "--reduce-whole"), pipe(TEXT, None, TOTALS)),
    "one file": Case(("z.txt", "small", "-m", NAMED), named),
    "several files": Case(
        ("small", "-m", SEVERAL, "--combine-files"),
        pipe([*SMALL.values()], "tr xy ab"),
        lambda it: it.counters["several"] > 0,
    ),
    "original": Case(("pairs", "--binary", "original"), original),
    "shipped": Case(
        ("few", *TOOLS, "--file", "extra.txt"), pipe(FEW, "./tools/map.sh tools/table.txt", COUNT)
    ),
    "unfit": Case(
        ("few", "-m", "no-such-program"),
        None,
        lambda it: "run this: no-such-program is not on this machine (worker-" in it.said,
    ),
    "unfit by status": Case(
        ("few", "-m", "cat; exit 126"), None, lambda it: "no connected worker can run this" in it.said
    ),
    "around": Case(("numbered", *AROUND, *GIVEN), pipe(FILES["numbered"], "cat", "cat")),
    "app": Case(("text", *APP), lengths, lambda it: it.counters == {"lines": 2500}),
    "app, original": Case(
        ("text", "--binary", "./app.py"),
        lambda at: sort(lengths(at).replace(b"\t", b", ")),
        lambda it: it.counters == {"lines": 2500},
    ),
    "packed": Case(("packed", "-m", "cat", "-r", COUNT), pipe([TEXT, RAW, ENDS], "cat", COUNT)),
    "in order": Case(
        ("raw", "-m", "tr a .", "-r", "cat", "--secondary-sort", *TWO_FIELDS),
        in_order,
    ),
    "steps": Case(
        ("text", "-m", "tr k K", "-r", COUNT, *THEN, BY_COUNT, "-r", SOME, *THEN, "rev"),
        three_steps,
    ),
    "gated": Case(
        ("few", "-m", "./gated.py", "-r", COUNT, "--env", "GATE={gate}"), pipe(FEW, "cat", COUNT)
    ),
}

SENTENCES: dict[str, tuple[str, ...]] = {
    # The promise
    "the answer is lines(I) | M | LC_ALL=C sort -s -t TAB -k1,1 | R": ("reduced", "rubbish", "gated"),
    "INPUTs come in the order given": ("mapped", "one file"),
    "files of a folder come by the bytes of their whole relative path": ("mapped", "reduced"),
    "a last line without a newline counts as a line and gets one": ("mapped", "packed"),
    "so does the last line that a program prints": ("unended",),
    "NUL, CR, invalid UTF-8 and empty lines pass through": ("mapped", "rubbish", "no mapper"),
    "nothing is run on empty input": ("nothing",),
    "what is not pure has its switch": ("mapped whole", "reduced whole"),
    "without a reducer the answer is lines(I) | M, unsorted": ("mapped",),
    "without a mapper, M is cat": ("no mapper",),
    "a combiner does not change the answer": ("combined", "app"),
    "original: lines(I) | BINARY map | LC_ALL=C sort | BINARY reduce | LC_ALL=C sort": ("original",),
    # Streaming
    "the key is everything before the first TAB, or the whole line": ("reduced", "no mapper"),
    "exit status 0 is success, and --ok-status widens it": ("some match",),
    "a run that exits 1 and prints nothing fails with a hint": ("none matches",),
    "a counter counts once, with the commit; status and log are kept": ("counted", "app"),
    "a program that does not read all of its input has not failed": ("not read",),
    # Original
    "BINARY takes END - START lines from byte OFFSET on; lines are numbered from 0": ("original",),
    "the key is everything before the first comma and blank; a huge one is one run": ("original",),
    # CMD
    "CMD runs by the shell, or directly where it holds nothing for one": ("mapped", "some match"),
    "first words and relative paths are shipped and found under the same path": ("shipped", "combined"),
    "an absolute first word is found under its base name": ("shipped",),
    "--file ships more": ("shipped",),
    "a program that no worker has fails the request, which names them and it": ("unfit",),
    "126 and 127 mean the same": ("unfit by status",),
    # Environment
    "the environment is made new, with names of the run and of the assignment as leased": ("around",),
    "a run's folder is private": ("around",),
    "one run of a mapper sees lines of one file only": ("one file",),
    "unless --combine-files": ("several files",),
    # Whole runs, Python, and what belongs to them
    "--reduce-whole, also -numReduceTasks 1, runs the reducer once": ("reduced whole", "not read"),
    "--map-whole runs the mapper once per file": ("mapped whole", "not read"),
    "hagoop.app makes a script a program for either interface": ("app", "app, original"),
    ".gz and .bz2 are read as the text within": ("packed",),
    "--key-fields, --separator and --secondary-sort say how lines are sorted": ("in order",),
    "--then reads the answer of the step before": ("steps",),
}
