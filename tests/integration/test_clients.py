"""Clients that vanish at any moment, leave, or wait their turn."""

import fcntl
import json
import os
import pty
import random
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import nursery
import pytest
from cluster import Cluster, differ, oracle, running, until

pytestmark = pytest.mark.slow

KEYS = "cut -f1 | uniq -c"
SHOUT = "./shout.sh"
TEXT = b"".join(b"k%d\t%d\n" % (number % 13, number) for number in range(200))
FOREVER = f"sleep 2{os.getpid():08}"
"""A program by which its processes are known, and no others."""
DYING = """
import os, signal, sys
from hagoop import commands
from hagoop.client import Client
from hagoop.request_script import main

def die():
    os.kill(os.getpid(), signal.SIGKILL)

async def call(client, command, **arguments):
    if command is not commands.Submit:
        return await plain(client, command, **arguments)
    if when == "before":
        die()
    if when != "after":
        client.reactor.callLater(float(when), die)
    await plain(client, command, **arguments)
    die()

when, plain, Client.call = sys.argv.pop(1), Client.call, call
sys.exit(main())
"""
"""``hagoop-request``, killed before it submits, so many seconds after, or when that was acknowledged."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers of one slot."""
    with running(tmp_path_factory.mktemp("clients") / "it", 2) as made:
        (made.at / "shout.sh").write_text("#!/bin/sh\nexec tr a-z A-Z\n")
        (made.at / "shout.sh").chmod(0o755)
        (made.at / "input").write_bytes(TEXT)
        yield made


@pytest.fixture
def cluster(shared: Cluster) -> Iterator[Cluster]:
    """The same, no request known before, and nothing kept once they are forgotten after."""
    shared.forget_all()
    yield shared
    shared.forget_all()
    until(lambda: not sleepers(), 10, "the end of all programs")
    until(lambda: not kept(shared), 10, "the end of what was kept")


def sleepers() -> list[int]:
    """Processes of the program that runs for ever."""
    found = subprocess.run(["pgrep", "-f", f"^{FOREVER}$"], capture_output=True, text=True)
    return [int(each) for each in found.stdout.split()]


def kept(cluster: Cluster) -> list[str]:
    """What the server's spool holds, whatever it is."""
    spool = cluster.server.folder / "state/spool"
    return [str(each.relative_to(spool)) for each in spool.rglob("*") if each.is_file()]


def arriving(cluster: Cluster) -> int:
    """How many bytes of uploads that have not ended are there."""
    found = (cluster.server.folder / "state/spool/arriving").iterdir()
    return sum(each.stat().st_size for each in found)


def finish(cluster: Cluster, request: str) -> None:
    """``wait`` and ``answer``: all of it is there."""
    waited = cluster.request("wait", request)
    assert waited.returncode == 0, waited.stderr.decode()
    answered = cluster.request("answer", request)
    assert differ(answered.stdout, oracle([TEXT], SHOUT, KEYS, cluster.at)) == ""


# Clients that vanish


