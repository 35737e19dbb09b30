"""Lives of a server's workers: written as sessions end, read as a fleet."""

import json
import os
import stat
from collections.abc import Callable
from math import inf
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from hagoop import lives_log, simulate
from hagoop.errors import FleetError
from hagoop.jobs import Phase, Program, RequestId, SessionId, Submission, WorkerId
from hagoop.lab.lived import read_lived
from hagoop.lab.lives import Recording
from hagoop.leases import Session
from hagoop.ledger import Ledger
from hagoop.lives_log import LIVES_NAME, LivesLog

EPOCH = 1_000_000.0


class Server:
    """As much of one as tells of lives."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.ledger = Clock(), Ledger()
        self.folder = folder
        self.restart()

    def restart(self) -> None:
        """Another run of it."""
        self.lives = LivesLog(
            self.folder / LIVES_NAME,
            self.ledger,
            self.clock.seconds,
            lambda: EPOCH + self.clock.seconds(),
        )

    def join(self, number: int, worker: str, slots: int = 1) -> Session:
        """A session begins."""
        made = Session(
            SessionId(number), WorkerId(worker), "", f"name of {worker}", slots, self.clock.seconds()
        )
        self.ledger.worker_joined(made, self.clock.seconds())
        self.lives.began(made)
        return made

    def leave(self, session: Session, *, failed: bool = True) -> None:
        """It ends."""
        self.lives.over(session, failed)
        self.ledger.session_ended(session.id, self.clock.seconds(), failed=failed)

    @property
    def rows(self) -> list[dict[str, object]]:
        """What is in the file."""
        return [json.loads(line) for line in (self.folder / LIVES_NAME).read_text().splitlines()]


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """A server with nobody yet."""
    return Server(tmp_path)


def read(server: Server, seconds: float | None = None) -> Recording:
    """The fleet that it tells of."""
    server.lives.write()
    return read_lived(server.folder, seconds)


def test_session_is_a_line_of_its_own(server: Server) -> None:
    """With all that is known of it; for the owner's eyes."""
    session = server.join(1, "a", slots=2)
    server.clock.advance(9)
    session.heard = 9.0
    server.leave(session)
    server.lives.write()
    begun = {
        "run": EPOCH,
        "session": 1,
        "worker": "a",
        "name": "name of a",
        "slots": 2,
        "joined": EPOCH,
    }
    ended = {"left": EPOCH + 9, "how": "close", "speed": 1.0, "start": None, "jobs": 0}
    assert server.rows == [begun, {**begun, **ended}]
    assert stat.S_IMODE((server.folder / LIVES_NAME).stat().st_mode) == 0o600


def silent(server: Server, session: Session) -> None:
    """Nothing is heard of it, and then it is given up."""
    server.clock.advance(20)
    server.leave(session)


def stalled(server: Server, session: Session) -> None:
    """It answers, and does nothing."""
    session.stalled, session.heard = True, server.clock.seconds()
    server.leave(session)


def gives_notice(server: Server, session: Session) -> None:
    """It said so."""
    server.leave(session, failed=False)


@pytest.mark.parametrize(
    ("ends", "how"), [(silent, "silent"), (stalled, "hang"), (gives_notice, "notice")]
)
def test_how_it_ended_is_told(server: Server, ends: Callable[..., None], how: str) -> None:
    """A silence ended when it began."""
    session = server.join(1, "a")
    server.clock.advance(10)
    session.heard = 10.0
    ends(server, session)
    server.lives.write()
    assert (server.rows[-1]["how"], server.rows[-1]["left"]) == (how, EPOCH + 10)


def test_start_of_programs_is_told_where_it_is_known(server: Server) -> None:
    """From requests of late."""
    program = Program(mapper="cat", reducer=None, combiner=None)
    server.ledger.request_submitted(RequestId("r1"), Submission(program, ()), 0.0)
    session = server.join(1, "a")
    pace = server.ledger.requests[RequestId("r1")].pace(session.worker, Phase.MAP)
    pace.observe(10, 0.015, 0.01)
    server.lives.over(session, True)
    server.lives.write()
    assert server.rows[-1]["start"] == pace.start.estimate() == 0.015


