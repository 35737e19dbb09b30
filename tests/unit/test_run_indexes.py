"""Indexes of runs: remembered as far as there is memory, else read again."""

from hagoop.jobs import Place
from hagoop.run_indexes import RunIndexes
from hagoop.runs import ENTRY_MEMORY_BYTES, Entry, RunIndex


def index(entries: int) -> RunIndex:
    """One with so many entries, which begin at keys of two bytes."""
    made = [Entry(b"%02d" % number, number, 1, True) for number in range(entries)]
    return RunIndex(tuple(made), entries)


def test_indexes_are_read_again_when_there_is_no_room() -> None:
    """The first ones stay; what was read is as good as what was kept."""
    indexes = RunIndexes(3 * (ENTRY_MEMORY_BYTES + 2))
    places = [Place(f"run-{number}", 0, 1) for number in range(3)]
    for each in places:
        indexes.keep(each, index(2))
        indexes.keep(each, index(2))
    read = []

    def get(place: Place) -> RunIndex:
        return indexes.get(place, lambda: read.append(place) or index(2))  # type: ignore[func-returns-value]

    assert [get(each) for each in places] == [index(2)] * 3
    assert read == places[1:]
    indexes.clear()
    get(places[2])
    get(places[2])
    assert read == [*places[1:], places[2]]


def test_step_makes_all_of_them_fit() -> None:
    """None is thinned as long as there is room."""
    assert [RunIndexes(100).step_for(memory) for memory in (0, 100, 101, 1000)] == [1, 1, 2, 10]


def test_index_is_as_large_as_it_is_said_to_be() -> None:
    """Long bounds count."""
    assert index(3).memory_bytes == 3 * ENTRY_MEMORY_BYTES + 6
    assert index(5).thinned(2) == RunIndex(
        (Entry(b"00", 0, 2, True), Entry(b"02", 2, 2, True), Entry(b"04", 4, 1, True)), 5
    )
