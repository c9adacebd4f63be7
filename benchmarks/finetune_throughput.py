"""Does fine-tuning wait for its data? Steps fed by the loader against the same steps on batches that lie in memory.

Usage: python benchmarks/finetune_throughput.py SYNTH_SET [--rounds 3] [--device cpu] [--batch-size 32]

SYNTH_SET is a labelled set of `simhand synth --image-px 128`. Both loops do the same: forward, losses, backward, AdamW,
at the precision that `simhand finetune` would choose. The loader reads, decodes, warps and varies crops with the
command's own number of worker processes. Loops take turns; the ratio is of medians. Metrics are timed too: the cost of
evaluating 4,000 predictions. Writes benchmarks/results/finetune_throughput.json.
"""

import argparse
import json
import os
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from in_turn import in_turn, ratio
from machine import machine
from torch import nn

from simhand_cli.evaluation.predict.predictions import SetPredictions
from simhand_cli.evaluation.score.score import Scale, score_set
from simhand_cli.finetune.config import FinetuneConfig
from simhand_cli.finetune.crop_dataset import CropBatch, CropDataset, StepSampler, training_loader
from simhand_cli.finetune.step import TrialStep, batch_losses, build_net
from simhand_cli.labelled.open import open_labelled
from simhand_cli.metrics.bootstrap import resampling
from simhand_cli.models.encoder_source import EncoderSource
from simhand_cli.training.loader_workers import single_threaded_opencv
from simhand_cli.training.processes.ranks import Ranks
from simhand_cli.training.step.optimisers import build_optimiser, parameter_groups
from simhand_cli.training.step.precision import choose_precision

#: Steps before the clock starts: by then the loader has no more batches lying ready than it always has.
_WARM = 6


class Stepper:
    """A model that learns from batches."""

    def __init__(self, backbone: str, device: str, batch_size: int) -> None:
        self.config = FinetuneConfig(backbone=backbone, encoder="none", batch_size=batch_size)
        self.net, _ = build_net(EncoderSource(backbone, None, "", "", ""), self.config)
        self.ranks = Ranks(device=device)
        self.precision = choose_precision("auto", self.ranks, TrialStep(self.net, device, 8, self.config))
        self.net.to(device=device, dtype=self.precision.dtype, memory_format=torch.channels_last)
        self.optimiser = build_optimiser("adamw", parameter_groups([self.net], 1e-4), 1e-3)
        self.scaler = self.precision.scaler(device)

    def crops_per_s(self, batches: Iterable[CropBatch]) -> float:
        """Rate over the batches, the first few not counted."""
        crops, start = 0, 0.0
        for number, batch in enumerate(batches):
            if number == _WARM:
                self._wait()
                start = time.perf_counter()
            crops += len(batch) if number >= _WARM else 0
            self._step(batch)
        self._wait()
        return crops / (time.perf_counter() - start)

    def _step(self, batch: CropBatch) -> None:
        self.net.train()
        self.optimiser.zero_grad(set_to_none=True)
        batch = batch.to(self.ranks.device)
        losses = batch_losses(self.net, batch, self.net.map_px, self.precision, self.config, self.ranks)
        self.scaler.scale(losses.total).backward()
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), float("inf"))
        torch.stack([losses.total.detach(), norm]).cpu()  # the loop looks at both in every step
        self.scaler.step(self.optimiser)
        self.scaler.update()

    def _wait(self) -> None:
        if self.ranks.device.startswith("cuda"):
            torch.cuda.synchronize()


def measure(backbone: str, path: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Both rates of one encoder."""
    stepper = Stepper(backbone, given.device, given.batch_size)
    labelled = open_labelled(path)
    rows = np.column_stack([np.zeros(len(labelled), np.int64), np.arange(len(labelled))])
    workers = 1 if given.device == "cpu" else min(8, os.cpu_count() or 1)
    steps = given.steps + _WARM

    def loader() -> Iterable[CropBatch]:
        dataset = CropDataset([labelled], rows, 128, stepper.config.augment, 0)
        sampler = StepSampler([len(rows)], given.batch_size, 1000, 0)
        return islice(iter(training_loader(dataset, sampler, workers, given.device)), steps)

    cached = list(loader())
    rates = in_turn(
        {"loader-fed": lambda: stepper.crops_per_s(loader()), "in memory": lambda: stepper.crops_per_s(cached)},
        given.rounds,
        backbone,
    )
    return {
        "precision": stepper.precision.name,
        **{f"{name}, crops a second": found for name, found in rates.items()},
        "ratio of medians": ratio(rates, "loader-fed", "in memory"),
    }


def metric_seconds(samples: int = 4000) -> float:
    """Every figure of so many predictions, with the command's 1,000 bootstrap draws over 200 sequences."""
    rng = np.random.default_rng(0)
    truth = rng.normal([0, 0, 500], 50, (samples, 21, 3))
    predicted = truth + rng.normal(0, 10, truth.shape)
    names = [str(number) for number in range(samples)]
    sequences = [str(number // 20) for number in range(samples)]
    pixels, intrinsics = truth[..., :2], np.repeat(np.eye(3)[None], samples, axis=0)
    predictions = SetPredictions(
        "made-up", "test", "made-up/test", "", names, names, sequences, np.arange(samples), np.zeros(samples, bool),
        np.full(samples, 256), truth, pixels, np.ones((samples, 21), bool), intrinsics, np.zeros((samples, 2, 3)),
        predicted - predicted[:, :1], predicted, pixels + 1, np.ones(samples, bool),
    )  # fmt: skip
    start = time.perf_counter()
    score_set(predictions, Scale(), resampling(sequences, "sequence", 1000, 0))
    return time.perf_counter() - start


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backbones", nargs="+", default=["resnet18", "resnet50"])
    given = parser.parse_args()
    with single_threaded_opencv():
        results = {name: measure(name, given.data, given) for name in given.backbones}
    document = {
        "machine": machine(given.device),
        "batch size": given.batch_size,
        "crops": "128 px",
        "fine-tuning": results,
        "metrics of 4,000 samples, seconds": round(metric_seconds(), 3),
    }
    print(json.dumps(document, indent=2))
    out = Path(__file__).parent / "results" / "finetune_throughput.json"
    out.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
