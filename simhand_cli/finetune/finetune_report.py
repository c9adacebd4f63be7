"""The report of a fine-tuning run: curves, choices, and predictions one can look at."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.finetune.training_data import TrainingData
from simhand_cli.labelled.sample_crop import HandCrop, crop_sample
from simhand_cli.metrics.alignment import root_bone_scale
from simhand_cli.models.encoder_source import EncoderSource
from simhand_cli.models.hand_predictor import HandPrediction, HandPredictor, load_predictor
from simhand_cli.report.draw import draw_skeleton
from simhand_cli.report.page import Page
from simhand_cli.report.plots import hand_3d_plot, line_plot
from simhand_cli.report.sheet import Tile, contact_sheet, save_image
from simhand_cli.training.log.metrics_log import read_metrics
from simhand_cli.workspace.atomic import write_bytes

if TYPE_CHECKING:
    from simhand_cli.finetune.config import FinetuneConfig

#: Predictions shown, spread evenly over the validation samples.
_SHOWN = 12
#: Crops are drawn larger than the model sees them.
_DRAWN_PX = 256
_CURVES_MM = {
    "val_root_bone_mpjpe_mm": "wrist + bone length aligned",
    "val_root_mpjpe_mm": "wrist aligned, mean training size",
}
_CURVES_PX = {"val_px": "2D joints"}
_LOSSES = {"loss": "all", "heat": "heatmap", "location": "location", "delta": "direction"}


def write_report(run_path: Path, config: "FinetuneConfig", data: TrainingData, source: EncoderSource) -> None:
    """Write ``report.html``, ``curves.png`` and ``predictions.png`` of a trained run.

    Args:
        run_path: folder with ``metrics.jsonl`` and ``model.safetensors``.
        config: the run's options.
        data: the chosen samples.
        source: the encoder.
    """
    # The written file and not the network in memory: what is shown is what evaluation will load.
    predictor = load_predictor(run_path)
    training = predictor.facts.training
    page = Page("Fine-tuning", f"run {run_path.name.removeprefix('finetune-')}: 3D hand model from labelled hands")
    done = training["epochs"]
    left_out = {f"left out: {one.what}": f"{one.count}, {one.why}" for one in data.dropped}
    page.facts(
        {
            "encoder": source.described,
            "training samples": data.labelled,
            **({"of them with 2D labels only": data.labelled_2d} if data.labelled_2d else {}),
            "validation": "; ".join(data.validation),
            **left_out,
            "epochs": done if done == config.epochs else f"{done}, ended by {_ended_by(config)}",
            "kept epoch (best on validation)": training["best_epoch"],
            **_judged(training, data),
        }
    )
    _curves(page, run_path, data.judged_in_3d)
    _predictions(page, run_path, data, predictor)
    page.write(run_path / "report.html")


def _ended_by(config: "FinetuneConfig") -> str:
    """The option that ended a run before its last epoch."""
    return f"--max-steps {config.max_steps}" if config.max_steps is not None else f"--patience {config.patience}"


def _judged(training: dict[str, Any], data: TrainingData) -> dict[str, float | None]:
    """The error that chose the kept epoch, and the length that turns the model's unit into mm where it has one."""
    shown: dict[str, float | None] = {}
    if data.judged_in_3d:
        shown["its validation MPJPE, wrist and bone length aligned, mm"] = training["val_root_bone_mpjpe_mm"]
    elif len(data.val):
        shown["its validation error in 2D, px of the crop"] = training["val_px"]
    if data.bone_length_mm is not None:
        shown["mean bone wrist - middle knuckle, mm"] = data.bone_length_mm
    return shown


