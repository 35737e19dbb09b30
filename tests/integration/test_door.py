"""The door, with real servers, workers and clients: one line lets in, and nothing else does."""

import contextlib
import io
import json
import os
import pty
import resource
import socket
import ssl
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nursery
import pytest
from attrs import define, evolve
from cluster import Cluster, Part, is_one_sentence, until
from twisted.internet.endpoints import TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol

from hagoop import commands
from hagoop.door import script
from hagoop.door.certificate import make_identity
from hagoop.door.dialling import dial
from hagoop.door.join_string import JoinString, parse_join_string
from hagoop.door.tls import behind_tls
from hagoop.errors import NotAdmitted, TransferFailed, WorkerLost
from hagoop.links import Link
from hagoop.transfer import Transfer

pytestmark = pytest.mark.slow

DONE, FAILED, USAGE, UNREACHABLE = 0, 1, 2, 3
STRANGER = {"identity": "", "process": "p", "name": "stranger", "slots": 1, "held": ()}
MANY = 1000
WORDS = (b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", b"\0" * 300, b"\x16\x03\x01\0\x05hello")


@define(eq=False)
class Guarded(Cluster):
    """A server that listens on all addresses.

    :ivar client: the line of a client.
    """

    client: str = ""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        for option, port in (("--listen", self.commands), ("--web", self.web)):
            self.server.words += [option, f"0.0.0.0:{port}"]
        self.server.words += ["--host", "127.0.0.1"]

    @property
    def address(self) -> str:
        """What ``--server`` wants."""
        return self.client

    def about_secrets(self, *words: str) -> tuple[int, str, str]:
        """``hagoop-server invite`` and the like: exit status, stdout and stderr."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = script.main([*words, "--state", str(self.server.folder / "state")])
        return status, out.getvalue(), err.getvalue()

    def invite(self, *words: str) -> str:
        """A new line."""
        status, line, problem = self.about_secrets("invite", *words)
        assert status == DONE, problem
        return line.split("'")[1]

    def revoke(self, line: str) -> None:
        """End a secret."""
        assert self.about_secrets("revoke", parse_join_string(line).id) == (DONE, "", "")

    def ask_as(self, line: str, *words: str, **env: str) -> "subprocess.CompletedProcess[bytes]":
        """``hagoop-request`` with another line, from its environment."""
        command = [sys.executable, "-m", "hagoop.request_script", *words]
        known = {**self.env, "HAGOOP_SERVER": line, **env}
        return nursery.run(command, cwd=self.at, env=known, seconds=60)

    def machine(self, name: str) -> Part:
        """One on which a worker has never been."""
        part = self._part(f"worker-{name}", ["--slots", "1", "--name", name])
        self.workers.append(part)
        return part

    def audited(self, event: str) -> list[dict[str, Any]]:
        """Lines of the audit log."""
        lines = (self.server.folder / "state" / "audit.log").read_text().splitlines()
        return [each for each in map(json.loads, lines) if each["event"] == event]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A server beyond loopback with one worker."""
    made = Guarded(tmp_path_factory.mktemp("door") / "it")
    try:
        made.start_server()
        made.client = made.invite("client")
        worker = made.add_worker()
        worker.term()
        worker.wait()
        worker.words[worker.words.index("--server") + 1] = made.invite("worker")
        worker.start()
        made.await_workers()
        (made.at / "input").write_bytes(b"b\na\n")
        yield made
    finally:
        made.end()


def said(ran: "subprocess.CompletedProcess[bytes]", status: int) -> str:
    """The one sentence of a command that ended so."""
    assert ran.returncode == status, ran.stderr.decode()
    assert is_one_sentence(ran.stderr), ran.stderr.decode()
    return ran.stderr.decode().strip()


async def join(line: str, role: str = "client") -> Link:
    """A link that has joined."""
    from twisted.internet import reactor

    known, link = parse_join_string(line), Link()
    await connectProtocol(dial(reactor, line), link)
    given = {"version": commands.PROTOCOL_VERSION, "role": role, **STRANGER}
    try:
        await link.call(commands.Join, secret_id=known.id, secret=known.secret, **given)
    except BaseException:
        link.end()
        raise
    return link


# Coming in


def test_third_machine_joins_by_one_line(cluster: Guarded) -> None:
    """It is read from a file, needed once; the second machine that takes it is refused."""
    line = cluster.invite("worker", "--uses", "1")
    (cluster.at / "line").write_text(f"{line}\n")
    third = cluster.machine("third")
    words = list(third.words)
    third.words += ["--server-file", str(cluster.at / "line")]
    third.start()
    until(lambda: third.said("joined "), what="its Join")
    kept, identity = (third.folder / "state" / name for name in ("door", "identity"))
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert parse_join_string(kept.read_text()).secret != parse_join_string(line).secret
    first = identity.read_text()
    third.term()
    third.wait()
    third.words = words
    third.start()
    until(lambda: third.said("joined ") == 2, what="its second Join")
    assert identity.read_text() == first
    ran = cluster.request("run", "input", "--mapper", "cat", "--reducer", "cat")
    assert (ran.returncode, ran.stdout) == (DONE, b"a\nb\n"), ran.stderr.decode()
    fourth = cluster.machine("fourth")
    fourth.words += ["--server", line]
    # With a command line of its own from the first.
    fourth.prefix = ["env"]
    fourth.start()
    until(lambda: fourth.said("was used as often as it may be"), what="its refusal")
    assert fourth.process is not None
    # Everybody on that machine may read these.
    assert b"hagoop1:" not in Path(f"/proc/{fourth.process.pid}/cmdline").read_bytes()
    for each in (fourth, third):
        each.term()
        each.wait()
    logs = [each.log.read_text() for each in (cluster.server, third, fourth)]
    assert parse_join_string(line).secret not in "".join(logs)


def test_secrets_are_listed_and_never_told(cluster: Guarded) -> None:
    """What they are worth; what is typed wrongly is one sentence."""
    line = parse_join_string(cluster.invite("client", "--ttl", "12h", "--running", "3"))
    again = parse_join_string(cluster.invite("client", "--again", line.id))
    assert (again.id, again.pin) == (line.id, line.pin)
    listed = cluster.about_secrets("secrets")[1]
    assert f"{line.id}  client" in listed
    assert line.secret not in listed
    assert again.secret not in listed
    for words, told in (
        (("invite", "king"), "invite whom? write: hagoop-server invite worker, or client"),
        (("invite", "client", "--uses", "1"), "--uses is for a worker; a client's line is bounded"),
        (("invite", "worker", "--ttl", "7"), "--ttl: '7' is not an age; write a number with s, m, h"),
        (("revoke",), "revoke what? write an ID of: hagoop-server secrets"),
        (("revoke", "w9"), "there is no secret 'w9': hagoop-server secrets lists all"),
    ):
        status, _, problem = cluster.about_secrets(*words)
        assert (status, problem.startswith(told)) == (USAGE, True), problem
    refused = f"there is no good secret '{line.id}' for a worker: hagoop-server secrets\n"
    assert cluster.about_secrets("invite", "worker", "--again", line.id) == (FAILED, "", refused)


def test_line_with_a_letter_changed_opens_nothing(cluster: Guarded) -> None:
    """Given by the environment; the sentence does not tell which part is wrong."""
    line = cluster.client
    wrong = line[:-1] + ("A" if line[-1] != "A" else "E")
    assert said(cluster.ask_as(wrong, "list"), UNREACHABLE).startswith("the server does not know this")


# What is refused


def test_each_client_has_its_own_requests_and_bounds(cluster: Guarded) -> None:
    """Others' are unknown to it; what passes its quota is refused with a sentence."""
    ran = cluster.request("run", "input", "--mapper", "cat", "--detach")
    request = ran.stdout.decode().strip()
    assert cluster.request("wait", request).returncode == DONE
    line = cluster.invite("client", "--running", "1", "--spool", "1k")
    told = said(cluster.ask_as(line, "answer", request), FAILED)
    assert told == f"there is no request '{request}'; hagoop-request list shows all"
    (cluster.at / "large").write_bytes(b"x" * 2000)
    run = ("run", "input", "--mapper", "sleep 60", "--detach")
    assert "bytes more are too many" in said(
        cluster.ask_as(line, "run", "large", "--mapper", "cat"), FAILED
    )
    assert cluster.ask_as(line, *run).returncode == DONE
    assert said(cluster.ask_as(line, *run), FAILED).startswith("1 requests of this client run, as many")
    assert cluster.ask_as(line, "cancel").returncode == DONE
    [submitted] = [each for each in cluster.audited("submitted") if each.get("request") == request]
    assert submitted["secret"] == parse_join_string(cluster.client).id


def test_revoked_secret_ends_what_came_by_it(cluster: Guarded) -> None:
    """Sessions, requests that run, and the way back."""
    lines = cluster.invite("worker"), cluster.invite("client")
    worker = cluster.machine("revoked")
    worker.env["HAGOOP_SERVER"] = lines[0]
    worker.start()
    until(lambda: worker.said("joined "), what="its Join")
    command = [sys.executable, "-m", "hagoop.request_script", "run", "input", "--mapper", "sleep 60"]
    env = {**cluster.env, "HAGOOP_SERVER": lines[1]}
    with subprocess.Popen(command, cwd=cluster.at, env=env, stderr=subprocess.PIPE) as client:
        until(lambda: [each for each in cluster.ask("list") if each["state"] == "running"])
        for line in lines:
            cluster.revoke(line)
        told = client.communicate(timeout=60)[1].decode()
    assert (client.returncode, "was revoked; it takes another line" in told) == (UNREACHABLE, True), told
    until(lambda: worker.said("was revoked; it takes another line"), what="its refusal")
    worker.term()
    worker.wait()
    until(lambda: not [each for each in cluster.ask("list") if each["state"] == "running"])


async def test_no_url_opens_without_its_word(cluster: Guarded) -> None:
    """Without one, with one that was changed, with one for another thing, and when it was revoked."""
    from twisted.internet import reactor

    line = cluster.invite("client")
    link = await join(line)
    given = await link.call(commands.Upload, digest="", size=4)
    word, name = given["grant"], given["name"]
    transfer = Transfer(reactor, "127.0.0.1", cluster.web, parse_join_string(line))
    changed = word[:-1] + ("A" if word[-1] != "A" else "B")
    urls = ["assignments/1-1", "files/1-1", f"programs/{'0' * 64}", "answers/r1", "uploads/u1"]
    urls.append(f"uploads/{name}")
    for path in urls:
        for tried in ("", changed, *([word] if path != f"uploads/{name}" else [])):
            with pytest.raises(TransferFailed, match=r"\(40[35]\)"):
                await transfer.get(path, tried, lambda data: None)
            if path.startswith(("assignments", "uploads")):
                with pytest.raises(TransferFailed, match=r"was not granted \(403\)"):
                    await transfer.put(path, tried, open(cluster.at / "input", "rb"), 4)
    cluster.revoke(line)
    await _until(lambda: link.transport is None)
    with pytest.raises(TransferFailed):
        await transfer.put(f"uploads/{name}", word, open(cluster.at / "input", "rb"), 4)
    await transfer.close()


async def _until(condition: Any) -> None:
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    while not condition():
        await deferLater(reactor, 0.05)


# Wrong doors


class Ear(Protocol):
    """Notes what it hears, once TLS is off."""

    def dataReceived(self, data: bytes) -> None:
        self.factory.heard.append(data)


async def test_fake_server_is_told_nothing() -> None:
    """Who has not the key of the line hears no byte, of commands or of the web's; who has does."""
    from twisted.internet import reactor

    real, fake = make_identity(), make_identity()
    for identity, hears in ((fake, False), (real, True)):
        ear = Factory.forProtocol(Ear)
        ear.heard = []
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(
            behind_tls(identity, ear)
        )
        line = JoinString("127.0.0.1", port.getHost().port, real.pin, "w1", "s" * 43)
        link = Link()
        await connectProtocol(dial(reactor, str(line)), link)
        joining = link.callRemote(
            commands.Join, version=2, role="worker", secret_id="w1", secret=line.secret, **STRANGER
        )
        await _until(lambda ear=ear, link=link: ear.heard or link.transport is None)
        link.end()
        with contextlib.suppress(Exception):
            await joining
        transfer = Transfer(reactor, line.host, line.port, line)
        if not hears:
            with pytest.raises(TransferFailed):
                await transfer.get("answers/r1", "word", lambda data: None)
        await transfer.close()
        await port.stopListening()
        assert (line.secret.encode() in b"".join(ear.heard)) is hears
        assert bool(ear.heard) is hears
        assert ("has not the key that the line names" in link.greeting) is not hears


async def test_line_of_a_server_that_speaks_no_tls() -> None:
    """Both ends say what they have met."""
    from twisted.internet import reactor

    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Link))
    line = JoinString("127.0.0.1", port.getHost().port, make_identity().pin, "w1", "s" * 43)
    link = Link()
    await connectProtocol(dial(reactor, str(line)), link)
    with pytest.raises(WorkerLost):
        await link.call(commands.List, skip=0)
    assert link.greeting.startswith(f"{line.place} does not speak TLS as the server of the line does")
    await port.stopListening()


