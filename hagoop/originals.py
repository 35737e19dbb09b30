"""Programs of the original interface: they open a file themselves and go to their lines in it."""

from pathlib import Path

from attrs import evolve

from hagoop.feeding import Feed
from hagoop.in_place import SharedFile
from hagoop.workbench import Task, Workbench


async def original_task(
    bench: Workbench, task: Task, feed: Feed, numbers: range, shared: SharedFile | None
) -> Task:
    """``BINARY map FILE START END OFFSET``: on the user's own file if it is shared, else on a copy.

    :param task: BINARY, fed with nothing.
    :param numbers: of the lines in their file; a copy's are counted.
    :raises TransferFailed: the file has changed.
    """
    copy = None if shared is not None and shared.serves(feed) else bench.new_path("job")
    if copy is not None:
        lines = await _copy(bench, feed, copy, shared)
        numbers = range(numbers.start, numbers.start + lines)
        feed = Feed(copy, 0, feed.end - feed.offset)
    places = map(str, (feed.path, numbers.start, numbers.stop, feed.offset))
    return evolve(task, argv=(*task.argv, task.phase, *places), reads=feed, copy=copy)


async def _copy(bench: Workbench, feed: Feed, copy: Path, shared: SharedFile | None) -> int:
    try:
        return await bench.copy(feed, copy)
    except BaseException:
        bench.discard(copy)
        if shared is not None:
            await shared.check()
        raise