def submit_and_die(cluster: Cluster, when: str) -> None:
    """Send all that must travel, input too, and be killed."""
    words = [sys.executable, "-c", DYING, when, "run", "--server", cluster.address, "-"]
    words += ["--mapper", SHOUT, "--reducer", KEYS]
    ran = nursery.run(words, cwd=cluster.at, env=cluster.env, stdin=TEXT, seconds=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (-signal.SIGKILL, b"", b"")


def test_client_killed_before_it_submits_leaves_nothing(cluster: Cluster) -> None:
    """What it has sent, input and program, goes with it."""
    submit_and_die(cluster, "before")
    until(lambda: not kept(cluster), 10, "the end of what was sent")
    assert cluster.ask("list") == []


@contextmanager
def sending(cluster: Cluster) -> Iterator["subprocess.Popen[bytes]"]:
    """A client in the middle of its stdin, which does not end."""
    words = cluster.request_words("run", "-", "--mapper", SHOUT)
    client = subprocess.Popen(words, cwd=cluster.at, env=cluster.env, stdin=subprocess.PIPE)
    assert client.stdin is not None
    with client.stdin as stdin:
        # More than is kept in memory.
        stdin.write(bytes(8 << 20))
        stdin.flush()
        try:
            until(lambda: arriving(cluster) > 1 << 20, what="an upload")
            yield client
        finally:
            client.kill()
            client.wait()


def test_client_killed_while_it_sends_leaves_nothing(cluster: Cluster) -> None:
    """In the middle of its input."""
    with sending(cluster) as client:
        client.kill()
        client.wait()
    until(lambda: not kept(cluster), 10, "the end of what was sent")
    assert cluster.ask("list") == []


def test_request_outlives_a_client_killed_after_the_acknowledgement(cluster: Cluster) -> None:
    """It never learned the id; whoever asks next gets the answer."""
    submit_and_die(cluster, "after")
    [request] = cluster.ask("list")
    finish(cluster, request["id"])


def test_client_killed_while_it_submits_leaves_all_or_nothing(cluster: Cluster) -> None:
    """Whether the server had got as far as to take it or not, and never half of it."""
    dice = random.Random(8)
    for delay in (0.0, *(dice.uniform(0, 0.02) for _ in range(7))):
        submit_and_die(cluster, f"{delay:.6f}")
    for each in cluster.ask("list"):
        finish(cluster, each["id"])


def test_client_killed_while_it_follows_loses_nothing(cluster: Cluster) -> None:
    """In the middle of the request; nothing is written in its place."""
    gate = cluster.folder / "gate"
    gate.touch()
    # It ends when its client has.
    wait = f"case $line in *199) while [ -e {gate} ]; do sleep 0.05; done;; esac"
    slow = f'while read -r line; do {wait}; sleep 0.01; echo "$line"; done | {SHOUT}'
    client = cluster.begin("run", "input", "--mapper", slow, "--reducer", KEYS, "--output", "answer")
    until(lambda: any(each["done"] > 0 for each in cluster.ask("list")), what="the middle of it")
    client.kill()
    client.communicate()
    assert not (cluster.at / "answer").exists()
    for each in cluster.at.glob(".answer*"):
        # Nobody could take this away any more.
        each.unlink()
    gate.unlink()
    finish(cluster, "")


# Clients that leave


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_client_that_waits_for_its_stdin_can_be_stopped(cluster: Cluster, number: int) -> None:
    """Nothing comes and nothing ends; what it has sent goes with it."""
    with sending(cluster) as client:
        client.send_signal(number)
        assert client.wait(20) == 130
    until(lambda: not kept(cluster), 10, "the end of what was sent")
    assert cluster.ask("list") == []


def test_second_ctrl_c_leaves_at_once(cluster: Cluster) -> None:
    """The server does not answer, so the first waits in vain; the request is cancelled later."""
    client = cluster.begin("run", "input", "--mapper", FOREVER)
    until(sleepers, what="a program")
    assert cluster.server.process is not None
    cluster.server.process.send_signal(signal.SIGSTOP)
    try:
        client.send_signal(signal.SIGINT)
        until(lambda: "Cancelling" in said(cluster), what="the first answer")
        client.send_signal(signal.SIGINT)
        client.communicate(timeout=20)
    finally:
        cluster.server.process.send_signal(signal.SIGCONT)
    assert client.returncode == 130
    assert "hagoop-request wait" in said(cluster)
    until(lambda: cluster.ask("status")["state"] == "cancelled", what="the end of the request")


def said(cluster: Cluster) -> str:
    """What the client has written to stderr."""
    return (cluster.folder / "stderr").read_text()


def test_window_that_is_closed_detaches(cluster: Cluster) -> None:
    """A terminal that goes away under a progress display: no output is possible any more."""
    ours, theirs = pty.openpty()
    try:
        client = subprocess.Popen(
            cluster.request_words("run", "input", "--mapper", FOREVER, "--output", "never"),
            cwd=cluster.at,
            env={**cluster.env, "TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        until(sleepers, what="a program")
    finally:
        os.close(ours)
    assert client.wait(20) == 130
    assert cluster.ask("status")["state"] == "running"
    assert not [each.name for each in cluster.at.iterdir() if "never" in each.name]


# Clients that wait their turn


def test_small_request_is_not_stuck_behind_a_large_one(cluster: Cluster) -> None:
    """All slots have work for ten minutes; ten lines come, and are done when that has hardly begun."""
    (cluster.at / "long").write_bytes(b"x\n" * 6000)
    slow = "while read -r line; do sleep 0.2; done"
    ran = cluster.request("run", "long", "--mapper", slow, "--detach")
    large = ran.stdout.decode().strip()
    until(lambda: cluster.ask("status", large)["done"] > 0, what="the first lines of the large one")
    (cluster.at / "short").write_bytes(TEXT[:80])
    small = cluster.request("run", "short", "--mapper", SHOUT, "--reducer", KEYS)
    assert small.returncode == 0, small.stderr.decode()
    assert small.stdout == oracle([TEXT[:80]], SHOUT, KEYS, cluster.at)
    status = cluster.ask("status", large)
    assert (status["state"], status["done"] < 0.25) == ("running", True), json.dumps(status)
