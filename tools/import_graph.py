"""Who imports whom in a package, read from its source: imports inside functions and for types count like all others."""

import ast
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

Graph = dict[str, set[str]]

ROOT = Path(__file__).parents[1]
PACKAGE = "simhand_cli"


def module_graph(package: Path) -> Graph:
    """Every module of a package -> the modules of the package that it imports.

    Args:
        package: the folder with the package's outermost ``__init__.py``; imports are absolute, as the style demands.
    """
    files = {_module_name(package, file): file for file in sorted(package.rglob("*.py"))}
    return {name: _imported(file, files.keys()) - {name} for name, file in files.items()}


def _module_name(package: Path, file: Path) -> str:
    parts = file.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(file: Path, modules: Iterable[str]) -> set[str]:
    known, found = set(modules), set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # "from a import b" is of module a.b where there is one, else of a name in a.
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in known else node.module for name in inner}
    return found & known


def folder_graph(modules: Mapping[str, set[str]]) -> Graph:
    """Every folder, and every file directly in the package, by its bare name -> those that it imports."""
    graph: Graph = {}
    for name, imported in modules.items():
        if "." in name:
            graph.setdefault(_folder(name), set()).update(_folder(other) for other in imported if "." in other)
    return {folder: others - {folder} for folder, others in graph.items()}


def _folder(module: str) -> str:
    return module.split(".")[1]


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of two or more nodes each of which leads to every other, sorted."""
    reached = {node: _reachable(graph, node) for node in graph}
    groups = {frozenset({node} | {other for other in reached[node] if node in reached[other]}) for node in graph}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def _reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        new = graph.get(ahead.pop(), set()) - seen
        seen |= new
        ahead += new
    return seen


def without_implied(graph: Mapping[str, set[str]]) -> Graph:
    """The graph without edges that a longer way says already; it must have no circle."""
    return {
        node: {other for other in others if not any(other in _reachable(graph, via) for via in others - {other})}
        for node, others in graph.items()
    }


def layers_of_the_contract() -> list[list[str]]:
    """The floors of the house from the top down, as the contract in pyproject.toml lists them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [[name.strip() for name in line.split("|")] for line in layers]
