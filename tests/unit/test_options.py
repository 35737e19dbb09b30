"""Values and places on the command lines, and the files that twistd writes."""

import fcntl
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import quoteStringArgument

from hagoop.options import (
    _quoted,
    check_endpoint,
    client_endpoint_string,
    client_endpoint_strings,
    free_state_folder,
    host_name,
    is_locked,
    is_loopback,
    name_files,
    parse_age,
    parse_count,
    parse_folder,
    parse_name,
    parse_size,
    processor_count,
    server_endpoint_string,
    state_folder,
    twistd_argv,
)


@given(st.text(st.sampled_from(":\\ab1.[]"), max_size=6))
def test_hosts_are_quoted_as_endpoints_want_them(host):
    """Whatever they hold."""
    assert _quoted(host) == quoteStringArgument(host)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("1k", 1024),
        ("500M", 500 * 1024**2),
        ("4GiB", 4 * 1024**3),
        ("1.5 g", 3 * 1024**3 // 2),
        ("2T", 2 * 1024**4),
        ("1kB", 1000),
        ("3MB", 3_000_000),
        ("7b", 7),
    ],
)
def test_sizes_are_read_as_sort_and_dd_read_them(text: str, size: int) -> None:
    """A unit alone is of 1024, with B it is of 1000."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "4X", "-1", "1e3", "GiB", "1 2", "0x10", "1KiBs", "\u0661"])
def test_what_is_no_size_is_told(text: str) -> None:
    """The sentence names the text and what is allowed."""
    with pytest.raises(ValueError, match="is not a size; write a number, with k, M, G or T: 500M, 4GiB"):
        parse_size(text)


def test_no_room_at_all_is_told() -> None:
    """A size of nothing is a slip."""
    with pytest.raises(ValueError, match="'0' is no room at all"):
        parse_size("0")


@given(st.integers(1, 10**15))
def test_bytes_are_themselves(size: int) -> None:
    """A number alone is a number of bytes."""
    assert parse_size(str(size)) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("12h", 43200), ("7d", 604800), ("2w", 1209600), ("0.5 h", 1800)],
)
def test_ages_have_units(text: str, seconds: float) -> None:
    """An age is a number with its unit."""
    assert parse_age(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "7y", "-1d", "1d12h", "inf"])
def test_what_is_no_age_is_told(text: str) -> None:
    """A number alone is no age: days and seconds are too far apart to guess."""
    with pytest.raises(ValueError, match="is not an age; write a number with s, m, h, d or w: 90s"):
        parse_age(text)


def test_counts_are_bounded() -> None:
    """Whole numbers within the bounds, both included."""
    assert [parse_count(text, 0, 19) for text in ("0", "19", "+7")] == [0, 19, 7]
    for text in ("", "x", "20", "-1", "1.0", " 1", "9" * 30):
        with pytest.raises(ValueError, match="is not allowed; write a whole number from 0 to 19"):
            parse_count(text, 0, 19)


def test_names_are_harmless() -> None:
    """A name has nothing that a terminal, a page or a shell would read."""
    assert parse_name("lab-1.home_2") == "lab-1.home_2"
    for text in ("", "a/b", "a b", "\x1b[1m", "x" * 65, "ä", "a\n"):
        with pytest.raises(ValueError, match="is not a name; write 1 to 64 letters"):
            parse_name(text)


def test_defaults_of_this_machine_are_sound() -> None:
    """The machine's name is a worker's name, and it has a processor."""
    assert parse_name(host_name()) == host_name()
    assert processor_count() >= 1


def test_folder_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder becomes absolute; a file or nothing is told."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "books").mkdir()
    (tmp_path / "file").touch()
    assert parse_folder("books") == tmp_path / "books"
    for text in ("file", "missing"):
        with pytest.raises(ValueError, match=f"'{text}' is not a folder here"):
            parse_folder(text)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("lab1", "tcp:lab1:9470"),
        (" lab1:1 ", "tcp:lab1:1"),
        ("10.0.0.1:9999", "tcp:10.0.0.1:9999"),
        ("[::1]:9999", r"tcp:\:\:1:9999"),
        ("[fe80::2]", r"tcp:fe80\:\:2:9470"),
        ("::1", r"tcp:\:\:1:9470"),
        ("tcp:h:1", "tcp:h:1"),
        ("unix:/run/hagoop", "unix:/run/hagoop"),
        ("tls:lab1:443", "tls:lab1:443"),
        ("onion:abc.onion:1", "onion:abc.onion:1"),
    ],
)
def test_addresses_of_servers(text: str, endpoint: str) -> None:
    """HOST, HOST:PORT and endpoints all become client endpoint strings."""
    assert client_endpoint_string(text) == endpoint


@pytest.mark.parametrize(
    "text", ["", "9470", "h:0", "h:65536", "h:x", "http://h:1", "a b", "[::1", "[h]:1", "h:", ":1", "-h"]
)
def test_what_is_no_address_is_told(text: str) -> None:
    """The sentence names the text and what is allowed."""
    with pytest.raises(ValueError, match=r"is not an address; write HOST, HOST:PORT, \[IPV6\]:PORT or"):
        client_endpoint_string(text)


def test_several_addresses_are_tried_in_turn() -> None:
    """Commas separate them; none may be empty."""
    assert client_endpoint_strings("lab1, lab2:7") == ("tcp:lab1:9470", "tcp:lab2:7")
    with pytest.raises(ValueError, match="'' is not an address"):
        client_endpoint_strings("lab1,,lab2")


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("0", "tcp:0:interface=127.0.0.1"),
        ("8000", "tcp:8000:interface=127.0.0.1"),
        ("lab1", "tcp:9470:interface=lab1"),
        ("0.0.0.0:1", "tcp:1:interface=0.0.0.0"),
        ("[::1]:1", r"tcp6:1:interface=\:\:1"),
        ("::", r"tcp6:9470:interface=\:\:"),
        ("tcp:1", "tcp:1"),
        ("systemd:domain=INET:name=hagoop", "systemd:domain=INET:name=hagoop"),
    ],
)
def test_places_to_listen(text: str, endpoint: str) -> None:
    """A port alone is on loopback; the rest says where."""
    assert server_endpoint_string(text, 9470) == endpoint


@pytest.mark.parametrize("text", ["", "99999", "h:65536", "*:1", ":1", "http://h", "-1"])
def test_what_is_no_place_is_told(text: str) -> None:
    """The sentence names the text as it was given."""
    with pytest.raises(ValueError, match=r"is no place to listen; write PORT, HOST:PORT") as caught:
        server_endpoint_string(text, 9470)
    assert str(caught.value).startswith(repr(text))


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp:9470:interface=127.0.0.1",
        "tcp:9470:127.0.0.1",
        "tcp:port=9470:interface=127.8.9.1",
        "tcp:0:interface=localhost",
        r"tcp6:9470:interface=\:\:1",
        "ssl:9470:interface=127.0.0.1:privateKey=k",
        "tls:/keys:port=1:interface=127.0.0.1",
        "unix:/run/x",
        "tcp:127.0.0.1:9470",
        "tcp:localhost:1",
        r"tcp:\:\:1:1",
        "tcp:host=127.0.0.1:port=1",
        "tls:localhost:1",
    ],
)
def test_loopback_is_known(endpoint: str) -> None:
    """Server and client strings that cannot leave the machine."""
    assert is_loopback(endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp:9470",
        "tcp:9470:interface=0.0.0.0",
        "tcp:9470:interface=",
        "tcp:port=9470",
        "tcp6:9470",
        r"tcp6:9470:interface=\:\:",
        "tcp6:9470:127.0.0.1",
        "tcp:10.0.0.1:1",
        "tcp:127.0.0.1.example.org:1",
        "tls:localhost:port=1",
        "ssl:9470",
        "systemd:domain=INET:index=0",
        "haproxy:tcp:1:interface=127.0.0.1",
        r"tcp:1:interface=127.0.0.1\:x",
        "",
    ],
)
def test_all_else_counts_as_open(endpoint: str) -> None:
    """Every address, other machines, and what is not understood."""
    assert not is_loopback(endpoint)


def test_endpoint_that_twisted_refuses_is_told() -> None:
    """Whatever the parser raises becomes one sentence."""

    def refuse(endpoint: str) -> None:
        raise TypeError("no such argument")

    check_endpoint(str, "tcp:1")
    with pytest.raises(ValueError, match="'tcp:1:x=y' is not an endpoint that can be used: no such"):
        check_endpoint(refuse, "tcp:1:x=y")


def test_state_folder_is_where_it_was_chosen() -> None:
    """The option wins, then systemd's variable, then the user's folder of states."""
    both = {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "XDG_STATE_HOME": "/x"}
    assert state_folder("/s", "server", both) == (Path("/s"), True)
    assert state_folder("s", "server", {})[0] == Path.cwd() / "s"
    assert state_folder(None, "server", both) == (Path("/var/lib/a"), True)
    assert state_folder(None, "server", {"XDG_STATE_HOME": "/x"}) == (Path("/x/hagoop/server"), False)
    home = Path.home() / ".local/state/hagoop/worker"
    assert state_folder(None, "worker", {}) == (home, False)
    assert state_folder(None, "worker", {"XDG_STATE_HOME": "not/absolute"}) == (home, False)


@pytest.fixture
def lock() -> Iterator[Callable[[Path], None]]:
    """Holds state folders until the test ends."""
    held: list[int] = []

    def hold(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        held.append(os.open(folder / "lock", os.O_CREAT | os.O_RDWR))
        fcntl.flock(held[-1], fcntl.LOCK_EX)

    yield hold
    for descriptor in held:
        os.close(descriptor)


def test_first_free_state_folder_is_taken(tmp_path: Path, lock: Callable[[Path], None]) -> None:
    """Numbers are filled from the lowest; folders are not made to find out."""
    first = tmp_path / "worker"
    assert free_state_folder(first) == (first, 1)
    assert list(tmp_path.iterdir()) == []
    lock(first)
    lock(tmp_path / "worker-3")
    assert is_locked(first)
    assert free_state_folder(first) == (tmp_path / "worker-2", 2)
    lock(tmp_path / "worker-2")
    assert free_state_folder(first) == (tmp_path / "worker-4", 4)


def test_folder_that_was_left_is_free(tmp_path: Path) -> None:
    """A lock file without a holder locks nothing."""
    (tmp_path / "lock").touch()
    assert not is_locked(tmp_path)
    assert not is_locked(tmp_path / "missing")


def twistd(**changed: object) -> dict[str, object]:
    """Options of twistd as they are when ours are read."""
    return {"pidfile": "twistd.pid", "logfile": None, "nodaemon": False, "debug": False, **changed}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that twistd is started from."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_files_have_the_name_of_the_program(folder: Path) -> None:
    """Server and worker do not meet in twistd.pid."""
    options = twistd()
    name_files(options, "hagoop-server", 1)
    assert (options["pidfile"], options["logfile"]) == ("hagoop-server.pid", "hagoop-server.log")
    options = twistd()
    name_files(options, "hagoop-worker", 2)
    assert (options["pidfile"], options["logfile"]) == ("hagoop-worker-2.pid", "hagoop-worker-2.log")


def test_log_of_the_terminal_stays_there(folder: Path) -> None:
    """Only a daemon gets a log file."""
    for flag in ("nodaemon", "debug"):
        options = twistd(**{flag: True})
        name_files(options, "hagoop-server", 1)
        assert (options["pidfile"], options["logfile"]) == ("hagoop-server.pid", None)


def test_files_that_were_chosen_stay(folder: Path) -> None:
    """``--pidfile`` and ``--logfile`` win, ``--pidfile=`` too; without twistd there is nothing to do."""
    options = twistd(pidfile="", logfile="x.log")
    name_files(options, "hagoop-server", 1)
    assert (options["pidfile"], options["logfile"]) == ("", "x.log")
    options = twistd(pidfile="mine.pid")
    name_files(options, "hagoop-worker", 3)
    assert (options["pidfile"], options["logfile"]) == ("mine.pid", "hagoop-worker-3.log")
    name_files(None, "hagoop-server", 1)


def test_living_process_keeps_its_files(folder: Path) -> None:
    """The next number is taken; so it is past a pid file that twistd could not read."""
    (folder / "hagoop-worker.pid").write_text(str(os.getpid()))
    (folder / "hagoop-worker-2.pid").write_text("nonsense")
    options = twistd()
    name_files(options, "hagoop-worker", 1)
    assert (options["pidfile"], options["logfile"]) == ("hagoop-worker-3.pid", "hagoop-worker-3.log")


def test_files_of_the_dead_are_taken_over(folder: Path) -> None:
    """A pid file that a crash left is no reason to take another name."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    (folder / "hagoop-server.pid").write_text(str(gone.pid))
    options = twistd()
    name_files(options, "hagoop-server", 1)
    assert options["pidfile"] == "hagoop-server.pid"


@pytest.mark.parametrize(
    ("given", "argv"),
    [
        ("--listen 1", "twistd hagoop-server --listen 1"),
        ("-n --listen 1", "twistd -n hagoop-server --listen 1"),
        ("--listen 1 --nodaemon", "twistd --nodaemon hagoop-server --listen 1"),
        ("--pidfile= --state x", "twistd --pidfile= hagoop-server --state x"),
        ("--pidfile x -l y --keep 1d", "twistd --pidfile x -l y hagoop-server --keep 1d"),
        ("--help", "twistd hagoop-server --help"),
        ("", "twistd hagoop-server"),
        ("--logfile", "twistd --logfile hagoop-server"),
    ],
)
def test_flags_of_twistd_go_to_twistd(given: str, argv: str) -> None:
    """The script is twistd with the program's name put in its place."""
    assert twistd_argv("hagoop-server", given.split()) == argv.split()
