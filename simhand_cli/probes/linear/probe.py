"""The linear probe of one encoder, and the floors it has to beat."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.features.retrieval import ALIGNMENTS, Poses
from simhand_cli.labelled.sample import LabelledSet
from simhand_cli.labelled.set_aside import choose_validation, validation_groups
from simhand_cli.metrics.alignment import AlignmentName, align, mean_of_aligned
from simhand_cli.metrics.joint_errors import joint_errors
from simhand_cli.probes.linear.ridge import Ridge, choose_penalty, pose_targets
from simhand_cli.skeleton import JOINT_NAMES, NUM_JOINTS

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
    # On everybody once the penalty is known: more people say more.
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
    # 0 for unlabelled joints: NaN would spread through the sums of an alignment, though their weight is 0.
    truth_mm = np.where(truth.valid[..., None], truth.joints_mm, 0.0)
    aligned = align(name, predicted, truth_mm, truth.valid)
    return joint_errors(aligned.joints_mm, truth_mm), truth.valid & aligned.scored[:, None]


#: With fewer there is nothing to fit on.
LEAST_ROWS: Final = 5
#: Missing joints that a message names.
_NAMED: Final = 3


@dataclass(frozen=True)
class LinearRows:
    """What the probe is fitted on.

    Attributes:
        rows: (n,) of the gallery.
        held_out: (n,) True for those that the penalty is chosen on.
        described: what those are.
    """

    rows: NDArray[np.int64]
    held_out: NDArray[np.bool_]
    described: str


def choose_linear_rows(
    labelled: LabelledSet,
    indices: NDArray[np.int64],
    joint_valid: NDArray[np.bool_],
    tested: NDArray[np.bool_],
    fraction: float,
    seed: int,
) -> LinearRows | str:
    """The gallery rows that can be fitted on, and which of them are set aside by whole people; or why there are none.

    Args:
        labelled: the gallery's set.
        indices: (G,) numbers of the gallery's samples in it.
        joint_valid: (G, 21) which joints are labelled.
        tested: (G,) whether the same person or recording is tested too; such samples would tell the answers.
        fraction: part to set aside.
        seed: of that choice.
    """
    # One decomposition serves all coordinates, so a row takes part with all of them or not at all.
    rows = np.flatnonzero(joint_valid.all(axis=1) & ~tested)
    if len(rows) < LEAST_ROWS:
        return _why_too_few(len(rows), joint_valid, tested)
    groups, kind = validation_groups(labelled, indices[rows])
    held_out = choose_validation(groups, fraction, seed)
    return LinearRows(rows, held_out, f"{int(held_out.sum())} samples of {len(np.unique(groups[held_out]))} {kind}")


def _why_too_few(left: int, joint_valid: NDArray[np.bool_], tested: NDArray[np.bool_]) -> str:
    reasons = []
    if tested.any():
        reasons.append(f"{int(tested.sum())} are of the people or recordings that are tested")
    missing = (~joint_valid).sum(axis=0)
    if missing.any():
        most = np.argsort(-missing, kind="stable")[:_NAMED]
        names = ", ".join(JOINT_NAMES[joint] for joint in most if missing[joint])
        reasons.append(f"{int((~joint_valid).any(axis=1).sum())} lack a joint's label (most often {names})")
    return f"{left} of {len(tested)} gallery samples can be fitted on, and {LEAST_ROWS} are needed: " + "; ".join(
        reasons or ["there are no more"]
    )
