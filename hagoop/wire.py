"""Frozen values as JSON and back, checked: what comes from a peer or a disk is not trusted.

The classes of ``hagoop/jobs.py`` say what is allowed; this only follows their annotations.
"""

import json
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from math import isfinite
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import attrs

from hagoop.errors import BadMessage

T = TypeVar("T")
PLAIN = (int, str, bool)
"""What JSON has itself, and needs no other look."""

# ``Any`` here is JSON: what it really is, is found out below.


def to_plain(value: Any) -> Any:
    """A value as dicts, lists, strings and numbers."""
    if attrs.has(type(value)):
        return {each.name: to_plain(getattr(value, each.name)) for each in attrs.fields(type(value))}
    if isinstance(value, tuple | list):
        return [to_plain(each) for each in value]
    return value


def from_plain(cls: type[T], plain: Any) -> T:
    """The value that ``plain`` stands for.

    :raises BadMessage: it has not the form of ``cls``.
    """
    made: T = _structure(cls, plain)
    return made


def encode(value: Any) -> bytes:
    """A value as compact JSON; text that is not Unicode (file names) survives."""
    return json.dumps(to_plain(value), separators=(",", ":")).encode("ascii")


def decode(cls: type[T], data: bytes) -> T:
    """The value that JSON stands for.

    :raises BadMessage: it is no JSON, or not of this form.
    """
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadMessage("a message is not JSON") from error
    return from_plain(cls, plain)


@lru_cache
def _hints(cls: type[Any]) -> Mapping[str, Any]:
    """What each field of a class is to be; looked up once, for a start reads facts by the 100,000."""
    hints = get_type_hints(cls)
    return {each: getattr(hints[each], "__supertype__", hints[each]) for each in attrs.fields_dict(cls)}


def _structure(wanted: Any, plain: Any) -> Any:
    if wanted in PLAIN and type(plain) is wanted:
        return plain
    wanted = getattr(wanted, "__supertype__", wanted)
    origin = get_origin(wanted)
    if origin is tuple:
        return _structure_tuple(get_args(wanted), plain)
    if origin is UnionType:
        return _structure_optional(get_args(wanted), plain)
    if attrs.has(wanted):
        return _structure_class(wanted, plain)
    return _structure_scalar(wanted, plain)


def _structure_tuple(kinds: tuple[Any, ...], plain: Any) -> tuple[Any, ...]:
    if not isinstance(plain, list):
        raise BadMessage("a message has something else where a list should be")
    if kinds[-1] is Ellipsis:
        return tuple(_structure(kinds[0], each) for each in plain)
    if len(kinds) != len(plain):
        raise BadMessage(f"a message has {len(plain)} values where {len(kinds)} should be")
    return tuple(_structure(kind, each) for kind, each in zip(kinds, plain, strict=True))


def _structure_optional(kinds: tuple[Any, ...], plain: Any) -> Any:
    if plain is None and NoneType in kinds:
        return None
    return _structure(next(each for each in kinds if each is not NoneType), plain)


def _structure_class(cls: Any, plain: Any) -> Any:
    if not isinstance(plain, dict):
        raise BadMessage(f"a message has something else where a {cls.__name__} should be")
    hints = _hints(cls)
    if unknown := sorted(plain.keys() - hints.keys()):
        raise BadMessage(f"a {cls.__name__} has no {unknown[0][:40]!r}")
    try:
        return cls(**{name: _structure(hints[name], value) for name, value in plain.items()})
    except (TypeError, ValueError) as error:
        raise BadMessage(f"a message has no sound {cls.__name__}: {error}") from error


def _structure_scalar(wanted: Any, plain: Any) -> Any:
    if wanted is float and type(plain) in (int, float):
        return _structure_float(plain)
    if isinstance(wanted, type) and issubclass(wanted, StrEnum):
        try:
            return wanted(plain)
        except ValueError as error:
            raise BadMessage(f"a message has an unknown {wanted.__name__}") from error
    if type(plain) is not wanted:
        raise BadMessage(f"a message has a {type(plain).__name__} where a {wanted.__name__} should be")
    return plain


def _structure_float(plain: float) -> float:
    """JSON's ``Infinity``, ``NaN`` and ``1e999`` are no measurements."""
    try:
        made = float(plain)
    except OverflowError as error:
        raise BadMessage("a message has a number too large for a float") from error
    if not isfinite(made):
        raise BadMessage("a message has a float that is not finite")
    return made
