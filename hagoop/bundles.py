"""Uploads as they lie in the spool: each start of a server reads them, and they must be what came."""

import hashlib
from collections.abc import Sequence

from attrs import define, field, frozen

from hagoop.arriving import window
from hagoop.disk import patiently
from hagoop.source_files import SourceFile, damaged, opened

CHUNK_BYTES = 1 << 20


@frozen
class Bundle:
    """Where an upload is.

    :param digest: SHA-256 of its bytes; empty where it was not written down.
    """

    path: str
    base: int
    size: int
    digest: str

    def holds(self, file: SourceFile) -> bool:
        """Whether a file is a part of it."""
        return self.path == file.path and self.base <= file.base <= file.base + file.size <= self.end

    @property
    def end(self) -> int:
        """The byte after its last."""
        return self.base + self.size


@define
class BundleCheck:
    """Is shown the files of bundles in their order, block by block."""

    bundles: Sequence[Bundle]
    _now: Bundle | None = None
    _digest: "hashlib._Hash" = field(factory=hashlib.sha256)

    def begin(self, file: SourceFile) -> None:
        """The next file is read; an empty one may lie between two, and tells nothing of either."""
        if not file.size:
            return
        found = next((each for each in self.bundles if each.holds(file)), None)
        if found is not self._now:
            self._now, self._digest = found, hashlib.sha256()

    def take(self, data: bytes | memoryview) -> None:
        """Its next bytes."""
        if self._now is not None:
            self._digest.update(data)

    def take_whole(self, file: SourceFile) -> None:
        """All of its bytes, for who reads it in another way."""
        if self._now is not None:
            with window(patiently(lambda: opened(file)), file.base, file.size) as source:
                while chunk := source.read(CHUNK_BYTES):
                    self.take(chunk)

    def end(self, file: SourceFile) -> None:
        """It is read; with the last file of a bundle it is known whether that is sound.

        :raises NoSuchInput: it is not.
        """
        now = self._now
        if now is None or not now.digest or not file.size or file.base + file.size != now.end:
            return
        if self._digest.hexdigest() != now.digest:
            raise damaged(file)
