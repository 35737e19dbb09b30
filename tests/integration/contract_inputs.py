"""What the requests of ``contract_cases.py`` read and run."""

import bz2
import gzip
import random
import shutil
import sys
from pathlib import Path

from cluster import SOURCE

# Programs

COUNT = "LC_ALL=C cut -f1 | LC_ALL=C uniq -c"
TOTALS = "awk '{ n[$1]++ } END { for (k in n) print k, n[k]; print NR }' | LC_ALL=C sort"
OUT = "function out() { for (; n > 1; n -= 2) print k, n }"
SOME = f"awk -F '\\t' '{OUT} $1 \"\" != k \"\" {{ out(); n = 0 }} {{ k = $1; n++ }} END {{ out() }}'"
"""Prints a line for every two values of a key: none, one or several."""
TELL = (
    "echo reporter:status:busy >&2; echo 'reporter: said' >&2;"
    ' awk \'{{ print; print "reporter:counter:lines,{0},1" > "/dev/stderr" }}\''
)
NAMED = """awk '{ print ENVIRON["HAGOOP_INPUT_FILE"] "\\t" $0 }'"""
SEVERAL = (
    "tr xy ab | awk '{ print } END { if (NR > 2) print \"reporter:counter:runs,several,1\" > "
    '"/dev/stderr" }\''
)
"""Tells if it has seen more lines than any of the small files has."""

GATED = f"""#!{sys.executable} -IS
import os, sys, time
gate = os.environ["GATE"]
for line in sys.stdin.buffer:
    time.sleep(0.001)
    while line.startswith(b"k42\\t") and not os.path.exists(gate):
        open(gate + "-reached", "w").close()
        time.sleep(0.02)
    sys.stdout.buffer.write(line)
"""
"""Takes its time for each line, and waits at some until a file is there."""

ORIGINAL = f"""#!{sys.executable} -IS
import itertools, sys
what, path, start, end, offset = sys.argv[1:]
with open(path, "rb") as file:
    file.seek(int(offset))
    lines = list(itertools.islice(file, int(end) - int(start)))
assert len(lines) == int(end) - int(start)
out = sys.stdout.buffer
if what == "map":
    for number, line in enumerate(lines, int(start)):
        assert int(line.rpartition(b" ")[2]) == number, (number, line[-80:])
        out.write(b"%b, x 1\\n" % line.partition(b", ")[0])
else:
    for key, same in itertools.groupby(lines, lambda line: line.partition(b", ")[0]):
        count = sum(int(each.rpartition(b" ")[2]) for each in same)
        for _ in range(1 + count % 2):
            out.write(b"%d-%b%d, %d\\n" % (count % 7, key[-9:], len(key), count))
"""
"""Each line ends in its number, which map checks; keys of reduce come in no order, and some twice."""

SURROUNDINGS = f"""#!{sys.executable} -IS
import os, sys
env, phase, folder = os.environ, sys.argv[1], os.getcwd()
right = {{
    "locale and zone": (env["LC_ALL"], env["TZ"]) == ("C.UTF-8", "UTC"),
    "PATH": env["PATH"] == env["WANTED_PATH"],
    "--env": env["MINE"] == "a b=c",
    "made new": not any(each in env for each in ("PYTHONWARNINGS", "LANG", "PYTHONPATH")),
    "folder": env["HOME"] == env["TMPDIR"] == folder and os.listdir(folder) == ["around.py"],
    "phase": env["HAGOOP_PHASE"] == phase,
    "request": env["HAGOOP_REQUEST"] == env["mapreduce_job_id"] != "",
    "job": env["HAGOOP_JOB"] != "" and env["HAGOOP_ATTEMPT"].isdigit(),
    "task": env["HAGOOP_REQUEST"] in env["mapreduce_task_id"],
    "attempt": env["mapreduce_task_attempt_id"].endswith("_" + env["HAGOOP_ATTEMPT"]),
    "partition": env["mapreduce_task_partition"].isdigit(),
    "is map": env["mapreduce_task_ismap"] == ("false" if phase == "reduce" else "true"),
}}
open("mark", "x").close()
for line in sys.stdin:
    if phase == "map":
        number, offset = map(int, line.split("\\t")[1].split(","))
        files = ("HAGOOP_INPUT_FILE", "mapreduce_map_input_file", "map_input_file")
        first, begin = int(env["HAGOOP_INPUT_START_LINE"]), int(env["mapreduce_map_input_start"])
        right["file"] = [env[each] for each in files] == ["numbered"] * 3
        right["lines"] = first <= number < first + int(env["HAGOOP_INPUT_LINES"])
        right["bytes"] = begin <= offset < begin + int(env["mapreduce_map_input_length"])
    print(line.rstrip("\\n"), *[each for each in right if not right[each]], sep="\\t")
"""
"""Prints each line, and behind it what is not as it should be around it."""

