"""Joint errors and the numbers made of them: means, medians, PCK curves and their areas.

Conventions: an error is a Euclidean distance of one joint of one sample, (N, J). ``valid`` (N, J) marks joints with
ground truth. A sample without a prediction has NaN errors: it is *left out of means and medians* (the share of found
hands stands beside them) and *counts as a miss in every PCK*, so that a model cannot improve its AUC by keeping silent.
A figure over all joints is the mean over joints of the per-joint figure (as in the scorers of SiMHand's fine-tuning
and of FreiHAND); with every joint valid that is the plain mean. The root joint, whose error is zero by construction
after a root alignment, is counted, as published numbers do.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Equally spaced PCK thresholds from ``low`` to ``high``, both included.

    Attributes:
        name: key of the figure made with them.
        low: first threshold.
        high: last threshold.
        steps: how many.
        unit: of the thresholds ("mm", "px", or "box" for parts of the hand's larger 2D extent).
    """

    name: str
    low: float
    high: float
    steps: int
    unit: str

    def values(self) -> Floats:
        """(steps,) the thresholds."""
        return np.linspace(self.low, self.high, self.steps)


#: SiMHand's tables: 15 thresholds from 20 to 50 mm.
AUC_20_50: Final = Thresholds("auc_20_50mm", 20.0, 50.0, 15, "mm")
#: FreiHAND's and DexYCB's scorers: 100 thresholds from 0 to 50 mm.
AUC_0_50: Final = Thresholds("auc_0_50mm", 0.0, 50.0, 100, "mm")
#: 2D: pixels of the labelled image, as in the RHD line of work.
AUC_0_30_PX: Final = Thresholds("auc_0_30px", 0.0, 30.0, 100, "px")
#: 2D, independent of the resolution: parts of the larger extent of the true 2D joints.
AUC_0_20_BOX: Final = Thresholds("auc_0_0.2box", 0.0, 0.2, 100, "box")


def joint_errors(pred: Floats, gt: Floats) -> Floats:
    """Distances (N, J) between points (N, J, D), in the points' unit."""
    errors: Floats = np.linalg.norm(pred - gt, axis=-1)
    return errors


def joint_means(values: Floats, valid: Mask) -> Floats:
    """(J,) mean of values (N, J) over the valid finite entries of each joint; NaN where a joint has none."""
    use = valid & np.isfinite(values)
    count = use.sum(axis=0)
    total = np.where(use, values, 0.0).sum(axis=0)
    means: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return means


def mean_over_joints(per_joint: Floats) -> float:
    """Mean of the joints that have a figure; NaN when none has."""
    known = per_joint[np.isfinite(per_joint)]
    return float(known.mean()) if len(known) else float("nan")


def median_error(errors: Floats, valid: Mask) -> float:
    """Median of all valid, finite joint errors (pooled over samples and joints); NaN when there are none."""
    pooled = errors[valid & np.isfinite(errors)]
    return float(np.median(pooled)) if len(pooled) else float("nan")


def sample_means(errors: Floats, valid: Mask) -> Floats:
    """(N,) mean error of each sample over its valid joints; NaN without a prediction or a valid joint."""
    return joint_means(errors.T, valid.T)


def joint_areas(errors: Floats, thresholds: Thresholds) -> Floats:
    """(N, J) what each error adds to the area under its joint's PCK curve, in [0, 1].

    PCK counts ``error <= threshold``. The area by the trapezoid rule, divided by the thresholds' span, is linear in
    these indicators, so a joint's AUC is the *mean* of this array over its samples: no curve needs to be drawn, and
    bootstrap intervals come from sums. NaN errors (no prediction) add 0.
    """
    values = thresholds.values()
    weight = np.full(thresholds.steps, values[1] - values[0])
    # The trapezoid rule: the ends count half.
    weight[[0, -1]] /= 2
    tail = np.append(np.cumsum(weight[::-1])[::-1], 0.0) / (values[-1] - values[0])
    # "left", since an error equal to a threshold is within it; NaN sorts behind all and adds 0.
    areas: Floats = tail[np.searchsorted(values, errors, side="left")]
    return areas


def pck_curve(errors: Floats, valid: Mask, values: Floats) -> Floats:
    """Share of joints with ``error <= value`` for each of the ascending values (T,), mean over joints.

    Args:
        errors: (N, J) errors; NaN never counts as correct.
        valid: (N, J).
        values: (T,) thresholds, ascending.

    Returns:
        (T,) in [0, 1]; NaN when no joint is valid.
    """
    joints = errors.shape[1]
    bins = len(values) + 1
    first_hit = np.searchsorted(values, errors, side="left")
    flat = (first_hit + np.arange(joints) * bins)[valid]
    hits = np.bincount(flat, minlength=joints * bins).reshape(joints, bins)[:, :-1].cumsum(axis=1)
    count = valid.sum(axis=0)
    if not count.any():
        return np.full(len(values), np.nan)
    curve: Floats = (hits[count > 0] / count[count > 0, None]).mean(axis=0)
    return curve


#: Alignment -> how tables call it.
ROW_TITLES: Final = {
    "absolute": "absolute",
    "root": "root",
    "root_bone_scale": "root + bone scale",
    "procrustes": "Procrustes",
    "procrustes_scale": "Procrustes + scale",
}


def finite_or_none(value: float) -> float | None:
    """JSON has no NaN: a figure that could not be taken is null."""
    return float(value) if math.isfinite(value) else None
