"""Programs that the server's disk has lost: who needs them is told, and they can be brought again."""

import hashlib
from collections.abc import Iterator
from typing import Any, cast

import pytest
from attrs import define, evolve, field
from test_sessions import CAT, ORDER, Site

from hagoop import commands
from hagoop.errors import BadProgram, HaGoopError
from hagoop.grants import AssignmentGrant
from hagoop.jobs import Shipped, State
from hagoop.mending import Mending
from hagoop.server import Source

BYTES = b"#!/bin/sh\n" * 100_000
DIGEST = hashlib.sha256(BYTES).hexdigest()
SHIPPED = Shipped("map.sh", DIGEST, len(BYTES), True)


@define(eq=False)
class Library:
    """A server that keeps one program, a request that ships it, and a worker that works for it."""

    site: Site = field(factory=Site)
    source: Source = field(init=False)
    grant: AssignmentGrant = field(init=False)

    def __attrs_post_init__(self) -> None:
        site = self.site
        self.source = Source(site.docket, cast(Any, site.spool), Mending(site.docket))
        arriving = site.spool.receive(len(BYTES))
        arriving.write(BYTES)
        site.spool.keep_blob(arriving.finish())
        site.submit(site.client(), "k", evolve(ORDER, program=evolve(CAT, files=(SHIPPED,))))
        grant = site.grants.find(site.ask(site.worker()).grant)
        assert isinstance(grant, AssignmentGrant)
        self.grant = grant

    def fetch(self) -> bytes:
        """What a worker gets of the program; what goes wrong is told as the web endpoint does."""
        got = b""
        try:
            for each in self.source.program(SHIPPED):
                got += each
        except HaGoopError as problem:
            self.source.unreadable(self.grant, problem)
            self.site.wires.settle()
            raise
        return got

    @property
    def state(self) -> State:
        """Of the request."""
        return self.site.status(self.site.client()).state


@pytest.fixture
def library() -> Iterator[Library]:
    made = Library()
    yield made
    made.site.scheduler.ledger.check()


def test_sound_program_is_given(library: Library) -> None:
    """Byte for byte."""
    assert library.fetch() == BYTES
    assert library.state is State.RUNNING


@pytest.mark.parametrize("found", [None, b"", BYTES[:-1], b"?" + BYTES[1:]])
def test_program_that_is_not_what_it_was_fails_the_request(
    library: Library, found: bytes | None
) -> None:
    """By name; the next who ships it is asked to bring it."""
    site = library.site
    if found is None:
        del site.spool._blobs[DIGEST]
    else:
        site.spool._blobs[DIGEST] = found
    with pytest.raises(BadProgram):
        library.fetch()
    status = site.status(site.client())
    assert (status.state, status.message) == (
        State.FAILED,
        "map.sh was lost or damaged on the server's disk; submit the request again",
    )
    uploaded = site.call(site.client(), commands.Upload, digest=DIGEST, size=len(BYTES))
    assert not uploaded["have"]
