"""The cases of Hadoop Streaming's own tests, written anew; each test names the class that it stands for.

Commands are Hadoop's, flags and all, as far as there are any.  Where Hadoop prints a TAB behind a key
without a value, we print what the program printed.  ``docs/from_hadoop.rst`` lists all cases, and says
what is not here and why.
"""

import gzip
import os
from collections.abc import Iterator

import pytest
from cluster import Cluster, processes_of, running, until

pytestmark = pytest.mark.slow

FLOWERS = b"roses.are.red\nviolets.are.blue\nbunnies.are.pink\n"
WORDS = "tr . '\\n' | sed 's/$/\\t1/'"
SUMS = "awk -F '\\t' '{ sums[$1] += $2 } END { for (each in sums) print each \"\\t\" sums[each] }'"
SORTED_SUMS = f"{SUMS} | LC_ALL=C sort"
COUNTED = b"are\t3\nblue\t1\nbunnies\t1\npink\t1\nred\t1\nroses\t1\nviolets\t1\n"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers, and text about flowers."""
    with running(tmp_path_factory.mktemp("hadoop") / "it", 2) as made:
        (made.at / "flowers").write_bytes(FLOWERS)
        yield made


def answer(cluster: Cluster, *words: str, data: bytes | None = None) -> bytes:
    """What a request gives.

    :param data: the input, for requests that name none.
    """
    inputs = ["-input", "flowers" if data is None else "data"]
    if data is not None:
        (cluster.at / "data").write_bytes(data)
    ran = cluster.request("run", *inputs, *words)
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout


def counters(cluster: Cluster) -> dict[str, int]:
    """Of the newest request, by name."""
    return {each["name"]: each["amount"] for each in cluster.ask("status")["counters"]}


def test_mapper_and_reducer(cluster: Cluster) -> None:
    """TestStreaming: words, counted."""
    assert answer(cluster, "-mapper", WORDS, "-reducer", SORTED_SUMS) == COUNTED


def test_packed_input(cluster: Cluster) -> None:
    """TestGzipInput: the text within."""
    (cluster.at / "flowers.gz").write_bytes(gzip.compress(FLOWERS))
    ran = cluster.request("run", "-input", "flowers.gz", "-mapper", WORDS, "-reducer", SORTED_SUMS)
    assert (ran.returncode, ran.stdout) == (0, COUNTED), ran.stderr.decode()


def test_answer_in_a_folder(cluster: Cluster) -> None:
    """TestStreaming: ``-output`` is a folder of parts, if its name ends in a slash."""
    assert answer(cluster, "-mapper", WORDS, "-reducer", SORTED_SUMS, "-output", "out/") == b""
    assert (cluster.at / "out" / "part-00000").read_bytes() == COUNTED
    assert (cluster.at / "out" / "_SUCCESS").read_bytes() == b""


def test_key_and_value(cluster: Cluster) -> None:
    """TestStreamingKeyValue: several TABs, a TAB first, none; each line is what it was."""
    lines = b"small input\nthis is a \tlong\t\n\tno key\nno value\nthis is a longer\tline\n\t\n\n"
    expected = b"\tno key\n\t\n\nno value\nsmall input\nthis is a \tlong\t\nthis is a longer\tline\n"
    assert answer(cluster, "-mapper", "cat", "-reducer", "cat", data=lines) == expected
    keys = b"\n\n\nno value\nsmall input\nthis is a \nthis is a longer\n"
    assert answer(cluster, "-mapper", "cat", "-reducer", "cut -f 1", data=lines) == keys


def test_separator(cluster: Cluster) -> None:
    """TestStreamingSeparator: a key ends where we say, and no line is changed for it."""
    words = ("-mapper", "tr . :", "-reducer", "cut -d : -f 1 | uniq", "--separator", ":")
    assert answer(cluster, *words) == b"bunnies\nroses\nviolets\n"
    sorting = ("-mapper", "cat", "-reducer", "cat", "-D", "stream.map.output.field.separator=.")
    assert answer(cluster, *sorting, data=b"b.1\na-\na.2\nb.0\na.1\n") == b"a.2\na.1\na-\nb.1\nb.0\n"


def test_keys_of_two_fields(cluster: Cluster) -> None:
    """TestStreamDataProtocol: lines that agree in two fields meet in the reducer."""
    data = b"roses.smell.good\nroses.are.red\nbunnies.have.tails\nroses.are.not\nbunnies.have.ears\n"
    settings = ("stream.map.output.field.separator=.", "stream.num.map.output.key.fields=2")
    words = [word for each in settings for word in ("-D", each)]
    count = "cut -d . -f 1,2 | uniq -c | awk '{ print $2 \"\\t\" $1 }'"
    expected = b"bunnies.have\t2\nroses.are\t2\nroses.smell\t1\n"
    assert answer(cluster, "-mapper", "cat", "-reducer", count, *words, data=data) == expected


def test_keys_without_values(cluster: Cluster) -> None:
    """TestStreamingOutputOnlyKeys, TestKeyOnlyTextOutputReader: no TAB is added."""
    words = ("-mapper", "tr . '\\n'", "-reducer", "uniq")
    assert answer(cluster, *words) == b"are\nblue\nbunnies\npink\nred\nroses\nviolets\n"


def test_no_reducer(cluster: Cluster) -> None:
    """TestStreamReduceNone: what the mapper prints, in its order; neither reducer nor combiner."""
    words = ("-reducer", "no-such-reducer", "-combiner", "no-such-combiner", "-numReduceTasks", "0")
    assert answer(cluster, "-mapper", "tr . '\\n'", *words) == FLOWERS.replace(b".", b"\n")


def test_raw_bytes(cluster: Cluster) -> None:
    """TestRawBytesStreaming: keys and values of any bytes; keys are sorted as bytes without a sign."""
    bytes_of_keys = [bytes([each]) for each in range(256) if each not in b"\t\n"]
    lines = [key + b"\t" + key[::-1] + b"\0\r\xff" for key in bytes_of_keys]
    data = b"\n".join(reversed(lines)) + b"\n"
    assert answer(cluster, "-mapper", "cat", "-reducer", "cat", data=data) == b"\n".join(lines) + b"\n"


def test_input_that_is_not_read(cluster: Cluster) -> None:
    """TestUnconsumedInput: more than a pipe holds, and the mapper reads no byte of it."""
    words = ("-mapper", "seq 10000", "-numReduceTasks", "0", "--map-whole")
    printed = answer(cluster, *words, data=FLOWERS * 10_000)
    assert printed == b"".join(b"%d\n" % number for number in range(1, 10_001))


@pytest.mark.parametrize("script", ["seq {0} >&2; cat", "cat; seq {0} >&2"], ids=["before", "after"])
def test_stderr(cluster: Cluster, script: str) -> None:
    """TestStreamingStderr, TestStreamingTaskLog: 10,000 lines; nobody waits, head and tail are kept."""
    assert answer(cluster, "-mapper", script.format(10_000), data=b"hello\n") == b"hello\n"
    assert cluster.ask("status")["log"].startswith("1\n2\n")
    assert cluster.ask("status")["log"].endswith("9999\n10000\n")


@pytest.mark.parametrize("fails", ["mapper", "reducer"])
@pytest.mark.parametrize("allowed", ["0", "0,5"])
def test_exit_status(cluster: Cluster, fails: str, allowed: str) -> None:
    """TestStreamingExitStatus: of mapper and reducer, when it is a failure and when it is not."""
    (cluster.at / "data").write_bytes(b"hello\n")
    cmds = {"mapper": "cat", "reducer": "cat", fails: "cat; exit 5"}
    words = ("-mapper", cmds["mapper"], "-reducer", cmds["reducer"], "--ok-status", allowed)
    ran = cluster.request("run", "-input", "data", *words)
    if allowed == "0,5":
        assert (ran.returncode, ran.stdout) == (0, b"hello\n")
        return
    assert (ran.returncode, ran.stdout) == (1, b"")
    said = ran.stderr.decode()
    assert f"the {fails} failed " in said
    assert "it ended with exit status 5" in said


def test_program_that_is_not_there(cluster: Cluster) -> None:
    """TestStreamingFailure: the request fails, and says where what is missing."""
    ran = cluster.request("run", "-input", "flowers", "-mapper", "no-such-program")
    assert ran.returncode == 1
    assert "no-such-program is not on this machine (worker-" in ran.stderr.decode()


def test_counters(cluster: Cluster) -> None:
    """TestStreamingCounters: of all runs of mapper and reducer, each counted once."""
    tell = "awk '{{ print; print \"reporter:counter:UserCounters,{0},1\" > \"/dev/stderr\" }}'"
    words = ("-mapper", tell.format("InputLines"), "-reducer", tell.format("OutputLines"))
    assert answer(cluster, *words) == b"".join(sorted(FLOWERS.splitlines(keepends=True)))
    assert counters(cluster) == {"InputLines": 3, "OutputLines": 3}


REPORTS = (
    "echo reporter:status:before >&2; echo reporter:counter:mine,own,1 >&2; echo said before >&2;"
    " cat; echo said after >&2; echo reporter:counter:mine,own,1 >&2"
)
"""A program that says all there is to say, before it reads and after."""


@pytest.mark.parametrize(
    ("mapper", "reducer"), [(REPORTS, "cat"), ("cat", REPORTS)], ids=["mapper", "reducer"]
)
def test_status(cluster: Cluster, mapper: str, reducer: str) -> None:
    """TestStreamingStatus: status, counters and log of one run."""
    assert answer(cluster, "-mapper", mapper, "-reducer", reducer, data=b"x\n") == b"x\n"
    status = cluster.ask("status")
    assert (status["status"], status["log"]) == ("before", "said before\nsaid after\n")
    assert counters(cluster) == {"own": 2}


def test_empty_input(cluster: Cluster) -> None:
    """TestStreamingStatus: nothing is run on nothing, so that nothing is reported."""
    assert answer(cluster, "-mapper", REPORTS, "-reducer", REPORTS, data=b"") == b""
    assert counters(cluster) == {}


def test_combiner(cluster: Cluster) -> None:
    """TestStreamingCombiner: less comes to the reducer, and the answer is the same."""
    reducer = f"tee read | {SORTED_SUMS}; echo reporter:counter:mine,read,$(wc -l < read) >&2"
    words = ("-mapper", WORDS, "-combiner", SORTED_SUMS, "-reducer", reducer)
    # Little is not combined.
    many = 20_000
    expected = "are\t{1}\nblue\t{0}\nbunnies\t{0}\npink\t{0}\nred\t{0}\nroses\t{0}\nviolets\t{0}\n"
    assert answer(cluster, *words, data=FLOWERS * many) == expected.format(many, 3 * many).encode()
    assert counters(cluster)["read"] < 9 * many


BAD_MAPPER = (
    "while read -r line; do case $line in *hey022|*hey099) exit 255;; *hey023) kill -9 $$;; esac;"
    ' echo "$line"; done'
)


def test_bad_records(cluster: Cluster) -> None:
    """TestStreamingBadRecords: a mapper that dies of three lines; the answer has all others."""
    lines = [b"%b hey%03d\n" % (b"x" * 2000, number) for number in range(1, 101)]
    words = ("--skip-bad-lines", "3", "--attempts", "1", "-output", "good")
    assert answer(cluster, "-mapper", BAD_MAPPER, *words, data=b"".join(lines)) == b""
    bad = (22, 23, 99)
    assert (cluster.at / "good").read_bytes() == b"".join(
        line for number, line in enumerate(lines, 1) if number not in bad
    )
    rows = [row.split("\t") for row in (cluster.at / "good.bad").read_text().splitlines()]
    assert [(row[0], int(row[1]), int(row[2])) for row in rows] == [
        ("data", number, len(lines[0]) * (number - 1)) for number in bad
    ]


def test_files_that_travel(cluster: Cluster) -> None:
    """TestFileArgs: they lie in the folder of a run, and nothing else does."""
    (cluster.at / "deep").mkdir()
    (cluster.at / "deep" / "sidefile").write_bytes(b"hello world\n")
    file = str(cluster.at / "deep" / "sidefile")
    assert answer(cluster, "-mapper", "ls", "-file", file, data=b"x\n") == b"sidefile\n"


def test_links_to_files(cluster: Cluster) -> None:
    """TestSymLink, TestMultipleCachefiles: by the names of links, of which the mapper reads."""
    for link in ("testlink", "testlink2"):
        (cluster.at / f"cache-of-{link}").write_bytes(b"what is in %b\n" % link.encode())
        os.symlink(f"cache-of-{link}", cluster.at / link)
    words = ("-mapper", "xargs cat", "-reducer", "cat", "-files", "testlink,testlink2")
    said = answer(cluster, *words, data=b"testlink2\ntestlink\n")
    assert said == b"what is in testlink\nwhat is in testlink2\n"


def test_request_in_the_background(cluster: Cluster) -> None:
    """TestStreamingBackground: the client leaves at once, the request goes on, and can be cancelled."""
    words = ("-input", "flowers", "-mapper", "sleep 3001", "--detach")
    request = cluster.request("run", *words).stdout.decode().strip()
    until(lambda: sleeping(cluster, "3001"), what="a mapper that sleeps")
    assert cluster.ask("status", request)["state"] == "running"
    assert cluster.request("cancel", request).returncode == 0
    assert cluster.request("wait", request).returncode == 4
    until(lambda: not sleeping(cluster, "3001"), what="the mapper's end")


def test_child_in_the_background(cluster: Cluster) -> None:
    """A program that leaves one behind is not waited for, and the child ends with it."""
    assert answer(cluster, "-mapper", "sleep 3002 & cat") == FLOWERS
    until(lambda: not sleeping(cluster, "3002"), what="the child's end")


def sleeping(cluster: Cluster, seconds: str) -> bool:
    """Whether a program of ours sleeps so long."""
    return any(f"sleep {seconds}" in words for words in processes_of(cluster.folder).values())
