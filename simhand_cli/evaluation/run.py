"""One evaluation from config to finished folder."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.config.resolve import save_config
from simhand_cli.console import Console
from simhand_cli.errors import InputProblem, UsageProblem
from simhand_cli.evaluation.evaluated_sets import open_test_sets, training_warnings
from simhand_cli.evaluation.predict.mean_hands import TrainingHands, find_training_hands
from simhand_cli.evaluation.predict.predict_set import SetRun, predict_set
from simhand_cli.evaluation.predict.predictions import SetPredictions, grouped_by, set_labels, write_predictions
from simhand_cli.evaluation.predict.predictors import FinetunedPose, MediaPipePose, PosePredictor, mean_pose, mean_shape
from simhand_cli.evaluation.score.gallery import choose, gallery_3d, gallery_sheet
from simhand_cli.evaluation.score.records import METRICS_SCHEMA, METRICS_VERSION, screen_table, set_record
from simhand_cli.evaluation.score.report import SetPictures, build_report
from simhand_cli.evaluation.score.score import Scale, SetScore, score_set
from simhand_cli.labelled.checks.labels_3d import check_labels
from simhand_cli.labelled.label_details import labels_sha256
from simhand_cli.labelled.open import refuse_repeated
from simhand_cli.labelled.sample import LabelledSet, choose_samples
from simhand_cli.metrics.bootstrap import Resampling, resampling
from simhand_cli.models.model_choice import model_name, named_model, newest_model, resolve_device
from simhand_cli.report.sheet import save_image
from simhand_cli.skeleton import JOINT_NAMES
from simhand_cli.stages.run_folder import open_run, peek_run, read_result
from simhand_cli.summary import Dropped
from simhand_cli.workspace.atomic import sha256_file, write_json
from simhand_cli.workspace.lock import workspace_lock
from simhand_cli.workspace.paths import Workspace

if TYPE_CHECKING:
    from simhand_cli.evaluation.config import EvaluateConfig

#: Baselines that answer with a mean of training hands.
MEANS = ("mean-pose", "mean-shape")
BASELINES = ("mediapipe", *MEANS)
_FILES = ("metrics.json", "predictions.h5", "sheet.png", "report.html")


@dataclass
class EvaluationRun:
    """A prepared evaluation.

    Attributes:
        config: its options.
        model_file: the fine-tuned model, None for a baseline.
        paths: of the sets.
        sets: the opened sets.
        labels: what the sets are called, each differently.
        indices: for each set, the (N,) positions of usable samples to evaluate.
        folder: ``runs/evaluate-<name>``.
        identity: all that determines the result.
        dropped: what was left out because of its labels; more may be added while running.
        training: the hands whose mean is the answer, for the baselines that have one.
        left_out: why sets of the training run are not measured.
        warnings: what makes the figures too good: labels or people of the training.
    """

    config: "EvaluateConfig"
    model_file: Path | None
    paths: list[Path]
    sets: list[LabelledSet]
    labels: list[str]
    indices: list[NDArray[np.int64]]
    folder: Path
    identity: dict[str, Any]
    dropped: list[Dropped] = field(default_factory=list)
    training: TrainingHands | None = None
    left_out: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def notes(self) -> dict[str, str]:
        """What the summary says of the choice of sets."""
        told = {"WARNING": self.warnings, "not measured": self.left_out}
        return {title: "; ".join(lines) for title, lines in told.items() if lines}

    @property
    def model_title(self) -> str:
        """The model in a few words."""
        return str(self.model_file or self.config.model)

    def state(self) -> str:
        """What a run would find: "new", "finished", ... (see ``peek_run``)."""
        return peek_run(self.folder, self.identity, redo=self.config.redo)


def prepare(config: "EvaluateConfig") -> EvaluationRun:
    """Find the model and open the sets; nothing is written.

    Raises:
        InputProblem: no model or data, a set that cannot be opened, or the model was trained on these labels and no
            split is named.
        UsageProblem: a set is given twice, or there is more than one for a mean.
    """
    workspace = Workspace(config.workspace)
    model_file = find_model(config.model, workspace)
    refuse_repeated(config.data)
    opened = open_test_sets(config, model_file, workspace)
    paths, sets = opened.paths, opened.sets
    if config.model in MEANS and len(paths) != 1:
        raise UsageProblem(
            f"--model {config.model} takes the mean of one set's training split: give exactly one --data"
        )
    training = find_training_hands(paths[0]) if config.model in MEANS else None
    required = (JOINT_NAMES.index(config.root_joint), *Scale().bone)
    checks = [check_labels(one, path, required, keep_out_of_view=True) for one, path in zip(sets, paths, strict=True)]
    indices = [choose_samples(np.flatnonzero(c.usable), config.limit, config.seed) for c in checks]
    name = config.name or _default_name(config, model_file)
    digests = [labels_sha256(one) for one in sets]
    warnings = training_warnings(opened, digests, model_file, split_named=bool(config.split))
    identity = {
        **config.identity(),
        "model_sha256": sha256_file(model_file) if model_file else config.model,
        "split": ", ".join(dict.fromkeys(one.split for one in sets)),
        "labels_sha256": digests,
    }
    if training:
        identity["training_labels_sha256"] = labels_sha256(training.labelled)
    # Where data and model lie is not what they are: the digests say that.
    del identity["data"], identity["model"]
    dropped = [entry for one, check in zip(sets, checks, strict=True) for entry in (*one.problems(), *check.dropped)]
    dropped += training.dropped if training else []
    folder, labels = workspace.run_dir("evaluate", name), set_labels(sets, paths)
    return EvaluationRun(
        config, model_file, paths, sets, labels, indices, folder, identity, dropped, training, opened.left_out, warnings
    )


def find_model(model: str | None, workspace: Workspace) -> Path | None:
    """The fine-tuned model file meant by ``--model``, None for a baseline.

    Raises:
        InputProblem: there is none.
    """
    if model in BASELINES:
        return None
    if model:
        return named_model(model, workspace)
    newest = newest_model(workspace)
    if newest is None:
        raise InputProblem(
            f"no finished fine-tuning run in {workspace.root}: run 'simhand finetune' first, or give --model NAME, "
            "--model mediapipe, mean-pose or mean-shape"
        )
    return newest


def find_evaluation(named: str, workspace: Workspace, this: Path) -> Path:
    """The finished evaluation meant by ``--against``: a folder, or a name in the workspace.

    Args:
        named: the folder or name.
        workspace: where a name is looked for.
        this: folder of the evaluation that is to be compared with it.

    Raises:
        InputProblem: there is none.
        UsageProblem: it is the same evaluation.
    """
    folders = [Path(named)]
    if Path(named).name == named:
        folders.append(workspace.run_dir("evaluate", named.removeprefix("evaluate-")))
    if any(folder.resolve() == this.resolve() for folder in folders):
        raise UsageProblem(f"--against {named} is this evaluation itself: give another one, or this one another --name")
    for folder in folders:
        if _is_finished(folder):
            return folder
    beside = sorted(workspace.run_dir("evaluate", "x").parent.glob("evaluate-*"))
    found = [folder.name for folder in beside if _is_finished(folder)]
    known = f"; there are {', '.join(found)}" if found else ""
    raise InputProblem(f"--against {named}: no finished evaluation of this name{known}")


def _is_finished(folder: Path) -> bool:
    """It has predictions, as no other command's run, and a result, which is the last file of a run."""
    return (folder / "predictions.h5").is_file() and read_result(folder) is not None


