"""Done, but whoever asked was told otherwise: each command's answer is lost once with its connection.

It is sent again by itself, and has one effect.
"""

import subprocess
from collections import Counter

import pytest
from cluster import Cluster, until
from ledgers import Ledger, wrong_in
from proxied import through
from proxy import DOWN, UP, Link

from hagoop import commands

pytestmark = pytest.mark.slow

LINES = 60
OF_CLIENTS = {each.commandName.decode() for each in commands.CLIENT_TO_SERVER}
OF_WORKERS = {each.commandName.decode() for each in commands.WORKER_TO_SERVER}


def asked(cluster: Cluster, link: Link, *words: str) -> "subprocess.CompletedProcess[bytes]":
    """A command that went well."""
    ran = cluster.request(*words, *through(cluster, link))
    assert ran.returncode == 0, ran.stderr.decode()
    return ran


@pytest.mark.parametrize("on_its_way", [False, True], ids=["answer", "command"])
def test_run_that_is_not_told(proxied: Cluster, mine: Link, on_its_way: bool) -> None:
    """Of each command of ``run`` the answer is lost, or it is itself: one request, one answer."""
    before, swallowed = len(proxied.ask("list")), mine.swallowed.copy()
    used = ("Upload", "Survey", "Submit", "Status", "Answer")
    mine.swallow(*used, on_its_way=on_its_way)
    ran = asked(proxied, mine, *Ledger(proxied, LINES).words)
    assert wrong_in(ran.stdout, LINES) == []
    assert mine.swallowed - swallowed == Counter(used)
    assert len(proxied.ask("list")) == before + 1


def test_client_that_is_not_let_in(proxied: Cluster, mine: Link) -> None:
    """Whoever has not come in yet has no reason to believe that a server is there."""
    mine.swallow("Join")
    ran = proxied.request("list", *through(proxied, mine))
    assert (ran.returncode, mine.swallowed["Join"]) == (3, 1)


def test_input_that_travels_is_sent_again(proxied: Cluster, mine: Link) -> None:
    """The server does not see it: what it was sent is gone with the connection."""
    program = proxied.at / "shout.sh"
    program.write_text("#!/bin/sh\nexec tr a-z A-Z\n")
    program.chmod(0o755)
    mine.swallow("Submit")
    assert asked(proxied, mine, "run", "shout.sh", "--mapper", "./shout.sh").stdout == (
        program.read_bytes().upper()
    )
    mine.cuts[UP] = 100
    program.write_text("#!/bin/sh\n# another\nexec tr a-z A-Z\n")
    asked(proxied, mine, "run", "shout.sh", "--mapper", "./shout.sh")
    assert mine.were_cut[UP] == 1


def test_answer_that_breaks_off_is_resumed(proxied: Cluster, mine: Link) -> None:
    """From the byte at which it broke, and its digest is that of the server."""
    (proxied.at / "long").write_bytes(b"".join(b"%d\n" % each for each in range(100_000)))
    (proxied.at / "answer-long").unlink(missing_ok=True)
    request = asked(proxied, mine, "run", "long", "--mapper", "cat", "--detach").stdout.decode().strip()
    asked(proxied, mine, "wait", request)
    cut = mine.were_cut[DOWN]
    mine.cuts[DOWN] = 200_000
    asked(proxied, mine, "answer", request, "--output", "answer-long")
    assert mine.were_cut[DOWN] == cut + 1
    assert (proxied.at / "answer-long").read_bytes() == (proxied.at / "long").read_bytes()


def test_wait_and_what_follows(proxied: Cluster, mine: Link) -> None:
    """``wait`` waits on; one request is cancelled, and forgotten, and no other with it."""
    kept = asked(proxied, mine, *Ledger(proxied, LINES).words, "--detach").stdout.decode().strip()
    mine.swallow("Wait")
    asked(proxied, mine, "wait", kept)
    made = Ledger(proxied, 100_000, 0.01)
    asked(proxied, mine, *made.words, "--detach")
    made.await_lines(0.0)
    mine.swallow("CancelRequest", "Status")
    asked(proxied, mine, "cancel")
    assert proxied.ask("status")["state"] == "cancelled"
    mine.swallow("ForgetRequest")
    asked(proxied, mine, "forget")
    assert proxied.ask("status")["id"] == kept
    assert mine.swallowed["ForgetRequest"] == 1


def test_lists_and_parts(proxied: Cluster, mine: Link) -> None:
    """What only looks, looks again; a partial answer is one request."""
    mine.swallow("List", "Workers")
    asked(proxied, mine, "list")
    asked(proxied, mine, "workers")
    made = Ledger(proxied, 150, 0.01, reducer=None)
    request = asked(proxied, mine, *made.words, "--detach").stdout.decode().strip()
    until(lambda: proxied.ask("status", request)["done"] > 0, what="the first lines")
    before = len(proxied.ask("list"))
    mine.swallow("Partial", "MissingParts")
    (proxied.at / "part").unlink(missing_ok=True)
    asked(proxied, mine, "answer", request, "--partial", "--output", "part", "--force")
    assert len(proxied.ask("list")) == before
    assert mine.swallowed["MissingParts"] == mine.swallowed["Partial"] == 1
    asked(proxied, mine, "wait", request)


def test_bad_lines_are_listed(proxied: Cluster, mine: Link) -> None:
    """The list of those that were passed over."""
    (proxied.at / "two").write_bytes(b"good\nbad\n")
    mine.swallow("BadLines")
    failing = "while read -r line; do [ $line = good ] || exit 1; echo $line; done"
    words = ("run", "two", "--mapper", failing, "--skip-bad-lines", "1", "--attempts", "1")
    assert asked(proxied, mine, *words).stdout == b"good\n"
    assert mine.swallowed["BadLines"] == 1


def test_worker_that_is_not_told(proxied: Cluster, links: list[Link]) -> None:
    """Of each of its commands the answer is lost: what it has done counts once."""
    made = Ledger(proxied, 250, 0.01).begin()
    made.await_lines(0.02)
    for link in links:
        link.swallow("Ask", "Beat", "Commit")
    made.await_lines(0.5)
    links[0].swallow("Join")
    links[0].reset()
    made.end()
    told = links[0].swallowed + links[1].swallowed
    assert set(told) >= {"Ask", "Beat", "Commit", "Join"}


def test_failure_that_is_not_told(proxied: Cluster, links: list[Link]) -> None:
    """It is told of once, or the work is lost with the worker's link: the request fails all the same."""
    for link in links:
        link.swallow("Fail")
    (proxied.at / "two").write_bytes(b"1\n2\n")
    ran = proxied.request("run", "two", "--mapper", "exit 3")
    assert ran.returncode == 1
    assert "exit status 3" in ran.stderr.decode()
    assert all(link.swallowed["Fail"] for link in links)


def test_every_command_is_tried() -> None:
    """One that comes to be added is missed here."""
    tried = {"Join", "Upload", "Survey", "Submit", "Status", "Answer", "Wait", "CancelRequest"}
    tried |= {"ForgetRequest", "List", "Workers", "Partial", "MissingParts", "BadLines"}
    assert OF_CLIENTS == tried
    assert {"Join", "Ask", "Beat", "Commit", "Fail", "Leaving", "Back"} == OF_WORKERS
