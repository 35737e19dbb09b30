"""Requests that are dropped: on a disk that is full, and when they are old; nothing else is."""

import errno
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from attrs import define, field
from test_sessions import Site
from twisted.internet.defer import Deferred

from hagoop import commands
from hagoop.errors import UnknownRequest
from hagoop.forgetting import forget_old
from hagoop.jobs import RequestId, State
from hagoop.journal import MemoryJournal, MemoryStore
from hagoop.memory_spool import MemorySpool
from hagoop.rows import Write

DAY = 86_400.0


@define(eq=False)
class House:
    """A server in memory, and its disk.

    :ivar fills: whether the disk is full as soon as a request has ended.
    """

    is_full: bool = False
    fills: bool = False
    site: Site = field(factory=Site)

    def check(self, writes: Sequence[Write]) -> None:
        """There must be room."""
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.is_full = self.fills and any(each.kind == "ended" for each in writes)

    def run(self) -> RequestId:
        """A request that ends well."""
        client, worker = self.site.client(), self.site.worker()
        request = self.site.submit(client, f"k{len(self.site.docket.data)}")
        while self.site.status(client, request).state is State.RUNNING:
            assert self.site.commit(worker, self.site.job(self.site.ask(worker)))[0]
        return RequestId(request)

    def forget(self, request: str) -> "Deferred[Any]":
        """A client asks for it."""
        return self.site.ask_for(self.site.client(), commands.ForgetRequest, request=request)

    @property
    def streams(self) -> set[str]:
        """What the journal tells of."""
        return {stream for stream, _, _ in self.site.docket.journal.replay()}


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """One whose disk may be full; its ledger is sound at the end."""
    made, commit = House(), MemoryStore.commit

    def write(store: MemoryStore, writes: Sequence[Write]) -> None:
        made.check(writes)
        commit(store, writes)

    monkeypatch.setattr(MemoryStore, "commit", write)
    yield made
    made.site.scheduler.ledger.check()


def test_forgetting_waits_for_room(house: House) -> None:
    """Nothing is forgotten in memory alone; who asks again meanwhile waits too."""
    site, request = house.site, house.run()
    kept = site.spool.used_bytes
    house.is_full = True
    waiting = [house.forget(request), house.forget(request)]
    site.wires.advance(3)
    assert [each.called for each in waiting] == [False, False]
    assert (site.status(site.client(), request).state, site.spool.used_bytes) == (State.DONE, kept)
    house.is_full = False
    site.wires.advance(2)
    assert [site.wires.result(each) for each in waiting] == [{"request": request}] * 2
    # Its number is not given again.
    assert (site.spool.used_bytes, house.streams) == (0, {f"{request}.gone"})
    with pytest.raises(UnknownRequest, match=f"there is no request '{request}'"):
        site.wires.result(house.forget(request))


@pytest.mark.parametrize("command", [commands.CancelRequest, commands.ForgetRequest])
def test_what_has_ended_gives_back_its_runs_on_a_full_disk(
    house: House, command: type[commands.Command]
) -> None:
    """They are what makes room."""
    site = house.site
    client = site.client()
    request = RequestId(site.submit(client))
    shelf = site.docket.data[request].runs_shelf
    arriving = site.spool.receive(8)
    arriving.write(b"of a run")
    site.spool.keep(shelf, arriving.finish())
    site.wires.result(site.docket.journal.append(shelf, "committed", {}))
    house.fills = True
    ending = site.ask_for(client, command, request=request)
    assert (site.spool.size_of(shelf), shelf in house.streams) == (0, True)
    house.is_full = False
    site.wires.advance(2)
    site.wires.result(ending)
    assert shelf not in house.streams


def test_rows_of_runs_go_before_their_request(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even while its end still waits for their files: a new server could not tell whose they are."""
    site = house.site
    request = RequestId(site.submit(site.client()))
    shelf = site.docket.data[request].runs_shelf
    site.wires.result(site.docket.journal.append(shelf, "committed", {}))
    forget, slow = MemorySpool.forget, Deferred[None]()
    monkeypatch.setattr(
        MemorySpool, "forget", lambda spool, of: slow if of == shelf else forget(spool, of)
    )
    site.docket.fail(request, "as programs do")
    forgetting = house.forget(request)
    site.wires.advance(0)
    assert house.streams == {f"{request}.gone"}
    slow.callback(None)
    site.wires.result(forgetting)
    assert house.streams == {f"{request}.gone"}


def test_rows_of_runs_go_first_at_a_restart_too(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a request that took its beginning from another: it may be interrupted once more."""
    dropped, forget = list[str](), MemoryJournal.forget
    monkeypatch.setattr(
        MemoryJournal, "forget", lambda journal, of: (dropped.append(of), forget(journal, of))[1]
    )
    house.site.docket.found_forgotten(RequestId("r7"), is_partial=True)
    house.site.wires.advance(1)
    assert dropped == ["r7.runs", "r7"]


def test_lender_gets_back_its_shelves_on_a_full_disk(house: House) -> None:
    """Whoever has read them has ended."""
    site = house.site
    lender, request = (RequestId(site.submit(site.client(), key)) for key in ("lender", "borrower"))
    lent = site.docket.data[request].lender = site.docket.data[lender]
    lent.borrowers = 1
    house.fills = True
    site.wires.result(site.wires.start(site.docket.cancel(request)))
    assert lent.borrowers == 0


def test_old_are_forgotten_one_by_one(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot be does not keep the others, nor what is old later."""
    site = house.site
    first, second = house.run(), house.run()
    forget = MemorySpool.forget

    def fail(spool: MemorySpool, shelf: RequestId) -> "Deferred[None]":
        if shelf == first:
            raise OSError(errno.EIO, "Input/output error")
        return forget(spool, shelf)

    monkeypatch.setattr(MemorySpool, "forget", fail)
    site.wires.clock.advance(8 * DAY)
    site.wires.result(site.wires.start(forget_old(site.docket, 7 * DAY)))
    assert second not in site.docket.data
