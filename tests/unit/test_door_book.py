"""Who may join by which secret: the book, its file, what a worker keeps, and what strangers may cost."""

import json
import stat
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from hagoop.door import audit as audit_file
from hagoop.door.audit import Audit
from hagoop.door.book import Book, Claim, Refused, Role, Secret, digest_of
from hagoop.door.book_file import BookFile
from hagoop.door.certificate import keep_identity, make_identity
from hagoop.door.doors import LockedDoor, OpenDoor
from hagoop.door.doorway import Worth, has_doorway, invite, open_doorway, renew, say
from hagoop.door.join_string import NO_SECRET, JoinString
from hagoop.door.kept import KeptLine
from hagoop.door.threshold import (
    MOST_ADDRESSES,
    MOST_DELAY_SECONDS,
    QUIET_SECONDS,
    Strangers,
    Threshold,
    address_group,
)
from hagoop.errors import StateError

WORKER = Secret("w1", Role.WORKER, digest_of("worker's"), 0.0)
CLIENT = Secret("c1", Role.CLIENT, digest_of("client's"), 0.0)
BOOK = Book("ab" * 32, (WORKER, CLIENT))
JOINS = Claim(Role.WORKER, "w1", "worker's", "", "p1")
UNKNOWN = "the server does not know this secret; ask for a line: hagoop-server invite"


def refusal(book: Book, claim: Claim, now: float = 0.0) -> str:
    """What is said to it."""
    with pytest.raises(Refused) as caught:
        book.judge(claim, now)
    return str(caught.value)


# The book


def test_right_secret_opens_for_its_role() -> None:
    """And for no other."""
    assert BOOK.judge(JOINS, 1.0) == (WORKER, False)
    client = Claim(Role.CLIENT, "c1", "client's")
    assert BOOK.judge(client, 1.0) == (CLIENT, False)
    assert refusal(BOOK, evolve(JOINS, role=Role.CLIENT)) == (
        "the secret w1 is for a worker, not for a client; it takes another line: "
        "hagoop-server invite client"
    )
    assert refusal(BOOK, evolve(client, role=Role.WORKER)).startswith("the secret c1 is for a client")


@given(st.text(max_size=50), st.text(max_size=50), st.sampled_from(Role), st.text(max_size=20))
def test_wrong_ids_and_wrong_secrets_are_told_alike(id_, secret, role, identity):
    """Nobody learns which of the two was right."""
    for claim in (
        Claim(role, id_, secret, identity),
        Claim(role, "w1", f"{secret}!", identity),
        Claim(role, f"x{id_}", "worker's", identity),
        Claim(role, "c1", BOOK.token("c1", identity), identity),
    ):
        assert refusal(BOOK, claim) == UNKNOWN


def test_token_is_one_workers_own() -> None:
    """It opens for that identity, after the invitation has ended, until the invitation is revoked."""
    book = BOOK.with_secret(evolve(WORKER, expires=5.0))
    token = book.token("w1", "identity")
    claim = Claim(Role.WORKER, "w1", token, "identity")
    known = book.find("w1")
    assert book.judge(claim, 6.0) == (known, True)
    assert refusal(book, evolve(claim, identity="another"), 6.0) == UNKNOWN
    assert refusal(book, evolve(claim, identity=""), 6.0) == UNKNOWN
    assert refusal(book, evolve(claim, role=Role.CLIENT)).startswith("the secret w1 is for a worker")
    assert "was revoked" in refusal(book.revoke("w1"), claim)
    assert book.token("w1", "") != token != Book("cd" * 32).token("w1", "identity")


def test_expired_invitation_says_so() -> None:
    """To who has its secret."""
    book = BOOK.with_secret(evolve(WORKER, expires=5.0))
    book.judge(JOINS, 4.9)
    assert refusal(book, JOINS, 5.0).startswith(
        "the secret w1 has expired; it takes another line: hagoop-"
    )


def test_uses_are_counted_by_process() -> None:
    """A process that comes back is counted once; the next one is too many."""
    secret = evolve(WORKER, uses=1)
    book = BOOK.with_secret(secret).used(secret, JOINS)
    used, _ = book.judge(JOINS, 0.0)
    assert (used.uses_left, book.used(used, JOINS)) == (0, book)
    assert "as often as it may be" in refusal(book, evolve(JOINS, process="p2"))
    assert BOOK.used(WORKER, JOINS) is BOOK


def test_revoked_secret_says_so_and_stays_revoked() -> None:
    """Its row stays, so that its tokens are known and refused."""
    book = BOOK.revoke("w1")
    assert refusal(book, JOINS).startswith("the secret w1 was revoked; it takes another line")
    assert [each.is_over(0.0) for each in (WORKER, evolve(WORKER, revoked=True))] == [False, True]
    with pytest.raises(KeyError):
        book.revoke("w9")


# Its file


