"""When a request may leave lines out: at its share exactly, and what the ledger does then."""

from fractions import Fraction

import pytest
from attrs import evolve
from books import Books, finished, output, submission
from hypothesis import given
from hypothesis import strategies as st

from hagoop.enough import ALL, is_enough
from hagoop.jobs import Phase, RequestId
from hagoop.leases import Cancel, PhaseEnded
from hagoop.ranges import Range

ID = RequestId("r1")


@given(st.integers(0, 10**15), st.integers(0, 10**15), st.integers(1, ALL))
def test_share_is_met_exactly(done, total, good_enough):
    """No rounding; and who has all leaves nothing out."""
    met = total > 0 and Fraction(done, total) >= Fraction(good_enough, ALL)
    assert is_enough(done, total, good_enough) == (met and done < total)


@pytest.fixture
def books():
    """A ledger that is sound at the end."""
    made = Books()
    yield made
    made.ledger.check()


def begin(books, good_enough=800_000, lines=10, *, whole=True):
    """A request that is content with so much."""
    asked = evolve(submission(), good_enough=good_enough)
    request = books.ledger.request_submitted(ID, asked, books.now)
    books.ledger.phase_began(ID, Phase.MAP, 0, None)
    books.ledger.lines_counted(ID, lines, lines, (0,), whole=whole)
    return request


def test_map_closes_when_its_share_is_on_disk(books):
    """Who works on the rest is told to stop, and nothing of it counts any more."""
    request = begin(books)
    first, second = books.join("w1"), books.join("w2")
    done, rest = books.hold(first, 0, 8), books.hold(second, 8, 10)
    assert books.commit(done, 7) == []
    decisions = books.commit(done, 8)
    assert decisions == [Cancel(second, rest.id, "enough of it is done"), PhaseEnded(ID)]
    assert (request.left_out, request.progress, request.leases) == ((Range(8, 10),), None, 0)
    assert books.rejected(second, finished(rest, 8, 10))
    assert [(each.start, each.end) for each in request.outputs[Phase.MAP]] == [(0, 7), (7, 8)]


def test_map_does_not_close_before_all_lines_are_counted(books):
    """A share of what?"""
    request = begin(books, whole=False)
    assert books.commit(books.hold(books.join(), 0, 10)) == []
    assert books.ledger.lines_counted(ID, 13, 13, (0,), whole=True) == []
    assert books.commit(books.hold(books.join("w2"), 12, 13)) == [PhaseEnded(ID)]
    assert request.left_out == (Range(10, 12),)


def test_closed_map_waits_for_what_was_accepted(books):
    """It is not on disk yet, and will be."""
    request = begin(books, 500_000)
    first, second = books.join("w1"), books.join("w2")
    done, accepted = books.hold(first, 0, 5), books.hold(second, 5, 6)
    late = finished(accepted, 5, 6)
    progress, _ = books.ledger.job_committed(second, late, books.now)
    assert books.commit(done) == []
    books.ledger.check()
    assert books.refused(first)
    assert books.ledger.output_stored(ID, progress, output(late)) == [PhaseEnded(ID)]
    assert request.left_out == (Range(6, 10),)


def test_later_steps_and_phases_leave_nothing_out(books):
    """The share is one of the input's lines."""
    books.ledger.request_submitted(ID, evolve(submission(), good_enough=1), books.now)
    books.ledger.phase_began(ID, Phase.REDUCE, 0, tuple(range(11)))
    assert books.commit(books.hold(books.join(), 0, 9)) == []
    two_steps = evolve(submission(), good_enough=1, then=(submission().program,))
    other = books.ledger.request_submitted(RequestId("r2"), two_steps, books.now)
    other.begin_step(1)
    books.ledger.phase_began(other.id, Phase.MAP, 1, None)
    books.ledger.lines_counted(other.id, 10, 10, (0,), whole=True)
    assert books.commit(books.hold(books.join("w2"), 0, 9, "r2")) == []


def test_all_lines_are_nothing_left_out(books):
    """Also where less would do: the last commit was as large as that."""
    request = begin(books, 1)
    assert books.commit(books.hold(books.join(), 0, 10)) == [PhaseEnded(ID)]
    assert request.left_out == ()
