"""What is missing and what is there are all of the input: every line, and every byte of every file."""

from io import BytesIO

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import succeed

from hagoop.cells import Cells
from hagoop.found import walk
from hagoop.inputs import FileInputs, MemoryInputs
from hagoop.jobs import Cover, Keys, Missing, Output, Piece
from hagoop.missing import cover_of, gaps, later_without, missing_keys, missing_lines, ranges_of
from hagoop.ranges import Range
from hagoop.source_files import files_in_place

LINE = st.sampled_from([b"", b"a", b"\t", b"\r", b"\xff\x00", b"long" * 40])
PIECE = Piece("a", 3, 5, 3, 30, 20)


@st.composite
def texts(draw):
    """Files, some empty, some without a last newline."""
    made = []
    for number in range(draw(st.integers(1, 4))):
        data = b"\n".join(draw(st.lists(LINE, max_size=8)))
        made.append((f"file-{number}", data + b"\n" if draw(st.booleans()) else data))
    return made


def in_files(folder, made):
    """Inputs read where they are."""
    for name, data in made:
        (folder / name).write_bytes(data)
    found = list(walk([folder / name for name, _ in made]))
    named = [evolve(each, name=name) for each, (name, _) in zip(found, made, strict=True)]
    inputs = FileInputs(list(files_in_place(named)))
    inputs.build(None, lambda: None, lambda work: succeed(work()))
    return inputs


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=texts(), chance=st.randoms(use_true_random=False))
def test_missing_and_present_are_the_whole_input(tmp_path, made, chance):
    """Bytes cut out of the files where the list says are the lines that are missing."""
    for inputs in (MemoryInputs(made), in_files(tmp_path, made)):
        check_missing(inputs, made, chance)


def check_missing(inputs, made, chance):
    """Leave out any lines, and compare with the files."""
    lines = [line for _, text in made for line in BytesIO(text)]
    there = [chance.random() < 0.5 for _ in lines]
    outputs = [Output(at, at + 1, "", None) for at, each in enumerate(there) if each]
    ranges = gaps(outputs, len(lines))
    missing = missing_lines(inputs, ranges)
    texts_ = dict(made)
    cut = [texts_[each.piece.name][each.piece.offset :][: each.piece.length] for each in missing]
    assert b"".join(cut) == b"".join(line for line, each in zip(lines, there, strict=True) if not each)
    for each in missing:
        before = texts_[each.piece.name][: each.piece.offset]
        assert each.piece.file_line == before.count(b"\n")
    assert [at for each in ranges_of(missing) for at in range(each.start, each.end)] == [
        at for at, each in enumerate(there) if not each
    ]
    cover = cover_of(inputs, missing)
    assert cover == Cover(
        len(missing),
        sum(there),
        len(lines),
        sum(len(line) for line, each in zip(lines, there, strict=True) if each),
        sum(len(text) for _, text in made),
    )


def test_gaps_are_before_between_and_behind():
    """Outputs that touch leave none."""
    outputs = [Output(2, 3, "", None), Output(3, 5, "", None), Output(7, 8, "", None)]
    assert gaps(outputs, 9) == (Range(0, 2), Range(5, 7), Range(8, 9))
    assert gaps([], 3) == (Range(0, 3),)
    assert gaps([], 0) == gaps([Output(0, 3, "", None)], 3) == ()


def test_keys_of_cells_go_from_bound_to_bound():
    """The last cell has no end."""
    cells = Cells((b"", b"b", b"\xff"), (0, 1, 2, 3))
    found = missing_keys(cells, [Range(0, 2), Range(2, 3)])
    assert [each.keys for each in found] == [Keys("", "\xff"), Keys("\xff", None)]


def test_what_is_missing_later_is_told_apart():
    """The lines that are covered are as many as before."""
    keys = [Missing(None, Keys("a", "b"))]
    assert later_without(None, keys) == Cover(1, later=True)
    assert later_without(Cover(2, 8, 10, 80, 100), keys) == Cover(3, 8, 10, 80, 100, later=True)


@pytest.mark.parametrize("parts", [(None, None), (PIECE, Keys("", None))])
def test_a_part_is_lines_or_keys(parts):
    """Not both, nor neither."""
    with pytest.raises(ValueError, match="lines are missing, or keys"):
        Missing(*parts)
