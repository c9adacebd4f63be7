"""Recognise a labelled set by its layout and open it with the right reader."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from simhand_cli.errors import InputProblem, UsageProblem
from simhand_cli.labelled.readers.jsonl_lines import jsonl_splits
from simhand_cli.labelled.sample import LabelledSet, NoSuchSplit
from simhand_cli.workspace.paths import Workspace

#: Layout name -> files (any of them, * for any name) that identify it.
LAYOUTS: dict[str, tuple[str, ...]] = {
    "synth": ("dataset.json",),
    "freihand": ("training_K.json", "evaluation_K.json"),
    "hanco": ("meta.json",),
    "jsonl": ("labels.jsonl",),
    "dexycb": ("calibration/intrinsics/836212060125_640x480.yml",),
    "hand_graph_cnn": ("labels.npz",),
    "assemblyhands": ("annotations/*/assemblyhands_*_ego_data_v1-1.json",),
    "interhand": ("annotations/*/InterHand2.6M_*_data.json",),
    "coco_wholebody": ("annotations/coco_wholebody_*_v1.0.json",),
}


def recognise(path: Path) -> str:
    """The layout of a labelled set's folder.

    Args:
        path: the set's folder.

    Returns:
        a key of :data:`LAYOUTS`.

    Raises:
        InputProblem: the folder is missing or has no layout simhand knows.
    """
    if path.exists() and not path.is_dir():
        raise InputProblem(f"--data {path} is a file, not a folder")
    if not path.is_dir():
        raise InputProblem(f"--data {path}: no such folder")
    for layout, markers in LAYOUTS.items():
        if any(found.is_file() for marker in markers for found in path.glob(marker)):
            return layout
    known = "; ".join(f"{layout}: {' or '.join(markers)}" for layout, markers in LAYOUTS.items())
    raise InputProblem(f"--data {path}: not a labelled set simhand knows ({known})")


def open_labelled(path: Path, split: str = "train") -> LabelledSet:
    """Open a labelled set of any known layout.

    Args:
        path: the set's folder.
        split: ``train``, ``test``, or another that the set has; FreiHAND's evaluation images are its ``test``.

    Returns:
        the set; nothing but its labels is read yet.

    Raises:
        InputProblem: unknown layout, missing or damaged label files, an empty or unknown split.
    """
    layout = recognise(path)
    labelled: LabelledSet
    # Imported one by one, so that opening one set does not load what only the others need (HDF5, YAML).
    if layout == "synth":
        from simhand_cli.labelled.readers.synth import SynthSet

        labelled = SynthSet(path, split)
    elif layout == "freihand":
        from simhand_cli.labelled.readers.freihand import FreiHand

        labelled = FreiHand(path, split)
    elif layout == "hanco":
        from simhand_cli.labelled.readers.hanco import HanCo

        labelled = HanCo(path, split)
    elif layout == "dexycb":
        from simhand_cli.labelled.readers.dexycb import DexYcb

        labelled = DexYcb(path, split)
    elif layout == "assemblyhands":
        from simhand_cli.labelled.readers.assemblyhands import open_assemblyhands

        labelled = open_assemblyhands(path, split)
    elif layout == "interhand":
        from simhand_cli.labelled.readers.interhand import open_interhand

        labelled = open_interhand(path, split)
    elif layout == "coco_wholebody":
        from simhand_cli.labelled.readers.coco_wholebody import CocoWholeBody

        labelled = CocoWholeBody(path, split)
    elif layout == "jsonl":
        from simhand_cli.labelled.readers.jsonl_set import JsonlSet

        labelled = JsonlSet(path, split)
    else:
        from simhand_cli.labelled.readers.hand_graph_cnn import HandGraphCnn

        labelled = HandGraphCnn(path, split)
    if len(labelled) == 0:
        raise NoSuchSplit(f"--data {path}: its split {split!r} is empty")
    return labelled


def newest_own_set(workspace: Workspace) -> Path:
    """The folder of the newest complete set that ``simhand synth`` made in the workspace.

    Raises:
        InputProblem: there is none.
    """
    found = [card.parent for card in workspace.synth_dir.glob("**/dataset.json")]
    if not found:
        raise InputProblem(
            f"no labelled set in {workspace.synth_dir}: give one with --data, or make one with 'simhand synth'"
        )
    # The name breaks ties of a coarse clock.
    return max(found, key=lambda p: ((p / "dataset.json").stat().st_mtime_ns, p.name))


def refuse_repeated(paths: Iterable[Path]) -> None:
    """Every folder of ``--data`` may be given once, however it is spelt.

    Raises:
        UsageProblem: one is given twice.
    """
    seen: set[Path] = set()
    for path in paths:
        # Labels given twice would count twice in training and make intervals too narrow in measuring.
        if path.resolve() in seen:
            raise UsageProblem(f"--data {path} is given twice")
        seen.add(path.resolve())


_USUAL: Final = ("train", "val", "test")
#: Sets whose test labels are not public: their validation split is what one measures on.
_TEST_NOT_PUBLIC: Final = ("assemblyhands", "coco_wholebody")


def matching_test_split(split: str) -> str:
    """The test split of a split's setup: ``s1-test`` for ``s1-train``, else ``test``."""
    # A model trained on s1-train and measured on s0's test would have seen its people.
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
        # A damaged split says more than that others are absent.
        raise next(iter(broken + problems), InputProblem(f"--data {path}: no labels in it"))


def _open(path: Path, split: str) -> LabelledSet | InputProblem:
    try:
        return open_labelled(path, split)
    except InputProblem as problem:
        return problem
