"""Two evaluations of the same samples, sample by sample: is one model really better than the other?

A paired difference is far surer than two intervals side by side, because hard samples are hard for both models. Sets
are compared one by one, as they are measured one by one: no figure pools them. Where labels or one of the models are 2D
only, the errors of 2D joints are compared, and nothing else.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.errors import InputProblem
from simhand_cli.evaluation.predict.predictions import StoredPredictions, any_in_3d, grouped_by, read_predictions
from simhand_cli.evaluation.score.score import CURVE_MM, Measure2D, Scale, box_extent
from simhand_cli.metrics.alignment import ALIGNMENT_NAMES, AlignmentName, align
from simhand_cli.metrics.bootstrap import Resampling, intervals_95, resampling
from simhand_cli.metrics.joint_errors import (
    Floats,
    Mask,
    joint_errors,
    joint_means,
    mean_over_joints,
    pck_curve,
    sample_means,
)

#: Truth of the same sample may differ by rounding only.
_SAME_TRUTH_MM: Final = 0.01
_SAME_TRUTH_PX: Final = 0.01
#: The alignments that say most, in 3D and in 2D: what counts in use, and the pose alone.
SHOWN_3D: Final[tuple[AlignmentName, ...]] = ("root", "root_bone_scale", "procrustes_scale")
SHOWN_2D: Final[tuple[Measure2D, ...]] = ("2d_px", "2d_box")


@dataclass(frozen=True)
class PairedDifference:
    """How much larger the first evaluation's errors are than the second's, under one alignment.

    Attributes:
        alignment: of the errors, in mm; or how those of 2D joints were measured.
        samples: number of samples that have an error in both; fewer than compared where a hand has no place before the
            camera (absolute) or the truth lacks what the alignment needs.
        means: MPJPE of the first and of the second, over the joints of samples that both have.
        mean: mean over joints of the mean over samples of first minus second; negative: the first is better.
        interval: its bootstrap 95 % interval.
        better: share of samples whose mean error is smaller in the first.
        per_joint: (21,) mean over samples of first minus second; NaN where a joint has none.
        per_sample: (S, 2) mean error of each sample in the first and in the second; NaN where not scored.
        curves: PCK at :data:`CURVE_MM` of the first and of the second, over all samples that both evaluated; a hand
            that was not found is a miss. Empty in 2D.
    """

    alignment: AlignmentName | Measure2D
    samples: int
    means: tuple[float, float]
    mean: float
    interval: tuple[float, float]
    better: float
    per_joint: Floats
    per_sample: Floats
    curves: tuple[Floats, Floats]


@dataclass(frozen=True)
class Comparison:
    """All differences between two evaluations of one set.

    Attributes:
        label: of the set in the first evaluation.
        evaluated: number of samples that both evaluated.
        rows: (S, 2) rows of the samples that both evaluated and found, in the first and in the second file.
        keys: their S names.
        how: what the bootstrap drew.
        in_3d: labels and both models have joints in 3D.
        differences: one an alignment; without 3D one for each of :data:`SHOWN_2D`.
    """

    label: str
    evaluated: int
    rows: NDArray[np.int64]
    keys: list[str]
    how: Resampling
    in_3d: bool
    differences: list[PairedDifference]

    @property
    def samples(self) -> int:
        """Number of samples compared."""
        return len(self.rows)

    @property
    def shown(self) -> tuple[AlignmentName | Measure2D, ...]:
        """The alignments that say most."""
        return SHOWN_3D if self.in_3d else SHOWN_2D

    @property
    def ranked_by(self) -> AlignmentName | Measure2D:
        """Under which samples are ranked by how much they gain or lose: without the hand's size."""
        return self.shown[1]

    def of(self, alignment: AlignmentName | Measure2D) -> PairedDifference:
        """The difference under one alignment."""
        return next(one for one in self.differences if one.alignment == alignment)

    def extremes(self, each: int) -> tuple[list[int], list[int]]:
        """Positions in ``rows`` of at most ``each`` samples on which the first is most and least ahead.

        Samples are ranked by their mean error under :attr:`ranked_by`; none is in the list of gains that loses.
        """
        per_sample = self.of(self.ranked_by).per_sample
        gap = per_sample[:, 0] - per_sample[:, 1]
        known = np.flatnonzero(np.isfinite(gap))
        # Stable, so that ties come in the order of the set on every machine.
        ranked = known[np.argsort(gap[known], kind="stable")]
        gains = [int(k) for k in ranked if gap[k] < 0]
        losses = [int(k) for k in ranked[::-1] if gap[k] > 0]
        return gains[:each], losses[:each]


