"""The training hands whose mean a baseline answers with."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simhand_cli.labelled.checks.labels_3d import check_labels
from simhand_cli.labelled.open import open_labelled
from simhand_cli.labelled.sample import LabelledSet, require_3d
from simhand_cli.skeleton import MIDDLE_MCP, WRIST
from simhand_cli.summary import Dropped


@dataclass(frozen=True)
class TrainingHands:
    """A training split and which of its samples may be averaged.

    Attributes:
        labelled: the split.
        usable: (U,) positions of the samples that fine-tuning would use, too.
        dropped: what was left out because of its labels.
    """

    labelled: LabelledSet
    usable: NDArray[np.int64]
    dropped: list[Dropped]


def find_training_hands(path: Path) -> TrainingHands:
    """The training split of a set, checked as ``simhand finetune`` checks it.

    Raises:
        InputProblem: there is no training split, or its labels cannot be right.
    """
    # Of training hands: a mean of the test hands would know the answers.
    labelled = open_labelled(path, "train")
    require_3d(labelled, path, "a mean hand is taken of 3D ones: --model mean-pose and mean-shape do not apply")
    check = check_labels(labelled, path, (WRIST, MIDDLE_MCP))
    left_out = (*labelled.problems(), *check.dropped)
    dropped = [replace(one, what=f"training {one.what}") for one in left_out]
    return TrainingHands(labelled, np.flatnonzero(check.usable), dropped)