def test_plain_words_at_the_door(cluster: Guarded) -> None:
    """Closed quietly: a line in the log now and then, and a sentence for who is ours."""
    told = said(cluster.request("list", "--server", f"127.0.0.1:{cluster.commands}"), UNREACHABLE)
    assert told == (
        f"127.0.0.1:{cluster.commands} does not answer as a HaGoop server; if it is one, it "
        "takes a line: hagoop-server invite client, there"
    )
    before = len(cluster.server.log.read_text().splitlines())
    for port in (cluster.commands, cluster.web):
        for words in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"SSH-2.0-x\r\n",
            b"\0" * 300,
            b"\x16\x03\x01\0\x05hello",
        ):
            for _ in range(3):
                with socket.create_connection(("127.0.0.1", port), 10) as stranger:
                    stranger.sendall(words)
                    with contextlib.suppress(ConnectionResetError):
                        assert len(stranger.recv(1000)) < 10
    log = cluster.server.log.read_text().splitlines()
    assert len(log) - before <= 3
    assert cluster.audited("dropped")


def test_open_server_warns(tmp_path: Path) -> None:
    """At its start, in ``workers``, on its page; of who speaks TLS or HTTP to it the log says so."""
    made = Cluster(tmp_path / "it", server_options=("--insecure",))
    made.server.words += ["--listen", f"0.0.0.0:{made.commands}", "--web", f"0.0.0.0:{made.web}"]
    try:
        made.start_server()
        assert made.server.said("is open to anybody who reaches it") == 2
        ran = made.request("workers")
        assert (ran.returncode, b"open to anybody who reaches it (--insecure)" in ran.stderr) == (
            DONE,
            True,
        )
        with urllib.request.urlopen(f"http://127.0.0.1:{made.web}/", timeout=10) as page:
            assert b"open to anybody who reaches it" in page.read()
        wrong = JoinString("127.0.0.1", made.commands, "x" * 43, "c1", "s" * 43)
        told = said(made.request("list", "--server", str(wrong)), UNREACHABLE)
        assert told.startswith(f"{wrong.place} does not speak TLS as the server of the line does")
        assert made.server.said("it speaks TLS, and this port does not") == 1
        with socket.create_connection(("127.0.0.1", made.commands), 10) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert stranger.recv(100) == b""
    finally:
        made.end()


