"""``hagoop-request``, command by command, as a user meets it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import REQUEST, Cluster, oracle, processes_of, running, until

pytestmark = pytest.mark.slow

KEYS = "cut -f1 | uniq -c"
TEXT = b"b\nc\na\nb"
COUNTED = b"      1 a\n      2 b\n      1 c\n"
FOREVER = f"sleep 1{os.getpid():08}"
"""A program by which its processes are known, and no others; who starts it must see it end."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers of two slots each."""
    with running(tmp_path_factory.mktemp("commands") / "it", 0) as made:
        made.start_workers(2, "--slots", "2")
        yield made


@pytest.fixture
def cluster(shared: Cluster) -> Iterator[Cluster]:
    """The same, with nothing but a small input, and no request known."""
    shutil.rmtree(shared.at)
    shared.at.mkdir()
    (shared.at / "input").write_bytes(TEXT)
    for each in shared.ask("list"):
        shared.request("forget", each["id"])
    yield shared
    until(lambda: not sleepers(), 10, "the end of all programs")


def sleepers() -> list[int]:
    """Processes of the program that runs for ever."""
    found = subprocess.run(["pgrep", "-f", f"^{FOREVER}$"], capture_output=True, text=True)
    return [int(each) for each in found.stdout.split()]


def run(cluster: Cluster, *words: object, status: int = 0, **how: object) -> bytes:
    """Run ``hagoop-request``; its stdout."""
    ran = cluster.request(*words, **how)  # type: ignore[arg-type]
    assert ran.returncode == status, ran.stderr.decode()
    return ran.stdout


def detach(cluster: Cluster, *words: object) -> str:
    """Submit a request and leave; its id."""
    ran = cluster.request("run", "input", *words, "--detach")
    assert (ran.returncode, ran.stderr) == (0, b"")
    line = ran.stdout.decode()
    assert line.endswith("\n")
    assert line.split() == [line.strip()]
    return line.strip()


def test_life_of_a_request(cluster: Cluster) -> None:
    """Submitted with ``--detach``, followed by every command, with an id and without, then forgotten."""
    first = detach(cluster, "--mapper", "cat", "--reducer", KEYS)
    said = run(cluster, "wait", first).decode()
    assert said.splitlines()[0] == f"{first} done: cat | {KEYS}"
    assert f"hagoop-request answer {first} --output FILE" in said
    assert run(cluster, "answer", first) == COUNTED
    second = detach(cluster, "--mapper", "tr a-c A-C")
    assert run(cluster, "wait", "--quiet") == b""
    assert run(cluster, "answer") == b"B\nC\nA\nB\n"
    status = cluster.ask("status")
    assert (status["id"], status["state"], status["answer_bytes"]) == (second, "done", 8)
    assert run(cluster, "status", first).startswith(f"{first} done".encode())
    assert [each["id"] for each in cluster.ask("list")] == [second, first]
    table = run(cluster, "list").decode()
    assert "tr a-c A-C" in table
    assert table.index(second) < table.index(first)
    ran = cluster.request("forget", first)
    assert ran.stderr.decode() == f"{first} and its answer are gone\n"
    assert run(cluster, "answer", first, status=1) == b""
    assert run(cluster, "forget", "--quiet") == b""
    assert run(cluster, "list") == b"No requests\n"
    ran = cluster.request("status")
    assert (ran.returncode, ran.stderr) == (1, b"no request has been submitted\n")


def test_workers(cluster: Cluster) -> None:
    """Both are shown, as a table and as JSON."""
    table = run(cluster, "workers").decode()
    for words in ("worker-1", "worker-2", "jobs done", "idle"):
        assert words in table
    found = cluster.ask("workers")
    assert sorted((each["name"], each["slots"]) for each in found) == [("worker-1", 2), ("worker-2", 2)]


def test_quiet_and_json(cluster: Cluster) -> None:
    """``--quiet`` says nothing but the answer; ``--json`` says the status, once, on stderr."""
    words = ("run", "input", "--mapper", "echo reporter:counter:g,n,1 >&2; cat")
    ran = cluster.request(*words, "--quiet")
    assert (ran.stdout, ran.stderr) == (TEXT + b"\n", b"")
    ran = cluster.request(*words, "--json")
    assert ran.stdout == TEXT + b"\n"
    status = json.loads(ran.stderr)
    assert (status["state"], status["answer_bytes"]) == ("done", 8)


