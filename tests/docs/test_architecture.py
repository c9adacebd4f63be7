"""The architecture page and CONTRIBUTING are true: files and functions exist, the picture is of this code."""

import ast
import re
from pathlib import Path

import pytest

from tools import draw_architecture
from tools.import_graph import layers_of_the_contract

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "simhand_cli"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PAGES = [ROOT / "docs" / "architecture.md", CONTRIBUTING]
#: Tests of no single folder of the package.
OTHER_TESTS = {"helpers", "house", "docs", "end_to_end", "benchmarks", "examples"}
#: What a path in a recipe says for a name yet to be given.
TO_BE_NAMED = ("NAME", "STAGE")


def named_files(page: Path) -> list[str]:
    """Code spans such as ``views/warp.py`` and ``views/warp.py:warp``, without those of files yet to be written."""
    spans = re.findall(r"`([\w./]+\.py(?::[\w.]+)?)`", page.read_text())
    return [span for span in spans if not any(word in span for word in TO_BE_NAMED)]


def missing(span: str) -> str | None:
    """What of a span is not there: the file, or the function, class, method or name in it."""
    path, _, name = span.partition(":")
    file = next((base / path for base in (PACKAGE, ROOT) if (base / path).is_file()), None)
    if file is None and "/" not in span and any(PACKAGE.rglob(span)):  # "every config.py"
        return None
    if file is None:
        return path
    scope: list[ast.stmt] = ast.parse(file.read_text()).body
    for part in name.split(".") if name else ():
        found = next((node for node in scope if part in names_of(node)), None)
        if found is None:
            return span
        scope = getattr(found, "body", [])
    return None


def names_of(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_and_functions_exist(page):
    spans = named_files(page)
    assert spans
    assert [what for what in map(missing, spans) if what] == []


@pytest.mark.parametrize(
    "span",
    [
        "views/warpt.py",
        "views/warp.py:warpt",
        "pretrain/model.py:PairLoss.drawn",
        "confing.py",
        "training/task.py:Net.x",
    ],
)
def test_a_wrong_name_is_noticed(span):
    assert missing(span)


def test_the_picture_is_of_this_code():
    assert draw_architecture.PICTURE.read_text() == draw_architecture.picture(), "run 'make architecture'"


def test_the_picture_shows_imports():
    """Two boxes and the arrow between them; without the import, one arrow less."""
    floors = [["cli"], ["commands"], ["a"], ["config"]]
    with_arrow, without = (
        draw_architecture.draw({"commands": arrow, "a": {"config"}}, floors) for arrow in ({"a"}, set())
    )
    assert with_arrow.count("<path") == without.count("<path") + 1


# -- folders -----------------------------------------------------------------------------------------------------------
def folders(parent: Path) -> set[str]:
    return {path.name for path in parent.iterdir() if any(path.rglob("*.py"))} if parent.is_dir() else set()


def test_contributing_lists_the_folders_of_the_package():
    listed = re.findall(r"^\| `(\w+)/` \|", CONTRIBUTING.read_text(), flags=re.MULTILINE)
    assert sorted(listed) == sorted(name for name in folders(PACKAGE) if (PACKAGE / name).is_dir())
    floors = [number for name in listed for number, names in enumerate(layers_of_the_contract()) if name in names]
    assert floors == sorted(floors)
    assert len(floors) == len(listed)


def test_tests_mirror_the_package():
    own = {name for name in folders(ROOT / "tests") if (ROOT / "tests" / name).is_dir()}
    package = {name for name in folders(PACKAGE) if (PACKAGE / name).is_dir()}
    assert own - package == OTHER_TESTS
    elsewhere = dict(re.findall(r"of `(\w+)/`\s+(?:are\s+)?in\s+`(tests/\w+)`", CONTRIBUTING.read_text()))
    assert package - own == set(elsewhere)
    for name, place in elsewhere.items():
        assert any(f"simhand_cli.{name}" in file.read_text() for file in (ROOT / place).rglob("*.py")), name


def test_folders_inside_folders_mirror_too():
    for file in (ROOT / "tests").glob("*/*/test_*.py"):
        assert (PACKAGE / file.relative_to(ROOT / "tests").parent).is_dir(), file
