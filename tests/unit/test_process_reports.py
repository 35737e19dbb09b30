"""What a program writes to stderr."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hagoop.jobs import Counter
from hagoop.reports import Excerpt, Reports, clean


def told(*pieces: bytes, limit: int = 65536) -> Reports:
    reports = Reports(limit)
    for piece in pieces:
        reports.feed(piece)
    reports.close()
    return reports


def test_counters_are_summed_and_leave_the_log():
    """Amounts of one name add up; they may be negative."""
    counters = b"reporter:counter:G,N,3\nreporter:counter:G,N,-1\nreporter:counter:G,M,7\n"
    reports = told(b"one\n" + counters + b"two\n")
    assert reports.counters == (Counter("G", "N", 2), Counter("G", "M", 7))
    assert reports.log == "one\ntwo\n"


def test_newest_status_wins():
    """A status replaces the one before and is no log."""
    reports = told(b"reporter:status:reading\nreporter:status:writing \x1b[31mfast\n")
    assert (reports.status, reports.log) == ("writing [31mfast", "")


@pytest.mark.parametrize(
    "line",
    [
        b"reporter:counter:G,N,x\n",
        b"reporter:counter:G,N\n",
        b"reporter:counter:G,N,1,2\n",
        b"reporter:counter:,N,1\n",
        b"reporter:counter:G,N,1_0\n",
        b"reporter:counter:G,N," + b"9" * 30 + b"\n",
        b"reporter:counter:" + b"G" * 300 + b",N,1\n",
        b" reporter:counter:G,N,1\n",
        b"reporter:other:G\n",
    ],
)
def test_malformed_report_is_log(line):
    """What is no counter and no status is kept as it is."""
    reports = told(line)
    assert (reports.counters, reports.log) == ((), line.decode())


def test_too_many_counters_are_log():
    """A program cannot make the worker remember names without end."""
    reports = told(b"".join(b"reporter:counter:G,N%d,1\n" % number for number in range(130)))
    assert len(reports.counters) == 120
    assert reports.log.count("\n") == 10


PARTS = [b"a", b"\n", b"reporter:", b"counter:G,N,1", b"status:s", b"\r"]


@given(st.lists(st.sampled_from(PARTS)), st.data())
def test_pieces_do_not_matter(parts, data):
    """However the bytes are cut, the same is read."""
    text = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole, cut = told(text), told(*pieces)
    assert (whole.counters, whole.status, whole.log) == (cut.counters, cut.status, cut.log)


def test_long_line_is_log_in_bounded_memory():
    """A line without an end is not kept, and its rest is not taken for a report."""
    reports = Reports(1000)
    for _ in range(100):
        reports.feed(b"x" * 65536)
        assert len(reports._rest) <= 65536
    reports.feed(b"reporter:counter:G,N,1\nreporter:counter:G,M,1\n")
    reports.close()
    assert reports.counters == (Counter("G", "M", 1),)
    assert "bytes left out" in reports.log


def test_log_keeps_head_and_tail():
    """A line in the middle tells how much is missing."""
    excerpt = Excerpt(10)
    excerpt.add(b"abcdefgh")
    excerpt.add(b"ijklmnopqrstuvwxyz")
    assert excerpt.kept() == b"abcde\n... 16 bytes left out ...\nvwxyz"


@given(st.integers(0, 40), st.lists(st.binary(max_size=30)))
def test_excerpt_is_whole_up_to_its_limit(limit, parts):
    """Nothing is lost that fits, and what is kept is a head and a tail."""
    excerpt, text = Excerpt(limit), b"".join(parts)
    for part in parts:
        excerpt.add(part)
    kept = excerpt.kept()
    if len(text) <= limit:
        assert kept == text
    else:
        assert kept.startswith(text[: limit // 2])
        assert kept.endswith(text[len(text) - (limit - limit // 2) :])
        assert b"... %d bytes left out ..." % (len(text) - limit) in kept


def test_control_characters_are_stripped():
    """Nothing that a terminal would obey is left; newline and TAB are."""
    assert clean(b"\x1b[2Ja\tb\r\nc\x00\x7f\xc2\x9bd\xff") == "[2Ja\tb\ncd\N{REPLACEMENT CHARACTER}"