def test_counters_status_and_log(cluster: Cluster) -> None:
    """What programs report: counters are added up and shown, status and log are kept."""
    mapper = (
        'awk \'{ print; print "reporter:counter:words," $1 ",2" > "/dev/stderr" }'
        ' END { print "reporter:status:all is well\\nnoted" > "/dev/stderr" }\''
    )
    ran = cluster.request("run", "input", "--mapper", mapper)
    assert (ran.returncode, ran.stdout) == (0, TEXT + b"\n")
    assert ran.stderr.decode().splitlines() == ["words\ta\t2", "words\tb\t4", "words\tc\t2"]
    status = cluster.ask("status")
    assert status["status"] == "all is well"
    assert "noted" in status["log"]
    assert "words: b 4" in run(cluster, "status").decode()


def test_answer_as_a_folder(cluster: Cluster) -> None:
    """A trailing slash: one part, and ``_SUCCESS``; by ``run`` and by ``answer``."""
    words = ("run", "input", "--mapper", "cat", "--reducer", KEYS, "--output")
    ran = cluster.request(*words, "parts/")
    assert (ran.returncode, ran.stdout) == (0, b"")
    assert ran.stderr == b"Success! Result saved in parts/\n"
    check_parts(cluster.at / "parts")
    run(cluster, "answer", "--output", "again/")
    check_parts(cluster.at / "again")
    assert b"'parts/' exists" in cluster.request(*words, "parts/").stderr
    run(cluster, *words, "parts/", "--force")
    check_parts(cluster.at / "parts")
    run(cluster, "answer", "--output", "file")
    assert (cluster.at / "file").read_bytes() == COUNTED


def check_parts(folder: Path) -> None:
    found = {each.name: each.read_bytes() for each in folder.iterdir()}
    assert found == {"part-00000": COUNTED, "_SUCCESS": b""}


def test_environment_and_files(cluster: Cluster) -> None:
    """``--env`` and ``--file``; a program's own file keeps its mode and its place."""
    (cluster.at / "lib").mkdir()
    (cluster.at / "lib/words").write_bytes(b"from a file\n")
    (cluster.at / "bin").mkdir()
    (cluster.at / "bin/map").write_text('#!/bin/sh\ncat > /dev/null; cat lib/words; echo "$A $B"; ls\n')
    (cluster.at / "bin/map").chmod(0o755)
    (cluster.at / "input").write_bytes(b"x\n")
    words = ("--file", "lib/words", "--env", "A=1 2", "--env", "B=caf\xe9=$HOME")
    out = run(cluster, "run", "input", "--mapper", "bin/map", *words)
    assert out.decode().splitlines() == ["from a file", "1 2 caf\xe9=$HOME", "bin", "lib"]


def test_environment_of_programs(cluster: Cluster) -> None:
    """Made new: nothing of the worker's but PATH; the names of section 2 of the interface."""
    (cluster.at / "folder").mkdir()
    (cluster.at / "folder/a file").write_bytes(b"only line")
    request = detach_folder(cluster)
    found = dict(line.split("=", 1) for line in run(cluster, "answer").decode().splitlines())
    home = found.pop("HOME")
    assert home == found.pop("TMPDIR")
    assert home.startswith(str(cluster.folder))
    assert not os.path.exists(home)
    job = found.pop("HAGOOP_JOB")
    task = found.pop("mapreduce_task_id")
    assert job
    assert found.pop("mapreduce_task_attempt_id") == task.replace("task", "attempt") + "_0"
    assert found.pop("mapreduce_task_partition").isdigit()
    assert found == {
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "HAGOOP_REQUEST": request,
        "HAGOOP_PHASE": "map",
        "HAGOOP_ATTEMPT": "0",
        "HAGOOP_INPUT_FILE": "folder/a file",
        "HAGOOP_INPUT_START_LINE": "0",
        "HAGOOP_INPUT_LINES": "1",
        "map_input_file": "folder/a file",
        "mapreduce_map_input_file": "folder/a file",
        "mapreduce_map_input_start": "0",
        "mapreduce_map_input_length": "9",
        "mapreduce_task_ismap": "true",
        "mapreduce_job_id": request,
    }