def test_file_is_private_and_holds_no_secret(tmp_path: Path) -> None:
    """Mode 0600, in a folder of mode 0700; only hashes are in it."""
    doorway = open_doorway(tmp_path)
    doorway.move("lab1", 9470)
    line = invite(doorway, Role.WORKER, 0.0, Worth(uses=2))
    files = [each for each in (tmp_path / "door").iterdir() if each.is_file()]
    assert {each.name for each in files} == {"lock", "place", "secrets.json", "server.pem"}
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "door").stat().st_mode) == 0o700
    assert not any(line.secret.encode() in each.read_bytes() for each in files)
    assert (line.host, line.port, line.pin) == ("lab1", 9470, doorway.identity.pin)


def test_two_that_hold_the_file_see_each_others_changes(tmp_path: Path) -> None:
    """A server that runs and a command beside it."""
    server, command = BookFile(tmp_path), BookFile(tmp_path)
    server.change(lambda book: book.with_secret(WORKER))
    command.change(lambda book: book.with_secret(CLIENT))
    assert server.read().secrets == command.read().secrets == (WORKER, CLIENT)
    command.change(lambda book: book.revoke("w1"))
    assert server.read().find("w1") == evolve(WORKER, revoked=True)
    assert server.read() is server.read()


def test_damaged_files_are_told(tmp_path: Path) -> None:
    """With what to do; a door whose book is damaged lets nobody in."""
    doorway = open_doorway(tmp_path)
    doorway.file.change(lambda book: BOOK)
    doorway.file.path.write_text("{")
    with pytest.raises(StateError, match=r"secrets.json' cannot be read .*; restore it, or remove it"):
        BookFile(doorway.folder).read()
    door = LockedDoor(BookFile(doorway.folder), lambda: 0.0)
    with pytest.raises(Refused):
        door.admit(JOINS)
    (tmp_path / "door/server.pem").write_bytes(make_identity().key + make_identity().certificate)
    with pytest.raises(StateError, match="do not belong together"):
        open_doorway(tmp_path)
    (tmp_path / "door/server.pem").write_text("nothing")
    with pytest.raises(StateError, match=r"server.pem' cannot be used"):
        open_doorway(tmp_path)


def test_key_stays(tmp_path: Path) -> None:
    """Lines that were given stay good when the server starts again."""
    assert not has_doorway(tmp_path)
    first = open_doorway(tmp_path).identity
    assert has_doorway(tmp_path)
    assert keep_identity(tmp_path / "door").pin == first.pin != make_identity().pin
    assert len(first.pin) == 43
    assert b"PRIVATE" not in repr(first).encode()


def test_line_of_a_server_that_never_was(tmp_path: Path) -> None:
    """Nobody knows where it would be."""
    with pytest.raises(StateError, match="does not say where its server is"):
        invite(open_doorway(tmp_path), Role.CLIENT, 0.0, Worth())


def test_renewed_line_takes_the_place_of_the_old(tmp_path: Path) -> None:
    """The id, and what belongs to it, stay."""
    doorway = open_doorway(tmp_path)
    doorway.move("lab1", 1)
    old = invite(doorway, Role.CLIENT, 0.0, Worth())
    new = renew(doorway, Role.CLIENT, 1.0, old.id, Worth(running=3))
    door = LockedDoor(doorway.file, lambda: 0.0)
    assert door.admit(Claim(Role.CLIENT, new.id, new.secret)).owner == old.id
    assert door.secret(old.id).running == 3
    with pytest.raises(Refused):
        door.admit(Claim(Role.CLIENT, old.id, old.secret))
    for role, id_ in ((Role.WORKER, old.id), (Role.CLIENT, "c0")):
        with pytest.raises(StateError, match="there is no good secret"):
            renew(doorway, role, 1.0, id_, Worth())
    assert say(new, Role.CLIENT) == f"HAGOOP_SERVER='{new}'"


def test_locked_door_counts_uses_on_disk(tmp_path: Path) -> None:
    """The last use goes to one; what a worker is given opens again."""
    file = BookFile(tmp_path)
    file.change(lambda book: book.with_secret(evolve(WORKER, uses=1)))
    door = LockedDoor(file, lambda: 0.0)
    admission = door.admit(evolve(JOINS, identity="stolen"))
    assert (admission.owner, admission.identity) == ("w1", "")
    with pytest.raises(Refused):
        door.admit(evolve(JOINS, process="p2"))
    token = door.token(admission, "mine")
    again = door.admit(Claim(Role.WORKER, "w1", token, "mine", "p2"))
    assert again.identity == "mine"


def test_open_door_lets_everybody_in() -> None:
    """As whoever he says, owner of all."""
    admission = OpenDoor().admit(evolve(JOINS, identity="me"))
    assert (admission.owner, admission.identity) == (None, "me")
    assert OpenDoor().token(admission, "me") == ""
    assert OpenDoor().secret("w1") is None


