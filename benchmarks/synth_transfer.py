"""Does a model that has only seen synthetic hands work on real ones?

Usage: python benchmarks/synth_transfer.py DATA MODEL.safetensors SYNTH_SET [--out results/synth_transfer.json]

DATA is a folder with `labelled3d/hand_graph_cnn_real` and `videos_multiview`, MODEL a fine-tuning run's model trained
on SYNTH_SET alone. Measured on real hands beside three baselines: the mean pose and the mean shape of SYNTH_SET's
training half (which has seen the same data as the model), and MediaPipe's own world landmarks. The labels of the videos
are triangulated from MediaPipe's 2D joints, so they flatter MediaPipe. The unit of handpose3d is unknown: only its
aligned figures mean anything.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from pseudo_labels import caliscope, handpose3d

from simhand_cli.console import Console
from simhand_cli.evaluation.predict.predict_set import predict_set
from simhand_cli.evaluation.predict.predictors import FinetunedPose, MediaPipePose, PosePredictor, mean_pose, mean_shape
from simhand_cli.evaluation.score.score import Scale, score_set
from simhand_cli.labelled.open import open_labelled
from simhand_cli.labelled.sample import LabelledSet
from simhand_cli.metrics.alignment import AlignmentName
from simhand_cli.metrics.bootstrap import resampling

ALIGNMENTS: tuple[AlignmentName, ...] = ("root", "root_bone_scale", "procrustes_scale")


def measure(labelled: LabelledSet, predictor: PosePredictor, console: Console) -> dict[str, Any]:
    """MPJPE in mm after each alignment, with bootstrap 95 % intervals over samples, and how many hands were found."""
    with console.progress(labelled.name, len(labelled), "samples") as ticker:
        predictions = predict_set(labelled, np.arange(len(labelled)), predictor, 32, ticker).predictions
    assert predictions is not None
    score = score_set(predictions, Scale(), resampling(predictions.sample_ids, "sample", 1000, 0))
    row: dict[str, Any] = {"samples": score.samples, "found": score.found}
    for name in ALIGNMENTS:
        aligned = score.by_alignment[name]
        low, high = aligned.intervals["mpjpe"]
        row[name] = {"mm": round(aligned.mean, 2), "95 %": [round(low, 2), round(high, 2)]}
    return row


def main() -> None:
    """Evaluate and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("synth", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "synth_transfer.json")
    given = parser.parse_args()
    console = Console()
    train = open_labelled(given.synth, "train")
    every = np.arange(len(train))
    mean, shape = mean_pose(train, every, 0), mean_shape(train, every, 0)
    multiview = given.data / "videos_multiview"
    right = shape.pose_mm
    sets: list[LabelledSet] = [
        open_labelled(given.data / "labelled3d" / "hand_graph_cnn_real", "test"),
        caliscope(multiview / "caliscope" / "post_optimization", right),
        handpose3d(multiview / "handpose3d", right),
        open_labelled(given.synth, "test"),
    ]
    results: dict[str, dict[str, Any]] = {}
    model = FinetunedPose(given.model, "cpu")
    baselines: list[tuple[str, PosePredictor]] = [
        ("model", model), ("mean pose", mean), ("mean shape", shape), ("MediaPipe", MediaPipePose()),
    ]  # fmt: skip
    for labelled in sets:
        rows = results.setdefault(labelled.name, {})
        for name, predictor in baselines:
            rows[name] = measure(labelled, predictor, console)
            print(labelled.name, name, json.dumps(rows[name]), flush=True)
    for _, predictor in baselines:
        predictor.close()
    facts = model.facts
    facts.pop("path", None)
    given.out.write_text(json.dumps({"model": facts, "mpjpe, mm": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
