"""What clients bring: programs, manifests and files, checked and kept when a request is submitted."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorThreads

from hagoop import wire
from hagoop.answers import InThread
from hagoop.bundles import Bundle
from hagoop.errors import BadMessage, BadProgram, NoSuchInput, TransferFailed
from hagoop.file_tables import Files, FileTable, Listed, Lister
from hagoop.found import below_roots, read_manifest, sees
from hagoop.grants import Grants, UploadGrant
from hagoop.inputs import FileInputs
from hagoop.interfaces import Arrived, IInputs, Syncable
from hagoop.jobs import Found, Place, RequestId, Source, Submission
from hagoop.number_inputs import NumberInputs
from hagoop.shipping import check_shipped
from hagoop.source_files import SourceFile, files_in_place, files_of_bundle, in_spool
from hagoop.spool import FolderSpool
from hagoop.unpacking import check_packing

MANIFEST_BYTES = 1 << 30
SUBMISSION_BYTES = 32 << 10
"""A submission travels in one message, and with each assignment."""


@frozen
class Uploaded:
    """Something a client has sent and not used yet, announced with a digest or none."""

    arrived: Arrived
    digest: str


@define(eq=False)
class Intake:
    """Uploads, by the names under which they were granted, and the making of inputs."""

    spool: FolderSpool
    reactor: IReactorThreads
    in_thread: InThread
    grants: Grants
    roots: Sequence[Path]
    _uploads: dict[str, Uploaded | None] = field(factory=dict)
    _limits: dict[str, int] = field(factory=dict)
    _number: int = 0
    # A client may name its uploads to the server that comes back after the one that it gave them to.
    _life: str = field(factory=lambda: secrets.token_hex(4))

    # Uploads

    def has_program(self, digest: str) -> bool:
        """Whether a program is kept already."""
        return self.spool.has_blob(digest)

    def size_of(self, name: str) -> int:
        """How much has come under a name, or may come."""
        uploaded = self._uploads.get(name)
        return self._limits.get(name, 0) if uploaded is None else uploaded.arrived.size

    def has_arrived(self, names: Sequence[str], digest: str) -> bool:
        """Whether a program has come under one of these names."""
        found = [self._uploads.get(each) for each in names]
        return any(each is not None and each.arrived.digest == digest for each in found)

    def expect(self, digest: str, size: int) -> tuple[str, str]:
        """Let a client send something: its name, and the word that opens the way."""
        self._number += 1
        name = f"u{self._number}-{self._life}"
        self._uploads[name] = None
        limit = self._limits[name] = size if size >= 0 else 1 << 60

        def arrived(bytes_: Arrived) -> None:
            if name in self._uploads and self._uploads[name] is None:
                self._uploads[name] = Uploaded(bytes_, digest)
            else:
                bytes_.discard()

        return name, self.grants.give(UploadGrant(name, limit, self.spool.receive, arrived))

    def discard(self, name: str) -> None:
        """A client is gone, or has used it."""
        self._limits.pop(name, None)
        uploaded = self._uploads.pop(name, None)
        if uploaded is not None:
            uploaded.arrived.discard()

    def _find(self, name: str) -> Arrived:
        uploaded = self._uploads.get(name)
        if uploaded is None:
            raise TransferFailed(f"nothing was uploaded as '{name}'; submit it again")
        return uploaded.arrived

    def _manifest(self, name: str) -> Iterator[Found]:
        """The files that an uploaded manifest names; reading them blocks."""
        arrived = self._find(name)
        if arrived.size > MANIFEST_BYTES:
            raise BadMessage(f"a manifest may have {MANIFEST_BYTES} bytes, not {arrived.size}")
        return _read_manifest(arrived)

    async def sees(self, name: str) -> bool:
        """Whether the server finds the very files of an uploaded manifest."""
        found = self._manifest(name)
        seen: list[bool] = []
        await self.in_thread(lambda: seen.append(sees(found)))
        return seen[0]

    # Submitting

    async def survey(
        self, request: RequestId, submission: Submission
    ) -> tuple[dict[str, object], Sequence[Syncable]]:
        """Check everything now; keep programs and files under the request.

        :raises RequestError: something is missing, too large or not allowed.
        """
        if len(wire.encode(submission)) > SUBMISSION_BYTES:
            raise BadProgram(
                f"commands, environment and names of shipped files take more than {SUBMISSION_BYTES} "
                "bytes; ship an archive, or set variables in a script"
            )
        syncs: list[Syncable] = []
        try:
            self._keep_programs(submission, syncs)
            return await self._survey_all(request, submission.sources, syncs), syncs
        except BaseException:
            # What was kept of programs stays for the next who names them: on disk, and closed.
            await self._sync(syncs)
            raise

    async def _sync(self, kept: Sequence[Syncable]) -> None:
        try:
            await self.in_thread(lambda: _sync(kept))
        except OSError as problem:
            # The system tells it once: the next to ask would find all well.
            raise self.spool.unsynced(problem) from problem

    async def _survey_all(
        self, request: RequestId, sources: Sequence[Source], syncs: list[Syncable]
    ) -> dict[str, object]:
        if any(each.kind == "lines" for each in sources):
            return {"numbers": _only_numbers(sources), "bundles": []}
        files: list[Iterator[SourceFile]] = []
        bundles: list[Place] = []
        digests: list[str] = []
        for source in sources:
            if source.kind == "upload":
                found, place, digest, sync = self._keep_bundle(request, source.name)
                bundles.append(place)
                digests.append(digest)
                syncs.append(sync)
            else:
                found = await self._survey(source)
            files.append(found)
        lister = Lister(self.spool, self.in_thread)
        fact, more = await lister.list_files(request, _readable(chain.from_iterable(files)))
        syncs.extend(more)
        return {**fact, "bundles": wire.to_plain(bundles), "digests": digests}

    def _keep_programs(self, submission: Submission, syncs: list[Syncable]) -> None:
        uploaded = {each.digest: name for name, each in self._uploads.items() if each is not None}
        for wanted in submission.program.files:
            check_shipped(wanted.path)
            if self.spool.has_blob(wanted.digest):
                syncs.append(self.spool.hold_blob(wanted.digest))
                continue
            arrived = self._find(uploaded.get(wanted.digest, wanted.path))
            if arrived.digest != wanted.digest:
                raise BadProgram(f"{wanted.path} did not arrive as it was announced; submit it again")
            syncs.append(self.spool.keep_blob(arrived))

    async def _survey(self, source: Source) -> Iterator[SourceFile]:
        if source.kind == "server":
            return files_in_place(below_roots(source.name, self.roots))
        if source.kind == "seen":
            if not await self.sees(source.name):
                raise NoSuchInput("an input changed while it was submitted; submit it again")
            return files_in_place(self._manifest(source.name))
        raise BadMessage(f"there is no INPUT of kind '{source.kind}'")

    def _keep_bundle(
        self, request: RequestId, name: str
    ) -> tuple[Iterator[SourceFile], Place, str, Syncable]:
        """Files that were uploaded one after the other; the name is the manifest's and theirs."""
        manifest, _, bundle = name.partition(" ")
        found, arrived = self._manifest(manifest), self._find(bundle)
        place, sync = self.spool.keep(request, arrived)
        path = str(self.spool.locate(place))
        return files_of_bundle(found, path, place.offset, place.size), place, arrived.digest, sync

    # After

    def open(
        self, fact: dict[str, object], grown: Callable[[], None]
    ) -> "tuple[IInputs, Callable[[], Deferred[None]]]":
        """The inputs that were surveyed, and what begins to count their lines."""
        if "numbers" in fact:
            return NumberInputs.parse(str(fact["numbers"])), lambda: succeed(None)
        inputs = FileInputs(self._files(fact), self.spool.new_texts(), self._bundles(fact))
        return inputs, lambda: inputs.build(self.reactor, grown)

    def _files(self, fact: dict[str, object]) -> Files:
        if "table" in fact:
            listed = wire.from_plain(Listed, fact["table"])
            return FileTable(listed, lambda: self.spool.open(listed.place), self.spool.folder)
        rows = fact["files"]
        if not isinstance(rows, list):
            raise TypeError(f"not a list of files: {rows!r}")
        return [in_spool(SourceFile(*each), self.spool.folder) for each in rows]

    def _bundles(self, fact: dict[str, object]) -> list[Bundle]:
        places = wire.from_plain(tuple[Place, ...], fact["bundles"])
        # There were times without digests.
        digests = wire.from_plain(tuple[str, ...], fact.get("digests", [""] * len(places)))
        return [
            Bundle(str(self.spool.locate(place)), place.offset, place.size, digest)
            for place, digest in zip(places, digests, strict=True)
        ]


def _only_numbers(sources: Sequence[Source]) -> str:
    if len(sources) > 1:
        raise BadMessage("numbers as lines stand alone: there is an INPUT beside them")
    return str(NumberInputs.parse(sources[0].name).lines)


def _sync(kept: Sequence[Syncable]) -> None:
    for each in kept:
        each.sync()


def _read_manifest(arrived: Arrived) -> Iterator[Found]:
    with arrived.open() as file:
        yield from read_manifest(file)


def _readable(files: Iterator[SourceFile]) -> Iterator[SourceFile]:
    """These, as long as they are packed in no way that nobody here can read."""
    for each in files:
        check_packing(each.name)
        yield each