@dataclass(frozen=True)
class Compared:
    """All sets that two evaluations share.

    Attributes:
        sets: one comparison a set.
        left_out: labels of sets that are not compared: no sample is in both, or no hand was found by both.
    """

    sets: list[Comparison]
    left_out: list[str]


def compare(first: Path, second: Path, scale: Scale, repeats: int, seed: int, over: str) -> Compared:
    """Compare two evaluations' ``predictions.h5``, set by set.

    Args:
        first: the evaluation at hand.
        second: the one it is measured against.
        scale: root, reference bone, reflections.
        repeats: draws of the bootstrap.
        seed: of the draws.
        over: what is drawn where a set has enough of it: "sequence", "subject" or "sample".

    Raises:
        InputProblem: a file is missing, no sample is in both, or the truth of a sample differs.
    """
    a, b = read_predictions(first), read_predictions(second)
    # By name and not by row: one of them may be limited, or have left other samples out.
    place = {key: row for row, key in enumerate(b.keys)}
    partners = {label: _partner(label, digest, b) for label, digest in a.labels_sha256.items()}
    shared: dict[str, list[tuple[int, int]]] = {label: [] for label in partners}
    for row, (label, sample_id) in enumerate(zip(a.set_names, a.sample_ids, strict=True)):
        key = f"{partners[label]}/{sample_id}"
        if key in place:
            shared[label].append((row, place[key]))
    sets = []
    for label, pairs in shared.items():
        rows = np.array(pairs, np.int64).reshape(-1, 2)
        if not (a.found[rows[:, 0]] & b.found[rows[:, 1]]).any():
            continue
        # The same names with other labels: the difference would be one of labels, not of models.
        if apart := _truth_apart(a, b, rows):
            raise InputProblem(f"--against {second.parent}: its labels of {label} are others (by up to {apart})")
        sets.append(_compare_set(label, (a, b), rows, scale, (repeats, seed, over)))
    if not sets:
        raise InputProblem(f"--against {second.parent}: it has no sample in common with {first.parent}")
    compared = {one.label for one in sets}
    theirs = set(b.labels_sha256) - {partners[label] for label in compared}
    return Compared(sets, sorted((set(partners) - compared) | theirs))


def _partner(label: str, digest: str, other: StoredPredictions) -> str:
    """What the other evaluation calls a set: the one with its labels, preferably by the same name."""
    if other.labels_sha256.get(label) == digest:
        return label
    # Names depend on the order and number of sets in an evaluation; labels do not.
    return next((name for name, theirs in other.labels_sha256.items() if theirs == digest), label)


def _truth_apart(a: StoredPredictions, b: StoredPredictions, rows: NDArray[np.int64]) -> str:
    """How far the labels of the same samples lie apart, in words; nothing where it is rounding."""
    one, two = rows.T
    gaps = (
        (a.truth_mm[one] - b.truth_mm[two], a.valid_mm[one] & b.valid_mm[two], _SAME_TRUTH_MM, "mm"),
        (a.truth_px[one] - b.truth_px[two], a.valid[one] & b.valid[two], _SAME_TRUTH_PX, "px"),
    )
    for gap, both, rounding, unit in gaps:
        apart = float(np.abs(np.where(both[..., None] & np.isfinite(gap), gap, 0.0)).max())
        if apart > rounding:
            return f"{apart:.3g} {unit}"
    return ""