def test_first_start_prints_the_lines_to_a_terminal(tmp_path: Path) -> None:
    """To nobody else: a log may be kept."""
    made = Cluster(tmp_path / "it")
    words = [*made.server.words, "--listen", f"0.0.0.0:{made.commands}", "--web", f"0.0.0.0:{made.web}"]
    ours, theirs = pty.openpty()
    log = tmp_path / "log"
    command = [*words[:4], f"--logfile={log}", *words[4:], "--host", "lab1"]
    with subprocess.Popen(command, env=made.env, cwd=tmp_path, stdout=theirs, stderr=theirs) as server:
        try:
            until(lambda: log.exists() and "ServerFactory (TLS) starting" in log.read_text())
            shown = os.read(ours, 65536).decode()
        finally:
            server.terminate()
            server.wait(20)
            os.close(ours)
            os.close(theirs)
    lines = [each.split("'")[1] for each in shown.splitlines() if "hagoop1:" in each]
    assert [parse_join_string(each).id[0] for each in lines] == ["w", "c"]
    assert [parse_join_string(each).place for each in lines] == [f"lab1:{made.commands}"] * 2
    for each in map(parse_join_string, lines):
        assert each.secret not in log.read_text()
        assert each.id in log.read_text()


def hello(cluster: Guarded) -> ssl.SSLSocket:
    """A TLS connection by somebody else's means."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", cluster.commands), 10)
    return context.wrap_socket(plain)


def test_old_worker_is_told_to_update(cluster: Guarded) -> None:
    """And older TLS is not spoken at all."""
    values = {b"_ask": b"1", b"_command": b"Join", b"version": b"1", b"role": b"worker", b"slots": b"1"}
    values |= dict.fromkeys((b"identity", b"process", b"name"), b"") | {b"held": b"[]"}
    strings = [each for pair in values.items() for each in pair]
    box = b"".join(len(each).to_bytes(2, "big") + each for each in strings) + b"\0\0"
    with hello(cluster) as peer:
        assert peer.version() == "TLSv1.3"
        peer.sendall(box)
        answer = peer.recv(65536)
    assert b"VERSION_MISMATCH" in answer
    assert b"install the same hagoop on both" in answer
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    plain = socket.create_connection(("127.0.0.1", cluster.commands), 10)
    with plain, pytest.raises((ssl.SSLError, ConnectionError)):
        old.wrap_socket(plain)


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for many sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * MANY:
        pytest.skip("this user may not open so many sockets")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * MANY), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_thousand_connections_that_never_finish(cluster: Guarded, many_files: None) -> None:
    """Some silent, some in a handshake: a client from the same address comes in meanwhile."""
    with contextlib.ExitStack() as stack:
        for number in range(MANY):
            stranger = stack.enter_context(socket.create_connection(("127.0.0.1", cluster.commands), 10))
            if number % 2:
                stranger.sendall(b"\x16\x03\x01\x02\0")
        link = await join(cluster.client)
        assert (await link.call(commands.Workers, skip=0))["workers"]
        link.end()
    with pytest.raises(NotAdmitted):
        await join(str(evolve(parse_join_string(cluster.client), secret="x" * 43)))
