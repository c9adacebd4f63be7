"""What a pre-training run shows at its start and leaves at its end: a picture of pairs, the backbone, its result."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from simhand_cli.errors import SimhandError
from simhand_cli.models.encoder import Encoder, save_backbone
from simhand_cli.pretrain.model import PairLoss
from simhand_cli.pretrain.pairs.epoch_order import Request
from simhand_cli.pretrain.pairs.pair_batch import PairBatch
from simhand_cli.pretrain.pairs.pair_table import PairDataset, PairTable
from simhand_cli.pretrain.plan import Plan
from simhand_cli.pretrain.pretrain_report import PAIRS_FILE, last_figures, write_report
from simhand_cli.pretrain.settings import PretrainSettings
from simhand_cli.report.draw import draw_skeleton
from simhand_cli.report.sheet import Tile, contact_sheet, save_image
from simhand_cli.stages.run_folder import RunDir
from simhand_cli.training.log.metrics_log import read_metrics
from simhand_cli.training.state.environment import ENVIRONMENT_FILE, recorded_precision
from simhand_cli.views.transform import View
from simhand_cli.workspace.paths import BACKBONE_FILE

_SHOWN_PAIRS = 8
_TILE_PX = 160
#: What the second crop of a pair is called.
_SECOND = {"same-image": "same crop", "next-frame": "a moment later", "mined": "mined positive"}


def picture_pairs(run_dir: Path, dataset: PairDataset, loss: PairLoss) -> None:
    """Write pairs.png: stored crops and the views that the model sees, with the joints that moved along.

    Raises:
        InputProblem: a crop cannot be read.
    """
    count = min(_SHOWN_PAIRS, len(dataset))
    chosen = np.random.default_rng([loss.seed, 2]).permutation(len(dataset))[:count]
    # The views of epoch 0 as the run draws them, not lookalikes.
    batch = dataset.__getitems__(Request(0, chosen))
    if isinstance(batch, SimhandError):
        raise batch
    assert isinstance(batch, PairBatch), "a dataset whose crops are encoded cannot be shown"
    view1, view2 = loss.draw_views(batch.to(loss.device))
    rows = [
        [
            _crop_tile(batch.crops1[i].numpy(), batch.keypoints1_px[i].numpy(), f"crop {int(batch.rows1[i])}"),
            _view_tile(view1, i),
            _crop_tile(batch.crops2[i].numpy(), batch.keypoints2_px[i].numpy(), f"crop {int(batch.rows2[i])}"),
            _view_tile(view2, i),
        ]
        for i in range(count)
    ]
    sheet = contact_sheet(
        rows,
        tile_px=_TILE_PX,
        column_labels=("anchor", "its view", _SECOND[loss.method.positive], "its view"),
        title=f"Pairs as {loss.method.name} sees them",
    )
    save_image(run_dir / PAIRS_FILE, sheet)


def _crop_tile(image_rgb: NDArray[np.uint8], keypoints_px: NDArray[np.float32], caption: str) -> Tile:
    return Tile(draw_skeleton(image_rgb, keypoints_px), caption)


def _view_tile(view: View, index: int) -> Tile:
    image = (view.images[index].permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    params = view.params
    caption = f"{float(params.angle_deg[index]):+.0f}°, margin {float(params.margin[index]):.2f}"
    return Tile(draw_skeleton(np.ascontiguousarray(image), view.keypoints_px[index].cpu().numpy()), caption)


def finish_run(
    run: RunDir, settings: PretrainSettings, plan: Plan, encoder: Encoder, table: PairTable
) -> dict[str, Any]:
    """Write backbone, curve and report, and last result.json, which marks the run as finished.

    Returns:
        the result's content.
    """
    save_backbone(encoder, run.path / BACKBONE_FILE, settings.views.output_px, {"method": settings.method})
    metrics = read_metrics(run.path / "metrics.jsonl")
    result = {
        "method": settings.method,
        "encoder": settings.backbone,
        "pairs": plan.pairs,
        "crops_without_positive": table.without_positive,
        "crops_beyond_limit": table.beyond_limit,
        "batch_size": plan.batch_size,
        "steps": plan.total_steps,
        "epochs": plan.total_steps / plan.steps_per_epoch,
        "init": settings.init,
        "precision": recorded_precision(run.path / ENVIRONMENT_FILE),
        **last_figures(metrics),
        "top1_chance": plan.top1_chance,
    }
    # result.json comes last: it says that all the rest is there.
    write_report(run.path, settings, plan, metrics, result)
    return run.finish(result)
