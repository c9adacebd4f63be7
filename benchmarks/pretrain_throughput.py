"""Does pre-training wait for its data, and what do large batches in parts cost?

Usage: python benchmarks/pretrain_throughput.py WORKSPACE [--rounds 3] [--steps 6] [--device cpu]

WORKSPACE has mined pairs. Loops with the same optimiser steps (views, forward, loss, backward, Adam) take turns: fed by
the loader as the command feeds them; on batches that lie in memory; in memory with every batch computed in four parts
(`--micro-batch`); and in memory with the network compiled (`--compile`). Beside them the bare network's forward and
backward on as many random pictures, which lie on the device: the ceiling. Ratios are of medians. Writes
benchmarks/results/pretrain_throughput.json.
"""

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from in_turn import in_turn, ratio
from machine import machine

from simhand_cli.pretrain.config import PretrainConfig
from simhand_cli.pretrain.loss.grad_cache import backward_in_parts
from simhand_cli.pretrain.model import PairLoss, build_model
from simhand_cli.pretrain.pairs.epoch_order import StepBatches
from simhand_cli.pretrain.pairs.pair_batch import PairBatch
from simhand_cli.pretrain.pairs.pair_loader import pair_batches
from simhand_cli.pretrain.pairs.pair_table import PairDataset
from simhand_cli.pretrain.settings import settle
from simhand_cli.pretrain.trial_step import TrialStep
from simhand_cli.pretrain.worker import load_table
from simhand_cli.training.loader_workers import loader_workers, single_threaded_opencv
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.step.compile import compile_model
from simhand_cli.training.step.optimisers import build_optimiser, parameter_groups
from simhand_cli.training.step.precision import choose_precision
from simhand_cli.workspace.paths import Workspace

#: Steps before the clock starts: by then the loader has no more batches lying ready than it always has.
WARM = 4


class Stepper:
    """A model that learns from pairs."""

    def __init__(self, config: PretrainConfig, device: str) -> None:
        self.config, self.ranks = settle(config), Ranks(device=device)
        self.model = build_model(config.backbone, 0).to(device, memory_format=torch.channels_last)
        self.trial = TrialStep(self.model, config.views.output_px, 2 * config.batch_size)
        self.precision = choose_precision("auto", self.ranks, TrialStep(self.model, config.views.output_px))
        self.loss = PairLoss.of(self.config, self.precision, device)
        self.optimiser = build_optimiser("adam", parameter_groups([self.model], 1e-6), 1e-4)
        self.scaler = self.precision.scaler(device)

    def views_per_s(self, batches: Iterable[PairBatch], part_pairs: int) -> float:
        """Rate over the batches, the first few not counted."""
        views, start = 0, 0.0
        self.model.train()
        for number, batch in enumerate(batches):
            if number == WARM:
                self._wait()
                start = time.perf_counter()
            views += 2 * len(batch.rows1) if number >= WARM else 0
            self.optimiser.zero_grad(set_to_none=True)
            loss, _ = backward_in_parts(self.loss, self.model, batch.to(self.ranks.device), part_pairs, self.scaler)
            self.scaler.step(self.optimiser)
            self.scaler.update()
            loss.item()
        self._wait()
        return views / (time.perf_counter() - start)

    def compiled(self, batch: PairBatch) -> float:
        """Have the network compiled, by a first step on a batch; returns the seconds that took."""
        compile_model(self.model)
        start = time.perf_counter()
        backward_in_parts(self.loss, self.model, batch.to(self.ranks.device), len(batch.rows1), self.scaler)
        self._wait()
        return time.perf_counter() - start

    def bare_views_per_s(self) -> float:
        """Forward and backward of the network alone, on a batch of random pictures on the device."""
        self.trial(self.precision)
        start = time.perf_counter()
        for _ in range(3):
            self.trial(self.precision)
        return 3 * 2 * self.config.batch_size / (time.perf_counter() - start)

    def _wait(self) -> None:
        if self.ranks.device.startswith("cuda"):
            torch.cuda.synchronize()


def fed_batches(stepper: Stepper, workspace: Workspace, steps: int) -> Iterator[PairBatch]:
    """The batches of so many counted steps and those before the clock starts, as the command fetches them."""
    config, table = stepper.config, load_table(workspace, stepper.config)
    dataset = PairDataset(table, workspace.crops_dir, 0)
    batches = StepBatches(len(table), config.batch_size, 10_000, 0)
    workers = loader_workers(config.workers, stepper.ranks)
    return islice(pair_batches(dataset, batches, stepper.ranks, workers), steps + WARM)


def measure(encoder: str, given: argparse.Namespace) -> dict[str, Any]:
    """All rates of one encoder."""
    config = PretrainConfig(workspace=given.workspace, backbone=encoder, batch_size=given.batch_size)
    workspace = Workspace.open(given.workspace)
    stepper = Stepper(config, given.device)
    cached = list(fed_batches(stepper, workspace, given.steps))
    whole = given.batch_size
    joined = Stepper(config, given.device)
    first_step_s = joined.compiled(cached[0])
    rates = in_turn(
        {
            "loader-fed": lambda: stepper.views_per_s(fed_batches(stepper, workspace, given.steps), whole),
            "in memory": lambda: stepper.views_per_s(cached, whole),
            "in memory, four parts": lambda: stepper.views_per_s(cached, whole // 4),
            "in memory, compiled": lambda: joined.views_per_s(cached, whole),
            "bare network": stepper.bare_views_per_s,
        },
        given.rounds,
        encoder,
    )
    on_gpu = given.device.startswith("cuda")
    return {
        "precision": stepper.precision.name,
        "views a second": rates,
        **({"most bytes on the GPU": torch.cuda.max_memory_allocated()} if on_gpu else {}),
        "loader-fed / in memory": ratio(rates, "loader-fed", "in memory"),
        "in memory / bare network": ratio(rates, "in memory", "bare network"),
        "four parts / in memory": ratio(rates, "in memory, four parts", "in memory"),
        "compiled / in memory": ratio(rates, "in memory, compiled", "in memory"),
        "seconds of the first compiled step": round(first_step_s, 1),
    }


def arguments(description: str | None) -> argparse.Namespace:
    """What the benchmarks of pre-training are given."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--encoders", nargs="+", default=["resnet18", "resnet50"])
    return parser.parse_args()


def write(name: str, given: argparse.Namespace, results: dict[str, Any]) -> None:
    """Print the results and write them to ``benchmarks/results``."""
    document = {
        "machine": machine(given.device),
        "pairs per step": given.batch_size,
        "views": "128 px",
        "encoders": results,
    }
    print(json.dumps(document, indent=2))
    out = Path(__file__).parent / "results" / f"{name}.json"
    out.write_text(json.dumps(document, indent=2) + "\n")


def main() -> None:
    """Measure and write."""
    given = arguments(__doc__)
    with single_threaded_opencv():
        results = {name: measure(name, given) for name in given.encoders}
    write("pretrain_throughput", given, results)


if __name__ == "__main__":
    main()
