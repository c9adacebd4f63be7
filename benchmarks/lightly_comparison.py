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
import tempfile
import time
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import h5py
import torch
from in_turn import in_turn, ratio
from pretrain_throughput import WARM, Stepper, arguments, fed_batches, write
from torch import nn
from torch.utils.data import DataLoader

from simhand_cli.models.encoder import build_encoder
from simhand_cli.pretrain.config import PretrainConfig
from simhand_cli.training.loader_workers import loader_workers, single_threaded_opencv, worker_options
from simhand_cli.training.step.precision import Precision
from simhand_cli.views.options import ViewOptions
from simhand_cli.workspace.paths import Workspace


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
        for number, batch in enumerate(islice(loader, steps + WARM)):
            if number == WARM:
                start = time.perf_counter()
            self._step(batch[0])
            views += 2 * self.batch_size if number >= WARM else 0
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
    plain = {"workspace": given.workspace, "backbone": encoder, "batch_size": given.batch_size, "method": "simclr"}
    heavy = ViewOptions(grey_probability=0.2, blur_probability=0.5)
    simhand = Stepper(PretrainConfig(**plain), given.device)
    heavier = Stepper(PretrainConfig(**plain, views=heavy), given.device)
    workers = loader_workers(simhand.config.workers, simhand.ranks)
    lightly = LightlySimclr(encoder, folder, given, simhand.precision, workers)
    whole = given.batch_size
    rates = in_turn(
        {
            "simhand": lambda: simhand.views_per_s(fed_batches(simhand, workspace, given.steps), whole),
            "simhand, grey and blur too": lambda: heavier.views_per_s(
                fed_batches(heavier, workspace, given.steps), whole
            ),
            "lightly": lambda: lightly.views_per_s(given.steps),
        },
        given.rounds,
        encoder,
    )
    return {
        "precision": simhand.precision.name,
        "loader workers": workers,
        "views a second": rates,
        "simhand / lightly": ratio(rates, "simhand", "lightly"),
        "simhand with grey and blur / lightly": ratio(rates, "simhand, grey and blur too", "lightly"),
    }


def main() -> None:
    """Measure and write."""
    given = arguments(__doc__)
    with single_threaded_opencv(), tempfile.TemporaryDirectory() as folder:
        export_crops(Workspace.open(given.workspace), Path(folder))
        results = {name: measure(name, given, Path(folder)) for name in given.encoders}
    write("lightly_comparison", given, results)


if __name__ == "__main__":
    main()
