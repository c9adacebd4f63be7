"""Which sets and splits an evaluation measures on."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from simhand_cli.errors import InputProblem
from simhand_cli.evaluation.training_sets import (
    TrainingSet,
    default_split,
    known_people,
    trained_on,
    training_paths,
    training_sets,
)
from simhand_cli.labelled.open import open_labelled, recognise
from simhand_cli.labelled.own_set import newest_own_set
from simhand_cli.labelled.sample import LabelledSet, NoSuchSplit
from simhand_cli.labelled.splits import held_out_split
from simhand_cli.workspace.paths import Workspace

if TYPE_CHECKING:
    from simhand_cli.commands.evaluate import EvaluateConfig


@dataclass
class OpenedSets:
    """The sets to measure on.

    Attributes:
        paths: where they lie.
        sets: opened.
        left_out: why sets of the training run are not measured, and how they can be.
    """

    paths: list[Path] = field(default_factory=list)
    sets: list[LabelledSet] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def open_test_sets(config: "EvaluateConfig", model_file: Path | None, workspace: Workspace) -> OpenedSets:
    """Open the sets of ``--data``, or those of the model's training run that have the split, or the newest own one.

    Raises:
        InputProblem: a set that cannot be opened, or no set has the split.
    """
    trained = training_sets(model_file) if model_file else []
    run_paths = training_paths(model_file) if model_file and not config.data else []
    opened = OpenedSets()
    for path in config.data or run_paths or [newest_own_set(workspace)]:
        layout = recognise(path)
        split = config.split or default_split(trained, layout, path)
        try:
            labelled = open_labelled(path, split)
        except NoSuchSplit as problem:
            if not run_paths:
                raise
            opened.left_out.append(f"{problem}{_how_else(path, layout, split, trained)}")
            continue
        opened.paths.append(path)
        opened.sets.append(labelled)
    if not opened.sets:
        raise InputProblem(opened.left_out[0])
    return opened


def training_warnings(
    opened: OpenedSets, labels_sha256: list[str], model_file: Path | None, split_named: bool
) -> list[str]:
    """What makes figures too good: labels, or people, that the model was trained on.

    Args:
        opened: the sets.
        labels_sha256: digest of the labels of each.
        model_file: the fine-tuned model, None for a baseline.
        split_named: the user has named the split, and so wants it.

    Raises:
        InputProblem: the model was trained on these labels, and nobody has named the split.
    """
    trained = training_sets(model_file) if model_file else []
    warnings = []
    for path, labelled, digest in zip(opened.paths, opened.sets, labels_sha256, strict=True):
        kind = f"{labelled.name}/{labelled.split}"
        if trained_on(trained, labelled, path, digest):
            if not split_named:
                raise InputProblem(
                    f"--data {path}: the model was trained on {kind} itself; give other labels (--data, --split), or "
                    f"--split {labelled.split} to measure on these all the same"
                )
            warnings.append(f"the model was trained on {kind} itself: its errors say nothing about other hands")
        elif people := known_people(trained, labelled, path):
            count = len(set(labelled.subjects))
            warnings.append(f"{len(people)} of the {count} people of {kind} are known from training, e.g. {people[0]}")
    return warnings


def _how_else(path: Path, layout: str, split: str, trained: list[TrainingSet]) -> str:
    """The command that measures a set without this split, where another one is held out."""
    learned = next((one.split for one in trained if one.name == layout), "train")
    other = held_out_split(layout, learned)
    return "" if other in (split, learned) else f" (simhand evaluate --data {path} --split {other})"
