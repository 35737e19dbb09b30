"""The promise, against a real server, workers and clients: answers are what a pipe gives.

That neither the number of workers nor their deaths change anything is in ``test_contract.py``.
"""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import frozen
from cluster import SOURCE, Cluster, differ, oracle, running, until

pytestmark = pytest.mark.slow

WORDS = "./wordcount.sh map"
COUNT = "./wordcount.sh reduce"
KEYS = "cut -f1 | uniq -c"
OUT = "function out() { for (; n > 1; n -= 2) print k, n }"
SOME = f"awk -F '\\t' '{OUT} $1 \"\" != k \"\" {{ out(); n = 0 }} {{ k = $1; n++ }} END {{ out() }}'"
"""Prints a line for every two values of a key: none, one or several."""
Made = tuple[list[str], list[bytes]]


@frozen
class Case:
    """A request.

    :ivar make: writes the inputs into a folder; their names there, and the files in order.
    """

    make: Callable[[Path], Made]
    mapper: str | None
    reducer: str | None = None
    combiner: str | None = None

    @property
    def options(self) -> list[str]:
        """The programs as options."""
        named = {"--mapper": self.mapper, "--reducer": self.reducer, "--combiner": self.combiner}
        return [word for option, cmd in named.items() if cmd is not None for word in (option, cmd)]


def one(data: bytes) -> Callable[[Path], Made]:
    """One file."""

    def make(folder: Path) -> Made:
        (folder / "input").write_bytes(data)
        return ["input"], [data]

    return make


def chance() -> random.Random:
    return random.Random(4)


def empty_folder(folder: Path) -> Made:
    (folder / "none").mkdir()
    return ["none"], []


def real_text(folder: Path) -> Made:
    """The standard library: the modules in one file, then a package as a folder, ``__init__`` aside."""
    library = Path(os.__file__).parent
    modules = b"".join(each.read_bytes() for each in sorted(library.glob("*.py")))
    (folder / "modules").write_bytes(modules)
    package = folder / "package"
    shutil.copytree(library / "email", package)
    files = [each for each in package.rglob("*") if each.is_file()]
    seen = [each for each in files if not skipped(each.relative_to(package))]
    return ["modules", "package"], [modules, *(each.read_bytes() for each in by_bytes(seen, package))]


