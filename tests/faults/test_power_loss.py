"""S4: power fails at any moment, and of what was not synced any part is lost: what was told is there."""

import random
import shutil
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import pytest
from attrs import define, frozen
from cluster import Cluster
from damage import TOLD, in_memory, opened
from power import Disk, Tree, spread, write_tree
from syscalls import CALLS, needs_strace, read_calls, recording

from hagoop.errors import StateError, TransferFailed
from hagoop.jobs import Place
from hagoop.recovery import Story, read_stories
from hagoop.spool import FolderSpool

pytestmark = [pytest.mark.slow, needs_strace]

SMALL = b"".join(b"k%d\tv%d\n" % (number % 37, number) for number in range(200))
LARGE = b"".join(b"%d %s\n" % (number, b"x" * 90) for number in range(12_000))
KEYS = "cut -f1 | uniq -c"
Facts = list[tuple[str, str, dict[str, object]]]


@frozen
class Told:
    """What a server had told of at a moment: its facts, and the files that these name."""

    facts: Facts
    tree: Tree

    def bytes_at(self, place: Place) -> bytes:
        """What a place held then."""
        data = self.tree[f"spool/{place.path}"] or b""
        return data[place.offset : place.offset + place.size]


@define(slots=False)
class Recorded:
    """A server's life from its first start to its death, with everything that it did to its disk."""

    disk: Disk

    @cached_property
    def numbers(self) -> list[int]:
        """For each moment, the last commit that anybody was told of."""
        trees = (self.disk.left(each, {}).get(TOLD) for each in range(len(self.disk.moments)))
        return [int((tree or b"0").split()[0]) for tree in trees]

    @cached_property
    def told(self) -> dict[int, Told]:
        """What was told with each commit."""
        found = {0: Told([], {})}
        with in_memory(Path("/tmp")) as folder:
            for moment, number in enumerate(self.numbers):
                if number not in found:
                    tree = self.disk.left(moment, {})
                    write_tree(folder / str(number), tree)
                    with opened(folder / str(number) / "journal.sqlite") as (journal, _):
                        found[number] = Told(list(journal.replay()), tree)
        return found

    def wrong(self, moment: int, tree: Tree, folder: Path) -> str:
        """What a start on such a folder lacks, in words; empty when it lacks nothing."""
        shutil.rmtree(folder, ignore_errors=True)
        write_tree(folder, tree)
        try:
            with opened(folder / "journal.sqlite") as (journal, _):
                facts = list(journal.replay())
        except StateError as refused:
            return f"refused: {refused}"
        since = self.numbers[moment]
        found = [each for number, each in self.told.items() if number >= since and each.facts == facts]
        if not found:
            return f"{len(facts)} facts are not those of any commit from {since} on"
        return self._lost_bytes(found[0], read_stories(facts), folder / "spool")

    def _lost_bytes(self, told: Told, stories: Sequence[Story], folder: Path) -> str:
        spool = FolderSpool(folder, None, 1 << 40, lambda work: work())  # type: ignore
        places = [place for each in stories for place in each.places]
        programs = [digest for each in stories for digest in each.programs]
        spool.sweep([shelf for each in stories for shelf in each.shelves], places, blobs=programs)
        for place in (place for each in stories for place in needed(each)):
            try:
                with spool.open(place) as file:
                    if file.read() != told.bytes_at(place):
                        return f"other bytes at {place}"
            except TransferFailed as problem:
                return str(problem)
        return next((f"no program {each}" for each in programs if not spool.has_blob(each)), "")


def needed(story: Story) -> list[Place]:
    """What must still be there: of a request that has ended only what it gives out."""
    own = f"requests/{story.request}/"
    return [each for each in story.places if story.ended is None or each.path.startswith(own)]


def use(cluster: Cluster) -> None:
    """Requests by which all kinds of files come, are named, and go."""
    (cluster.at / "upper").write_text("#!/bin/sh\nexec tr a-z A-Z\n")
    (cluster.at / "upper").chmod(0o755)
    for words, stdin in (
        (("--mapper", "./upper", "--reducer", KEYS), SMALL),
        (("--mapper", "cat"), LARGE),
        (("--mapper", "./upper", "--reducer", KEYS, "--detach"), SMALL),
    ):
        ran = cluster.request("run", "-", *words, stdin=stdin)
        assert ran.returncode == 0, ran.stderr
    assert cluster.request("forget", "r1").returncode == 0
    assert cluster.request("wait", "r3").returncode == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("power")


@pytest.fixture(scope="module")
def trace(folder: Path) -> Path:
    """What such a server asked of the system."""
    trace = folder / "trace"
    cluster = Cluster(folder / "it")
    # What others write into the journal would not be seen.
    cluster.is_checked = False
    cluster.server.prefix = recording(trace, CALLS)
    try:
        cluster.start_server()
        cluster.start_workers(1)
        use(cluster)
        cluster.server.kill()
    finally:
        cluster.end()
    return trace


def played(trace: Path, forgets_folders: bool = False) -> Recorded:
    disk = Disk(str(trace.parent / "it" / "server" / "state"), forgets_folders)
    disk.play(read_calls(trace))
    return Recorded(disk)


@pytest.fixture(scope="module")
def recorded(trace: Path) -> Recorded:
    return played(trace)


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Path]:
    """Where folders are made."""
    with in_memory(tmp_path) as made:
        yield made / "state"


def test_model_is_right_where_nothing_is_lost(recorded: Recorded, trace: Path) -> None:
    """All that was done gives what is there."""
    state = trace.parent / "it" / "server" / "state"
    tree = recorded.disk.left(len(recorded.disk.moments) - 1, {})
    assert {path for path, data in tree.items() if data is not None} > {"journal.sqlite", TOLD}
    assert [path for path, data in tree.items() if data != read(state / path)] == []


def read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def outcomes(recorded: Recorded, at: Path, moments: Sequence[int], more: int) -> Iterator[str]:
    """What is wrong after each different way in which power may fail at these moments."""
    seen = set()
    for moment in moments:
        for fates in recorded.disk.all_fates(moment, random.Random(moment), more):
            tree = recorded.disk.left(moment, fates)
            known = recorded.numbers[moment], hash(tuple(sorted(tree.items())))
            if known not in seen:
                seen.add(known)
                wrong = recorded.wrong(moment, tree, at)
                yield f"moment {moment}, fates {fates}: {wrong}" if wrong else ""


@pytest.mark.parametrize(
    ("most", "more"), [(10, 1), pytest.param(10**6, 4, marks=pytest.mark.full)], ids=["some", "all"]
)
def test_what_was_told_is_there(recorded: Recorded, at: Path, most: int, more: int) -> None:
    """Whatever of the rest is lost or torn: facts are those of a commit, and their bytes are right."""
    moments = spread(range(len(recorded.disk.moments)), most)
    found = list(outcomes(recorded, at, moments, more))
    print(f"{len(found)} folders after power cuts at {len(moments)} moments")
    assert [each for each in found if each][:3] == []


def test_forgotten_sync_of_folders_is_found(trace: Path, at: Path) -> None:
    """The same server without its folders' syncs would lose what it had told: these tests can fail."""
    careless = played(trace, forgets_folders=True)
    moments = spread(range(len(careless.disk.moments)), 12)
    assert any(outcomes(careless, at, moments, 0))