# What a worker keeps

LINE = JoinString("lab1", 9470, NO_SECRET, "w1", "s" * 43)


def test_worker_joins_with_what_it_was_given(tmp_path: Path) -> None:
    """At the place that the line names now; of another server or invitation it has nothing."""
    kept = KeptLine(tmp_path)
    assert kept.best(LINE) == LINE
    kept.keep(LINE, "t" * 43)
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600
    moved = evolve(LINE, host="lab2")
    assert kept.best(moved) == evolve(moved, secret="t" * 43)
    assert kept.best(evolve(LINE, id="w2")) == evolve(LINE, id="w2")
    assert kept.best(evolve(LINE, pin="y" * 43)).secret == LINE.secret
    assert kept.best(None) is None
    assert KeptLine(tmp_path).read() == evolve(LINE, secret="t" * 43)


def test_worker_falls_back_to_the_line(tmp_path: Path) -> None:
    """When what it kept was refused; what it is given then counts again."""
    kept = KeptLine(tmp_path)
    kept.keep(LINE, "t" * 43)
    kept.refused()
    assert kept.best(LINE) == LINE
    kept.keep(LINE, "u" * 43)
    assert kept.best(LINE).secret == "u" * 43


def test_worker_on_loopback_keeps_nothing(tmp_path: Path) -> None:
    """There is nothing to keep; a damaged file is no line."""
    kept = KeptLine(tmp_path)
    kept.keep(None, "t" * 43)
    kept.keep(LINE, "")
    assert not kept.path.exists()
    kept.path.write_text("hagoop1:")
    assert kept.read() is None


# Strangers


def test_oldest_stranger_gives_way() -> None:
    """Of the address that has too many, then of all; who has come in or is gone does not count."""
    dropped: list[str] = []
    threshold = Threshold(most_of_one=2, most_of_all=4)

    def come(name: str, host: str) -> None:
        threshold.came(name, host, lambda: dropped.append(name))

    for name in ("a", "b", "c"):
        come(name, "10.0.0.1")
    assert dropped == ["a"]
    threshold.passed("b")
    threshold.passed("b")
    come("d", "10.0.0.1")
    assert dropped == ["a"]
    for number in range(3):
        come(f"e{number}", f"10.0.1.{number}")
    assert (dropped, threshold.waiting) == (["a", "c"], 4)


def test_addresses_are_grouped() -> None:
    """Anybody has as many IPv6 addresses as he likes."""
    assert address_group("2001:db8:1:2:3::4") == address_group("2001:db8:1:2::9")
    assert address_group("2001:db8:1:3::4") != address_group("2001:db8:1:2::9")
    assert address_group("fe80::1%eth0") == address_group("fe80::2")
    assert address_group("::ffff:10.0.0.1") == address_group("10.0.0.1") == "10.0.0.1"
    assert address_group("UNIXAddress(None)") == "UNIXAddress(None)"


def test_refusals_of_one_address_get_few_lines() -> None:
    """One in ten seconds, with the number of those that got none; others get theirs."""
    clock = Clock()
    strangers = Strangers(clock.seconds)
    assert [strangers.tells("a", "refused") for _ in range(5)] == [0, None, None, None, None]
    assert strangers.tells("b", "refused") == strangers.tells("a", "dropped") == 0
    clock.advance(QUIET_SECONDS)
    assert strangers.tells("a", "refused") == 4
    for number in range(2 * MOST_ADDRESSES):
        strangers.tells(str(number), "refused")
    assert len(strangers._visits) == MOST_ADDRESSES


def test_guessing_becomes_slower() -> None:
    """Up to a bound; after a while it is forgiven."""
    clock = Clock()
    strangers = Strangers(clock.seconds)
    delays = [strangers.delay("a") for _ in range(20)]
    assert delays == sorted(delays)
    assert (delays[0], delays[-1]) == (0.1, MOST_DELAY_SECONDS)
    assert strangers.delay("b") == 0.1
    clock.advance(61)
    assert strangers.delay("a") == 0.1


def test_audit_is_private_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of JSON for each; a full file makes room, once."""
    monkeypatch.setattr(audit_file, "MOST_BYTES", 200)
    path = tmp_path / "audit.log"
    audit = Audit(path, lambda: 1.23456)
    audit.note("joined", address="a", secret="w1", name="x" * 1000, nothing=None, empty="")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    expected = {"time": 1.235, "event": "joined", "address": "a", "secret": "w1", "name": "x" * 300}
    assert json.loads(path.read_text()) == expected
    audit.note("cancelled")
    audit.close()
    assert json.loads(path.read_text())["event"] == "cancelled"
    assert (tmp_path / "audit.log.1").exists()
    Audit(None, lambda: 0.0).note("joined")
    Audit(tmp_path / "nowhere" / "audit.log", lambda: 0.0).note("joined")