MAP_TOOL = """#!/bin/sh
exec awk -v more="$(cat extra.txt)" 'NR == FNR { n[$1] = $2; next } { print n[$1] more "\\t" $2 }' $1 -
"""
REDUCE_TOOL = f"#!/bin/sh\ntest -e reduce.sh || exit 9\n{COUNT}\n"

APP = f"""#!{sys.executable}
from hagoop.app import MapReduce

class Lengths(MapReduce):
    def map(self, line):
        self.count("app", "lines")
        key, _, value = line.partition("\\t")
        yield key, len(value)

    def reduce(self, key, values):
        yield key, sum(map(int, values))

    combine = reduce

if __name__ == "__main__":
    Lengths.main()
"""
PROGRAMS = {
    "tools/map.sh": MAP_TOOL,
    "tools/reduce.sh": REDUCE_TOOL,
    "gated.py": GATED,
    "original": ORIGINAL,
    "around.py": SURROUNDINGS,
    "app.py": APP,
}


# Inputs


def keyed(count: int) -> bytes:
    dice = random.Random(4)
    return b"".join(b"k%d\tv%d\n" % (dice.randrange(60), number) for number in range(count))


def raw(count: int) -> bytes:
    """Lines of bytes of all kinds, some of them empty, the last without its end."""
    dice = random.Random(5)
    parts = [b"", b"\t", b"a", b"a\0", b"\r", b"\xff\xfe", b"\xc3", b"a\x01", b" ", b"b\tc"]
    lines = (b"".join(dice.choices(parts, k=dice.randrange(5))) for _ in range(count))
    return b"\n".join(lines) + b"\nend"


def numbered(count: int) -> bytes:
    """Lines that say which they are, from 0, and at which byte they begin."""
    text = b""
    for number in range(count):
        text += b"k%d\t%d,%d\n" % (number % 7, number, len(text))
    return text


def pairs(count: int) -> bytes:
    """``KEY, VALUE NUMBER`` in lines of all lengths; keys that begin like others, some of them huge."""
    dice = random.Random(6)
    keys = [b"a", b"a ", b"a,b", b"", b"a\0", b"\xff", b"a\tb", b"hot", b"hot"]
    chosen = dice.choices(keys, k=count)
    for number in (7, count // 2, count - 2):
        chosen[number] = b"k" * 300_000
    chosen[count - 3] = b"k" * 300_000 + b"!"
    lines = (b"%b, %b %d" % (key, b"x" * dice.choice([0, 9, 400]), n) for n, key in enumerate(chosen))
    return b"\n".join(lines)


TREE = {
    "a-b": b"a-b\n\n",
    "a.b": raw(400),
    "a/c": b"a/c\tv",
    "a/d/e": b"",
    "a0": keyed(600)[:-1],
    "b": raw(100),
}
"""A folder in the order of the bytes of whole paths: ``a/c`` between ``a.b`` and ``a0``."""
SKIPPED = ".hidden", "_logs/x", "a/_SUCCESS", "a/.git/config"
SMALL = {f"{number:03}": b"x%d\ny%d\tz" % (number, number) for number in range(20)}
ENDS = b"z\t1\nlast of z"
TEXT, RAW, FEW, LONG = keyed(2500), raw(1200), keyed(1200), keyed(15_000)
PAIRS = {"one": pairs(500), "two": b"a, 1 0\nb, 2 1"}
RUBBISH = random.Random(4).randbytes(1 << 18)
HUGE = [b"k" * 100_000 + b"%d\t%d\n" % (number % 5, number) for number in range(15)]
"""Keys that differ in their last byte, or not at all."""
TABLE = b"".join(b"k%d name%d\n" % (number, number % 9) for number in range(60))
FILES = {
    **{f"tree/{name}": data for name, data in TREE.items()},
    **{f"tree/{name}": b"not to be seen\n" for name in SKIPPED},
    **{f"small/{name}": data for name, data in SMALL.items()},
    **{f"pairs/{name}": data for name, data in PAIRS.items()},
    **{"z.txt": ENDS, "text": TEXT, "raw": RAW, "few": FEW, "long": LONG, "numbered": numbered(1200)},
    **{"nothing": b"", "empty/one": b"", "empty/two": b"", "extra.txt": b"!\n"},
    **{"tools/table.txt": TABLE, "rubbish": RUBBISH, "huge": b"".join(HUGE)},
    **{"packed/a.gz": gzip.compress(TEXT[:-1]), "packed/b.bz2": bz2.compress(RAW), "packed/c": ENDS},
}


def write_all(at: Path) -> None:
    """All inputs and programs."""
    for name, data in {**FILES, **{name: text.encode() for name, text in PROGRAMS.items()}}.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_bytes(data)
        (at / name).chmod(0o755 if name in PROGRAMS else 0o644)
    shutil.copy(SOURCE / "examples/wordcount.sh", at)
