"""Which splits of a labelled set are there."""

from pathlib import Path
from typing import Final

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.jsonl_set import jsonl_splits
from simhand_cli.labelled.open import open_labelled, recognise
from simhand_cli.labelled.sample import LabelledSet, NoSuchSplit

_USUAL: Final = ("train", "val", "test")


def open_splits(path: Path) -> tuple[list[LabelledSet], dict[str, str]]:
    """Open every split of a set that is there.

    Args:
        path: the set's folder.

    Returns:
        the splits, and split -> message of those that are there but cannot be opened.

    Raises:
        InputProblem: no layout simhand knows, damaged labels of one's own, or no split at all.
    """
    names = jsonl_splits(path) if recognise(path) == "jsonl" else list(_USUAL)
    found: list[LabelledSet] = []
    absent, broken = [], {}
    for name in names:
        try:
            found.append(open_labelled(path, name))
        except NoSuchSplit as problem:
            absent.append(str(problem))
        except InputProblem as problem:
            broken[name] = str(problem)
    if not found:
        raise InputProblem(next(iter(broken.values()), "") or next(iter(absent), f"--data {path}: no labels in it"))
    return found, broken
