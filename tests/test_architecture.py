"""The layers of the workspace, and that each package is used through its front alone."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(ROOT.glob("*/*/src"))
HOMES = {p.name: src for src in SOURCES for p in src.iterdir() if (p / "__init__.py").is_file()}
LAYERS = {
    "molpool_common": 0,
    "molpool_pipelines": 2,
    **{name: 3 for name, src in HOMES.items() if src.parts[-3] == "apps"},
    "molpool": 4,
}
USERS = [
    *ROOT.glob("*/*/src/**/*.py"),
    *ROOT.glob("*/*/tests/**/*.py"),
    *(p for folder in ("tests", "benchmarks", "studies") for p in (ROOT / folder).glob("**/*.py")),
]


@dataclass(frozen=True)
class Import:
    """One name that a module takes from another, or a whole module where `name` is None."""

    module: str
    name: str | None
    place: str


def layer(package: str) -> int:
    return LAYERS.get(package, 1)


def module_name(path: Path) -> str:
    (src,) = (s for s in SOURCES if path.is_relative_to(s))
    return ".".join(path.relative_to(src).with_suffix("").parts).removesuffix(".__init__")


def owner(path: Path) -> str | None:
    """Return the package of a file or of its tests; None for tests of the workspace."""
    return next((n for n, src in HOMES.items() if path.is_relative_to(src.parent)), None)


@cache
def imports(path: Path) -> list[Import]:
    """Return what a file imports from the workspace, wherever in the file that stands."""
    return list(_imports(path))


def _imports(path: Path) -> Iterator[Import]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            found = [(node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found = [(alias.name, None) for alias in node.names]
        else:
            continue
        place = f"{path.relative_to(ROOT)}:{node.lineno}"
        yield from (Import(m, n, place) for m, n in found if m.split(".")[0] in HOMES)


def is_module(name: str) -> bool:
    path = HOMES[name.split(".")[0]].joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


@cache
def exported(package: str) -> set[str]:
    """Return the names in the stub beside a package's ``__init__``, or of the module itself."""
    folder = HOMES[package.split(".")[0]].joinpath(*package.split("."))
    stub = folder / "__init__.pyi"
    body = ast.parse((stub if stub.is_file() else folder / "__init__.py").read_text()).body
    names = {a.asname or a.name for n in body if isinstance(n, ast.ImportFrom) for a in n.names}
    names |= {
        n.target.id for n in body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
    }
    return names


def modules() -> dict[str, Path]:
    return {module_name(path): path for src in SOURCES for path in src.rglob("*.py")}


@cache
def graph() -> dict[str, set[str]]:
    """Return which module imports which."""
    edges: dict[str, set[str]] = defaultdict(set)
    known = modules()
    for module, path in known.items():
        for found in imports(path):
            target = found.module
            if found.name and f"{target}.{found.name}" in known:
                target = f"{target}.{found.name}"
            if target in known and target != module:
                edges[module].add(target)
    return edges


def rooms(edges: dict[str, set[str]], folder: str) -> dict[str, set[str]]:
    """Return which file or folder right in `folder` imports which other one there."""
    depth = len(folder.split(".")) + 1

    def room(module: str) -> str | None:
        parts = module.split(".")
        inside = module.startswith(f"{folder}.") and len(parts) >= depth
        return ".".join(parts[:depth]) if inside else None

    found: dict[str, set[str]] = defaultdict(set)
    for module, targets in edges.items():
        for target in targets:
            here, there = room(module), room(target)
            if here and there and here != there:
                found[here].add(there)
    return found


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components of more than one node (Tarjan 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in sorted(edges.get(node, ())):
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            part = [stack.pop()]
            while part[-1] != node:
                part.append(stack.pop())
            if len(part) > 1:
                found.append(sorted(part))

    for node in sorted(edges):
        if node not in order:
            visit(node)
    return found


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}}) == []


def test_no_module_imports_itself_through_others():
    assert circles(graph()) == []


def test_no_folder_imports_itself_through_others():
    edges = graph()
    folders = sorted(name for name, path in modules().items() if path.name == "__init__.py")
    assert [c for folder in folders for c in circles(rooms(edges, folder))] == []


def test_imports_go_down_the_layers():
    wrong = []
    for path in (p for p in USERS if "src" in p.relative_to(ROOT).parts):
        mine = owner(path)
        assert mine is not None
        for found in imports(path):
            theirs = found.module.split(".")[0]
            if theirs != mine and layer(theirs) >= layer(mine):
                wrong.append(f"{found.place}: {mine} imports {theirs}")
    assert wrong == []


def test_packages_are_used_through_their_fronts():
    wrong = []
    for path in USERS:
        mine = owner(path)
        for found in imports(path):
            package = found.module.split(".")[0]
            if package == mine:
                continue
            whole = found.module if found.name is None else f"{found.module}.{found.name}"
            if any(part.startswith("_") and part != "__version__" for part in whole.split(".")):
                wrong.append(f"{found.place}: {whole} is private")
            elif not (HOMES[package].joinpath(*found.module.split(".")) / "__init__.py").is_file():
                # A command's module is what another process, or its test, starts.
                if layer(package) < 3:
                    wrong.append(f"{found.place}: {found.module} is no front")
            elif found.name and found.name not in exported(found.module) | {"cli", "script"}:
                wrong.append(f"{found.place}: {found.module} does not export {found.name}")
    assert wrong == []


@pytest.mark.parametrize("package", sorted(HOMES))
def test_every_package_tells_its_version(package):
    assert "__version__" in (HOMES[package] / package / "__init__.py").read_text()


MADE_UP = {"_simulate.py", "_table.py"}
"""Write tables of ours, in which no text is a user's."""


@pytest.mark.parametrize("source", SOURCES, ids=lambda src: src.parent.name)
def test_csv_is_written_of_texts_that_are_marked(source: Path) -> None:
    """A name that looks like a formula is inert in each file: see `formulas_marked`."""
    sources = (p for p in source.rglob("*.py") if p.name not in MADE_UP)
    bare = [
        f"{path.name}:{node.lineno}"
        for path in sources
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "write_csv"
        if not ast.unparse(node.value).startswith("formulas_marked(")
    ]
    assert not bare
