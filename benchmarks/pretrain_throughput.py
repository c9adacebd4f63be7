"""Does pre-training wait for its data, and what do large batches in parts cost?

Usage: python benchmarks/pretrain_throughput.py WORKSPACE [--rounds 3] [--steps 6] [--device cpu]

WORKSPACE has mined pairs. Three loops of the same optimiser steps (views, forward, loss, backward, Adam) take turns:
fed by the loader as the command feeds them; on batches that lie in memory; and in memory with every batch computed in
four parts (`--micro-batch`). Beside them the bare encoder's forward and backward on random pictures, a ceiling. Ratios
are of medians. Writes benchmarks/results/pretrain_throughput.json.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from machine import machine

from simhand_cli.commands.pretrain import PretrainConfig
from simhand_cli.pretrain.data import PairBatch, PairDataset, StepBatches, pair_batches
from simhand_cli.pretrain.grad_cache import backward_in_parts
from simhand_cli.pretrain.loop import TrialStep, load_table
from simhand_cli.pretrain.model import PairLoss, build_model
from simhand_cli.training.loader import single_threaded_opencv
from simhand_cli.training.optimisers import build_optimiser, parameter_groups
from simhand_cli.training.precision import choose_precision
from simhand_cli.training.ranks import Ranks
from simhand_cli.workspace.paths import Workspace

#: Steps before the clock starts: by then the loader has no more batches lying ready than it always has.
_WARM = 4


class Stepper:
    """A model that learns from pairs."""

    def __init__(self, config: PretrainConfig, device: str) -> None:
        self.config, self.ranks = config, Ranks(device=device)
        self.model = build_model(config.encoder, 0).to(device, memory_format=torch.channels_last)
        self.trial = TrialStep(self.model, config.views.output_px, 32)
        self.precision = choose_precision("auto", self.ranks, TrialStep(self.model, config.views.output_px))
        self.loss = PairLoss.of(config, self.precision, device)
        self.optimiser = build_optimiser("adam", parameter_groups([self.model], 1e-6), 1e-4)
        self.scaler = self.precision.scaler(device)

    def views_per_s(self, batches: Iterable[PairBatch], part_pairs: int) -> float:
        """Rate over the batches, the first few not counted."""
        views, start = 0, 0.0
        self.model.train()
        for number, batch in enumerate(batches):
            if number == _WARM:
                self._wait()
                start = time.perf_counter()
            views += 2 * len(batch.rows1) if number >= _WARM else 0
            self.optimiser.zero_grad(set_to_none=True)
            loss, _ = backward_in_parts(self.loss, self.model, batch.to(self.ranks.device), part_pairs, self.scaler)
            self.scaler.step(self.optimiser)
            self.scaler.update()
            loss.item()
        self._wait()
        return views / (time.perf_counter() - start)

    def bare_views_per_s(self) -> float:
        """Forward and backward of the encoder alone, 32 random pictures."""
        self.trial(self.precision)
        start = time.perf_counter()
        for _ in range(3):
            self.trial(self.precision)
        return 3 * 32 / (time.perf_counter() - start)

    def _wait(self) -> None:
        if self.ranks.device.startswith("cuda"):
            torch.cuda.synchronize()


def measure(encoder: str, given: argparse.Namespace) -> dict[str, Any]:
    """All rates of one encoder."""
    config = PretrainConfig(workspace=given.workspace, encoder=encoder, batch_size=given.batch_size)
    workspace = Workspace.open(given.workspace)
    table = load_table(workspace, config)
    stepper = Stepper(config, given.device)
    steps = given.steps + _WARM

    def fed() -> Iterable[PairBatch]:
        dataset = PairDataset(table, workspace.crops_dir, 0)
        batches = StepBatches(len(table), given.batch_size, 10_000, 0)
        return islice(pair_batches(dataset, batches, stepper.ranks, config.loader_workers(stepper.ranks)), steps)

    cached = list(fed())
    whole = given.batch_size
    loops: dict[str, Callable[[], float]] = {
        "loader-fed": lambda: stepper.views_per_s(fed(), whole),
        "in memory": lambda: stepper.views_per_s(cached, whole),
        "in memory, four parts": lambda: stepper.views_per_s(cached, whole // 4),
        "bare encoder": stepper.bare_views_per_s,
    }
    rates: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(given.rounds):
        for name, loop in loops.items():
            rates[name].append(round(loop(), 1))
        print(encoder, {name: found[-1] for name, found in rates.items()}, flush=True)
    middle = {name: statistics.median(found) for name, found in rates.items()}
    return {
        "precision": stepper.precision.name,
        "views a second": rates,
        "loader-fed / in memory": round(middle["loader-fed"] / middle["in memory"], 3),
        "in memory / bare encoder": round(middle["in memory"] / middle["bare encoder"], 3),
        "four parts / in memory": round(middle["in memory, four parts"] / middle["in memory"], 3),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--encoders", nargs="+", default=["resnet18", "resnet50"])
    given = parser.parse_args()
    with single_threaded_opencv():
        results = {name: measure(name, given) for name in given.encoders}
    document = {
        "machine": machine(given.device),
        "pairs per step": given.batch_size,
        "views": "128 px",
        "encoders": results,
    }
    print(json.dumps(document, indent=2))
    out = Path(__file__).parent / "results" / "pretrain_throughput.json"
    out.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
