"""Do the joints lie in front of the camera, and does K take them into the picture?"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from simhand_cli.labelled.checks.fault import Fault, by_chunks, nearly_all, rows_where
from simhand_cli.labelled.label_details import LabelDetails
from simhand_cli.skeleton import WRIST

#: A root-relative label has its root (here: within this many mm) at the origin; no camera is that near to a hand.
_AT_ORIGIN_MM: Final = 1.0
#: Kind of the fault of hands outside their pictures.
OUTSIDE: Final = "outside"
#: More of the labelled joints than this outside the picture: it shows too little of the hand to learn or measure.
MOST: Final = 0.5
#: Own 2D joints may differ from K's projection by this share of the hand's extent: annotators and distortion do less.
STATED_TOLERANCE: Final = 0.10


def depth_faults(
    joints_mm: NDArray[np.floating], joint_valid: NDArray[np.bool_], tested: NDArray[np.bool_]
) -> list[Fault]:
    """Samples with a labelled joint at or behind the camera (z <= 0), which no camera can have seen.

    Args:
        joints_mm: (N, 21, 3).
        joint_valid: (N, 21).
        tested: (N,) samples with finite labels.
    """
    behind = tested & ((joints_mm[..., 2] <= 0) & joint_valid).any(axis=1)
    if not behind.any():
        return []
    why = "a joint is at or behind the camera (z <= 0)"
    # Sets are relative to the wrist or to the hand's middle, most often.
    wrist = np.linalg.norm(joints_mm[behind, WRIST].astype(np.float64), axis=1)
    middle = np.linalg.norm(joints_mm[behind].mean(axis=1, dtype=np.float64), axis=1)
    if float(np.median(np.minimum(wrist, middle))) < _AT_ORIGIN_MM:
        cause = "labels relative to a root joint? simhand needs them in the camera's frame"
    elif float(np.median(joints_mm[behind, :, 2].max(axis=1))) < 0:
        cause = "does the labels' z axis point at the viewer (as in OpenGL)? negate y and z"
    else:
        cause = "are they in the camera's frame (x right, y down, z away from the camera)?"
    refusal = f"the joints lie behind the camera (z <= 0): {cause}" if nearly_all(behind, tested) else ""
    return [Fault("behind", rows_where(behind), why, cause, refusal)]


def projection_faults(
    joints_mm: NDArray[np.floating],
    joint_valid: NDArray[np.bool_],
    details: LabelDetails,
    size_px: NDArray[np.int64],
    tested: NDArray[np.bool_],
) -> list[Fault]:
    """Samples that K takes out of the picture, or elsewhere than their own 2D joints.

    Args:
        joints_mm: (N, 21, 3), all of the set.
        joint_valid: (N, 21).
        details: K and 2D joints of M samples.
        size_px: (M, 2) width and height of their pictures, 0 where unknown.
        tested: (N,) samples with finite labels in front of the camera.
    """
    rows = details.samples
    inside, apart_px, extent_px = by_chunks(
        lambda k: _measured(joints_mm[rows[k]], joint_valid[rows[k]], details, size_px, tested, k), np.arange(len(rows))
    ).T
    cause = "K of another picture size or camera, pictures cropped without shifting K, or a hand out of view"
    told = (cause, "K does not project the joints into the pictures")
    faults = outside_faults(rows, inside, size_px, tested[rows], told)
    if details.stated_px is not None:
        faults += _stated_faults(rows, apart_px, extent_px)
    return faults


def outside_faults(
    samples: NDArray[np.int64],
    inside: NDArray[np.float64],
    size_px: NDArray[np.int64],
    tested: NDArray[np.bool_],
    told: tuple[str, str],
) -> list[Fault]:
    """Samples with more than half of their labelled joints outside a picture of known size.

    Args:
        samples: (M,) their numbers.
        inside: (M,) share of the labelled joints inside.
        size_px: (M, 2) width and height of the pictures, 0 where unknown.
        tested: (M,) samples to judge.
        told: what it comes from, and what is wrong where nearly all samples are so.
    """
    known = tested & (size_px[:, 0] > 0)
    outside = known & (inside < 1 - MOST)
    if not outside.any():
        return []
    cause, whole = told
    refusal = f"{whole}: {cause}" if nearly_all(outside, known) else ""
    return [Fault(OUTSIDE, samples[outside], "more than half of the joints fall outside the picture", cause, refusal)]


def _measured(
    joints_mm: NDArray[np.floating],
    joint_valid: NDArray[np.bool_],
    details: LabelDetails,
    size_px: NDArray[np.int64],
    tested: NDArray[np.bool_],
    some: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Of some of the detailed samples (n, 3): share inside, then gap to the own 2D joints and their extent, px."""
    projected = project(joints_mm, details.intrinsics[some])
    measured = np.full((len(some), 3), np.nan)
    measured[:, 0] = share_inside(projected, joint_valid, size_px[some])
    if details.stated_px is not None:
        valid = joint_valid & tested[details.samples[some]][:, None]
        measured[:, 1:] = _gap_and_extent(projected, valid, details.stated_px[some])
    return measured


