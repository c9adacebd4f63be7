"""What needs no training: the mean pose and mean shape of the labels, and MediaPipe."""

from pathlib import Path
from typing import Any

import numpy as np
from compute import ALIGNMENTS, REAL, UNSEEN
from prepare import Places
from synth_transfer import measure

from simhand_cli.console import Console
from simhand_cli.evaluation.predict.predictors import MediaPipePose, PosePredictor, mean_pose, mean_shape
from simhand_cli.labelled.open import open_labelled


def baselines(places: Places) -> dict[str, dict[str, Any]]:
    """MPJPE in mm of every kept alignment, by test set and baseline; the means are of the whole training split."""
    train = open_labelled(places.labelled, "train")
    every = np.arange(len(train))
    predictors: list[tuple[str, PosePredictor]] = [
        ("mean pose", mean_pose(train, every, 0)), ("mean shape", mean_shape(train, every, 0)),
        ("MediaPipe", MediaPipePose()),
    ]  # fmt: skip
    tests: dict[str, Path | None] = {UNSEEN: places.labelled, REAL: places.real}
    console = Console(quiet=True)
    found: dict[str, dict[str, Any]] = {}
    for test, folder in tests.items():
        if folder is None:
            continue
        labelled = open_labelled(folder, "test")
        rows = {name: measure(labelled, predictor, console) for name, predictor in predictors}
        found[test] = {
            name: {"hands found": f"{row['found']} of {row['samples']}", **{a: row[a]["mm"] for a in ALIGNMENTS}}
            for name, row in rows.items()
        }
    for _, predictor in predictors:
        predictor.close()
    return found
