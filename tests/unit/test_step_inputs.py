"""What one step printed, read as one file by the next."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from hagoop import step_inputs
from hagoop.errors import Damaged
from hagoop.interfaces import IInputs
from hagoop.jobs import Piece, Place, RequestId
from hagoop.memory_spool import MemorySpool
from hagoop.step_inputs import StepInputs

SHELF = RequestId("r1.runs")
parts = st.lists(st.lists(st.sampled_from([b"a", b"\n", b"\r", b"long", b""]), max_size=8).map(b"".join))


def keep(spool: MemorySpool, data: bytes) -> Place:
    """Some bytes as a worker leaves them."""
    arriving = spool.receive(len(data))
    arriving.write(data)
    return spool.keep(SHELF, arriving.finish())[0]


def made_of(found: list[bytes]) -> StepInputs:
    spool = MemorySpool(Clock())
    return StepInputs("answer of step 1", [keep(spool, each) for each in found], spool)


def in_thread(function, *arguments):
    """At once, which is soon enough."""
    return succeed(function(*arguments))


def lines_of(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    return [each + b"\n" for each in lines[:-1]] + [each for each in lines[-1:] if each]


def test_keeps_to_the_interface() -> None:
    """As inputs that are files."""
    assert verifyObject(IInputs, made_of([b"a\n"]))


@given(parts, st.data())
def test_every_range_of_lines_is_where_it_would_be_in_one_file(found: list[bytes], data) -> None:
    """Whatever the parts and blocks, and wherever lines cross from one to the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_inputs, "BLOCK_BYTES", data.draw(st.sampled_from([3, 1 << 20])))
        inputs, text = made_of(found), b"".join(found)
    grown: list[int] = []
    counted: list[object] = []
    inputs.count(in_thread, lambda: grown.append(inputs.estimate)).addBoth(counted.append)
    lines = lines_of(text)
    assert counted == [None]
    assert (inputs.whole, inputs.lines, inputs.estimate) == (True, len(lines), len(lines))
    assert list(inputs.breaks) == ([0] if lines else [])
    start = data.draw(st.integers(0, len(lines)))
    end = data.draw(st.integers(start, len(lines)))
    wanted = b"".join(lines[start:end])
    if start == end:
        assert inputs.pieces(start, end) == []
        return
    [piece] = inputs.pieces(start, end)
    offset = len(b"".join(lines[:start]))
    assert piece == Piece("answer of step 1", start, end, start, offset, len(wanted))
    with inputs.open(piece) as file:
        assert file.read(5) == wanted[:5]
        assert file.read() == wanted[5:]


def test_lines_that_are_not_known_are_no_lines() -> None:
    """Before they are counted, and after the last."""
    inputs = made_of([b"a\n", b"b\n"])
    assert (inputs.whole, inputs.lines, list(inputs.breaks)) == (False, 0, [])
    assert inputs.estimate == 1
    with pytest.raises(ValueError, match="lines 0 to 1 are not among the 0"):
        inputs.pieces(0, 1)
    inputs.count(in_thread, lambda: None)
    with pytest.raises(ValueError, match="lines 1 to 3 are not among the 2"):
        inputs.pieces(1, 3)


def test_no_parts_are_no_lines() -> None:
    """And need no counting."""
    inputs = made_of([])
    assert (inputs.whole, inputs.lines, inputs.size, inputs.pieces(0, 0)) == (True, 0, 0, [])


def test_counting_stops_when_it_is_cancelled() -> None:
    """After the batch in hand, of which nothing is told."""
    inputs = made_of([b"a\n" * 5])
    waiting: list[Deferred[None]] = []

    def slowly(function):
        waiting.append(Deferred().addCallback(lambda _: function()))
        return waiting[-1]

    counting = inputs.count(slowly, lambda: pytest.fail("it was told"))
    counting.cancel()
    waiting.pop().callback(None)
    assert (waiting, inputs.lines) == ([], 0)
    counting.addErrback(lambda reason: reason.trap(CancelledError))


def test_estimate_grows_with_what_is_known(monkeypatch) -> None:
    """By the lines so far, or by a usual length."""
    monkeypatch.setattr(step_inputs, "BLOCK_BYTES", 10)
    monkeypatch.setattr(step_inputs, "batched", lambda blocks: ([each] for each in blocks))
    inputs = made_of([b"x" * 10, b"a\n" * 10, b"b\n" * 5])
    seen: list[tuple[int, int]] = []
    inputs.count(in_thread, lambda: seen.append((inputs.lines, inputs.estimate)))
    assert seen == [(0, 1), (5, 10), (10, 13), (15, 15)]


def test_parts_that_changed_are_found_out() -> None:
    """What was counted is not there."""
    inputs = made_of([b"a\nb\n"])
    inputs.count(in_thread, lambda: None)
    [place] = inputs.parts
    inputs.spool._kept[SHELF][place.path] = b"abcd"
    with pytest.raises(Damaged, match=r"run-0' of the spool, the answer of step 1, is damaged"):
        inputs.pieces(0, 1)
    inputs.spool._kept[SHELF][place.path] = b"a\nx\n"
    with pytest.raises(Damaged, match="is damaged"):
        inputs.open(Piece("it", 1, 2, 1, 2, 2)).read()


def test_parts_that_are_others_than_were_sent_are_found_out() -> None:
    """By their digests, before their last lines are counted."""
    spool = MemorySpool(Clock())
    places = [keep(spool, b"a\n"), keep(spool, b"b\n")]
    digests = [hashlib.sha256(each).hexdigest() for each in (b"a\n", b"x\n")]
    inputs = StepInputs("answer of step 1", places, spool, digests)
    problems: list[Failure] = []

    def at_once(function):
        return maybeDeferred(function)

    inputs.count(at_once, lambda: None).addErrback(problems.append)
    assert problems[0].check(Damaged)
    assert not inputs.whole
