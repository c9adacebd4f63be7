"""All figures of one evaluated set, each carrying the unit, root, alignment and thresholds it was taken with."""

from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from simhand_cli.evaluation.predict.predictions import SetPredictions
from simhand_cli.metrics.alignment import ALIGNMENT_MEANING, ALIGNMENT_NAMES, AlignmentName, align
from simhand_cli.metrics.bootstrap import Resampling, intervals_95
from simhand_cli.metrics.joint_errors import (
    AUC_0_20_BOX,
    AUC_0_30_PX,
    AUC_0_50,
    AUC_20_50,
    Floats,
    Mask,
    Thresholds,
    joint_areas,
    joint_errors,
    joint_means,
    mean_over_joints,
    median_error,
    pck_curve,
    sample_means,
)
from simhand_cli.skeleton import FINGERS, JOINT_NAMES, MIDDLE_MCP, WRIST

#: Abscissa of the stored and plotted PCK curves, mm.
CURVE_MM = np.linspace(0.0, 50.0, 51)
#: How 2D errors are measured.
Measure2D = Literal["2d_px", "2d_box"]
_UNITS_2D: Final[dict[Measure2D, str]] = {
    "2d_px": "px of the labelled image",
    "2d_box": "parts of the larger extent of the true 2D joints",
}


@dataclass(frozen=True)
class Scale:
    """How 3D figures are aligned.

    Attributes:
        root: joint index of the root.
        bone: joint indices of the reference bone.
        reflections: Procrustes may mirror, as FreiHAND's scorer does.
    """

    root: int = WRIST
    bone: tuple[int, int] = (WRIST, MIDDLE_MCP)
    reflections: bool = False


@dataclass(frozen=True)
class AlignedScore:
    """Figures of one alignment, or of the 2D joints.

    Attributes:
        alignment: its name, or "2d_px" and "2d_box".
        conditions: what stands beside every figure: unit, root, alignment, counts.
        mean: MPJPE (2D: mean joint error).
        median: of all joint errors.
        areas: thresholds' name -> PCK-AUC in [0, 1].
        intervals: figure name -> 95 % interval, for "mpjpe" and each area.
        per_joint: (21,) mean error of each joint.
        per_sample: (N,) mean error of each sample; NaN where not scored or nothing was found.
        curve: PCK at :data:`CURVE_MM` for 3D, empty for 2D.
    """

    alignment: str
    conditions: dict[str, Any]
    mean: float
    median: float
    areas: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    per_joint: Floats
    per_sample: Floats
    curve: Floats


@dataclass(frozen=True)
class SetScore:
    """All scores of one set.

    Attributes:
        set_name: of the labelled set.
        split: that was evaluated.
        label: how the set is called in this evaluation, unique in it.
        samples: number of samples.
        found: how many of them the model gave a prediction for.
        by_alignment: alignment name -> score, in the order of :data:`ALIGNMENT_NAMES`.
        pixels: 2D errors in pixels of the labelled image.
        box: 2D errors as parts of the larger extent of the true 2D joints.
    """

    set_name: str
    split: str
    label: str
    samples: int
    found: int
    by_alignment: dict[AlignmentName, AlignedScore] = field(default_factory=dict)
    pixels: AlignedScore | None = None
    box: AlignedScore | None = None

    @property
    def in_3d(self) -> bool:
        """Whether any sample has 3D labels and the model answers in 3D."""
        return any(one.conditions["samples_with_truth"] for one in self.by_alignment.values())

    def all_scores(self) -> list[AlignedScore]:
        """3D scores, then 2D."""
        return [*self.by_alignment.values(), *(s for s in (self.pixels, self.box) if s is not None)]


def score_set(predictions: SetPredictions, scale: Scale, how: Resampling) -> SetScore:
    """Compute every figure of one set.

    Args:
        predictions: truth and predictions, as right hands.
        scale: root, reference bone and whether reflections are allowed.
        how: what the bootstrap draws.

    Returns:
        The figures.
    """
    # All of them, always: a figure without the others invites comparing it with another paper's alignment.
    by_alignment = {name: _score_3d(name, predictions, scale, how) for name in ALIGNMENT_NAMES}
    errors_px = joint_errors(predictions.joints_px, predictions.truth_px)
    extent = box_extent(predictions.truth_px, predictions.valid)
    pixels = _score_2d("2d_px", errors_px, predictions.valid, AUC_0_30_PX, how)
    # The hand's size in the picture taken out: pixels of a close-up count less.
    box = _score_2d("2d_box", errors_px / extent[:, None], predictions.valid, AUC_0_20_BOX, how)
    p = predictions
    return SetScore(p.set_name, p.split, p.label, len(p), int(p.found.sum()), by_alignment, pixels, box)


