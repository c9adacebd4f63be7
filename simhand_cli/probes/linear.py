"""The linear probe of one encoder, and the floors it has to beat."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simhand_cli.evaluation.alignment import AlignmentName, align
from simhand_cli.evaluation.metrics import joint_errors
from simhand_cli.evaluation.predictors import mean_of_aligned
from simhand_cli.hands.skeleton import NUM_JOINTS
from simhand_cli.probes.retrieval import ALIGNMENTS, Poses
from simhand_cli.probes.ridge import Ridge, choose_penalty, pose_targets

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe's answers to the test samples.

    Attributes:
        predicted: (M, 21, 3) relative to the wrist, in lengths of the bone wrist - middle knuckle.
        penalty: the chosen one.
        validation_mm: every tried penalty's error on the people left out.
    """

    predicted: Floats
    penalty: float
    validation_mm: dict[float, float]


def fit_and_predict(
    training: NDArray[np.float32], joints_mm: Floats, held_out: Mask, test: NDArray[np.float32]
) -> LinearProbe:
    """Choose the penalty on the people left out, fit again on everybody, predict.

    Args:
        training: (N, D) features.
        joints_mm: (N, 21, 3), all joints labelled.
        held_out: (N,) True for the people left out.
        test: (M, D) features.
    """
    penalty, tried = choose_penalty(training, joints_mm, held_out)
    ridge = Ridge.of(training, pose_targets(joints_mm))
    return LinearProbe(ridge.predict(test, penalty).reshape(-1, NUM_JOINTS, 3), penalty, tried)


def constant_answers(joints_mm: Floats, count: int) -> dict[AlignmentName, Floats]:
    """The best answers without a picture: alignment -> (count, 21, 3), the training poses' mean.

    Where rotation is forgiven, the mean of the poses turned onto each other: hands seen from all sides cancel out in
    the plain one.
    """
    poses = pose_targets(joints_mm).reshape(-1, NUM_JOINTS, 3)
    means = {"root_bone_scale": poses.mean(axis=0), "procrustes_scale": mean_of_aligned(poses)}
    return {name: np.repeat(means[name][None], count, axis=0) for name in ALIGNMENTS}


def pose_errors(name: AlignmentName, predicted: Floats, truth: Poses) -> tuple[Floats, Mask]:
    """(M, 21) joint errors in mm after an alignment, and which of them count."""
    truth_mm = np.where(truth.valid[..., None], truth.joints_mm, 0.0)
    aligned = align(name, predicted, truth_mm, truth.valid)
    return joint_errors(aligned.joints_mm, truth_mm), truth.valid & aligned.scored[:, None]
