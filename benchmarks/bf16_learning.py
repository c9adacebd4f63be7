"""Does training in bf16 on a CPU learn what fp32 learns? The same run in both, seed by seed.

Usage: python benchmarks/bf16_learning.py WORKSPACE LABELLED_SET [--encoder resnet18] [--steps 120] [--seeds 2]

WORKSPACE has mined pairs. PeCLR is pre-trained at 64 px with `--precision fp32` and with `bf16`, everything else equal.
Compared are the losses of the last tenth of the steps, and the frozen encoders by `simhand probe` on LABELLED_SET
(linear probe and nearest neighbour, MPJPE in mm after root + bone scale); several seeds show what chance does. One
thread each, both precisions at once. Writes benchmarks/results/bf16_learning.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from machine import machine

_PRECISIONS = ("fp32", "bf16")


def simhand(*words: object) -> None:
    """Run a command with one thread."""
    command = [sys.executable, "-m", "simhand_cli", *map(str, words)]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def learn(given: argparse.Namespace, precision: str, seed: int) -> dict[str, float]:
    """Pre-train and probe one encoder."""
    name, place = f"{precision}-seed{seed}", ("--workspace", given.workspace)
    simhand(
        "pretrain", "--method", "peclr", "--encoder", given.encoder, "--views.output-px", 64, "--batch-size", 128,
        "--max-steps", given.steps, "--log-every", 1, "--probe-every", 0, "--precision", precision, "--seed", seed,
        "--gpus", 0, "--name", name, *place,
    )  # fmt: skip
    runs = given.workspace / "runs"
    simhand(
        "probe", "--encoder", runs / f"pretrain-{name}", "--no-untrained", "--data", given.labelled, "--input-px", 64,
        "--gallery-limit", 2000, "--plotted", 60, "--bootstrap", 100, "--device", "cpu", "--name", name, *place,
    )  # fmt: skip
    lines = [json.loads(line) for line in (runs / f"pretrain-{name}" / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in lines if line["step"] > 0.9 * given.steps]
    (encoder,) = json.loads((runs / f"probe-{name}" / "metrics.json").read_text())["encoders"]
    probed = {f["metric"]: f["value"] for f in encoder["figures"] if f["alignment"] == "root_bone_scale"}
    return {
        "loss of the last tenth": round(statistics.fmean(line["loss"] for line in last), 4),
        "linear probe, mm": round(probed["linear"], 2),
        "nearest neighbour, mm": round(probed["retrieval_1"], 2),
        "views a second": round(statistics.median(line["views_per_s"] for line in lines[5:]), 1),
    }


def main() -> None:
    """Run, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("labelled", type=Path)
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    found: dict[str, Any] = {}
    for seed in range(given.seeds):
        with ThreadPoolExecutor(len(_PRECISIONS)) as pool:
            of_seed = pool.map(lambda precision, seed=seed: learn(given, precision, seed), _PRECISIONS)
            found[f"seed {seed}"] = dict(zip(_PRECISIONS, of_seed, strict=True))
    document = {"machine": machine("cpu"), "encoder": given.encoder, "steps": given.steps, "runs": found}
    print(json.dumps(document, indent=2))
    out = Path(__file__).parent / "results" / "bf16_learning.json"
    out.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
