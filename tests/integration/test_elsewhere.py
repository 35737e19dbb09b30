"""Machines that share no file: network namespaces; clients whose files the server cannot see."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, can, differ, oracle, running

pytestmark = pytest.mark.slow

KEYS = "cut -f1 | uniq -c"
HIDE = 'for each in $HIDDEN; do mount -t tmpfs none "$each" || exit 99; done; exec "$@"'
NUMBER = os.getpid()
BRIDGE = f"hg{NUMBER}"
NET = f"10.{200 + NUMBER % 50}.{NUMBER // 50 % 250}"


def ip(*words: object) -> None:
    subprocess.run(["ip", *map(str, words)], check=True, capture_output=True, timeout=20)


def can_make_networks() -> bool:
    return os.geteuid() == 0 and can("unshare", "-m", "true") and can("ip", "netns", "list")


@pytest.fixture(scope="module")
def machines() -> Iterator[list[str]]:
    """Three network namespaces behind a bridge that is ours, by name."""
    if not can_make_networks():
        pytest.skip("only root can make network namespaces and mounts")
    names = [f"{BRIDGE}-{number}" for number in (1, 2, 3)]
    try:
        ip("link", "add", BRIDGE, "type", "bridge")
        ip("addr", "add", f"{NET}.1/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for number, name in enumerate(names, 1):
            link = f"{BRIDGE}v{number}"
            ip("netns", "add", name)
            ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", link, "master", BRIDGE, "up")
            ip("-n", name, "addr", "add", f"{NET}.{number + 1}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
    except subprocess.CalledProcessError as error:
        remove(names)
        pytest.skip(f"no bridge between namespaces here: {error.stderr.decode().strip()}")
    yield names
    remove(names)


def remove(names: list[str]) -> None:
    for name in names:
        can("ip", "netns", "del", name)
    can("ip", "link", "del", BRIDGE)


@pytest.fixture(scope="module")
def cluster(machines: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server on the bridge; a worker in each namespace, which sees no folder of the others."""
    top = tmp_path_factory.mktemp("elsewhere") / "it"
    root = tmp_path_factory.mktemp("root")
    (root / "books").mkdir()
    (root / "books/one").write_bytes(b"b\t1\na\t2\n")
    (root / "books/two").write_bytes(b"a\t3")
    options = ("--insecure", "--input-root", str(root))
    with running(top, 0, host=f"{NET}.1", options=options) as made:
        hidden = " ".join(str(each) for each in (top / "server", top / "at", root))
        for name in machines:
            prefix = ["ip", "netns", "exec", name, "unshare", "-m", "sh", "-c", HIDE, "sh"]
            made.add_worker("--allow-root", prefix=prefix, HIDDEN=hidden)
        made.await_workers()
        yield made


@pytest.fixture
def at(cluster: Cluster) -> Path:
    """Where the client is, empty."""
    for each in cluster.at.iterdir():
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    return cluster.at


def test_workers_that_share_nothing(cluster: Cluster, at: Path) -> None:
    """Program and lines travel, and so do runs and answer; all three have worked."""
    (at / "shout.sh").write_text(
        '#!/bin/sh\nwhile read -r line; do sleep 0.01; echo "$line" | tr a-z A-Z; done\n'
    )
    (at / "shout.sh").chmod(0o755)
    text = b"".join(b"k%d\t%d\n" % (each % 17, each) for each in range(300))
    (at / "input").write_bytes(text)
    ran = cluster.request("run", "input", "--mapper", "./shout.sh", "--reducer", KEYS)
    assert ran.returncode == 0, ran.stderr.decode()
    assert differ(ran.stdout, oracle([text], "tr a-z A-Z", KEYS)) == ""
    assert [each["committed"] > 0 for each in cluster.ask("workers")] == [True] * 3


def test_input_on_the_server(cluster: Cluster, at: Path) -> None:
    """``server:PATH``, a folder and a file below the root."""
    ran = cluster.request(
        "run", "server:books", "server:books/one", "--mapper", "cat", "--reducer", "cat"
    )
    assert (ran.returncode, ran.stdout) == (0, b"a\t2\na\t3\na\t2\nb\t1\nb\t1\n"), ran.stderr.decode()


def test_stdin(cluster: Cluster, at: Path) -> None:
    """``-`` between files; more than a pipe holds, no last newline."""
    (at / "first").write_bytes(b"first")
    text = b"".join(b"%d\tx\n" % (each % 1009) for each in range(200_000)) + b"last"
    words = ("--mapper", "cat", "--reducer", KEYS)
    ran = cluster.request("run", "first", "-", "first", *words, stdin=text)
    assert ran.returncode == 0, ran.stderr.decode()
    assert differ(ran.stdout, oracle([b"first", text, b"first"], "cat", KEYS)) == ""
    ran = cluster.request("run", "-", "--mapper", "cat", stdin=b"")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")


FILL = """
set -e
mount -t tmpfs none hidden
mkdir hidden/b
cp data/1 hidden/a
cp data/2 hidden/b/c
exec "$@"
"""


def test_files_that_the_server_cannot_see(cluster: Cluster, at: Path) -> None:
    """The client's are on a file system of its own; the server finds none there, or others."""
    for name in ("data", "hidden"):
        (at / name).mkdir()
    parts = [b"one\t1\nend", b"two\n" * 1000]
    for number, part in enumerate(parts, 1):
        (at / "data" / str(number)).write_bytes(part)
    unshared = ["unshare", "-m", "sh", "-c", FILL, "sh"]
    run = ("run", "hidden", "--mapper", "cat", "--reducer", KEYS)
    for decoy in (False, True):
        if decoy:
            # As long, at the same path, as old.
            (at / "hidden/b").mkdir()
            for name, part in zip(("a", "b/c"), parts, strict=True):
                (at / "hidden" / name).write_bytes(part.upper())
        ran = cluster.request(*run, prefix=unshared)
        assert ran.returncode == 0, ran.stderr.decode()
        assert ran.stdout == oracle(parts, "cat", KEYS)
    assert cluster.request(*run).stdout == oracle([each.upper() for each in parts], "cat", KEYS)
