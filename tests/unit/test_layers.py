"""Imports go down the layers of ``docs/architecture.rst`` only."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import hagoop

FOLDER = Path(hagoop.__file__).parent

PURE = """
    enough errors outlook way
    hours idleness
    ranges wire frames keys door.join_string door.book
    runs merging
    slices cells
    jobs
    suspicion
    purity
    findings
    experience forecast
    progress survived
    policy requests remembered standing
    leases splitting
    notice
    blame fleet
    tail shares leasing returning
    ledger
"""
"""From the bottom; a file may import from the lines above its own."""

LAYERS = {
    "edges": "commands interfaces app options",
    "effects": """
        advancing ages answer_file answers appending arriving asking awake backup bad_file beating
        beside block_index bundles channels check checked client combining comparing containers
        counting cutting delivery disk docket door ending examining families feeding file_tables
        forgetting found grants in_place incoming inputs intake job_runs journal lab launching
        leased_lines line_counts links lives_log machines manifests memory_spool mending missing
        missing_file number_inputs originals outside owner partials phases piecework piped places
        process programs races reading recorder recovery reports resting roles rows run_indexes
        sampling scheduler sentences server sessions shipping showing side_file signals snapshot
        sorting sound source_files spool standby statuses step_inputs stored subjects submit_keys
        surroundings taken texts told transfer trying tuning unpacking unreached verdicts web
        workbench worker worker_service write_ahead
    """,
    "composition": """
        backup_script check_options check_script common_options demo following local order_options
        request_options request_script run_options server_tap simulate simulate_options step_options
        worker_tap
    """,
}
"""From the bottom, above the pure files; within a layer there are no cycles.

A folder is in its layer as a whole, but for files of it that are pure; a file in it is named with it:
``demo.kinds``.
"""

PURE_IMPORTS = frozenset(
    """
    __future__ abc attr attrs base64 bisect collections dataclasses datetime enum functools hashlib heapq
    hmac itertools json math operator re statistics string struct types typing zlib
    """.split()
)
EFFECTFUL_BUILTINS = frozenset(["open", "input", "print", "exec", "eval", "__import__", "breakpoint"])
EDGE_IMPORTS = {
    "commands": ("twisted.protocols.amp",),
    "interfaces": ("twisted.internet.defer", "twisted.internet.interfaces", "zope.interface"),
    "app": (),
    "options": ("twisted.internet.endpoints", "twisted.python.usage"),
}
FOREIGN = frozenset(["twisted", "zope", "rich", "automat", "OpenSSL", "cryptography"])
REACTOR = "twisted.internet.reactor"


def pure_ranks() -> dict[str, int]:
    """How far above the bottom each pure file is."""
    lines = [line.split() for line in PURE.strip().splitlines()]
    return {name: rank for rank, names in enumerate(lines) for name in names}


def layer_of(name: str) -> str | None:
    """The layer that a file belongs to."""
    if name in pure_ranks():
        return "pure"
    first = name.partition(".")[0]
    return next((layer for layer, names in LAYERS.items() if first in names.split()), None)


def imports(tree: ast.AST) -> Iterator[str]:
    """Full names of all that a file imports, within functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{each.name}" for each in node.names)


