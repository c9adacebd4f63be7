"""What an evaluation needs before it measures: the model, the opened sets and their usable samples."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.console import Console
from simhand_cli.errors import InputProblem, UsageProblem
from simhand_cli.evaluation.config import EvaluateConfig
from simhand_cli.evaluation.evaluated_sets import open_test_sets, training_warnings
from simhand_cli.evaluation.predict.mean_hands import TrainingHands, find_training_hands
from simhand_cli.evaluation.predict.predictions import set_labels
from simhand_cli.evaluation.score.score import Scale
from simhand_cli.labelled.checks.labels_3d import check_labels
from simhand_cli.labelled.label_details import labels_sha256
from simhand_cli.labelled.open import refuse_repeated
from simhand_cli.labelled.sample import LabelledSet, choose_samples
from simhand_cli.models.model_choice import model_name, named_model, newest_model
from simhand_cli.skeleton import JOINT_NAMES
from simhand_cli.summary import Dropped
from simhand_cli.workspace.atomic import sha256_file
from simhand_cli.workspace.paths import Workspace

#: Baselines that answer with a mean of training hands.
MEANS = ("mean-pose", "mean-shape")
BASELINES = ("mediapipe", *MEANS)


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

    config: EvaluateConfig
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


def prepare(config: EvaluateConfig, console: Console) -> EvaluationRun:
    """Find the model and open the sets; nothing is written.

    Args:
        config: the options.
        console: told which set is looked at, since large ones take a while.

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
    # What the alignments need: a hand without root or reference bone has no figure of them.
    required = (JOINT_NAMES.index(config.root_joint), *Scale().bone)
    checks = []
    for one, path in zip(sets, paths, strict=True):
        console.say(f"checking the labels of {path} ({one.split}, {len(one):,} samples)")
        # Hands outside their pictures stay: published test sets count them.
        checks.append(check_labels(one, path, required, keep_out_of_view=True))
    indices = [choose_samples(np.flatnonzero(c.usable), config.limit, config.seed) for c in checks]
    name = config.name or _default_name(config, model_file)
    digests = [labels_sha256(one) for one in sets]
    warnings = training_warnings(opened, digests, model_file, split_named=bool(config.split))
    identity = {
        **config.identity(),
        "model_sha256": sha256_file(model_file) if model_file else config.model,
        # As it was found: the option may have been left open.
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


def _default_name(config: EvaluateConfig, model_file: Path | None) -> str:
    """After the model and, where sets were named, after the folder of the first: results on several sets lie apart."""
    name = model_name(model_file) if model_file else str(config.model)
    if not config.data:
        return name
    # The first set and a number: all folders' names would not fit into one.
    others = f"-and-{len(config.data) - 1}" if len(config.data) > 1 else ""
    return f"{name}-{config.data[0].resolve().name[:40]}{others}"
