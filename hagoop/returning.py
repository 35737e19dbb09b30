"""Workers that come back with what they hold, when others may have got it since."""

from collections.abc import Mapping

from hagoop.jobs import AssignmentId
from hagoop.leases import Lease, TakeBack
from hagoop.progress import Progress, Stretch
from hagoop.ranges import Range


def make_room(
    progress: Progress, leases: Mapping[AssignmentId, Lease], wanted: Range, now: float
) -> list[TakeBack]:
    """Free for its former holder what another was leased along with lines before it, and has not begun.

    It is asked to end there, and not waited for: what it does there nevertheless will not count.
    """
    stretch = _around(progress, wanted)
    if stretch is None or not progress.may_be_job(wanted):
        return []
    holders = [leases[each] for each in stretch.holders]
    if any(each.job_stop > wanted.start for each in holders):
        return []
    progress.shorten(stretch, wanted.start)
    return [each.give_way(wanted.start, now) for each in holders]


def _around(progress: Progress, wanted: Range) -> Stretch | None:
    """The stretch in the middle of which a range begins, if what is not in it is free."""
    for each in progress.stretches:
        beyond = Range(min(each.end, wanted.end), wanted.end)
        if each.front < wanted.start < each.end and beyond in progress.untouched:
            return each
    return None
