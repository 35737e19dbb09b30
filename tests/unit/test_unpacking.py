"""Packed inputs: the text within, cut anywhere, and what is said of files that are no good."""

import bz2
import gzip
import os
from pathlib import Path
from random import Random

import pytest
from twisted.internet.defer import fail, succeed

from hagoop import counting, unpacking
from hagoop.arriving import Room, as_quota
from hagoop.counting import BLOCK_BYTES
from hagoop.errors import NoSuchInput, SpoolFull
from hagoop.found import walk
from hagoop.inputs import FileInputs
from hagoop.source_files import files_in_place, files_of_bundle
from hagoop.texts import TextFile

ZSTD = unpacking.find_zstd()
PACK = {"gz": gzip.compress, "bz2": bz2.compress, "zst": ZSTD.compress if ZSTD else None}
SMALL = b"one\ntwo\n\nlast"
LARGE = b"".join(b"%d %d\n" % (number, number * 7919) for number in range(60_000))


def here(work):
    """In place of a thread: do it now."""
    try:
        return succeed(work())
    except (NoSuchInput, SpoolFull):
        return fail()


@pytest.fixture
def texts(tmp_path):
    """Room for texts; nothing is left of it."""
    made = TextFile(tmp_path / ".texts", Room(as_quota(1 << 30)), os.unlink)
    yield made
    made.close()
    assert not made.path.exists()
    assert made._room.used == 0


def counted(files, texts, grown=lambda: None):
    """Inputs with all their lines, or the error."""
    inputs = FileInputs(files, texts)
    failures = []
    inputs.build(None, grown, here).addErrback(failures.append)
    if failures:
        failures[0].raiseException()
    return inputs


def sources(folder: Path, **files: bytes):
    """Files by name, ``a_gz`` for ``a.gz``, as they are submitted."""
    for name, data in files.items():
        (folder / name.replace("_", ".")).write_bytes(data)
    return list(files_in_place(walk([folder])))


def read(inputs, start, end):
    parts = []
    for each in inputs.pieces(start, end):
        with inputs.open(each) as file:
            parts.append(file.read())
        assert len(parts[-1]) == each.length
    return b"".join(parts)


def refusal(folder, data, name="a_gz", quota=1 << 30):
    """What is said of a file, after which nothing is left."""
    texts = TextFile(folder / ".refused", Room(as_quota(quota)), os.unlink)
    with pytest.raises((NoSuchInput, SpoolFull)) as caught:
        counted(sources(folder, **{name: data}), texts)
    texts.close()
    assert not texts.path.exists()
    assert texts._room.used == 0
    return str(caught.value).replace(str(folder), "IN")


@pytest.mark.parametrize("kind", PACK)
def test_text_within_is_read(tmp_path, texts, kind):
    """Of one file or several, in parts or in one; a file that holds nothing has no lines."""
    pack = PACK[kind]
    files = {
        f"a_{kind}": pack(SMALL),
        f"b_{kind}": pack(b""),
        f"c_{kind}": b"",
        f"d_{kind}": pack(LARGE[:1000]) + pack(LARGE[1000:]),
        "e_txt": b"plain\n",
    }
    inputs = counted(sources(tmp_path, **files), texts)
    lines = SMALL.split(b"\n") + LARGE.splitlines() + [b"plain"]
    assert (inputs.whole, inputs.lines, inputs.estimate) == (True, len(lines), len(lines))
    assert list(inputs.breaks) == [0, 4, len(lines) - 1]
    assert read(inputs, 0, 4) == SMALL
    assert read(inputs, 4, len(lines)) == LARGE + b"plain\n"
    chance = Random(kind)
    for _ in range(50):
        start = chance.randrange(4, len(lines) - 1)
        end = min(len(lines), start + chance.choice([1, 5, 20_000]))
        assert read(inputs, start, end).splitlines() == lines[start:end]
    [piece] = inputs.pieces(5, 6)
    assert (piece.name, piece.file_line) == (str(tmp_path / f"d.{kind}"), 1)
    # Its lines do not stand there as a worker would have to read them.
    assert inputs.found(piece) is None