def project(joints_mm: NDArray[np.floating], intrinsics: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pixels (M, 21, 2) of joints (M, 21, 3) under K (M, 3, 3); not finite where a joint is in the camera's plane."""
    homogeneous = np.einsum("mij,mkj->mki", intrinsics, joints_mm.astype(np.float64))
    # z = 0 gives infinity, which lies in no picture; that is the answer that is wanted.
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels: NDArray[np.float64] = homogeneous[..., :2] / homogeneous[..., 2:]
    return pixels


def share_inside(
    joints_px: NDArray[np.float64], joint_valid: NDArray[np.bool_], size_px: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Share (M,) of the valid joints (M, 21) that lie in a picture of width and height (M, 2); NaN pixels do not."""
    # Pixel centres are whole numbers, so a picture reaches from -0.5 to width - 0.5.
    inside = ((joints_px > -0.5) & (joints_px < size_px[:, None] - 0.5)).all(axis=-1)
    return np.asarray((inside & joint_valid).sum(axis=1) / np.maximum(joint_valid.sum(axis=1), 1))


def _gap_and_extent(
    projected: NDArray[np.float64], valid: NDArray[np.bool_], stated_px: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Median distance (n, 2) of 2D joints from the projected ones and their extent; NaN where fewer than two are."""
    both = valid & np.isfinite(stated_px).all(axis=-1) & np.isfinite(projected).all(axis=-1)
    known = both.sum(axis=1) > 1
    gap = np.where(both, np.linalg.norm(projected - stated_px, axis=-1), np.nan)
    corners = np.where(both[..., None], stated_px, np.nan)
    # Rows without a common joint are NaN in the end; 0 keeps the reductions quiet.
    gap[~known], corners[~known] = 0, 0
    extent = (np.nanmax(corners, axis=1) - np.nanmin(corners, axis=1)).max(axis=-1)
    # The median: annotators' 2D joints have single outliers.
    return np.where(known[:, None], np.column_stack([np.nanmedian(gap, axis=1), extent]), np.nan)


def _stated_faults(
    samples: NDArray[np.int64], gap_px: NDArray[np.float64], extent_px: NDArray[np.float64]
) -> list[Fault]:
    known = np.isfinite(gap_px)
    # Relative to the hand: 10 px are nothing in a close-up and another hand in a wide frame.
    apart = known & (gap_px > STATED_TOLERANCE * np.maximum(extent_px, 1))
    if not apart.any():
        return []
    why = f"the set's own 2D joints lie elsewhere than K x 3D (by more than {STATED_TOLERANCE:.0%} of the hand)"
    cause = "K, 3D and 2D are of different pictures or frames, or x and y are swapped"
    # A number helps to tell a shift of half a pixel from another picture's K.
    typical = float(np.median(gap_px[apart]))
    refusal = f"{why}, in the middle {typical:.0f} px: {cause}" if nearly_all(apart, known) else ""
    return [Fault("own-2d", samples[apart], why, cause, refusal)]