def module_level_imports(tree: ast.Module) -> Iterator[str]:
    """Full names of what a file imports when it is imported itself."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports(node)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def ours(tree: ast.AST) -> set[str]:
    """Names of our own files that a file imports."""
    found = [each.split(".")[1:3] for each in imports(tree) if each.split(".")[0] == "hagoop"]
    return {named(*parts) for parts in found if parts and not parts[0].startswith("__")}


def named(first: str, second: str = "") -> str:
    """One of our files, from what follows ``hagoop`` in an import: its second word may be one in it."""
    return f"{first}.{second}" if (FOLDER / first / f"{second}.py").exists() else first


def is_within(name: str, modules: Iterable[str]) -> bool:
    """Whether an imported name is one of these modules or comes from one."""
    return any(f"{name}.".startswith(f"{each}.") for each in modules)


def violations(name: str, source: str) -> list[str]:
    """What a file does that its layer forbids, cycles aside."""
    layer = layer_of(name)
    if layer is None:
        return [f"{name} has no layer"]
    tree = ast.parse(source)
    found = [f"{name} imports {each}" for each in sorted(ours(tree)) if not is_below(each, name)]
    found += [f"{name} imports the reactor" for each in reactor_imports(layer, tree) if each]
    if layer == "pure":
        found += impurities(name, tree)
    if layer == "edges":
        found += foreign_imports(name, tree)
    return found


def is_below(imported: str, name: str) -> bool:
    """Whether a file may import another; edges, effects and composition also within the layer."""
    order = ["pure", *LAYERS]
    upper, lower = layer_of(name), layer_of(imported)
    if lower is None or name == "app":
        return False
    if upper == lower == "pure":
        return pure_ranks()[imported] < pure_ranks()[name]
    return order.index(lower) <= order.index(str(upper))


def reactor_imports(layer: str, tree: ast.Module) -> list[str]:
    """Imports of the reactor that the layer may not have: all, or those at module level."""
    names = module_level_imports(tree) if layer == "composition" else imports(tree)
    return [each for each in names if is_within(each, [REACTOR])]


def impurities(name: str, tree: ast.AST) -> list[str]:
    """Imports and calls that reach out of a pure file."""
    allowed = [*PURE_IMPORTS, "hagoop"]
    found = [f"{name} imports {each}" for each in imports(tree) if not is_within(each, allowed)]
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = [each.id for each in called if isinstance(each, ast.Name)]
    return found + [f"{name} calls {each}" for each in names if each in EFFECTFUL_BUILTINS]


def foreign_imports(name: str, tree: ast.AST) -> list[str]:
    """Imports from Twisted and others that this edge has no use for."""
    return [
        f"{name} imports {each}"
        for each in imports(tree)
        if is_within(each, FOREIGN) and not is_within(each, EDGE_IMPORTS[name])
    ]


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """Files that import each other in a ring, or nothing."""
    left = dict(graph)
    while left:
        leaves = [name for name, targets in left.items() if not targets & left.keys()]
        if not leaves:
            return sorted(left)
        for name in leaves:
            del left[name]
    return []


def sources() -> dict[str, str]:
    """All our files by name."""
    paths = [path.relative_to(FOLDER) for path in FOLDER.rglob("*.py")]
    names = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in paths}
    return {name: (FOLDER / path).read_text() for name, path in names.items() if name != "__init__"}


def test_every_file_keeps_to_its_layer() -> None:
    """Each file has a layer and imports only what lies below."""
    assert [each for name, source in sources().items() for each in violations(name, source)] == []


def test_no_files_import_each_other_in_a_ring() -> None:
    """Within a layer too imports have a direction."""
    assert cycle({name: ours(ast.parse(source)) for name, source in sources().items()}) == []


def test_the_package_itself_imports_nothing() -> None:
    """``import hagoop`` costs nothing and lies below everything."""
    assert list(imports(ast.parse((FOLDER / "__init__.py").read_text()))) == []


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("ranges", "from hagoop.ledger import Ledger", "ranges imports ledger"),
        ("ranges", "from hagoop import jobs", "ranges imports jobs"),
        ("experience", "from hagoop.progress import Progress", "experience imports progress"),
        ("commands", "import hagoop.server", "commands imports server"),
        ("server", "from hagoop.server_tap import Options", "server imports server_tap"),
        ("app", "from hagoop.errors import HaGoopError", "app imports errors"),
        ("ledger", "from hagoop.nonsense import x", "ledger imports nonsense"),
        ("policy", "import time", "policy imports time"),
        ("policy", "def f():\n    from random import random", "policy imports random.random"),
        ("jobs", "from twisted.internet import defer", "jobs imports twisted.internet.defer"),
        ("jobs", "text = open('x')", "jobs calls open"),
        ("commands", "from twisted.web import server", "commands imports twisted.web.server"),
        ("worker", "def f():\n    from twisted.internet import reactor", "worker imports the reactor"),
        ("server_tap", "from twisted.internet import reactor", "server_tap imports the reactor"),
        ("demo.kinds", "from twisted.internet import reactor", "demo.kinds imports the reactor"),
        ("worker", "from hagoop.demo.kinds import Kind", "worker imports demo.kinds"),
        ("server_tap", "if x:\n    import twisted.internet.reactor", "server_tap imports the reactor"),
        ("newcomer", "", "newcomer has no layer"),
    ],
)
def test_planted_violations_are_found(name: str, source: str, said: str) -> None:
    """The checks above would notice."""
    assert said in violations(name, source)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("ledger", "from hagoop import policy\nfrom hagoop.jobs import Phase\nimport attrs, math"),
        ("commands", "from twisted.protocols import amp\nfrom hagoop import errors"),
        ("interfaces", "from zope.interface import Interface"),
        ("server", "import os\nfrom hagoop import __version__, spool\nfrom hagoop.ledger import L"),
        ("server_tap", "def f():\n    from twisted.internet import reactor"),
        ("demo.unruly", "from hagoop.demo import kinds\nfrom hagoop.demo.hosting import Hosted"),
        ("jobs", "file.open('x')"),
    ],
)
def test_what_is_allowed_is_not_told(name: str, source: str) -> None:
    """The checks have no false alarms."""
    assert violations(name, source) == []


def test_planted_ring_is_found() -> None:
    """Three files in a ring are named, those outside of it are not."""
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"errors"}, "errors": set()}
    assert cycle(graph) == ["a", "b", "c"]