def _compare_set(
    label: str,
    runs: tuple[StoredPredictions, StoredPredictions],
    shared: NDArray[np.int64],
    scale: Scale,
    draws: tuple[int, int, str],
) -> Comparison:
    """The differences over rows (S, 2) of one set; ``draws`` are repeats, seed and unit of the bootstrap."""
    a, b = runs
    repeats, seed, over = draws
    one, two = shared.T
    found = a.found[one] & b.found[two]
    rows = shared[found]
    # Of the first: both evaluations have the same samples, and so the same sequences.
    groups = grouped_by(over, a)
    how = resampling([groups[row] for row in rows[:, 0]], over, repeats, seed)
    # One truth for both, so that rounding between the two files cannot make a difference.
    truth, valid = a.truth_mm[one], a.valid_mm[one] & b.valid_mm[two]
    answers = all(any_in_3d(run.found[own], run.relative_mm[own]) for run, own in zip(runs, shared.T, strict=True))
    in_3d = answers and bool(valid.any())
    differences = []
    for name in ALIGNMENT_NAMES if in_3d else ():
        errors = [_errors(name, run, shared[:, k], truth, valid, scale) for k, run in enumerate(runs)]
        differences.append(_difference(name, errors, found, how))
    for measure in () if in_3d else SHOWN_2D:
        errors = _errors_2d(measure, runs, shared)
        differences.append(_difference(measure, errors, found, how))
    return Comparison(label, len(shared), rows, [a.keys[row] for row in rows[:, 0]], how, in_3d, differences)


def _errors(
    name: AlignmentName, run: StoredPredictions, rows: NDArray[np.int64], truth: Floats, valid: Mask, scale: Scale
) -> tuple[Floats, Mask]:
    """(S, 21) errors of one run after alignment, and which of them count."""
    source = (run.camera_mm if name == "absolute" else run.relative_mm)[rows]
    # NaN is a miss in PCK and no error in means.
    source = np.where(run.found[rows, None, None], source, np.nan)
    aligned = align(name, source, truth, valid, root=scale.root, bone=scale.bone, allow_reflection=scale.reflections)
    return joint_errors(aligned.joints_mm, truth), valid & aligned.scored[:, None]


def _errors_2d(
    measure: Measure2D, runs: tuple[StoredPredictions, StoredPredictions], shared: NDArray[np.int64]
) -> list[tuple[Floats, Mask]]:
    """(S, 21) errors of the 2D joints of both runs, in px or in extents of the true hand, and which of them count."""
    (a, b), (one, two) = runs, shared.T
    truth_px, valid = a.truth_px[one], a.valid[one] & b.valid[two]
    unit_px = box_extent(truth_px, a.valid[one])[:, None] if measure == "2d_box" else 1.0
    found_px = (
        np.where(run.found[rows, None, None], run.joints_px[rows], np.nan) for run, rows in ((a, one), (b, two))
    )
    return [(joint_errors(joints_px, truth_px) / unit_px, valid) for joints_px in found_px]


def _difference(
    name: AlignmentName | Measure2D, runs: list[tuple[Floats, Mask]], found: Mask, how: Resampling
) -> PairedDifference:
    (first, counts), (second, _) = runs  # what counts depends on the truth alone
    gap = (first - second)[found]
    use = counts[found] & np.isfinite(gap)
    per_joint = joint_means(gap, use)
    # Over the joints that both have, or a model that leaves hard joints out would look better.
    per_sample = np.stack([sample_means(errors[found], use) for errors in (first, second)], axis=1)
    ahead = per_sample[use.any(axis=1)]
    (interval,) = intervals_95([(gap, use)], how)

    def curve(errors: Floats) -> Floats:
        return pck_curve(errors, counts, CURVE_MM)

    return PairedDifference(
        alignment=name,
        samples=len(ahead),
        means=(mean_over_joints(joint_means(first[found], use)), mean_over_joints(joint_means(second[found], use))),
        mean=mean_over_joints(per_joint),
        interval=interval,
        # A tie is not better; it counts for neither.
        better=float((ahead[:, 0] < ahead[:, 1]).mean()) if len(ahead) else float("nan"),
        per_joint=per_joint,
        per_sample=per_sample,
        curves=(np.empty(0), np.empty(0)) if name in SHOWN_2D else (curve(first), curve(second)),
    )