def _score_3d(name: AlignmentName, p: SetPredictions, scale: Scale, how: Resampling) -> AlignedScore:
    # Only absolute figures need a place; a hand that could not be placed still has a pose.
    source = p.placed_mm if name == "absolute" else p.relative_mm
    valid = p.valid_mm & p.answers_in_3d
    aligned = align(
        name, source, p.truth_mm, valid, root=scale.root, bone=scale.bone, allow_reflection=scale.reflections
    )
    errors = joint_errors(aligned.joints_mm, p.truth_mm)
    conditions = conditions_3d(name, scale)
    # Counted in the figures with a fallback, so a reader must be able to see how many.
    conditions["degenerate_predictions"] = int((aligned.degenerate & aligned.scored).sum())
    return _figures(name, conditions, errors, valid & aligned.scored[:, None], (AUC_20_50, AUC_0_50), how)


def conditions_3d(name: AlignmentName, scale: Scale) -> dict[str, Any]:
    """What stands beside every figure of an alignment: unit, meaning, and root, bone, reflections where they matter."""
    conditions: dict[str, Any] = {"unit": "mm", "alignment": name, "alignment_meaning": ALIGNMENT_MEANING[name]}
    if name in ("root", "root_bone_scale"):
        conditions["root_joint"] = JOINT_NAMES[scale.root]
    if name == "root_bone_scale":
        conditions["reference_bone"] = [JOINT_NAMES[j] for j in scale.bone]
        conditions["scale"] = "true length of the reference bone of every hand"
    if name in ("absolute", "root", "procrustes"):
        conditions["scale"] = "as predicted"
    if name.startswith("procrustes"):
        conditions["reflections"] = scale.reflections
    return conditions


def conditions_2d(name: Measure2D) -> dict[str, Any]:
    """What stands beside every figure of 2D joints."""
    return {"unit": _UNITS_2D[name], "alignment": "none (2D)"}


def _score_2d(name: Measure2D, errors: Floats, valid: Mask, thresholds: Thresholds, how: Resampling) -> AlignedScore:
    return _figures(name, conditions_2d(name), errors, valid, (thresholds,), how)


def _figures(
    name: str,
    conditions: dict[str, Any],
    errors: Floats,
    valid: Mask,
    thresholds: tuple[Thresholds, ...],
    how: Resampling,
) -> AlignedScore:
    areas = {t.name: joint_areas(errors, t) for t in thresholds}
    measured = np.isfinite(errors).any(axis=1) & valid.any(axis=1)
    intervals = intervals_95([(errors, valid), *((a, valid) for a in areas.values())], how)
    per_joint = joint_means(errors, valid)
    return AlignedScore(
        alignment=name,
        conditions={
            **conditions,
            "joints": int(valid.any(axis=0).sum()),
            "samples_with_truth": int(valid.any(axis=1).sum()),
            "samples_measured": int(measured.sum()),
        },
        mean=mean_over_joints(per_joint),
        median=median_error(errors, valid),
        areas={key: mean_over_joints(joint_means(area, valid)) for key, area in areas.items()},
        intervals=dict(zip(("mpjpe", *areas), intervals, strict=True)),
        per_joint=per_joint,
        per_sample=sample_means(errors, valid),
        # In 2D a curve over millimetres has no meaning.
        curve=pck_curve(errors, valid, CURVE_MM) if conditions["unit"] == "mm" else np.empty(0),
    )


def box_extent(points_px: NDArray[np.float64], valid: Mask) -> Floats:
    """(N,) larger side of the box around the valid 2D joints, px; NaN without any."""
    shown = np.where(valid[..., None], points_px, np.nan)
    known = valid.any(axis=1)
    extent = np.full(len(points_px), np.nan)
    extent[known] = (np.nanmax(shown[known], axis=1) - np.nanmin(shown[known], axis=1)).max(axis=1)
    # Joints that all lie in one point have no extent to measure by.
    return np.where(extent > 0, extent, np.nan)


def finger_means(per_joint: Floats) -> dict[str, float]:
    """Mean error of each finger's four joints, and of the wrist."""
    fingers = {name: mean_over_joints(per_joint[list(joints)]) for name, joints in FINGERS.items()}
    return {"wrist": float(per_joint[WRIST]), **fingers}