def skipped(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def by_bytes(files: list[Path], top: Path) -> list[Path]:
    return sorted(files, key=lambda each: os.fsencode(each.relative_to(top)))


HOSTILE = [
    b"-rf",
    b" ",
    b"a b",
    b"new\nline",
    b"\xff\xfe",
    b"it's",
    b'"',
    b"$(reboot)",
    b"*",
    b"\\",
    b"tab\there",
    b"caf\xc3\xa9",
    b"a",
    b"a.b",
    b"a-b",
    b"x" * 200,
]


def many_files(count: int) -> Callable[[Path], Made]:
    """Small files in nested folders with hostile names; some empty, some unended, some to be skipped."""

    def make(folder: Path) -> Made:
        dice = chance()
        top = folder / "many"
        for number in range(count):
            inner = [dice.choice(HOSTILE) for _ in range(dice.randrange(4))]
            there = Path(os.fsdecode(os.path.join(os.fsencode(top), *(b"d" + each for each in inner))))
            there.mkdir(parents=True, exist_ok=True)
            name = os.fsdecode(dice.choice(HOSTILE) + b"%d" % number)
            text = b"%d\tof %d\n" % (number % 7, number) * dice.randrange(4)
            (there / name).write_bytes(text.removesuffix(b"\n") if number % 3 else text)
        files = [each for each in top.rglob("*") if each.is_file()]
        for each in (".hidden", "_logs", "_SUCCESS", ".git/config", "_temporary/part"):
            (top / each).parent.mkdir(exist_ok=True)
            (top / each).write_bytes(b"not to be seen\n")
        return ["many"], [each.read_bytes() for each in by_bytes(files, top)]

    return make


def several(folder: Path) -> Made:
    """Inputs in the order given, one of them twice, whatever their names sort like."""
    parts = {"z": b"z\t1\nlast of z", "a": b"\n\na\t1\n", "m": b"", "-x": b"minus\t1"}
    for name, data in parts.items():
        (folder / name).write_bytes(data)
    return ["z", "a", "z", "m", "./-x"], [parts[each] for each in ("z", "a", "z", "m", "-x")]


def keyed(count: int, keys: int) -> bytes:
    dice = chance()
    return b"".join(b"k%d\tv%d\n" % (dice.randrange(keys), number) for number in range(count))


def numbers_as_keys() -> bytes:
    """Keys that programs like to take for equal numbers."""
    dice = chance()
    words = [b"1", b"01", b"1.0", b"+1", b"1e0", b"0x1", b" 1", b"-0", b"0", b"nan", b"inf"]
    return b"".join(b"%b\t%d\n" % (dice.choice(words), number) for number in range(5000))


def below_tab() -> bytes:
    """Keys that go on with bytes below TAB: by key they come after the shorter, by line before."""
    dice = chance()
    keys = [b"", *(b"a" + bytes([low]) * times for low in range(9) for times in range(3))]
    keys += [b"a\x0b", b"a\r", b"a ", b"a\x00b", b"a\xff"]
    return b"".join(b"%b\t%d\n" % (dice.choice(keys), number) for number in range(5000))


def long_keys() -> bytes:
    """Keys of 100 kB that differ in their last byte, or not at all."""
    dice = chance()
    return b"".join(b"k" * 100_000 + b"%d\t%d\n" % (dice.randrange(5), number) for number in range(40))


RUBBISH = chance().randbytes(1 << 20)
TEXT = keyed(20_000, 300)
ALL_DIFFERENT = b"".join(b"%d\n" % (each * 7919 % 50_021) for each in range(50_021))
LATIN = b"\n".join([b"caf\xe9\t\xff\xfe", b"\xc3", b"\xc3\xa9", b"\xed\xa0\x80\t1"] * 500)
CRLF = b"\r\n".join([b"b\t1", b"", b"a\t2", b"\r", b"c"] * 400)

CASES = {
    "words of real text": Case(real_text, WORDS, COUNT, COUNT),
    "rubbish": Case(one(RUBBISH), "cat", "cat"),
    "rubbish, counted": Case(one(RUBBISH), "cat", KEYS),
    "rubbish, mapped only": Case(one(RUBBISH), "tr A a"),
    "an empty file": Case(one(b""), "cat", "wc -l"),
    "an empty folder": Case(empty_folder, "wc -l", "wc -l"),
    "nothing, mapped only": Case(one(b""), "wc -l"),
    "a newline": Case(one(b"\n"), "cat", "uniq -c"),
    "one line": Case(one(b"one line\n"), "cat", "cat"),
    "one line without an end": Case(one(b"one\tline"), "cat", "uniq -c"),
    "CRLF": Case(one(CRLF), "cat", KEYS),
    "CRLF, mapped only": Case(one(CRLF), "cat"),
    "no UTF-8": Case(one(LATIN), "tr a-c A-C", "cat"),
    "no TAB": Case(one(TEXT.replace(b"\t", b" ")), "cat", "cat"),
    "one key": Case(one(keyed(20_000, 1)), "cat", "cat"),
    "one key, counted": Case(one(keyed(20_000, 1)), "cut -f1", KEYS),
    "all keys different": Case(one(ALL_DIFFERENT), "cat", "cat"),
    "keys of 100 kB": Case(one(long_keys()), "cat", KEYS),
    "keys with bytes below TAB": Case(one(below_tab()), "cat", "cat"),
    "keys with bytes below TAB, counted": Case(one(below_tab()), "cat", KEYS),
    "keys that look like numbers": Case(one(numbers_as_keys()), "cat", KEYS),
    "several lines for a key, or none": Case(one(TEXT), "cat", SOME),
    "a reducer that prints nothing": Case(one(TEXT), "cat", "cat > /dev/null"),
    "a mapper that prints nothing": Case(one(TEXT), "grep -v k || true", "wc -l"),
    "a mapper that prints much": Case(one(keyed(2000, 50)), "sed 'p;p;p'", KEYS),
    "output without an end": Case(one(b"a\nb"), "tr -d '\\n'", "tr -d '\\n'"),
    "no mapper": Case(one(TEXT), None, KEYS),
    "no reducer": Case(one(TEXT), "tr k K"),
    "a combiner": Case(one(TEXT), "sed 's/\\t.*/\\t1/'", COUNT, COUNT),
    "no combiner": Case(one(TEXT), "sed 's/\\t.*/\\t1/'", COUNT),
    "a combiner that breaks the order": Case(one(TEXT), "cut -f1", "uniq", "sort -ru"),
    "several inputs": Case(several, "cat"),
    "several inputs, sorted": Case(several, "cat", "cat"),
    "names of all kinds": Case(many_files(60), "cat", "cat"),
}
LARGE = {
    "a line of 100 MB": Case(one(b"a" * 50_000_000 + b"\t" + b"b" * 50_000_000), "cat", "cat"),
    "a line of 100 MB, mapped only": Case(one(b"a" * 100_000_000), "tr a b"),
    # A run of the mapper for each; still more than a process may usually have open.
    "1,100 files": Case(many_files(1100), "cat", KEYS),
    "2,000 files without a mapper": Case(many_files(2000), None, "cat"),
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers."""
    with running(tmp_path_factory.mktemp("pair") / "it", 2) as made:
        yield made


def check(cluster: Cluster, case: Case) -> None:
    """Run a case and compare the whole answer."""
    shutil.rmtree(cluster.at)
    cluster.at.mkdir()
    shutil.copy(SOURCE / "examples/wordcount.sh", cluster.at)
    names, files = case.make(cluster.at)
    ran = cluster.request("run", *case.options, "--output", "answer", "--", *names)
    assert (ran.returncode, ran.stdout) == (0, b""), ran.stderr.decode()
    answer = (cluster.at / "answer").read_bytes()
    assert differ(answer, oracle(files, case.mapper, case.reducer, cluster.at)) == ""
    assert ran.stderr.decode().splitlines()[-1] == "Success! Result saved in answer"


@pytest.mark.parametrize("name", [*CASES, *LARGE])
def test_answer_is_what_the_pipe_gives(pair: Cluster, name: str) -> None:
    """Byte for byte."""
    check(pair, (CASES | LARGE)[name])


def test_nothing_is_left_of_what_is_forgotten(pair: Cluster) -> None:
    """After ``forget`` the server keeps no byte of a request."""
    (pair.at / "some").write_bytes(TEXT)
    assert pair.request("run", "some", "--mapper", "cat", "--reducer", "cat").returncode == 0
    pair.forget_all()
    spool = pair.server.folder / "state/spool"

    def left() -> list[str]:
        return [str(each.relative_to(spool)) for each in spool.rglob("*") if each.is_file()]

    until(lambda: not left(), 20, f"the end of {left()}")
    assert pair.ask("list") == []
