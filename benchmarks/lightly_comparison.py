"""SimCLR by simhand and by the lightly package: views a second on the same crops, same encoder, batch and precision.

Usage: python benchmarks/lightly_comparison.py WORKSPACE [--rounds 3] [--steps 6] [--device cpu]

WORKSPACE has mined pairs; `pip install lightly` (1.6) is needed. lightly reads the same JPEG crops from a folder of
pictures, as its users do, with its SimCLR transform at the same size, its loss and projection head, and as many loader
workers; simhand runs `pretrain --method simclr` as it comes. Both do forward, loss, backward and Adam under the same
autocast, channels last. The loops take turns; ratios are of medians. lightly's transform is the heavier one (crop,
flip, colour, grey, blur; simhand's SimCLR does scale and colour, as the hand literature's), so a third loop runs
simhand with grey and blur switched on too. Writes benchmarks/results/lightly_comparison.json.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import h5py
import torch
from machine import machine
from pretrain_throughput import Stepper
from torch import nn
from torch.utils.data import DataLoader

from simhand_cli.commands.pretrain import PretrainConfig
from simhand_cli.models.encoder import build_encoder
from simhand_cli.pretrain.data import PairBatch, PairDataset, StepBatches, pair_batches
from simhand_cli.pretrain.loop import load_table
from simhand_cli.training.loader import single_threaded_opencv, worker_options
from simhand_cli.training.precision import Precision
from simhand_cli.views.options import ViewOptions
from simhand_cli.workspace.paths import Workspace

_WARM = 4


def export_crops(workspace: Workspace, folder: Path) -> int:
    """Write the stored JPEG crops, unchanged, as files: what lightly reads. Returns their number."""
    count = 0
    for shard in sorted(workspace.crops_dir.glob("*.h5")):
        with h5py.File(shard) as file:
            blob, offsets = file["jpeg"][...], file["jpeg_offsets"][...]
        for start, end in pairwise(offsets):
            (folder / f"{count:07d}.jpg").write_bytes(blob[start:end].tobytes())
            count += 1
    return count


class LightlySimclr:
    """SimCLR as lightly's documentation builds it, on a given encoder."""

    def __init__(self, encoder: str, folder: Path, given: argparse.Namespace, precision: Precision, workers: int):
        from lightly.data import LightlyDataset
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead
        from lightly.transforms import SimCLRTransform

        backbone = build_encoder(encoder)
        head = SimCLRProjectionHead(backbone.num_features, 512, 128)
        self.model = nn.Sequential(backbone, head).to(given.device, memory_format=torch.channels_last).train()
        self.criterion, self.precision, self.device = NTXentLoss(temperature=0.5), precision, given.device
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=1e-4, fused=given.device != "cpu")
        self.dataset = LightlyDataset(str(folder), transform=SimCLRTransform(input_size=128))
        self.batch_size, self.workers = given.batch_size, workers

    def views_per_s(self, steps: int) -> float:
        """Rate of so many steps, the first few not counted."""
        loader = DataLoader(
            self.dataset,
            batch_size=self.batch_size,
            shuffle=True,
            drop_last=True,
            pin_memory=self.device != "cpu",
            **worker_options(self.workers),
        )
        views, start = 0, 0.0
        for number, batch in enumerate(islice(loader, steps + _WARM)):
            if number == _WARM:
                start = time.perf_counter()
            self._step(batch[0])
            views += 2 * self.batch_size if number >= _WARM else 0
        return views / (time.perf_counter() - start)

    def _step(self, views: list[torch.Tensor]) -> None:
        images = [v.to(self.device, non_blocking=True, memory_format=torch.channels_last) for v in views]
        self.optimiser.zero_grad(set_to_none=True)
        with self.precision.autocast(self.device):
            loss = self.criterion(*(self.model(image) for image in images))
        loss.backward()
        self.optimiser.step()
        loss.item()


def measure(encoder: str, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All rates of one encoder."""
    workspace = Workspace.open(given.workspace)
    plain = {"workspace": given.workspace, "encoder": encoder, "batch_size": given.batch_size, "method": "simclr"}
    config = PretrainConfig(**plain)
    heavy = PretrainConfig(**plain, views=ViewOptions(grey_probability=0.2, blur_probability=0.5))
    table = load_table(workspace, config)
    steppers = {"simhand": Stepper(config, given.device), "simhand, grey and blur too": Stepper(heavy, given.device)}
    workers = config.loader_workers(steppers["simhand"].ranks)
    lightly = LightlySimclr(encoder, folder, given, steppers["simhand"].precision, workers)

    def fed(stepper: Stepper) -> Iterable[PairBatch]:
        batches = StepBatches(len(table), given.batch_size, 10_000, 0)
        dataset = PairDataset(table, workspace.crops_dir, 0)
        return islice(pair_batches(dataset, batches, stepper.ranks, workers), given.steps + _WARM)

    loops: dict[str, Callable[[], float]] = {
        name: lambda stepper=stepper: stepper.views_per_s(fed(stepper), given.batch_size)  # type: ignore[misc]
        for name, stepper in steppers.items()
    }
    loops["lightly"] = lambda: lightly.views_per_s(given.steps)
    rates: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(given.rounds):
        for name, loop in loops.items():
            rates[name].append(round(loop(), 1))
        print(encoder, {name: found[-1] for name, found in rates.items()}, flush=True)
    middle = {name: statistics.median(found) for name, found in rates.items()}
    return {
        "precision": steppers["simhand"].precision.name,
        "loader workers": workers,
        "views a second": rates,
        "simhand / lightly": round(middle["simhand"] / middle["lightly"], 2),
        "simhand with grey and blur / lightly": round(middle["simhand, grey and blur too"] / middle["lightly"], 2),
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
    with single_threaded_opencv(), tempfile.TemporaryDirectory() as folder:
        export_crops(Workspace.open(given.workspace), Path(folder))
        results = {name: measure(name, given, Path(folder)) for name in given.encoders}
    document = {
        "machine": machine(given.device),
        "pairs per step": given.batch_size,
        "views": "128 px",
        "encoders": results,
    }
    print(json.dumps(document, indent=2))
    out = Path(__file__).parent / "results" / "lightly_comparison.json"
    out.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
