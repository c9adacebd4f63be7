"""Two evaluations of the same samples, sample by sample: is one model really better than the other?

A paired difference is far surer than two intervals side by side, because hard samples are hard for both models.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.evaluation.alignment import ALIGNMENT_NAMES, AlignmentName, align
from simhand_cli.evaluation.bootstrap import Resampling, intervals_95, resampling
from simhand_cli.evaluation.metrics import (
    Floats,
    Mask,
    joint_errors,
    joint_means,
    mean_over_joints,
    pck_curve,
    sample_means,
)
from simhand_cli.evaluation.predictions import StoredPredictions, read_predictions
from simhand_cli.evaluation.records import finite_or_none
from simhand_cli.evaluation.score import CURVE_MM, Scale
from simhand_cli.hands.skeleton import JOINT_NAMES

#: Truth of the same sample may differ by rounding only.
_SAME_TRUTH_MM: Final = 0.01
#: Under which samples are ranked by how much they gain or lose.
RANKED_BY: Final[AlignmentName] = "root_bone_scale"


@dataclass(frozen=True)
class PairedDifference:
    """How much larger the first evaluation's errors are than the second's, mm, under one alignment.

    Attributes:
        alignment: of the errors.
        means: MPJPE of the first and of the second, over the joints of samples that both have.
        mean: mean over joints of the mean over samples of first minus second; negative: the first is better.
        interval: its bootstrap 95 % interval.
        better: share of samples whose mean error is smaller in the first.
        per_joint: (21,) mean over samples of first minus second; NaN where a joint has none.
        per_sample: (S, 2) mean error of each sample in the first and in the second; NaN where not scored.
        curves: PCK at :data:`CURVE_MM` of the first and of the second, over all samples that both evaluated; a hand
            that was not found is a miss.
    """

    alignment: AlignmentName
    means: tuple[float, float]
    mean: float
    interval: tuple[float, float]
    better: float
    per_joint: Floats
    per_sample: Floats
    curves: tuple[Floats, Floats]

    def record(self) -> dict[str, Any]:
        """Plain values."""
        low, high = self.interval
        return {
            "metric": "mpjpe_difference",
            "alignment": self.alignment,
            "value": finite_or_none(self.mean),
            "interval": {"low": finite_or_none(low), "high": finite_or_none(high)},
            "share_of_samples_better": finite_or_none(self.better),
            "mpjpe": {"this": finite_or_none(self.means[0]), "other": finite_or_none(self.means[1])},
            "per_joint": {n: finite_or_none(v) for n, v in zip(JOINT_NAMES, self.per_joint, strict=True)},
        }


@dataclass(frozen=True)
class Comparison:
    """All differences between two evaluations.

    Attributes:
        evaluated: number of samples that both evaluated.
        rows: (S, 2) rows of the samples that both evaluated and found, in the first and in the second file.
        keys: their S names.
        how: what the bootstrap drew.
        differences: one an alignment.
    """

    evaluated: int
    rows: NDArray[np.int64]
    keys: list[str]
    how: Resampling
    differences: list[PairedDifference]

    @property
    def samples(self) -> int:
        """Number of samples compared."""
        return len(self.rows)

    def of(self, alignment: AlignmentName) -> PairedDifference:
        """The difference under one alignment."""
        return next(one for one in self.differences if one.alignment == alignment)

    def extremes(self, each: int) -> tuple[list[int], list[int]]:
        """Positions in ``rows`` of at most ``each`` samples on which the first is most and least ahead.

        Samples are ranked by their mean error under :data:`RANKED_BY`; none is in the list of gains that loses.
        """
        per_sample = self.of(RANKED_BY).per_sample
        gap = per_sample[:, 0] - per_sample[:, 1]
        known = np.flatnonzero(np.isfinite(gap))
        ranked = known[np.argsort(gap[known], kind="stable")]
        gains = [int(k) for k in ranked if gap[k] < 0]
        losses = [int(k) for k in ranked[::-1] if gap[k] > 0]
        return gains[:each], losses[:each]

    def record(self) -> dict[str, Any]:
        """Plain values, each figure with its conditions."""
        return {
            "samples": self.samples,
            "samples_both_evaluated": self.evaluated,
            "unit": "mm",
            "difference": "mean over joints of the mean over samples of (this - other); negative: this one is better",
            "bootstrap": self.how.describe(),
            "figures": [one.record() for one in self.differences],
        }


def compare(first: Path, second: Path, scale: Scale, repeats: int, seed: int) -> Comparison:
    """Compare two evaluations' ``predictions.h5``.

    Args:
        first: the evaluation at hand.
        second: the one it is measured against.
        scale: root, reference bone, reflections.
        repeats: draws of the bootstrap, over sequences where there are enough.
        seed: of the draws.

    Raises:
        InputProblem: a file is missing, no sample is in both, or the truth of a sample differs.
    """
    a, b = read_predictions(first), read_predictions(second)
    place = {key: row for row, key in enumerate(b.keys)}
    pairs = [(row, place[key]) for row, key in enumerate(a.keys) if key in place]
    shared = np.array(pairs, np.int64).reshape(-1, 2)
    found = a.found[shared[:, 0]] & b.found[shared[:, 1]]
    if not found.any():
        raise InputProblem(f"--against {second.parent}: it has no sample in common with {first.parent}")
    one, two = shared.T
    truth, valid = a.truth_mm[one], a.valid[one] & b.valid[two]
    apart = np.abs(np.where(valid[..., None], truth - b.truth_mm[two], 0.0)).max()
    if apart > _SAME_TRUTH_MM:
        raise InputProblem(f"--against {second.parent}: its labels are others (by up to {apart:.3g} mm)")
    rows = shared[found]
    how = resampling([a.sequences[row] for row in rows[:, 0]], "sequence", repeats, seed)
    differences = []
    for name in ALIGNMENT_NAMES:
        errors = [_errors(name, run, shared[:, k], truth, valid, scale) for k, run in enumerate((a, b))]
        differences.append(_difference(name, errors, found, how))
    return Comparison(len(shared), rows, [a.keys[row] for row in rows[:, 0]], how, differences)


def _errors(
    name: AlignmentName, run: StoredPredictions, rows: NDArray[np.int64], truth: Floats, valid: Mask, scale: Scale
) -> tuple[Floats, Mask]:
    """(S, 21) errors of one run after alignment, and which of them count."""
    source = (run.camera_mm if name == "absolute" else run.relative_mm)[rows]
    source = np.where(run.found[rows, None, None], source, np.nan)
    aligned = align(name, source, truth, valid, root=scale.root, bone=scale.bone, allow_reflection=scale.reflections)
    return joint_errors(aligned.joints_mm, truth), valid & aligned.scored[:, None]


def _difference(name: AlignmentName, runs: list[tuple[Floats, Mask]], found: Mask, how: Resampling) -> PairedDifference:
    (first, counts), (second, _) = runs  # what counts depends on the truth alone
    gap = (first - second)[found]
    use = counts[found] & np.isfinite(gap)
    per_joint = joint_means(gap, use)
    per_sample = np.stack([sample_means(errors[found], use) for errors in (first, second)], axis=1)
    ahead = per_sample[use.any(axis=1)]
    (interval,) = intervals_95([(gap, use)], how)
    return PairedDifference(
        alignment=name,
        means=(mean_over_joints(joint_means(first[found], use)), mean_over_joints(joint_means(second[found], use))),
        mean=mean_over_joints(per_joint),
        interval=interval,
        better=float((ahead[:, 0] < ahead[:, 1]).mean()) if len(ahead) else float("nan"),
        per_joint=per_joint,
        per_sample=per_sample,
        curves=(pck_curve(first, counts, CURVE_MM), pck_curve(second, counts, CURVE_MM)),
    )