def test_lines_are_there_before_the_whole_is_unpacked(tmp_path, texts, monkeypatch):
    """With as good a guess as can be of how many there will be."""
    monkeypatch.setattr(counting, "BATCH_BYTES", 1 << 20)
    data = Random(1).randbytes(6 * BLOCK_BYTES).replace(b"\n", b"").hex("\n", 32).encode()
    found = []
    inputs = FileInputs(sources(tmp_path, a_gz=gzip.compress(data, 1)), texts)

    def grown():
        if not inputs.whole:
            found.append((inputs.lines, inputs.estimate))
            assert read(inputs, 0, inputs.lines) == data[: len(read(inputs, 0, inputs.lines))]

    inputs.build(None, grown, here)
    assert len(found) > 1
    for lines, estimate in found:
        assert 0 < lines < inputs.lines
        assert estimate == pytest.approx(inputs.lines, rel=0.5)


def test_packed_files_in_a_bundle(tmp_path, texts):
    """As they are uploaded: one after the other, in a file of the spool."""
    packed = [gzip.compress(SMALL), b"x\n", bz2.compress(SMALL)]
    for name, data in zip(("a.gz", "b", "c.bz2"), packed, strict=True):
        (tmp_path / name).write_bytes(data)
    found = list(walk([tmp_path]))
    (tmp_path / ".bundle").write_bytes(b"before" + b"".join(packed) + b"behind")
    files = list(files_of_bundle(found, str(tmp_path / ".bundle"), 6, sum(map(len, packed))))
    inputs = counted(files, texts)
    assert read(inputs, 0, 9) == SMALL + b"x\n" + SMALL


@pytest.mark.parametrize("kind", PACK)
def test_damaged_file_is_named(tmp_path, kind):
    """Cut off, changed in the middle, or never packed at all."""
    good, name = PACK[kind](LARGE), f"a_{kind}"
    told = refusal(tmp_path, good[: len(good) // 2], name)
    assert told == (
        f"'IN/a.{kind}' is damaged: it ends before its text does; submit a sound copy, or leave it out"
    )
    middle = len(good) // 2
    for bad in (good[:middle] + bytes(40) + good[middle + 40 :], b"plain text\n" * 9):
        assert refusal(tmp_path, bad, name).startswith(f"'IN/a.{kind}' is damaged: ")


def test_file_that_was_made_to_fill_disks_is_refused(tmp_path, monkeypatch):
    """Named; a text of its size may be as large as a quota lets it."""
    monkeypatch.setattr(unpacking, "FREE_BYTES", 3 << 20)
    bomb = gzip.compress(bytes(10 << 20))
    assert refusal(tmp_path, bomb).startswith("'IN/a.gz' holds more than 3 MiB of text in 9.9")
    told = refusal(tmp_path, gzip.compress(LARGE), quota=1 << 19)
    assert told.startswith("'IN/a.gz' cannot be unpacked: The server's spool cannot take 262144 bytes")


def test_change_of_the_packed_file_is_seen(tmp_path, texts, monkeypatch):
    """While it is unpacked, and afterwards, though nothing is read of it then."""
    monkeypatch.setattr(counting, "BATCH_BYTES", 1 << 20)
    files = sources(tmp_path, a_gz=gzip.compress(5 * LARGE))
    said = "changed while the request ran; submit the request again"

    def touch():
        os.utime(tmp_path / "a.gz")

    with pytest.raises(NoSuchInput, match=said):
        counted(files, texts, touch)
    inputs = counted(list(files_in_place(walk([tmp_path / "a.gz"]))), texts)
    touch()
    with pytest.raises(NoSuchInput, match=said):
        inputs.pieces(0, 1)


def test_closed_texts_take_nothing(texts):
    """A thread may still unpack when its request has ended."""
    texts.close()
    with pytest.raises(NoSuchInput):
        texts.append("a.gz", b"x")
    texts.close()


def test_without_zstd_it_is_said_what_to_install(monkeypatch):
    """Other files can be unpacked everywhere."""
    monkeypatch.setattr(unpacking, "ZSTD_MODULES", ("hagoop.nothing",))
    unpacking.check_packing("a.gz")
    with pytest.raises(NoSuchInput) as caught:
        unpacking.check_packing("a.zst")
    assert str(caught.value) == (
        "'a.zst' cannot be unpacked: the server's Python has no zstd; install it there "
        "(pip install 'hagoop[zstd]'), or pack the file with gzip"
    )
