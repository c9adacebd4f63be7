"""What a pre-training run shows and leaves: pictures of augmented pairs, curves, a report, the backbone."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from simhand_cli.models.encoder import Encoder, save_backbone
from simhand_cli.pretrain.data import PairBatch, PairDataset, PairTable
from simhand_cli.pretrain.methods import METHODS, resolve_views
from simhand_cli.pretrain.model import PairLoss
from simhand_cli.pretrain.plan import Plan
from simhand_cli.report.draw import draw_skeleton
from simhand_cli.report.page import Page
from simhand_cli.report.plots import line_plot
from simhand_cli.report.sheet import Tile, contact_sheet, save_image
from simhand_cli.training.metrics_log import read_metrics
from simhand_cli.training.run_dir import RunDir
from simhand_cli.views.transform import View
from simhand_cli.workspace.atomic import write_bytes
from simhand_cli.workspace.paths import BACKBONE_FILE

if TYPE_CHECKING:
    from simhand_cli.commands.pretrain import PretrainConfig

PAIRS_FILE = "pairs.png"
_SHOWN_PAIRS = 8
_TILE_PX = 160
#: What the second crop of a pair is called.
_SECOND = {"same-image": "same crop", "next-frame": "a moment later", "mined": "mined positive"}
#: The final figures are means over the last so many lines of metrics, at most.
_LAST_LINES = 20


def picture_pairs(run_dir: Path, dataset: PairDataset, loss: PairLoss) -> None:
    """Write pairs.png: stored crops and the views that the model sees, with the joints that moved along.

    Raises:
        InputProblem: a crop cannot be read.
    """
    count = min(_SHOWN_PAIRS, len(dataset))
    chosen = np.random.default_rng([loss.seed, 2]).permutation(len(dataset))[:count]
    batch = dataset.__getitems__((0, chosen))
    if not isinstance(batch, PairBatch):
        raise batch
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


def finish_run(run: RunDir, config: "PretrainConfig", plan: Plan, encoder: Encoder, table: PairTable) -> dict[str, Any]:
    """Write backbone, curve and report, and last result.json, which marks the run as finished.

    Returns:
        the result's content.
    """
    save_backbone(encoder, run.path / BACKBONE_FILE, config.views.output_px, {"method": config.method})
    metrics = read_metrics(run.path / "metrics.jsonl")
    result = {
        "method": config.method,
        "encoder": config.encoder,
        "pairs": plan.pairs,
        "crops_without_positive": table.without_positive,
        "crops_beyond_limit": table.beyond_limit,
        "batch_size": plan.batch_size,
        "steps": plan.total_steps,
        "epochs": plan.total_steps / plan.steps_per_epoch,
        **_last_figures(metrics),
    }
    _write_report(run.path, config, plan, metrics, result)
    return run.finish(result)


def _last_figures(metrics: list[dict[str, Any]]) -> dict[str, float | None]:
    """Means over the last tenth of the log, at most twenty lines."""
    last = metrics[-min(_LAST_LINES, max(1, len(metrics) // 10)) :]
    figures: dict[str, float | None] = {}
    for name in ("loss", "top1", "positive_similarity", "negative_similarity", "views_per_s"):
        values = [line[name] for line in last if isinstance(line.get(name), float)]
        figures[name] = sum(values) / len(values) if values else None
    return figures


def _curve(metrics: list[dict[str, Any]], *names: str) -> dict[str, tuple[list[float], list[float]]]:
    curves = {}
    for name in names:
        points = [(line["epoch"], line[name]) for line in metrics if isinstance(line.get(name), float)]
        if points:
            curves[name.replace("_", " ")] = ([p[0] for p in points], [p[1] for p in points])
    return curves


def _write_report(
    run_dir: Path, config: "PretrainConfig", plan: Plan, metrics: list[dict[str, Any]], result: dict[str, Any]
) -> None:
    curve = line_plot(_curve(metrics, "loss"), title="Contrastive loss", x_label="epoch", y_label="loss")
    write_bytes(run_dir / "loss.png", curve)
    page = Page(
        f"Pre-training: {config.method}",
        f"{config.encoder}, {plan.pairs:,} pairs, {plan.total_steps:,} steps of {plan.batch_size} pairs.",
    )
    page.heading("Result")
    page.facts(
        {
            "final loss": result["loss"],
            "positive is nearest (top-1)": result["top1"],
            "similarity of positives": result["positive_similarity"],
            "similarity of negatives": result["negative_similarity"],
            "views per second": result["views_per_s"],
        }
    )
    page.picture(curve, "Loss over the epochs.")
    page.heading("Features while training")
    similarities = _curve(metrics, "positive_similarity", "negative_similarity")
    if similarities:
        page.picture(
            line_plot(similarities, title="Similarity of pairs", x_label="epoch", y_label="mean cosine"),
            "Positives should be more alike than negatives, and the gap should grow.",
        )
    spread = _curve(metrics, "alignment", "uniformity")
    if spread:
        page.picture(
            line_plot(spread, title="Alignment and uniformity", x_label="epoch", y_label="smaller is better"),
            "Alignment: mean squared distance of positives. Uniformity: log of the mean Gaussian potential.",
        )
    if (run_dir / PAIRS_FILE).is_file():
        page.heading("What the model sees")
        page.picture((run_dir / PAIRS_FILE).read_bytes(), "Stored crops and their augmented views, joints drawn.")
    page.heading("Options")
    method = METHODS[config.method]
    options = config.model_dump(mode="json")
    options["loss"] = config.loss.filled(method.weights).model_dump(mode="json")
    options["views"] = resolve_views(method, config.loss.recipe, config.views).model_dump(mode="json")
    page.table(
        ("option", "value"), [(name, str(value)) for name, value in _flat(options)], "As method and recipe fill them."
    )
    page.write(run_dir / "report.html")


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            flat += _flat(value, f"{prefix}{name}.")
        else:
            flat.append((prefix + name, value))
    return flat
