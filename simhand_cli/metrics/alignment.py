"""Ways of moving predicted joints onto the ground truth before the error is measured.

A 3D error means nothing without the alignment it was taken under, so every function here returns the prediction *in
the ground truth's frame*; the error is then always the plain distance. All arrays are (N, J, 3) float64 in mm, in the
camera frame (x right, y down, z forward).
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from simhand_cli.skeleton import MIDDLE_MCP, WRIST

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

AlignmentName = Literal["absolute", "root", "root_bone_scale", "procrustes", "procrustes_scale"]
#: From nothing forgiven to nearly everything forgiven.
ALIGNMENT_NAMES: Final[tuple[AlignmentName, ...]] = (
    "absolute",
    "root",
    "root_bone_scale",
    "procrustes",
    "procrustes_scale",
)
ALIGNMENT_MEANING: Final[dict[AlignmentName, str]] = {
    "absolute": "none: camera frame, metric scale",
    "root": "root joint moved onto the ground truth",
    "root_bone_scale": "root joint, and the reference bone's true length",
    "procrustes": "best rotation and translation (no scale)",
    "procrustes_scale": "best rotation, translation and scale",
}
#: Second singular value below this part of the first: the joints lie on a line and the rotation is not unique.
_COLLINEAR: Final = 1e-9
#: Lengths below this many mm are zero.
_ZERO_MM: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Aligned:
    """Predictions in the ground truth's frame.

    Attributes:
        joints_mm: (N, J, 3), NaN for predictions that were not finite.
        scored: (N,) the ground truth holds what this alignment needs; the others must not be counted.
        degenerate: (N,) the prediction did not determine the alignment (zero bone, joints on a line); a finite
            fallback was used (scale 1, or any of the equally good rotations) and the sample still counts.
    """

    joints_mm: Floats
    scored: Mask
    degenerate: Mask


def absolute(pred_mm: Floats, valid: Mask) -> Aligned:
    """No alignment at all: the prediction is taken as metric positions in the camera frame."""
    never = np.zeros(len(pred_mm), dtype=bool)
    labelled: Mask = np.asarray(valid.any(axis=1))
    return Aligned(pred_mm.copy(), labelled, never)


def root_relative(pred_mm: Floats, gt_mm: Floats, valid: Mask, *, root: int = WRIST) -> Aligned:
    """Move the predicted root joint onto the true one."""
    moved = pred_mm - pred_mm[:, root : root + 1] + gt_mm[:, root : root + 1]
    return Aligned(moved, valid[:, root].copy(), np.zeros(len(pred_mm), dtype=bool))


def root_bone_scale(
    pred_mm: Floats, gt_mm: Floats, valid: Mask, *, root: int = WRIST, bone: tuple[int, int] = (WRIST, MIDDLE_MCP)
) -> Aligned:
    """Move the root onto the true one and give the reference bone its true length.

    ``s = |gt_b - gt_a| / |pred_b - pred_a|``, ``pred' = gt_root + s (pred - pred_root)``. No rotation. This is what
    SiMHand's published MPJPE very likely is (its ``global_align``): it uses the true scale of every test hand.
    """
    first, second = bone
    true_length = np.linalg.norm(gt_mm[:, second] - gt_mm[:, first], axis=-1)
    length = np.linalg.norm(pred_mm[:, second] - pred_mm[:, first], axis=-1)
    degenerate = length <= _ZERO_MM
    scale = np.where(degenerate, 1.0, true_length / np.where(degenerate, 1.0, length))
    moved = gt_mm[:, root : root + 1] + scale[:, None, None] * (pred_mm - pred_mm[:, root : root + 1])
    scored = valid[:, root] & valid[:, first] & valid[:, second] & (true_length > _ZERO_MM)
    return Aligned(moved, scored, degenerate)


def procrustes(
    pred_mm: Floats, gt_mm: Floats, valid: Mask, *, with_scale: bool = True, allow_reflection: bool = False
) -> Aligned:
    """Least-squares rotation and translation, and scale if wanted, over the valid joints of each sample.

    Args:
        pred_mm: (N, J, 3) predictions.
        gt_mm: (N, J, 3) ground truth.
        valid: (N, J) joints that take part.
        with_scale: also the best scale.
        allow_reflection: any orthogonal matrix, as FreiHAND's published scorer does; it turns a mirrored hand into a
            right one, so it is off by default.

    Returns:
        The aligned predictions; samples with fewer than three valid joints are not scored.
    """
    finite: Mask = np.asarray(np.isfinite(pred_mm).all(axis=(1, 2)))
    weight = valid.astype(np.float64)[..., None]
    pred = np.where(finite[:, None, None], pred_mm, 0.0)
    gt = np.where(valid[..., None], gt_mm, 0.0)
    count = np.maximum(weight.sum(axis=1, keepdims=True), 1.0)
    gt_mean = (weight * gt).sum(axis=1, keepdims=True) / count
    pred_mean = (weight * pred).sum(axis=1, keepdims=True) / count
    source = pred - pred_mean
    cross = np.swapaxes(weight * source, 1, 2) @ (gt - gt_mean)
    # Kabsch: the rotation that fits best comes from the cross-covariance.
    u, singular, vt = np.linalg.svd(cross)
    signs = np.ones_like(singular)
    if not allow_reflection:
        # The smallest singular value is turned over: that costs least of all ways to avoid a mirror image.
        signs[:, 2] = np.where(np.linalg.det(u) * np.linalg.det(vt) < 0, -1.0, 1.0)
    rotation = (u * signs[:, None, :]) @ vt
    moved = source @ rotation
    if with_scale:
        spread = (weight * source**2).sum(axis=(1, 2))
        # A prediction of one point has no scale: whatever the factor, it lands on the true centroid.
        scale = (singular * signs).sum(axis=1) / np.where(spread > 0, spread, 1.0)
        moved = moved * scale[:, None, None]
    moved = np.where(finite[:, None, None], moved + gt_mean, np.nan)
    degenerate = finite & (singular[:, 1] <= _COLLINEAR * singular[:, 0])
    return Aligned(moved, valid.sum(axis=1) >= 3, degenerate)


def align(
    name: AlignmentName,
    pred_mm: Floats,
    gt_mm: Floats,
    valid: Mask,
    *,
    root: int = WRIST,
    bone: tuple[int, int] = (WRIST, MIDDLE_MCP),
    allow_reflection: bool = False,
) -> Aligned:
    """Apply one alignment by name; see the functions of this module."""
    if name == "absolute":
        return absolute(pred_mm, valid)
    if name == "root":
        return root_relative(pred_mm, gt_mm, valid, root=root)
    if name == "root_bone_scale":
        return root_bone_scale(pred_mm, gt_mm, valid, root=root, bone=bone)
    with_scale = name == "procrustes_scale"
    return procrustes(pred_mm, gt_mm, valid, with_scale=with_scale, allow_reflection=allow_reflection)


_GPA_ROUNDS = 6


def mean_of_aligned(poses_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean (21, 3) of poses (M, 21, 3) that were turned, moved and scaled onto each other (Gower 1975), wrist at 0."""
    valid = np.ones(poses_mm.shape[:2], dtype=bool)
    # Any start will do: after a few rounds the mean hardly depends on it.
    shape = poses_mm[0]
    for _ in range(_GPA_ROUNDS):
        target = np.repeat(shape[None], len(poses_mm), axis=0)
        shape = procrustes(poses_mm, target, valid, with_scale=True).joints_mm.mean(axis=0)
        # Each round shrinks the mean a little; without this it would go to nothing.
        shape *= np.linalg.norm(poses_mm[0, MIDDLE_MCP]) / max(
            float(np.linalg.norm(shape[MIDDLE_MCP] - shape[WRIST])), 1e-9
        )
    turned = procrustes(shape[None], poses_mm.mean(axis=0)[None], valid[:1], with_scale=False).joints_mm[0]
    centred: NDArray[np.float64] = turned - turned[WRIST]
    return centred