def detach_folder(cluster: Cluster) -> str:
    request = run(cluster, "run", "folder", "--mapper", "env", "--detach").decode().strip()
    run(cluster, "wait", request)
    return request


def test_phases_are_told(cluster: Cluster) -> None:
    """``HAGOOP_PHASE`` of mapper, combiner and reducer."""
    (cluster.at / "input").write_bytes(b"x\n")
    tell = "cat; echo $HAGOOP_PHASE $mapreduce_task_ismap"
    out = run(cluster, "run", "input", "--mapper", tell, "--combiner", tell, "--reducer", tell)
    told = out.decode().split("\n")
    assert "map true" in told
    assert "combine true" in told
    assert "reduce false" in told


def test_ok_status(cluster: Cluster) -> None:
    """``grep`` that finds nothing on some lines."""
    (cluster.at / "input").write_bytes(b"a\n" * 2000 + b"b\n")
    assert run(cluster, "run", "input", "--mapper", "grep b", "--ok-status", "0,1") == b"b\n"


def test_ctrl_c_cancels(cluster: Cluster) -> None:
    """The first cancels, waits until it is done, and says what it was; no file is left."""
    client = cluster.begin("run", "input", "--mapper", FOREVER, "--output", "answer")
    until(sleepers)
    client.send_signal(signal.SIGINT)
    out, _ = client.communicate(timeout=20)
    said = (cluster.folder / "stderr").read_text()
    status = cluster.ask("status")
    assert (client.returncode, out) == (4, b""), said
    assert said.startswith("Cancelling")
    assert f"hagoop-request wait {status['id']}" in said
    assert said.splitlines()[-1] == f"The request {status['id']} was cancelled"
    assert status["state"] == "cancelled"
    assert not (cluster.at / "answer").exists()
    until(lambda: not sleepers(), 10, "the end of the program")
    assert run(cluster, "wait", status=4).startswith(status["id"].encode())


def test_closed_terminal_detaches(cluster: Cluster) -> None:
    """SIGHUP: the client leaves, the request lives on."""
    client = cluster.begin("run", "input", "--mapper", FOREVER)
    until(sleepers)
    client.send_signal(signal.SIGHUP)
    client.communicate(timeout=20)
    status = cluster.ask("status")
    assert client.returncode == 130
    assert f"hagoop-request wait {status['id']}" in (cluster.folder / "stderr").read_text()
    assert status["state"] == "running"
    run(cluster, "cancel")


def test_cancel_and_what_waits_for_it(cluster: Cluster) -> None:
    """``cancel`` by somebody else: ``run`` and ``wait`` end with status 4, ``answer`` has none."""
    client = cluster.begin("run", "input", "--mapper", FOREVER)
    until(sleepers)
    status = json.loads(run(cluster, "cancel", "--json"))
    assert status["state"] == "cancelled"
    client.communicate(timeout=20)
    assert client.returncode == 4
    run(cluster, "wait", status=4)
    run(cluster, "answer", status=1)
    # Once more changes nothing.
    run(cluster, "cancel")


def test_forgetting_what_runs_cancels_it(cluster: Cluster) -> None:
    """Its programs end and nothing is left of it."""
    request = detach(cluster, "--mapper", FOREVER)
    until(sleepers)
    run(cluster, "forget", request)
    until(lambda: not sleepers(), 10, "the end of the program")
    assert cluster.ask("list") == []


def test_requests_side_by_side(cluster: Cluster) -> None:
    """A second comes while the first has all slots, and ends long before it."""
    (cluster.at / "long").write_bytes(b"x\n" * 20_000)
    slow = "while read -r line; do sleep 0.01; done"
    first = run(cluster, "run", "long", "--mapper", slow, "--detach").decode().strip()
    until(lambda: cluster.ask("status", first)["done"] > 0)
    assert run(cluster, "run", "input", "--mapper", "cat", "--reducer", KEYS) == COUNTED
    status = cluster.ask("status", first)
    assert status["state"] == "running"
    assert status["done"] < 0.8
    run(cluster, "cancel", first)


