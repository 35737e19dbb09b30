"""When so much of an input is mapped that the rest may be left out."""

ALL = 1_000_000
"""Shares are counted in parts of a million: no rounding decides when a request ends."""


def is_enough(done: int, total: int, good_enough: int) -> bool:
    """Whether lines may be left out now: some are not done, and the share of those that are suffices.

    :param good_enough: the share that suffices, in parts of a million.
    """
    return done < total and done * ALL >= good_enough * total