def _curves(page: Page, run_path: Path, in_3d: bool) -> None:
    metrics = read_metrics(run_path / "metrics.jsonl")
    epochs = [float(m["epoch"]) for m in metrics]
    validated = [m for m in metrics if "val_px" in m]  # with --log-every there are lines of steps, too
    if validated:
        named = _CURVES_MM if in_3d else _CURVES_PX
        at = [float(m["epoch"]) for m in validated]
        curve = line_plot(
            {label: (at, _column(validated, name)) for name, label in named.items()},
            title="Error on validation samples",
            x_label="epoch",
            y_label="MPJPE, mm" if in_3d else "mean 2D error, px of the crop",
        )
        page.heading("Error on validation samples")
        zero = ", the wrist's zero included, as published numbers do" if in_3d else ""
        page.picture(curve, f"Mean error over 21 joints{zero}.")
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
    # Evenly, so that one person or background does not fill the picture.
    chosen = rows[np.linspace(0, len(rows) - 1, min(_SHOWN, len(rows))).round().astype(int)]
    crops = [crop for row in chosen if (crop := _read(data, row)) is not None]
    if not crops:
        return
    found = predictor.predict(np.stack([crop.image_rgb for crop in crops]))
    truth, aligned, errors_mm = _in_3d(crops, found, predictor)
    top, bottom = [], []
    for crop, joints_px, error_mm in zip(crops, found.joints_px, errors_mm, strict=True):
        apart_px = np.linalg.norm(joints_px - crop.joints_px, axis=-1)[crop.joint_valid].mean()
        error = f"{error_mm:.1f} mm" if np.isfinite(error_mm) else f"{apart_px:.1f} px (2D label)"
        top.append(Tile(draw_skeleton(crop.image_rgb, crop.joints_px, joint_valid=crop.joint_valid)))
        bottom.append(Tile(draw_skeleton(crop.image_rgb, joints_px), error))
    half = (len(crops) + 1) // 2
    measured = np.flatnonzero(np.isfinite(errors_mm))
    what = "mean 3D error, wrist and bone length aligned" if len(measured) else "mean 2D error"
    sheet = contact_sheet(
        [top[:half], bottom[:half], top[half:], bottom[half:]] if len(crops) > 1 else [top, bottom],
        tile_px=_DRAWN_PX // 2 + 32,
        row_labels=["label", "model"] * (2 if len(crops) > 1 else 1),
        title=f"Predictions on {kind} samples; {what}",
    )
    save_image(run_path / "predictions.png", sheet)
    page.heading(f"Predictions on {kind} samples")
    page.picture(sheet, "Samples spread evenly over the set, not chosen by result.")
    if not len(measured):
        return
    # The median and not the best: a report is not an advertisement.
    middle = int(measured[np.argsort(errors_mm[measured])[len(measured) // 2]])
    page.picture(
        hand_3d_plot({"label": truth[middle], "model": aligned[middle]}),
        f"The median sample of those above in 3D ({errors_mm[middle]:.1f} mm).",
    )


def _in_3d(
    crops: list[HandCrop], found: HandPrediction, predictor: HandPredictor
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """True and aligned predicted joints (B, 21, 3), and the mean errors (B,); NaN where labels are 2D only."""
    joints_mm = np.stack([crop.joints_mm for crop in crops])
    valid = np.stack([crop.joint_valid for crop in crops]) & np.isfinite(joints_mm).all(axis=-1)
    # NaN of unlabelled joints would spread through the alignment.
    truth = np.where(valid[..., None], joints_mm, 0.0)
    aligned = root_bone_scale(found.joints_rel * predictor.bone_length_mm, truth, valid).joints_mm
    apart = np.where(valid, np.linalg.norm(aligned - truth, axis=-1), 0.0)
    labelled = valid.sum(axis=1)
    return truth, aligned, np.where(labelled > 0, apart.sum(axis=1) / np.maximum(labelled, 1), np.nan)


def _read(data: TrainingData, row: NDArray[np.int64]) -> HandCrop | None:
    try:
        sample = data.sets[int(row[0])][int(row[1])]
    except InputProblem:
        return None  # counted by the training loop already
    return crop_sample(sample, _DRAWN_PX)
