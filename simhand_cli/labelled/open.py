"""Recognise a labelled set by its layout and open it with the right reader."""

from pathlib import Path

from simhand_cli.errors import InputProblem
from simhand_cli.labelled.sample import LabelledSet, NoSuchSplit

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
    if layout == "synth":
        from simhand_cli.labelled.synth import SynthSet

        labelled = SynthSet(path, split)
    elif layout == "freihand":
        from simhand_cli.labelled.freihand import FreiHand

        labelled = FreiHand(path, split)
    elif layout == "hanco":
        from simhand_cli.labelled.hanco import HanCo

        labelled = HanCo(path, split)
    elif layout == "dexycb":
        from simhand_cli.labelled.dexycb import DexYcb

        labelled = DexYcb(path, split)
    elif layout == "assemblyhands":
        from simhand_cli.labelled.assemblyhands import open_assemblyhands

        labelled = open_assemblyhands(path, split)
    elif layout == "interhand":
        from simhand_cli.labelled.interhand import open_interhand

        labelled = open_interhand(path, split)
    elif layout == "coco_wholebody":
        from simhand_cli.labelled.coco_wholebody import CocoWholeBody

        labelled = CocoWholeBody(path, split)
    elif layout == "jsonl":
        from simhand_cli.labelled.jsonl_set import JsonlSet

        labelled = JsonlSet(path, split)
    else:
        from simhand_cli.labelled.hand_graph_cnn import HandGraphCnn

        labelled = HandGraphCnn(path, split)
    if len(labelled) == 0:
        raise NoSuchSplit(f"--data {path}: its split {split!r} is empty")
    return labelled
