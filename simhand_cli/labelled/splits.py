"""Which splits of a labelled set are there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.jsonl_lines import jsonl_splits
from simhand_cli.labelled.open import open_labelled, recognise
from simhand_cli.labelled.sample import LabelledSet, NoSuchSplit

_USUAL: Final = ("train", "val", "test")
#: Sets whose test labels are not public: their validation split is what one measures on.
_TEST_NOT_PUBLIC: Final = ("assemblyhands", "coco_wholebody")


def matching_test_split(split: str) -> str:
    """The test split of a split's setup: ``s1-test`` for ``s1-train``, else ``test``."""
    setup, _, half = split.rpartition("-")
    return f"{setup}-test" if setup and half in ("train", "val") else "test"


def held_out_split(layout: str, split: str) -> str:
    """The split to measure on after training on ``split``: as far as the layout says, its labels are public."""
    return "val" if layout in _TEST_NOT_PUBLIC else matching_test_split(split)


def open_splits(path: Path) -> Iterator[tuple[str, LabelledSet | InputProblem]]:
    """Open every split of a set that is there, one after another; a split that is let go of takes no memory any more.

    Args:
        path: the set's folder.

    Yields:
        the split's name and the split, or what is wrong with one that is there but cannot be opened.

    Raises:
        InputProblem: no layout simhand knows, damaged labels of one's own, or, at the end, none could be opened.
    """
    names = jsonl_splits(path) if recognise(path) == "jsonl" else list(_USUAL)
    opened = False
    problems: list[InputProblem] = []
    for name in names:
        found = _open(path, name)
        if isinstance(found, InputProblem):
            problems.append(found)
        else:
            opened = True
        if not isinstance(found, NoSuchSplit):
            yield name, found
        del found  # before the next one is opened
    if not opened:
        broken = [problem for problem in problems if not isinstance(problem, NoSuchSplit)]
        raise next(iter(broken + problems), InputProblem(f"--data {path}: no labels in it"))


def _open(path: Path, split: str) -> LabelledSet | InputProblem:
    try:
        return open_labelled(path, split)
    except InputProblem as problem:
        return problem