def run_evaluation(job: EvaluationRun, console: Console) -> dict[str, Any]:
    """Predict, measure and write the folder; a finished folder is read back instead.

    Returns:
        ``facts`` for the summary, ``files`` written, and ``metrics`` (the content of metrics.json).
    """
    with workspace_lock(job.folder, "evaluate"):
        run = open_run(job.folder, job.identity, redo=job.config.redo)
        if run.result is not None:
            console.say(f"{job.folder} is already evaluated with these options (--redo does it over)")
        result = run.result if run.result is not None else run.finish(_evaluate(job, console))
    job.dropped.extend(Dropped(**entry) for entry in result["dropped"])
    metrics = json.loads((job.folder / "metrics.json").read_text())
    return {**result, "metrics": metrics}


def _evaluate(job: EvaluationRun, console: Console) -> dict[str, Any]:
    save_config(job.config, job.folder / "config.yaml")
    predictor = _make_predictor(job)
    try:
        runs = [
            _predict(job, labelled, label, indices, predictor, console)
            for labelled, label, indices in zip(job.sets, job.labels, job.indices, strict=True)
        ]
    finally:
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


def _resampling(config: "EvaluateConfig", predictions: SetPredictions) -> Resampling:
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


def _default_name(config: "EvaluateConfig", model_file: Path | None) -> str:
    """After the model and, where sets were named, after the folder of the first: results on several sets lie apart."""
    name = model_name(model_file) if model_file else str(config.model)
    if not config.data:
        return name
    others = f"-and-{len(config.data) - 1}" if len(config.data) > 1 else ""
    return f"{name}-{config.data[0].resolve().name[:40]}{others}"


def _stack(sheets: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Sheets below each other, on light paper."""
    width = max(sheet.shape[1] for sheet in sheets)
    padded = [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=250) for s in sheets]
    return np.concatenate(padded, axis=0)
