"""Ridge regression from frozen features to poses, in closed form and double precision: the linear probe."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.metrics.alignment import root_bone_scale
from simhand_cli.metrics.joint_errors import joint_errors
from simhand_cli.skeleton import MIDDLE_MCP, NUM_JOINTS, WRIST

Floats = NDArray[np.float64]

#: Tried penalties, as parts of the mean squared length of the standardised features' columns.
PENALTIES: Final = tuple(float(p) for p in 10.0 ** np.arange(-5, 4.5, 0.5))
#: Rows held in double precision at a time: 64 MB of 2,048 features.
_CHUNK: Final = 4096


@dataclass(frozen=True)
class Ridge:
    """Solver for one design and all penalties: the eigendecomposition is done once.

    Minimises ``|Y - mean(Y) - Z W|^2 + penalty N |W|^2`` over W, with Z the features (N, D) minus their mean, over
    their standard deviation (features that do not vary are left out of it). The constant is not penalised. Z is never
    whole in memory: Z'Z and Z'Y are summed over chunks of rows.

    Attributes:
        mean: (D,) of the features.
        deviation: (D,) of the features; infinite where a feature does not vary, which makes it 0 in Z.
        target_mean: (T,).
        vectors: (D, D) eigenvectors of Z'Z / N.
        values: (D,) its eigenvalues.
        rotated: (D, T) V'Z'Y / N.
    """

    mean: Floats
    deviation: Floats
    target_mean: Floats
    vectors: Floats
    values: Floats
    rotated: Floats

    @classmethod
    def of(cls, features: NDArray[np.floating], targets: Floats) -> "Ridge":
        """Prepare (N, D) features and (N, T) targets."""
        count = len(features)
        mean = np.sum([wide.sum(axis=0) for _, wide in _chunks(features)], axis=0) / count
        target_mean = targets.mean(axis=0)
        square = np.zeros((features.shape[1], features.shape[1]))
        product = np.zeros((features.shape[1], targets.shape[1]))
        for rows, wide in _chunks(features):
            # Centred first: Z'Z as a difference of large sums would lose the digits that count.
            wide -= mean
            square += wide.T @ wide
            product += wide.T @ (targets[rows] - target_mean)
        deviation = np.sqrt(np.diagonal(square) / count)
        # Relative to the mean: the deviation of a constant feature is rounding, not 0.
        deviation = np.where(deviation > 1e-12 * np.maximum(np.abs(mean), 1.0), deviation, np.inf)
        values, vectors = np.linalg.eigh(square / deviation / deviation[:, None] / count)
        rotated = vectors.T @ (product / deviation[:, None]) / count
        # Rounding can bring eigenvalues of a singular Z'Z a little below 0.
        return cls(mean, deviation, target_mean, vectors, np.maximum(values, 0.0), rotated)

    def weights(self, penalty: float) -> Floats:
        """(D, T) weights of the standardised features."""
        solved: Floats = self.vectors @ (self.rotated / (self.values + penalty)[:, None])
        return solved

    def predict(self, features: NDArray[np.floating], penalty: float) -> Floats:
        """Targets (M, T) of (M, D) features."""
        weights = self.weights(penalty)
        predicted = np.empty((len(features), len(self.target_mean)))
        for rows, wide in _chunks(features):
            predicted[rows] = ((wide - self.mean) / self.deviation) @ weights + self.target_mean
        return predicted


def _chunks(features: NDArray[np.floating]) -> Iterator[tuple[slice, Floats]]:
    """Some rows of the features (N, D) at a time, copied in double precision."""
    for start in range(0, len(features), _CHUNK):
        rows = slice(start, start + _CHUNK)
        yield rows, features[rows].astype(np.float64)


def pose_targets(joints_mm: Floats) -> Floats:
    """(N, 63) joints relative to the wrist in lengths of the bone wrist - middle knuckle, of (N, 21, 3) mm."""
    relative = joints_mm - joints_mm[:, WRIST : WRIST + 1]
    length = np.linalg.norm(relative[:, MIDDLE_MCP], axis=-1)
    targets: Floats = (relative / length[:, None, None]).reshape(len(joints_mm), NUM_JOINTS * 3)
    return targets


def choose_penalty(
    features: NDArray[np.floating], joints_mm: Floats, held_out: NDArray[np.bool_]
) -> tuple[float, dict[float, float]]:
    """The penalty with the smallest error on people left out of the fit.

    Args:
        features: (N, D).
        joints_mm: (N, 21, 3), all joints labelled.
        held_out: (N,) True for validation.

    Returns:
        the penalty, and every tried penalty's MPJPE in mm after wrist and bone-scale alignment.
    """
    # One decomposition for all penalties.
    ridge = Ridge.of(features[~held_out], pose_targets(joints_mm[~held_out]))
    truth = joints_mm[held_out]
    valid = np.ones(truth.shape[:2], bool)
    errors = {}
    for penalty in PENALTIES:
        predicted = ridge.predict(features[held_out], penalty).reshape(-1, NUM_JOINTS, 3)
        moved = root_bone_scale(predicted, truth, valid).joints_mm
        errors[penalty] = float(joint_errors(moved, truth).mean())
    return min(errors, key=lambda penalty: errors[penalty]), errors
