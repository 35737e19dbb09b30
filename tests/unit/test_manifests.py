"""What a client sends of its inputs, once or again."""

import io
import os
from pathlib import Path

import pytest
from attrs import define

from hagoop.errors import NoSuchInput, TransferFailed
from hagoop.found import walk
from hagoop.manifests import FilesInARow, Manifest, Stdin

TEXT = b"".join(b"%d\n" % number for number in range(1000))


class Pipe(io.BytesIO):
    """Gives its bytes once, a few at a time, and tells its end once."""

    ends = 0

    def seekable(self):
        return False

    def read(self, size=-1):
        data = super().read(min(size, 700))
        self.ends += not data
        assert self.ends < 2
        return data


def all_of(body):
    """What a body gives to one who reads it in parts."""
    with body:
        return b"".join(iter(lambda: body.read(1000), b""))


def test_pipe_can_be_sent_again():
    """From a copy; also when it was not read to its end the first time."""
    with Stdin(Pipe(TEXT)) as stdin:
        with stdin.again() as first:
            assert TEXT.startswith(first.read(1000) + first.read(1000))
        assert [all_of(stdin.again()) for _ in range(3)] == [TEXT] * 3
        assert stdin.is_kept


def test_file_is_read_again_from_where_it_was(tmp_path):
    """Somebody has read the beginning; no copy is made."""
    (tmp_path / "file").write_bytes(TEXT)
    with open(tmp_path / "file", "rb") as file, Stdin(file, 0) as stdin:
        file.seek(100)
        assert [all_of(stdin.again()) for _ in range(2)] == [TEXT[100:]] * 2
        assert stdin.is_kept


@pytest.mark.parametrize(("most", "is_kept"), [(len(TEXT) - 1, False), (len(TEXT), True)])
def test_large_pipe_is_sent_once(most, is_kept):
    """All of it; whether it can be sent again is known."""
    with Stdin(Pipe(TEXT), most) as stdin:
        assert all_of(stdin.again()) == TEXT
        assert stdin.is_kept == is_kept


@define
class Full:
    """A file on a disk that is full."""

    _file: io.BytesIO

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, data):
        raise OSError(28, "No space left on device")


def test_full_disk_takes_no_copy():
    """What comes is sent all the same."""
    with Stdin(Pipe(TEXT)) as stdin, stdin._copy:
        stdin._copy = Full(io.BytesIO())
        assert all_of(stdin.again()) == TEXT
        assert not stdin.is_kept


def test_list_that_has_no_room_is_refused(tmp_path):
    """With what can be done."""
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(NoSuchInput, match=r"cannot be written to /.*: no space left .*set TMPDIR"):
        Manifest(Full(io.BytesIO())).write(walk([tmp_path]))


def test_files_are_one_body(tmp_path):
    """In order, as large as they were; one that has become shorter is no body."""
    for number in range(3):
        (tmp_path / str(number)).write_bytes(TEXT * number)
    with (manifest := Manifest()).file:
        manifest.write(walk([Path(tmp_path)]))
        assert manifest.size == 3 * len(TEXT)
        assert all_of(FilesInARow(manifest.read())) == TEXT * 3
        os.truncate(tmp_path / "2", 5)
        with pytest.raises(TransferFailed, match="an input became shorter"):
            all_of(FilesInARow(manifest.read()))
