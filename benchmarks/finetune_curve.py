"""How well DetNet learns synthetic hands: the curve of a run, and its error on people it has never seen.

Usage: python benchmarks/finetune_curve.py RUN [--out results/finetune_curve.json]

RUN is a finished run of `simhand finetune`. The committed one was made, on CPU cores, by

    simhand synth --count 16000 --subjects 400 --image-px 128 --seed 5 --things 0.15 --out moderate
    simhand synth --count 8000 --subjects 200 --image-px 128 --seed 6 --things 0.15 --view random --out random
    simhand finetune --data moderate --data random --encoder none --backbone resnet18 --epochs 14 --batch-size 32 \
        --width 64 --input-px 64 --ema 0.999 --set loss.location=10 --set augment.rotation_deg=30 \
        --set augment.scale=0.1 --set augment.shift=0.05 --set augment.colour=0.5 --set augment.blur_px=0.5

The test splits of its sets hold other people than the training splits. Beside the model stand the mean pose and the
mean shape of the training split. Writes the curve (validation people) and the errors (test people).
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from synth_transfer import measure

from simhand_cli.console import Console
from simhand_cli.evaluation.predict.predictors import FinetunedPose, PosePredictor, mean_pose, mean_shape
from simhand_cli.labelled.open import open_labelled
from simhand_cli.training.log.metrics_log import read_metrics

#: Options that decide what was learned, beside the defaults.
_SHOWN = ("backbone", "epochs", "batch_size", "lr", "width", "input_px", "ema", "augment", "loss")


def main() -> None:
    """Evaluate and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "finetune_curve.json")
    given = parser.parse_args()
    options = yaml.safe_load((given.run / "config.yaml").read_text())
    samples = json.loads((given.run / "samples.json").read_text())["sets"]
    metrics = read_metrics(given.run / "metrics.jsonl")
    model = FinetunedPose(given.run / "model.safetensors", "cpu")
    results: dict[str, dict[str, Any]] = {}
    for folder in map(Path, options["data"]):
        train, test = open_labelled(folder, "train"), open_labelled(folder, "test")
        every = np.arange(len(train))
        predictors: list[tuple[str, PosePredictor]] = [
            ("model", model), ("mean pose", mean_pose(train, every, 0)), ("mean shape", mean_shape(train, every, 0)),
        ]  # fmt: skip
        results[folder.name] = {name: measure(test, predictor, Console()) for name, predictor in predictors}
        print(folder.name, json.dumps(results[folder.name]), flush=True)
    curve = [{k: m[k] for k in ("epoch", "val_root_bone_mpjpe_mm", "val_px", "loss")} for m in metrics]
    document = {
        "options": {name: options[name] for name in _SHOWN if name in options},
        "training samples": sum(len(one["train"]) for one in samples),
        "validation samples, other people": sum(len(one["val"]) for one in samples),
        "median crops a second": sorted(m["crops_per_s"] for m in metrics)[len(metrics) // 2],
        "curve": curve,
        "test people, mpjpe": results,
    }
    given.out.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