def test_file_is_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one before is kept, and both are read."""
    monkeypatch.setattr(lives_log, "MOST_BYTES", 300)
    for number in range(4):
        session = server.join(number, f"w{number}")
        server.clock.advance(1)
        server.leave(session)
        server.lives.write()
    files = [server.folder / LIVES_NAME, server.folder / f"{LIVES_NAME}.1"]
    assert all(each.stat().st_size <= 500 for each in files)
    assert {each.stays[0].identity for each in read(server).lives} == {"w2/0", "w3/0"}


def test_what_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    """And work goes on."""
    server = Server(tmp_path / "nowhere")
    said: list[str] = []
    lives_log.log.observer, kept = lambda event: said.append(event["log_format"]), lives_log.log.observer
    try:
        for number in (1, 2):
            server.join(number, f"w{number}")
            server.lives.write()
        (tmp_path / "nowhere").mkdir()
        server.join(3, "w3")
        server.lives.write()
        os.remove(tmp_path / "nowhere" / LIVES_NAME)
    finally:
        lives_log.log.observer = kept
    assert len(said) == 1


def test_who_is_there_stays(server: Server) -> None:
    """Who has gone comes again when the time that was logged is over."""
    server.join(1, "stays")
    server.clock.advance(10)
    goes = server.join(2, "goes")
    server.clock.advance(30)
    goes.heard = 40.0
    server.leave(goes)
    server.clock.advance(60)
    server.join(3, "last")
    found = read(server)
    assert found.capacity_seconds == 100
    assert found.horizon == 400
    stays, goes_, _ = found.lives
    assert [(each.joins, each.ends) for each in stays.stays] == [(0, inf)]
    assert [(each.joins, each.ends) for each in goes_.stays] == [
        (10, 40),
        (110, 140),
        (210, 240),
        (310, 340),
    ]
    assert found.work.seconds == pytest.approx(130)


def test_seconds_may_be_told(server: Server) -> None:
    """The work is less then."""
    server.join(1, "a")
    server.clock.advance(100)
    server.join(2, "b")
    assert read(server, 20.0).work.seconds == pytest.approx(20)


def test_speeds_are_beside_the_median(server: Server) -> None:
    """And a slot is a machine."""
    for number, (worker, relative) in enumerate([("a", 0.0), ("b", 0.7), ("c", -0.7)]):
        session = server.join(number, worker, slots=2 if worker == "b" else 1)
        server.ledger.fleet.records[WorkerId(worker)].relative = relative
        server.clock.advance(1)
        server.leave(session)
    speeds = {each.stays[0].identity: each.speed for each in read(server).lives}
    assert speeds == {
        "a/0": pytest.approx(1),
        "b/0": pytest.approx(2.0138, rel=1e-3),
        "b/1": pytest.approx(2.0138, rel=1e-3),
        "c/0": pytest.approx(0.4966, rel=1e-3),
    }


def test_restart_of_the_server_is_no_ones_gap(server: Server) -> None:
    """Who comes back soon was there all the time; who does not has gone."""
    server.join(1, "back")
    server.join(2, "gone")
    server.clock.advance(50)
    server.lives.stop()
    server.ledger = Ledger()
    server.restart()
    server.clock.advance(10)
    server.join(1, "back")
    server.clock.advance(40)
    server.join(2, "new")
    back, gone, _ = read(server).lives
    assert [(each.joins, each.ends) for each in back.stays] == [(0, inf)]
    assert [(each.joins, each.ends, each.how) for each in gone.stays[:1]] == [(0, 50, "close")]


def test_what_a_killed_server_did_not_see_ends_with_it(server: Server) -> None:
    """At the last that it is known to have seen."""
    server.join(1, "a")
    server.clock.advance(30)
    server.leave(server.join(2, "b"))
    server.lives.write()
    server.ledger = Ledger()
    server.restart()
    server.clock.advance(600)
    server.join(1, "c")
    assert [(each.joins, each.ends) for each in read(server).lives[0].stays[:1]] == [(0, 30)]


def test_lines_that_were_cut_off_are_passed_over(server: Server) -> None:
    """By a full disk, or by a kill."""
    server.join(1, "a")
    server.lives.write()
    with (server.folder / LIVES_NAME).open("a") as file:
        file.write('{"run": 1.0, "sess\n[]\n{"run": 1}\n')
    assert len(read(server).lives) == 1


def test_what_tells_of_nobody_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one sentence."""
    assert simulate.main(["--from-log", str(tmp_path)]) == 2
    assert "lives.jsonl cannot be read: [Errno 2]" in capsys.readouterr().err
    (tmp_path / LIVES_NAME).write_text("")
    with pytest.raises(FleetError, match="tells of no worker: a server writes"):
        read_lived(tmp_path)
    assert simulate.main(["--from-log", str(tmp_path), "--seed", "3"]) == 2


def test_log_is_simulated(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """As any other fleet."""
    server.join(1, "a")
    server.clock.advance(5)
    server.join(2, "b")
    server.lives.write()
    assert simulate.main(["--from-log", str(server.folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["fleet"], told["workers"], told["capacity_seconds"]) == ("log", 2, 5.0)