def test_server_by_environment(cluster: Cluster) -> None:
    """``HAGOOP_SERVER`` names it as ``--server`` does."""
    env = {**cluster.env, "HAGOOP_SERVER": cluster.address}
    ran = subprocess.run([*REQUEST, "list", "--json"], env=env, capture_output=True, timeout=30)
    assert (ran.returncode, ran.stdout) == (0, b"[]\n")


def test_hadoop_flags(cluster: Cluster) -> None:
    """As typed for Hadoop Streaming, where its flags are known."""
    (cluster.at / "out").mkdir()
    words = [
        "-input",
        "input",
        "-output",
        "out/it",
        "-mapper",
        "cat",
        "-reducer",
        KEYS,
        "-cmdenv",
        "A=1",
    ]
    run(cluster, "run", *words)
    assert (cluster.at / "out/it").read_bytes() == COUNTED


def test_local_leaves_nothing(tmp_path: Path) -> None:
    """``run --local`` in an otherwise empty folder, twice: an answer, and not a file or process more."""
    for each in ("at", "home", "tmp"):
        (tmp_path / each).mkdir()
    (tmp_path / "at/input").write_bytes(TEXT)
    home, tmp = str(tmp_path / "home"), str(tmp_path / "tmp")
    env = {"PATH": os.environ["PATH"], "HOME": home, "TMPDIR": tmp}
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    words = [*REQUEST, "run", "input", "--local", "--workers", "2", "--mapper", "cat", "--reducer", KEYS]
    for status, more in ((0, []), (1, ["--combiner", "exit 3"])):
        ran = subprocess.run(
            [*words, *more], cwd=tmp_path / "at", env=env, capture_output=True, timeout=60
        )
        assert ran.returncode == status, ran.stderr.decode()
        assert ran.stdout == (b"" if status else oracle([TEXT], "cat", KEYS))
        assert b"Traceback" not in ran.stderr
        assert processes_of(tmp_path) == {}
        assert [str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*") if each.is_file()] == [
            "at/input"
        ]
        assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("more", [[], [signal.SIGTERM, signal.SIGINT]])
def test_interrupted_local_run_leaves_nothing(tmp_path: Path, more: list[int]) -> None:
    """Ctrl-C reaches the whole group of the terminal; workers and programs end all the same.

    So they do when more signals come before all is tidied up.
    """
    for each in ("home", "tmp"):
        (tmp_path / each).mkdir()
    (tmp_path / "input").write_bytes(TEXT)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")}
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    words = [*REQUEST, "run", "input", "--local", "--workers", "1", "--mapper", FOREVER]
    with open(tmp_path / "said", "wb") as said:
        client = subprocess.Popen(words, cwd=tmp_path, env=env, stderr=said, start_new_session=True)
    until(sleepers)
    os.killpg(client.pid, signal.SIGINT)
    until(lambda: not sleepers(), 20, "the end of the program")
    for each in more:
        client.send_signal(each)
    assert client.wait(30) in (4, 130 if more else 4), (tmp_path / "said").read_text()
    assert "Traceback" not in (tmp_path / "said").read_text()
    assert processes_of(tmp_path) == {}
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_could_not_be_printed_is_no_success(cluster):
    """The script ends before Python would find out by itself."""
    script = ("/bin/sh", "-c", 'unset PYTHONUNBUFFERED; exec "$@" > /dev/full', "sh")
    ran = cluster.request("workers", prefix=script)
    assert ran.returncode == 1
    assert ran.stderr.endswith(b"No space left on device\n")
    assert ran.stderr.count(b"\n") == 1


LOADED = """
import sys
from hagoop import request_script
status = request_script.main(sys.argv[1:], request_script._without_tls)
print(status, sys.modules.get("OpenSSL") is not None)
"""


@pytest.mark.parametrize(
    ("server", "told"), [("{}", "0 False"), ("tcp:{}", "0 False"), ("ssl:127.0.0.1:1", "3 True")]
)
def test_tls_is_loaded_where_a_server_is_reached_by_it(cluster, server, told):
    """It takes its time, and commands do all the same without it."""
    words = ("list", "--quiet", "--server", server.format(cluster.address))
    ran = subprocess.run([sys.executable, "-c", LOADED, *words], capture_output=True, text=True)
    assert ran.stdout.splitlines()[-1] == told, ran.stderr
