"""The house has one direction: no circle of imports, no two folders that import each other, options that are light."""

import subprocess
import sys

import pytest

from tools.import_graph import (
    PACKAGE,
    ROOT,
    circles,
    folder_graph,
    layers_of_the_contract,
    module_graph,
    without_implied,
)

#: The third-party packages that take long to load, or that may be missing where options are only shown.
HEAVY = ("torch", "torchvision", "timm", "cv2", "av", "mediapipe", "h5py", "numba", "scipy", "matplotlib")
CONFIGS = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts) for file in (ROOT / PACKAGE).glob("**/config.py")
)


@pytest.fixture(scope="module")
def modules():
    return module_graph(ROOT / PACKAGE)


# -- What the graph sees -----------------------------------------------------------------------------------------------
def package(path, **files):
    """A made-up package of files ``folder__module``."""
    top = path / "made_up"
    for name, text in files.items():
        file = top.joinpath(*name.split("__")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        for folder in (top, file.parent):
            (folder / "__init__.py").touch()
    return module_graph(top)


@pytest.mark.parametrize(
    "back",
    [
        "from made_up.low.ground import x",
        "import made_up.low.ground",
        "from made_up.low import ground",
        "def late():\n    from made_up.low.ground import x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from made_up.low.ground import X",
    ],
    ids=["name", "module", "module of a folder", "inside a function", "for types"],
)
def test_every_kind_of_import_closes_a_circle(tmp_path, back):
    graph = package(tmp_path, low__ground="from made_up.high.roof import y", high__roof=back)
    assert circles(graph) == [["made_up.high.roof", "made_up.low.ground"]]
    assert circles(folder_graph(graph)) == [["high", "low"]]


def test_folders_can_go_round_where_modules_do_not(tmp_path):
    graph = package(tmp_path, a__one="import made_up.b.one", b__one="", b__two="import made_up.a.two", a__two="")
    assert circles(graph) == []
    assert circles(folder_graph(graph)) == [["a", "b"]]


def test_a_circle_of_three_is_found_and_a_way_down_is_none(tmp_path):
    line = package(tmp_path, a__x="import made_up.b.x", b__x="import made_up.c.x", c__x="import os, made_up")
    assert circles(line) == []
    ring = line | {"made_up.c.x": {"made_up.a.x"}}
    assert circles(ring) == [["made_up.a.x", "made_up.b.x", "made_up.c.x"]]


def test_what_a_longer_way_says_is_left_out():
    assert without_implied({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": {"b"}, "b": {"c"}, "c": set()}


# -- The house ---------------------------------------------------------------------------------------------------------
def test_all_modules_are_seen(modules):
    assert "simhand_cli.training.task" in modules["simhand_cli.pretrain.task"]
    assert len(modules) == len(list((ROOT / PACKAGE).rglob("*.py")))


def test_no_module_goes_round(modules):
    assert circles(modules) == []


def test_no_folder_goes_round(modules):
    assert circles(folder_graph(modules)) == []


def test_every_folder_has_a_floor_and_imports_lower_ones(modules):
    floors = {name: number for number, names in enumerate(layers_of_the_contract()) for name in names}
    folders = folder_graph(modules)
    assert set(folders) - {"__main__"} == set(floors)
    up = [(a, b) for a in floors for b in folders[a] if floors[b] <= floors[a]]
    assert not up


def test_options_load_nothing_heavy():
    """Not by any way: in one process, since what one of them does not load all of them do not."""
    code = f"import sys, {', '.join(CONFIGS)}\nprint(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []
    assert len(CONFIGS) > 10


@pytest.mark.slow
def test_heavy_packages_would_be_noticed():
    code = f"import sys, simhand_cli.pretrain.task\nprint(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "torch" in done.stdout.split()
