"""Where a root-relative metric hand stands before the camera, from its 2D joints."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Condition number above which the normal equations do not determine the translation.
_MAX_CONDITION = 1e12


@dataclass(frozen=True, slots=True)
class Placed:
    """Hands placed in the camera frame.

    Attributes:
        joints_mm: (N, J, 3) camera frame; NaN where not determined.
        determined: (N,) the translation is unique and the root lies before the camera.
    """

    joints_mm: Floats
    determined: NDArray[np.bool_]


def place_in_camera(relative_mm: Floats, joints_px: Floats, intrinsics: Floats, weight: Floats | None = None) -> Placed:
    """Find the translation that makes each hand project onto its 2D joints.

    A joint ``X_j + t`` lies on the ray through pixel ``p_j``, ``K^-1 [p_j, 1] = (a, b, 1)``, when
    ``t_x - a t_z = a Z_j - X_j`` and ``t_y - b t_z = b Z_j - Y_j``: linear in ``t``, solved by weighted least squares
    over the joints (no start value, no iterations). It minimises distances across the rays rather than pixels.

    Args:
        relative_mm: (N, J, 3) joints relative to any common origin (the wrist, the hand's centre), camera axes.
        joints_px: (N, J, 2) the same joints in the image, pixel centres.
        intrinsics: (N, 3, 3) camera matrices of that image; a hand whose camera is NaN is placed nowhere.
        weight: (N, J) non-negative confidence of each joint, 1 if absent.

    Returns:
        The hands in the camera frame.
    """
    weight = np.ones(relative_mm.shape[:2]) if weight is None else weight
    homogeneous = np.concatenate([joints_px, np.ones_like(joints_px[..., :1])], axis=-1)
    # The whole inverse, so that a K with skew is right too.
    rays = homogeneous @ np.swapaxes(np.linalg.inv(intrinsics), -1, -2)
    ray_xy = rays[..., :2] / rays[..., 2:]
    finite = np.isfinite(relative_mm).all(axis=(1, 2)) & np.isfinite(ray_xy).all(axis=(1, 2))
    # One NaN hand would make the batch's solver fail.
    ray_xy = np.where(finite[:, None, None], ray_xy, 0.0)
    relative = np.where(finite[:, None, None], relative_mm, 0.0)
    # Rows of the system are (1, 0, -a) and (0, 1, -b); their normal equations are written out.
    right = ray_xy * relative[..., 2:] - relative[..., :2]
    total = weight.sum(axis=1)
    slope = (weight[..., None] * ray_xy).sum(axis=1)
    normal = np.zeros((len(relative), 3, 3))
    normal[:, 0, 0] = normal[:, 1, 1] = total
    normal[:, :2, 2] = normal[:, 2, :2] = -slope
    normal[:, 2, 2] = (weight[..., None] * ray_xy**2).sum(axis=(1, 2))
    moments = np.concatenate(
        [
            (weight[..., None] * right).sum(axis=1),
            -(weight[..., None] * ray_xy * right).sum(axis=(1, 2))[:, None],
        ],
        axis=1,
    )
    solvable = finite & (np.linalg.cond(normal) < _MAX_CONDITION)
    normal[~solvable] = np.eye(3)
    translation = np.linalg.solve(normal, moments[..., None])[..., 0]
    placed = np.where(solvable[:, None, None], relative + translation[:, None, :], np.nan)
    with np.errstate(invalid="ignore"):
        # Lines also meet behind the camera, where no hand was seen.
        determined = solvable & (placed[:, 0, 2] > 0)
    return Placed(placed, determined)
