"""What is read of an input is what was submitted, whatever happens to its file at whatever moment."""

import errno
import hashlib
import io
import os
import zlib
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from hagoop.bundles import Bundle
from hagoop.checked import BLOCK_BYTES, open_part, read_block
from hagoop.counting import count_blocks
from hagoop.errors import NoSuchInput
from hagoop.found import look
from hagoop.source_files import SourceFile, files_in_place

TEXT = b"".join(b"line %d\n" % each for each in range(50_000))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of more than two blocks, an hour old."""
    made = tmp_path / "input"
    made.write_bytes(TEXT)
    os.utime(made, (1e9, 1e9))
    return made


def source_of(path: Path) -> SourceFile:
    [found] = list(files_in_place([look("input", str(path))]))
    return found


def rewrite(path: Path) -> None:
    with open(path, "r+b") as file:
        file.write(b"LINE")


def grow(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"more\n")


CHANGES = [rewrite, grow, lambda path: os.truncate(path, 10), os.utime]


@pytest.mark.parametrize("change", CHANGES, ids=["rewritten", "grown", "truncated", "touched"])
def test_no_byte_is_given_after_a_change(path: Path, change: Callable[[Path], object]) -> None:
    """Between the look at a file and the reading of it, or between two reads."""
    source = source_of(path)
    with open_part(source, None, 8, len(TEXT) - 8) as file:
        assert file.read(8192) == TEXT[8 : 8 + 8192]
        change(path)
        with pytest.raises(NoSuchInput, match="'input' changed while the request ran"):
            file.read(BLOCK_BYTES)
    with pytest.raises(NoSuchInput, match="'input' changed while the request ran"):
        open_part(source, None, 0, 8)


@pytest.mark.parametrize("change", [os.unlink, lambda path: path.rename(path.with_name("other"))])
def test_file_whose_name_is_gone_is_read_to_its_end(path: Path, change) -> None:
    """Once it is open it is the one that was submitted; who comes later is told."""
    source = source_of(path)
    with open_part(source, None, 0, len(TEXT)) as file:
        change(path)
        path.with_name("new").write_bytes(b"other")
        assert file.read() == TEXT
    with pytest.raises(NoSuchInput, match="'input' could be read at first and cannot be now"):
        open_part(source, None, 0, 8)


@pytest.mark.parametrize("change", CHANGES, ids=["rewritten", "grown", "truncated", "touched"])
def test_change_while_lines_are_counted_is_noticed(path: Path, change) -> None:
    """In the middle of a file."""
    counting = count_blocks([source_of(path)])
    next(counting)
    change(path)
    with pytest.raises(NoSuchInput, match="'input' changed while the request ran"):
        list(counting)


def spooled(path: Path) -> tuple[SourceFile, "array[int]"]:
    """The same as an upload, and the checksums of its blocks."""
    source = SourceFile("input", str(path), 7, len(TEXT) - 7)
    return source, array("L", [each.checksum for each in count_blocks([source]) if each.checksum])


@pytest.mark.parametrize("at", [7, 5000, BLOCK_BYTES + 20, len(TEXT) - 1])
def test_no_byte_of_a_damaged_upload_is_given(path: Path, at: int) -> None:
    """Of no block that is not as it was counted, whatever size and age say."""
    source, sums = spooled(path)
    assert len(sums) == 3
    with open_part(source, sums, 3, len(TEXT) - 10) as file:
        assert file.read() == TEXT[10:]
        file.seek(-4, os.SEEK_END)
        assert (file.tell(), file.read(4)) == (len(TEXT) - 14, TEXT[-4:])
    data = bytearray(TEXT)
    data[at] ^= 1
    path.write_bytes(data)
    os.utime(path, (1e9, 1e9))
    with open_part(source, sums, 0, source.size) as file, pytest.raises(NoSuchInput, match="damaged"):
        file.read()
    with open(path, "rb", buffering=0) as file:
        bad = (at - 7) // BLOCK_BYTES
        for number in {0, 1, 2} - {bad}:
            assert zlib.crc32(read_block(source, file, number, sums)) == sums[number]
        with pytest.raises(NoSuchInput, match="'input' was damaged on the server's disk"):
            read_block(source, file, bad, sums)


class Failing(io.FileIO):
    """A file on a disk, or at a server, that fails."""

    def readinto(self, buffer: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def fails(*_: object) -> bytes:
    """So does this."""
    raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))


def test_file_that_cannot_be_read_any_more_is_named(path: Path, monkeypatch) -> None:
    """What the system says is no error of ours: whoever reads knows what to do with it."""
    source = source_of(path)
    monkeypatch.setattr("hagoop.checked.os.pread", fails)
    with Failing(path) as file:
        monkeypatch.setattr("hagoop.checked.opened", lambda _: file)
        with pytest.raises(NoSuchInput, match=r"'input' could .* cannot be now: stale file handle"):
            read_block(source, file, 0)
        with open_part(source, None, 0, 8) as part, pytest.raises(NoSuchInput, match="input/output"):
            part.read()


def test_empty_file_between_uploads_tells_nothing_of_them(tmp_path: Path) -> None:
    """It may lie at the end of an upload that was read long before, and that is sound all the same."""
    for name, text in (("small", b"1\n2\n"), ("large", TEXT)):
        (tmp_path / name).write_bytes(text)
    small, large = (str(tmp_path / name) for name in ("small", "large"))
    sizes = [(small, 0, 4), (large, 0, len(TEXT)), (small, 4, 0)]
    files = [SourceFile(f"file-{number}", *each) for number, each in enumerate(sizes)]
    digests = [hashlib.sha256(each).hexdigest() for each in (b"1\n2\n", TEXT, b"")]
    sound = [Bundle(*each, digest) for each, digest in zip(sizes, digests, strict=True)]
    assert sum(each.lines or 0 for each in count_blocks(files, None, sound)) == 2 + TEXT.count(b"\n")


def test_upload_is_what_came_before_its_last_lines_are_known(path: Path) -> None:
    """A start looks at all of it: several files in one upload, the last one empty, too."""
    digest = hashlib.sha256(TEXT[7:]).hexdigest()
    cut = [SourceFile("one", str(path), 7, 100), SourceFile("two", str(path), 107, len(TEXT) - 107)]
    files = [*cut, SourceFile("three", str(path), len(TEXT), 0)]
    sound = Bundle(str(path), 7, len(TEXT) - 7, digest)
    assert sum(each.lines or 0 for each in count_blocks(files, None, [sound])) == 50_000
    other = Bundle(str(path), 7, len(TEXT) - 7, "0" * 64)
    told: list[int] = []
    with pytest.raises(NoSuchInput, match="was damaged on the server's disk; submit the request again"):
        told.extend(each.file for each in count_blocks(files, None, [other]) if each.lines is not None)
    assert told == [0]
