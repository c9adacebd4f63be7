"""Two evaluations of the same samples, sample by sample: is one model really better than the other?

A paired difference is far surer than two intervals side by side, because hard samples are hard for both models.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.evaluation.alignment import ALIGNMENT_NAMES, AlignmentName, align
from simhand_cli.evaluation.bootstrap import Resampling, intervals_95, resampling
from simhand_cli.evaluation.metrics import joint_errors
from simhand_cli.evaluation.predictions import PREDICTIONS_SCHEMA, PREDICTIONS_VERSION
from simhand_cli.evaluation.records import finite_or_none
from simhand_cli.evaluation.score import Scale
from simhand_cli.workspace.shards import open_h5

#: Truth of the same sample may differ by rounding only.
_SAME_TRUTH_MM = 0.01


@dataclass(frozen=True)
class PairedDifference:
    """How much larger the first evaluation's errors are than the second's, mm.

    Attributes:
        alignment: of the errors.
        mean: mean over joints of the mean over samples of first minus second; negative: the first is better.
        interval: its bootstrap 95 % interval.
        better: share of samples whose mean error is smaller in the first.
    """

    alignment: AlignmentName
    mean: float
    interval: tuple[float, float]
    better: float


@dataclass(frozen=True)
class Comparison:
    """All differences, over ``samples`` that both evaluated and found; ``how`` they were drawn for the intervals."""

    samples: int
    how: Resampling
    differences: list[PairedDifference]

    def record(self) -> dict[str, Any]:
        """Plain values, each figure with its conditions."""
        return {
            "samples": self.samples,
            "unit": "mm",
            "difference": "mean over joints of the mean over samples of (this - other); negative: this one is better",
            "bootstrap": self.how.describe(),
            "figures": [
                {
                    "metric": "mpjpe_difference",
                    "alignment": one.alignment,
                    "value": finite_or_none(one.mean),
                    "interval": {"low": finite_or_none(one.interval[0]), "high": finite_or_none(one.interval[1])},
                    "share_of_samples_better": finite_or_none(one.better),
                }
                for one in self.differences
            ],
        }


@dataclass(frozen=True)
class _Run:
    keys: list[str]
    sequences: list[str]
    truth_mm: NDArray[np.float64]
    valid: NDArray[np.bool_]
    relative_mm: NDArray[np.float64]
    camera_mm: NDArray[np.float64]
    found: NDArray[np.bool_]


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
    a, b = _read(first), _read(second)
    place = {key: row for row, key in enumerate(b.keys)}
    shared = [(row, place[key]) for row, key in enumerate(a.keys) if key in place]
    rows = np.array([pair for pair in shared if a.found[pair[0]] and b.found[pair[1]]], np.int64).reshape(-1, 2)
    if not len(rows):
        raise InputProblem(f"--against {second.parent}: it has no sample in common with {first.parent}")
    one, two = rows.T
    truth, valid = a.truth_mm[one], a.valid[one] & b.valid[two]
    apart = np.abs(np.where(valid[..., None], truth - b.truth_mm[two], 0.0)).max()
    if apart > _SAME_TRUTH_MM:
        raise InputProblem(f"--against {second.parent}: its labels are others (by up to {apart:.3g} mm)")
    how = resampling([a.sequences[row] for row in one], "sequence", repeats, seed)
    differences = [_difference(name, a, b, rows, truth, valid, scale, how) for name in ALIGNMENT_NAMES]
    return Comparison(len(rows), how, differences)


def _difference(
    name: AlignmentName, a: _Run, b: _Run, rows: NDArray[np.int64], truth: NDArray[np.float64],
    valid: NDArray[np.bool_], scale: Scale, how: Resampling,
) -> PairedDifference:  # fmt: skip
    errors = []
    for run, column in ((a, 0), (b, 1)):
        source = (run.camera_mm if name == "absolute" else run.relative_mm)[rows[:, column]]
        aligned = align(
            name, source, truth, valid, root=scale.root, bone=scale.bone, allow_reflection=scale.reflections
        )
        errors.append(np.where(aligned.scored[:, None], joint_errors(aligned.joints_mm, truth), np.nan))
    gap = errors[0] - errors[1]
    use = valid & np.isfinite(gap)
    counts = use.sum(axis=0)
    per_joint = np.where(use, gap, 0.0).sum(axis=0)[counts > 0] / counts[counts > 0]
    per_sample = np.where(use, gap, 0.0).sum(axis=1)[use.any(axis=1)]
    (interval,) = intervals_95([(gap, use)], how)
    return PairedDifference(
        name,
        float(per_joint.mean()) if len(per_joint) else float("nan"),
        interval,
        float((per_sample < 0).mean()) if len(per_sample) else float("nan"),
    )


def _read(path: Path) -> _Run:
    if not path.is_file():
        raise InputProblem(f"{path} is missing: run 'simhand evaluate' for it first")
    with open_h5(path, PREDICTIONS_SCHEMA, PREDICTIONS_VERSION) as file:
        names = [name.decode() for name in file["set_names"][:]]
        of = [names[k] for k in file["set_index"][:]]
        ids = [name.decode() for name in file["sample_ids"][:]]
        keys = [f"{name}/{sample}" for name, sample in zip(of, ids, strict=True)]
        sequences = [name.decode() for name in file["sequences"][:]] if "sequences" in file else keys
        return _Run(
            keys,
            sequences,
            file["truth_mm"][:].astype(np.float64),
            file["joint_valid"][:].astype(bool),
            file["relative_mm"][:].astype(np.float64),
            file["camera_mm"][:].astype(np.float64),
            file["found"][:].astype(bool),
        )
