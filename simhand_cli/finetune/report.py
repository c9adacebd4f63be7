"""The report of a fine-tuning run: curves, choices, and predictions one can look at."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.evaluation.alignment import root_bone_scale
from simhand_cli.finetune.data import TrainingData
from simhand_cli.finetune.encoder_source import EncoderSource
from simhand_cli.finetune.predictor import HandPredictor, load_predictor
from simhand_cli.finetune.sample_crop import HandCrop, crop_sample
from simhand_cli.report.draw import draw_skeleton
from simhand_cli.report.page import Page
from simhand_cli.report.plots import hand_3d_plot, line_plot
from simhand_cli.report.sheet import Tile, contact_sheet, save_image
from simhand_cli.training.metrics_log import read_metrics
from simhand_cli.workspace.atomic import write_bytes

if TYPE_CHECKING:
    from simhand_cli.commands.finetune import FinetuneConfig

#: Predictions shown, spread evenly over the validation samples.
_SHOWN = 12
#: Crops are drawn larger than the model sees them.
_DRAWN_PX = 256
_LOSSES = {"loss": "all", "heat": "heatmap", "location": "location", "delta": "direction"}


def write_report(run_path: Path, config: "FinetuneConfig", data: TrainingData, source: EncoderSource) -> None:
    """Write ``report.html``, ``curves.png`` and ``predictions.png`` of a trained run.

    Args:
        run_path: folder with ``metrics.jsonl`` and ``model.safetensors``.
        config: the run's options.
        data: the chosen samples.
        source: the encoder.
    """
    predictor = load_predictor(run_path)
    training = predictor.facts.training
    page = Page("Fine-tuning", f"run {run_path.name.removeprefix('finetune-')}: 3D hand model from labelled hands")
    done = training["epochs"]
    left_out = {f"left out: {one.what}": f"{one.count}, {one.why}" for one in data.dropped}
    page.facts(
        {
            "encoder": source.described,
            "training samples": data.labelled,
            "validation": "; ".join(data.validation),
            **left_out,
            "epochs": done if done == config.epochs else f"{done}, stopped by --patience {config.patience}",
            "kept epoch (best on validation)": training["best_epoch"],
            "its validation MPJPE, wrist and bone length aligned, mm": training["val_root_bone_mpjpe_mm"],
            "mean bone wrist - middle knuckle, mm": data.bone_length_mm,
        }
    )
    _curves(page, run_path)
    _predictions(page, run_path, data, predictor)
    page.write(run_path / "report.html")


def _curves(page: Page, run_path: Path) -> None:
    metrics = read_metrics(run_path / "metrics.jsonl")
    epochs = [float(m["epoch"]) for m in metrics]
    if "val_root_bone_mpjpe_mm" in (metrics[0] if metrics else {}):
        curve = line_plot(
            {
                "wrist + bone length aligned": (epochs, _column(metrics, "val_root_bone_mpjpe_mm")),
                "wrist aligned, mean training size": (epochs, _column(metrics, "val_root_mpjpe_mm")),
            },
            title="Error on validation samples",
            x_label="epoch",
            y_label="MPJPE, mm",
        )
        page.heading("Error on validation samples")
        page.picture(curve, "Mean error over 21 joints, the wrist's zero included, as published numbers do.")
        write_bytes(run_path / "curves.png", curve)
    page.heading("Losses")
    losses = {label: (epochs, _column(metrics, name)) for name, label in _LOSSES.items()}
    page.picture(
        line_plot(losses, title="Training losses", x_label="epoch", y_label="loss", log_y=True),
        "Each loss before its weight; 'all' is the weighted sum that is minimised.",
    )


def _column(metrics: list[dict[str, float | None]], name: str) -> list[float]:
    return [float("nan") if m.get(name) is None else float(m[name] or 0.0) for m in metrics]


def _predictions(page: Page, run_path: Path, data: TrainingData, predictor: HandPredictor) -> None:
    rows, kind = (data.val, "validation") if len(data.val) else (data.train[: data.labelled], "training")
    chosen = rows[np.linspace(0, len(rows) - 1, min(_SHOWN, len(rows))).round().astype(int)]
    crops = [crop for row in chosen if (crop := _read(data, row)) is not None]
    if not crops:
        return
    found = predictor.predict(np.stack([crop.image_rgb for crop in crops]))
    joints_mm = np.stack([crop.joints_mm for crop in crops])
    valid = np.stack([crop.joint_valid for crop in crops])
    truth = np.where(valid[..., None], joints_mm, 0.0)
    aligned = root_bone_scale(found.joints_rel * predictor.bone_length_mm, truth, valid).joints_mm
    errors = (np.linalg.norm(aligned - truth, axis=-1) * valid).sum(axis=1) / valid.sum(axis=1)
    top, bottom = [], []
    for crop, joints_px, error in zip(crops, found.joints_px, errors, strict=True):
        top.append(Tile(draw_skeleton(crop.image_rgb, crop.joints_px, joint_valid=crop.joint_valid)))
        bottom.append(Tile(draw_skeleton(crop.image_rgb, joints_px), f"{error:.1f} mm"))
    half = (len(crops) + 1) // 2
    sheet = contact_sheet(
        [top[:half], bottom[:half], top[half:], bottom[half:]] if len(crops) > 1 else [top, bottom],
        tile_px=_DRAWN_PX // 2 + 32,
        row_labels=["label", "model"] * (2 if len(crops) > 1 else 1),
        title=f"Predictions on {kind} samples; mean 3D error, wrist and bone length aligned",
    )
    save_image(run_path / "predictions.png", sheet)
    page.heading(f"Predictions on {kind} samples")
    page.picture(sheet, "Samples spread evenly over the set, not chosen by result.")
    middle = int(np.argsort(errors)[len(errors) // 2])
    page.picture(
        hand_3d_plot({"label": truth[middle], "model": aligned[middle]}),
        f"The median sample of those above in 3D ({errors[middle]:.1f} mm).",
    )


def _read(data: TrainingData, row: NDArray[np.int64]) -> HandCrop | None:
    try:
        sample = data.sets[int(row[0])][int(row[1])]
    except InputProblem:
        return None  # counted by the training loop already
    return crop_sample(sample, _DRAWN_PX)
