"""From prepared sets to an evaluation's files: predictions, errors, gallery and report."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.console import Console
from simhand_cli.errors import InputProblem
from simhand_cli.evaluation.config import EvaluateConfig
from simhand_cli.evaluation.predict.predict_set import SetRun, predict_set
from simhand_cli.evaluation.predict.predictions import SetPredictions, grouped_by, write_predictions
from simhand_cli.evaluation.predict.predictors import FinetunedPose, MediaPipePose, PosePredictor, mean_pose, mean_shape
from simhand_cli.evaluation.prepare import EvaluationRun
from simhand_cli.evaluation.score.evaluation_report import SetPictures, build_report
from simhand_cli.evaluation.score.gallery import choose, gallery_3d, gallery_sheet
from simhand_cli.evaluation.score.records import METRICS_SCHEMA, METRICS_VERSION, screen_table, set_record
from simhand_cli.evaluation.score.score import Scale, SetScore, score_set
from simhand_cli.labelled.sample import LabelledSet
from simhand_cli.metrics.bootstrap import Resampling, resampling
from simhand_cli.models.model_choice import resolve_device
from simhand_cli.report.sheet import save_image
from simhand_cli.skeleton import JOINT_NAMES
from simhand_cli.summary import Dropped
from simhand_cli.workspace.atomic import write_json

_FILES = ("metrics.json", "predictions.h5", "sheet.png", "report.html")


def measure(job: EvaluationRun, console: Console) -> dict[str, Any]:
    """Predict every sample, measure the errors, and write metrics, predictions, sheet and report.

    Returns:
        ``facts`` for the summary, ``files`` written, and what was ``dropped`` while predicting.

    Raises:
        InputProblem: no sample could be used.
    """
    predictor = _make_predictor(job)
    try:
        runs = [
            _predict(job, labelled, label, indices, predictor, console)
            for labelled, label, indices in zip(job.sets, job.labels, job.indices, strict=True)
        ]
    finally:
        # MediaPipe's landmarker holds native threads and memory until it is closed.
        predictor.close()
    kept = [(s, r.predictions) for s, r in zip(job.sets, runs, strict=True) if r.predictions is not None]
    if not kept:
        raise InputProblem(f"no sample of {job.sets[0].name}/{job.sets[0].split} could be used")
    scale = Scale(root=JOINT_NAMES.index(job.config.root_joint), reflections=job.config.reflections)
    resamplings = [_resampling(job.config, predictions) for _, predictions in kept]
    scores = [score_set(p, scale, how) for (_, p), how in zip(kept, resamplings, strict=True)]
    _write(job, predictor.facts, kept, scores, resamplings, scale)
    dropped = [vars(d) for label, run in zip(job.labels, runs, strict=True) for d in _dropped(label, run)]
    facts: dict[str, str] = {}
    for score, how in zip(scores, resamplings, strict=True):
        prefix = f"{score.label} " if len(scores) > 1 else ""
        facts[f"{prefix}samples"] = f"{score.samples:,} of {score.label}, {score.found:,} hands found"
        facts |= {prefix + row: text for row, text in screen_table(score).items()}
        if how.caution:
            facts[f"{prefix}caution"] = how.caution
    return {"facts": facts, "files": list(_FILES), "dropped": dropped}


def _write(
    job: EvaluationRun,
    model_facts: dict[str, Any],
    kept: Sequence[tuple[LabelledSet, SetPredictions]],
    scores: Sequence[SetScore],
    resamplings: Sequence[Resampling],
    scale: Scale,
) -> None:
    model = {**model_facts, "sha256": job.identity["model_sha256"]}
    records = [set_record(score, how) for score, how in zip(scores, resamplings, strict=True)]
    versions = {"schema": METRICS_SCHEMA, "schema_version": METRICS_VERSION}
    document = {**versions, "model": model, "warnings": job.warnings, "sets": records}
    write_json(job.folder / "metrics.json", document)
    write_predictions(job.folder / "predictions.h5", [predictions for _, predictions in kept])
    pictures = []
    for (labelled, predictions), score in zip(kept, scores, strict=True):
        chosen = choose(predictions, score, job.config.samples_shown)
        sheet = gallery_sheet(labelled, predictions, chosen)
        pictures.append(SetPictures(sheet, gallery_3d(predictions, chosen, scale)))
    save_image(job.folder / "sheet.png", _stack([p.sheet for p in pictures]))
    build_report(model, scores, resamplings, pictures, job.notes).write(job.folder / "report.html")


def _make_predictor(job: EvaluationRun) -> PosePredictor:
    if job.model_file is not None:
        return FinetunedPose(job.model_file, resolve_device(job.config.device))
    if job.training is None:
        return MediaPipePose()
    mean = mean_pose if job.config.model == "mean-pose" else mean_shape
    return mean(job.training.labelled, job.training.usable, job.config.seed)


def _predict(
    job: EvaluationRun,
    labelled: LabelledSet,
    label: str,
    indices: NDArray[np.int64],
    predictor: PosePredictor,
    console: Console,
) -> SetRun:
    with console.progress(f"evaluate {label}", len(indices), "samples") as ticker:
        run = predict_set(labelled, indices, predictor, job.config.batch_size, ticker)
    return run if run.predictions is None else replace(run, predictions=replace(run.predictions, label=label))


def _resampling(config: EvaluateConfig, predictions: SetPredictions) -> Resampling:
    unit = config.bootstrap_over
    return resampling(grouped_by(unit, predictions), unit, config.bootstrap, config.seed)


def _dropped(label: str, run: SetRun) -> list[Dropped]:
    what = f"samples of {label}"
    dropped: list[Dropped] = []
    if run.unreadable:
        dropped.append(Dropped(what, len(run.unreadable), f"cannot be read, first: {run.unreadable[0]}"))
    if run.too_few_joints:
        dropped.append(Dropped(what, run.too_few_joints, "fewer than 3 labelled joints"))
    return dropped


def _stack(sheets: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Sheets below each other, on light paper."""
    width = max(sheet.shape[1] for sheet in sheets)
    # Sets have sheets of different widths.
    padded = [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=250) for s in sheets]
    return np.concatenate(padded, axis=0)
