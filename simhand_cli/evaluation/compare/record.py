"""A comparison as a self-describing JSON document: what was compared, and the conditions of every figure."""

import json
from pathlib import Path
from typing import Any, Final

from simhand_cli.errors import InputProblem
from simhand_cli.evaluation.compare.paired import Compared, Comparison, PairedDifference
from simhand_cli.evaluation.score.score import Scale, conditions_2d, conditions_3d
from simhand_cli.metrics.joint_errors import finite_or_none
from simhand_cli.skeleton import JOINT_NAMES
from simhand_cli.workspace.atomic import sha256_file

COMPARISON_SCHEMA: Final = "simhand.comparison"
COMPARISON_VERSION: Final = 1
_MEANING: Final = "mean over joints of the mean over samples of (this - other); negative: this one is better"


def comparison_record(found: Compared, scale: Scale, this: Path, other: Path) -> dict[str, Any]:
    """The content of ``against-NAME.json``.

    Args:
        found: the differences.
        scale: root, reference bone and reflections they were taken with.
        this: folder of the evaluation at hand.
        other: folder of the one it was compared with.
    """
    return {
        "schema": COMPARISON_SCHEMA,
        "schema_version": COMPARISON_VERSION,
        "this": _evaluation(this),
        "other": _evaluation(other),
        "sets": [_set_record(one, scale) for one in found.sets],
        "sets_not_compared": found.left_out,
    }


def evaluated_model(folder: Path) -> dict[str, Any]:
    """The facts of the model that a finished evaluation measured.

    Raises:
        InputProblem: its ``metrics.json`` is missing.
    """
    path = folder / "metrics.json"
    if not path.is_file():
        raise InputProblem(f"{path} is missing: do that evaluation over with --redo")
    model: dict[str, Any] = json.loads(path.read_text())["model"]
    return model


def _evaluation(folder: Path) -> dict[str, Any]:
    return {
        "folder": str(folder.resolve()),
        "model": evaluated_model(folder),
        # An evaluation that was done over since is no longer the one compared with.
        "predictions_sha256": sha256_file(folder / "predictions.h5"),
    }


def _set_record(one: Comparison, scale: Scale) -> dict[str, Any]:
    return {
        "label": one.label,
        "samples_both_evaluated": one.evaluated,
        "samples_both_found": one.samples,
        "in_3d": one.in_3d,
        "figures": [_figure(difference, one, scale) for difference in one.differences],
    }


def _figure(one: PairedDifference, of: Comparison, scale: Scale) -> dict[str, Any]:
    low, high = one.interval
    if one.alignment == "2d_px" or one.alignment == "2d_box":
        mean, conditions = "mean_joint_error", conditions_2d(one.alignment)
    else:
        mean, conditions = "mpjpe", conditions_3d(one.alignment, scale)
    return {
        "metric": f"{mean}_difference",
        "value": finite_or_none(one.mean),
        **conditions,
        "averaging": _MEANING,
        "samples_measured": one.samples,
        "interval": {"low": finite_or_none(low), "high": finite_or_none(high), **of.how.describe()},
        "share_of_samples_better": finite_or_none(one.better),
        mean: {"this": finite_or_none(one.means[0]), "other": finite_or_none(one.means[1])},
        "per_joint": {n: finite_or_none(v) for n, v in zip(JOINT_NAMES, one.per_joint, strict=True)},
    }
