"""How much memory does a step of 8,192 pairs take, when it is computed in parts?

Usage: python benchmarks/large_batch.py WORKSPACE [--encoders resnet18] [--batch-sizes 256 1024 8192] [--part 64]
           [--device cpu]

WORKSPACE has mined pairs, at least as many as the largest batch. One optimiser step (views, gradient caching, loss,
Adam) is done for every batch size, smallest first, in one process for every encoder, fed by one loader process. Noted
are seconds without fetching, the most memory of the process so far (on a GPU the most allocated there), the bytes of
the batch's crops in it, and what a step without parts would need by the formula of `simhand pretrain --dry-run`. Writes
benchmarks/results/large_batch.json.
"""

import argparse
import json
import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from machine import machine
from pretrain_throughput import Stepper

from simhand_cli.pretrain.config import PretrainConfig
from simhand_cli.pretrain.dry_run import estimate_step
from simhand_cli.pretrain.loss.grad_cache import backward_in_parts
from simhand_cli.pretrain.pairs.epoch_order import StepBatches
from simhand_cli.pretrain.pairs.pair_loader import pair_batches
from simhand_cli.pretrain.pairs.pair_table import PairDataset
from simhand_cli.pretrain.settings import settle
from simhand_cli.pretrain.worker import load_table
from simhand_cli.workspace.paths import Workspace


def most_bytes(device: str) -> int:
    """The most memory that this process has had."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def one_step(stepper: Stepper, workspace: Workspace, pairs: int, part: int) -> dict[str, Any]:
    """Fetch so many pairs, learn from them once."""
    table = load_table(workspace, stepper.config)
    dataset = PairDataset(table, workspace.crops_dir, 0)
    (batch,) = pair_batches(dataset, StepBatches(len(table), pairs, 1, 0), stepper.ranks, workers=1)
    start = time.perf_counter()
    loss, _ = backward_in_parts(stepper.loss, stepper.model, batch.to(stepper.ranks.device), part, stepper.scaler)
    stepper.scaler.step(stepper.optimiser)
    stepper.optimiser.zero_grad(set_to_none=True)
    value = loss.item()  # waits for the device
    return {
        "loss": round(value, 4),
        "seconds": round(time.perf_counter() - start, 1),
        "most bytes": most_bytes(stepper.ranks.device),
        "bytes of the crops in it": batch.crops1.nbytes + batch.crops2.nbytes,
    }


def measure(encoder: str, given: argparse.Namespace) -> dict[str, Any]:
    """All batch sizes of one encoder, smallest first."""
    workspace, largest = Workspace.open(given.workspace), max(given.batch_sizes)
    config = settle(PretrainConfig(workspace=given.workspace, backbone=encoder, batch_size=largest))
    pairs = len(load_table(workspace, config))
    if pairs < largest:
        raise SystemExit(f"{given.workspace} has {pairs} pairs, fewer than {largest}: see --batch-sizes")
    stepper = Stepper(config, given.device)
    stepper.model.train()
    steps: dict[str, dict[str, Any]] = {}
    for size in sorted(given.batch_sizes):
        steps[f"{size} pairs"] = one_step(stepper, workspace, size, given.part)
        print(encoder, size, steps[f"{size} pairs"], flush=True)
    whole = estimate_step(encoder, config.views.output_px, 2 * largest, given.device, stepper.precision.name)
    return {
        "precision": stepper.precision.name,
        "steps": steps,
        f"bytes of {largest} pairs at once, by the formula": whole.bytes_per_process,
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--encoders", nargs="+", default=["resnet18"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[256, 1024, 8192])
    parser.add_argument("--part", type=int, default=64, help="pairs computed at once")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    results = {}
    for encoder in given.encoders:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            results[encoder] = process.submit(measure, encoder, given).result()
    document = {
        "machine": machine(given.device),
        "views": "128 px",
        "pairs computed at once": given.part,
        "encoders": results,
    }
    print(json.dumps(document, indent=2))
    out = Path(__file__).parent / "results" / "large_batch.json"
    out.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
