"""Values cross the wire unchanged; what has not their form is refused with one sentence."""

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hagoop import wire
from hagoop.errors import BadMessage
from hagoop.jobs import (
    AssignmentId,
    Counter,
    Finished,
    Output,
    Phase,
    Place,
    Program,
    RequestId,
    Seen,
    Shipped,
    Source,
    Submission,
)

texts = st.text(max_size=8)
counts = st.integers(0, 2**70)
seconds = st.floats(0, allow_nan=False, allow_infinity=False)
places = st.builds(Place, texts, counts, counts)
outputs = st.builds(Output, counts, counts, texts, st.none() | places)
programs = st.builds(
    Program,
    mapper=st.none() | texts,
    reducer=st.none() | texts,
    files=st.lists(st.builds(Shipped, texts, texts, counts, st.booleans()), max_size=2).map(tuple),
    env=st.lists(st.tuples(texts, texts), max_size=2).map(tuple),
    ok_status=st.lists(st.integers(), max_size=2).map(tuple),
    timeout_seconds=seconds,
    attempts=st.integers(1),
)
submissions = st.builds(
    Submission, programs, st.lists(st.builds(Source, texts, texts), max_size=2).map(tuple), texts
)
counters = st.lists(st.builds(Counter, texts, texts, st.integers()), max_size=2).map(tuple)
jobs = st.builds(
    Finished,
    id=texts.map(AssignmentId),
    request=texts.map(RequestId),
    phase=st.sampled_from(Phase),
    round=counts,
    start=counts,
    end=counts,
    upload=texts,
    digest=texts,
    size=counts,
    seconds=seconds,
    counters=counters,
)


@attrs.frozen
class Strict:
    """A value with one field of each kind that needs care."""

    share: float = 0.0
    pair: tuple[int, str] = (0, "")
    phase: Phase = Phase.MAP
    maybe: int | None = None
    flag: bool = False


@given(st.one_of(outputs, submissions, jobs))
def test_value_crosses_the_wire_unchanged(value: Any) -> None:
    """What was encoded is decoded to an equal value of the same class."""
    assert wire.decode(type(value), wire.encode(value)) == value


@given(st.lists(outputs, max_size=3).map(tuple))
def test_tuple_of_values_crosses_the_wire_unchanged(values: tuple[Output, ...]) -> None:
    """A tuple arrives as a tuple of the same values."""
    assert wire.decode(tuple[Output, ...], wire.encode(values)) == values


def test_name_that_is_not_unicode_survives() -> None:
    """File names are bytes; ``os.fsdecode`` makes lone surrogates of some."""
    source = Source("server", b"caf\xe9".decode("utf-8", "surrogateescape"))
    assert wire.encode(source).isascii()
    assert wire.decode(Source, wire.encode(source)) == source


def test_encoded_value_has_no_needless_spaces() -> None:
    """Beats are many, so that each byte counts."""
    assert wire.encode(Seen(AssignmentId("1-1"), 2, 3, 4, 5)) == (
        b'{"id":"1-1","job_end":2,"taken":3,"bytes_out":4,"done":5}'
    )


def test_missing_field_takes_its_default() -> None:
    """An older peer may not know the newest field."""
    assert wire.from_plain(Strict, {}) == Strict()


def test_whole_number_stands_for_a_float() -> None:
    """JSON has no floats of its own; what arrives is one all the same."""
    found = wire.from_plain(Strict, {"share": 2}).share
    assert (found, type(found)) == (2.0, float)


def test_plain_dicts_and_lists_may_be_encoded_too() -> None:
    """A header is a dict with values in it."""
    held = {"pieces": [wire.to_plain(Place("a", 1, 2))]}
    assert json.loads(wire.encode(held)) == {"pieces": [{"path": "a", "offset": 1, "size": 2}]}


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5000, b"{'path': 1}"], ids=lambda data: data[:5]
)
def test_what_is_not_json_is_refused(data: bytes) -> None:
    """Neither broken text nor depth nor length reaches the caller as another error."""
    with pytest.raises(BadMessage, match="a message is not JSON"):
        wire.decode(Place, data)


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        ([], "a message has something else where a Strict should be"),
        ({"colour": 1}, "a Strict has no 'colour'"),
        ({"x" * 999: 1}, f"a Strict has no '{'x' * 40}'$"),
        ({"share": "1"}, "a message has a str where a float should be"),
        ({"share": True}, "a message has a bool where a float should be"),
        ({"share": None}, "a message has a NoneType where a float should be"),
        ({"share": float("nan")}, "a message has a float that is not finite"),
        ({"share": float("inf")}, "a message has a float that is not finite"),
        ({"share": 10**400}, "a message has a number too large for a float"),
        ({"pair": {}}, "a message has something else where a list should be"),
        ({"pair": [1]}, "a message has 1 values where 2 should be"),
        ({"pair": [1, 2]}, "a message has a int where a str should be"),
        ({"phase": "later"}, "a message has an unknown Phase"),
        ({"phase": []}, "a message has an unknown Phase"),
        ({"maybe": 1.5}, "a message has a float where a int should be"),
        ({"flag": 1}, "a message has a int where a bool should be"),
        ({"flag": None}, "a message has a NoneType where a bool should be"),
    ],
)
def test_value_of_another_form_is_refused(plain: Any, said: str) -> None:
    """The sentence says what is wrong, in bounded length."""
    with pytest.raises(BadMessage, match=said):
        wire.from_plain(Strict, plain)


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        ({"path": "a", "offset": 0}, "no sound Place: .*'size'"),
        ({"path": "a", "offset": -1, "size": 0}, "no sound Place: 'offset' must be >= 0"),
    ],
)
def test_value_that_is_incomplete_or_out_of_bounds_is_refused(plain: Any, said: str) -> None:
    """The classes' own validators hold for peers too."""
    with pytest.raises(BadMessage, match=said):
        wire.from_plain(Place, plain)


@given(st.recursive(st.none() | st.booleans() | st.floats() | texts, lambda x: st.lists(x, max_size=3)))
def test_whatever_comes_is_a_value_or_refused(plain: Any) -> None:
    """A stranger's JSON raises nothing but ``BadMessage``."""
    for cls in (Strict, Finished, Submission, Output):
        with pytest.raises(BadMessage):
            wire.decode(cls, json.dumps({"share": plain, "id": plain, "nothing": plain}).encode())


def test_endless_number_on_the_wire_is_refused() -> None:
    """``1e999`` is infinite once read."""
    with pytest.raises(BadMessage, match="not finite"):
        wire.decode(Strict, b'{"share":1e999}')
