"""From a table of 3D joints to a measured hand model: python examples/own_labels.py joints.csv --workspace my-hands."""

import argparse
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from simhand_cli.commands.data import data
from simhand_cli.commands.evaluate import evaluate
from simhand_cli.commands.finetune import finetune
from simhand_cli.console import Console
from simhand_cli.errors import SimhandError
from simhand_cli.evaluation.config import EvaluateConfig
from simhand_cli.finetune.config import FinetuneConfig
from simhand_cli.labelled.config import DataConfig

JOINTS = 21


def read_hands(table: Path) -> Iterator[dict[str, Any]]:
    """Every hand of the table as a line of ``labels.jsonl``; change this if your labels lie otherwise."""
    with table.open(newline="") as file:
        for row in csv.DictReader(file):
            xyz = [[row[f"{axis}{joint}"] for axis in "xyz"] for joint in range(JOINTS)]
            yield {
                "image": str((table.parent / row["picture"]).resolve()),
                "hand": row["hand"],
                "split": row["split"],
                "subject": row["person"],
                "joints_mm": [[float(value) for value in joint] if all(joint) else None for joint in xyz],
                "intrinsics": [
                    [float(row["fx"]), 0.0, float(row["cx"])],
                    [0.0, float(row["fy"]), float(row["cy"])],
                    [0.0, 0.0, 1.0],
                ],
            }


def write_set(table: Path, folder: Path) -> Path:
    """Write the table as a labelled set that all commands can open; the pictures stay where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(hand) for hand in read_hands(table)]
    (folder / "labels.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def measure_model_of(labels: Path, workspace: Path, **options: Any) -> tuple[float, float]:
    """Train on the set's training split and measure on its test split.

    Args:
        labels: the labelled set.
        workspace: where an encoder may lie, and runs go.
        options: of fine-tuning, as on the command line.

    Returns:
        errors in mm of the model, and of the mean hand as a baseline: root joint aligned, and scaled to the bone.
    """
    console = Console()
    checked = data(DataConfig(workspace=workspace, action="check", path=labels), console)
    for fault in checked.dropped:
        print(f"look at {checked.outputs.get('samples', labels)}: {fault.count} {fault.what}: {fault.why}")
    if not any((workspace / "runs").glob("pretrain-*/result.json")):
        options = {"encoder": "none", "backbone": "resnet18"} | options
    finetune(FinetuneConfig(workspace=workspace, data=[labels], **options), console)
    figures = []
    for model in (None, "mean-pose"):  # the newest run, then the baseline
        summary = evaluate(EvaluateConfig(workspace=workspace, data=[labels], model=model), console)
        (errors,) = (
            figure["value"]
            for figure in summary.data["metrics"]["sets"][0]["figures"]
            if (figure["metric"], figure["alignment"]) == ("mpjpe", "root_bone_scale")
        )
        figures.append(errors)
    return figures[0], figures[1]


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, help="joints.csv, see examples/README.md")
    parser.add_argument("--workspace", type=Path, default=Path("my-hands"))
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--backbone", default=None, help="without an encoder in the workspace: a model of timm")
    given = parser.parse_args()
    options = {"epochs": given.epochs, "batch_size": given.batch_size}
    if given.backbone:
        options["backbone"] = given.backbone
    try:
        labels = write_set(given.table, given.workspace / "own-labels")
        model_mm, mean_mm = measure_model_of(labels, given.workspace, **options)
    except SimhandError as problem:  # one line that says what to change
        raise SystemExit(f"{problem}") from problem
    print(f"the model is {model_mm:.1f} mm off on the test split, the mean hand {mean_mm:.1f} mm")


# Steps start processes that import this file again: they must not run it.
if __name__ == "__main__":
    main()
